"""HTTP, and nothing but HTTP: the one module of the gateway that knows httpx.

`PooledTransport` is an `httpx.AsyncBaseTransport`: httpcore's single connections under a pool of our own.
httpcore's pool walks every connection at every request and polls every idle socket (measured: 20 times the
CPU at 100 streams); ours is a LIFO stack of idle connections per origin, looked at only when one is taken.
`Connections` puts address and credentials around a dialect's request, and maps httpx's exceptions, once, to
`Failure`s.
"""

from __future__ import annotations

import ssl
from collections import defaultdict
from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any, final

import attrs
import httpcore
import httpx
import trio

from ..failures import Failure, FailureKind
from ..failures.kinds import Phase
from ..wire.codec import HttpRequest
from .config import WorkerConfig
from .secrets import ApiKey

KEEPALIVE_SECONDS = 30.0
"""Shorter than any provider's own: the one who closes first must not be the server."""
CLOSE_SECONDS = 2.0
"""How long a close may take before it is given up; a TLS goodbye waits for the peer's buffer."""
USER_AGENT = "cortex-trio"

MakeTransport = Callable[[WorkerConfig], httpx.AsyncBaseTransport]


@cache
def shared_ssl_context() -> ssl.SSLContext:
    """One context for all: making one costs tens of milliseconds."""
    return httpx.create_ssl_context()


# ------------------------------------------------------------------ the pool

_TO_HTTPX: Mapping[type[Exception], type[httpx.TransportError]] = {
    httpcore.ConnectTimeout: httpx.ConnectTimeout,
    httpcore.ConnectError: httpx.ConnectError,
    httpcore.ReadTimeout: httpx.ReadTimeout,
    httpcore.ReadError: httpx.ReadError,
    httpcore.WriteTimeout: httpx.WriteTimeout,
    httpcore.WriteError: httpx.WriteError,
    httpcore.RemoteProtocolError: httpx.RemoteProtocolError,
    httpcore.LocalProtocolError: httpx.LocalProtocolError,
    httpcore.UnsupportedProtocol: httpx.UnsupportedProtocol,
}
_PEER_LEFT = ("peer closed", "Server disconnected")
"""h11 and httpcore call an early end of the connection a protocol error; it is a broken connection."""


@contextmanager
def _httpx_exceptions() -> Any:
    try:
        yield
    except httpcore.RemoteProtocolError as error:
        left = str(error).startswith(_PEER_LEFT)
        raise (httpx.ReadError if left else httpx.RemoteProtocolError)(str(error)) from error
    except tuple(_TO_HTTPX) as error:
        raise _TO_HTTPX[type(error)](str(error)) from error


_Place = tuple[bytes, bytes, int]


def _place(origin: httpcore.Origin) -> _Place:
    return origin.scheme, origin.host, origin.port  # an Origin has no hash


@attrs.frozen
class _Idle:
    connection: httpcore.AsyncHTTPConnection
    since: float


@final
class PooledTransport(httpx.AsyncBaseTransport):
    """Connections to any number of origins; taking and giving back cost the same beside 3,000 others as beside none.

    `max_connections` bounds those in use; further requests wait their turn, first come first served. A
    `network_backend` stands in for the network (the simulator brings one). Requests sent over a kept
    connection that turns out dead before any byte of an answer are sent once more, over a new one.
    """

    def __init__(
        self,
        *,
        max_connections: int | None = None,
        keepalive: float = KEEPALIVE_SECONDS,
        ssl_context: ssl.SSLContext | None = None,
        network_backend: httpcore.AsyncNetworkBackend | None = None,
    ) -> None:
        self._slots = trio.Semaphore(max_connections) if max_connections else None
        self._keepalive = keepalive
        self._ssl_context = ssl_context
        self._backend = network_backend or httpcore.TrioBackend()
        self._idle: defaultdict[_Place, list[_Idle]] = defaultdict(list)
        self._in_use: set[httpcore.AsyncHTTPConnection] = set()
        self.retired = False

    @property
    def in_use(self) -> int:
        """Connections checked out at the moment."""
        return len(self._in_use)

    @property
    def idle(self) -> int:
        """Connections kept for the next request."""
        return sum(len(stack) for stack in self._idle.values())

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        core = httpcore.Request(
            method=request.method,
            url=httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        if self._slots:
            await self._slots.acquire()
        try:
            with _httpx_exceptions():
                connection, response = await self._send(core)
        except BaseException:
            self._free_slot()
            raise
        return httpx.Response(
            response.status,
            headers=response.headers,
            stream=_Body(self, connection, response),
            extensions=response.extensions,
        )

    async def _send(
        self, request: httpcore.Request
    ) -> tuple[httpcore.AsyncHTTPConnection, httpcore.Response]:
        kept = await self._take_idle(request.url.origin)
        if kept is not None:
            try:
                return kept, await self._send_over(kept, request)
            except (httpcore.ReadError, httpcore.WriteError, httpcore.RemoteProtocolError) as error:
                if isinstance(error, httpcore.RemoteProtocolError) and "disconnected" not in str(error):
                    raise
        fresh = self._connect(request.url.origin)
        return fresh, await self._send_over(fresh, request)

    async def _send_over(
        self, connection: httpcore.AsyncHTTPConnection, request: httpcore.Request
    ) -> httpcore.Response:
        self._in_use.add(connection)
        try:
            return await connection.handle_async_request(request)
        except BaseException:
            self._in_use.discard(connection)
            await _close(connection)
            raise

    def _connect(self, origin: httpcore.Origin) -> httpcore.AsyncHTTPConnection:
        secure = origin.scheme == b"https"
        return httpcore.AsyncHTTPConnection(
            origin,
            ssl_context=(self._ssl_context or shared_ssl_context()) if secure else None,
            network_backend=self._backend,
        )

    async def _take_idle(self, origin: httpcore.Origin) -> httpcore.AsyncHTTPConnection | None:
        """The most recently used one that still lives. What lies under an expired one is expired as well."""
        stack = self._idle[_place(origin)]
        while stack:
            newest = stack.pop()
            if trio.current_time() - newest.since > self._keepalive:
                expired = [newest, *stack]
                stack.clear()
                for idle in expired:
                    await _close(idle.connection)
            elif newest.connection.has_expired():  # readable while idle: the server has hung up
                await _close(newest.connection)
            else:
                return newest.connection
        return None

    def _give_back(self, connection: httpcore.AsyncHTTPConnection, origin: httpcore.Origin) -> None:
        self._in_use.discard(connection)
        if connection.is_idle():
            self._idle[_place(origin)].append(_Idle(connection, trio.current_time()))
        self._free_slot()

    def _free_slot(self) -> None:
        if self._slots:
            self._slots.release()

    async def retire(self) -> None:
        """Keep no connection from now on: idle ones are closed now, the others when their answers end."""
        self.retired = True
        for stack in self._idle.values():
            while stack:
                await _close(stack.pop().connection)

    async def aclose(self) -> None:
        """Close every connection; a request that still uses one fails with httpx.ReadError."""
        connections = [idle.connection for stack in self._idle.values() for idle in stack]
        connections += self._in_use
        self._idle.clear()
        for connection in connections:
            await _close(connection)


async def _close(connection: httpcore.AsyncHTTPConnection) -> None:
    with trio.move_on_after(CLOSE_SECONDS, shield=True):
        await connection.aclose()


@final
class _Body(httpx.AsyncByteStream):
    """The body of one answer; closing it gives the connection back, or closes it when the body was left early."""

    def __init__(
        self, pool: PooledTransport, connection: httpcore.AsyncHTTPConnection, response: httpcore.Response
    ) -> None:
        self._pool = pool
        self._connection = connection
        self._stream: Any = response.stream
        assert isinstance(response.stream, AsyncIterable)  # httpcore's connections for trio make no other
        self._chunks = aiter(response.stream)
        self._closed = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        with _httpx_exceptions():
            data: bytes = await self._chunks.__anext__()
            return data

    async def aclose(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            with trio.move_on_after(CLOSE_SECONDS, shield=True):
                await self._stream.aclose()
                await self._run_out()
        finally:
            self._pool._give_back(self._connection, self._connection._origin)
            if self._pool.retired:
                await self._pool.retire()

    async def _run_out(self) -> None:
        """Let httpcore's generators end. They nest: closing the outer one would leave the inner one, in the middle
        of a body, to the garbage collector. On a closed connection they end as soon as they are asked."""
        with suppress(*_TO_HTTPX):
            async for _ in self._chunks:
                pass


# ------------------------------------------------------------------ one worker's way to its provider


class TransportFailed(Exception):
    """No answer, or no more of it: the Failure says why."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(str(failure))
        self.failure = failure


@final
class Answer:
    """An open answer: status and headers are here, the body is still coming."""

    def __init__(self, response: httpx.Response, stream: httpx.AsyncByteStream) -> None:
        self.status = response.status_code
        self.headers: Mapping[str, str] = {name.lower(): value for name, value in response.headers.items()}
        self._stream = stream
        self._chunks = stream.__aiter__()

    async def receive(self) -> bytes:
        """The next bytes of the body, b"" once at its end. Raises TransportFailed when the connection breaks."""
        try:
            async for data in self._chunks:
                if data:
                    return data
        except httpx.HTTPError as error:
            raise TransportFailed(_failure(error, "stream")) from error
        return b""

    async def aclose(self) -> None:
        """Give the connection back, or close it if the body was not read to its end. Never raises, never waits long."""
        with trio.move_on_after(CLOSE_SECONDS, shield=True):
            closing = getattr(self._chunks, "aclose", None)
            if closing is not None:
                await closing()
        with trio.move_on_after(CLOSE_SECONDS, shield=True):
            await self._stream.aclose()


@final
class Connections:
    """Where one worker's requests go: its address, its headers, its transport."""

    def __init__(self, config: WorkerConfig, transport: httpx.AsyncBaseTransport | None = None) -> None:
        kind = config.kind
        self._base_url = (config.base_url or kind.base_url).rstrip("/")
        self._auth = kind.auth
        self._headers = {
            "user-agent": USER_AGENT,
            "accept-encoding": "identity",  # a stream is read as it comes; nothing is unpacked unbounded
            **kind.headers,
            **config.headers,
        }
        self.transport = transport if transport is not None else PooledTransport()

    async def send(self, request: HttpRequest, key: ApiKey | None, *, connect_timeout: float) -> Answer:
        """Send `request` and return its answer, body still open: the caller closes it. Raises TransportFailed."""
        headers = {**self._headers, **request.headers}
        if key is not None:
            headers[self._auth.header] = f"{self._auth.prefix}{key.reveal()}"
        http_request = httpx.Request(
            request.method,
            f"{self._base_url}{request.path}",
            headers=headers,
            content=request.body,
            extensions={"timeout": {"connect": connect_timeout}},
        )
        try:
            response = await self.transport.handle_async_request(http_request)
        except httpx.HTTPError as error:
            raise TransportFailed(_failure(error, "headers")) from error
        finally:
            del headers, http_request  # they hold the key, and a traceback with locals would show it
        assert isinstance(response.stream, httpx.AsyncByteStream)
        return Answer(response, response.stream)

    async def retire(self) -> None:
        """No more requests will come; those in flight may end. A transport that is not ours is closed with `aclose`."""
        if isinstance(self.transport, PooledTransport):
            await self.transport.retire()

    async def aclose(self) -> None:
        """Close all connections. Never waits long."""
        with trio.move_on_after(CLOSE_SECONDS, shield=True):
            await self.transport.aclose()


def _failure(error: httpx.HTTPError, phase: Phase) -> Failure:
    """httpx's tree of exceptions, mapped here and nowhere else."""
    text = str(error) or type(error).__name__
    match error:
        case httpx.ConnectError() | httpx.ConnectTimeout():
            words = text if str(error) else "timed out"
            return Failure(FailureKind.CONNECTION, f"could not connect: {words}", phase="connect")
        case httpx.RemoteProtocolError() | httpx.LocalProtocolError() | httpx.DecodingError():
            return Failure(FailureKind.PROTOCOL, text, phase=phase)
        case httpx.TimeoutException():
            return Failure(FailureKind.STALLED, text, phase=phase)
        case _:
            return Failure(FailureKind.CONNECTION, f"the connection broke: {text}", phase=phase)
