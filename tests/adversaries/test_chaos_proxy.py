"""Real sockets in bad faults: whatever happens to the bytes, an answer is whole or an error says that it is not."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from urllib.parse import urlsplit

import attrs
import pytest
import trio
import trio.testing
from at_rest import gateway, settle, worker_of

from cortex_trio import AllWorkersFailed, Cortex, CortexError, FailureKind, ProviderError, Reply
from cortex_trio.simulator import (
    Behaviour,
    ChaosProxy,
    ProxyFaults,
    SimulatedProvider,
    Simulator,
    open_chaos_proxy,
    open_simulator,
)

pytestmark = pytest.mark.slow

TEXT = " ".join(f"word{number}" for number in range(60))
RESCUE = "The fallback's answer."
DIALECTS = ("openai", "anthropic", "gemini", "cohere", "ollama")


@attrs.frozen
class Storm:
    """A gateway whose primary is behind a chaos proxy, and whose fallback is not."""

    cortex: Cortex
    proxy: ChaosProxy
    primary: SimulatedProvider
    sim: Simulator


@asynccontextmanager
async def storm(dialect: str = "openai", *, fallback: bool = True, **limits: float) -> AsyncIterator[Storm]:
    """Open the gateway. A test that expects a timeout sets `limits`: a busy machine must stop no other answer."""
    async with open_simulator(sockets=True) as sim:
        primary = sim.add("primary", Behaviour(text=TEXT), provider=dialect)
        rescue = sim.add("fallback", Behaviour(text=RESCUE), provider="openai")
        async with open_chaos_proxy(primary.url) as proxy:
            workers = {"primary": worker_of(primary, priority=0, base_url=proxy.url)}
            if fallback:
                workers["fallback"] = worker_of(rescue, priority=1)
            async with gateway(sim, workers, **limits) as cortex:
                yield Storm(cortex, proxy, primary, sim)
            assert await settle(lambda: not proxy.open_connections)


@pytest.mark.slow
@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("size", [1, 7, 1460])
async def test_slices_change_nothing(dialect: str, size: int) -> None:
    async with storm(dialect) as there:
        there.proxy.faults = ProxyFaults(slice_bytes=size)
        reply = await there.cortex.complete("Hi")
        assert (reply.text, reply.worker) == (TEXT, "primary")


async def test_latency_and_a_narrow_way_take_time_and_nothing_else() -> None:
    async with storm() as there:
        there.proxy.faults = ProxyFaults(latency=0.05, bandwidth=200_000)
        reply = await there.cortex.complete("Hi")
        assert (reply.text, reply.worker) == (TEXT, "primary")
        assert (reply.attempts[0].time_to_first_token or 0) >= 0.1


ENDS = (0, 1, 15, 100, 200, 300, 500, 900, 1500, 2500, 4000)
"""Bytes of an answer: in the status line, the headers, between them and the body, in it, in a character, at its end."""


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("how", ["cut_after", "reset_after"])
async def test_wherever_a_connection_ends_the_answer_is_whole_all_the_same(dialect: str, how: str) -> None:
    for end in ENDS:
        async with storm(dialect) as there:
            there.proxy.faults = ProxyFaults(**{how: end})
            reply = await there.cortex.complete("Hi")
            assert reply.text in (TEXT, RESCUE), end
            assert (reply.worker == "primary") == (reply.text == TEXT), end


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("how", ["cut_after", "reset_after"])
async def test_without_a_fallback_a_stream_is_whole_or_says_that_it_is_not(dialect: str, how: str) -> None:
    for end in ENDS:
        async with storm(dialect, fallback=False) as there:
            there.proxy.faults = ProxyFaults(**{how: end})
            seen: list[str] = []
            broken = None
            try:
                async with there.cortex.chat("Hi", max_attempts=1) as answer:
                    async for piece in answer.text():
                        seen.append(piece)  # noqa: PERF401 - what came before the error is looked at
            except ProviderError as error:
                broken = error.failure.kind
            said = "".join(seen)
            assert TEXT.startswith(said), end
            assert said == TEXT if broken is None else broken in BREAKS, end


BREAKS = {FailureKind.CONNECTION, FailureKind.TRUNCATED, FailureKind.PROTOCOL}


@pytest.mark.parametrize("end", [0, 150, 700])
async def test_a_black_hole_is_left_after_the_timeout(end: int) -> None:
    async with storm(idle_timeout=1) as there:
        there.proxy.faults = ProxyFaults(black_hole_after=end)
        reply = await there.cortex.complete("Hi", first_token_timeout=1)
        assert reply.text == RESCUE
        assert {a.failure.kind for a in reply.attempts if a.failure} == {FailureKind.STALLED}


async def test_a_refused_connection_is_answered_by_the_fallback() -> None:
    async with storm() as there:
        there.proxy.faults = ProxyFaults(refuse=True)
        assert (await there.cortex.complete("Hi")).text == RESCUE
        assert there.primary.requests == []


async def test_when_the_faults_clears_the_primary_serves_again() -> None:
    async with storm() as there:
        there.proxy.faults = ProxyFaults(reset_after=0)
        assert (await there.cortex.complete("Hi")).worker == "fallback"
        there.proxy.faults = ProxyFaults()
        assert (await there.cortex.complete("Hi")).worker == "primary"


async def test_fifty_at_once_in_faults_that_changes_all_the_time() -> None:
    draw = random.Random(50)
    async with storm() as there:
        replies: list[Reply] = []
        errors: list[CortexError | AllWorkersFailed] = []

        async def ask() -> None:
            await trio.sleep(draw.uniform(0, 0.5))
            try:
                replies.append(await there.cortex.complete("Hi"))
            except CortexError as error:
                errors.append(error)

        async def change() -> None:
            while True:
                there.proxy.faults = draw.choice(
                    (
                        ProxyFaults(),
                        ProxyFaults(slice_bytes=draw.randint(1, 50)),
                        ProxyFaults(latency=0.02),
                        ProxyFaults(cut_after=draw.randint(0, 3000)),
                        ProxyFaults(reset_after=draw.randint(0, 3000)),
                        ProxyFaults(refuse=True),
                    )
                )
                await trio.sleep(0.02)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(change)
            async with trio.open_nursery() as asking:
                for _ in range(50):
                    asking.start_soon(ask)
            nursery.cancel_scope.cancel()
        there.proxy.faults = ProxyFaults()
    assert {reply.text for reply in replies} <= {TEXT, RESCUE}
    assert len(replies) == 50, errors


async def test_a_fault_that_is_replaced_while_bytes_are_on_their_way_loses_none_in_the_middle() -> None:
    sent, replaced = trio.Event(), trio.Event()

    async def answer(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.send_all(b"x" * 200)
            sent.set()
            await replaced.wait()
            with suppress(trio.BrokenResourceError):
                await stream.send_all(b"the end")

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, answer, 0, host="127.0.0.1"))
        port = listeners[0].socket.getsockname()[1]
        async with open_chaos_proxy(f"http://127.0.0.1:{port}/") as proxy:
            proxy.faults = ProxyFaults(cut_after=100, latency=0.1)
            parts = urlsplit(proxy.url)
            client = await trio.open_tcp_stream("127.0.0.1", parts.port or 0)
            await sent.wait()
            await trio.testing.wait_all_tasks_blocked(0.01)
            proxy.faults = ProxyFaults()
            replaced.set()
            received = b""
            while data := await client.receive_some():
                received += data
            await client.aclose()
        nursery.cancel_scope.cancel()
    assert received in (b"x" * 100, b"x" * 200 + b"the end")


async def test_a_target_that_is_not_plain_http_is_refused() -> None:
    with pytest.raises(ValueError, match="http:// URL"):
        async with open_chaos_proxy("https://api.openai.com/v1"):
            pass
