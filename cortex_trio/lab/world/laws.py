"""What must be true in every life, whatever happens in it. Each broken law is one sentence in the chronicle."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator

import trio

from ...errors import StreamInterrupted
from ...events import Attempt
from ...failures import FailureKind
from ...gateway.cortex import Cortex
from ...gateway.settings.secrets import mask
from ...gateway.tree import ROOT_RESTARTS, WINDOW_SECONDS, WORKER_RESTARTS
from ...gateway.workers.breaker import WINDOW_CALLS
from ...providers import PROVIDERS
from ...simulator.leftovers import connected, leftovers, may_be_of_a_check
from ...simulator.simulator import Simulator
from ...simulator.tokens import vector_of
from .chronicle import Chronicle
from .people import Called
from .plan import Plan
from .tales import answer_of, calls_of, embed_model_of, kind_and_number_of, number_of, texts_of

GRACE_SECONDS = 0.1
"""Draining the end of an answer may take 50 ms."""
TOTAL_SECONDS = 600.0
MAX_WAIT_SECONDS = 30.0
"""Config.max_wait, as it is when nothing is said: so long a call may wait for a worker before it is refused."""
HEALING_SECONDS = 10.0
"""After this long without a kill all actors must run again."""
OUTCOMES = ("whole", "interrupted", "refused", "left", "cancelled")


# ------------------------------------------------------------------ one call


def broken_by_call(called: Called, max_attempts: int | None = None) -> Iterator[str]:
    """What is wrong with one call that has ended; `max_attempts` is the configured one, None if it is not known."""
    if called.outcome not in OUTCOMES:
        yield f"{called.summary()}: an error of no type of ours: {called.error!r}"
    yield from _broken_text(called)
    yield from _broken_tool_calls(called)
    if called.is_served:
        yield from _broken_result(called)
    if not called.offsets_fit or not called.ended_once:
        yield f"{called.summary()}: events out of order"
    if called.planned.how != "continue" and any(_is_our_fault(attempt) for attempt in called.attempts or ()):
        yield f"{called.summary()}: a provider was sent what it does not understand"
    most = called.planned.options.get("max_attempts", max_attempts)
    if most is not None and (reached := _reached(called.attempts or ())) > most * called.planned.requests:
        yield f"{called.summary()}: {reached} attempts reached a provider, where {most} may"
    total = (TOTAL_SECONDS + MAX_WAIT_SECONDS) * called.planned.requests
    limit = total if called.planned.deadline is None else called.planned.deadline
    if called.ended - called.started > limit + called.paused + GRACE_SECONDS:
        yield f"{called.summary()}: took {called.ended - called.started:.3f} s of {limit:.3f}"


def _reached(attempts: Iterable[Attempt]) -> int:
    """A connection that was not made costs time and no attempt."""
    return sum(attempt.failure is None or attempt.failure.phase != "connect" for attempt in attempts)


def _broken_text(called: Called) -> Iterator[str]:
    if called.planned.what in ("embed", "models"):
        return
    answer, shown = answer_of(called.planned.number, called.planned.what), called.shown
    if called.is_served and shown != answer:
        yield f"{called.summary()}: a whole answer that is not {answer!r:.200}"
    if not answer.startswith(shown):
        yield f"{called.summary()}: text that is not the beginning of {answer!r:.200}"
    if isinstance(called.error, StreamInterrupted) and called.error.partial.text != shown:
        yield f"{called.summary()}: the partial answer is {called.error.partial.text!r:.200}"


def _broken_tool_calls(called: Called) -> Iterator[str]:
    """Each call is heard once; what is heard of its arguments is their beginning, and all of them in the end."""
    wanted = calls_of(called.planned.number) if called.planned.what == "tools" else ()
    if called.begun_after_a_call:
        yield f"{called.summary()}: an answer was begun again after a whole tool call was heard"
    if len(called.heard) > len(wanted):
        yield f"{called.summary()}: {len(called.heard)} tool calls, where {len(wanted)} were made"
    for call, planned in zip(called.heard.values(), wanted, strict=False):
        said, whole = _squeezed(call.arguments), _squeezed(planned.arguments)
        if call.name != planned.name or not whole.startswith(said):
            yield f"{called.summary()}: a tool call that is not the beginning of {planned.arguments}"
    heard = [_squeezed(call.arguments) for call in called.heard.values()]
    if called.results_sent and heard != [_squeezed(planned.arguments) for planned in wanted]:
        yield f"{called.summary()}: the tool calls of a whole answer are not {len(wanted)} whole ones"


def _squeezed(arguments: str) -> str:
    """JSON without its spaces: where a wire has objects and no text, they are not the provider's own."""
    return "".join(arguments.split())


def _broken_result(called: Called) -> Iterator[str]:
    """What is wrong with vectors and lists."""
    planned = called.planned
    if planned.what == "embed":
        texts = texts_of(planned.number, planned.texts)
        wanted = [vector_of(text, planned.options.get("dimensions")) for text in texts]
        if [list(vector) for vector in called.vectors] != wanted:
            yield f"{called.summary()}: the vectors are not those of the {len(texts)} texts, in order"
    if planned.what == "models" and not called.listed:
        yield f"{called.summary()}: the list of models is empty"
    if planned.what == "tools" and not called.results_sent:
        yield f"{called.summary()}: whole, though no tool was called"


def _is_our_fault(attempt: Attempt) -> bool:
    return attempt.failure is not None and attempt.failure.kind is FailureKind.BAD_REQUEST


def broken_by_refusing(called: Called, plan: Plan, kills: Iterable[tuple[float, str]]) -> Iterator[str]:
    """With a worker that never fails, every call that accepts any whole answer gets one."""
    planned = called.planned
    if plan.rock is None or planned.is_particular or not planned.wants_whole or called.is_served:
        return
    if planned.what == "embed" and not _is_the_only_model(plan):
        return
    if any(called.started - HEALING_SECONDS <= at <= called.ended for at, _ in kills):
        return  # the one worker that could serve may have been the one that was just killed
    yield f"{called.summary()}: not served, though {plan.rock} could: {called.error}"


def _is_the_only_model(plan: Plan) -> bool:
    """Whether all workers that embed use the rock's own model, so that the rock can replace each of them."""
    models = {provider.name: PROVIDERS[provider.dialect].embed_model for provider in plan.providers}
    return plan.rock is not None and {model for model in models.values() if model} == {models[plan.rock]}


# ------------------------------------------------------------------ the gateway at a moment


def broken_at_a_moment(cortex: Cortex, calls: int) -> Iterator[str]:
    """What is wrong with the state of a gateway that `calls` callers are asking: everything is bounded by them."""
    snapshot = cortex.snapshot()
    if not calls and (held := leftovers(cortex)) and not may_be_of_a_check(held):
        yield f"no call is open, and something is held: {held}"
    if snapshot.leases > 2 * calls:
        yield f"{calls} callers hold {snapshot.leases} keys"
    for worker in snapshot.workers:
        if worker.breaker.calls > WINDOW_CALLS:
            yield f"{worker.name}: the breaker remembers {worker.breaker.calls} calls"
        if worker.in_flight > 2 * calls:
            yield f"{worker.name}: {worker.in_flight} permits for {calls} callers"
        models = {*worker.models, PROVIDERS[worker.provider].embed_model}
        keys = snapshot.keys_of(worker.name)
        cooldowns = len(worker.cooldowns) + sum(len(key.cooldowns) for key in keys)
        # For each key, and for the worker itself: one for each model, and one for all of them.
        if cooldowns > (len(keys) + 1) * (len(models) + 1):
            yield f"{worker.name}: {cooldowns} cooldowns"


def broken_tree(cortex: Cortex) -> Iterator[str]:
    for line in cortex.tree().splitlines():
        if not re.search(r"  running(, .*)?$", line):
            yield f"the tree did not heal:\n{cortex.tree()}"
            return


# ------------------------------------------------------------------ the end


def broken_at_the_end(sim: Simulator, tasks: int) -> Iterator[str]:
    """After the gateway was closed: `tasks` is how many there were before it was opened."""
    if held := connected(sim):
        yield f"the gateway is closed, and connections are open: {held}"
    living = trio.lowlevel.current_statistics().tasks_living
    if living != tasks:
        yield f"there were {tasks} tasks before the gateway was opened, and are {living} now"


def broken_ledger(chronicle: Chronicle, sim: Simulator) -> Iterator[str]:
    """Every request is one record, every record of an answer one request."""
    seen: dict[int, Counter[str]] = {}
    again: dict[int, Counter[str]] = {}
    total: Counter[str] = Counter()
    repeats: Counter[str] = Counter()
    for name, provider in sim.providers.items():
        used: set[int] = set()
        for request in provider.requests:
            number = number_of(request)
            if number is not None:
                place = _place(name, request.key and mask(request.key))
                seen.setdefault(number, Counter())[place] += 1
                total[place] += 1
                if request.connection in used:  # it may have died before a byte came, and was sent once more
                    again.setdefault(number, Counter())[place] += 1
                    repeats[place] += 1
            used.add(request.connection)
    yield from _compared("in all", chronicle.attempts, total, repeats)
    for called in chronicle.calls:
        if called.attempts is not None:
            number = called.planned.number
            sent, repeated = seen.get(number, Counter()), again.get(number, Counter())
            yield from _compared(f"call {number}", called.attempts, sent, repeated)


def broken_embeddings(sim: Simulator) -> Iterator[str]:
    """The vectors of one call come from one model: those of two cannot be compared."""
    models: dict[int, set[str]] = {}
    for provider in sim.providers.values():
        for request in provider.requests:
            match kind_and_number_of(request):
                case ("embed", number):
                    models.setdefault(number, set()).add(embed_model_of(request))
    for number, named in models.items():
        if len(named) > 1:
            yield f"call {number}: texts were embedded by {sorted(named)}"


def _compared(
    whose: str, attempts: Iterable[Attempt], seen: Counter[str], repeated: Counter[str]
) -> Iterator[str]:
    recorded = Counter(_place(attempt.worker, attempt.key) for attempt in attempts)
    certain = Counter(_place(attempt.worker, attempt.key) for attempt in attempts if _was_answered(attempt))
    if missing := seen - recorded - repeated:
        yield f"{whose}: asked, but not in the ledger: {dict(missing)}"
    if invented := certain - seen:
        yield f"{whose}: in the ledger, but never asked: {dict(invented)}"


def _place(worker: str, key: str | None) -> str:
    return f"{worker} {key}"


def _was_answered(attempt: Attempt) -> bool:
    """Something came back, so the provider must have seen it."""
    failure = attempt.failure
    if failure is None or failure.status is not None:
        return True
    return failure.phase in ("body", "stream") and failure.kind not in (
        FailureKind.CANCELLED,
        FailureKind.CRASHED,
    )


def may_give_up(kills: Iterable[tuple[float, str]]) -> bool:
    """Whether so many were killed in so short a time that giving up is right."""
    times = sorted(at for at, _ in kills)
    fewest = min(ROOT_RESTARTS, WORKER_RESTARTS)
    return any(
        later - earlier <= WINDOW_SECONDS for earlier, later in zip(times, times[fewest:], strict=False)
    )
