"""Waiting until a gateway and its simulated providers have released everything."""

from collections.abc import Callable
from typing import Any

import trio
import trio.testing

from cortex_trio import Cortex, WorkerConfig
from cortex_trio.simulator import SimulatedProvider, Simulator, connected, leftovers, open_gateway

__all__ = ["gateway", "is_at_rest", "leftovers", "nobody_is_connected", "settle", "worker_of"]

SETTLE_SECONDS = 10.0
"""Real time in which the close of a socket must be seen at its other end; in memory it is seen at once."""


async def is_at_rest(cortex: Cortex) -> bool:
    """Let the actors handle their messages; return whether no request holds anything."""
    await trio.testing.wait_all_tasks_blocked()
    return not leftovers(cortex)


async def settle(holds: Callable[[], bool]) -> bool:
    """Wait until `holds()`, for at most `SETTLE_SECONDS`; return whether it does."""
    with trio.move_on_after(SETTLE_SECONDS):
        while not holds():
            await trio.testing.wait_all_tasks_blocked(0.001)
    return holds()


def nobody_is_connected(sim: Simulator) -> bool:
    """Whether no provider has an open connection."""
    return not connected(sim)


def worker_of(provider: SimulatedProvider, **settings: Any) -> WorkerConfig:
    """As `provider.worker`."""
    return provider.worker(**settings)


gateway = open_gateway
