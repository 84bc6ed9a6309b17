"""One worker's way to its provider: address and credentials around a dialect's request, errors mapped to `Failure`s.

    Connections ── PooledTransport ── pool (connections) ── http1 (bytes), sockets
         └──────── any httpx.AsyncBaseTransport of the user's

Our own transport is asked directly; the objects of httpx, 80 µs for each request, are made only
for a transport that wants them. What httpx raises is mapped here, once, and so is what our own connections raise.
"""

from __future__ import annotations

import logging
import math
import ssl
import traceback
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from functools import cache
from typing import Protocol, final

import httpcore
import httpx
import trio

from ..failures import Failure, FailureKind
from ..failures.kinds import Phase
from ..wire.codec import HttpRequest
from .config import WorkerConfig
from .http1 import BadAnswer, BrokenOff, request_head
from .pool import KEEPALIVE_SECONDS, Exchange, Pool, TooLate
from .secrets import ApiKey
from .sockets import CLOSE_SECONDS, BackendNetwork, CannotConnect, Network, Origin, TrioNetwork
from .watchdog import Watchdog

log = logging.getLogger("cortex_trio")

USER_AGENT = "cortex-trio"
UNWIND_PIECES = 1_000
"""What may have been read from the socket and not yet from the transport, when an answer is left early."""

MakeTransport = Callable[[WorkerConfig], httpx.AsyncBaseTransport]


@cache
def shared_ssl_context() -> ssl.SSLContext:
    """One context for all: making one costs tens of milliseconds."""
    context = httpx.create_ssl_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


class TransportFailed(Exception):
    """No answer, or no more of it: the Failure says why."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(str(failure))
        self.failure = failure


class Answer(Protocol):
    """An open answer: status and headers (names in lower case) are here, the body is still coming."""

    status: int
    headers: Mapping[str, str]

    async def receive(self, deadline: float = math.inf) -> bytes:
        """The next bytes of the body, b"" once at its end.

        Raises TransportFailed when the connection breaks, TooLate when nothing came before `deadline` (Trio time).
        """
        ...

    async def aclose(self) -> None:
        """Give the connection back, or close it if the body was not read to its end. Never raises, never waits long."""
        ...


@final
class Connections:
    """Where one worker's requests go: its address, its headers, its transport.

    `users` counts who uses which transport (by id), where one may serve several: the last one closes it.
    """

    def __init__(
        self,
        config: WorkerConfig,
        transport: httpx.AsyncBaseTransport | None = None,
        users: Counter[int] | None = None,
    ) -> None:
        kind = config.kind
        url = httpx.URL((config.base_url or kind.base_url).rstrip("/"))
        self._base_url = url
        self._origin = _origin(url)
        self._path = url.raw_path.decode("ascii").rstrip("/")
        self._auth = kind.auth
        headers = {
            "host": url.netloc.decode("ascii"),
            "user-agent": USER_AGENT,
            "accept-encoding": "identity",  # a stream is read as it comes; nothing is unpacked unbounded
            **kind.headers,
            **config.headers,
        }
        self._headers = {name.lower(): value for name, value in headers.items()}
        self.transport = transport if transport is not None else PooledTransport()
        self._users = Counter[int]() if users is None else users
        self._users[id(self.transport)] += 1
        self._closed = False

    async def send(
        self,
        request: HttpRequest,
        key: ApiKey | None,
        *,
        connect_timeout: float,
        watchdog: Watchdog | None = None,
    ) -> Answer:
        """Send `request` and return its answer, body still open: the caller closes it. Raises TransportFailed.

        With a `watchdog` the deadlines of `Answer.receive` are cheaper.
        """
        headers = {**self._headers, **request.headers}
        if key is not None:
            headers[self._auth.header.lower()] = f"{self._auth.prefix}{key.reveal()}"
        try:
            if isinstance(self.transport, PooledTransport):
                return await self._send_directly(
                    self.transport.pool, request, headers, connect_timeout, watchdog
                )
            return await self._send_by_httpx(self.transport, request, headers, connect_timeout)
        finally:
            del headers  # they hold the key, and a traceback with locals would show it

    async def _send_directly(
        self,
        pool: Pool,
        request: HttpRequest,
        headers: Mapping[str, str],
        connect_timeout: float,
        watchdog: Watchdog | None,
    ) -> Answer:
        target = f"{self._path}{request.path}"
        data = _request_bytes(request.method, target, headers, request.body)
        try:
            exchange = await pool.request(
                self._origin, request.method, data, connect_timeout=connect_timeout, watchdog=watchdog
            )
        except (CannotConnect, BrokenOff, BadAnswer) as error:
            raise TransportFailed(_failure(error, "headers")) from error
        finally:
            del headers
        return _PooledAnswer(exchange)

    async def _send_by_httpx(
        self,
        transport: httpx.AsyncBaseTransport,
        request: HttpRequest,
        headers: Mapping[str, str],
        connect_timeout: float,
    ) -> Answer:
        http_request = httpx.Request(
            request.method,
            f"{self._base_url}{request.path}",
            headers=headers,
            content=request.body,
            extensions={"timeout": {"connect": connect_timeout}},
        )
        try:
            response = await transport.handle_async_request(http_request)
            if not isinstance(response.stream, httpx.AsyncByteStream):
                raise TypeError("a body that is no httpx.AsyncByteStream")
        except Exception as error:
            raise TransportFailed(_httpx_failure(error, "headers")) from error
        finally:
            del headers, http_request
        return _HttpxAnswer(response, response.stream)

    async def retire(self) -> None:
        """No more requests will come; those in flight may end. A transport that is not ours is closed with `aclose`."""
        if isinstance(self.transport, PooledTransport) and self._users[id(self.transport)] == 1:
            await self.transport.retire()

    async def aclose(self) -> None:
        """Close all connections, unless others use them, too. Never raises, never waits long."""
        if self._closed:
            return
        self._closed = True
        self._users[id(self.transport)] -= 1
        if self._users[id(self.transport)]:
            return
        with trio.move_on_after(CLOSE_SECONDS, shield=True):
            try:
                await self.transport.aclose()
            except Exception:  # of a transport of the user's; the others are still to be closed
                log.exception("a transport could not be closed")


@final
class Connector:
    """Makes the connections of one gateway's workers; a transport that `make_transport` gives to several is shared."""

    def __init__(self, make_transport: MakeTransport | None) -> None:
        self._make_transport = make_transport
        self._users = Counter[int]()

    def __call__(self, config: WorkerConfig) -> Connections:
        transport = self._make_transport(config) if self._make_transport else None
        return Connections(config, transport, self._users)


def _origin(url: httpx.URL) -> Origin:
    secure = url.scheme == "https"
    return Origin(secure, url.raw_host.decode("ascii"), url.port or (443 if secure else 80))


def _request_bytes(method: str, target: str, headers: Mapping[str, str], body: bytes | None) -> memoryview:
    """A whole request, written at once. Raises TransportFailed if a header would end its line.

    A view, for it holds the key: of one, a traceback with locals shows the address alone.
    """
    fields = [*headers.items(), *([("content-length", str(len(body)))] if body is not None else [])]
    try:
        return memoryview(b"%b\r\n%b" % (request_head(method, target, fields), body or b""))
    except ValueError:
        failure = Failure(FailureKind.PROTOCOL, "a header that HTTP cannot carry", phase="connect")
    del headers, fields
    raise TransportFailed(failure)


# ------------------------------------------------------------------ answers


@final
class _PooledAnswer:
    def __init__(self, exchange: Exchange) -> None:
        self.status = exchange.head.status
        self.headers = exchange.head.headers
        self._exchange = exchange

    async def receive(self, deadline: float = math.inf) -> bytes:
        try:
            return await self._exchange.receive(deadline)
        except (BrokenOff, BadAnswer) as error:
            raise TransportFailed(_failure(error, "stream")) from error

    async def aclose(self) -> None:
        await self._exchange.aclose()


@final
class _HttpxAnswer:
    def __init__(self, response: httpx.Response, stream: httpx.AsyncByteStream) -> None:
        self.status = response.status_code
        self.headers: Mapping[str, str] = {name.lower(): value for name, value in response.headers.items()}
        self._stream = stream
        self._chunks = stream.__aiter__()

    async def receive(self, deadline: float = math.inf) -> bytes:
        try:
            with trio.move_on_at(deadline):
                async for data in self._chunks:
                    if data:
                        return data
                return b""
        except Exception as error:
            raise TransportFailed(_httpx_failure(error, "stream")) from error
        raise TooLate

    async def aclose(self) -> None:
        closings = getattr(self._chunks, "aclose", None), self._stream.aclose
        for close in filter(None, (self._unwind, *closings)):
            # Whatever a transport of the user's raises here: the answer is over.
            with trio.move_on_after(CLOSE_SECONDS, shield=True), suppress(Exception):
                await close()

    async def _unwind(self) -> None:
        """End the generators inside the generator: `aclose` reaches the outermost alone, a cancellation all of them.

        httpcore nests four; those that are left suspended warn when they are collected.
        """
        with trio.CancelScope() as scope:
            scope.cancel()
            for _ in range(UNWIND_PIECES):
                if not await anext(self._chunks, b""):
                    break


# ------------------------------------------------------------------ failures


def _failure(error: CannotConnect | BrokenOff | BadAnswer, phase: Phase) -> Failure:
    """What our own connections raise."""
    match error:
        case CannotConnect():
            return Failure(FailureKind.CONNECTION, f"could not connect: {error}", phase="connect")
        case BrokenOff():
            return Failure(FailureKind.CONNECTION, f"the connection broke: {error}", phase=phase)
        case BadAnswer():
            return Failure(FailureKind.PROTOCOL, str(error), phase=phase)


def _httpx_failure(error: Exception, phase: Phase) -> Failure:
    """httpx's tree of exceptions, mapped here and nowhere else; anything else is a bug in a transport of the user's."""
    text = str(error) or type(error).__name__
    match error:
        case httpx.ConnectError() | httpx.ConnectTimeout():
            words = text if str(error) else "timed out"
            return Failure(FailureKind.CONNECTION, f"could not connect: {words}", phase="connect")
        case httpx.RemoteProtocolError() | httpx.LocalProtocolError() | httpx.DecodingError():
            return Failure(FailureKind.PROTOCOL, text, phase=phase)
        case httpx.TimeoutException():
            return Failure(FailureKind.STALLED, text, phase=phase)
        case httpx.HTTPError():
            return Failure(FailureKind.CONNECTION, f"the connection broke: {text}", phase=phase)
        case _:
            where = "".join(traceback.format_tb(error.__traceback__))  # its text may repeat what was sent
            log.error("the transport raised %s\n%s", type(error).__name__, where)
            text = f"a bug in the transport: {type(error).__name__}: {error}"
            return Failure(FailureKind.CRASHED, text, phase=phase)


# ------------------------------------------------------------------ our connections, for httpx


_TO_HTTPX: Mapping[type[Exception], type[httpx.TransportError]] = {
    CannotConnect: httpx.ConnectError,
    BrokenOff: httpx.ReadError,
    BadAnswer: httpx.RemoteProtocolError,
}


def _as_httpx(error: CannotConnect | BrokenOff | BadAnswer) -> httpx.TransportError:
    known = next(theirs for ours, theirs in _TO_HTTPX.items() if isinstance(error, ours))
    return known(str(error))


@final
class PooledTransport(httpx.AsyncBaseTransport):
    """Our connections behind httpx's interface: `httpx.AsyncClient(transport=PooledTransport())`.

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
        context = shared_ssl_context if ssl_context is None else lambda: ssl_context
        network: Network = TrioNetwork(context)
        if network_backend is not None:
            network = BackendNetwork(network_backend, context)
        self.pool = Pool(network, max_connections=max_connections, keepalive=keepalive)

    @property
    def in_use(self) -> int:
        """Connections checked out at the moment."""
        return self.pool.in_use

    @property
    def idle(self) -> int:
        """Connections kept for the next request."""
        return self.pool.idle

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = await request.aread()
        headers = {name: value for name, value in request.headers.items() if name not in _FRAMING}
        target = request.url.raw_path.decode("ascii")
        framed = body if body or request.method in ("POST", "PUT", "PATCH") else None
        data = _request_bytes(request.method, target, headers, framed)
        times = request.extensions.get("timeout", {})
        connect, read = (_seconds(times.get(what)) for what in ("connect", "read"))
        try:
            with trio.fail_after(read):
                exchange = await self.pool.request(
                    _origin(request.url), request.method, data, connect_timeout=connect
                )
        except trio.TooSlowError:
            raise httpx.ReadTimeout("no answer") from None
        except (CannotConnect, BrokenOff, BadAnswer) as error:
            raise _as_httpx(error) from error
        return httpx.Response(
            exchange.head.status, headers=list(exchange.head.fields), stream=_Body(exchange, read)
        )

    async def retire(self) -> None:
        """Keep no connection from now on: idle ones are closed now, the others when their answers end."""
        await self.pool.retire()

    async def aclose(self) -> None:
        """Close every connection; a request that still uses one fails with httpx.ReadError."""
        await self.pool.aclose()


_FRAMING = ("content-length", "transfer-encoding")
"""Said anew: by the time it is sent, a body is whole."""


def _seconds(timeout: float | None) -> float:
    return math.inf if timeout is None else timeout


@final
class _Body(httpx.AsyncByteStream):
    """The body of one answer; closing it gives the connection back, or closes it when the body was left early."""

    def __init__(self, exchange: Exchange, timeout: float) -> None:
        self._exchange = exchange
        self._timeout = timeout

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            with trio.fail_after(self._timeout):
                data = await self._exchange.receive()
        except trio.TooSlowError:
            raise httpx.ReadTimeout("no more of the answer") from None
        except (BrokenOff, BadAnswer) as error:
            raise _as_httpx(error) from error
        if not data:
            raise StopAsyncIteration
        return data

    async def aclose(self) -> None:
        await self._exchange.aclose()
