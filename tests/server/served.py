"""A server with a stand-in for the routes of the API, and clients that speak bytes."""

import json
import math
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar, Self

import h11
import trio
from certificates import client_context

from cortex_trio import Cortex, open_cortex
from cortex_trio.server.exchange import CancelReason, Exchange, Headers, ServedRequest
from cortex_trio.server.limits_protocol import ClientLimits, ErrorKind
from cortex_trio.server.serving import Server, open_server

WORKER = {"demo": {"provider": "ollama", "models": ["m"], "base_url": "http://127.0.0.1:9"}}
"""Nothing listens there: these tests send no request to a provider."""


class StandIn:
    """Routes that do what their path says."""

    def __init__(self) -> None:
        self.requests: list[ServedRequest] = []
        self.running = 0
        self.cancelled = trio.Event()
        self.started = trio.Event()
        self.written = 0
        self.go = trio.Event()

    def serves(self, method: str, path: str) -> bool:
        return (method, path) in {
            ("POST", "/echo"),
            ("POST", "/stream"),
            ("POST", "/wait"),
            ("POST", "/endless"),
            ("POST", "/flood"),
            ("POST", "/crash"),
            ("POST", "/silent"),
            ("POST", "/cut"),
            ("POST", "/charge"),
            ("POST", "/inject"),
            ("GET", "/v1/models"),
        }

    def error(
        self,
        path: str,
        kind: ErrorKind,
        message: str,
        *,
        sent: Headers = (),
        retry_after: float | None = None,
    ) -> tuple[int, Headers, bytes]:
        headers = [("content-type", "application/json")]
        if retry_after is not None:
            headers.append(("retry-after", str(math.ceil(retry_after))))
        return kind.status, headers, json.dumps({"error": {"type": kind.name, "message": message}}).encode()

    async def answer(self, request: ServedRequest, exchange: Exchange, client: ClientLimits | None) -> None:
        self.requests.append(request)
        self.started.set()
        self.running += 1
        try:
            await getattr(self, request.path.strip("/").replace("/", "_"))(request, exchange, client)
        except (trio.Cancelled, trio.BrokenResourceError):
            self.cancelled.set()
            raise
        finally:
            self.running -= 1

    async def v1_models(
        self, request: ServedRequest, exchange: Exchange, client: ClientLimits | None
    ) -> None:
        await exchange.respond(200, [], b"[]")

    async def echo(self, request: ServedRequest, exchange: Exchange, client: ClientLimits | None) -> None:
        await exchange.respond(200, [("content-type", "application/json")], request.body)

    async def charge(self, request: ServedRequest, exchange: Exchange, client: ClientLimits | None) -> None:
        if client is not None:
            charged = json.loads(request.body)
            client.charge(tokens=charged.get("tokens", 0), usd=charged.get("usd"))
        await exchange.respond(200, [], b"{}")

    async def inject(self, request: ServedRequest, exchange: Exchange, client: ClientLimits | None) -> None:
        await exchange.respond(
            200, [("x-cortex-model", "a\r\nx-evil: 1\r\n\r\nbody"), ("X Bad", "ä\x00€")], b""
        )

    async def stream(self, request: ServedRequest, exchange: Exchange, client: ClientLimits | None) -> None:
        await exchange.begin(200, [("content-type", "text/event-stream")])
        for number in range(3):
            await exchange.write(f"data: {number}\n\n".encode())
        await exchange.end()

    async def wait(self, request: ServedRequest, exchange: Exchange, client: ClientLimits | None) -> None:
        await self.go.wait()
        await exchange.respond(200, [], b"waited")

    async def endless(self, request: ServedRequest, exchange: Exchange, client: ClientLimits | None) -> None:
        await exchange.begin(200, [("content-type", "text/event-stream")])
        try:
            while True:
                await exchange.write(b"data: x\n\n")
                await trio.sleep(0.02)
        finally:
            if exchange.cancel_reason is CancelReason.DRAINING:
                with trio.move_on_after(1.0, shield=True):
                    await exchange.write(b"data: error\n\n")
                    await exchange.end()

    async def flood(self, request: ServedRequest, exchange: Exchange, client: ClientLimits | None) -> None:
        await exchange.begin(200, [])
        try:
            while True:
                await exchange.write(bytes(100_000))
                self.written += 1
        finally:
            if exchange.cancel_reason is CancelReason.DRAINING:
                with trio.move_on_after(1.0, shield=True):
                    await exchange.write(b"data: error\n\n")
                    await exchange.end()

    async def crash(self, request: ServedRequest, exchange: Exchange, client: ClientLimits | None) -> None:
        if request.body:
            await exchange.begin(200, [])
        raise ValueError("a bug")

    async def silent(self, request: ServedRequest, exchange: Exchange, client: ClientLimits | None) -> None:
        await trio.lowlevel.checkpoint()

    async def cut(self, request: ServedRequest, exchange: Exchange, client: ClientLimits | None) -> None:
        await exchange.begin(200, [])
        await exchange.write(b"half")


@asynccontextmanager
async def open_served(api: Any = None, **options: Any) -> AsyncIterator[tuple[Server, Any, Cortex]]:
    """Open a gateway and a server whose routes are a StandIn, or `api`."""
    api = StandIn() if api is None else api
    async with open_cortex(WORKER) as cortex, open_server(cortex, api=api, **options) as server:
        try:
            yield server, api, cortex
        finally:
            while Client.made:
                Client.made.pop().socket.close()


class Answer:
    """A response."""

    def __init__(
        self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes, *, is_whole: bool
    ) -> None:
        self.status = status
        self.headers = {name.decode(): value.decode("latin-1") for name, value in headers}
        self.body = body
        self.is_whole = is_whole

    @property
    def error(self) -> str:
        return str(json.loads(self.body)["error"]["type"])


class Client:
    """A connection of a client. `open_served` closes it."""

    made: ClassVar[list["Client"]] = []

    def __init__(self, stream: Any, socket: trio.socket.SocketType) -> None:
        self.stream = stream
        self.socket = socket
        self.made.append(self)
        self._left = b""

    @classmethod
    async def to(cls, server: Server) -> Self:
        stream = await trio.open_tcp_stream("127.0.0.1", server.port)
        return cls(stream, stream.socket)

    @classmethod
    async def through_tls(cls, server: Server) -> Self:
        """Connect to a server with a certificate. A connection that ends without `close_notify` is broken."""
        tcp = await trio.open_tcp_stream("127.0.0.1", server.port)
        return cls(trio.SSLStream(tcp, client_context(), server_hostname="localhost"), tcp.socket)

    async def send(self, raw: bytes) -> None:
        await self.stream.send_all(raw)

    async def ask(self, raw: bytes) -> Answer:
        await self.send(raw)
        return await self.answer()

    async def post(self, path: str, body: bytes = b"", headers: Sequence[tuple[str, str]] = ()) -> Answer:
        return await self.ask(request("POST", path, body, headers))

    async def get(self, path: str, headers: Sequence[tuple[str, str]] = ()) -> Answer:
        return await self.ask(request("GET", path, None, headers))

    async def answer(self, *, to: str = "GET", seconds: float = 10.0) -> Answer:
        """Return the next response, which takes so many seconds at most; what is after it stays."""
        http = h11.Connection(h11.CLIENT)
        http.send(h11.Request(method=to, target="/", headers=[("host", "h")]))
        http.send(h11.EndOfMessage())
        if self._left:
            http.receive_data(self._left)
        self._left = b""
        head: h11.Response | None = None
        body = b""
        with trio.fail_after(seconds):
            while True:
                try:
                    found = http.next_event()
                except h11.RemoteProtocolError:
                    if head is None:
                        raise EOFError from None
                    return Answer(head.status_code, head.headers.raw_items(), body, is_whole=False)
                if isinstance(found, h11.Response):
                    head = found
                elif isinstance(found, h11.Data):
                    body += bytes(found.data)
                elif isinstance(found, h11.EndOfMessage):
                    assert head is not None
                    self._left = http.trailing_data[0]
                    return Answer(head.status_code, list(head.headers), body, is_whole=True)
                elif found is h11.NEED_DATA:
                    http.receive_data(await self.stream.receive_some())
                elif isinstance(found, h11.ConnectionClosed):
                    raise EOFError

    async def has_begun(self) -> None:
        """Wait for the first bytes of a response, which stay."""
        self._left += await self.stream.receive_some()

    async def receive_all(self) -> None:
        """Drop all that comes until the server closes the connection."""
        while await self.stream.receive_some():
            pass

    async def is_closed(self, seconds: float = 10.0) -> bool:
        """Whether the server closes the connection within the time, with nothing left to read."""
        with trio.move_on_after(seconds):
            try:
                return not self._left and await self.stream.receive_some() == b""
            except trio.BrokenResourceError:
                return True
        return False


def request(
    method: str,
    path: str,
    body: bytes | None = None,
    headers: Sequence[tuple[str, str]] = (),
    *,
    host: str = "localhost",
) -> bytes:
    """Return a request as bytes."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *(f"{name}: {value}" for name, value in headers)]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + (body or b"")


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for a condition that other tasks make true."""
    with trio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110 - they are states of sockets, which have no event
            await trio.sleep(0.001)
