"""What must be true of each call, whatever happens in a world. Each violation is one sentence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import pairwise

from ...errors import StreamInterrupted
from ...events import Attempt
from ...failures import FailureKind, official_sdks_retry
from ...gateway.routing.readiness import TRIES_PER_WORKER
from ...providers import PROVIDERS
from ...simulator.request import SimRequest
from ...simulator.tokens import vector_of
from .callers import CallRecord
from .fixtures import answer_of, calls_of, has_results, texts_of
from .plan import Plan

GRACE_SECONDS = 0.1
"""Reading the end of a response may take 50 ms."""
TOTAL_SECONDS = 600.0
"""The default limit of one call, without the time it waits for a worker."""
MAX_WAIT_SECONDS = 30.0
"""The default of Config.max_wait: how long a call may wait for a worker before it is refused."""
RESTART_GRACE_SECONDS = 10.0
"""So long after the last kill all actors must run again."""
SDK_SECONDS = 0.375
"""Before its first retry an official SDK waits 0.5 s, less a quarter of jitter (`_calculate_retry_timeout`)."""
OUTCOMES = ("whole", "interrupted", "refused", "left", "cancelled")
KINDS_OF_THE_KEY = frozenset(
    {
        FailureKind.CREDENTIAL,
        FailureKind.PERMISSION,
        FailureKind.QUOTA,
        FailureKind.RATE_LIMIT,
        FailureKind.MODEL_NOT_FOUND,
    }
)
KINDS_OF_THE_REQUEST = frozenset(
    {FailureKind.BAD_REQUEST, FailureKind.CONTEXT_LENGTH, FailureKind.CONTENT_POLICY}
)


def call_violations(record: CallRecord, max_attempts: int | None = None) -> Iterator[str]:
    """Violations of one call that has ended; `max_attempts` is the configured one, None if it is not known."""
    planned, attempts = record.planned, record.attempts or ()
    if record.outcome not in OUTCOMES:
        yield f"{record.summary()}: an error of another type: {record.error!r}"
    yield from _text_violations(record)
    yield from _tool_call_violations(record)
    if record.is_served:
        yield from _result_violations(record)
    if not record.offsets_match or not record.finished_once:
        yield f"{record.summary()}: events out of order"
    if (
        planned.mode != "continue"
        and not record.is_rejected_on_purpose
        and any(map(_is_bad_request, attempts))
    ):
        yield f"{record.summary()}: a provider got a request that it does not understand"
    if any(after.number not in (1, before.number + 1) for before, after in pairwise(attempts)):
        yield f"{record.summary()}: attempts numbered {[attempt.number for attempt in attempts]}"
    most = planned.options.get("max_attempts", max_attempts)
    if most is not None and (reached := _reached(attempts)) > most * planned.requests:
        yield f"{record.summary()}: {reached} attempts reached a provider, and {most} are allowed"
    total = (TOTAL_SECONDS + MAX_WAIT_SECONDS) * planned.requests
    limit = total if planned.deadline is None else planned.deadline
    if record.ended - record.started > limit + record.paused + GRACE_SECONDS:
        yield f"{record.summary()}: took {record.ended - record.started:.3f} s of {limit:.3f}"


def _reached(attempts: Iterable[Attempt]) -> int:
    """How many attempts reached a provider. A connection that failed uses up time, but no attempt."""
    return sum(attempt.failure is None or attempt.failure.phase != "connect" for attempt in attempts)


def _text_violations(record: CallRecord) -> Iterator[str]:
    if record.planned.kind in ("embed", "models"):
        return
    answer, text = answer_of(record.planned.number, record.planned.kind), record.text
    if record.is_served and text != answer:
        yield f"{record.summary()}: a whole answer that is not {answer!r:.200}"
    if not answer.startswith(text):
        yield f"{record.summary()}: text that is not the beginning of {answer!r:.200}"
    if isinstance(record.error, StreamInterrupted) and record.error.partial.text != text:
        yield f"{record.summary()}: the partial answer is {record.error.partial.text!r:.200}"


def _tool_call_violations(record: CallRecord) -> Iterator[str]:
    """Each tool call is received once. Its arguments are a beginning of the right ones, in the end all of them."""
    wanted = calls_of(record.planned.number) if record.planned.kind == "tools" else ()
    received = tuple(record.received_calls.values())
    if record.restarted_after_tool_call:
        yield f"{record.summary()}: the answer was restarted after a whole tool call"
    if len(received) > len(wanted):
        yield f"{record.summary()}: {len(received)} tool calls instead of {len(wanted)}"
    for call, planned in zip(received, wanted, strict=False):
        if call.name != planned.name or not _squeezed(planned.arguments).startswith(
            _squeezed(call.arguments)
        ):
            yield f"{record.summary()}: a tool call that is not the beginning of {planned.arguments}"
    arguments = [_squeezed(call.arguments) for call in received]
    if record.results_sent and arguments != [_squeezed(planned.arguments) for planned in wanted]:
        yield f"{record.summary()}: the tool calls of a whole answer are not {len(wanted)} whole ones"


def _squeezed(arguments: str) -> str:
    """JSON without spaces: where a dialect sends arguments as an object, the spaces are not the provider's."""
    return "".join(arguments.split())


def _result_violations(record: CallRecord) -> Iterator[str]:
    """Wrong vectors, lists and tool calls of a call that was served."""
    planned = record.planned
    if planned.kind == "embed":
        texts = texts_of(planned.number, planned.texts)
        wanted = [vector_of(text, planned.options.get("dimensions")) for text in texts]
        if [list(vector) for vector in record.vectors] != wanted:
            yield f"{record.summary()}: the vectors are not those of the {len(texts)} texts, in order"
    if planned.kind == "models" and not record.models:
        yield f"{record.summary()}: the list of models is empty"
    if planned.kind == "tools" and not record.results_sent:
        yield f"{record.summary()}: served without a tool call"


def _is_bad_request(attempt: Attempt) -> bool:
    return attempt.failure is not None and attempt.failure.kind is FailureKind.BAD_REQUEST


def refusal_violations(record: CallRecord, plan: Plan, kills: Iterable[tuple[float, str]]) -> Iterator[str]:
    """With a worker that never fails, every call that accepts any whole answer gets one."""
    planned = record.planned
    if plan.reliable is None or planned.is_restricted or not planned.wants_whole or record.is_served:
        return
    if planned.kind == "embed" and not _is_the_only_model(plan):
        return
    if any(record.started - RESTART_GRACE_SECONDS <= at <= record.ended for at, _ in kills):
        return  # it may be the actor of the reliable worker that was killed
    yield f"{record.summary()}: not served, although {plan.reliable} never fails: {record.error}"


def _is_the_only_model(plan: Plan) -> bool:
    """Whether all workers embed with the reliable worker's model, so that it can replace each of them."""
    models = {provider.name: PROVIDERS[provider.dialect].embed_model for provider in plan.providers}
    return plan.reliable is not None and {model for model in models.values() if model} == {
        models[plan.reliable]
    }


# ------------------------------------------------------------------ how often a worker gets the request of a call


def retry_violations(
    record: CallRecord, sent: Sequence[tuple[str, SimRequest]], usable: Collection[str]
) -> Iterator[str]:
    """A worker is tried twice while there is another one. A further try follows the rules of the official SDKs.

    A worker that was silent on a kept-alive connection is tried once more on a new one.

    Args:
        record: The call.
        sent: The requests of this call, with their workers, as the providers saw them.
        usable: The workers that this call could have used at any time.
    """
    for with_results, attempts in enumerate(_by_request(record.attempts or ())):
        kinds = Counter(attempt.failure.kind for attempt in attempts if attempt.failure)
        workers = {attempt.worker for attempt in attempts}
        for worker in workers:
            tries = [attempt for attempt in attempts if attempt.worker == worker and _is_try(attempt)]
            for before in tries[TRIES_PER_WORKER - 1 : -1]:
                failure = before.failure
                if failure is None or not (
                    official_sdks_retry(failure) or failure.kind is FailureKind.STALLED
                ):
                    yield f"{record.summary()}: {worker} is tried again after {failure}"
            if len(tries) <= TRIES_PER_WORKER or kinds.keys() & (
                KINDS_OF_THE_REQUEST | {FailureKind.STALLED}
            ):
                continue
            times = [
                request.when
                for name, request in sent
                if name == worker and has_results(request, record.planned.number) == bool(with_results)
            ]
            if len(times) >= len(tries) and times[-1] - times[0] < SDK_SECONDS:
                yield f"{record.summary()}: {worker} is tried again sooner than by an official SDK, at {times}"
            if unused := set(usable) - workers:
                yield f"{record.summary()}: {worker} is tried again before {sorted(unused)} were tried"


def _by_request(attempts: Sequence[Attempt]) -> list[list[Attempt]]:
    """The attempts of each request to the gateway: their numbers begin at 1."""
    requests: list[list[Attempt]] = []
    for attempt in attempts:
        if attempt.number == 1 or not requests:
            requests.append([])
        requests[-1].append(attempt)
    return requests


def _is_try(attempt: Attempt) -> bool:
    """Whether the attempt proves something about the worker, and not about a key or the request."""
    return attempt.failure is None or attempt.failure.kind not in KINDS_OF_THE_KEY | KINDS_OF_THE_REQUEST
