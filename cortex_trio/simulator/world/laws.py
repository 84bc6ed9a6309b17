"""What must be true in every life, whatever happens in it. Each broken law is one sentence in the chronicle."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator

import trio

from ...events import Attempt
from ...failures import FailureKind, StreamInterrupted
from ...gateway.breaker import WINDOW_CALLS
from ...gateway.cortex import Cortex
from ...gateway.secrets import mask
from ...gateway.tree import ROOT_RESTARTS, WINDOW_SECONDS, WORKER_RESTARTS
from ..leftovers import connected, leftovers
from ..simulator import Simulator
from .chronicle import Chronicle
from .people import Called
from .plan import Plan
from .upstream import number_of, story_of

GRACE_SECONDS = 0.1
"""Draining the end of an answer may take 50 ms."""
TOTAL_SECONDS = 600.0
HEALING_SECONDS = 10.0
"""After this long without a kill everybody must be there again."""
OUTCOMES = ("whole", "interrupted", "refused", "left", "cancelled")


# ------------------------------------------------------------------ one call


def broken_by_call(called: Called) -> Iterator[str]:
    """What is wrong with one call that has ended."""
    story, shown = story_of(called.planned.number), called.shown
    if called.outcome not in OUTCOMES:
        yield f"{called.summary()}: an error of no type of ours: {called.error!r}"
    if called.is_served and shown != story:
        yield f"{called.summary()}: a whole answer that is not {story!r}"
    if not story.startswith(shown):
        yield f"{called.summary()}: text that is not the beginning of {story!r}"
    if isinstance(called.error, StreamInterrupted) and called.error.partial.text != shown:
        yield f"{called.summary()}: the partial answer is {called.error.partial.text!r}"
    if not called.offsets_fit or not called.ended_once:
        yield f"{called.summary()}: events out of order"
    limit = TOTAL_SECONDS if called.planned.deadline is None else called.planned.deadline
    if called.ended - called.started > limit + called.paused + GRACE_SECONDS:
        yield f"{called.summary()}: took {called.ended - called.started:.3f} s of {limit:.3f}"


def broken_by_refusing(called: Called, plan: Plan, kills: Iterable[tuple[float, str]]) -> Iterator[str]:
    """With a worker nothing ever happens to, whoever wants any whole answer gets one."""
    if (
        plan.rock is None
        or called.planned.is_particular
        or not called.planned.wants_whole
        or called.is_served
    ):
        return
    if any(called.started - HEALING_SECONDS <= at <= called.ended for at, _ in kills):
        return  # the one worker that could serve may have been the one that was just killed
    yield f"{called.summary()}: not served, though {plan.rock} could: {called.error}"


# ------------------------------------------------------------------ the gateway at a moment


def broken_at_a_moment(cortex: Cortex, calls: int) -> Iterator[str]:
    """What is wrong with the state of a gateway that `calls` callers are asking: everything is bounded by them."""
    runtime = cortex._runtime
    if not calls and (held := leftovers(cortex)) and not _is_checking(held):
        yield f"nobody asks, and something is held: {held}"
    if runtime.ring.leased > 2 * calls:
        yield f"{calls} callers hold {runtime.ring.leased} keys"
    for name, state in runtime.table.workers.items():
        if len(state.breaker._calls) > WINDOW_CALLS:
            yield f"{name}: the breaker remembers {len(state.breaker._calls)} calls"
        if len(state.permits) > 2 * calls:
            yield f"{name}: {len(state.permits)} permits for {calls} callers"
        for key in runtime.ring.states(name):
            if len(key.rests) > len(state.models) + 1:
                yield f"{name}: a key with {len(key.rests)} rests"


def _is_checking(held: Iterable[str]) -> bool:
    """A health check holds a connection, and nothing else."""
    return all(what.endswith("connections in use") for what in held)


def broken_tree(cortex: Cortex) -> Iterator[str]:
    for line in cortex.tree().splitlines():
        if not re.search(r"  running(, \d+ restarts?)?$", line):
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
