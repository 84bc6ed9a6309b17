"""What is not asked for a while, why, and until when: one table for workers, models, keys, and keys for one model.

Pure: times are parameters (Trio time, seconds). How long, and for what, is a column of `failures.REACTIONS`. The table
is made before the supervision tree, so no crash of an actor forgets a cooldown. It is a plain object and not an actor:
the task that learned something writes it before it chooses the next candidate, so that choosing reads shared state
and no call keeps a copy of its own. Every method is synchronous, so no other task sees half a change.

    declared    the server named the time (Retry-After): believed in full
    refused     an answer said no (wrong key, unknown model): from `trial_at` on one request may try again, if
                nothing else can serve; each trial that is not served doubles the time to the next
    suspected   a guess (429 without a time, a failed health check): asked last instead of never

Every cooldown has an end, at most an hour away. It ends earlier when a request is served, when a health check
proves the opposite, or when a person asks for a health check or a reload.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Sequence
from typing import final

import attrs

from ...failures import LONGEST_COOLDOWN, REACTIONS, CooldownRule, Failure, FailureKind, Scope
from ..settings.secrets import ApiKey

CHECK_SECONDS = 120.0
"""How long a failed health check makes a worker the last choice when no other check follows."""
EMPTY_BUCKET_TRIAL_SECONDS = 60.0
"""A header of an answer that was served is less than a refusal: after a minute one request may try."""
PLACES_KEPT = 1_000
"""Cooldowns kept of one worker: callers name the models they like, and memory is bounded."""
REMEMBERED_SECONDS = LONGEST_COOLDOWN
"""How long after its end a cooldown is remembered, so that the next one in a row is longer."""

Place = tuple[str | None, ApiKey | None]
"""A model and a key of one worker; None stands for all."""


class Basis(enum.Enum):
    DECLARED = "declared"
    REFUSED = "refused"
    SUSPECTED = "suspected"


@attrs.frozen
class Cooldown:
    """One entry. Invariant: `since <= trial_at <= until`, and `until` is never more than an hour after `since`."""

    kind: FailureKind
    since: float
    until: float
    trial_at: float  # from then on a request may try, if nothing else can serve
    basis: Basis
    failures: int = 1  # in a row

    def is_over(self, now: float) -> bool:
        return self.until <= now

    def may_be_tried(self, now: float) -> bool:
        return self.trial_at <= now


@final
class Cooldowns:
    """The table. `rate_limit_seconds` replaces the growing cooldowns after a 429 that named no time."""

    def __init__(self, rate_limit_seconds: float | None = None) -> None:
        self.rate_limit_seconds = rate_limit_seconds
        self._workers: dict[str, dict[Place, Cooldown]] = {}

    # -------------------------------------------------------------- reading

    def of_worker(self, worker: str, model: str, now: float) -> Cooldown | None:
        """What keeps all keys of `worker` from serving `model`, or None."""
        places = self._workers.get(worker)
        return _longest(places, ((None, None), (model, None)), now) if places else None

    def of_key(self, worker: str, model: str, key: ApiKey | None, now: float) -> Cooldown | None:
        """What keeps `key` from serving `model`, or None. A worker without keys has none of its own."""
        places = self._workers.get(worker)
        return _longest(places, ((None, key), (model, key)), now) if places and key else None

    def of_keys(self, worker: str, model: str, keys: Sequence[ApiKey], now: float) -> Cooldown | None:
        """None if one of `keys` may be used; otherwise the cooldown after which the first of them may be."""
        if worker not in self._workers:
            return None  # asked of every worker at every request
        first: Cooldown | None = None
        for key in keys:
            cooldown = self.of_key(worker, model, key, now)
            if cooldown is None:
                return None
            if first is None or (cooldown.trial_at, cooldown.until) < (first.trial_at, first.until):
                first = cooldown
        return first

    def entries(self, worker: str, now: float) -> Iterator[tuple[Place, Cooldown]]:
        """All cooldowns of `worker` that have not ended."""
        for place, cooldown in self._workers.get(worker, {}).items():
            if not cooldown.is_over(now):
                yield place, cooldown

    # -------------------------------------------------------------- what real traffic shows

    def failed(
        self,
        worker: str,
        model: str,
        key: ApiKey | None,
        failure: Failure,
        *,
        started: float,
        now: float,
        has_more_keys: bool = False,
    ) -> None:
        """Record what one attempt, begun at `started`, proved. Attempts that failed together count as one."""
        reaction = REACTIONS[failure.kind]
        rule, hint = reaction.cooldown, failure.retry_after
        if failure.ours:
            return
        if rule is None:
            if hint is not None and reaction.weight:
                self._add(worker, (None, None), _declared(failure.kind, hint, now))
            return
        place = self._place(worker, model, key, rule.scope, failure.kind, has_more_keys=has_more_keys)
        known = self._workers.get(worker, {}).get(place)
        failures = 1
        if known is not None and known.kind is failure.kind:
            failures = known.failures + (known.since < started)
        self._add(worker, place, self._by_rule(rule, failure, failures, now))

    def _place(
        self,
        worker: str,
        model: str,
        key: ApiKey | None,
        scope: Scope,
        kind: FailureKind,
        *,
        has_more_keys: bool,
    ) -> Place:
        match scope:
            case Scope.WORKER:
                return None, None
            case Scope.KEY:
                return None, key
            case Scope.KEY_MODEL:
                return model, key
            case Scope.MODEL:
                # "It does not exist, or you do not have access to it" (OpenAI): another key may have it. What two
                # keys do not find is not there.
                others = self._workers.get(worker, {}).items()
                second = any(
                    at[0] == model and at[1] not in (None, key) and c.kind is kind for at, c in others
                )
                return (model, key) if has_more_keys and not second else (model, None)

    def _by_rule(self, rule: CooldownRule, failure: Failure, failures: int, now: float) -> Cooldown:
        seconds = rule.seconds[min(failures, len(rule.seconds)) - 1]
        pause = rule.trial_seconds[min(failures, len(rule.trial_seconds)) - 1]
        if pause == 0 and failure.retry_after is not None:
            return _declared(failure.kind, failure.retry_after, now)
        if failure.kind is FailureKind.RATE_LIMIT and self.rate_limit_seconds is not None:
            seconds = self.rate_limit_seconds
        if failure.retry_after is not None:
            seconds = failure.retry_after
        until = now + min(seconds, LONGEST_COOLDOWN)
        basis = Basis.REFUSED if pause else Basis.SUSPECTED
        return Cooldown(failure.kind, now, until, min(now + pause, until), basis, failures)

    def bucket_is_empty(
        self, worker: str, model: str, key: ApiKey | None, seconds: float, now: float
    ) -> None:
        """An answer said that no request is left until `seconds` from now."""
        until = now + min(seconds, LONGEST_COOLDOWN)
        trial_at = min(until, now + EMPTY_BUCKET_TRIAL_SECONDS)
        self._add(
            worker, (model, key), Cooldown(FailureKind.RATE_LIMIT, now, until, trial_at, Basis.DECLARED)
        )

    def served(self, worker: str, model: str, key: ApiKey | None, *, started: float, now: float) -> bool:
        """An attempt that began at `started` was served: what was thought of it before is over.

        A cooldown that began meanwhile stays: the headers of this answer, or another request, know better. Real
        traffic outweighs a health check whenever that was. Returns whether calls that wait may look again: a cooldown
        whose time was over keeps them waiting no longer than their jitter.
        """
        places = self._workers.get(worker)
        if not places:
            return False
        ended = False
        for place in {(None, None), (model, None), (None, key), (model, key)}:
            known = places.get(place)
            if known is not None and (known.since < started or _is_of_check(place, known)):
                del places[place]
                ended |= known.trial_at > now
        self._forget_if_empty(worker)
        return ended

    def begin_trial(self, worker: str, model: str, key: ApiKey | None, now: float) -> None:
        """A request is about to try what was refused: the next may do so after twice as long."""
        places = self._workers.get(worker)
        if not places:
            return
        for place in {(None, None), (model, None), (None, key), (model, key)}:
            known = places.get(place)
            if known is None or known.basis is Basis.SUSPECTED:
                continue
            if known.trial_at <= now < known.until:
                pause = 2 * max(known.trial_at - known.since, 1.0)
                places[place] = attrs.evolve(known, trial_at=min(now + pause, known.until))

    # -------------------------------------------------------------- what a health check or a person says

    def suspect(self, worker: str, kind: FailureKind, now: float, *, key: ApiKey | None = None) -> None:
        """A health check failed: of `key`, or of the whole worker. What real traffic showed there stays."""
        known = self._workers.get(worker, {}).get((None, key))
        if known is not None and known.basis is not Basis.SUSPECTED and not known.is_over(now):
            return
        failures = known.failures if known is not None and known.kind is kind else 1
        cooldown = Cooldown(kind, now, now + CHECK_SECONDS, now, Basis.SUSPECTED, failures)
        self._add(worker, (None, key), cooldown)

    def check_passed(self, worker: str, key: ApiKey | None, models: Iterable[str] = ()) -> bool:
        """A health check was answered with `key`, and listed `models`. Returns whether it ended anything."""
        listed, ended = set(models), False
        for place, known in list(self._workers.get(worker, {}).items()):
            model, its_key = place
            suspected = place == (None, None) and known.basis is Basis.SUSPECTED
            accepted = known.kind is FailureKind.CREDENTIAL and its_key == key
            found = known.kind is FailureKind.MODEL_NOT_FOUND and model in listed and its_key in (None, key)
            if suspected or accepted or found:
                del self._workers[worker][place]
                ended = True
        self._forget_if_empty(worker)
        return ended

    def lift(self, worker: str) -> None:
        """A person asked for a health check or a reload: only what a server asked for by a time remains."""
        places = self._workers.get(worker, {})
        self._workers[worker] = {
            place: known for place, known in places.items() if known.basis is Basis.DECLARED
        }
        self._forget_if_empty(worker)

    def forget(self, worker: str) -> None:
        """The worker was removed, or has another address: nothing of before counts."""
        self._workers.pop(worker, None)

    def keep_keys(self, worker: str, keys: Iterable[ApiKey]) -> None:
        """Forget the keys that `worker` does not have any more."""
        kept = {None, *keys}
        places = self._workers.get(worker, {})
        self._workers[worker] = {place: known for place, known in places.items() if place[1] in kept}
        self._forget_if_empty(worker)

    def sweep(self, now: float) -> None:
        """Forget what ended so long ago that nothing follows from it."""
        for worker in list(self._workers):
            places = self._workers[worker]
            self._workers[worker] = {
                place: known for place, known in places.items() if known.until + REMEMBERED_SECONDS > now
            }
            self._forget_if_empty(worker)

    # -------------------------------------------------------------- writing

    def _add(self, worker: str, place: Place, new: Cooldown) -> None:
        """Enter `new`. Of two that have not ended the longer one holds, whichever came first."""
        places = self._workers.setdefault(worker, {})
        known = places.pop(place, None)
        if known is not None and not known.is_over(new.since) and _length(known) > _length(new):
            new = attrs.evolve(known, failures=max(known.failures, new.failures))
        places[place] = new
        if len(places) > PLACES_KEPT:
            # The oldest that is of a model: their names are the callers', those of keys are the configuration's.
            oldest = next((place for place in places if place[0] is not None), next(iter(places)))
            del places[oldest]

    def _forget_if_empty(self, worker: str) -> None:
        if not self._workers.get(worker):
            self._workers.pop(worker, None)


def _is_of_check(place: Place, cooldown: Cooldown) -> bool:
    """A guess about all models comes from a health check; one of real traffic is about the model it asked for."""
    return place[0] is None and cooldown.basis is Basis.SUSPECTED


def _declared(kind: FailureKind, seconds: float, now: float) -> Cooldown:
    until = now + min(seconds, LONGEST_COOLDOWN)
    return Cooldown(kind, now, until, until, Basis.DECLARED)


def _longest(places: dict[Place, Cooldown], at: Iterable[Place], now: float) -> Cooldown | None:
    found = [known for place in at if (known := places.get(place)) and known.until > now]
    return max(found, key=_length, default=None)


def _length(cooldown: Cooldown) -> tuple[float, float]:
    return cooldown.trial_at, cooldown.until
