"""Who is asked next, and after which pause: the failover rules as a pure state machine. No clock, no I/O.

`next` says whom to ask, `learn` and `refuse` say what came of it. The rules, in the order in which they are
tried after a failure, by its row of `failures.REACTIONS`:

1. a failure that is the caller's own ends the call;
2. another key of the same worker, if a key was the trouble;
3. the same worker once more, after a short pause, if a repeat may help and nothing was delivered;
4. the next worker (after context_length: only one whose window is known to be larger);
5. when all were asked: whoever said when to come back, if that fits the deadline.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import final

import attrs

from ..failures import REACTIONS, Failure, FailureKind, NextKey, NextWorker, SameWorker
from .retries import backoff
from .secrets import ApiKey
from .selection import Candidate

TRIES_PER_WORKER = 2
"""Requests to one worker in one call; a key that was refused says nothing of its worker and is not counted."""
LONGEST_WAIT_SECONDS = 60.0
WAIT_JITTER = 0.1
"""Waiting out a Retry-After ends up to this share later, never earlier: not everybody at once."""
WAIT_MARGIN_SECONDS = 0.01
"""The key's own rest is counted from a moment later than ours."""

ABOUT_THE_REQUEST = {FailureKind.BAD_REQUEST, FailureKind.CONTEXT_LENGTH, FailureKind.CONTENT_POLICY}


@attrs.frozen
class Ask:
    """Ask `candidate` after `wait` seconds, with a key that is not in `avoid`."""

    candidate: Candidate
    wait: float = 0.0
    avoid: frozenset[ApiKey] = frozenset()


@attrs.define(eq=False)
class _Tried:
    """What this call knows of one candidate."""

    candidate: Candidate
    asked: bool = False
    tries: int = 0
    keys: set[ApiKey] = attrs.field(factory=set)  # refused in this call
    last: Failure | None = None
    reopens: float = math.inf  # Trio time of the earliest Retry-After one of its keys got
    not_before: float = -math.inf  # Trio time of the latest Retry-After it gave for itself, whatever the key
    waited: bool = False
    refused: bool = False  # it would not be admitted; it is not asked again
    out_of_keys: bool = False
    key_swapped: bool = False


@final
class Plan:
    """One call's way through its candidates. `deadline` is the Trio time by which it must be over; it may be moved.

    The next in `order` is asked for only when everybody before was of no help.
    """

    def __init__(
        self,
        order: Iterable[Candidate],
        *,
        max_attempts: int,
        deadline: float,
        may_retry: Callable[[float], bool],
        chance: Callable[[], float],
    ) -> None:
        self._all: list[_Tried] = []
        self._order = iter(order)
        self._current: _Tried | None = None
        self._left = max_attempts
        self.deadline = deadline
        self._may_retry = may_retry
        self._chance = chance
        self._retries = 0
        self._over = False
        self._committed = False
        self._window: int | None = None  # tokens of the window that was too small; 0 if unknown

    # -------------------------------------------------------------- what came of it

    def refuse(self, candidate: Candidate) -> None:
        """It would not be admitted, or has no (other) key: nothing was sent."""
        tried = self._current = self._of(candidate)
        if tried.keys:
            tried.out_of_keys = True  # the others rest as well; the worker itself may still be waited for
        else:
            tried.refused = True

    def learn(
        self,
        candidate: Candidate,
        failure: Failure,
        key: ApiKey | None,
        now: float,
        *,
        committed: bool = False,
    ) -> None:
        """It failed. `committed`: something of its answer was delivered already."""
        tried, reaction = self._of(candidate), REACTIONS[failure.kind]
        self._current = tried
        tried.last = failure
        if failure.phase != "connect":
            self._left -= 1
        if reaction.next_key is NextKey.NO or key is None:
            tried.tries += 1
        else:
            tried.keys.add(key)
        if failure.retry_after is not None and reaction.next_key is NextKey.NO:
            tried.not_before = max(tried.not_before, now + failure.retry_after)
        elif failure.retry_after is not None:
            tried.reopens = min(tried.reopens, now + failure.retry_after)
        if reaction.next_worker is NextWorker.LARGER:
            self._window = tried.candidate.window or 0
        self._committed = committed
        again = failure.should_retry is True and tried.tries < TRIES_PER_WORKER
        self._over = reaction.next_worker is NextWorker.NO and not again

    def lost(self, candidate: Candidate) -> None:
        """It was asked, lost a race and was left: a request it was all the same."""
        self._left -= 1
        self._of(candidate).tries += 1

    def change(self) -> None:
        """From now on something else is asked for: what was wrong with the request proves nothing any more."""
        self._over, self._window = False, None
        for tried in self._all:
            if tried.last is not None and tried.last.kind in ABOUT_THE_REQUEST:
                tried.last, tried.asked = None, False
                tried.tries -= 1

    def _of(self, candidate: Candidate) -> _Tried:
        return next(tried for tried in self._all if tried.candidate is candidate)

    # -------------------------------------------------------------- what comes next

    def next(self, now: float) -> Ask | None:
        """Whom to ask now; None when nobody is left who might help."""
        if self._over or self._left <= 0 or now >= self.deadline:
            return None
        return self._same_worker(now) or self._next_worker() or self._other_key() or self._come_back(now)

    def hedge(self, now: float) -> Ask | None:
        """Whom to ask as well, while the one asked last is still silent."""
        return None if self._left <= 1 or now >= self.deadline else self._next_worker()

    def _same_worker(self, now: float) -> Ask | None:
        tried = self._current
        if tried is None or tried.last is None or tried.refused:
            return None
        if swapped := self._swap_key(tried):
            return swapped
        hinted = tried.last.retry_after is not None  # then not before, and everybody else goes first
        once = self._same(tried.last) is SameWorker.ONCE and not self._committed and not hinted
        pause = self._pause()
        in_time = tried.tries < TRIES_PER_WORKER and now + pause < self.deadline
        if once and in_time and self._may_retry(now):
            self._retries += 1
            return Ask(tried.candidate, wait=pause, avoid=frozenset(tried.keys))
        return None

    def _swap_key(self, tried: _Tried) -> Ask | None:
        if tried.last is None or tried.refused or not tried.keys or self._exhausted(tried):
            return None
        next_key = REACTIONS[tried.last.kind].next_key
        if next_key is NextKey.NO or (next_key is NextKey.ONCE and tried.key_swapped):
            return None
        tried.key_swapped = next_key is NextKey.ONCE
        return Ask(tried.candidate, avoid=frozenset(tried.keys))

    def _other_key(self) -> Ask | None:
        """A race had gone on with somebody else when a key was refused: are there more where it was?"""
        return next((ask for tried in self._all if (ask := self._swap_key(tried))), None)

    def _exhausted(self, tried: _Tried) -> bool:
        return tried.out_of_keys or len(tried.keys) >= len(tried.candidate.state.config.api_keys)

    def _next_worker(self) -> Ask | None:
        for tried in self._everybody():
            fresh = not tried.asked and not tried.refused
            if fresh and self._large_enough(tried.candidate):
                tried.asked = True
                return Ask(tried.candidate)
        return None

    def _everybody(self) -> Iterator[_Tried]:
        yield from self._all
        for candidate in self._order:
            self._all.append(tried := _Tried(candidate))
            yield tried

    def _large_enough(self, candidate: Candidate) -> bool:
        if self._window is None:
            return True
        window = candidate.window
        return window is not None and window > self._window

    def _come_back(self, now: float) -> Ask | None:
        """Everybody was asked: wait for whoever may serve soonest, if there is time for it."""
        waits = [(self._wait(tried, now), tried) for tried in self._all]
        seconds, tried = min(waits, key=lambda pair: pair[0], default=(math.inf, None))
        if tried is None or now + seconds >= self.deadline or not self._may_retry(now):
            return None
        self._retries += 1
        tried.waited = True
        if tried.last is not None and REACTIONS[tried.last.kind].next_key is not NextKey.NO:
            tried.out_of_keys = False
            tried.keys.clear()  # it is their rest that was waited for
        return Ask(tried.candidate, wait=seconds, avoid=frozenset(tried.keys))

    def _wait(self, tried: _Tried, now: float) -> float:
        """Seconds until this one may be asked again by this call; infinity for never."""
        if tried.last is None or tried.refused or tried.waited or tried.tries >= TRIES_PER_WORKER:
            return math.inf
        by_key = REACTIONS[tried.last.kind].next_key is not NextKey.NO
        opens = max(tried.reopens, tried.not_before) if by_key else tried.not_before
        hint = opens - now if math.isfinite(opens) else None
        patient = None
        if hint is not None:
            patient = max(hint, 0.0) * (1 + WAIT_JITTER * self._chance()) + WAIT_MARGIN_SECONDS
            patient = patient if hint <= LONGEST_WAIT_SECONDS else math.inf
        match self._same(tried.last):
            case SameWorker.AFTER_HINT:
                return math.inf if patient is None else patient
            case SameWorker.AFTER_BACKOFF:
                return self._pause() if patient is None else patient
            case SameWorker.ONCE if patient is not None:
                return patient
            case SameWorker.ONCE if self._committed:
                return self._pause()
            case SameWorker.ONCE | SameWorker.NEVER:
                return math.inf

    def _same(self, failure: Failure) -> SameWorker:
        """The table's word on asking the same worker again, unless the provider itself had one."""
        reaction = REACTIONS[failure.kind]
        if failure.should_retry is False:
            return SameWorker.NEVER
        repeatable = reaction.next_key is NextKey.NO and failure.kind is not FailureKind.STALLED
        if failure.should_retry is True and repeatable and reaction.same_worker is SameWorker.NEVER:
            return SameWorker.ONCE
        return reaction.same_worker

    def _pause(self) -> float:
        return backoff(self._retries, self._chance())
