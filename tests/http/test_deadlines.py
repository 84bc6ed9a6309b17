"""Deadlines of reads, watched by one task."""

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
from at_rest import worker_of

from cortex_trio import Config, WorkerConfig, open_cortex
from cortex_trio.gateway.transport.connections import Connections
from cortex_trio.gateway.transport.response import Response
from cortex_trio.http import Deadlines, PooledTransport, ReadTimeout
from cortex_trio.http.defaults import KEEPALIVE_SECONDS
from cortex_trio.simulator import Behaviour, open_simulator
from cortex_trio.wire.codec import HttpRequest


class Waiting:
    """Something with a deadline: records when it was closed."""

    def __init__(self) -> None:
        self.deadline = math.inf
        self.closed_at: float | None = None

    def close_expired(self) -> None:
        assert self.closed_at is None
        self.closed_at = trio.current_time()


@asynccontextmanager
async def running_deadlines() -> AsyncIterator[Deadlines]:
    deadlines = Deadlines()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(deadlines.run)
        await trio.testing.wait_all_tasks_blocked()
        yield deadlines
        nursery.cancel_scope.cancel()
    assert not deadlines.is_running


async def test_an_expired_wait_is_closed_on_time(autojump_clock: trio.testing.MockClock) -> None:
    start = trio.current_time()
    async with running_deadlines() as deadlines:
        slow, slower = Waiting(), Waiting()
        for waiting, seconds in ((slower, 20), (slow, 10)):
            deadlines.watch(waiting)
            deadlines.set_deadline(waiting, start + seconds)
        await trio.sleep(60)
    assert (slow.closed_at, slower.closed_at) == (start + 10, start + 20)


async def test_a_deadline_that_is_moved_is_neither_missed_nor_early(
    autojump_clock: trio.testing.MockClock,
) -> None:
    start = trio.current_time()
    async with running_deadlines() as deadlines:
        stream = Waiting()
        deadlines.watch(stream)
        for _ in range(100):
            deadlines.set_deadline(stream, trio.current_time() + 10)
            await trio.sleep(3)
        assert stream.closed_at is None
        await trio.sleep(60)
    assert stream.closed_at == start + 99 * 3 + 10


async def test_a_shorter_deadline_set_after_a_longer_one_is_kept(
    autojump_clock: trio.testing.MockClock,
) -> None:
    start = trio.current_time()
    async with running_deadlines() as deadlines:
        patient, hasty = Waiting(), Waiting()
        deadlines.watch(patient)
        deadlines.watch(hasty)
        deadlines.set_deadline(patient, start + 1000)
        await trio.sleep(5)
        deadlines.set_deadline(hasty, start + 6)
        await trio.sleep(5)
    assert (hasty.closed_at, patient.closed_at) == (start + 6, None)


async def test_a_forgotten_deadline_or_one_without_a_wait_closes_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with running_deadlines() as deadlines:
        read_in_time, gone = Waiting(), Waiting()
        for waiting in (read_in_time, gone):
            deadlines.watch(waiting)
            deadlines.set_deadline(waiting, trio.current_time() + 10)
        read_in_time.deadline = math.inf
        deadlines.forget(gone)
        await trio.sleep(100)
    assert read_in_time.closed_at is gone.closed_at is None


# ------------------------------------------------------------------ over a socket


SILENT_IN_THE_MIDDLE = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"


async def _answer(data: bytes, stream: trio.SocketStream) -> None:
    await stream.receive_some()
    await stream.send_all(data)
    await stream.receive_some()  # until the client leaves


@asynccontextmanager
async def open_answer(deadlines: Deadlines | None) -> AsyncIterator[tuple[Response, PooledTransport]]:
    async with trio.open_nursery() as nursery:
        serve = partial(_answer, SILENT_IN_THE_MIDDLE)
        listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        port = listeners[0].socket.getsockname()[1]
        pool = PooledTransport()
        config = WorkerConfig(provider="ollama", base_url=f"http://127.0.0.1:{port}")
        request = HttpRequest("GET", "/api/tags")
        answer = await Connections(config, pool).send(request, None, connect_timeout=5, deadlines=deadlines)
        yield answer, pool
        await answer.aclose()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("watched", [True, False], ids=["with a deadlines", "with a scope"])
async def test_a_silent_server_is_too_late_either_way(watched: bool) -> None:
    async with (
        running_deadlines() as deadlines,
        open_answer(deadlines if watched else None) as (answer, pool),
    ):
        assert await answer.receive(trio.current_time() + 60) == b"half"
        with pytest.raises(ReadTimeout):
            await answer.receive(trio.current_time() + 0.05)
        await answer.aclose()
        assert (pool.in_use, pool.idle) == (0, 0)


async def test_a_cancelled_read_with_deadlines_is_a_cancellation() -> None:
    async with running_deadlines() as deadlines, open_answer(deadlines) as (answer, pool):
        await answer.receive()
        with trio.move_on_after(0.05) as scope:
            await answer.receive(trio.current_time() + 60)
        assert scope.cancelled_caught
        await answer.aclose()
        assert (pool.in_use, pool.idle) == (0, 0)


async def test_a_second_reader_is_refused_and_the_first_ones_deadline_stands(
    mock_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    ends: list[str] = []

    async def read(answer: Response, seconds: float) -> None:
        try:
            with trio.move_on_after(60):
                await answer.receive(trio.current_time() + seconds)
            ends.append("for ever")
        except (ReadTimeout, trio.BusyResourceError) as error:
            ends.append(type(error).__name__)

    async with running_deadlines() as deadlines, open_answer(deadlines) as (answer, _):
        assert await answer.receive() == b"half"
        for seconds in (10, 20):
            nursery.start_soon(read, answer, seconds)
            await trio.testing.wait_all_tasks_blocked()
        assert ends == ["BusyResourceError"]
        mock_clock.jump(10)
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(90)
        await trio.testing.wait_all_tasks_blocked()
        assert ends == ["BusyResourceError", "ReadTimeout"]


async def test_a_kept_connection_is_closed_in_time_without_another_request(
    mock_clock: trio.testing.MockClock,
) -> None:
    async with running_deadlines() as deadlines, open_simulator(sockets=True) as sim:
        provider = sim.add("openai", Behaviour(text="ok"))
        pool = PooledTransport(keepalive=30)
        connections = Connections(worker_of(provider), pool)
        request = HttpRequest("GET", "/models")
        for wait in (20, 20):  # the second time it is the same connection, which is young again
            answer = await connections.send(request, None, connect_timeout=5, deadlines=deadlines)
            while await answer.receive():
                pass
            await answer.aclose()
            mock_clock.jump(wait)
            await trio.testing.wait_all_tasks_blocked()
            assert pool.idle == provider.open_connections == 1
        mock_clock.jump(10)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert pool.idle == provider.open_connections == 0


async def test_kept_connections_of_any_network_are_closed_in_time(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        provider = sim.add("openai", Behaviour(text="ok"))
        config = Config(workers={"openai": worker_of(provider)}, health_check_interval=0)
        async with open_cortex(config, http_transport=sim.transport) as cortex:
            await cortex.complete("Hi")
            await trio.sleep(KEEPALIVE_SECONDS - 1)
            assert provider.open_connections == 1
            await trio.sleep(2)
            assert provider.open_connections == 0
            assert (await cortex.complete("Hi")).text == "ok"


@pytest.mark.slow
async def test_no_last_digit_of_a_time_keeps_the_deadlines_busy(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        provider = sim.add("openai", Behaviour(text="ok"))
        config = Config(workers={"openai": worker_of(provider)}, health_check_interval=0)
        async with open_cortex(config, http_transport=sim.transport) as cortex:
            for tenths in range(100):
                await trio.sleep(tenths / 10 + 1 / 3)
                await cortex.complete("Hi")
                with trio.fail_after(KEEPALIVE_SECONDS * 2):
                    await trio.sleep(KEEPALIVE_SECONDS + 1)
                assert provider.open_connections == 0
