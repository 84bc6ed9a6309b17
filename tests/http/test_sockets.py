"""Real sockets under our HTTP: TLS, IPv6, what is too large to be sent at once, and httpx's client over it all."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

import httpx
import pytest
import trio
from certificates import client_context, server_context
from raw import OK

from cortex_trio import FailureKind, WorkerConfig
from cortex_trio.gateway.transport.connections import Connections
from cortex_trio.gateway.transport.errors import TransportFailed
from cortex_trio.gateway.transport.response import Response
from cortex_trio.http import Deadlines, PooledTransport, ReadTimeout
from cortex_trio.wire.codec import HttpRequest

HALF = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"

Script = Callable[[trio.abc.Stream], Awaitable[None]]


@asynccontextmanager
async def served(script: Script, *, host: str = "127.0.0.1", secure: bool = False) -> AsyncIterator[int]:
    """Serve connections with `script`; gives the port."""

    async def handle(stream: trio.abc.Stream) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await script(stream)

    async with trio.open_nursery() as nursery:
        start = (
            partial(trio.serve_ssl_over_tcp, handle, 0, server_context(), host=host, https_compatible=True)
            if secure
            else partial(trio.serve_tcp, handle, 0, host=host)
        )
        listeners = await nursery.start(start)
        listener = listeners[0].transport_listener if secure else listeners[0]
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def answer_requests(stream: trio.abc.Stream, answer: bytes = OK) -> None:
    """Answer every request without a body on this connection."""
    while (await stream.receive_some()).endswith(b"\r\n\r\n"):
        await stream.send_all(answer)


Connect = Callable[..., Connections]


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Makes a worker's connections; they are closed in the end."""
    made: list[Connections] = []

    def connections(url: str, transport: PooledTransport | None = None) -> Connections:
        made.append(Connections(WorkerConfig(provider="ollama", base_url=url), transport))
        return made[-1]

    yield connections
    for connections_made in made:
        await connections_made.aclose()


async def ask(there: Connections, deadlines: Deadlines | None = None) -> Response:
    return await there.send(HttpRequest("GET", "/"), None, connect_timeout=5, deadlines=deadlines)


async def read(answer: Response) -> bytes:
    body = b""
    while data := await answer.receive():
        body += data
    await answer.aclose()
    return body


# ------------------------------------------------------------------ TLS


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_a_connection_over_tls_is_made_once_and_kept(host: str, connect: Connect) -> None:
    made = 0

    async def script(stream: trio.abc.Stream) -> None:
        nonlocal made
        made += 1
        await answer_requests(stream)

    async with served(script, secure=True) as port:
        pool = PooledTransport(ssl_context=client_context())
        there = connect(f"https://{host}:{port}", pool)
        for _ in range(3):
            assert await read(await ask(there)) == b"ok"
        assert (made, pool.idle, pool.in_use) == (1, 1, 0)
        await there.aclose()
        assert pool.idle == 0


async def test_an_untrusted_certificate_is_a_connect_error_with_that_reason(connect: Connect) -> None:
    async with served(answer_requests, secure=True) as port:
        with pytest.raises(TransportFailed) as caught:
            await ask(connect(f"https://localhost:{port}"))
    assert caught.value.failure.kind is FailureKind.CONNECTION
    assert caught.value.failure.phase == "connect"
    assert "certificate verify failed" in caught.value.failure.message


async def test_a_certificate_for_another_host_is_refused(connect: Connect) -> None:
    async with served(answer_requests, host="127.0.0.2", secure=True) as port:
        with pytest.raises(TransportFailed, match=r"not valid for .127\.0\.0\.2."):
            await ask(connect(f"https://127.0.0.2:{port}", PooledTransport(ssl_context=client_context())))


async def test_leaving_a_secure_response_early_closes_it_without_waiting(
    connect: Connect,
) -> None:
    gone = trio.Event()

    async def script(stream: trio.abc.Stream) -> None:
        await stream.receive_some()
        await stream.send_all(HALF)
        with suppress(trio.BrokenResourceError):
            assert await stream.receive_some() == b""
        gone.set()

    async with served(script, secure=True) as port:
        pool = PooledTransport(ssl_context=client_context())
        answer = await ask(connect(f"https://localhost:{port}", pool))
        with trio.CancelScope() as scope:
            scope.cancel()
            await answer.aclose()  # also in the middle of a cancellation
        assert (pool.idle, pool.in_use) == (0, 0)
        with trio.fail_after(5):
            await gone.wait()


async def test_old_secure_connections_are_all_closed_even_if_the_closing_task_is_cancelled(
    connect: Connect,
) -> None:
    gone = trio.Semaphore(0)

    async def script(stream: trio.abc.Stream) -> None:
        await answer_requests(stream)
        gone.release()

    async with served(script, secure=True) as port:
        pool = PooledTransport(ssl_context=client_context(), keepalive=0)
        there = connect(f"https://localhost:{port}", pool)
        answers = [await ask(there) for _ in range(3)]
        for answer in answers:
            assert await read(answer) == b"ok"
        assert pool.idle == 3
        with trio.CancelScope() as scope:
            scope.cancel()
            await ask(there)
        with trio.fail_after(5):
            for _ in answers:
                await gone.acquire()


async def test_a_silent_secure_server_is_a_read_timeout_with_deadlines(connect: Connect) -> None:
    async def script(stream: trio.abc.Stream) -> None:
        await answer_requests(stream, HALF)

    deadlines = Deadlines()
    async with served(script, secure=True) as port, trio.open_nursery() as nursery:
        nursery.start_soon(deadlines.run)
        await trio.testing.wait_all_tasks_blocked()
        there = connect(f"https://localhost:{port}", PooledTransport(ssl_context=client_context()))
        answer = await ask(there, deadlines)
        assert await answer.receive(trio.current_time() + 5) == b"half"
        with pytest.raises(ReadTimeout):
            await answer.receive(trio.current_time() + 0.05)
        await answer.aclose()
        nursery.cancel_scope.cancel()


# ------------------------------------------------------------------ addresses


async def test_an_ipv6_address_is_in_brackets(connect: Connect) -> None:
    heads: list[bytes] = []

    async def script(stream: trio.abc.Stream) -> None:
        heads.append(bytes(await stream.receive_some()))
        await stream.send_all(OK)

    try:
        async with served(script, host="::1") as port:
            assert await read(await ask(connect(f"http://[::1]:{port}"))) == b"ok"
    except OSError:
        pytest.skip("no IPv6 here")
    assert f"host: [::1]:{port}\r\n".encode() in heads[0]


# ------------------------------------------------------------------ large requests

LARGE = b"x" * 8_000_000


async def test_a_body_larger_than_any_buffer_arrives_complete(connect: Connect) -> None:
    received = 0

    async def script(stream: trio.abc.Stream) -> None:
        nonlocal received
        while received < len(LARGE):
            received += len(await stream.receive_some(65536))
        await stream.send_all(OK)

    async with served(script) as port:
        request = HttpRequest("POST", "/", LARGE)
        answer = await connect(f"http://127.0.0.1:{port}").send(request, None, connect_timeout=5)
        assert await read(answer) == b"ok"
    assert received >= len(LARGE)


async def test_a_server_that_closes_while_a_large_body_is_sent_has_broken_the_connection(
    connect: Connect,
) -> None:
    async def script(stream: trio.abc.Stream) -> None:
        await stream.receive_some(10)

    async with served(script) as port:
        pool = PooledTransport()
        there = connect(f"http://127.0.0.1:{port}", pool)
        with pytest.raises(TransportFailed) as caught:
            await there.send(HttpRequest("POST", "/", LARGE), None, connect_timeout=5)
    assert caught.value.failure.kind is FailureKind.CONNECTION
    assert pool.in_use == 0


async def test_sending_a_large_body_can_be_cancelled(connect: Connect) -> None:
    async def script(stream: trio.abc.Stream) -> None:
        await trio.sleep_forever()

    async with served(script) as port:
        pool = PooledTransport()
        there = connect(f"http://127.0.0.1:{port}", pool)
        with trio.move_on_after(0.05) as scope:
            await there.send(HttpRequest("POST", "/", LARGE), None, connect_timeout=5)
        assert scope.cancelled_caught
        assert (pool.idle, pool.in_use) == (0, 0)


# ------------------------------------------------------------------ httpx's client over our connections


async def echo(stream: trio.abc.Stream) -> None:
    """Answer with the body of each request, and with what its head said of it."""
    while data := await stream.receive_some():
        head, _, body = bytes(data).partition(b"\r\n\r\n")
        while f"content-length: {len(body)}".encode() not in head:
            body += await stream.receive_some()
        reply = json.dumps({"head": head.decode(), "body": body.decode()}).encode()
        await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(reply), reply))


async def test_an_httpx_client_may_use_our_connections() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"piece by "
        yield b"piece"

    async with served(echo) as port, httpx.AsyncClient(transport=PooledTransport()) as client:
        url = f"http://127.0.0.1:{port}/path?query=1"
        assert (await client.post(url, content=b"whole")).json()["body"] == "whole"
        streamed = (await client.put(url, content=pieces())).json()
        assert streamed["body"] == "piece by piece"
        assert streamed["head"].startswith("PUT /path?query=1 HTTP/1.1\r\n")
        assert "transfer-encoding" not in streamed["head"]


async def test_an_httpx_client_gets_the_errors_of_httpx() -> None:
    async def script(stream: trio.abc.Stream) -> None:
        path = (await stream.receive_some()).split(b" ")[1]
        await stream.send_all({b"/cut": HALF, b"/bad": b"no HTTP\r\n\r\n", b"/silent": b""}[bytes(path)])
        if path == b"/silent":
            await trio.sleep_forever()

    async with served(script) as port, httpx.AsyncClient(transport=PooledTransport()) as client:
        url = f"http://127.0.0.1:{port}"
        with pytest.raises(httpx.ReadError):
            await client.get(f"{url}/cut")
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get(f"{url}/bad")
        with pytest.raises(httpx.ReadTimeout):
            await client.get(f"{url}/silent", timeout=0.05)
    async with httpx.AsyncClient(transport=PooledTransport()) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(url)
