"""When a call may ask a worker again: the pauses of one call, from what it has tried and may still spend. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import attrs

from ...failures import Failure, SameWorker, official_sdks_retry, same_worker_of
from ..settings.secrets import ApiKey
from ..workers.worker import Refusal
from .eligibility import Candidate
from .retries import RetryBudget, backoff, sdk_backoff

TRIES_PER_WORKER = 2
"""Requests to one worker in one call while another can be asked. A key that was refused says nothing of its worker
and is not counted."""
WAIT_JITTER = 0.1
"""A wait ends up to this share later, never earlier, so that not all calls come at once."""
MOST_ADAPTED = 2
"""Repetitions of one call because a worker does not know a field: a dialect adds two that a server may not know."""
REFUSED_PAUSE_SECONDS = 0.01
"""Before a worker is asked again that refused although it seemed to be free; doubled each time."""


@attrs.define(eq=False)
class Tried:
    """What one call knows of one candidate."""

    candidate: Candidate
    asked: bool = False
    requests: int = 0
    tries: int = 0  # requests that say something about the worker and not about a key
    refused_keys: set[ApiKey] = attrs.field(factory=set)
    last: Failure | None = None  # None: it has not failed
    refused: bool = False  # it was not admitted, or had no key
    refusals: int = 0  # how often
    excluded: bool = False  # this call cannot ask it
    key_swapped: bool = False  # another key was tried where the table allows one
    adapted: int = 0  # how often its dialect was adapted to its server
    repeats_adapted: bool = False  # the request is repeated in the dialect that was just adapted
    fresh_after: bool = False  # it was silent on a kept connection, and not yet asked on a new one


@attrs.define(eq=False)
class Allowance:
    """What one call may still spend. `FailoverPlan` is its only writer."""

    max_attempts: int
    deadline: float  # Trio time
    wait_left: float  # seconds that it may wait because no worker may be asked
    budget: RetryBudget  # of the whole gateway
    attempts_left: int = attrs.field(  # requests that reach a provider
        default=attrs.Factory(lambda self: self.max_attempts, takes_self=True), init=False
    )
    retries: int = 0
    reconnects: int = 0  # connects that were repeated, over all workers

    def is_spent(self, now: float) -> bool:
        """Return whether no other request may be made."""
        return self.attempts_left <= 0 or now >= self.deadline

    def take_wait(self, seconds: float) -> None:
        """Spend `seconds` of the time that the call may wait."""
        self.wait_left = max(0.0, self.wait_left - seconds)

    def take_retry(self, now: float) -> None:
        """Spend a retry. If the budget of the gateway is empty, the wait for it is spent as well."""
        self.take_wait(self.budget.ready_in(now))
        self.budget.take(now)
        self.retries += 1


PauseRule = Callable[[Tried, Allowance, float, float], float | None]
"""Takes what was tried, the allowance, Trio time and a chance; returns the seconds before a worker may be asked."""


@attrs.frozen
class Earliest:
    """Which candidate can be asked first, and when."""

    ready: float  # Trio time
    tried: Tried
    refusal: Refusal | None  # None: only a pause keeps it from being asked now
    for_permit: bool = False  # a worker can be asked as soon as one of its requests ends


def earliest(
    usable: Iterable[Tried],
    pause_rule: PauseRule,
    allowance: Allowance,
    refusal_of: Callable[[Candidate, float], Refusal | None],
    *,
    now: float,
    chance: float,
) -> Earliest | None:
    """Return which candidate can be asked first, and when; None if none can be asked before the deadline.

    Args:
        usable: the candidates.
        pause_rule: says when the call itself may ask a candidate again; None for never.
        allowance: what the call may still spend.
        refusal_of: returns why a candidate may not be asked now, from shared state.
        now: Trio time.
        chance: uniform in [0, 1).
    """
    found: Earliest | None = None
    for_permit = False
    for tried in usable:
        pause = pause_rule(tried, allowance, now, chance)
        if pause is None:
            continue
        refusal = refusal_of(tried.candidate, now)
        ready: float | None = now + pause
        if refusal is not None:
            for_permit = for_permit or refusal.until_request_ends
            ready = time_after_refusal(refusal, allowance, now, pause, chance)
        if ready is None:
            continue
        in_time = ready < allowance.deadline or (ready == allowance.deadline and for_permit)
        if in_time and (found is None or (ready, tried.requests) < (found.ready, found.tried.requests)):
            found = Earliest(ready, tried, refusal)
    return None if found is None else attrs.evolve(found, for_permit=for_permit)


def pause_beside_others(tried: Tried, allowance: Allowance, now: float, chance: float) -> float | None:
    """Return the seconds before a worker may be asked (again) while there may be others; None for never.

    Args:
        tried: what the call knows of the worker.
        allowance: what the call may still spend.
        now: Trio time.
        chance: uniform in [0, 1).
    """
    failure = tried.last
    if failure is None:
        return pause_after_refusal(tried, allowance)
    if tried.fresh_after or tried.repeats_adapted:
        return 0.0
    if tried.tries >= TRIES_PER_WORKER or _has_no_reconnect_left(failure, allowance):
        return None
    match same_worker_of(failure):
        case SameWorker.AFTER_COOLDOWN:
            return 0.0 if names_time(failure) else None
        case SameWorker.AFTER_OTHERS | SameWorker.ONCE:
            is_affordable = allowance.budget.ready_in(now) == 0
            return backoff(allowance.retries, chance) if is_affordable else None
        case SameWorker.NEVER:
            return None


def pause_as_official_sdks(tried: Tried, allowance: Allowance, now: float, chance: float) -> float | None:
    """Return the seconds before the only worker left may be asked (again); None for never.

    It is asked as often as the official SDKs would, up to `max_attempts`. An empty retry budget does not forbid the
    request but delays it, within `max_wait`. Args are those of `pause_beside_others`.
    """
    failure = tried.last
    if failure is None:
        return pause_after_refusal(tried, allowance)
    if tried.fresh_after or tried.repeats_adapted:
        return 0.0
    if tried.tries >= allowance.max_attempts or _has_no_reconnect_left(failure, allowance):
        return None
    delay = allowance.budget.ready_in(now)
    if not official_sdks_retry(failure) or delay > allowance.wait_left:
        return None
    return max(sdk_backoff(allowance.retries, chance), delay)


def pause_after_refusal(tried: Tried, allowance: Allowance) -> float | None:
    """Return the seconds before a worker that refused may be asked again; None for never.

    Longer each time: two calls of which each takes what the other gives back must let time pass.
    """
    pause = REFUSED_PAUSE_SECONDS * 2.0**tried.refusals if tried.refusals else 0.0
    return pause if pause <= allowance.wait_left else None


def _has_no_reconnect_left(failure: Failure, allowance: Allowance) -> bool:
    return failure.phase == "connect" and allowance.reconnects >= allowance.max_attempts - 1


def time_after_refusal(
    refusal: Refusal, allowance: Allowance, now: float, pause: float, chance: float
) -> float | None:
    """Return the Trio time at which to look again at a worker that may not be asked now; None for never.

    The jitter takes at most half of what is left before the deadline: time that the caller has is used for waiting.

    Args:
        refusal: why the worker may not be asked now.
        allowance: what the call may still spend.
        now: Trio time.
        pause: seconds before the call may ask the worker at the earliest.
        chance: uniform in [0, 1).
    """
    if refusal.until_request_ends:
        until = min(now + allowance.wait_left, allowance.deadline)
        return until if until > now else None  # what is left may be too little to be a later time
    seconds = max(refusal.until - now, 0.0)
    if seconds > allowance.wait_left:
        return None
    spare = max(allowance.deadline - refusal.until, 0.0)
    jitter = min(seconds * WAIT_JITTER * chance, spare / 2)
    return max(refusal.until + jitter, now + pause)


def names_time(failure: Failure) -> bool:
    """Return whether the server said when to come back.

    `Retry-After: 0` does not say when a request helps: the official SDKs pause as they do without it
    (`_calculate_retry_timeout` in openai-python).
    """
    return failure.retry_after is not None and failure.retry_after > 0
