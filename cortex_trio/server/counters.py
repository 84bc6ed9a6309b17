"""Counters of what virtual keys use: rates of requests and tokens, and budgets. In memory, or shared by processes.

A counter never waits: one that is shared takes slices of its limit in the background and counts them down here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol, final

import attrs
import trio

from .virtual_keys import Budget, BudgetPeriod

MINUTE = 60.0
LEAST = 1e-6
"""Of a request, a token or a dollar: something is left."""
LONGEST_SECONDS = 10 * 365 * 86400.0
"""How long a store keeps a budget that never starts anew."""


class Counter(Protocol):
    """One limit of one key."""

    @property
    def limit(self) -> float:
        """What may be used in one period."""
        ...

    @property
    def remaining(self) -> float:
        """What may be used now; below 0 after `charge` of more than there was."""
        ...

    @property
    def is_used_up(self) -> bool:
        """Whether nothing is left of the limit. False while other processes may have something for this one."""
        ...

    def seconds_until(self, amount: float) -> float:
        """Return when `amount` may be used, in seconds from now; 0: now. Infinity: never."""
        ...

    def charge(self, amount: float) -> None:
        """Use `amount`, whether it may be used or not; a negative one gives back."""
        ...


class Counters(Protocol):
    """The counters of all keys. A counter keeps its state when the configuration is read again."""

    def rate(self, key: str, what: str, per_minute: int) -> Counter:
        """Return the counter of a rate.

        Args:
            key: the name of the virtual key.
            what: "requests" or "tokens".
            per_minute: the limit.
        """
        ...

    def budget(self, key: str, budget: Budget) -> Counter:
        """Return the counter of a budget, in US dollars."""
        ...

    def count(self, key: str, what: str, amount: float) -> None:
        """Add to the sums of all processes.

        Args:
            key: the name of the virtual key.
            what: "requests", "tokens" or "usd".
            amount: > 0.
        """
        ...


@final
class RateCounter:
    """A token bucket: full at the beginning, refilled evenly within a minute."""

    def __init__(self, per_minute: int) -> None:
        self.limit = float(per_minute)
        self._level = self.limit
        self._updated = trio.current_time()

    @property
    def remaining(self) -> float:
        now = trio.current_time()
        self._level = min(self.limit, self._level + (now - self._updated) * self.limit / MINUTE)
        self._updated = now
        return self._level

    @property
    def is_used_up(self) -> bool:
        return self.remaining <= 0

    def seconds_until(self, amount: float) -> float:
        missing = min(amount, self.limit) - self.remaining
        return max(0.0, missing * MINUTE / self.limit)

    def charge(self, amount: float) -> None:
        self._level = min(self.limit, self.remaining - amount)

    def set_limit(self, per_minute: int) -> None:
        """Change the limit; what was used stays used."""
        used = self.limit - self.remaining
        self.limit = float(per_minute)
        self._level = self.limit - used


@final
class BudgetCounter:
    """Money in calendar periods, in UTC.

    Args:
        budget: the limit.
        now: returns the time.
    """

    def __init__(self, budget: Budget, now: Callable[[], datetime]) -> None:
        self.budget = budget
        self._now = now
        self._spent = 0.0
        self._ends = end_of_period(budget.per, now())

    @property
    def limit(self) -> float:
        return self.budget.usd

    @property
    def remaining(self) -> float:
        now = self._now()
        if self._ends is not None and now >= self._ends:
            self._spent, self._ends = 0.0, end_of_period(self.budget.per, now)
        return self.budget.usd - self._spent

    @property
    def is_used_up(self) -> bool:
        return self.remaining <= 0

    def seconds_until(self, amount: float) -> float:
        if self.remaining >= amount:
            return 0.0
        return math.inf if self._ends is None else (self._ends - self._now()).total_seconds()

    def charge(self, amount: float) -> None:
        if self.remaining < math.inf:  # reads the clock: a new period may have begun
            self._spent += amount

    def set_budget(self, budget: Budget) -> None:
        """Change the limit; what was spent in this period stays spent."""
        if budget.per != self.budget.per:
            self._ends = end_of_period(budget.per, self._now())
        self.budget = budget


def end_of_period(per: BudgetPeriod, now: datetime) -> datetime | None:
    """Return when the calendar period of `now` ends. None: never."""
    day = now.replace(hour=0, minute=0, second=0, microsecond=0)
    match per:
        case "hour":
            return now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
        case "day":
            return day + timedelta(days=1)
        case "week":
            return day + timedelta(days=7 - day.weekday())
        case "month":
            return (day.replace(day=1) + timedelta(days=32)).replace(day=1)
        case "total":
            return None


def utc_now() -> datetime:
    """Return the time of the machine: budgets follow the calendar."""
    return datetime.now(UTC)


@final
@attrs.define
class MemoryCounters:
    """Counters of one process. They start anew with it."""

    now: Callable[[], datetime] = utc_now
    _rates: dict[tuple[str, str], RateCounter] = attrs.field(init=False, factory=dict)
    _budgets: dict[str, BudgetCounter] = attrs.field(init=False, factory=dict)

    def rate(self, key: str, what: str, per_minute: int) -> Counter:
        found = self._rates.get((key, what))
        if found is None:
            found = self._rates[key, what] = RateCounter(per_minute)
        elif found.limit != per_minute:
            found.set_limit(per_minute)
        return found

    def budget(self, key: str, budget: Budget) -> Counter:
        found = self._budgets.get(key)
        if found is None:
            found = self._budgets[key] = BudgetCounter(budget, self.now)
        elif found.budget != budget:
            found.set_budget(budget)
        return found

    def count(self, key: str, what: str, amount: float) -> None:
        """Do nothing: there are no other processes, and the metrics have the sums of this one."""


# ------------------------------------------------------------------ shared


class Limits(Protocol):
    """Limits that several processes use up together: `Cortex.shared_limits`."""

    def limit(self, name: str, limit: float, seconds: Callable[[], float]) -> Counter:
        """Return a limit. It is whole again `seconds()` after its first use."""
        ...


class Totals(Protocol):
    """Sums over all processes: `Cortex.shared_totals`."""

    def count(self, name: str, amount: float) -> None:
        """Add to a sum."""
        ...


@final
class SharedCounter:
    """A limit of which this process has a slice."""

    def __init__(self, shared: Counter) -> None:
        self._shared = shared

    @property
    def limit(self) -> float:
        return self._shared.limit

    @property
    def remaining(self) -> float:
        return self._shared.remaining

    @property
    def is_used_up(self) -> bool:
        return self._shared.is_used_up

    def seconds_until(self, amount: float) -> float:
        """Return 0 as soon as anything is left of the slice: that of a small limit is less than one request."""
        return self._shared.seconds_until(amount if amount >= self.limit else min(amount, LEAST))

    def charge(self, amount: float) -> None:
        self._shared.charge(amount)


@final
@attrs.frozen
class SharedCounters:
    """Counters of all processes with the same store. A rate has windows of a minute that begin with a request."""

    limits: Limits
    totals: Totals
    now: Callable[[], datetime] = utc_now

    def rate(self, key: str, what: str, per_minute: int) -> Counter:
        return SharedCounter(self.limits.limit(f"key/{key}/{what}", per_minute, lambda: MINUTE))

    def budget(self, key: str, budget: Budget) -> Counter:
        def seconds() -> float:
            now = self.now()
            end = end_of_period(budget.per, now)
            return LONGEST_SECONDS if end is None else (end - now).total_seconds()

        return SharedCounter(self.limits.limit(f"key/{key}/usd-{budget.per}", budget.usd, seconds))

    def count(self, key: str, what: str, amount: float) -> None:
        self.totals.count(f"virtual_key:{key}:{what}", amount)
