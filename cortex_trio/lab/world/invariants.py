"""What must be true of a gateway as a whole, whatever happens in a world. Each violation is one sentence."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

import trio

from ...gateway.cortex import Cortex
from ...gateway.tree import ROOT_RESTARTS, WINDOW_SECONDS, WORKER_RESTARTS
from ...gateway.workers.breaker import WINDOW_CALLS
from ...gateway.workers.status import WorkerInfo
from ...providers import PROVIDERS
from ...simulator.held import connected, held_in, may_be_of_a_check
from ...simulator.simulator import Simulator
from ...telemetry import Snapshot
from .fixtures import kind_and_number_of, model_of
from .plan import ACTORS

Violations = Iterable[str]


# ------------------------------------------------------------------ while the gateway runs


def state_violations(snapshot: Snapshot, calls: int) -> Iterator[str]:
    """Violations in the state of a gateway with so many open calls: they bound everything it holds."""
    if not calls and (held := held_in(snapshot)) and not may_be_of_a_check(held):
        yield f"no call is open, but the gateway holds {held}"
    if snapshot.leases > 2 * calls:
        yield f"{calls} calls hold {snapshot.leases} API keys"
    for worker in snapshot.workers:
        if worker.breaker.calls > WINDOW_CALLS:
            yield f"{worker.name}: the breaker remembers {worker.breaker.calls} calls"
        if worker.in_flight > 2 * calls:
            yield f"{worker.name}: {worker.in_flight} permits for {calls} calls"
        keys = snapshot.keys_of(worker.name)
        cooldowns = len(worker.cooldowns) + sum(len(key.cooldowns) for key in keys)
        models = {*worker.models, PROVIDERS[worker.provider].embed_model}
        if cooldowns > (len(keys) + 1) * (len(models) + 1):  # with the worker itself, and with all models
            yield f"{worker.name}: {cooldowns} cooldowns"


def tree_violations(cortex: Cortex) -> Iterator[str]:
    """Actors that do not run, although no actor was killed for a while."""
    for line in cortex.tree().splitlines():
        if not re.search(r"  running(, .*)?$", line):
            yield f"an actor was not restarted:\n{cortex.tree()}"
            return


def worker_violations(cortex: Cortex, workers: Sequence[WorkerInfo]) -> Iterator[str]:
    """Every actor of the tree runs, and each of the workers, and no other, has an actor."""
    tree = cortex.tree()
    rows = [re.split(r"\s{2,}", line.lstrip("│├└─ ")) for line in tree.splitlines()]
    names = {name for name, _, _ in rows}
    if not all(re.fullmatch(r"running(, \d+ restarts?)?", status) for _, _, status in rows):
        yield f"an actor does not run:\n{tree}"
    if missing := {"cortex", *ACTORS} - names:
        yield f"{sorted(missing)} are not in the tree:\n{tree}"
    actors, wanted = (
        sorted(name for name, server, _ in rows if server == "Worker"),
        sorted(worker.name for worker in workers),
    )
    if actors != wanted:
        yield f"the workers are {wanted}, but the tree is\n{tree}"


# ------------------------------------------------------------------ after the run


def final_violations(sim: Simulator, tasks: int) -> Iterator[str]:
    """What is left of a gateway that was closed; `tasks` is how many there were before it was opened."""
    if held := connected(sim):
        yield f"the gateway is closed, but connections are open: {held}"
    living = trio.lowlevel.current_statistics().tasks_living
    if living != tasks:
        yield f"there were {tasks} tasks before the gateway was opened, and now there are {living}"


def embedding_violations(sim: Simulator) -> Iterator[str]:
    """All vectors of one call come from one model: vectors of two models cannot be compared."""
    models: dict[int, set[str]] = {}
    for provider in sim.providers.values():
        for request in provider.requests:
            match kind_and_number_of(request):
                case ("embed", number):
                    models.setdefault(number, set()).add(model_of(request))
    for number, used in models.items():
        if len(used) > 1:
            yield f"call {number}: texts were embedded by {sorted(used)}"


def is_restart_limit_reached(kills: Iterable[tuple[float, str]]) -> bool:
    """Whether there were so many kills in so short a time that a supervisor has to give up."""
    times = sorted(at for at, _ in kills)
    fewest = min(ROOT_RESTARTS, WORKER_RESTARTS)
    return any(
        later - earlier <= WINDOW_SECONDS for earlier, later in zip(times, times[fewest:], strict=False)
    )
