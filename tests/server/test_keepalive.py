"""What is sent while a response is silent, and what is never sent inside of a piece."""

from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing
from certificates import server_context
from served import Client, StandIn, open_served, request

from cortex_trio.server.client_stream import TCPClient
from cortex_trio.server.exchange import CancelReason, Exchange, ServedRequest
from cortex_trio.server.limits_protocol import ClientLimits
from cortex_trio.server.outgoing import HttpExchange

MARK = b": keepalive\n\n"
LARGE = bytes(6 * 1024 * 1024)
"""More than the buffers of two sockets hold: sending it waits until the client reads."""

Route = Callable[[Exchange], Awaitable[None]]


class Api(StandIn):
    """Answers with one route."""

    def __init__(self, route: Route) -> None:
        super().__init__()
        self._route = route

    async def answer(self, request: ServedRequest, exchange: Exchange, client: ClientLimits | None) -> None:
        await self._route(exchange)


async def is_silent(exchange: Exchange) -> None:
    await exchange.begin(200, [], keepalive=MARK)
    await exchange.write(b"one")
    await trio.sleep(50)
    await exchange.write(b"two")
    await exchange.end()


@pytest.mark.parametrize("tls", [False, True], ids=["tcp", "tls"])
async def test_a_silent_response_is_kept_alive(tls: bool, autojump_clock: trio.testing.MockClock) -> None:
    context = server_context() if tls else None
    async with open_served(Api(is_silent), tls=context) as (server, _, _):
        client = await (Client.through_tls(server) if tls else Client.to(server))
        for _ in range(2):  # none comes after the end of the first
            await client.send(request("POST", "/stream"))
            answer = await client.answer(seconds=60)
            assert answer.body == b"one" + 3 * MARK + b"two"


async def test_a_request_that_is_ending_gets_none(autojump_clock: trio.testing.MockClock) -> None:
    """Its nursery may be closed already, and takes no task."""
    ours, theirs = trio.socket.socketpair()
    with theirs:
        stream = TCPClient(trio.SocketStream(ours))
        exchange = HttpExchange(stream, None, request_id="req_1", write_seconds=1)
        async with trio.open_nursery() as exchange.nursery:
            await exchange.begin(200, [], keepalive=MARK)
            exchange.nursery.cancel_scope.cancel()
        await trio.sleep(20)
        assert exchange.keep_alive(trio.current_time()) > trio.current_time()
        stream.close_now()


async def test_a_response_without_a_keepalive_gets_none(autojump_clock: trio.testing.MockClock) -> None:
    async def route(exchange: Exchange) -> None:
        await exchange.begin(200, [])
        await trio.sleep(50)
        await exchange.end()

    async with open_served(Api(route)) as (server, _, _):
        client = await Client.to(server)
        await client.send(request("POST", "/stream"))
        assert (await client.answer(seconds=60)).body == b""


@pytest.mark.parametrize("tls", [False, True], ids=["tcp", "tls"])
@pytest.mark.parametrize("is_late", [False, True], ids=["piece", "keepalive"])
async def test_no_keepalive_comes_into_a_piece_nor_a_piece_into_a_keepalive(
    tls: bool, is_late: bool, autojump_clock: trio.testing.MockClock
) -> None:
    """The client does not read for 40 s: meanwhile one of the two is being written, and the other one is due."""
    keepalive, piece = (LARGE, b"piece") if is_late else (MARK, LARGE)

    async def route(exchange: Exchange) -> None:
        await exchange.begin(200, [], keepalive=keepalive)
        await trio.sleep(20 if is_late else 0)
        await exchange.write(piece)
        await exchange.end()

    context = server_context() if tls else None
    async with open_served(Api(route), tls=context, write_timeout=100) as (server, _, _):
        client = await (Client.through_tls(server) if tls else Client.to(server))
        await client.send(request("POST", "/stream"))
        await trio.sleep(40)
        answer = await client.answer(seconds=60)
        assert answer.is_whole
        assert answer.body == (keepalive + piece if is_late else piece)


async def test_a_keepalive_that_is_not_read_ends_the_request(autojump_clock: trio.testing.MockClock) -> None:
    async def route(exchange: Exchange) -> None:
        await exchange.begin(200, [], keepalive=LARGE)
        await trio.sleep_forever()

    async with open_served(Api(route), write_timeout=30) as (server, _, _):
        client = await Client.to(server)
        await client.send(request("POST", "/stream"))
        await trio.sleep(14)
        assert server.connections == 1
        await trio.sleep(33)
        assert server.connections == 0


async def test_a_keepalive_that_is_being_written_is_completed_before_the_error_of_a_drain(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def route(exchange: Exchange) -> None:
        await exchange.begin(200, [], keepalive=LARGE)
        try:
            await trio.sleep_forever()
        finally:
            if exchange.cancel_reason is CancelReason.DRAINING:
                with trio.move_on_after(1.0, shield=True):
                    await exchange.write(b"error")
                    await exchange.end()

    bodies: list[bytes] = []

    async def read(client: Client) -> None:
        await trio.sleep(20.2)  # the drain has cut the request at 20.1
        bodies.append((await client.answer(seconds=60)).body)
        await client.stream.aclose()

    async with trio.open_nursery() as nursery:
        async with open_served(Api(route), grace=3.1) as (server, _, _):
            client = await Client.to(server)
            Client.made.remove(client)  # it outlives the server
            await client.send(request("POST", "/stream"))
            nursery.start_soon(read, client)
            await trio.sleep(17)
    assert bodies == [LARGE + b"error"]
