"""The end of a response is read for a moment after the answer, so that its connection can be reused.

The server sends raw bytes over the simulator's network. Time is virtual, so that every wait can be measured.
"""

import json
from collections.abc import Awaitable, Callable

import attrs
import pytest
import trio
import trio.testing

from cortex_trio import Cortex
from cortex_trio.gateway.request.attempt import DRAIN_BYTES, DRAIN_SECONDS
from cortex_trio.simulator import Simulator, leftovers, open_gateway, open_simulator

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def sse(delta: dict[str, str], finish: str | None = None) -> bytes:
    event = {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
    return chunk(f"data: {json.dumps(event)}\n\n".encode())


ANSWER = HEAD + sse({"content": "An answer."}) + sse({}, "stop") + chunk(b"data: [DONE]\n\n")

Ending = Callable[[trio.abc.HalfCloseableStream], Awaitable[None]]


@attrs.define
class RawServer:
    """Answers every request with the same whole answer, then calls `ending`."""

    ending: Ending
    behind: bytes = b""  # the end of the answer, in the same write
    connections: int = 0
    open: int = 0

    async def serve(self, stream: trio.abc.HalfCloseableStream) -> None:
        self.connections += 1
        self.open += 1
        try:
            async with stream:
                while await stream.receive_some():
                    await stream.send_all(ANSWER + self.behind)
                    await self.ending(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the client has hung up
        finally:
            self.open -= 1


def a_server(sim: Simulator, monkeypatch: pytest.MonkeyPatch, ending: Ending) -> RawServer:
    server = RawServer(ending)
    monkeypatch.setattr(sim.add("openai"), "serve", server.serve)
    return server


async def nothing_more(stream: trio.abc.HalfCloseableStream) -> None:
    await trio.lowlevel.checkpoint()


async def ends_after(stream: trio.abc.HalfCloseableStream, seconds: float) -> None:
    await trio.sleep(seconds)
    await stream.send_all(LAST_CHUNK)


def idle_connections(cortex: Cortex) -> int:
    connections = cortex.snapshot().worker("openai").connections
    assert connections is not None
    return connections.idle


async def seconds_of_a_call(cortex: Cortex) -> float:
    """Make a call and return how many seconds it took."""
    started = trio.current_time()
    assert (await cortex.complete("Hi")).text == "An answer."
    return trio.current_time() - started


@pytest.mark.parametrize("seconds", [0.0, 0.02, 0.049])
async def test_a_response_that_ends_in_time_keeps_the_connection(
    seconds: float, autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_simulator() as sim:
        server = a_server(sim, monkeypatch, lambda stream: ends_after(stream, seconds))
        async with open_gateway(sim) as cortex:
            for _ in range(3):
                assert await seconds_of_a_call(cortex) == pytest.approx(seconds)
            assert (server.connections, server.open) == (1, 1)


async def test_a_response_that_does_not_end_in_time_is_closed(
    autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_simulator() as sim:
        server = a_server(sim, monkeypatch, lambda stream: ends_after(stream, 3600))
        async with open_gateway(sim) as cortex:
            for number in range(1, 4):
                assert await seconds_of_a_call(cortex) == pytest.approx(DRAIN_SECONDS)
                await trio.testing.wait_all_tasks_blocked()
                assert (server.connections, leftovers(cortex)) == (number, {})
                assert idle_connections(cortex) == 0


async def test_no_text_waits_for_the_end_of_the_response(
    autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_simulator() as sim:
        a_server(sim, monkeypatch, lambda stream: ends_after(stream, 3600))
        async with open_gateway(sim) as cortex, cortex.chat("Hi") as answer:
            texts = [(trio.current_time(), text) async for text in answer.text()]
            assert texts == [(0.0, "An answer.")]
            assert trio.current_time() == pytest.approx(DRAIN_SECONDS), (
                "the end of the stream waits, and no longer"
            )


async def test_endless_bytes_after_the_answer_are_not_read(
    autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = 0

    async def chatter(stream: trio.abc.HalfCloseableStream) -> None:
        nonlocal sent
        while True:
            await stream.send_all(chunk(b": and another thing\n\n" * 100))
            sent += 2_000

    async with open_simulator() as sim:
        server = a_server(sim, monkeypatch, chatter)
        async with open_gateway(sim) as cortex:
            assert await seconds_of_a_call(cortex) == pytest.approx(0, abs=DRAIN_SECONDS)
            await trio.testing.wait_all_tasks_blocked()
            assert server.open == 0
        assert sent < 8 * DRAIN_BYTES


@pytest.mark.parametrize("garbage", [b"garbage\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nno"])
async def test_bytes_after_the_response_are_no_response_to_the_next_request(
    garbage: bytes, autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def goes_on(stream: trio.abc.HalfCloseableStream) -> None:
        await stream.send_all(LAST_CHUNK + garbage)

    async with open_simulator() as sim:
        server = a_server(sim, monkeypatch, goes_on)
        async with open_gateway(sim) as cortex:
            for number in range(1, 4):
                assert await seconds_of_a_call(cortex) == pytest.approx(0)
                assert server.connections == number


async def test_malformed_bytes_instead_of_the_end_close_the_connection(
    autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def goes_wrong(stream: trio.abc.HalfCloseableStream) -> None:
        await trio.sleep(0.01)
        await stream.send_all(b"no size of a chunk\r\n")

    async with open_simulator() as sim:
        server = a_server(sim, monkeypatch, goes_wrong)
        async with open_gateway(sim) as cortex:
            assert await seconds_of_a_call(cortex) == pytest.approx(0.01)
            await trio.testing.wait_all_tasks_blocked()
            assert (server.connections, server.open) == (1, 0)
            [info] = await cortex.list_workers()
            assert (info.failures, info.status) == (0, "available"), "the answer was whole"


async def test_malformed_bytes_together_with_the_answer_close_the_connection(
    autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_simulator() as sim:
        server = a_server(sim, monkeypatch, nothing_more)
        server.behind = b"no size of a chunk\r\n"
        async with open_gateway(sim) as cortex:
            assert await seconds_of_a_call(cortex) == pytest.approx(0)
            await trio.testing.wait_all_tasks_blocked()
            assert (server.connections, server.open) == (1, 0)


async def test_a_connection_that_breaks_after_the_answer_is_no_failure(
    autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_simulator() as sim:
        server = a_server(sim, monkeypatch, lambda stream: stream.aclose())
        async with open_gateway(sim) as cortex:
            for number in range(1, 6):
                assert await seconds_of_a_call(cortex) == pytest.approx(0)
                assert server.connections == number
            await trio.testing.wait_all_tasks_blocked()
            [info] = await cortex.list_workers()
            assert (info.failures, info.status) == (0, "available")


async def test_a_call_that_is_cancelled_during_that_wait_counts_as_served(
    autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_simulator() as sim:
        server = a_server(sim, monkeypatch, lambda stream: ends_after(stream, 3600))
        async with open_gateway(sim) as cortex:
            with trio.move_on_after(DRAIN_SECONDS / 2) as scope:
                await cortex.complete("Hi")
            assert scope.cancelled_caught
            assert trio.current_time() == pytest.approx(DRAIN_SECONDS / 2)
            await trio.testing.wait_all_tasks_blocked()
            assert leftovers(cortex) == {}
            [info] = await cortex.list_workers()
            assert (info.failures, info.in_flight) == (0, 0)
            snapshot = cortex.snapshot()
            served_at = snapshot.worker("openai").served_at
            assert served_at is not None
            assert (snapshot.at - served_at).total_seconds() == pytest.approx(trio.current_time())
        assert server.connections == 1
