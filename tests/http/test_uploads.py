"""The answer is read while the request is sent: early refusals, servers that stop reading, uploads that break."""

import hashlib
import itertools

import pytest
import trio
import trio.testing
from raw import OK, Peer, open_either, open_memory, post, read, tls_of

from cortex_trio import FailureKind
from cortex_trio.gateway.transport.errors import TransportFailed
from cortex_trio.http import Deadlines, ReadTimeout, RequestProgress
from cortex_trio.wire.codec import HttpRequest

LARGE = bytes(range(256)) * 80_000  # 20 MB
TOO_LARGE = b"HTTP/1.1 413 Payload Too Large\r\ncontent-length: 9\r\n\r\ntoo large"
PATIENCE = 10
"""Seconds of real time, far more than anything here takes; without it a fault would hang."""

both = pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])


async def receive(peer: Peer, size: int) -> bytes:
    """At least `size` bytes, unless the client leaves."""
    data = bytearray()
    while len(data) < size and (more := await peer.stream.receive_some(65536)):
        data += more
    return bytes(data)


async def receive_upload(peer: Peer) -> bytes:
    start = b""
    while b"\r\n\r\n" not in start:
        start += await receive(peer, 1)
        if not start:
            raise trio.BrokenResourceError
    head, _, body = start.partition(b"\r\n\r\n")
    size = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
    return body + await receive(peer, size - len(body))


async def until_the_client_leaves(peer: Peer) -> None:
    """Read nothing and hold the connection, as a stuck server does."""
    await trio.sleep_forever()


@both
async def test_a_refusal_in_the_first_kilobyte_is_seen_at_once(secure: bool) -> None:
    async def script(peer: Peer) -> None:
        await receive(peer, 1000)
        await peer.send(TOO_LARGE)
        await until_the_client_leaves(peer)

    with trio.fail_after(PATIENCE):
        async with open_either(script, secure=secure) as (_, pool, connections):
            answer = await post(connections, LARGE)
            assert (answer.status, await read(answer)) == (413, b"too large")
            assert (pool.in_use, pool.idle) == (0, 0)  # half a request is on it


@both
async def test_an_upload_that_was_refused_is_not_sent_on(secure: bool) -> None:
    received = 0

    async def script(peer: Peer) -> None:
        nonlocal received
        await peer.send(TOO_LARGE[:-3])
        while received < len(LARGE):
            with trio.move_on_after(0.05) as scope:  # far longer than loopback needs for the next piece
                received += len(await receive(peer, 1))
            if scope.cancelled_caught:
                break
        await peer.send(TOO_LARGE[-3:])

    with trio.fail_after(PATIENCE):
        async with open_either(script, secure=secure) as (_, _, connections):
            answer = await post(connections, LARGE)
            assert (answer.status, await read(answer)) == (413, b"too large")
            assert received < len(LARGE)


@both
async def test_a_refusal_of_a_server_that_closes_during_an_upload_is_still_read(secure: bool) -> None:
    async def script(peer: Peer) -> None:
        await receive(peer, 1000)
        await peer.send(TOO_LARGE)  # closed with megabytes unread: the network answers those with a reset

    with trio.fail_after(PATIENCE):
        async with open_either(script, secure=secure) as (_, pool, connections):
            for _ in range(10):
                answer = await post(connections, LARGE)
                assert (answer.status, await read(answer)) == (413, b"too large")
            assert (pool.in_use, pool.idle) == (0, 0)


@both
async def test_a_complete_response_of_a_server_that_stopped_reading_is_returned(secure: bool) -> None:
    async def script(peer: Peer) -> None:
        await receive(peer, 1000)
        await peer.send(OK)
        await until_the_client_leaves(peer)

    with trio.fail_after(PATIENCE):
        async with open_either(script, secure=secure) as (_, pool, connections):
            assert await read(await post(connections, LARGE)) == b"ok"
            assert (pool.in_use, pool.idle) == (0, 0)


@both
async def test_a_response_during_an_upload_gets_all_of_it(secure: bool) -> None:
    """A head of 200 before the end of the request is no refusal: the request is sent on while the body is read."""
    received = hashlib.sha256()

    async def script(peer: Peer) -> None:
        body = (await receive(peer, 1000)).partition(b"\r\n\r\n")[2]
        await peer.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        size = 0
        while True:
            received.update(body)
            size += len(body)
            await peer.send(b"1\r\n.\r\n")
            if size >= len(LARGE):
                break
            body = await receive(peer, min(1_000_000, len(LARGE) - size))
        await peer.send(b"0\r\n\r\n")
        await peer.read_request()

    with trio.fail_after(PATIENCE):
        async with open_either(script, secure=secure) as (_, pool, connections):
            body = await read(await post(connections, LARGE))
            assert set(body) == {ord(".")}
            assert received.digest() == hashlib.sha256(LARGE).digest()
            assert (pool.in_use, pool.idle) == (0, 1)


@both
async def test_an_interim_response_in_the_middle_changes_nothing(secure: bool) -> None:
    bodies: list[bytes] = []

    async def script(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        for _ in range(2):
            bodies.append(await receive_upload(peer))
            await peer.send(OK)

    with trio.fail_after(PATIENCE):
        async with open_either(script, secure=secure) as (server, _, connections):
            for _ in range(2):
                assert await read(await post(connections, LARGE)) == b"ok"
            assert bodies == [LARGE, LARGE]
            assert server.connections == 1


@both
async def test_a_slow_reader_gets_all_of_a_long_request(secure: bool) -> None:
    bodies: list[bytes] = []

    async def script(peer: Peer) -> None:
        while True:
            bodies.append(await receive_upload(peer))
            await peer.send(OK)

    with trio.fail_after(PATIENCE):
        async with open_either(script, secure=secure) as (server, _, connections):
            for size in (0, 1, 16_384, 65_536, 65_537, 1_000_000):
                assert await read(await post(connections, LARGE[:size])) == b"ok"
                assert bodies.pop() == LARGE[:size]
            assert server.connections == 1


@pytest.mark.slow
@both
async def test_an_upload_that_breaks_without_an_answer_is_a_failed_connection(secure: bool) -> None:
    async def script(peer: Peer) -> None:
        await receive(peer, 100_000)

    with trio.fail_after(PATIENCE):
        async with open_either(script, secure=secure) as (server, pool, connections):
            with pytest.raises(TransportFailed) as caught:
                await post(connections, LARGE)
            assert caught.value.failure.kind is FailureKind.CONNECTION
            assert caught.value.failure.phase == "headers"
            assert (server.connections, pool.in_use, pool.idle) == (1, 0, 0)


@both
async def test_an_upload_can_be_cancelled_and_says_how_far_it_came(secure: bool) -> None:
    progress = RequestProgress()
    with trio.fail_after(PATIENCE):
        async with open_either(until_the_client_leaves, secure=secure) as (_, pool, connections):
            async with trio.open_nursery() as nursery:

                async def upload() -> None:
                    request = HttpRequest("POST", "/", LARGE)
                    await connections.send(request, None, connect_timeout=5, progress=progress)

                nursery.start_soon(upload)
                while progress.phase != "send":
                    await trio.testing.wait_all_tasks_blocked(0.001)
                await trio.testing.wait_all_tasks_blocked(0.01)
                nursery.cancel_scope.cancel()
            assert progress == RequestProgress(phase="send", reused=False)
            assert (pool.in_use, pool.idle) == (0, 0)


@both
async def test_a_refusal_whose_body_never_ends_is_too_late_on_time(secure: bool) -> None:
    async def script(peer: Peer) -> None:
        await receive(peer, 1000)
        await peer.send(TOO_LARGE[:-3])
        await until_the_client_leaves(peer)

    deadlines = Deadlines()
    with trio.fail_after(PATIENCE):
        async with open_either(script, secure=secure) as (_, pool, connections):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(deadlines.run)
                await trio.testing.wait_all_tasks_blocked()
                request = HttpRequest("POST", "/", LARGE)
                answer = await connections.send(request, None, connect_timeout=5, deadlines=deadlines)
                assert answer.status == 413
                assert await answer.receive(trio.current_time() + 5) == b"too la"
                with pytest.raises(ReadTimeout):
                    await answer.receive(trio.current_time() + 0.05)
                await answer.aclose()
                nursery.cancel_scope.cancel()
            assert (pool.in_use, pool.idle) == (0, 0)


@both
async def test_a_server_that_answers_200_and_neither_reads_nor_writes_on_is_too_late(secure: bool) -> None:
    async def script(peer: Peer) -> None:
        await receive(peer, 1000)
        await peer.send(OK[:-1])
        await until_the_client_leaves(peer)

    deadlines = Deadlines()
    with trio.fail_after(PATIENCE):
        async with open_either(script, secure=secure) as (_, pool, connections):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(deadlines.run)
                await trio.testing.wait_all_tasks_blocked()
                request = HttpRequest("POST", "/", LARGE)
                answer = await connections.send(request, None, connect_timeout=5, deadlines=deadlines)
                assert await answer.receive(trio.current_time() + 5) == b"o"
                with pytest.raises(ReadTimeout):
                    await answer.receive(trio.current_time() + 0.05)
                await answer.aclose()
                nursery.cancel_scope.cancel()
            assert (pool.in_use, pool.idle) == (0, 0)


@pytest.mark.slow
async def test_closing_the_pool_ends_an_upload(autojump_clock: trio.testing.MockClock) -> None:
    async with open_memory(until_the_client_leaves) as (_, pool, connections), trio.open_nursery() as nursery:

        async def upload() -> None:
            with pytest.raises(TransportFailed):
                await post(connections, LARGE)

        nursery.start_soon(upload)
        await trio.sleep(1)
        await pool.aclose()


async def test_a_network_backend_is_read_while_it_is_written_to(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def script(peer: Peer) -> None:
        await receive(peer, 1000)
        await peer.send(TOO_LARGE)
        await until_the_client_leaves(peer)

    with trio.fail_after(60):
        async with open_memory(script) as (_, pool, connections):
            answer = await post(connections, LARGE)
            assert (answer.status, await read(answer)) == (413, b"too large")
            assert (pool.in_use, pool.idle) == (0, 0)


async def test_a_network_backend_sends_a_long_request_whole(autojump_clock: trio.testing.MockClock) -> None:
    async def script(peer: Peer) -> None:
        body = await receive_upload(peer)
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 32\r\n\r\n" + hashlib.sha256(body).digest())

    async with open_memory(script) as (_, _, connections):
        body = LARGE[:1_000_000]
        assert await read(await post(connections, body)) == hashlib.sha256(body).digest()


async def test_a_reset_after_a_refusal_does_not_hide_it() -> None:
    async def script(peer: Peer) -> None:
        await receive(peer, 1000)
        await peer.send(TOO_LARGE)
        await peer.reset()

    with trio.fail_after(PATIENCE):
        async with open_either(script, secure=False) as (_, pool, connections):
            statuses = set()
            for _ in range(20):
                answer = await post(connections, LARGE)
                statuses.add((answer.status, await read(answer)))
            assert statuses == {(413, b"too large")}
            assert (pool.in_use, pool.idle) == (0, 0)


@both
async def test_records_of_many_sizes_arrive_in_order(secure: bool) -> None:
    body = b"".join(b"%06d\n" % number for number in range(200_000))

    async def script(peer: Peer) -> None:
        await peer.read_request()
        head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body)
        if secure:
            at, sizes = 0, itertools.cycle([1, 5, 16_384, 16_385, 100, 40_000])
            await peer.send(head)
            while at < len(body):
                size = next(sizes)
                await tls_of(peer).raw.send_all(tls_of(peer).seal(body[at : at + size]))
                at += size
        else:
            await peer.send(head + body)

    with trio.fail_after(PATIENCE):
        async with open_either(script, secure=secure) as (_, _, connections):
            answer = await connections.send(HttpRequest("GET", "/"), None, connect_timeout=5)
            assert await read(answer) == body
