"""What requests still hold of a gateway, and which connections to its providers are open. Tests expect nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from ..gateway.cortex import Cortex
from .simulator import Simulator


def leftovers(cortex: Cortex) -> Mapping[str, int]:
    """Return what requests hold now: permits, leases of API keys, connections in use. Empty when all is released.

    The actors of a gateway receive the end of a request a moment later: call this after
    `trio.testing.wait_all_tasks_blocked()`.
    """
    snapshot = cortex.snapshot()
    held = Counter({"leases": snapshot.leases})
    for worker in snapshot.workers:
        held[f"{worker.name}: in flight"] = worker.in_flight
        held[f"{worker.name}: connections in use"] = worker.connections.in_use if worker.connections else 0
    for key in snapshot.keys:
        held[f"{key.worker}: keys in use"] += key.leased
    return {what: count for what, count in held.items() if count}


def connected(sim: Simulator) -> Mapping[str, int]:
    """How many connections clients still hold, by provider; empty when no client is connected."""
    held = {name: provider.open_connections for name, provider in sim.providers.items()}
    return {name: count for name, count in held.items() if count}


def may_be_of_a_check(held: Iterable[str]) -> bool:
    """Whether a health check that is running can hold all of `leftovers`: it holds a connection, and nothing else."""
    return all(what.endswith("connections in use") for what in held)
