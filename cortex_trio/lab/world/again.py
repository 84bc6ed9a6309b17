"""Two rules about giving up: a worker that is well again is asked again, and no bare client would have done better.

A call is judged that ended without an answer, by what is on record: the plan, which says when what was broken, and the
attempts of all calls. A call whose caller limited it (a deadline, max_attempts, leaving early) is not judged, nor one
during which an actor was killed or a person changed or checked something. Pure.

**ParsedRequest again.** A failure justifies a cooldown, and a cooldown has an end (`free_at`):

* what names a time (Retry-After): that time, an hour at most;
* a model, a permission, a region: a minute, twice as long after each trial that is not served, whatever it meets, an
  hour at most;
* an API key that was refused, credit that is gone: the same where no other worker can be asked, since a trial is due
  then; beside others a quarter of an hour, twice as long after each further failure, an hour at most;
* three failures of a connection, a server or a stream in a row or within two minutes: as long as a breaker stays open,
  a minute at most;
* anything else, a health check among it: nothing.

A worker that is free, or will be within `max_wait`, is asked before a call is refused.

**Never worse than a bare client.** `bare.outcome` says what an official SDK with two retries would have got from each
worker the call could have gone to. If one of them would have served it, the gateway has to, unless that worker was
cooling down, or the call had no attempts left. Left out is what cannot be said with certainty: workers with a quota
(every further request changes it), workers that other calls were asking when they may get few requests at a time,
troubles of the way to a provider, and troubles that begin or end while the client would have asked. Where the call had
several workers to go to, the client has no retries: the gateway may have spent its attempts on the others.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from ...events import Attempt
from ...failures import FailureKind
from ...providers import PROVIDERS
from . import bare
from .chronicle import LONGEST_COOLDOWN_SECONDS, Chronicle, Ended
from .people import Called
from .plan import Plan, PlannedProvider, Trouble
from .troubles import LINK_TROUBLES, MOMENTS, TROUBLES

JITTER = 1.1
"""Cooldowns are up to 10 % longer than they must be."""
MINUTE = 60.0
KEY_SECONDS = 15 * MINUTE
"""The first cooldown of a key that was refused or has no credit left, beside other workers."""
LASTING = (
    FailureKind.MODEL_NOT_FOUND,
    FailureKind.PERMISSION,
    FailureKind.REGION,
    FailureKind.CREDENTIAL,
    FailureKind.QUOTA,
)
"""Failures that do not go away by asking again: a trial a minute later, then ever less often."""
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
BREAKING_MANY = 3
BREAKING_WITHIN_SECONDS = 120.0
OPEN_SECONDS = 60.0
"""The longest a breaker stays open before it lets one request through."""
PATIENCE_SECONDS = 25.0
"""Of the 30 s of `max_wait`, less the jitter and less what a request takes."""
BACK_SECONDS = 90.0
"""Behind the end of the last cooldown: one call that waits in vain, one pause, and one call that is served."""
HEALING_SECONDS = 10.0
"""After an actor was killed; as in `laws`."""
Place = tuple[str | None, str | None]
"""A key and a model of one worker; None stands for all."""
PARTICULAR = ("max_attempts", "provider", "hedge_after")


# ------------------------------------------------------------------ cooldowns


def free_at(ended: Sequence[Ended], own: Sequence[Attempt] = (), *, alone: bool = True) -> float:
    """Return when a worker is free again (Trio time) after these attempts, at the latest; 0 if nothing keeps it.

    Args:
        own: Attempts that do not count: those of the call that is judged.
        alone: Whether no other worker could be asked, so that a trial is due before the cooldown of a key ends.
    """
    counted = _others(ended, own)
    return max(_lasting_end(counted, alone=alone), _hint_end(counted), _breaker_end(counted))


def _others(ended: Sequence[Ended], own: Sequence[Attempt]) -> Sequence[Ended]:
    """By identity: two attempts of different calls may have equal fields."""
    known = {id(attempt) for attempt in own}
    return [one for one in ended if id(one.attempt) not in known]


def _hint_end(ended: Sequence[Ended]) -> float:
    hints = [
        one.at + min(one.attempt.failure.retry_after, LONGEST_COOLDOWN_SECONDS) * JITTER
        for one in ended
        if one.attempt.failure and one.attempt.failure.retry_after is not None
    ]
    return max(hints, default=0.0)


def _lasting_end(ended: Sequence[Ended], *, alone: bool) -> float:
    """Each place for itself: each trial there that was not served doubles the time to the next, whatever it met."""
    refused = [one for one in ended if _is_of(one, LASTING)]
    rows = (_refused_row(ended, place) for place in {_refused_place(one.attempt) for one in refused})
    return max((_cooldown_end(row, alone=alone) for row in rows if row), default=0.0)


def _refused_place(attempt: Attempt) -> Place:
    """What a refusal was about: a key for one model, a key for all models, or the whole worker."""
    match attempt.failure and attempt.failure.kind:
        case FailureKind.REGION:
            return None, None
        case FailureKind.CREDENTIAL | FailureKind.QUOTA:
            return attempt.key, None
        case _:
            return attempt.key, attempt.model


def _refused_row(ended: Sequence[Ended], place: Place) -> Sequence[Ended]:
    """The first refusal of `place` since the last success there, and what was tried there after it."""
    row: list[Ended] = []
    for one in _since_success([one for one in ended if _is_in(one.attempt, place)]):
        if (_is_of(one, LASTING) and _refused_place(one.attempt) == place) or (
            row and one.began >= row[0].at
        ):
            row.append(one)
    return row


def _is_in(attempt: Attempt, place: Place) -> bool:
    key, model = place
    return key in (None, attempt.key) and model in (None, attempt.model)


def _is_of(one: Ended, kinds: Sequence[FailureKind]) -> bool:
    return one.attempt.failure is not None and one.attempt.failure.kind in kinds


def _since_success(ended: Sequence[Ended]) -> Sequence[Ended]:
    """What ended since an attempt served that had begun after everything before it: a late success proves nothing."""
    since: list[Ended] = []
    for one in ended:
        if one.attempt.failure is None and all(one.began >= other.at for other in since):
            since.clear()
        elif one.attempt.failure is not None:
            since.append(one)
    return since


def _cooldown_end(row: Sequence[Ended], *, alone: bool) -> float:
    kinds = {one.attempt.failure.kind for one in row if one.attempt.failure}
    first = KEY_SECONDS if not alone and kinds & {FailureKind.CREDENTIAL, FailureKind.QUOTA} else MINUTE
    doubled = first * 2.0 ** min(len(row) - 1, 10)
    return row[-1].at + min(doubled, LONGEST_COOLDOWN_SECONDS) * JITTER


def _breaker_end(ended: Sequence[Ended]) -> float:
    """Opened by failures in a row, however long they took, or by as many of them within some time."""
    row = [one for one in _since_success(ended) if _is_of(one, BREAKING)]
    times = [one.at for one in ended if _is_of(one, BREAKING)]
    recent = [at for at in times if times[-1] - at <= BREAKING_WITHIN_SECONDS]
    opened = max(len(row), len(recent)) >= BREAKING_MANY
    return times[-1] + OPEN_SECONDS * JITTER if opened else 0.0


def is_back_late(ended: Sequence[Ended], calm_at: float, now: float) -> bool:
    """Whether a worker that has been well since `calm_at` must have served by now, as the only one that is asked."""
    return now > max(calm_at, free_at(ended)) + BACK_SECONDS


# ------------------------------------------------------------------ calls that were refused


def broken_by_giving_up(called: Called, plan: Plan, chronicle: Chronicle) -> Iterator[str]:
    """What the gateway could have done for a call that was refused."""
    if not _is_judged(called, plan, chronicle):
        return
    workers = _eligible(called, plan)
    for planned in workers:
        ended = [one for one in chronicle.ended.get(planned.name, ()) if one.at <= called.ended]
        alone = len(workers) == 1 or not called.last_attempts
        wait = max(0.0, free_at(ended, called.last_attempts, alone=alone) - called.asked_at)
        if wait > PATIENCE_SECONDS or _is_taken(planned, chronicle.ended.get(planned.name, ()), called):
            continue
        if all(attempt.worker != planned.name for attempt in called.last_attempts):
            yield f"{called.summary()}: refused, though {planned.name} was free within {wait:.0f} s: {called.error}"
        elif _would_a_bare_client_be_served(called, planned, plan, alone=len(workers) == 1, waited=wait):
            yield f"{called.summary()}: a bare client would be served by {planned.name}: {called.error}"


def _is_judged(called: Called, plan: Plan, chronicle: Chronicle) -> bool:
    planned = called.planned
    if called.outcome != "refused" or planned.what == "models" or set(PARTICULAR) & planned.options.keys():
        return False
    if planned.deadline is not None or planned.leaves_after is not None:
        return False
    if planned.what == "embed" and planned.requests > 1:
        return False  # a later request goes where the first one went
    if len(called.last_attempts) >= plan.config["max_attempts"]:
        return False
    disturbed = itertools.chain(chronicle.touched, (at for at, _ in chronicle.kills))
    return not any(called.asked_at - HEALING_SECONDS <= at <= called.ended for at in disturbed)


def _eligible(called: Called, plan: Plan) -> Sequence[PlannedProvider]:
    """The workers the call could have gone to."""
    named = called.planned.options.get("worker")
    workers = [planned for planned in plan.providers if named in (None, planned.name)]
    if called.planned.what == "embed":
        workers = [planned for planned in workers if PROVIDERS[planned.dialect].embed_model]
        if len({PROVIDERS[planned.dialect].embed_model for planned in workers}) > 1:
            return ()  # after a failure there is no going to another model
    return workers


def _is_taken(planned: PlannedProvider, ended: Sequence[Ended], called: Called) -> bool:
    """Whether other calls had what there is of a worker: its only trial after a failure, its limit of requests."""
    failed = any(
        one.attempt.failure for one in [one for one in ended if one.at <= called.ended][-BREAKING_MANY:]
    )
    if not failed and "max_concurrency" not in planned.settings:
        return False
    others = _others(ended, called.last_attempts)
    return any(one.began < called.ended and one.at > called.asked_at for one in others)


def _would_a_bare_client_be_served(
    called: Called, planned: PlannedProvider, plan: Plan, *, alone: bool, waited: float
) -> bool:
    if planned.quota is not None:
        return False
    tries = min(bare.TRIES, plan.config["max_attempts"]) if alone else 1  # attempts may go elsewhere
    troubles = [trouble for trouble in plan.troubles if trouble.who == planned.name]
    lasting = [trouble.what for trouble in troubles if trouble.at <= called.asked_at < trouble.until]
    if any(what in LINK_TROUBLES for what in lasting):
        return False
    got = bare.outcome(
        planned,
        [what for what in lasting if what in TROUBLES],
        called.planned.number,
        with_results=called.results_sent,
        tries=tries,
    )
    end = max(called.ended, called.asked_at + got.waited + bare.BACKOFF_SECONDS)
    if waited + got.waited > PATIENCE_SECONDS or _change(troubles, called.asked_at, end):
        return False
    return got.is_served


def _change(troubles: Sequence[Trouble], begin: float, end: float) -> bool:
    """Whether anything begins, happens or ends between two moments."""
    return any(
        begin <= moment <= end
        for trouble in troubles
        for moment in ((trouble.at,) if trouble.what in MOMENTS else (trouble.at, trouble.until))
    )
