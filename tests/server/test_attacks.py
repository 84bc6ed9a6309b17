"""What clients must not be able to do to a server, over real sockets."""

import gzip
import tracemalloc
from collections.abc import Iterator

import pytest
import trio
import trio.testing
from served import Client, open_served, request, until
from test_head import REFUSED


@pytest.mark.parametrize("raw", REFUSED.values(), ids=REFUSED)
async def test_a_malformed_head_is_400_and_closes(raw: bytes) -> None:
    async with open_served() as (server, api, _):
        client = await Client.to(server)
        answer = await client.ask(raw)
        assert answer.status == 400
        assert answer.headers["connection"] == "close"
        await client.stream.send_eof()
        assert await client.is_closed()
        assert api.requests == []


CHUNKED = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
SMUGGLED = request("POST", "/echo", b"smuggled")
PAIRS = {
    "length and chunks": b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "two lengths": b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\n"
    + SMUGGLED,
    "obscure encoding": b"POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
    b"Transfer-Encoding: x\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "bare LF in a field": b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nX: a\nTransfer-Encoding: chunked\r\n\r\n"
    + SMUGGLED,
    "bare LF after the last chunk": CHUNKED + b"0\r\n\n" + SMUGGLED,
    "bare LF after a size": CHUNKED + b"1\nx\r\n0\r\n\r\n" + SMUGGLED,
    "chunk with a sign": CHUNKED + b"-1\r\n" + SMUGGLED,
}


@pytest.mark.parametrize("raw", PAIRS.values(), ids=PAIRS)
async def test_a_second_request_cannot_be_smuggled(raw: bytes) -> None:
    async with open_served() as (server, api, _):
        client = await Client.to(server)
        assert (await client.ask(raw)).status == 400
        await client.stream.send_eof()
        assert await client.is_closed()
        assert api.requests == []


async def test_a_request_behind_a_good_one_is_refused_alone() -> None:
    async with open_served() as (server, _, _):
        client = await Client.to(server)
        await client.send(request("POST", "/echo", b"x") + b"\x00\x00")
        assert (await client.answer()).body == b"x"
        assert (await client.answer()).status == 400


async def test_a_head_that_is_too_long_is_431() -> None:
    async with open_served() as (server, _, _):
        client = await Client.to(server)
        answer = await client.ask(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 70_000)
        assert answer.status == 431


async def test_a_slow_head_is_ended() -> None:
    async with open_served(head_timeout=0.3) as (server, _, _):
        client = await Client.to(server)
        start = trio.current_time()

        async def drip() -> None:
            for byte in b"GET / HTTP/1.1\r\nX: " + b"y" * 100:
                try:
                    await client.send(bytes([byte]))
                except trio.BrokenResourceError:
                    return
                await trio.sleep(0.02)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(drip)
            answer = await client.answer()
            nursery.cancel_scope.cancel()
        assert answer.status == 408
        assert 0.25 < trio.current_time() - start < 1.5


async def test_a_connection_without_a_request_is_ended() -> None:
    async with open_served(head_timeout=0.2, idle_timeout=0.2) as (server, _, _):
        client, silent = await Client.to(server), await Client.to(server)
        await client.post("/echo")
        assert await client.is_closed()
        assert await silent.is_closed()


async def test_a_body_that_stops_is_ended() -> None:
    async with open_served(body_timeout=0.2) as (server, api, _):
        client = await Client.to(server)
        answer = await client.ask(b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc")
        assert (answer.status, answer.error) == (408, "TIMEOUT")
        await client.stream.send_eof()
        assert await client.is_closed()
        assert api.requests == []


async def test_a_body_that_drips_is_ended() -> None:
    async with open_served(body_timeout=0.3) as (server, _, _):
        client = await Client.to(server)
        await client.send(b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n")

        async def drip() -> None:
            while True:
                await client.send(b"x")
                await trio.sleep(0.02)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(drip)
            assert (await client.answer()).status == 408
            nursery.cancel_scope.cancel()


async def test_a_body_that_is_too_long_is_refused_before_it_is_sent() -> None:
    async with open_served(max_body=1000) as (server, api, _):
        client = await Client.to(server)
        head = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 200000000\r\n\r\n"
        answer = await client.ask(head)
        assert (answer.status, answer.error) == (413, "TOO_LARGE")
        assert api.requests == []


MEGABYTE = 1_000_000
LARGE = {
    "length": (b"Content-Length: 200000000", b"", b""),
    "chunks": (b"Transfer-Encoding: chunked", b"f4240\r\n", b"\r\n"),
    "one chunk": (b"Transfer-Encoding: chunked", b"", b""),
}


@pytest.mark.parametrize(("field", "before", "after"), LARGE.values(), ids=LARGE)
async def test_200_megabytes_are_refused_at_the_limit_and_not_kept(
    field: bytes, before: bytes, after: bytes
) -> None:
    async with open_served(max_body=2 * MEGABYTE) as (server, api, _):
        client, sent = await Client.to(server), 0

        async def send() -> None:
            nonlocal sent
            await client.send(b"POST /echo HTTP/1.1\r\nHost: localhost\r\n" + field + b"\r\n\r\n")
            if not before and b"chunked" in field:
                await client.send(b"BEBC200\r\n")
            for _ in range(200):
                await client.send(before + bytes(MEGABYTE) + after)
                sent += 1

        tracemalloc.start()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send)
                answer = await client.answer()
                nursery.cancel_scope.cancel()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert (answer.status, answer.error) == (413, "TOO_LARGE")
        assert (
            sent < 100
        )  # what the buffers of the system hold, and what is dropped before the client has read
        assert peak < 10 * MEGABYTE
        assert api.requests == []


async def test_a_body_of_the_allowed_length_is_served() -> None:
    async with open_served(max_body=200_000) as (server, _, _):
        client = await Client.to(server)
        assert len((await client.post("/echo", bytes(200_000))).body) == 200_000


async def test_the_limit_is_applied_to_the_unpacked_body() -> None:
    async with open_served(max_body=100_000) as (server, _, _):
        client = await Client.to(server)
        packed = [("Content-Encoding", "gzip")]
        assert (await client.post("/echo", gzip.compress(b"abc" * 100), packed)).body == b"abc" * 100
        assert (await client.post("/echo", gzip.compress(bytes(10_000_000)), packed)).status == 413


async def test_an_unknown_content_encoding_is_refused() -> None:
    async with open_served() as (server, _, _):
        client = await Client.to(server)
        answer = await client.post("/echo", b"abc", [("Content-Encoding", "br")])
        assert (answer.status, answer.error) == (400, "BAD_REQUEST")


async def test_a_connection_above_the_limit_is_503() -> None:
    async with open_served(max_connections=2) as (server, _, _):
        clients = [await Client.to(server) for _ in range(2)]
        for client in clients:
            await client.post("/echo")
        surplus = await Client.to(server)
        answer = await surplus.post("/echo")
        assert (answer.status, answer.error) == (503, "OVERLOADED")
        assert "retry-after" in answer.headers
        assert await surplus.is_closed()
        await clients[0].stream.aclose()
        await until(lambda: server.connections == 1)
        assert (await (await Client.to(server)).post("/echo")).status == 200


def batches(number: int, size: int) -> Iterator[range]:
    for start in range(0, number, size):
        yield range(start, min(number, start + size))


@pytest.mark.slow
async def test_hundreds_of_connections_are_served() -> None:
    async with open_served() as (server, _, _):
        clients: list[Client] = []
        for batch in batches(400, 100):
            clients += [await Client.to(server) for _ in batch]
        await until(lambda: server.connections == 400)
        for client in clients[::40]:
            assert (await client.post("/echo", b"x")).body == b"x"
        for client in clients:
            await client.stream.aclose()
        await until(lambda: server.connections == 0)


async def test_a_cut_body_without_framing_ends_with_a_reset() -> None:
    async with open_served() as (server, _, _):
        client = await Client.to(server)
        await client.send(b"POST /cut HTTP/1.0\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
        with pytest.raises(trio.BrokenResourceError):
            await client.receive_all()


async def test_a_whole_body_without_framing_ends_without_a_reset() -> None:
    async with open_served() as (server, _, _):
        client = await Client.to(server)
        answer = await client.ask(b"POST /stream HTTP/1.0\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
        assert answer.body.endswith(b"data: 2\n\n")


async def test_a_client_that_has_sent_too_much_ahead_is_watched_without_work() -> None:
    async with open_served() as (server, api, _):
        client = await Client.to(server)
        await client.send(request("POST", "/wait") + bytes(100_000))
        await api.started.wait()
        await trio.testing.wait_all_tasks_blocked(0.05)
        ticks = 0

        class Ticks(trio.abc.Instrument):
            def task_scheduled(self, task: trio.lowlevel.Task) -> None:
                nonlocal ticks
                ticks += 1

        trio.lowlevel.add_instrument(instrument := Ticks())
        await trio.sleep(0.1)
        trio.lowlevel.remove_instrument(instrument)
        assert ticks < 10
        await client.stream.aclose()
        with trio.fail_after(10):
            await api.cancelled.wait()


async def test_several_content_encodings_are_refused() -> None:
    async with open_served() as (server, _, _):
        client = await Client.to(server)
        twice = [("Content-Encoding", "gzip"), ("Content-Encoding", "identity")]
        assert (await client.post("/echo", gzip.compress(b"abc"), twice)).status == 400
