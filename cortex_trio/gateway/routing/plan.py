"""What one call does next: ask a worker, wait, or give up. The failover rules as a pure state machine.

`next` decides, `learn` and `refuse` say what came of it. After a failure, by its row of `failures.REACTIONS`:

1. a failure that is the caller's own ends the call;
2. another key of the same worker, if the key was the reason;
3. the same worker once more, after a short pause, if a repetition may help and nothing was delivered;
4. the next worker (after context_length only one whose window is known to be larger);
5. when no other worker can be asked now: the worker that can be asked first, again or at last, after a pause or a
   wait. While another worker can be asked, a worker is asked twice at most; the only one left is asked as often as
   the official SDKs would, up to `max_attempts`.

What is cooling down is read from the state that all calls share (`refusal`), not kept here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import final

import attrs

from ...failures import (
    REACTIONS,
    Failure,
    FailureKind,
    NextKey,
    NextWorker,
    SameWorker,
    official_sdks_retry,
    same_worker_of,
)
from ..settings.secrets import ApiKey
from ..workers.worker import Refusal
from .retries import RetryBudget, backoff, sdk_backoff
from .selection import Candidate

TRIES_PER_WORKER = 2
"""Requests to one worker in one call while another can be asked. A key that was refused says nothing of its worker
and is not counted."""
WAIT_JITTER = 0.1
"""A wait ends up to this share later, never earlier, so that not all calls come at once."""
REFUSED_PAUSE_SECONDS = 0.01
"""Before a worker is asked again that refused although it seemed to be free; doubled each time."""

ABOUT_THE_REQUEST = {FailureKind.BAD_REQUEST, FailureKind.CONTEXT_LENGTH, FailureKind.CONTENT_POLICY}


@attrs.frozen
class Ask:
    """Ask `candidate` after `wait` seconds, with a key that is not in `avoid`; `fresh`: on a new connection."""

    candidate: Candidate
    wait: float = 0.0
    avoid: frozenset[ApiKey] = frozenset()
    fresh: bool = False


@attrs.frozen
class Wait:
    """No worker may be asked now: wait until `until` (Trio time), or until something changes, then ask `next` again.

    `refusal` is what keeps `candidate`, the first that can be asked, from being asked now. `for_place`: some worker
    can be asked as soon as one of its requests ends.
    """

    until: float
    candidate: Candidate
    refusal: Refusal
    for_place: bool = False


@attrs.define(eq=False)
class _Tried:
    """What this call knows of one candidate."""

    candidate: Candidate
    asked: bool = False
    requests: int = 0
    tries: int = 0  # of them, those that say something about the worker and not about a key
    keys: set[ApiKey] = attrs.field(factory=set)  # refused in this call
    last: Failure | None = None
    refused: bool = False  # it was not admitted, or had no key
    refusals: int = 0  # how often
    excluded: bool = False  # it cannot be asked this
    key_swapped: bool = False
    fresh_after: bool = False  # it was silent on a kept connection, and not yet asked on a new one


@attrs.frozen
class _First:
    """Which candidate can be asked first, and when."""

    ready: float  # Trio time
    tried: _Tried
    refusal: Refusal | None  # None: only a pause keeps it from being asked now
    for_place: bool = False


@final
class Plan:
    """One call's way through its candidates. `deadline` is the Trio time by which it must be over; it may be moved.

    Args:
        order: the candidates that may be asked now, best first. The next is drawn only when all before were no help.
        all_candidates: all that are configured for this call, also those that may not be asked now.
        refusal: why a candidate may not be asked now, from shared state; None if it may.
        max_attempts: requests of this call that reach a provider. Connects that failed cost none of them; they are
            repeated one time less than this, over all workers.
        max_wait: seconds that this call may wait in all because no worker may be asked.
        budget: of retries, for the whole gateway.
        chance: uniform in [0, 1).
    """

    def __init__(
        self,
        order: Iterable[Candidate],
        *,
        all_candidates: Callable[[], Sequence[Candidate]],
        refusal: Callable[[Candidate, float], Refusal | None],
        max_attempts: int,
        deadline: float,
        max_wait: float,
        budget: RetryBudget,
        chance: Callable[[], float],
    ) -> None:
        self._tried: dict[str, _Tried] = {}  # by worker
        self._order = iter(order)
        self._drawn: list[_Tried] = []  # of the order, so far
        self._all_candidates = all_candidates
        self._refusal = refusal
        self._current: _Tried | None = None
        self._max_attempts = self._left = max_attempts
        self.deadline = deadline
        self._wait_left = max_wait
        self._budget = budget
        self._chance = chance
        self._retries = 0
        self._reconnects = 0
        self._over = False
        self._committed = False
        self._window: int | None = None  # tokens of the window that was too small; 0 if unknown

    # -------------------------------------------------------------- what came of it

    def refuse(self, candidate: Candidate, *, for_good: bool = False, is_busy: bool = False) -> None:
        """It was not admitted, or has no (other) key: nothing was sent.

        `for_good`: this call cannot ask it. `is_busy`: a request of it must end first, which is waited for without a
        pause.
        """
        tried = self._current = self._of(candidate)
        tried.refused = True
        tried.refusals += not is_busy
        tried.excluded |= for_good

    def learn(
        self,
        candidate: Candidate,
        failure: Failure,
        key: ApiKey | None,
        *,
        committed: bool = False,
        reused: bool = False,
    ) -> None:
        """It failed. `committed`: some of its answer was delivered; `reused`: it was asked on a kept connection."""
        tried, reaction = self._of(candidate), REACTIONS[failure.kind]
        self._current = tried
        tried.last = failure
        tried.requests += 1
        if failure.phase != "connect":
            self._left -= 1
        if reaction.next_key is NextKey.NO or key is None:
            tried.tries += 1
        else:
            tried.keys.add(key)
        tried.fresh_after = failure.kind is FailureKind.STALLED and reused
        if reaction.next_worker is NextWorker.LARGER:
            self._window = tried.candidate.window or 0
        self._committed = committed
        again = failure.should_retry is True and tried.tries < self._max_attempts
        self._over = reaction.next_worker is NextWorker.NO and not again

    def lost(self, candidate: Candidate) -> None:
        """It was asked, lost a race and was left: a request it was all the same."""
        self._left -= 1
        self._of(candidate).tries += 1

    def change(self) -> None:
        """From now on something else is asked for: what was wrong with the request proves nothing any more."""
        self._over, self._window = False, None
        for tried in self._tried.values():
            if tried.last is not None and tried.last.kind in ABOUT_THE_REQUEST:
                tried.last, tried.asked = None, False
                tried.tries -= 1

    def waited(self, seconds: float, order: Iterable[Candidate]) -> None:
        """A wait is over; `order` are the candidates that may be asked now."""
        self._wait_left = max(0.0, self._wait_left - seconds)
        self._order, self._drawn = iter(order), []
        for tried in self._tried.values():
            tried.refused = False

    def _of(self, candidate: Candidate) -> _Tried:
        """What is known of it, which a reload may have changed meanwhile."""
        tried = self._tried.setdefault(candidate.state.name, _Tried(candidate))
        tried.candidate = candidate
        return tried

    # -------------------------------------------------------------- what comes next

    def next(self, now: float) -> Ask | Wait | None:
        """What to do now; None when no worker is left that might help."""
        if self._over or self._left <= 0 or now >= self.deadline:
            return None
        return self._same_worker(now) or self._next_worker(now) or self._other_key(now) or self._later(now)

    def hedge(self, now: float) -> Ask | None:
        """Which worker to ask as well, while the one asked last is still silent."""
        return None if self._left <= 1 or now >= self.deadline else self._next_worker(now)

    def _same_worker(self, now: float) -> Ask | None:
        tried = self._current
        if tried is None or tried.last is None or tried.refused:
            return None
        if swapped := self._swap_key(tried, now):
            return swapped
        hinted = _names_time(tried.last)  # then not before, and all other workers go first
        once = same_worker_of(tried.last) is SameWorker.ONCE and not self._committed and not hinted
        pause = backoff(self._retries, self._chance())
        in_time = tried.tries < TRIES_PER_WORKER and now + pause < self.deadline
        if once and in_time and self._budget.ready_in(now) == 0:
            self._take_retry(now)
            return Ask(tried.candidate, wait=pause, avoid=frozenset(tried.keys))
        return None

    def _swap_key(self, tried: _Tried, now: float) -> Ask | None:
        if tried.last is None or tried.refused or not tried.keys:
            return None
        if len(tried.keys) >= len(tried.candidate.endpoint.keys):
            return None
        next_key = REACTIONS[tried.last.kind].next_key
        if next_key is NextKey.NO or (next_key is NextKey.ONCE and tried.key_swapped):
            return None
        pause = self._refused_pause(tried)
        if pause is None or self._refusal(tried.candidate, now) is not None:
            return None
        tried.key_swapped = next_key is NextKey.ONCE
        return Ask(tried.candidate, wait=pause, avoid=frozenset(tried.keys))

    def _other_key(self, now: float) -> Ask | None:
        """A race had gone on with another worker when a key was refused: are there more keys where it was?"""
        return next((ask for tried in self._tried.values() if (ask := self._swap_key(tried, now))), None)

    def _next_worker(self, now: float) -> Ask | None:
        for tried in self._in_order(now):
            fresh = not tried.asked and not tried.refused and not tried.excluded
            if fresh and self._is_large_enough(tried.candidate):
                tried.asked = True
                return Ask(tried.candidate)
        return None

    def _in_order(self, now: float) -> Iterator[_Tried]:
        """Those that were passed over and may be asked now, then those that the order has left."""
        for tried in self._drawn:
            if not tried.asked and self._refusal(tried.candidate, now) is None:
                yield tried
        for candidate in self._order:
            self._drawn.append(tried := self._of(candidate))
            yield tried

    def _is_large_enough(self, candidate: Candidate) -> bool:
        if self._window is None:
            return True
        window = candidate.window
        return window is not None and window > self._window

    # -------------------------------------------------------------- when no other worker can be asked now

    def _later(self, now: float) -> Ask | Wait | None:
        """The first that can be asked. One that was asked twice counts only if it comes before all others.

        The last attempt is kept for a worker that was not asked yet and is waited for.
        """
        first = self._first(now, TRIES_PER_WORKER)
        is_kept = first is not None and first.tried.last is None and self._left == 1
        if first is None or (first.ready > now and not is_kept):
            again = self._first(now, max(TRIES_PER_WORKER, self._max_attempts))
            if again is not None and (first is None or again.ready < first.ready):
                first = again
        if first is None:
            return None
        tried = self._current = first.tried
        if first.refusal is not None:
            self._current = None
            return Wait(first.ready, tried.candidate, first.refusal, first.for_place)
        fresh, tried.fresh_after = tried.fresh_after, False
        if tried.last is None:
            self._wait_left -= first.ready - now
        else:
            self._reconnects += tried.last.phase == "connect"
            if not _names_time(tried.last):
                self._take_retry(now)  # what the server itself asked for is no storm of ours
        tried.asked, tried.refused = True, False
        tried.keys.clear()  # their cooldowns say which of them may be used
        return Ask(tried.candidate, wait=first.ready - now, fresh=fresh)

    def _take_retry(self, now: float) -> None:
        self._wait_left = max(0.0, self._wait_left - self._budget.ready_in(now))
        self._budget.take(now)
        self._retries += 1

    def _first(self, now: float, most: int) -> _First | None:
        """Of those that were asked less than `most` times the one that can be asked first, and when."""
        found: _First | None = None
        for_place, chance = False, self._chance()
        for candidate in self._all_candidates():
            tried = self._tried.get(candidate.state.name) or _Tried(candidate)
            pause = self._pause(tried, now, most, chance)
            if pause is None or not self._is_large_enough(candidate):
                continue
            refusal = self._refusal(candidate, now)
            for_place |= refusal is not None and refusal.until_request_ends
            ready = now + pause if refusal is None else self._opens(refusal, now, pause, chance)
            if ready is None:
                continue
            in_time = ready < self.deadline or (ready == self.deadline and for_place)
            sooner = found is None or (ready, tried.requests) < (found.ready, found.tried.requests)
            if in_time and sooner:
                found = _First(ready, tried, refusal)
        if found is None:
            return None
        self._tried.setdefault(found.tried.candidate.state.name, found.tried)
        return attrs.evolve(found, for_place=for_place)

    def _opens(self, refusal: Refusal, now: float, pause: float, chance: float) -> float | None:
        """When to look again at what is refused now; None for never.

        The jitter takes no more than half of what is left before the deadline: a time that the caller has is waited.
        """
        if refusal.until_request_ends:
            until = min(now + self._wait_left, self.deadline)
            return until if until > now else None  # what is left may be too little to be a later time
        seconds = max(refusal.until - now, 0.0)
        if seconds > self._wait_left:
            return None
        spare = max(self.deadline - refusal.until, 0.0)
        jitter = min(seconds * WAIT_JITTER * chance, spare / 2)
        return max(refusal.until + jitter, now + pause)

    def _pause(self, tried: _Tried, now: float, most: int, chance: float) -> float | None:
        """Seconds before this call may ask it (again), as far as the call knows; None for never."""
        failure = tried.last
        if tried.excluded:
            return None
        if failure is None:
            return self._refused_pause(tried)
        if tried.fresh_after:
            return 0.0
        if tried.tries >= most:
            return None
        if failure.phase == "connect" and self._reconnects >= self._max_attempts - 1:
            return None
        if most > TRIES_PER_WORKER:
            return self._sdk_pause(failure, now, chance)
        match same_worker_of(failure):
            case SameWorker.AFTER_COOLDOWN:
                return 0.0 if _names_time(failure) else None
            case SameWorker.AFTER_OTHERS | SameWorker.ONCE:
                within_budget = self._budget.ready_in(now) == 0
                return backoff(self._retries, chance) if within_budget else None
            case SameWorker.NEVER:
                return None

    def _refused_pause(self, tried: _Tried) -> float | None:
        """Longer each time: two calls that take what the other gives back must not go round in no time."""
        pause = REFUSED_PAUSE_SECONDS * 2.0**tried.refusals if tried.refusals else 0.0
        return pause if pause <= self._wait_left else None

    def _sdk_pause(self, failure: Failure, now: float, chance: float) -> float | None:
        """What the official SDKs would do as well, an empty budget delays and does not forbid, within `max_wait`."""
        delay = self._budget.ready_in(now)
        if not official_sdks_retry(failure) or delay > self._wait_left:
            return None
        return max(sdk_backoff(self._retries, chance), delay)


def _names_time(failure: Failure) -> bool:
    """The server said when to come back.

    `Retry-After: 0` does not say when it helps: the official SDKs pause as they do without it
    (`_calculate_retry_timeout` in openai-python).
    """
    return failure.retry_after is not None and failure.retry_after > 0
