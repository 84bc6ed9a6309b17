"""What requests hold of a gateway, and which connections of providers are open. Both are empty after all requests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..gateway.cortex import Cortex
from ..telemetry import Snapshot
from .simulator import Simulator


def leftovers(cortex: Cortex) -> Mapping[str, int]:
    """Return what requests hold at this moment: leases of API keys, permits, connections in use.

    The actors of a gateway receive the result of a request a moment after its end: call it after
    `trio.testing.wait_all_tasks_blocked()`.

    Returns:
        A count for each description; empty if nothing is held.
    """
    return held_in(cortex.snapshot())


def held_in(snapshot: Snapshot) -> Mapping[str, int]:
    """The same as `leftovers`, of a snapshot."""
    held = {"leases": snapshot.leases}
    for worker in snapshot.workers:
        held[f"{worker.name}: in flight"] = worker.in_flight
        held[f"{worker.name}: connections in use"] = worker.connections.in_use if worker.connections else 0
        held[f"{worker.name}: keys in use"] = sum(key.leased for key in snapshot.keys_of(worker.name))
    return {description: count for description, count in held.items() if count}


def connected(sim: Simulator) -> Mapping[str, int]:
    """Return how many connections of each provider are open; empty if none is."""
    held = {name: provider.open_connections for name, provider in sim.providers.items()}
    return {name: count for name, count in held.items() if count}


def may_be_of_a_check(held: Iterable[str]) -> bool:
    """Return whether a running health check may hold all of `leftovers`: it uses a connection and nothing else."""
    return all(description.endswith("connections in use") for description in held)
