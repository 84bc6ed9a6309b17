"""Servers that send raw bytes, over loopback sockets, TLS and connections in memory, and clients for them."""

import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial

import attrs
import httpcore
import pytest
import trio
from certificates import client_context, server_context
from memory_stream import MemoryStream

from cortex_trio import WorkerConfig
from cortex_trio.failures import Failure
from cortex_trio.gateway.transport.connections import Connections
from cortex_trio.gateway.transport.errors import TransportFailed
from cortex_trio.gateway.transport.response import Response
from cortex_trio.http import PooledTransport
from cortex_trio.simulator.pipe import PipeEnd, open_pipe
from cortex_trio.wire.codec import HttpRequest

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"

# ------------------------------------------------------------------ servers


@attrs.define
class Server:
    """The requests to a raw server, and the number of its connections."""

    url: str
    connections: int = 0
    requests: list[tuple[int, bytes]] = attrs.field(factory=list)  # (connection, head)
    open: int = 0


@attrs.define
class Peer:
    """The server's side of one connection."""

    server: Server
    stream: trio.abc.HalfCloseableStream
    number: int

    async def read_request(self) -> bytes:
        """Return the head of the next request, which has no body; b"" if the client has left."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            data = await self.stream.receive_some()
            if not data:
                return b""
            head += data
        self.server.requests.append((self.number, head))
        return head

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def reset(self) -> None:
        if isinstance(self.stream, PipeEnd):
            self.stream.reset()
            return
        assert isinstance(self.stream, trio.SocketStream)
        self.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await self.stream.aclose()


Script = Callable[[Peer], Awaitable[None]]


async def play(script: Script, server: Server, stream: trio.abc.HalfCloseableStream) -> None:
    """Serve one connection; it is closed when `script` returns."""
    server.connections += 1
    server.open += 1
    try:
        await script(Peer(server, stream, server.connections))
        await stream.aclose()
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    finally:
        server.open -= 1


@asynccontextmanager
async def open_server(script: Script) -> AsyncIterator[Server]:
    """Serve every connection to a loopback port with `script`."""
    server = Server("")
    async with trio.open_nursery() as nursery:
        handle = partial(play, script, server)
        listeners = await nursery.start(partial(trio.serve_tcp, handle, 0, host="127.0.0.1"))
        server.url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        yield server
        nursery.cancel_scope.cancel()


async def answer_all(peer: Peer) -> None:
    while await peer.read_request():
        await peer.send(OK)


def answering(*answers: bytes) -> Script:
    """Answer the requests of one connection with these bytes, then close it."""

    async def script(peer: Peer) -> None:
        for answer in answers:
            if await peer.read_request():
                await peer.send(answer)

    return script


# ------------------------------------------------------------------ in memory, in virtual time


class MemoryBackend(httpcore.AsyncNetworkBackend):
    """Every connection leads to `script`, over a pipe that holds 64 KiB in each direction."""

    def __init__(self, script: Script, nursery: trio.Nursery) -> None:
        self._script = script
        self._nursery = nursery
        self.server = Server("http://memory")

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        client, server = open_pipe()
        self._nursery.start_soon(play, self._script, self.server, server)
        return MemoryStream(client)


@asynccontextmanager
async def open_memory(script: Script) -> AsyncIterator[tuple[Server, PooledTransport, Connections]]:
    """Yield a server in memory, its pool and connections to it. Time may be virtual: no byte is ever in transit."""
    async with trio.open_nursery() as nursery:
        backend = MemoryBackend(script, nursery)
        pool = PooledTransport(network_backend=backend)
        yield backend.server, pool, connections_to(backend.server.url, pool)
        await pool.aclose()
        nursery.cancel_scope.cancel()


# ------------------------------------------------------------------ TLS


class ServerTLSStream(trio.abc.HalfCloseableStream):
    """The server's side of TLS whose records can be held back: `seal` makes them, `raw` sends bytes as they are."""

    def __init__(self, raw: trio.SocketStream, context: ssl.SSLContext) -> None:
        self.raw = raw
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    async def do_handshake(self) -> None:
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                await self.raw.send_all(self._outgoing.read())
                await self._feed()
            else:
                return await self.raw.send_all(self._outgoing.read())

    async def _feed(self) -> None:
        data = await self.raw.receive_some()
        if not data:
            raise trio.BrokenResourceError("the client has left")
        self._incoming.write(data)

    def seal(self, *pieces: bytes) -> bytes:
        """Return one record for each piece that fits into one, after the pending messages of TLS itself."""
        for piece in pieces:
            self.tls.write(piece)
        return self._outgoing.read()

    def seal_close_notify(self) -> bytes:
        with pytest.raises(ssl.SSLWantReadError):
            self.tls.unwrap()
        return self._outgoing.read()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.raw.send_all(self.seal(bytes(data)))

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        while True:
            try:
                return self.tls.read(max_bytes or 65536)
            except ssl.SSLWantReadError:
                try:
                    await self._feed()
                except trio.BrokenResourceError:
                    return b""

    async def wait_send_all_might_not_block(self) -> None:
        await self.raw.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        await self.raw.send_eof()

    async def aclose(self) -> None:
        await self.raw.aclose()


@asynccontextmanager
async def open_secure_server(script: Script, context: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    """Serve every connection with `script` over TLS; a handshake that fails ends with an alert."""
    context = context or server_context()

    async def shake_hands(peer: Peer) -> None:
        assert isinstance(peer.stream, trio.SocketStream)
        stream = ServerTLSStream(peer.stream, context)
        try:
            await stream.do_handshake()
        except ssl.SSLError:
            await stream.raw.send_all(stream.seal())
            return
        await script(attrs.evolve(peer, stream=stream))

    async with open_server(shake_hands) as server:
        server.url = server.url.replace("http://127.0.0.1", "https://localhost")
        yield server


@asynccontextmanager
async def open_either(
    script: Script, *, secure: bool
) -> AsyncIterator[tuple[Server, PooledTransport, Connections]]:
    """A loopback server, with TLS or without, and connections to it."""
    async with open_secure_server(script) if secure else open_server(script) as server:
        pool = PooledTransport(ssl_context=client_context())
        try:
            yield server, pool, connections_to(server.url, pool)
        finally:
            await pool.aclose()


def tls_of(peer: Peer) -> ServerTLSStream:
    assert isinstance(peer.stream, ServerTLSStream)
    return peer.stream


# ------------------------------------------------------------------ a client


def connections_to(url: str, transport: PooledTransport | None = None) -> Connections:
    config = WorkerConfig(
        provider="openai_compatible", base_url=url, models=("m",), api_keys=("sk-secret-key-1",)
    )
    return Connections(config, transport)


async def ask(connections: Connections, path: str = "/", patience: float = 5.0) -> Response:
    return await connections.send(HttpRequest("GET", path), None, connect_timeout=patience)


async def post(connections: Connections, body: bytes) -> Response:
    return await connections.send(HttpRequest("POST", "/", body), None, connect_timeout=5)


async def read(answer: Response) -> bytes:
    body = b""
    try:
        while data := await answer.receive():
            body += data
    finally:
        await answer.aclose()
    return body


async def fetch(connections: Connections, path: str = "/") -> bytes:
    return await read(await ask(connections, path))


async def failure_of(connections: Connections, patience: float = 5.0) -> Failure:
    with pytest.raises(TransportFailed) as caught:
        await read(await ask(connections, patience=patience))
    return caught.value.failure


@asynccontextmanager
async def open_pool(max_connections: int | None = None) -> AsyncIterator[PooledTransport]:
    pool = PooledTransport(max_connections=max_connections)
    try:
        yield pool
    finally:
        await pool.aclose()
