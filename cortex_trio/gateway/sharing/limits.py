"""Limits that several processes use up together, without asking the store for each request.

A process takes a slice of the limit, a twentieth, and counts it down here. It reports to the store how much it has in
all, so a command whose answer was lost is repeated, and costs nothing. Reading and charging a limit are synchronous and
never wait: until its next slice has arrived, a process may use one slice ahead, which the next slice then pays. All
processes together exceed a limit by no more than one slice each. What a process does not use, it gives back. Without
a link to the store, a process may use the limit divided by the number of processes that were known last, or all of
it: `Config.limits_without_store`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import final

import attrs
import trio

from ...cluster import Claim

SLICES = 20
"""A slice is the limit divided by this."""
UNUSED_SECONDS = 2.0
"""After so long without a request, what is left of a slice is given back."""
RETRY_SECONDS = 1.0
"""After a limit is used up: other processes may give something back. Also the longest time in which a slice arrives, or
the link is known to be lost."""


@final
@attrs.define(eq=False)
class SharedLimit:
    """One limit, as this process sees it.

    The limit applies to a window: `seconds` from its first use by any process, then it is whole again.
    """

    name: str
    """In the store; the same in all processes."""
    limit: float
    """What all processes may use in one window."""
    seconds: Callable[[], float]
    """Returns the length of a window that begins now."""
    processes: Callable[[], int | None]
    """Returns by what the limit is divided for this process alone; None while it is connected to the store."""
    wake: Callable[[SharedLimit], None]
    """Is called when a slice may be needed."""
    _granted: float = 0.0  # what this process has in the store, in this window
    _used: float = 0.0  # in this window
    _window: str | None = None  # the id in the store; None before the first slice of this window
    _ends: float = math.inf  # Trio time at which the window ends; infinity before its first use here
    _is_used_up: bool = False  # the store had less than was asked for
    _retry_at: float = -math.inf
    _wanted_at: float = -math.inf  # the last request

    @property
    def slice(self) -> float:
        """How much is taken at once."""
        return self.limit / SLICES

    @property
    def remaining(self) -> float:
        """What may be used now; below 0 after more was charged than there was."""
        self._roll(trio.current_time())
        alone = self.processes()
        if alone is not None:
            return self.limit / alone - self._used
        return self._granted + (0.0 if self._is_used_up else self.slice) - self._used

    @property
    def is_used_up(self) -> bool:
        """Whether other processes have nothing for this one either, as far as is known."""
        return self._is_used_up if self.processes() is None else self.remaining <= 0

    def seconds_until(self, amount: float) -> float:
        """Return when `amount` may be used, in seconds from now; 0: now. Infinity: never.

        Less than all of the limit is a request, whether it may be used or not: more is taken from the store for it.

        Args:
            amount: that is wanted.
        """
        if self.remaining >= min(amount, self.limit):
            return 0.0
        now = trio.current_time()
        whole = self._ends - now if math.isfinite(self._ends) else self.seconds()
        if amount >= self.limit:
            return whole
        self._wanted_at = now
        if now >= self._retry_at:
            self.wake(self)
        return whole if self.is_used_up else min(whole, RETRY_SECONDS)

    def charge(self, amount: float) -> None:
        """Use an amount, whether it may be used or not. Never waits.

        Args:
            amount: a negative one gives back.
        """
        now = trio.current_time()
        self._roll(now)
        if not math.isfinite(self._ends):
            self._ends = now + self.seconds()
        self._used += amount
        self._wanted_at = now
        self.wake(self)

    def _roll(self, now: float) -> None:
        """Begin a new window when the old one is over."""
        if now >= self._ends:
            self._granted = self._used = 0.0
            self._window, self._ends = None, math.inf
            self._is_used_up, self._retry_at = False, -math.inf

    # -------------------------------------------------------------- for the actor that uses the store

    def wanted(self, now: float) -> float | None:
        """Return how much this process is to have in the store; None: what it has.

        Args:
            now: Trio time.
        """
        self._roll(now)
        if now >= self._unused_at:
            return self.used if self._granted > self.used else None
        if now < self._retry_at or not self.is_low:
            return None
        return self.used + self.slice

    @property
    def used(self) -> float:
        """What this process has used in this window."""
        return max(0.0, self._used)

    @property
    def _unused_at(self) -> float:
        # One sum for all who compare: with its rounding, the time that `next_look` returns is not too early.
        return self._wanted_at + UNUSED_SECONDS

    @property
    def is_low(self) -> bool:
        """Whether another slice is needed. Not earlier: a process that is killed loses no more than one."""
        return self._granted <= self._used

    def was_given(self, claim: Claim, wanted: float, now: float) -> None:
        """Enter what this process has.

        Args:
            claim: the answer of the store.
            wanted: what was asked for.
            now: Trio time.
        """
        self._roll(now)
        if self._window not in (None, claim.window) and self._ends - now < RETRY_SECONDS:
            self._used = 0.0  # the store has begun another window a little earlier
        # In the middle of a window another id means that the store has lost its data. What was used here still counts.
        self._window, self._ends = claim.window, now + claim.seconds
        if wanted > self._granted:  # not when it gives back: others may still have used up the limit
            self._is_used_up = claim.granted < wanted
            self._retry_at = now + RETRY_SECONDS if self._is_used_up else -math.inf
        self._granted = claim.granted

    def settled(self, now: float) -> float | None:
        """Return what this process is to have in the store when it ends: what it has used. None: nothing was used.

        Also if it has that already, as far as is known: an answer of the store may have been lost.

        Args:
            now: Trio time.
        """
        self._roll(now)
        return self.used if math.isfinite(self._ends) else None

    def next_look(self, now: float) -> float:
        """Return the Trio time at which the actor must look at this limit again; infinity: after the next charge.

        Args:
            now: Trio time.
        """
        self._roll(now)
        times = [math.inf]
        if self._granted > self.used:
            times.append(max(now, self._unused_at))
        if self.is_low and now < self._unused_at:
            times.append(max(now, self._retry_at))
        return min(times)


@final
class SharedLimits:
    """All limits of one gateway.

    Args:
        processes: as of `SharedLimit`.
    """

    def __init__(self, processes: Callable[[], int | None]) -> None:
        self._processes = processes
        self._limits: dict[str, SharedLimit] = {}
        self.changed = trio.Event()
        """Set when a slice may be needed; replaced by the actor."""
        self._active: dict[SharedLimit, None] = {}

    def limit(self, name: str, limit: float, seconds: Callable[[], float]) -> SharedLimit:
        """Return a limit; the same name is the same limit, and keeps what was used of it.

        Args:
            name: of the limit, the same in all processes.
            limit: what all processes may use in one window.
            seconds: returns the length of a window that begins now.
        """
        found = self._limits.get(name)
        if found is None:
            found = self._limits[name] = SharedLimit(name, limit, seconds, self._processes, self._wake)
        found.limit, found.seconds = limit, seconds
        return found

    def _wake(self, limit: SharedLimit) -> None:
        # Not for each request: a limit that is active and has enough needs the actor only at its next look.
        if limit not in self._active or limit.is_low:
            self._active[limit] = None
            self.changed.set()

    def active(self) -> list[SharedLimit]:
        """Return the limits that were charged and may need the store."""
        return list(self._active)

    def next_look(self, now: float) -> float:
        """Return the Trio time of the next look at the active limits, and forget those that need none.

        Args:
            now: Trio time.
        """
        times = {limit: limit.next_look(now) for limit in self._active}
        self._active = {limit: None for limit, when in times.items() if math.isfinite(when)}
        return min(times.values(), default=math.inf)
