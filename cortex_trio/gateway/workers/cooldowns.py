"""One table of cooldowns, of workers, models, API keys and key × model: why they are not used, and until when.

Pure: times are parameters (Trio time, seconds). Duration and scope are columns of `failures.REACTIONS`. The table is
made before the supervision tree, so no crash of an actor loses a cooldown. It is a plain object and not an actor: the
task that has a result writes it before it chooses the next candidate, so choosing reads shared state and no call keeps
a copy. All methods are synchronous, so no other task sees a part of a change.

    declared    the server named the time (Retry-After): it is kept in full
    refused     a response rejected the request (wrong key, unknown model): from `trial_at` on one request may try again
                if nothing else can serve; each trial that fails doubles the time to the next
    suspected   a guess (429 without a time, a failed health check): used last instead of never

A cooldown ends after an hour at most. It ends earlier when a request succeeds, when a health check proves the opposite,
or when the program asks for a health check or a reload.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, final

import attrs

from ...failures import LONGEST_COOLDOWN, REACTIONS, CooldownRule, Failure, FailureKind, Scope
from ..settings.secrets import ApiKey

CHECK_SECONDS = 120.0
"""Seconds for which a failed health check makes a worker the last choice if no other check follows."""
EMPTY_BUCKET_TRIAL_SECONDS = 60.0
"""Seconds after which one request may try, although a header says that no request is left: a header is no refusal."""
MAX_COOLDOWNS_PER_WORKER = 1_000
"""Callers choose the names of models, so their number must be limited."""
REMEMBERED_SECONDS = LONGEST_COOLDOWN
"""Seconds for which an ended cooldown is remembered, so that the next one of its kind is longer."""


class Target(NamedTuple):
    """What a cooldown is for: the part of one worker that a `failures.Scope` stands for."""

    model: str | None
    """None: all models."""
    key: ApiKey | None
    """None: all API keys."""


WHOLE_WORKER = Target(None, None)


class Basis(enum.Enum):
    """What a cooldown is based on; see the docstring of this module."""

    DECLARED = "declared"
    REFUSED = "refused"
    SUSPECTED = "suspected"


@attrs.frozen
class Cooldown:
    """One entry of the table.

    Invariants: `since <= trial_at <= until`, and `until` is at most an hour after `since`. All times are Trio time.
    """

    kind: FailureKind
    """Of the failure that started it."""
    since: float
    until: float
    trial_at: float
    """From then on a request may try, if nothing else can serve."""
    basis: Basis
    failures: int = 1
    """Failures of this kind in a row."""

    def is_over(self, now: float) -> bool:
        """Whether it has ended."""
        return self.until <= now

    def may_be_tried(self, now: float) -> bool:
        """Whether a request may try although it has not ended."""
        return self.trial_at <= now


@final
class Cooldowns:
    """The table of all workers.

    Attributes:
        rate_limit_seconds: of a cooldown after a 429 that names no time. None: they grow, as REACTIONS says.
        on_change: called with the name of a worker after a change of its cooldowns; synchronous, and must not wait.
    """

    def __init__(self, rate_limit_seconds: float | None = None) -> None:
        self.rate_limit_seconds = rate_limit_seconds
        self.on_change: Callable[[str], None] = lambda worker: None
        self._workers: dict[str, dict[Target, Cooldown]] = {}  # no worker has an empty dict

    # -------------------------------------------------------------- reading

    def of_worker(self, worker: str, model: str, now: float) -> Cooldown | None:
        """Return the cooldown of `worker` for `model` with any API key, or None."""
        entries = self._workers.get(worker)
        return _longest(entries, (WHOLE_WORKER, Target(model, None)), now) if entries else None

    def of_key(self, worker: str, model: str, key: ApiKey | None, now: float) -> Cooldown | None:
        """Return the cooldown of `key` for `model`, or None. A worker without API keys has none."""
        entries = self._workers.get(worker)
        return _longest(entries, (Target(None, key), Target(model, key)), now) if entries and key else None

    def of_keys(self, worker: str, model: str, keys: Sequence[ApiKey], now: float) -> Cooldown | None:
        """Return None if one of `keys` can be used, otherwise the cooldown that allows a trial first."""
        if worker not in self._workers:
            return None  # the usual case, at every request for every worker
        first: Cooldown | None = None
        for key in keys:
            cooldown = self.of_key(worker, model, key, now)
            if cooldown is None:
                return None
            if first is None or length_of(cooldown) < length_of(first):
                first = cooldown
        return first

    def entries(self, worker: str, now: float) -> Iterator[tuple[Target, Cooldown]]:
        """Yield all cooldowns of `worker` that have not ended."""
        for target, cooldown in self._workers.get(worker, {}).items():
            if not cooldown.is_over(now):
                yield target, cooldown

    def entry(self, worker: str, target: Target, now: float) -> Cooldown | None:
        """Return the cooldown of exactly this target, or None."""
        known = self._workers.get(worker, {}).get(target)
        return None if known is None or known.is_over(now) else known

    # -------------------------------------------------------------- results of requests

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
        """Record the failure of one attempt. Attempts that overlap in time count as one failure in a row.

        Args:
            worker: to which the request was sent.
            model: of the request.
            key: with which it was sent.
            failure: its result.
            started: Trio time at which the attempt began.
            now: Trio time.
            has_more_keys: whether the worker has other API keys.
        """
        reaction = REACTIONS[failure.kind]
        rule, hint = reaction.cooldown, failure.retry_after
        if failure.ours:
            return
        if rule is None:
            if hint is not None and reaction.weight:
                self._add(worker, WHOLE_WORKER, _declared(failure.kind, hint, now))
            return
        target = self._target(worker, model, key, rule.scope, failure.kind, has_more_keys=has_more_keys)
        known = self._workers.get(worker, {}).get(target)
        failures = 1
        if known is not None and known.kind is failure.kind:
            failures = known.failures + (known.since < started)
        self._add(worker, target, self._by_rule(rule, failure, failures, now))

    def _target(
        self,
        worker: str,
        model: str,
        key: ApiKey | None,
        scope: Scope,
        kind: FailureKind,
        *,
        has_more_keys: bool,
    ) -> Target:
        match scope:
            case Scope.WORKER:
                return WHOLE_WORKER
            case Scope.KEY:
                return Target(None, key)
            case Scope.KEY_MODEL:
                return Target(model, key)
            case Scope.MODEL:
                # "It does not exist, or you do not have access to it" (OpenAI): another key may have access. A model
                # that two keys do not find does not exist.
                entries = self._workers.get(worker, {}).items()
                is_second = any(
                    at.model == model and at.key not in (None, key) and cooldown.kind is kind
                    for at, cooldown in entries
                )
                return Target(model, key) if has_more_keys and not is_second else Target(model, None)

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
        """Record that a response allows no other request for `seconds`, in its rate limit headers."""
        until = now + min(seconds, LONGEST_COOLDOWN)
        trial_at = min(until, now + EMPTY_BUCKET_TRIAL_SECONDS)
        cooldown = Cooldown(FailureKind.RATE_LIMIT, now, until, trial_at, Basis.DECLARED)
        self._add(worker, Target(model, key), cooldown)

    def served(self, worker: str, model: str, key: ApiKey | None, *, started: float, now: float) -> bool:
        """Record the success of one attempt: it ends the cooldowns that it proves wrong.

        A cooldown that began after `started` stays, because it knows more: it comes from the headers of this response
        or from another request. A success always outweighs a health check.

        Args:
            worker: to which the request was sent.
            model: of the request.
            key: with which it was sent.
            started: Trio time at which the attempt began.
            now: Trio time.

        Returns:
            Whether waiting calls may choose again now. A cooldown that allowed a trial anyway does not count: calls
            wait for it no longer than their jitter.
        """
        entries = self._workers.get(worker)
        if not entries:
            return False
        ended = False
        for target in _targets_of(model, key):
            known = entries.get(target)
            if known is not None and (known.since < started or is_guess_of_health_check(target, known)):
                del entries[target]
                ended |= known.trial_at > now
        self._forget_if_empty(worker)
        self.on_change(worker)
        return ended

    def begin_trial(self, worker: str, model: str, key: ApiKey | None, now: float) -> None:
        """Record that a request tries in spite of a cooldown: the next one may do so after twice the time."""
        entries = self._workers.get(worker)
        if not entries:
            return
        for target in _targets_of(model, key):
            known = entries.get(target)
            if known is None or known.basis is Basis.SUSPECTED:
                continue
            if known.trial_at <= now < known.until:
                pause = 2 * max(known.trial_at - known.since, 1.0)
                entries[target] = attrs.evolve(known, trial_at=min(now + pause, known.until))

    # -------------------------------------------------------------- health checks and requests of the program

    def suspect(self, worker: str, kind: FailureKind, now: float, *, key: ApiKey | None = None) -> None:
        """Record a failed health check of `key`, or of the whole worker. A cooldown from a request stays."""
        target = Target(None, key)
        known = self._workers.get(worker, {}).get(target)
        if known is not None and known.basis is not Basis.SUSPECTED and not known.is_over(now):
            return
        failures = known.failures if known is not None and known.kind is kind else 1
        cooldown = Cooldown(kind, now, now + CHECK_SECONDS, now, Basis.SUSPECTED, failures)
        self._add(worker, target, cooldown)

    def check_passed(self, worker: str, key: ApiKey | None, models: Iterable[str] = ()) -> bool:
        """Record a passed health check with `key` that listed `models`. Returns whether it ended a cooldown."""
        listed, ended = set(models), False
        for target, known in list(self._workers.get(worker, {}).items()):
            suspected = target == WHOLE_WORKER and known.basis is Basis.SUSPECTED
            accepted = known.kind is FailureKind.CREDENTIAL and target.key == key
            is_listed = target.model in listed and target.key in (None, key)
            if suspected or accepted or (known.kind is FailureKind.MODEL_NOT_FOUND and is_listed):
                del self._workers[worker][target]
                ended = True
        self._forget_if_empty(worker)
        self.on_change(worker)
        return ended

    def lift(self, worker: str) -> None:
        """End all cooldowns but the declared ones, because the program asked for a health check or a reload."""
        self._keep(worker, lambda _, known: known.basis is Basis.DECLARED)

    def forget(self, worker: str) -> None:
        """Forget everything: the worker was removed, or has another address."""
        self._workers.pop(worker, None)
        self.on_change(worker)

    def keep_keys(self, worker: str, keys: Iterable[ApiKey]) -> None:
        """Forget the cooldowns of API keys that `worker` does not have any more."""
        kept = {None, *keys}
        self._keep(worker, lambda target, _: target.key in kept)

    def sweep(self, now: float) -> None:
        """Forget cooldowns that ended so long ago that the next one does not depend on them."""
        for worker in list(self._workers):
            self._keep(worker, lambda _, known: known.until + REMEMBERED_SECONDS > now)

    # -------------------------------------------------------------- what other processes know

    def adopt(self, worker: str, target: Target, new: Cooldown) -> Cooldown:
        """Enter a cooldown that another process has found out. Returns the one that counts: the longer one."""
        self._add(worker, target, new)
        return self._workers[worker][target]

    def end(self, worker: str, target: Target, known: Cooldown) -> bool:
        """End `known` because another process has proved it wrong. Does nothing if there is another one by now.

        Returns:
            Whether it was ended.
        """
        entries = self._workers.get(worker, {})
        if not is_same_fact(entries.get(target), known):
            return False
        del entries[target]
        self._forget_if_empty(worker)
        self.on_change(worker)
        return True

    # -------------------------------------------------------------- writing

    def _add(self, worker: str, target: Target, new: Cooldown) -> None:
        """Enter `new`. Of two cooldowns that have not ended the longer one stays, whichever came first."""
        entries = self._workers.setdefault(worker, {})
        known = entries.pop(target, None)
        if known is not None and not known.is_over(new.since) and length_of(known) > length_of(new):
            new = attrs.evolve(known, failures=max(known.failures, new.failures))
        entries[target] = new
        if len(entries) > MAX_COOLDOWNS_PER_WORKER:
            # The oldest one of a model: callers choose their names, the configuration limits the number of keys.
            oldest = next((target for target in entries if target.model is not None), next(iter(entries)))
            del entries[oldest]
        self.on_change(worker)

    def _keep(self, worker: str, is_kept: Callable[[Target, Cooldown], bool]) -> None:
        entries = self._workers.get(worker, {})
        self._workers[worker] = {target: known for target, known in entries.items() if is_kept(target, known)}
        self._forget_if_empty(worker)
        self.on_change(worker)

    def _forget_if_empty(self, worker: str) -> None:
        if not self._workers.get(worker):
            self._workers.pop(worker, None)


def is_same_fact(one: Cooldown | None, other: Cooldown | None) -> bool:
    """Whether both say the same: a trial that has begun, and another failure, change nothing of it."""
    if one is None or other is None:
        return one is other
    return (one.kind, one.basis, one.until) == (other.kind, other.basis, other.until)


def is_guess_of_health_check(target: Target, cooldown: Cooldown) -> bool:
    """Whether it is the guess of a health check of this process: a guess about all models."""
    return target.model is None and cooldown.basis is Basis.SUSPECTED


def _targets_of(model: str, key: ApiKey | None) -> set[Target]:
    """Return everything that a request for `model` with `key` uses."""
    return {WHOLE_WORKER, Target(model, None), Target(None, key), Target(model, key)}


def _declared(kind: FailureKind, seconds: float, now: float) -> Cooldown:
    until = now + min(seconds, LONGEST_COOLDOWN)
    return Cooldown(kind, now, until, until, Basis.DECLARED)


def _longest(entries: Mapping[Target, Cooldown], targets: Iterable[Target], now: float) -> Cooldown | None:
    found = [known for target in targets if (known := entries.get(target)) and known.until > now]
    return max(found, key=length_of, default=None)


def length_of(cooldown: Cooldown) -> tuple[float, float]:
    """Return what is compared to find the longer of two cooldowns."""
    return cooldown.trial_at, cooldown.until
