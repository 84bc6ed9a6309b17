"""Nothing may be left behind: what requests still hold of a gateway, and who is still connected to its providers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..gateway.cortex import Cortex
from .simulator import Simulator


def leftovers(cortex: Cortex) -> Mapping[str, int]:
    """What requests hold at this moment: permits, leases of keys, connections checked out. Empty when all is back.

    A gateway hears of the end of a request a moment later: look after `trio.testing.wait_all_tasks_blocked()`.
    """
    runtime = cortex._runtime
    held = {"leases": runtime.ring.leased}
    for state in runtime.table.workers.values():
        held[f"{state.name}: in flight"] = state.in_flight
        held[f"{state.name}: connections in use"] = getattr(state.connections.transport, "in_use", 0)
        held[f"{state.name}: keys in use"] = sum(key.in_use for key in runtime.ring.states(state.name))
    return {what: count for what, count in held.items() if count}


def connected(sim: Simulator) -> Mapping[str, int]:
    """How many connections clients still hold, by provider; empty when no client is connected."""
    held = {name: provider.open_connections for name, provider in sim.providers.items()}
    return {name: count for name, count in held.items() if count}


def may_be_of_a_check(held: Iterable[str]) -> bool:
    """Whether a health check that is running can hold all of `leftovers`: it holds a connection, and nothing else."""
    return all(what.endswith("connections in use") for what in held)
