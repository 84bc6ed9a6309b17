"""Nothing may be left behind: what a gateway and its simulated providers look like when nobody asks anything."""

from collections.abc import Callable, Mapping
from typing import Any

import trio
import trio.testing

from cortex_trio import Cortex, WorkerConfig
from cortex_trio.simulator import SimulatedProvider, Simulator, open_gateway

PATIENCE_SECONDS = 2.0
"""Real time a socket's close may take to be seen on the other side; in memory it is seen at once."""


def leftovers(cortex: Cortex) -> dict[str, int]:
    """What requests still hold: permits, keys, connections that are checked out. Empty when all is given back."""
    runtime = cortex._runtime
    held = {"leases": runtime.ring.leased}
    for state in runtime.table.workers.values():
        held[f"{state.name}: in flight"] = state.in_flight
        held[f"{state.name}: connections in use"] = getattr(state.connections.transport, "in_use", 0)
        held[f"{state.name}: keys in use"] = sum(key.in_use for key in runtime.ring.states(state.name))
    return {what: count for what, count in held.items() if count}


async def is_at_rest(cortex: Cortex) -> bool:
    """Let the actors hear what they were told, then look."""
    await trio.testing.wait_all_tasks_blocked()
    return not leftovers(cortex)


async def settle(holds: Callable[[], bool]) -> bool:
    """Wait until `holds`, or until patience is over; at once in memory, where a close is seen as it happens."""
    with trio.move_on_after(PATIENCE_SECONDS):
        while not holds():
            await trio.testing.wait_all_tasks_blocked(0.001)
    return holds()


def nobody_is_connected(sim: Simulator) -> bool:
    return not any(provider.open_connections for provider in sim.providers.values())


def worker_of(provider: SimulatedProvider, **settings: Any) -> WorkerConfig:
    """What a gateway is told of a simulated provider; `settings` are WorkerConfig's own, times in seconds."""
    told: Mapping[str, Any] = {
        "provider": provider.provider,
        "api_keys": provider.api_keys,
        "models": provider.models,
        "base_url": provider.url,
    }
    return WorkerConfig(**{**told, **settings})


gateway = open_gateway
