"""Kept connections: when one that died may be replaced in silence, what must not be on it, and how many there are."""

import os
import resource
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import httpx
import pytest
import trio
import trio.testing
from certificates import client_context, server_context
from raw import (
    OK,
    Peer,
    Script,
    answer_all,
    ask,
    connections_to,
    fetch,
    open_either,
    open_memory,
    open_pool,
    open_secure_server,
    open_server,
    post,
    read,
    tls_of,
)

from cortex_trio import FailureKind
from cortex_trio.gateway.transport.connections import Connections
from cortex_trio.gateway.transport.errors import TransportFailed
from cortex_trio.http import ConnectError, Origin, PooledTransport, RequestProgress, ServerDisconnected
from cortex_trio.http.defaults import MAX_IDLE_CONNECTIONS
from cortex_trio.http.exchange import CLOSED_WHILE_IDLE_SECONDS
from cortex_trio.http.tcp import TCPStream
from cortex_trio.http.trio_backend import TrioBackend
from cortex_trio.simulator import Behaviour, open_simulator
from cortex_trio.wire.codec import HttpRequest

K = FailureKind
STRAY = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nstray"
PATIENCE = 10
both = pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])

# ------------------------------------------------------------------ one that dies


def dying_after(seconds: float, *, reset: bool) -> Script:
    """The first connection answers once, and dies `seconds` after its second request; the others answer all."""

    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(OK)
        if peer.number > 1:
            await answer_all(peer)
            return
        await peer.read_request()
        await trio.sleep(seconds)
        if reset:
            await peer.reset()

    return script


ends = pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])


@ends
@pytest.mark.parametrize("seconds", [0, CLOSED_WHILE_IDLE_SECONDS / 2])
async def test_a_kept_connection_that_ends_at_once_is_replaced_in_silence(
    seconds: float, reset: bool, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_memory(dying_after(seconds, reset=reset)) as (server, pool, connections):
        await fetch(connections, "/1")
        progress = RequestProgress()
        answer = await connections.send(HttpRequest("GET", "/2"), None, connect_timeout=5, progress=progress)
        assert await read(answer) == b"ok"
        assert [number for number, _ in server.requests] == [1, 1, 2]
        assert not progress.reused  # it was the new one that answered
        assert pool.in_use == 0


@ends
@pytest.mark.parametrize("seconds", [CLOSED_WHILE_IDLE_SECONDS + 0.05, 1, 30])
async def test_a_kept_connection_that_breaks_while_the_server_works_is_a_failure(
    seconds: float, reset: bool, autojump_clock: trio.testing.MockClock
) -> None:
    """The server may have handled and charged for the request: a retry is left to the code that counts attempts."""
    async with open_memory(dying_after(seconds, reset=reset)) as (server, pool, connections):
        await fetch(connections, "/1")
        progress = RequestProgress()
        with pytest.raises(TransportFailed) as caught:
            await connections.send(HttpRequest("GET", "/2"), None, connect_timeout=5, progress=progress)
        failure = caught.value.failure
        assert (failure.kind, failure.phase) == (K.CONNECTION, "headers")
        assert "a reused one" in failure.message
        assert f"{seconds:.1f} s" in failure.message
        assert progress == RequestProgress(phase="headers", reused=True)
        assert isinstance(caught.value.__cause__, ServerDisconnected)
        assert len(server.requests) == 2
        assert (pool.in_use, pool.idle) == (0, 0)


@both
async def test_a_kept_connection_that_breaks_before_the_request_is_sent_is_replaced(secure: bool) -> None:
    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(OK)
        if peer.number > 1:
            return
        await peer.stream.receive_some(1000)  # and closes with the upload half sent

    with trio.fail_after(PATIENCE):
        async with open_either(script, secure=secure) as (server, _, connections):
            await fetch(connections)
            progress = RequestProgress()
            request = HttpRequest("POST", "/", b"\r\n\r\n" * 2_000_000)
            await (await connections.send(request, None, connect_timeout=5, progress=progress)).aclose()
            assert server.connections == 2
            assert not progress.reused


async def test_a_silent_kept_connection_says_so_and_a_fresh_one_can_be_asked_for(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(OK)
        if peer.number == 2:
            await answer_all(peer)
        await trio.sleep_forever()

    async with open_memory(script) as (server, pool, connections):
        first, second = await ask(connections), await ask(connections)
        await read(second)
        await read(first)  # on top
        progress = RequestProgress()
        with trio.move_on_after(60) as scope:
            await connections.send(HttpRequest("GET", "/"), None, connect_timeout=5, progress=progress)
        assert scope.cancelled_caught
        assert progress == RequestProgress(phase="headers", reused=True)
        assert pool.idle == 1
        fresh = await connections.send(
            HttpRequest("GET", "/"), None, connect_timeout=5, progress=progress, fresh=True
        )
        assert await read(fresh) == b"ok"
        assert progress == RequestProgress(phase="headers", reused=False)
        assert (server.connections, pool.idle) == (3, 2)


async def test_an_exchange_knows_whether_its_connection_was_reused() -> None:
    async with open_server(answer_all) as server, open_pool() as pool:
        for expected in (False, True, True):
            host, _, port = server.url.removeprefix("http://").partition(":")
            request = memoryview(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            exchange = await pool.pool.request(Origin(False, host, int(port)), "GET", request)
            assert exchange.reused is expected
            assert await exchange.receive() == b"ok"
            await exchange.aclose()


async def test_the_progress_of_an_abandoned_request_is_known(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_simulator() as sim:
        slow = sim.add("openai_compatible", Behaviour(connect_after=10))
        pool = PooledTransport(network_backend=sim.network, max_connections=1)
        connections = connections_to(slow.url, pool)
        progress = RequestProgress()
        request = HttpRequest("GET", "/models")
        with trio.move_on_after(1):
            await connections.send(request, None, connect_timeout=60, progress=progress)
        assert progress.phase == "connect"
        await trio.sleep(1)
        held = await ask(connections, "/models", patience=60)
        with trio.move_on_after(1):
            await connections.send(request, None, connect_timeout=60, progress=progress)
        assert progress == RequestProgress(phase="pool", reused=False)
        await read(held)


async def test_an_httpx_client_gets_a_pool_timeout(autojump_clock: trio.testing.MockClock) -> None:
    async with open_simulator() as sim:
        provider = sim.add("openai_compatible")
        pool = PooledTransport(network_backend=sim.network, max_connections=1)
        held = await ask(connections_to(provider.url, pool), "/models")
        async with httpx.AsyncClient(transport=pool) as client:
            with pytest.raises(httpx.PoolTimeout):
                await client.get(f"{provider.url}/models", timeout=3)
            await held.aclose()


# ------------------------------------------------------------------ what must not be on it


async def second_answer(connections: Connections, pool: PooledTransport, late: trio.Event | None) -> bytes:
    """What the second request gets, asked when all that the server sends behind the first answer is here."""
    assert await fetch(connections, "/1") == b"ok"
    if late is not None:
        await late.wait()
        await trio.testing.wait_all_tasks_blocked(0.01)
    body = await fetch(connections, "/2")
    assert pool.in_use == 0
    return body


def leaving(behind: bytes, sent: trio.Event | None) -> Script:
    """The first connection sends `behind` after its answer, with it or after a while."""

    async def script(peer: Peer) -> None:
        await peer.read_request()
        if peer.number > 1:
            await peer.send(OK.replace(b"ok", b"42"))
            await answer_all(peer)
            return
        await peer.send(OK if sent is not None else OK + behind)
        if sent is not None:
            await trio.testing.wait_all_tasks_blocked(0.005)
            await peer.send(behind)
            sent.set()
        await answer_all(peer)

    return script


@both
@pytest.mark.parametrize("behind", [STRAY, b"\r\n", b"x"], ids=["an answer", "a line end", "a byte"])
@pytest.mark.parametrize("is_late", [False, True], ids=["with it", "later"])
async def test_bytes_after_a_response_never_reach_the_next_request(
    behind: bytes, is_late: bool, secure: bool
) -> None:
    sent = trio.Event() if is_late else None
    async with open_either(leaving(behind, sent), secure=secure) as (server, pool, connections):
        assert await second_answer(connections, pool, sent) == b"42"
        assert server.connections == 2


@pytest.mark.parametrize("cut", [1, 4, 5, 6, 20, -1])
async def test_half_a_record_after_a_response_never_becomes_the_next_one(cut: int) -> None:
    """OpenSSL takes half a record in and says nothing of it; the other half may come with the next answer."""
    sent = trio.Event()

    async def script(peer: Peer) -> None:
        await peer.read_request()
        if peer.number > 1:
            await peer.send(OK.replace(b"ok", b"42"))
            await answer_all(peer)
            return
        tls = tls_of(peer)
        answer, stray = tls.seal(OK), tls.seal(STRAY)
        await tls.raw.send_all(answer + stray[:cut])
        sent.set()
        if await peer.read_request():
            await tls.raw.send_all(stray[cut:])

    with trio.fail_after(PATIENCE):
        async with open_either(script, secure=True) as (server, pool, connections):
            assert await second_answer(connections, pool, sent) == b"42"
            assert server.connections == 2


@pytest.mark.parametrize("is_late", [False, True], ids=["with it", "later"])
async def test_records_after_a_response_never_become_the_next_one(is_late: bool) -> None:
    sent = trio.Event() if is_late else None

    async def script(peer: Peer) -> None:
        await peer.read_request()
        if peer.number > 1:
            await peer.send(OK.replace(b"ok", b"42"))
            await answer_all(peer)
            return
        tls = tls_of(peer)
        records = [tls.seal(piece) for piece in (OK, STRAY[:10], STRAY[10:])]
        await tls.raw.send_all(records[0] if sent is not None else b"".join(records))
        if sent is not None:
            await trio.testing.wait_all_tasks_blocked(0.005)
            await tls.raw.send_all(b"".join(records[1:]))
            sent.set()
        await answer_all(peer)

    async with open_either(script, secure=True) as (server, pool, connections):
        assert await second_answer(connections, pool, sent) == b"42"
        assert server.connections == 2


@pytest.mark.parametrize("end", ["goodbye", "goodbye and close", "close", "half-close", "goodbye and more"])
async def test_an_end_of_tls_while_idle_closes_the_connection_only(end: str) -> None:
    sent = trio.Event()

    async def script(peer: Peer) -> None:
        await peer.read_request()
        if peer.number > 1:
            await peer.send(OK.replace(b"ok", b"42"))
            await answer_all(peer)
            return
        await peer.send(OK)
        tls = tls_of(peer)
        if "more" in end:
            stray = tls.seal(STRAY)
            await tls.raw.send_all(tls.seal_close_notify() + stray)
        elif "goodbye" in end:
            await tls.raw.send_all(tls.seal_close_notify())
        if "half" in end:
            await tls.raw.send_eof()
        elif "close" in end:
            await tls.raw.aclose()
        sent.set()
        await tls.raw.receive_some()

    async with open_either(script, secure=True) as (server, pool, connections):
        assert await second_answer(connections, pool, sent) == b"42"
        assert server.connections == 2


async def test_a_half_closed_connection_is_not_used_again() -> None:
    sent = trio.Event()

    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(OK)
        await peer.stream.send_eof()
        sent.set()
        await peer.stream.receive_some()

    async with open_server(script) as server, open_pool() as pool:
        assert await second_answer(connections_to(server.url, pool), pool, sent) == b"ok"
        assert server.connections == 2


async def test_messages_of_tls_itself_while_idle_keep_the_connection() -> None:
    """Here the server requests a certificate after the response; session tickets and key updates arrive likewise."""
    context = server_context()
    context.verify_mode = ssl.CERT_OPTIONAL
    context.post_handshake_auth = True
    sent = trio.Event()

    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(OK)
        tls = tls_of(peer)
        tls.tls._sslobj.verify_client_post_handshake()  # type: ignore[attr-defined]  # ssl has it for sockets only
        with suppress(ssl.SSLWantReadError):
            tls.tls.do_handshake()
        request_for_a_certificate = tls.seal()
        assert request_for_a_certificate
        await tls.raw.send_all(request_for_a_certificate)
        sent.set()
        await answer_all(peer)

    ours = client_context()
    ours.post_handshake_auth = True
    async with open_secure_server(script, context) as server:
        pool = PooledTransport(ssl_context=ours)
        assert await second_answer(connections_to(server.url, pool), pool, sent) == b"ok"
        assert server.connections == 1
        await pool.aclose()


async def test_session_tickets_are_nothing_to_read() -> None:
    """TLS 1.3 sends them behind the handshake: until a read takes them in, the network has bytes and TLS has none."""
    stop = trio.Event()

    async def script(peer: Peer) -> None:
        await stop.wait()

    async with open_secure_server(script) as server:
        port = int(server.url.rpartition(":")[2])
        tls = await TrioBackend(client_context).connect(Origin(True, "localhost", port), 5)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert not tls.is_readable()
        stop.set()
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert tls.is_readable()
        await tls.aclose()


@both
async def test_a_connection_with_bytes_before_a_request_is_not_used_again(secure: bool) -> None:
    sent = trio.Event()
    async with open_either(leaving(STRAY, sent), secure=secure) as (server, pool, connections):
        assert await second_answer(connections, pool, sent) == b"42"
        assert [head.split()[1] for number, head in server.requests if number == 1] == [b"/1"]


# ------------------------------------------------------------------ how many


async def test_the_oldest_idle_connections_are_closed_above_the_limit() -> None:
    async with open_server(answer_all) as server:
        pool = PooledTransport(max_idle=3)
        connections = connections_to(server.url, pool)
        answers = [await ask(connections) for _ in range(8)]
        for answer in answers:
            await read(answer)
        assert (pool.in_use, pool.idle) == (0, 3)
        with trio.fail_after(PATIENCE):
            while server.open > 3:
                await trio.testing.wait_all_tasks_blocked(0.001)
        answers = [await ask(connections) for _ in range(3)]
        assert sorted(number for number, _ in server.requests[8:]) == [6, 7, 8]
        for answer in answers:
            await read(answer)
        await pool.aclose()


async def test_the_bound_is_for_all_origins_of_a_pool() -> None:
    async with open_server(answer_all) as one, open_server(answer_all) as other:
        pool = PooledTransport(max_idle=2)
        for server in (one, other):
            answers = [await ask(connections_to(server.url, pool)) for _ in range(2)]
            for answer in answers:
                await read(answer)
            assert pool.idle == 2
        with trio.fail_after(PATIENCE):
            while one.open:
                await trio.testing.wait_all_tasks_blocked(0.001)
        assert other.open == 2
        await pool.aclose()


async def test_without_a_limit_of_its_own_a_pool_keeps_sixty_four(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_memory(answer_all) as (_, pool, connections):
        answers = [await ask(connections) for _ in range(MAX_IDLE_CONNECTIONS + 50)]
        for answer in answers:
            await read(answer)
        assert pool.idle == MAX_IDLE_CONNECTIONS == 64


@contextmanager
def no_descriptors() -> Iterator[None]:
    """All descriptors that this process may have are open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, hard), hard))
    taken: list[int] = []
    try:
        with suppress(OSError):
            while True:
                taken.append(os.dup(0))
        yield
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_without_a_descriptor_it_is_our_fault_and_the_error_says_which(host: str) -> None:
    async with open_server(answer_all) as server, open_pool() as pool:
        connections = connections_to(server.url.replace("127.0.0.1", host), pool)
        with no_descriptors(), pytest.raises(TransportFailed) as caught:
            await ask(connections)
        cause = caught.value.__cause__
        assert isinstance(cause, ConnectError)
        assert cause.ours
        assert "too many open files" in caught.value.failure.message
        assert caught.value.failure.phase == "connect"
        assert await fetch(connections) == b"ok"


async def test_idle_connections_of_all_pools_are_given_back_when_descriptors_run_out() -> None:
    async with open_server(answer_all) as server, open_server(answer_all) as other:
        async with open_pool() as keeping, open_pool() as asking:
            kept = [await ask(connections_to(server.url, keeping)) for _ in range(5)]
            for answer in kept:
                await read(answer)
            assert keeping.idle == 5
            with no_descriptors(), trio.fail_after(PATIENCE):
                assert await fetch(connections_to(other.url, asking)) == b"ok"
            assert (keeping.idle, asking.idle) == (0, 1)
            assert await fetch(connections_to(server.url, keeping)) == b"ok"


async def test_a_connection_in_use_is_not_given_back() -> None:
    async with open_server(answer_all) as server, open_pool() as pool:
        connections = connections_to(server.url, pool)
        held = await ask(connections)
        with no_descriptors(), pytest.raises(TransportFailed, match="too many open files"):
            await ask(connections)
        assert await read(held) == b"ok"


async def test_a_broken_upload_leaves_no_connection_to_keep() -> None:
    async def script(peer: Peer) -> None:
        await peer.stream.receive_some(1000)
        await peer.send(OK)
        await trio.sleep_forever()

    with trio.fail_after(PATIENCE):
        async with open_server(script) as server, open_pool() as pool:
            connections = connections_to(server.url, pool)
            for expected in (1, 2):
                assert await read(await post(connections, bytes(20_000_000))) == b"ok"
                assert (server.connections, pool.idle) == (expected, 0)


async def test_silent_connections_are_probed_so_that_routers_remember_them() -> None:
    async with open_server(answer_all) as server:
        port = int(server.url.rpartition(":")[2])
        ours = await TrioBackend(client_context).connect(Origin(False, "127.0.0.1", port), 5)
        assert isinstance(ours, TCPStream)
        assert ours._socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert ours._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) == 60
        assert ours._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        await ours.aclose()
