"""Two gateways under load while a real server is killed, stopped, cut off, filled, or starts again without data.

In real time. No call may fail or wait for the server, and soon after its return both know what the other found out.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import final

import pytest
import trio
from network import server_behind_a_cable
from real_server import RealServer, needs_server, running
from test_real_server import LONGEST_CALL, client_of, cools_down, limit, link_of, shared, until

from cortex_trio import Cortex, CortexError

pytest.importorskip("glide")
pytestmark = [needs_server, pytest.mark.slow]

PAUSE = 0.01
NOTICED = 3.0
"""Seconds; the goal is 1, measured by benchmarks/cluster.py. The machine of a test may be busy."""
BACK = 5.0
"""Seconds; the goal is 2."""


@final
class Load:
    """Calls of all gateways, one after the other."""

    def __init__(self) -> None:
        self.served = 0
        self.lost = 0
        self.longest = 0.0

    async def run(self, cortex: Cortex) -> None:
        while True:
            began = trio.current_time()
            try:
                await cortex.complete("Hi", max_wait=0)
                self.served += 1
            except CortexError:
                self.lost += 1
            self.longest = max(self.longest, trio.current_time() - began)
            await trio.sleep(PAUSE)


@asynccontextmanager
async def under_load(*gateways: Cortex) -> AsyncIterator[None]:
    load = Load()
    async with trio.open_nursery() as nursery:
        for cortex in gateways:
            nursery.start_soon(load.run, cortex)
        yield
        nursery.cancel_scope.cancel()
    assert load.lost == 0
    assert load.served > 5
    assert load.longest < LONGEST_CALL


async def attack(
    server: RealServer, fail: Callable[[], Awaitable[None]], recover: Callable[[], Awaitable[None]]
) -> None:
    """Let the server fail while one gateway finds something out, and recover."""
    async with shared(server) as (sim, first, second):
        await until(lambda: link_of(first).connected and link_of(second).connected, BACK)
        async with under_load(first, second):
            await trio.sleep(0.1)
            await fail()
            await limit(sim, first)
            await until(lambda: not link_of(first).connected, NOTICED)
            await trio.sleep(0.5)
            await recover()
            await until(lambda: cools_down(second), BACK)
            await until(lambda: link_of(first).processes == link_of(second).processes == 2, BACK)


async def test_a_server_that_is_killed() -> None:
    with running() as server:

        async def kill() -> None:
            server.kill()

        async def start() -> None:
            await trio.to_thread.run_sync(server.start)

        await attack(server, kill, start)


async def test_a_server_that_is_stopped() -> None:
    with running() as server:

        async def stop() -> None:
            server.hang()

        async def go_on() -> None:
            server.go_on()

        await attack(server, stop, go_on)


async def test_a_server_that_is_full() -> None:
    with running() as server:
        client = await client_of(server)

        async def allow(size: str) -> None:
            await client.custom_command(["CONFIG", "SET", "maxmemory", size])

        await attack(server, lambda: allow("1"), lambda: allow("0"))
        await client.close()


async def test_a_server_that_is_behind_a_cut_cable() -> None:
    with server_behind_a_cable() as (server, cable):

        async def cut() -> None:
            await trio.to_thread.run_sync(cable.cut)

        async def mend() -> None:
            await trio.to_thread.run_sync(cable.mend)

        await attack(server, cut, mend)
