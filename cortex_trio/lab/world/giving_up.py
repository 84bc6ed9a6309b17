"""No call is refused while a worker could serve it, and no client without a gateway would have been served instead.

Both invariants are checked for calls that ended without an answer, from what was recorded: the plan, with the times of
all faults, and the attempts of all calls. A call whose caller restricted it (a deadline, max_attempts, leaving early)
is not checked, nor is a call during which an actor was killed or an operator changed or checked something. Pure.

**A worker is used again when its cooldown ends.** A failure justifies a cooldown, and `free_at` says when it ends:

* a Retry-After: after that time, at most an hour;
* a model, a permission, a region: after a minute, twice as long after each further trial that fails, at most an hour;
* a rejected API key, no credit: the same where no other worker can be used, since a trial is due then; beside other
  workers after 15 minutes, twice as long after each further failure, at most an hour;
* three failures of a connection, a server or a stream in a row or within two minutes: after the time for which a
  breaker stays open, at most a minute;
* any other failure, a failed health check among them: no cooldown.

A worker that is free, or will be within `max_wait`, gets a request before a call is refused.

**Never worse than a client without a gateway.** `bare_client.outcome` computes what an official SDK with two retries
would have got from each worker the call could have used. If one of them would have served it, the gateway must serve
it, unless that worker was cooling down or the call had no attempts left. Cases that cannot be decided are left out:
workers with a quota (each further request changes it), workers with a limit of concurrent requests that other calls
were using, faults of links, and faults that begin or end while the client would have retried. Where the call could use
several workers, the client has no retries: the gateway may have spent its attempts on the other workers.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from ...events import Attempt
from ...failures import FailureKind
from ...providers import PROVIDERS
from . import bare_client
from .call_invariants import RESTART_GRACE_SECONDS
from .callers import CallRecord
from .faults import ALL_RESPONSE_FAULTS, LINK_EVENTS, LINK_FAULTS
from .plan import Plan, PlannedFault, PlannedProvider
from .recorder import LONGEST_COOLDOWN_SECONDS, EndedAttempt, Recorder

JITTER = 1.1
"""Cooldowns may be up to 10 % longer."""
MINUTE = 60.0
KEY_SECONDS = 15 * MINUTE
"""The first cooldown of an API key that was rejected or has no credit left, beside other workers."""
LASTING = (
    FailureKind.MODEL_NOT_FOUND,
    FailureKind.PERMISSION,
    FailureKind.REGION,
    FailureKind.CREDENTIAL,
    FailureKind.QUOTA,
)
"""Failures that a retry does not end: a trial after a minute, then at longer and longer intervals."""
BREAKING = (
    FailureKind.OVERLOADED,
    FailureKind.SERVER,
    FailureKind.CONNECTION,
    FailureKind.STALLED,
    FailureKind.PROTOCOL,
    FailureKind.TRUNCATED,
    FailureKind.EMPTY,
    FailureKind.EDGE,
    FailureKind.UNKNOWN,
)
"""Failures that count against a worker's breaker."""
BREAKER_FAILURES = 3
BREAKER_WINDOW_SECONDS = 120.0
OPEN_SECONDS = 60.0
"""The longest time for which a breaker stays open."""
WAIT_SECONDS = 25.0
"""The 30 s of `max_wait`, less the jitter and the time of a request."""
RECOVERY_SECONDS = 90.0
"""After the end of the last cooldown: one call that waits without success, one pause, one call that is served."""
Scope = tuple[str | None, str | None]
"""An API key and a model of one worker; None means all of them."""
UNCHECKED_OPTIONS = ("max_attempts", "provider", "hedge_after")
OF_THE_REQUEST = (FailureKind.CONTEXT_LENGTH, FailureKind.CONTENT_POLICY)
"""Failures after which a call does not try every other worker."""


# ------------------------------------------------------------------ cooldowns


def free_at(ended: Sequence[EndedAttempt], own: Sequence[Attempt] = (), *, alone: bool = True) -> float:
    """Return when the cooldowns of a worker have ended at the latest (Trio time); 0 if it has none.

    Args:
        ended: The attempts of the worker.
        own: Those of the call that is checked: they do not count.
        alone: Whether no other worker can be used, so that a trial is due before the cooldown of a key ends.
    """
    counted = _others(ended, own)
    return max(_lasting_end(counted, alone=alone), _hint_end(counted), _breaker_end(counted))


def _others(ended: Sequence[EndedAttempt], own: Sequence[Attempt]) -> Sequence[EndedAttempt]:
    """Without the call's own attempts. Compared by identity: attempts of two calls may have equal fields."""
    known = {id(attempt) for attempt in own}
    return [one for one in ended if id(one.attempt) not in known]


def _hint_end(ended: Sequence[EndedAttempt]) -> float:
    hints = [
        one.at + min(one.attempt.failure.retry_after, LONGEST_COOLDOWN_SECONDS) * JITTER
        for one in ended
        if one.attempt.failure and one.attempt.failure.retry_after is not None
    ]
    return max(hints, default=0.0)


def _lasting_end(ended: Sequence[EndedAttempt], *, alone: bool) -> float:
    """Each scope by itself. Each trial in it that failed, for whatever reason, doubles the time to the next one."""
    failed = [one for one in ended if _is_of(one, LASTING)]
    rows = (_failed_trials(ended, scope) for scope in {_failed_scope(one.attempt) for one in failed})
    return max((_cooldown_end(row, alone=alone) for row in rows if row), default=0.0)


def _failed_scope(attempt: Attempt) -> Scope:
    """What such a failure is about: an API key with one model, with all models, or the whole worker."""
    match attempt.failure and attempt.failure.kind:
        case FailureKind.REGION:
            return None, None
        case FailureKind.CREDENTIAL | FailureKind.QUOTA:
            return attempt.key, None
        case _:
            return attempt.key, attempt.model


def _failed_trials(ended: Sequence[EndedAttempt], scope: Scope) -> Sequence[EndedAttempt]:
    """The first such failure in `scope` since the last success in it, and the attempts in it that began later."""
    row: list[EndedAttempt] = []
    for one in _since_success([one for one in ended if _is_in(one.attempt, scope)]):
        if (_is_of(one, LASTING) and _failed_scope(one.attempt) == scope) or (row and one.began >= row[0].at):
            row.append(one)
    return row


def _is_in(attempt: Attempt, scope: Scope) -> bool:
    key, model = scope
    return key in (None, attempt.key) and model in (None, attempt.model)


def _is_of(one: EndedAttempt, kinds: Sequence[FailureKind]) -> bool:
    return one.attempt.failure is not None and one.attempt.failure.kind in kinds


def _since_success(ended: Sequence[EndedAttempt]) -> Sequence[EndedAttempt]:
    """The failures since the last success that began after all failures before it; a late success proves nothing."""
    since: list[EndedAttempt] = []
    for one in ended:
        if one.attempt.failure is None and all(one.began >= other.at for other in since):
            since.clear()
        elif one.attempt.failure is not None:
            since.append(one)
    return since


def _cooldown_end(row: Sequence[EndedAttempt], *, alone: bool) -> float:
    kinds = {one.attempt.failure.kind for one in row if one.attempt.failure}
    first = KEY_SECONDS if not alone and kinds & {FailureKind.CREDENTIAL, FailureKind.QUOTA} else MINUTE
    doubled = first * 2.0 ** min(len(row) - 1, 10)
    return row[-1].at + min(doubled, LONGEST_COOLDOWN_SECONDS) * JITTER


def _breaker_end(ended: Sequence[EndedAttempt]) -> float:
    """A breaker is opened by failures in a row, or by as many of them within its window."""
    row = [one for one in _since_success(ended) if _is_of(one, BREAKING)]
    times = [one.at for one in ended if _is_of(one, BREAKING)]
    recent = [at for at in times if times[-1] - at <= BREAKER_WINDOW_SECONDS]
    opened = max(len(row), len(recent)) >= BREAKER_FAILURES
    return times[-1] + OPEN_SECONDS * JITTER if opened else 0.0


def is_recovery_late(ended: Sequence[EndedAttempt], fault_free_at: float, now: float) -> bool:
    """Whether a worker without faults since `fault_free_at` must have served by now, if all calls name it."""
    return now > max(fault_free_at, free_at(ended)) + RECOVERY_SECONDS


# ------------------------------------------------------------------ calls that were refused


def giving_up_violations(record: CallRecord, plan: Plan, recorder: Recorder) -> Iterator[str]:
    """Violations of a call that was refused: workers that could have served it."""
    if not _is_checked(record, plan, recorder):
        return
    workers = eligible_workers(record, plan)
    for planned in workers:
        ended = [one for one in recorder.ended.get(planned.name, ()) if one.at <= record.ended]
        alone = len(workers) == 1 or not record.last_attempts
        wait = max(0.0, free_at(ended, record.last_attempts, alone=alone) - record.last_request_at)
        if wait > WAIT_SECONDS or _is_used_by_others(planned, recorder.ended.get(planned.name, ()), record):
            continue
        if all(attempt.worker != planned.name for attempt in record.last_attempts):
            yield (
                f"{record.summary()}: refused, although {planned.name} was free within {wait:.0f} s: "
                f"{record.error}"
            )
        elif _would_serve_bare_client(record, planned, plan, alone=len(workers) == 1, waited=wait):
            yield f"{record.summary()}: a bare client would be served by {planned.name}: {record.error}"


def _is_checked(record: CallRecord, plan: Plan, recorder: Recorder) -> bool:
    planned = record.planned
    if any(intervention.action in ("add", "remove") for intervention in plan.interventions):
        return False  # not every worker of the plan can be used at every time
    if any(attempt.failure and attempt.failure.kind in OF_THE_REQUEST for attempt in record.last_attempts):
        return False
    if record.is_rejected_on_purpose or planned.cancel_after_rounds is not None:
        return False
    if (
        record.outcome != "refused"
        or planned.kind == "models"
        or set(UNCHECKED_OPTIONS) & planned.options.keys()
    ):
        return False
    if planned.deadline is not None or planned.leaves_after is not None:
        return False
    if planned.kind == "embed" and planned.requests > 1:
        return False  # later requests use the model of the first one
    if len(record.last_attempts) >= plan.config["max_attempts"]:
        return False
    disturbances = itertools.chain(recorder.configured_at, (at for at, _ in recorder.kills))
    return not any(
        record.last_request_at - RESTART_GRACE_SECONDS <= at <= record.ended for at in disturbances
    )


def eligible_workers(record: CallRecord, plan: Plan) -> Sequence[PlannedProvider]:
    """The workers that could serve the call."""
    named = record.planned.options.get("worker")
    workers = [planned for planned in plan.providers if named in (None, planned.name)]
    if record.planned.kind == "embed":
        workers = [planned for planned in workers if PROVIDERS[planned.dialect].embed_model]
        if len({PROVIDERS[planned.dialect].embed_model for planned in workers}) > 1:
            return ()  # after a failure no other model may be used
    return workers


def _is_used_by_others(planned: PlannedProvider, ended: Sequence[EndedAttempt], record: CallRecord) -> bool:
    """Whether other calls may have used the one trial after a failure, or all concurrent requests of a worker."""
    failed = any(
        one.attempt.failure for one in [one for one in ended if one.at <= record.ended][-BREAKER_FAILURES:]
    )
    if not failed and "max_concurrency" not in planned.settings:
        return False
    others = _others(ended, record.last_attempts)
    return any(one.began < record.ended and one.at > record.last_request_at for one in others)


def _would_serve_bare_client(
    record: CallRecord, planned: PlannedProvider, plan: Plan, *, alone: bool, waited: float
) -> bool:
    is_limited = any(one.action == "limit" and one.target == planned.name for one in plan.interventions)
    if planned.quota is not None or is_limited:
        return False
    tries = (
        min(bare_client.TRIES, plan.config["max_attempts"]) if alone else 1
    )  # other workers may use up the attempts
    faults = [fault for fault in plan.faults if fault.target == planned.name]
    lasting = [fault.fault for fault in faults if fault.at <= record.last_request_at < fault.until]
    if any(fault in LINK_FAULTS for fault in lasting):
        return False
    outcome = bare_client.outcome(
        planned,
        [fault for fault in lasting if fault in ALL_RESPONSE_FAULTS],
        record.planned.number,
        with_results=record.results_sent,
        tries=tries,
    )
    end = max(record.ended, record.last_request_at + outcome.waited + bare_client.BACKOFF_SECONDS)
    if waited + outcome.waited > WAIT_SECONDS or _is_changing(faults, record.last_request_at, end):
        return False
    return outcome.is_served


def _is_changing(faults: Sequence[PlannedFault], begin: float, end: float) -> bool:
    """Whether a fault begins, happens or ends between two moments."""
    return any(
        begin <= moment <= end
        for fault in faults
        for moment in ((fault.at,) if fault.fault in LINK_EVENTS else (fault.at, fault.until))
    )
