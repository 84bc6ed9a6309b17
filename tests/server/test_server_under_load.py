"""What clients leave behind, and what a crash of one part costs the others."""

import gc
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from served import Client, open_served, request, until
from test_endpoint import CHAT, chat

from cortex_trio import Cortex, open_cortex
from cortex_trio.server import Server, open_server
from cortex_trio.simulator import Behaviour, open_simulator
from cortex_trio.simulator.provider import SimulatedProvider

SHORT = Behaviour(tokens=["word "] * 20, tokens_per_second=40)
LONG = Behaviour(tokens=["word "] * 2000, tokens_per_second=50)
SILENT = Behaviour(silent=True)
HALF_HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: loc"
HALF_BODY = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{"
HALF_CHUNK = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"
)


@asynccontextmanager
async def loaded(behaviour: Behaviour) -> AsyncIterator[tuple[Server, SimulatedProvider, Cortex]]:
    async with open_simulator(sockets=True) as sim:
        provider = sim.add("openai", behaviour, models=["m"])
        async with open_cortex(sim.config()) as cortex, open_server(cortex, grace=1) as server:
            yield server, provider, cortex


STEPS = {
    "in the head": (LONG, HALF_HEAD, False),
    "in the body": (LONG, HALF_BODY, False),
    "in a chunk": (LONG, HALF_CHUNK, False),
    "before the first byte": (SILENT, chat(stream=True), True),
    "before the answer": (SILENT, chat(stream=False), True),
    "in the stream": (LONG, chat(stream=True), True),
    "with requests behind": (LONG, chat(stream=True) * 3, True),
}


@pytest.mark.parametrize(("behaviour", "raw", "is_asked"), STEPS.values(), ids=STEPS)
async def test_a_client_that_leaves_at_any_point_leaves_nothing(
    behaviour: Behaviour, raw: bytes, is_asked: bool
) -> None:
    async with loaded(behaviour) as (server, provider, cortex):
        clients = [await Client.to(server) for _ in range(5)]
        for client in clients:
            await client.send(raw)
        await until(lambda: server.connections == 5)
        if is_asked:
            await until(lambda: provider.open_connections == 5)
        for number, client in enumerate(clients):
            if raw.startswith(b"POST") and behaviour is LONG and is_asked:
                await client.has_begun()
            if number % 2:
                await client.stream.aclose()
            else:
                client.stream.socket.setsockopt(
                    trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, b"\1\0\0\0\0\0\0\0"
                )
                client.stream.socket.close()  # a reset
        await until(lambda: server.connections == 0 and provider.open_connections == 0)
        assert sum(worker.in_flight for worker in cortex.snapshot().workers) == 0


OURS = {"listener": True, "connections": False}
"""The actors of the server: whether the streams that are open survive them."""


@pytest.mark.slow
async def test_a_killed_actor_costs_no_stream_that_was_not_on_it() -> None:
    async with loaded(SHORT) as (server, _, cortex):
        whole = 0

        async def ask() -> None:
            nonlocal whole
            client = await Client.to(server)
            try:
                answer = await client.ask(chat(stream=True))
                whole += answer.is_whole and answer.body.endswith(b"data: [DONE]\n\n")
            except (trio.BrokenResourceError, EOFError):
                pass
            await client.stream.aclose()

        names = re.findall(r"^\W*(\S+)", cortex.tree(), re.MULTILINE)
        assert len(names) == 9, "an actor that is not tested"
        supervisors = {"cortex", "server"}  # the gateway, and the whole server
        for name in [name for name in names if name not in supervisors]:
            ref = server.actor(name) if name in OURS else cortex.actor(name)
            process, whole = ref.process, 0
            async with trio.open_nursery() as nursery:
                for _ in range(8):
                    nursery.start_soon(ask)
                await until(lambda: server.connections == 8)
                await trio.sleep(0.2)
                ref.kill()
                nursery.start_soon(ask)
            assert whole == (9 if OURS.get(name, True) else 1), name
            await until(lambda ref=ref, process=process: ref.alive and ref.process is not process)
        await until(lambda: server.connections == 0)
        assert sum(worker.in_flight for worker in cortex.snapshot().workers) == 0


@pytest.mark.slow
async def test_many_requests_leave_no_memory_behind() -> None:
    async with open_served() as (server, api, _):

        async def ask(number: int) -> None:
            async def one() -> None:
                client = await Client.to(server)
                for path in ("/echo", "/stream", "/nowhere") * (number // 30):
                    await client.ask(request("POST", path, b"x" * 2000))
                await client.stream.aclose()
                Client.made.remove(client)

            async with trio.open_nursery() as nursery:
                for _ in range(10):
                    nursery.start_soon(one)

        def blocks() -> int:
            api.requests.clear()
            gc.collect()
            return sys.getallocatedblocks()

        await ask(300)
        growths = []
        for _ in range(3):
            before = blocks()
            await ask(600)
            growths.append(blocks() - before)
        assert (
            min(growths) < 600
        )  # a request allocates hundreds; a cache of the interpreter grows in one round
        await until(lambda: server.connections == 0)


@pytest.mark.parametrize("path", [CHAT, "/v1/messages"])
async def test_a_request_between_broken_ones_is_answered(path: str) -> None:
    async with loaded(Behaviour(text="ok")) as (server, _, _):
        client = await Client.to(server)
        await client.send(request("POST", path, b"{") + chat(stream=True) + request("POST", path, b"[]"))
        assert [(await client.answer()).status for _ in range(3)] == [400, 200, 400]
        await client.stream.aclose()
