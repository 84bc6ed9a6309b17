"""Starts what one gateway consists of, and stops it in reverse order.

    connections, API keys, cooldowns    plain objects; they survive a crash of every actor
    socket with snapshots               listens before the tree starts, if the user wants one
    deadlines                           a task
    prices                              imported in a thread, when the first request needs them
    supervision tree                    the actors

Leaving stops the tree first, then closes the connections. Knows nothing of requests.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import trio

from ..cluster import Store
from ..costs import load_prices, prices_are_pending
from ..otp import run
from ..otp.nursery import open_flat_nursery
from ..telemetry import Observer, Telemetry
from ..telemetry.socket_path import new_path, path_from
from ..telemetry.socket_server import SocketServer
from .reconfigure import worker_state
from .runtime import Runtime
from .settings.config import Config
from .settings.process_environ import environment
from .transport.connections import Connector, MakeTransport
from .tree import cortex_tree
from .workers.cooldowns import Cooldowns
from .workers.keys import KeyRing
from .workers.registry import WorkerTable
from .workers.worker import WorkerState

FIRST_READ_SECONDS = 0.5
"""Seconds for which opening a gateway waits until it knows what other processes know."""

log = logging.getLogger("cortex_trio")


@asynccontextmanager
async def open_runtime(
    config: Config,
    *,
    http_transport: MakeTransport | None = None,
    on_event: Observer | Sequence[Observer] | None = None,
    observe: str | bool = False,
    store: Store | None = None,
) -> AsyncIterator[Runtime]:
    """Run the supervision tree of a gateway while the block runs. Arguments as of `open_cortex`.

    When the block ends, calls that wait end with trio.ClosedResourceError, requests in flight are cancelled, and all
    connections are closed before this returns.

    Raises:
        ConfigError: a proxy, a CA file, a transport or the socket of `observe` cannot be used.
        MaxRestartsExceeded: the tree gave up; the block is cancelled.
    """
    server = _listen(observe)
    try:
        made = await _make_runtime(config, http_transport, on_event, store)
        async with _open_runtime(made, server) as runtime:
            yield runtime
    finally:
        if server is not None:
            await server.aclose()


@asynccontextmanager
async def _open_runtime(runtime: Runtime, server: SocketServer | None) -> AsyncIterator[Runtime]:
    try:
        async with open_flat_nursery() as nursery:
            nursery.start_soon(runtime.deadlines.run)
            if prices_are_pending():
                nursery.start_soon(_load_prices, runtime.prices_needed)
            await nursery.start(_run_tree, runtime, server)
            try:
                if runtime.sharing is not None:
                    # A store that hangs must not delay the program.
                    with trio.move_on_after(FIRST_READ_SECONDS):
                        await runtime.sharing.synced.wait()
                yield runtime
            finally:
                runtime.close()
            nursery.cancel_scope.cancel()
    finally:
        current = [state.connections for state in runtime.table.workers.values()]
        for connections in [*current, *runtime.retired_connections]:
            await connections.aclose()


async def _make_runtime(
    config: Config,
    http_transport: MakeTransport | None,
    on_event: Observer | Sequence[Observer] | None,
    store: Store | None,
) -> Runtime:
    connector = Connector(http_transport, config.max_idle_connections)
    cooldowns = Cooldowns(config.rate_limit_rest)
    states: list[WorkerState] = []
    try:
        for name, worker in config.workers.items():
            states.append(worker_state(name, worker, connector, cooldowns))
    except BaseException:
        for state in states:
            await state.connections.aclose()
        raise
    ring = KeyRing(cooldowns, config.key_strategy)
    for state in states:
        ring.set_keys(state.name, state.config.api_keys)
    return Runtime(
        config=config,
        connector=connector,
        table=WorkerTable.of(states),
        cooldowns=cooldowns,
        ring=ring,
        telemetry=Telemetry(on_event),
        store=store,
    )


def _listen(observe: str | bool) -> SocketServer | None:
    if observe is False:
        return None
    server = SocketServer.listen(new_path(environment()) if observe is True else path_from(observe))
    log.info("snapshots are served at unix:%s", server.path)
    return server


async def _load_prices(needed: trio.Event) -> None:
    """Import the list of prices beside the first request: at its end the import would stop all streams for 0.3 s."""
    await needed.wait()
    await trio.to_thread.run_sync(load_prices, abandon_on_cancel=True)


async def _run_tree(
    runtime: Runtime, server: SocketServer | None, task_status: trio.TaskStatus[object]
) -> None:
    await run(cortex_tree(runtime, server), ref=runtime.root, task_status=task_status)
