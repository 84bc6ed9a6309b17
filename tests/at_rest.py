"""Nothing may be left behind: what a gateway and its simulated providers look like when nobody asks anything."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import trio
import trio.testing

from cortex_trio import Config, Cortex, WorkerConfig, open_cortex
from cortex_trio.simulator import SimulatedProvider, Simulator

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


@asynccontextmanager
async def gateway(
    sim: Simulator,
    workers: Mapping[str, WorkerConfig] | None = None,
    *,
    on_event: Callable[[object], None] | None = None,
    **settings: Any,
) -> AsyncIterator[Cortex]:
    """A gateway before simulated providers, asked in the order they were added; at its end nothing may be left.

    `settings` are Config's own; there are no active health checks unless they say so.
    """
    if workers is None:
        workers = {
            name: worker_of(provider, priority=place)
            for place, (name, provider) in enumerate(sim.providers.items())
        }
    config = Config(workers=workers, **{"health_check_interval": 0, **settings})
    transport = sim.transport if sim.network is not None else None
    async with open_cortex(config, http_transport=transport, on_event=on_event) as cortex:
        yield cortex
        assert await is_at_rest(cortex), leftovers(cortex)
    assert await settle(lambda: nobody_is_connected(sim)), {
        name: provider.open_connections for name, provider in sim.providers.items()
    }
