"""Several gateways in one program that share a store, each with the same simulated providers."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import trio
import trio.testing

from cortex_trio import Config, Cortex, CortexError, Reply, WorkerConfig, open_cortex
from cortex_trio.cluster import Store
from cortex_trio.simulator import Simulator


@asynccontextmanager
async def open_gateways(
    sim: Simulator, *stores: Store | None, **settings: Any
) -> AsyncIterator[Sequence[Cortex]]:
    """Open one gateway for each store; the same store may be given several times."""
    async with AsyncExitStack() as stack:
        workers = {
            name: provider.worker(priority=place)
            for place, (name, provider) in enumerate(sim.providers.items())
        }
        config = Config(workers=workers, **{"health_check_interval": 0, **settings})
        yield [
            await stack.enter_async_context(open_cortex(config, http_transport=sim.transport, store=store))
            for store in stores
        ]


@asynccontextmanager
async def open_gateways_of(
    sim: Simulator, store: Store, *workers: Mapping[str, WorkerConfig]
) -> AsyncIterator[Sequence[Cortex]]:
    """Open one gateway for each set of workers, all with the same store."""
    async with AsyncExitStack() as stack:
        configs = [Config(workers=some, health_check_interval=0) for some in workers]
        yield [
            await stack.enter_async_context(open_cortex(config, http_transport=sim.transport, store=store))
            for config in configs
        ]


async def served_by(cortex: Cortex, **options: Any) -> str | None:
    """Return the worker that answers; None if the call fails."""
    reply = await ask(cortex, **options)
    return None if reply is None else reply.worker


async def ask(cortex: Cortex, **options: Any) -> Reply | None:
    """Return the answer; None if the call fails. Then what was found out is shared, without any time passing."""
    try:
        reply = await cortex.complete("Hi", **{"max_wait": 0, **options})
    except CortexError:
        reply = None
    await trio.testing.wait_all_tasks_blocked()
    return reply
