"""A gateway in front of simulated providers, for tests: it checks at its end that its requests have released all.

async with open_simulator() as sim:
    sim.add("openai", Behaviour(status=503))
    sim.add("anthropic")
    async with open_gateway(sim) as cortex:
        assert (await cortex.complete("Hi")).worker == "anthropic"
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trio
import trio.testing

from ..cluster import Store
from ..gateway.cortex import Cortex, open_cortex
from ..gateway.settings.config import Config, WorkerConfig
from ..telemetry import Observer
from .held import connected, leftovers, may_be_of_a_check
from .simulator import Simulator

CLOSE_SECONDS = 2.0
"""How long the close of a socket may take until the provider sees it; in memory it sees it at once."""
POLL_SECONDS = 0.05
"""Between two looks at the connections that a health check uses."""


@asynccontextmanager
async def open_gateway(
    simulator: Simulator,
    workers: Mapping[str, WorkerConfig] | None = None,
    *,
    on_event: Observer | Sequence[Observer] | None = None,
    store: Store | None = None,
    **settings: Any,
) -> AsyncIterator[Cortex]:
    """Open a gateway whose workers are the providers of `simulator`.

    When the block ends without an error, it checks that no request holds an API key, a permit or a connection any
    more, and, after the gateway was closed, that no provider has an open connection. A block that raises is not
    checked: its own error is what the reader needs.

    Args:
        simulator: the providers; add them before the gateway is opened.
        workers: None: one worker for each provider, with priorities in the order in which they were added.
        on_event: one observer or several, as for `open_cortex`.
        store: shared with other gateways, as for `open_cortex`.
        settings: fields of `Config`. There are no active health checks unless `health_check_interval` is given.

    Raises:
        AssertionError: something was not released; it says what.
        ConfigError: `settings` or `workers` are wrong.
    """
    if workers is None:
        workers = {
            name: provider.worker(priority=place)
            for place, (name, provider) in enumerate(simulator.providers.items())
        }
    config = Config(workers=workers, **{"health_check_interval": 0, **settings})
    transport = simulator.transport if simulator.network is not None else None
    async with open_cortex(config, http_transport=transport, on_event=on_event, store=store) as cortex:
        yield cortex
        await trio.testing.wait_all_tasks_blocked()  # the actors still have to receive the last results
        if config.health_check_interval:
            await _end_of_health_check(cortex, config.health_check_timeout)
        if held := leftovers(cortex):
            raise AssertionError(f"requests left something behind: {held}")
    with trio.move_on_after(CLOSE_SECONDS):
        while connected(simulator):
            await trio.testing.wait_all_tasks_blocked(0.001)
    if still := connected(simulator):
        raise AssertionError(f"the closed gateway left connections open: {still}")


async def _end_of_health_check(cortex: Cortex, timeout: float) -> None:
    """Wait while only a running health check can be the reason why a connection is in use."""
    with trio.move_on_after(timeout):
        while (held := leftovers(cortex)) and may_be_of_a_check(held):  # noqa: ASYNC110 - no event says it
            await trio.sleep(POLL_SECONDS)
