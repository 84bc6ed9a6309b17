"""What the providers saw, compared with what the gateway reported: attempts, Retry-After, further tries."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import attrs

from ...events import Attempt
from ...failures import FailureKind
from ...gateway.settings.secrets import mask
from ...gateway.workers.calls import RESTART_SECONDS
from ...simulator.request import SimRequest
from ...simulator.simulator import Simulator
from .call_invariants import retry_violations
from .faulty_provider import FaultyProvider, SentHint
from .fixtures import has_results, model_of, number_of
from .giving_up import eligible_workers
from .plan import Plan
from .recorder import INSTANT, TRIAL_SECONDS, Recorder

CHANGES = ("kill", "remove", "reload", "replace")
"""Interventions after which a worker cannot be used for a moment."""


@attrs.frozen
class SentRequest:
    """One request of a call as a provider saw it."""

    worker: str
    key: str | None
    """Masked."""
    call: int
    is_resend_possible: bool
    """Whether its connection was used before, so that the transport may have sent it again on a new one."""
    request: SimRequest

    @property
    def place(self) -> str:
        return _place(self.worker, self.key)


def sent_requests(sim: Simulator, *, exact: bool) -> list[SentRequest]:
    """All requests of calls, as the providers saw them.

    Args:
        sim: The providers.
        exact: Leave out what the transport sent again. This can be decided only where links have no latency: such a
            request comes at the same time, for the same call, after one on a connection that was used before.
    """
    found: list[SentRequest] = []
    for name, provider in sim.providers.items():
        used: set[int] = set()
        resendable: set[tuple[float, str | None, int | None, bool]] = set()
        for request in provider.requests:
            number = number_of(request)
            with_results = number is not None and has_results(request, number)
            same = (request.when, request.key, number, with_results)
            is_used, is_resent = request.connection in used, False
            if is_used:
                resendable.add(same)
            elif same in resendable:
                resendable.discard(same)
                is_resent = exact
            used.add(request.connection)
            if number is not None and not is_resent:
                key = mask(request.key) if request.key else None
                found.append(SentRequest(name, key, number, is_used and not exact, request))
    return found


# ------------------------------------------------------------------ attempts and requests


def ledger_violations(recorder: Recorder, sim: Simulator, *, exact: bool = False) -> Iterator[str]:
    """Every request is one attempt, and every attempt that was answered one request.

    Args:
        recorder: The attempts.
        sim: The requests.
        exact: As for `sent_requests`.
    """
    sent = sent_requests(sim, exact=exact)
    yield from _compare("all calls", recorder.attempts, sent, exact=exact)
    by_call: dict[int, list[SentRequest]] = {}
    for request in sent:
        by_call.setdefault(request.call, []).append(request)
    for record in recorder.calls:
        if record.attempts is not None:
            number = record.planned.number
            yield from _compare(f"call {number}", record.attempts, by_call.get(number, ()), exact=exact)


def _compare(
    subject: str, attempts: Sequence[Attempt], sent: Sequence[SentRequest], *, exact: bool
) -> Iterator[str]:
    seen = Counter(request.place for request in sent)
    resent = Counter(request.place for request in sent if request.is_resend_possible)
    reported = Counter(_place(attempt.worker, attempt.key) for attempt in attempts)
    was_sent = _was_sent if exact else _was_answered
    certain = Counter(_place(attempt.worker, attempt.key) for attempt in attempts if was_sent(attempt))
    if missing := seen - reported - resent:
        yield f"{subject}: requests without an attempt: {dict(missing)}"
    if invented := certain - seen:
        yield f"{subject}: attempts without a request: {dict(invented)}"


def _place(worker: str, key: str | None) -> str:
    return f"{worker} {key}"


def _was_answered(attempt: Attempt) -> bool:
    """Whether bytes came back, so that the provider must have seen the request."""
    failure = attempt.failure
    if failure is None or failure.status is not None:
        return True
    return failure.phase in ("body", "stream") and failure.kind not in (
        FailureKind.CANCELLED,
        FailureKind.CRASHED,
    )


def _was_sent(attempt: Attempt) -> bool:
    """Whether the provider must have seen the request, on a link without latency."""
    failure = attempt.failure
    if failure is None:
        return True
    is_connecting = failure.phase == "connect" or (
        failure.kind is FailureKind.STALLED and failure.phase == "headers"
    )
    return failure.kind not in (FailureKind.CANCELLED, FailureKind.CRASHED) and not is_connecting


# ------------------------------------------------------------------ how often a call reaches providers


def attempt_violations(recorder: Recorder, sim: Simulator, plan: Plan) -> Iterator[str]:
    """No call sends more requests than max_attempts allows, and it tries a worker again only by the rules.

    Only for links without latency.
    """
    unfailing = _unfailing(recorder, plan)
    by_call: dict[int, list[SentRequest]] = {}
    for request in sent_requests(sim, exact=True):
        by_call.setdefault(request.call, []).append(request)
    for record in recorder.calls:
        planned, sent = record.planned, by_call.get(record.planned.number, [])
        most = planned.options.get("max_attempts", plan.config["max_attempts"])
        if len(sent) > most * planned.requests:
            yield f"{record.summary()}: {len(sent)} requests, and {most * planned.requests} are allowed"
        usable = {worker.name for worker in eligible_workers(record, plan)} & unfailing
        yield from retry_violations(record, [(one.worker, one.request) for one in sent], usable)


def _unfailing(recorder: Recorder, plan: Plan) -> set[str]:
    """Workers that every call could use at any time: no attempt failed, no limit, no change of any actor."""
    if any(planned.action in CHANGES for planned in plan.interventions):
        return set()
    failed = {attempt.worker for attempt in recorder.attempts if attempt.failure is not None}
    return {
        planned.name
        for planned in plan.providers
        if planned.is_present and planned.name not in failed and "max_concurrency" not in planned.settings
    }


# ------------------------------------------------------------------ Retry-After


def hint_violations(
    recorder: Recorder, sim: Simulator, providers: Mapping[str, FaultyProvider]
) -> Iterator[str]:
    """No provider sees a request during a Retry-After that the gateway received. Only for links without latency.

    `Recorder` checks the same with the times of attempts. Here the times are those at which requests arrived.
    """
    received = {
        (one.at, one.attempt.worker, one.attempt.failure.retry_after): one.attempt.failure.kind
        for ended in recorder.ended.values()
        for one in ended
        if one.attempt.failure is not None and one.attempt.failure.retry_after is not None
    }
    sent = sent_requests(sim, exact=True)
    for provider in providers.values():
        for hint in provider.hints:
            # As the gateway classified it: some providers send the same error for a quota as for a rate limit.
            kind = received.get((hint.at, hint.worker, hint.seconds))
            if kind is not None:
                yield from _early_requests(attrs.evolve(hint, kind=kind), sent, recorder)


def _early_requests(hint: SentHint, sent: Iterable[SentRequest], recorder: Recorder) -> Iterator[str]:
    begins, ends = _honoured(hint, recorder)
    for one in sent:
        is_covered = hint.covers(one.worker, one.key, model_of(one.request))
        if is_covered and begins < one.request.when < ends - INSTANT:
            yield f"call {one.call}: a request at {one.request.when:.3f} violates {hint}"


def _honoured(hint: SentHint, recorder: Recorder) -> tuple[float, float]:
    """From when until when a Retry-After must be honoured (Trio time)."""
    begins, ends = hint.at, hint.until
    if hint.is_of_worker:
        # A request that was admitted before the hint may have to wait for a KeyManager that was just killed.
        if any(at == hint.at and target == "keys" for at, target in recorder.kills):
            begins += RESTART_SECONDS
        # A reload may name another server; an admitted request may then wait for the KeyManager as well.
        for done in reversed(recorder.interventions):
            if done.planned.action == "reload" and done.planned.target == hint.worker:
                if hint.at <= done.ended + RESTART_SECONDS:
                    ends = min(ends, max(done.began, hint.at))
                break
    if hint.kind is FailureKind.QUOTA:
        lifted = [
            max(done.began, hint.at)
            for done in recorder.interventions
            if done.planned.action in ("reload", "check") and hint.at <= done.ended
        ]
        ends = min(ends, hint.at + TRIAL_SECONDS, *lifted, math.inf)
    return begins, ends
