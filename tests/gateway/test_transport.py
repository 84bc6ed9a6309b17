"""HTTP over connections of our own: what is kept, what is closed, what is asked again, and what each break is called.

Loopback servers speak raw bytes where the bytes matter; where time matters the simulator's network has a clock.
"""

import socket
from collections.abc import AsyncIterator

import httpx
import pytest
import trio
import trio.testing
from raw import (
    OK,
    Peer,
    Script,
    answer_all,
    answering,
    ask,
    connections_to,
    failure_of,
    fetch,
    open_pool,
    open_server,
    read,
)

from cortex_trio import ApiKey, FailureKind, WorkerConfig
from cortex_trio.gateway.transport.connections import Connections
from cortex_trio.gateway.transport.errors import TransportFailed
from cortex_trio.http import PooledTransport
from cortex_trio.http.defaults import KEEPALIVE_SECONDS
from cortex_trio.simulator import Behaviour, SimulatedProvider, Simulator, open_simulator
from cortex_trio.wire.codec import HttpRequest

K = FailureKind

# ------------------------------------------------------------------ the request


async def test_a_request_has_its_path_its_headers_and_its_key_in_the_right_header() -> None:
    async with open_server(answer_all) as server, open_pool() as pool:
        connections = connections_to(f"{server.url}/v1/", pool)
        answer = await connections.send(
            HttpRequest("GET", "/models?page=1", headers={"x-one": "1"}),
            ApiKey("sk-secret-key-1"),
            connect_timeout=5,
        )
        assert (answer.status, await read(answer)) == (200, b"ok")
        ((_, head),) = server.requests
        lines = head.decode().lower().split("\r\n")
        assert lines[0] == "get /v1/models?page=1 http/1.1"
        for line in ("x-one: 1", "authorization: bearer sk-secret-key-1", "accept-encoding: identity"):
            assert line in lines
        assert "sk-secret" not in lines[0]


async def test_names_of_headers_come_back_in_lower_case() -> None:
    script = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Request-ID: a\r\n\r\n")
    async with open_server(script) as server, open_pool() as pool:
        answer = await ask(connections_to(server.url, pool))
        assert answer.headers["x-request-id"] == "a"
        await answer.aclose()


@pytest.mark.parametrize(
    ("raw", "status", "body"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", 200, b""),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, 200, b"ok"),
        (b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" + OK, 200, b"ok"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n", 200, b"ok"),
        (b"HTTP/1.1 200 OK\r\n\r\nok", 200, b"ok"),  # to the end of the connection
        (b"HTTP/1.1 500 Oops\r\ncontent-length: 2\r\n\r\nno", 500, b"no"),
    ],
    ids=["204", "empty", "100", "103", "chunked", "to the end", "500"],
)
async def test_every_framing_of_a_body_is_read_to_its_end(raw: bytes, status: int, body: bytes) -> None:
    async with open_server(answering(raw)) as server, open_pool() as pool:
        answer = await ask(connections_to(server.url, pool))
        assert (answer.status, await read(answer)) == (status, body)
        assert await answer.receive() == b""
        assert pool.in_use == 0


# ------------------------------------------------------------------ keeping connections


async def test_a_connection_whose_response_was_read_is_used_again() -> None:
    async with open_server(answer_all) as server, open_pool() as pool:
        connections = connections_to(server.url, pool)
        for _ in range(5):
            await fetch(connections)
            assert (pool.in_use, pool.idle) == (0, 1)
        assert server.connections == 1


async def test_the_one_used_last_is_used_first() -> None:
    async with open_server(answer_all) as server, open_pool() as pool:
        connections = connections_to(server.url, pool)
        first, second = await ask(connections), await ask(connections)
        await read(first)
        await read(second)
        await fetch(connections)
        await fetch(connections)
        assert [number for number, _ in server.requests] == [1, 2, 2, 2]


async def test_connections_are_not_shared_between_origins() -> None:
    async with open_server(answer_all) as one, open_server(answer_all) as other, open_pool() as pool:
        await fetch(connections_to(one.url, pool))
        await fetch(connections_to(other.url, pool))
        assert (one.connections, other.connections, pool.idle) == (1, 1, 2)


async def test_leaving_a_response_early_closes_its_connection() -> None:
    async def endless(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            await peer.send(b"1\r\nx\r\n")

    async with open_server(endless) as server, open_pool() as pool:
        answer = await ask(connections_to(server.url, pool))
        assert (await answer.receive())[:1] == b"x"
        assert pool.in_use == 1
        await answer.aclose()
        assert (pool.in_use, pool.idle) == (0, 0)
        with trio.fail_after(5):
            while server.open:
                await trio.lowlevel.checkpoint()


async def test_closing_twice_is_closing_once() -> None:
    async with open_server(answer_all) as server, open_pool(max_connections=1) as pool:
        connections = connections_to(server.url, pool)
        answer = await ask(connections)
        await answer.receive()
        for _ in range(3):
            await answer.aclose()
        assert pool.idle == 1
        await fetch(connections)
        assert pool.in_use == 0


async def test_a_response_with_connection_close_is_not_kept() -> None:
    script = answering(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok")
    async with open_server(script) as server, open_pool() as pool:
        connections = connections_to(server.url, pool)
        await fetch(connections)
        assert pool.idle == 0
        await fetch(connections)
        assert server.connections == 2


async def test_closing_the_pool_closes_what_is_kept_and_what_is_in_use() -> None:
    async def slow(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n")
        await peer.stream.receive_some()

    async with open_server(answer_all) as quick, open_server(slow) as server:
        pool = PooledTransport()
        await fetch(connections_to(quick.url, pool))
        answer = await ask(connections_to(server.url, pool))
        await pool.aclose()
        assert pool.idle == 0
        with pytest.raises(TransportFailed) as caught:
            await answer.receive()
        assert caught.value.failure.kind is K.CONNECTION
        await answer.aclose()
        assert pool.in_use == 0


# ------------------------------------------------------------------ connections that died while idle


async def test_a_connection_the_server_closed_is_not_used() -> None:
    closed = trio.Event()

    async def once(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(OK)
        await peer.stream.aclose()
        closed.set()

    async with open_server(once) as server, open_pool() as pool:
        connections = connections_to(server.url, pool)
        await fetch(connections)
        await closed.wait()
        assert await fetch(connections) == b"ok"
        assert server.connections == 2
        assert pool.in_use == 0


def dying_at_reuse(last_words: bytes = b"", *, reset: bool = False) -> Script:
    """The first connection answers once; the request after that gets `last_words` and the end."""

    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(OK)
        if peer.number > 1:
            await answer_all(peer)
            return
        await peer.read_request()
        if last_words:
            await peer.send(last_words)
        if reset:
            await peer.reset()

    return script


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
async def test_a_kept_connection_that_breaks_before_any_byte_is_replaced_once(reset: bool) -> None:
    async with open_server(dying_at_reuse(reset=reset)) as server, open_pool() as pool:
        connections = connections_to(server.url, pool)
        await fetch(connections, "/1")
        assert await fetch(connections, "/2") == b"ok"
        assert [(number, head.split()[1]) for number, head in server.requests] == [
            (1, b"/1"),
            (1, b"/2"),
            (2, b"/2"),
        ]
        assert pool.in_use == 0


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("first", [b"HTTP/1.1 200 OK\r\ncontent-", b"HTTP/1.1 100 Continue\r\n\r\n"])
async def test_a_request_whose_response_had_begun_is_not_sent_again(first: bytes, reset: bool) -> None:
    """The server has taken the request: asking again would be answered, and paid for, twice."""
    async with open_server(dying_at_reuse(first, reset=reset)) as server, open_pool() as pool:
        connections = connections_to(server.url, pool)
        await fetch(connections, "/1")
        failure = await failure_of(connections)
        assert failure.kind is K.CONNECTION
        assert len(server.requests) == 2
        assert (pool.in_use, pool.idle) == (0, 0)


async def test_a_new_connection_that_breaks_is_not_replaced() -> None:
    async def rude(peer: Peer) -> None:
        await peer.read_request()

    async with open_server(rude) as server, open_pool() as pool:
        failure = await failure_of(connections_to(server.url, pool))
        assert failure.kind is K.CONNECTION
        assert server.connections == 1
        assert pool.in_use == 0


# ------------------------------------------------------------------ what breaks, and what it is called


@pytest.mark.parametrize(
    ("raw", "kind", "phase"),
    [
        (b"", K.CONNECTION, "headers"),
        (b"HTTP/1.1 200 OK\r\ncontent-", K.CONNECTION, "headers"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok", K.CONNECTION, "stream"),
        (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nok",
            K.CONNECTION,
            "stream",
        ),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n", K.CONNECTION, "stream"),
        (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nok\r\n",
            K.PROTOCOL,
            None,  # it may come in one piece with the head
        ),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", K.PROTOCOL, "headers"),
        (b"HTTP/1.1 200 OK\r\ncontent-length; 3\r\n\r\n", K.PROTOCOL, "headers"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n", K.PROTOCOL, "headers"),
        (b"HTTP/1.1 200 OK\r\nx-big: " + b"x" * 300_000 + b"\r\n\r\n", K.PROTOCOL, "headers"),
    ],
    ids=[
        "nothing",
        "half a head",
        "half a body",
        "in the middle of a chunk",
        "between chunks",
        "no chunk",
        "no HTTP",
        "no header",
        "no length",
        "a head without end",
    ],
)
async def test_a_broken_answer_has_its_kind_and_its_phase(
    raw: bytes, kind: FailureKind, phase: str | None
) -> None:
    async with open_server(answering(raw)) as server, open_pool() as pool:
        failure = await failure_of(connections_to(server.url, pool))
        assert (failure.kind, phase or failure.phase) == (kind, failure.phase)
        assert failure.message
        assert (pool.in_use, pool.idle) == (0, 0)


@pytest.mark.parametrize(
    "before", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok"], ids=["head", "body"]
)
async def test_a_reset_is_a_broken_connection(before: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(before)
        await peer.reset()

    async with open_server(script) as server, open_pool() as pool:
        assert (await failure_of(connections_to(server.url, pool))).kind is K.CONNECTION
        assert pool.in_use == 0


async def test_a_port_without_a_listener_is_a_connect_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    async with open_pool(max_connections=1) as pool:
        for _ in range(2):  # the slot is free again
            failure = await failure_of(connections_to(f"http://127.0.0.1:{port}", pool))
            assert (failure.kind, failure.phase) == (K.CONNECTION, "connect")
            assert "could not connect" in failure.message
            assert pool.in_use == 0


async def test_a_server_without_tls_is_a_failed_connect() -> None:
    async def plain(peer: Peer) -> None:
        await peer.stream.receive_some()
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with open_server(plain) as server, open_pool() as pool:
        failure = await failure_of(connections_to(server.url.replace("http:", "https:"), pool))
        assert (failure.kind, failure.phase) == (K.CONNECTION, "connect")
        assert pool.in_use == 0


async def test_no_failure_of_a_connection_shows_the_key() -> None:
    async with open_server(answering(b"junk\r\n\r\n")) as server, open_pool() as pool:
        connections = connections_to(server.url, pool)
        with pytest.raises(TransportFailed) as caught:
            await connections.send(HttpRequest("GET", "/"), ApiKey("sk-secret-key-1"), connect_timeout=5)
        at: BaseException | None = caught.value
        while at is not None:
            assert "sk-secret" not in repr(at)
            at = at.__cause__ or at.__context__


# ------------------------------------------------------------------ cancellation


async def test_a_cancelled_wait_for_the_head_leaves_nothing() -> None:
    async def silent(peer: Peer) -> None:
        await peer.read_request()
        asked.set()
        await peer.stream.receive_some()

    asked = trio.Event()
    async with open_server(silent) as server, open_pool(max_connections=1) as pool:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, connections_to(server.url, pool))
            await asked.wait()
            assert pool.in_use == 1
            nursery.cancel_scope.cancel()
        assert (pool.in_use, pool.idle) == (0, 0)
        with trio.fail_after(5):
            while server.open:
                await trio.lowlevel.checkpoint()
        async with open_server(answer_all) as other:
            assert await fetch(connections_to(other.url, pool)) == b"ok"  # the slot is free


async def test_a_cancelled_read_leaves_nothing_once_it_is_closed() -> None:
    async def half(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok")
        await peer.stream.receive_some()

    async with open_server(half) as server, open_pool() as pool:
        answer = await ask(connections_to(server.url, pool))
        assert await answer.receive() == b"ok"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer.receive)
            await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        with trio.CancelScope() as scope:
            scope.cancel()
            await answer.aclose()
        assert (pool.in_use, pool.idle) == (0, 0)


# ------------------------------------------------------------------ in virtual time


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with open_simulator() as simulator:
        yield simulator


def provider_of(sim: Simulator, *script: Behaviour) -> tuple[SimulatedProvider, PooledTransport, Connections]:
    provider = sim.add("openai_compatible")
    provider.behave_health(*script)
    pool = PooledTransport(network_backend=sim.network)
    return provider, pool, connections_to(provider.url, pool)


async def test_a_connection_idle_for_too_long_is_not_used(sim: Simulator, autojump_clock: object) -> None:
    provider, _pool, connections = provider_of(sim)
    for pause in (0.0, KEEPALIVE_SECONDS - 1, KEEPALIVE_SECONDS + 1):
        await trio.sleep(pause)
        await fetch(connections, "/models")
    assert provider.connections_made == 2
    assert provider.open_connections == 1


async def test_idle_connections_of_a_burst_are_closed_although_one_is_always_in_use(
    sim: Simulator, autojump_clock: object
) -> None:
    """Last in, first out: without this those at the bottom would never be looked at again."""
    provider, pool, connections = provider_of(sim)
    answers = [await ask(connections, "/models") for _ in range(20)]
    for answer in answers:
        await read(answer)
    assert pool.idle == 20
    for _ in range(5):
        await trio.sleep(KEEPALIVE_SECONDS / 2)
        await fetch(connections, "/models")
    await trio.testing.wait_all_tasks_blocked()
    assert pool.idle == 1
    assert provider.open_connections == 1
    assert provider.connections_made == 20


async def test_a_connect_that_takes_too_long_is_given_up(sim: Simulator, autojump_clock: object) -> None:
    provider = sim.add("openai_compatible", Behaviour(connect_after=10))
    pool = PooledTransport(network_backend=sim.network)
    start = trio.current_time()
    failure = await failure_of(connections_to(provider.url, pool), patience=3)
    assert (failure.kind, failure.phase) == (K.CONNECTION, "connect")
    assert "timed out" in failure.message
    assert trio.current_time() - start == pytest.approx(3)
    assert pool.in_use == 0


async def test_a_cancelled_connect_leaves_nothing(sim: Simulator, autojump_clock: object) -> None:
    provider = sim.add("openai_compatible", Behaviour(connect_after=10))
    pool = PooledTransport(network_backend=sim.network, max_connections=1)
    for _ in range(3):
        with trio.move_on_after(1) as scope:
            await ask(connections_to(provider.url, pool))
        assert scope.cancelled_caught
        assert pool.in_use == 0


async def test_a_full_pool_serves_in_the_order_of_the_requests(
    sim: Simulator, autojump_clock: object
) -> None:
    provider = sim.add("openai_compatible")
    provider.behave_health(Behaviour(first_token_after=1.0))
    pool = PooledTransport(network_backend=sim.network, max_connections=2)
    connections, served = connections_to(provider.url, pool), list[int]()
    most = 0

    async def one(number: int) -> None:
        nonlocal most
        await trio.sleep(number / 1000)
        answer = await ask(connections, "/models")
        most = max(most, pool.in_use)
        await read(answer)
        served.append(number)

    async with trio.open_nursery() as nursery:
        for number in range(8):
            nursery.start_soon(one, number)
    assert served == [*range(8)]
    assert most <= 2
    assert provider.connections_made == 2


async def test_a_cancelled_wait_for_a_connection_takes_none(sim: Simulator, autojump_clock: object) -> None:
    provider = sim.add("openai_compatible")
    pool = PooledTransport(network_backend=sim.network, max_connections=1)
    connections = connections_to(provider.url, pool)
    held = await ask(connections, "/models")
    with trio.move_on_after(1) as scope:
        await ask(connections, "/models")
    assert scope.cancelled_caught
    await read(held)
    assert await fetch(connections, "/models")


async def test_a_retired_pool_keeps_nothing(sim: Simulator, autojump_clock: object) -> None:
    provider, pool, connections = provider_of(sim)
    idle, used = await ask(connections, "/models"), await ask(connections, "/models")
    await read(idle)
    await pool.retire()
    assert (pool.idle, pool.in_use) == (0, 1)
    assert await read(used)
    await trio.testing.wait_all_tasks_blocked()
    assert (pool.idle, pool.in_use, provider.open_connections) == (0, 0, 0)


# ------------------------------------------------------------------ foreign transports


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (httpx.ConnectError("refused"), K.CONNECTION),
        (httpx.ConnectTimeout(""), K.CONNECTION),
        (httpx.ReadError(""), K.CONNECTION),
        (httpx.WriteError("broken pipe"), K.CONNECTION),
        (httpx.CloseError(""), K.CONNECTION),
        (httpx.ProxyError("no"), K.CONNECTION),
        (httpx.ReadTimeout(""), K.STALLED),
        (httpx.WriteTimeout(""), K.STALLED),
        (httpx.PoolTimeout(""), K.CONNECTION),
        (httpx.RemoteProtocolError("junk"), K.PROTOCOL),
        (httpx.LocalProtocolError("junk"), K.PROTOCOL),
        (httpx.DecodingError("junk"), K.PROTOCOL),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
async def test_every_exception_of_httpx_has_its_kind(error: httpx.HTTPError, kind: FailureKind) -> None:
    class Broken(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            raise error

    config = WorkerConfig(provider="openai_compatible", base_url="http://x", models=("m",))
    with pytest.raises(TransportFailed) as caught:
        await ask(Connections(config, Broken()))
    assert caught.value.failure.kind is kind
    assert caught.value.failure.message
    assert caught.value.__cause__ is error


@pytest.mark.slow
async def test_closed_while_a_long_request_is_sent_it_is_a_failure_like_any_other() -> None:
    async def reads_nothing(peer: Peer) -> None:
        await trio.sleep_forever()

    async with open_server(reads_nothing) as server, trio.open_nursery() as nursery:
        connections = connections_to(server.url)
        nursery.start_soon(fails_to_ask, connections, HttpRequest("POST", "/", b"x" * 30_000_000))
        while not server.open:
            await trio.testing.wait_all_tasks_blocked(0.001)
        await trio.testing.wait_all_tasks_blocked(0.01)
        await connections.aclose()


async def test_a_pool_closed_while_it_connects_sends_no_request(autojump_clock: object) -> None:
    async with open_simulator() as sim, trio.open_nursery() as nursery:
        provider = sim.add("openai", Behaviour(connect_after=2))
        connections = connections_to(provider.url, PooledTransport(network_backend=sim.network))
        nursery.start_soon(fails_to_ask, connections, HttpRequest("GET", "/models"))
        await trio.sleep(1)
        await connections.aclose()
        await trio.sleep(2)
        assert not provider.requests
        assert not provider.open_connections


async def fails_to_ask(connections: Connections, request: HttpRequest) -> None:
    with pytest.raises(TransportFailed) as caught:
        await connections.send(request, None, connect_timeout=5)
    assert caught.value.failure.kind is K.CONNECTION
