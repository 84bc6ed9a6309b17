"""What the caller or this process limits counts against no worker: the next call is served by it at once."""

import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
import trio
from raw_bytes import TEXT, chunk, delta, open_head, said, sse
from raw_server import Do, World, open_world, play

from cortex_trio import Config, Cortex, CortexError, WorkerConfig, open_cortex

TIMES = 20
SLOW = play(1.0, said())
HALF = play(
    open_head(), chunk(sse(delta("half "))), 1.0, chunk(sse(delta(TEXT, "stop"), "[DONE]")) + chunk(b"")
)
Ask = Callable[[Cortex], Awaitable[object]]


async def with_a_short_first_token_timeout(cortex: Cortex) -> None:
    await cortex.complete("Hi", first_token_timeout=0.05)


async def with_a_short_idle_timeout(cortex: Cortex) -> None:
    async with cortex.chat("Hi", idle_timeout=0.2) as stream:
        async for _ in stream:
            pass


async def with_a_short_idle_timeout_and_a_whole_answer(cortex: Cortex) -> None:
    await cortex.complete("Hi", idle_timeout=0.2)


async def under_a_deadline(cortex: Cortex) -> None:
    with trio.move_on_after(0.05):
        await cortex.complete("Hi")


async def under_a_deadline_in_the_middle(cortex: Cortex) -> None:
    with trio.move_on_after(0.2):
        async with cortex.chat("Hi") as stream:
            await stream.collect()


async def and_left_in_the_middle(cortex: Cortex) -> None:
    async with cortex.chat("Hi") as stream:
        async for _ in stream:
            break


CASES = [
    pytest.param(
        ask, SLOW if ask in (with_a_short_first_token_timeout, under_a_deadline) else HALF, id=ask.__name__
    )
    for ask in (
        with_a_short_first_token_timeout,
        with_a_short_idle_timeout,
        with_a_short_idle_timeout_and_a_whole_answer,
        under_a_deadline,
        under_a_deadline_in_the_middle,
        and_left_in_the_middle,
    )
]


@pytest.mark.parametrize(("ask", "answer"), CASES)
async def test_twenty_calls_open_no_breaker_of_a_lone_worker(
    memory: World, ask: Ask, answer: object, autojump_clock: object
) -> None:
    server = memory.server(chat=[answer] * 200)  # type: ignore[list-item]
    async with memory.gateway() as cortex:
        for _ in range(TIMES):
            with suppress(CortexError):
                await ask(cortex)
        server.chat.clear()
        begin = trio.current_time()
        assert (await cortex.complete("Hi")).text == TEXT
        assert trio.current_time() - begin < 0.5
        assert len(server.asked) >= TIMES
        assert (await cortex.health_status()).workers[server.name].status == "available"


@pytest.mark.parametrize(("ask", "answer"), CASES)
async def test_twenty_calls_do_not_change_who_is_asked_first(
    memory: World, ask: Ask, answer: object, autojump_clock: object
) -> None:
    first = memory.server(chat=[answer] * 200)  # type: ignore[list-item]
    memory.server(then_chat=answer)  # type: ignore[arg-type]
    async with memory.gateway() as cortex:
        for _ in range(TIMES):
            with suppress(CortexError):
                await ask(cortex)
        first.chat.clear()
        assert (await cortex.complete("Hi")).worker == first.name


@pytest.mark.parametrize(("ask", "answer"), CASES)
async def test_twenty_calls_at_once_open_no_breaker(
    memory: World, ask: Ask, answer: object, autojump_clock: object
) -> None:
    server = memory.server(chat=[answer] * 200)  # type: ignore[list-item]

    async def run(cortex: Cortex) -> None:
        with suppress(CortexError):
            await ask(cortex)

    async with memory.gateway() as cortex:
        async with trio.open_nursery() as nursery:
            for _ in range(TIMES):
                nursery.start_soon(run, cortex)
        server.chat.clear()
        begin = trio.current_time()
        assert (await cortex.complete("Hi")).text == TEXT
        assert trio.current_time() - begin < 0.5


async def test_a_worker_that_is_silent_for_its_own_time_is_still_blamed(
    memory: World, autojump_clock: object
) -> None:
    first, second = memory.server(then_chat=play(Do.HANG)), memory.server()
    async with memory.gateway() as cortex:
        for _ in range(6):
            assert (await cortex.complete("Hi")).worker == second.name
        assert len(first.asked) < 6, "its breaker opens"


# ------------------------------------------------------------------ httpx's pool


class _FullPool(httpx.AsyncBaseTransport):
    """A transport whose pool has no connection for the first requests."""

    def __init__(self, inner: httpx.AsyncBaseTransport, times: int) -> None:
        self._inner = inner
        self._left = times

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await trio.lowlevel.checkpoint()
        if self._left:
            self._left -= 1
            raise httpx.PoolTimeout("no connection is free")
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self._inner.aclose()


async def test_a_full_pool_is_not_the_workers_fault(memory: World, autojump_clock: object) -> None:
    server = memory.server()
    worker = server.worker()

    def transport(config: WorkerConfig) -> httpx.AsyncBaseTransport:
        return _FullPool(memory.transport(config), TIMES)

    async with open_cortex(
        Config(workers={"raw1": worker}, health_check_interval=0), http_transport=transport
    ) as cortex:
        failed = 0
        while not server.asked:
            with suppress(CortexError):
                await cortex.complete("Hi", max_attempts=1)
            failed += 1
            assert failed <= TIMES + 1
            assert (await cortex.health_status()).workers["raw1"].status == "available"


async def test_waiting_for_a_connection_of_httpx_s_pool_opens_no_breaker() -> None:
    async with open_world("sockets") as world:
        server = world.server(then_chat=play(0.1, said()))

        def transport(config: WorkerConfig) -> httpx.AsyncBaseTransport:
            return httpx.AsyncHTTPTransport(limits=httpx.Limits(max_connections=1))

        async def ask() -> None:
            with suppress(CortexError):
                await cortex.complete("Hi", first_token_timeout=0.25)

        async with open_cortex(world.config(), http_transport=transport) as cortex:
            async with trio.open_nursery() as nursery:
                for _ in range(TIMES):
                    nursery.start_soon(ask)
            # No further call: one time in three httpcore's pool gives no connection any more after this.
            assert (await cortex.health_status()).workers[server.name].status == "available"


# ------------------------------------------------------------------ descriptors


@pytest.mark.slow
@pytest.mark.parametrize("what", ["chat", "check", "idle"])
def test_missing_descriptors_are_not_the_workers_fault(what: str) -> None:
    """In a process of its own, for the limit is the process's."""
    script = Path(__file__).with_name("out_of_descriptors.py")
    folders = (script.parent, script.parents[1] / "http", script.parents[2])
    paths = [*map(str, folders), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, script, what],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip().endswith("well")
