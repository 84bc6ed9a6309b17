"""What one call does next: ask a worker, wait, or give up. The failover rules as a state machine without I/O.

`next` decides; `learn` and `refuse` record the result. After a failure, by its row of `failures.REACTIONS`:

1. a failure that is the caller's own ends the call;
2. the same worker at once, if its server did not know a field that the dialect adds; another key of it, if the key
   was the reason;
3. the same worker once more, after a short pause, if a repetition may help and nothing was delivered;
4. the next worker (after context_length only one whose window is known to be larger);
5. when no other worker can be asked now: the worker that can be asked first, again or for the first time, after a
   pause or a wait. While another worker can be asked, a worker is asked twice at most; the only one left is asked as
   often as the official SDKs would, up to `max_attempts`.

Cooldowns are read from the state that all calls share (`Candidates.refusal`), not kept here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, final

import attrs

from ...failures import REACTIONS, Failure, FailureKind, NextKey, NextWorker, SameWorker, same_worker_of
from ..settings.secrets import ApiKey
from ..workers.worker import Refusal
from .eligibility import Candidate
from .readiness import (
    MOST_ADAPTED,
    TRIES_PER_WORKER,
    Allowance,
    Earliest,
    PauseRule,
    Tried,
    earliest,
    names_time,
    pause_after_refusal,
    pause_as_official_sdks,
    pause_beside_others,
)
from .retries import RetryBudget, backoff

ABOUT_THE_REQUEST = {FailureKind.BAD_REQUEST, FailureKind.CONTEXT_LENGTH, FailureKind.CONTENT_POLICY}
"""Failures that prove nothing once something else is asked for."""


class Candidates(Protocol):
    """The candidates of one call, as they are at the moment of asking."""

    def choose(self, now: float, is_excluded: Callable[[Candidate], bool]) -> Candidate | None:
        """Return the best that may be asked at `now` (Trio time) and is not excluded, or None."""
        ...

    def all(self) -> Sequence[Candidate]:
        """Return all whose configuration meets the criteria of the call."""
        ...

    def refusal(self, candidate: Candidate, now: float) -> Refusal | None:
        """Return why `candidate` may not be asked at `now`, or None if it may."""
        ...


@attrs.frozen
class Ask:
    """Ask a candidate."""

    candidate: Candidate
    pause: float = 0.0  # seconds before that
    avoid: frozenset[ApiKey] = frozenset()  # keys that the call must not use
    fresh: bool = False  # on a new connection


@attrs.frozen
class Wait:
    """No worker may be asked now: wait until `until` (Trio time) or until something changes, then call `next` again."""

    until: float
    candidate: Candidate  # the first that can be asked
    refusal: Refusal  # why it may not be asked now
    for_permit: bool = False  # a worker can be asked as soon as one of its requests ends


@final
class FailoverPlan:
    """The decisions of one call.

    Args:
        candidates: the workers that the call may ask.
        max_attempts: requests of this call that reach a provider. Connects that failed are not counted; they are
            repeated one time less than this, over all workers.
        deadline: Trio time by which the call must be over; it may be moved.
        max_wait: seconds that this call may wait in all because no worker may be asked.
        budget: of retries, for the whole gateway.
        chance: returns a number, uniform in [0, 1).
    """

    def __init__(
        self,
        candidates: Candidates,
        *,
        max_attempts: int,
        deadline: float,
        max_wait: float,
        budget: RetryBudget,
        chance: Callable[[], float],
    ) -> None:
        self._candidates = candidates
        self._allowance = Allowance(max_attempts, deadline, max_wait, budget)
        self._chance = chance
        self._tried: dict[str, Tried] = {}  # by worker
        self._current: Tried | None = None  # the one that failed or refused last
        self._is_over = False
        self._committed = False  # something of the last answer was delivered
        self._too_small: int | None = None  # tokens of a window that was too small; 0 if unknown

    @property
    def deadline(self) -> float:
        """Trio time by which the call must be over."""
        return self._allowance.deadline

    @deadline.setter
    def deadline(self, deadline: float) -> None:
        self._allowance.deadline = deadline

    # -------------------------------------------------------------- results

    def refuse(self, candidate: Candidate, *, for_good: bool = False, is_busy: bool = False) -> None:
        """Record that nothing was sent: the candidate was not admitted, or has no (other) key.

        Args:
            candidate: the worker.
            for_good: this call cannot ask it any more.
            is_busy: one of its requests must end first; the call waits for that without a pause.
        """
        tried = self._current = self._of(candidate)
        tried.refused = True
        if not is_busy:
            tried.refusals += 1
        if for_good:
            tried.excluded = True

    def learn(
        self,
        candidate: Candidate,
        failure: Failure,
        key: ApiKey | None,
        *,
        committed: bool = False,
        reused: bool = False,
        is_adapted: bool = False,
    ) -> None:
        """Record a failure.

        Args:
            candidate: the worker.
            failure: what the attempt proved.
            key: the key it used; None for a worker without keys.
            committed: something of the answer was delivered.
            reused: the request went over a kept connection.
            is_adapted: it was about a field that the dialect adds, and the next request will not have it.
        """
        tried, reaction = self._of(candidate), REACTIONS[failure.kind]
        self._current = tried
        tried.last = failure
        tried.requests += 1
        if failure.phase != "connect":
            self._allowance.attempts_left -= 1
        tried.repeats_adapted = is_adapted and tried.adapted < MOST_ADAPTED
        if tried.repeats_adapted:
            tried.adapted += 1
        elif reaction.next_key is NextKey.NO or key is None:
            tried.tries += 1
        else:
            tried.refused_keys.add(key)
        tried.fresh_after = failure.kind is FailureKind.STALLED and reused
        if reaction.next_worker is NextWorker.LARGER:
            self._too_small = tried.candidate.window or 0
        self._committed = committed
        is_repeatable = failure.should_retry is True and tried.tries < self._allowance.max_attempts
        is_own = reaction.next_worker is NextWorker.NO and not is_repeatable
        self._is_over = is_own and not tried.repeats_adapted

    def record_hedge_loss(self, candidate: Candidate) -> None:
        """Record that another worker answered first: the request to `candidate` was left, but it was made."""
        self._allowance.attempts_left -= 1
        self._of(candidate).tries += 1

    def reset_request_failures(self) -> None:
        """Forget what was wrong with the request: from now on the call asks for something else."""
        self._is_over, self._too_small = False, None
        for tried in self._tried.values():
            if tried.last is not None and tried.last.kind in ABOUT_THE_REQUEST:
                tried.last, tried.asked = None, False
                tried.tries = max(0, tried.tries - 1)

    def waited(self, seconds: float) -> None:
        """Record that a wait of `seconds` is over: workers that refused may be asked again."""
        self._allowance.take_wait(seconds)
        for tried in self._tried.values():
            tried.refused = False

    def _of(self, candidate: Candidate) -> Tried:
        """Return what is known of a worker; a reload may have replaced the candidate."""
        tried = self._tried.setdefault(candidate.state.name, Tried(candidate))
        tried.candidate = candidate
        return tried

    # -------------------------------------------------------------- decisions

    def next(self, now: float) -> Ask | Wait | None:
        """Return what to do at `now` (Trio time); None when no worker is left that might help."""
        if self._is_over or self._allowance.is_spent(now):
            return None
        return self._same_worker(now) or self._next_worker(now) or self._other_key(now) or self._later(now)

    def hedge(self, now: float) -> Ask | None:
        """Return which worker to ask as well, while the one that was asked last has sent nothing; None for none."""
        if self._allowance.attempts_left <= 1 or now >= self.deadline:
            return None
        return self._next_worker(now)

    def _same_worker(self, now: float) -> Ask | None:
        """Another key of the worker that has just failed, or the same request once more."""
        tried = self._current
        if tried is None or tried.last is None or tried.refused:
            return None
        if tried.repeats_adapted:
            return Ask(tried.candidate, avoid=frozenset(tried.refused_keys))
        if swapped := self._swap_key(tried, now):
            return swapped
        if same_worker_of(tried.last) is not SameWorker.ONCE or self._committed:
            return None
        if names_time(tried.last):  # it is not asked before that time, and all other workers go first
            return None
        pause = backoff(self._allowance.retries, self._chance())
        if tried.tries >= TRIES_PER_WORKER or now + pause >= self.deadline:
            return None
        if self._allowance.budget.ready_in(now) > 0:
            return None
        self._allowance.take_retry(now)
        return Ask(tried.candidate, pause=pause, avoid=frozenset(tried.refused_keys))

    def _swap_key(self, tried: Tried, now: float) -> Ask | None:
        """Another key of a worker that has refused one."""
        if tried.last is None or tried.refused or not tried.refused_keys:
            return None
        if len(tried.refused_keys) >= len(tried.candidate.endpoint.keys):
            return None
        next_key = REACTIONS[tried.last.kind].next_key
        if next_key is NextKey.NO or (next_key is NextKey.ONCE and tried.key_swapped):
            return None
        pause = pause_after_refusal(tried, self._allowance)
        if pause is None or self._candidates.refusal(tried.candidate, now) is not None:
            return None
        tried.key_swapped = next_key is NextKey.ONCE
        return Ask(tried.candidate, pause=pause, avoid=frozenset(tried.refused_keys))

    def _other_key(self, now: float) -> Ask | None:
        """Another key of a worker that refused one while the call went on with a second worker (hedging)."""
        return next((ask for tried in self._tried.values() if (ask := self._swap_key(tried, now))), None)

    def _next_worker(self, now: float) -> Ask | None:
        """The best worker that the call has not asked."""
        candidate = self._candidates.choose(now, self._is_excluded)
        if candidate is None:
            return None
        self._of(candidate).asked = True
        return Ask(candidate)

    def _is_excluded(self, candidate: Candidate) -> bool:
        tried = self._tried.get(candidate.state.name)
        if tried is not None and (tried.asked or tried.refused or tried.excluded):
            return True
        return not self._is_large_enough(candidate)

    def _is_large_enough(self, candidate: Candidate) -> bool:
        if self._too_small is None:
            return True
        return candidate.window is not None and candidate.window > self._too_small

    # -------------------------------------------------------------- when no other worker can be asked now

    def _later(self, now: float) -> Ask | Wait | None:
        """The worker that can be asked first, after a pause or a wait."""
        first = self._earliest_of_both_rules(now)
        if first is None:
            return None
        tried = first.tried
        if first.refusal is not None:
            self._current = None
            return Wait(first.ready, tried.candidate, first.refusal, first.for_permit)
        self._current = tried
        fresh, tried.fresh_after = tried.fresh_after, False
        if tried.last is None:
            self._allowance.wait_left -= first.ready - now
        else:
            if tried.last.phase == "connect":
                self._allowance.reconnects += 1
            if not names_time(tried.last):  # a time that the server named needs no budget
                self._allowance.take_retry(now)
        tried.asked, tried.refused = True, False
        tried.refused_keys.clear()  # their cooldowns say which of them may be used
        return Ask(tried.candidate, pause=first.ready - now, fresh=fresh)

    def _earliest_of_both_rules(self, now: float) -> Earliest | None:
        """A worker that was asked twice counts only if it can be asked before all others.

        The last attempt is kept for a worker that was not asked yet and can be waited for.
        """
        first = self._earliest(now, pause_beside_others)
        if first is not None:
            is_kept = first.tried.last is None and self._allowance.attempts_left == 1
            if first.ready <= now or is_kept:
                return first
        if self._allowance.max_attempts <= TRIES_PER_WORKER:
            return first
        again = self._earliest(now, pause_as_official_sdks)
        if first is None or (again is not None and again.ready < first.ready):
            return again
        return first

    def _earliest(self, now: float, pause_rule: PauseRule) -> Earliest | None:
        """Of the candidates that `pause_rule` allows, the one that can be asked first."""
        refusal, chance = self._candidates.refusal, self._chance()
        found = earliest(self._usable(), pause_rule, self._allowance, refusal, now=now, chance=chance)
        if found is not None:
            self._tried.setdefault(found.tried.candidate.state.name, found.tried)
        return found

    def _usable(self) -> Iterable[Tried]:
        """What is known of each candidate that the call can ask, also of those that it never asked."""
        for candidate in self._candidates.all():
            tried = self._tried.get(candidate.state.name) or Tried(candidate)
            tried.candidate = candidate  # a reload may have replaced it
            if not tried.excluded and self._is_large_enough(candidate):
                yield tried
