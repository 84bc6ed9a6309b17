"""Gateways that share a real server, which is killed, hangs, is full, refuses the password, and starts again empty.

In real time. Calls must go on as fast as without a store, and nothing that was found out may be lost.
"""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
from gateways import ask, open_gateways, served_by
from real_server import RealServer, needs_server, running

from cortex_trio import Cortex
from cortex_trio.cluster import ValkeyStore
from cortex_trio.simulator import Behaviour, Simulator, open_simulator
from cortex_trio.telemetry import LinkSnapshot

pytest.importorskip("glide")
pytestmark = [needs_server]

LIMITED = Behaviour(status=429, retry_after=40)
LONGEST_CALL = 0.45
"""Seconds: more than a call takes on a busy machine, and less than a connection to the store may take."""


@asynccontextmanager
async def shared(server: RealServer, count: int = 2, **settings: Any) -> AsyncIterator[tuple[Any, ...]]:
    """Open gateways with one server, each with its own link; return the simulator and the gateways."""
    async with open_simulator() as sim:
        sim.add("openai")
        sim.add("anthropic")
        stores = [ValkeyStore(server.url) for _ in range(count)]
        async with open_gateways(sim, *stores, **settings) as gateways:
            yield sim, *gateways


def link_of(cortex: Cortex) -> LinkSnapshot:
    link = cortex.snapshot().cluster
    assert link is not None
    return link


async def until(condition: Callable[[], bool], seconds: float) -> float:
    """Wait until the condition is true, and return how long that took."""
    began = trio.current_time()
    with trio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110 - no event says it
            await trio.sleep(0.002)
    return trio.current_time() - began


def cools_down(cortex: Cortex) -> bool:
    return any(key.cooldowns for key in cortex.snapshot().keys)


async def call_in_time(cortex: Cortex) -> None:
    """Make three calls: a call that waits for the store does so each time, a busy machine may delay one."""
    durations = []
    for _ in range(3):
        began = trio.current_time()
        assert await served_by(cortex) is not None
        durations.append(trio.current_time() - began)
    assert min(durations) < LONGEST_CALL


async def limit(sim: Simulator, cortex: Cortex) -> None:
    """Let the gateway find out that its first worker is limited."""
    sim["openai"].behave(LIMITED)
    await ask(cortex)
    sim["openai"].behave(Behaviour())
    assert cools_down(cortex)


async def test_a_cooldown_reaches_the_other_gateway() -> None:
    with running() as server:
        async with shared(server) as (sim, first, second):
            await until(lambda: link_of(first).connected and link_of(second).connected, 10)
            await limit(sim, first)
            await until(lambda: cools_down(second), 10)  # how fast it is: benchmarks/cluster.py
            assert await served_by(second) == "anthropic"
            assert len(sim["openai"].requests) == 1


@pytest.mark.slow
async def test_a_server_that_dies_and_starts_again_empty_loses_nothing() -> None:
    with running() as server:
        async with shared(server) as (sim, first, second):
            await limit(sim, first)
            await until(lambda: cools_down(second), 10)
            server.kill()
            await until(lambda: not link_of(first).connected and not link_of(second).connected, 10)
            await call_in_time(first)
            server.start()
            await until(lambda: link_of(first).connected and link_of(second).connected, 10)
            async with shared(server, 1) as (_, third):
                await until(lambda: link_of(third).connected, 10)
        async with open_gateways(sim, ValkeyStore(server.url)) as (fourth,):
            await until(lambda: cools_down(fourth), 10)  # what others knew is in the server again


@pytest.mark.slow
async def test_what_was_found_out_during_an_outage_is_known_after_it() -> None:
    with running() as server:
        async with shared(server) as (sim, first, second):
            server.kill()
            await limit(sim, first)
            assert not cools_down(second)
            await until(lambda: not link_of(first).connected, 10)
            server.start()
            await until(lambda: cools_down(second), 10)


@pytest.mark.slow
async def test_a_server_that_hangs_is_noticed_and_delays_no_call() -> None:
    with running() as server:
        async with shared(server) as (sim, first, second):
            server.hang()
            try:
                await limit(sim, first)
                await until(lambda: not link_of(first).connected, 10)
                for _ in range(5):
                    await call_in_time(first)
                    await call_in_time(second)
            finally:
                server.go_on()
            await until(lambda: cools_down(second), 10)


@pytest.mark.slow
async def test_a_wrong_password_is_logged_once_and_harms_no_call(caplog: pytest.LogCaptureFixture) -> None:
    with running("--requirepass", "right-password") as server:
        async with open_simulator() as sim:
            sim.add("openai")
            store = ValkeyStore(f"valkey://:wrong-password@127.0.0.1:{server.port}/0")
            async with open_gateways(sim, store) as (cortex,):
                await call_in_time(cortex)
                await trio.sleep(1)
                link = link_of(cortex)
                assert not link.connected
                assert "WRONGPASS" in (link.reason or "")
        lines = [r for r in caplog.records if r.levelno >= logging.WARNING and "store" in r.message]
        assert len(lines) == 1
        assert "wrong-password" not in caplog.text


@pytest.mark.slow
async def test_a_full_server_harms_no_call_and_is_used_again_when_there_is_space() -> None:
    with running("--maxmemory", "3mb", "--maxmemory-policy", "noeviction") as server:
        async with shared(server) as (sim, first, second):
            client = await client_of(server)
            await client.custom_command(["CONFIG", "SET", "maxmemory", "1"])
            await limit(sim, first)
            await until(lambda: not link_of(first).connected, 10)
            await call_in_time(first)
            assert "OOM" in (link_of(first).reason or "")
            await client.custom_command(["CONFIG", "SET", "maxmemory", "0"])
            await until(lambda: cools_down(second), 10)
            await client.close()


@pytest.mark.slow
async def test_a_server_that_has_become_a_replica_is_left_and_used_again_when_it_takes_writes() -> None:
    with running() as server, running() as primary:
        async with shared(server) as (sim, first, second):
            await until(lambda: link_of(first).connected and link_of(second).connected, 10)
            assert server.command(f"REPLICAOF 127.0.0.1 {primary.port}") == b"+OK\r\n"
            await limit(sim, first)
            await until(lambda: not link_of(first).connected, 10)
            await call_in_time(first)
            assert not cools_down(second)
            assert server.command("REPLICAOF NO ONE") == b"+OK\r\n"
            await until(lambda: cools_down(second), 10)


async def client_of(server: RealServer) -> Any:
    import glide

    configuration = glide.GlideClientConfiguration([glide.NodeAddress("127.0.0.1", server.port)])
    return await glide.GlideClient.create(configuration)


async def test_the_server_never_gets_an_api_key() -> None:
    with running() as server:
        async with shared(server, 1) as (sim, first):
            await limit(sim, first)
            client = await client_of(server)
            names = await client.custom_command(["KEYS", "*"])
            values = [await client.get(name) for name in names if b":entry:" in name]
            assert len(values) == 1
            key = sim["openai"].requests[0].key.encode()
            assert all(key not in text for text in (*names, *values))
            assert await client.pttl(names[[b":entry:" in name for name in names].index(True)]) > 0
            await client.close()
