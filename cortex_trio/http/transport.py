"""`PooledTransport`: the connection pool behind httpx's transport interface, for programs that use httpx themselves.

The only module of this package that loads httpx when it is imported. The gateway calls the pool directly.
"""

from __future__ import annotations

import math
import ssl
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, final

import httpx
import trio

from .certificates import default_context
from .defaults import KEEPALIVE_SECONDS, MAX_IDLE_CONNECTIONS
from .errors import ConnectError, ConnectionBroken, ReadTimeout, RemoteProtocolError
from .exchange import Exchange, RequestProgress
from .http1 import request_head
from .network import MakeSSLContext, NetworkBackend, Origin
from .pool import ConnectionPool
from .trio_backend import TrioBackend

if TYPE_CHECKING:
    import httpcore

_FRAMING = ("content-length", "transfer-encoding")
"""Written by this module: a request body is complete in memory when it is sent, so its length is known."""


@final
class PooledTransport(httpx.AsyncBaseTransport):
    """A connection pool for HTTP/1.1 under Trio: `httpx.AsyncClient(transport=PooledTransport())`.

    A request over a reused connection that the server had closed before it can have read the request is sent once more,
    over a new connection.
    """

    def __init__(
        self,
        *,
        max_connections: int | None = None,
        max_idle: int | None = None,
        keepalive: float = KEEPALIVE_SECONDS,
        ssl_context: ssl.SSLContext | None = None,
        network_backend: httpcore.AsyncNetworkBackend | None = None,
    ) -> None:
        """
        Args:
            max_connections: connections in use at the same time; further requests wait, first come, first served. None:
                any number.
            max_idle: idle connections that are kept. None: 64, or `Config.max_idle_connections` of the gateway that
                uses this transport.
            keepalive: seconds for which an idle connection is kept.
            ssl_context: for https. None: the CAs that SSL_CERT_FILE and SSL_CERT_DIR name, otherwise httpx's.
            network_backend: opens connections in place of this machine's network; the simulator has one.
        """

        def make_ssl_context() -> ssl.SSLContext:
            return default_context() if ssl_context is None else ssl_context

        self._has_own_max_idle = max_idle is not None
        self.pool = ConnectionPool(
            _network_of(network_backend, make_ssl_context),
            max_connections=max_connections,
            max_idle=MAX_IDLE_CONNECTIONS if max_idle is None else max_idle,
            keepalive=keepalive,
        )

    def set_max_idle(self, max_idle: int) -> None:
        """Keep at most so many idle connections, unless the program that made this transport chose a number itself."""
        if not self._has_own_max_idle:
            self.pool.max_idle = max_idle

    @property
    def in_use(self) -> int:
        """Connections that carry a request now."""
        return self.pool.in_use

    @property
    def idle(self) -> int:
        """Connections that are kept for later requests."""
        return self.pool.idle

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; return its response when the head has arrived. The caller closes the response.

        The time-outs `connect` and `read` of the request are kept; `read` also counts while the request waits for a
        connection or is sent. Cancelling closes the connection.

        Raises:
            httpx.ConnectError, httpx.PoolTimeout, httpx.ReadTimeout, httpx.ReadError, httpx.RemoteProtocolError
        """
        body = await request.aread()
        headers = {name: value for name, value in request.headers.items() if name not in _FRAMING}
        target = request.url.raw_path.decode("ascii")
        framed = body if body or request.method in ("POST", "PUT", "PATCH") else None
        data = request_bytes(request.method, target, headers, framed)
        times = request.extensions.get("timeout", {})
        connect, read = (_seconds(times.get(what)) for what in ("connect", "read"))
        progress = RequestProgress()
        try:
            with trio.fail_after(read):
                exchange = await self.pool.request(
                    origin_of(request.url), request.method, data, connect_timeout=connect, progress=progress
                )
        except trio.TooSlowError:
            if progress.phase == "pool":
                raise httpx.PoolTimeout("all connections are in use") from None
            raise httpx.ReadTimeout("no response") from None
        except (ConnectError, ConnectionBroken, RemoteProtocolError) as error:
            raise _as_httpx(error) from error
        return httpx.Response(
            exchange.head.status, headers=list(exchange.head.fields), stream=_Body(exchange, read)
        )

    async def retire(self) -> None:
        """Keep no connection from now on. Idle ones are closed now, the others when their responses end."""
        await self.pool.retire()

    async def aclose(self) -> None:
        """Close all connections. A response that is still being read fails with httpx.ReadError."""
        await self.pool.aclose()


@final
class _Body(httpx.AsyncByteStream):
    """The body of one response. Closing it early closes the connection; otherwise the pool gets it back."""

    def __init__(self, exchange: Exchange, timeout: float) -> None:
        self._exchange = exchange
        self._timeout = timeout

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            data = await self._exchange.receive(trio.current_time() + self._timeout)
        except ReadTimeout:
            raise httpx.ReadTimeout("the rest of the response did not arrive in time") from None
        except (ConnectionBroken, RemoteProtocolError) as error:
            raise _as_httpx(error) from error
        if not data:
            raise StopAsyncIteration
        return data

    async def aclose(self) -> None:
        await self._exchange.aclose()


def _network_of(
    backend: httpcore.AsyncNetworkBackend | None, make_ssl_context: MakeSSLContext
) -> NetworkBackend:
    if backend is None:
        return TrioBackend(make_ssl_context)
    from .httpcore_backend import HttpcoreBackend  # here, because few programs need httpcore

    return HttpcoreBackend(backend, make_ssl_context)


def _seconds(timeout: float | None) -> float:
    return math.inf if timeout is None else timeout


# ------------------------------------------------------------------ to and from httpx


def origin_of(url: httpx.URL) -> Origin:
    """Return the origin of `url`, with the default port of its scheme if it names none."""
    secure = url.scheme == "https"
    return Origin(secure, url.raw_host.decode("ascii"), url.port or (443 if secure else 80))


def request_bytes(method: str, target: str, headers: Mapping[str, str], body: bytes | None) -> memoryview:
    """Return a whole request, to be written at once.

    A memoryview, because the bytes contain the API key: a traceback with locals shows only the address of a view.

    Args:
        method: of the request.
        target: path and query.
        headers: without those that frame the body.
        body: None for a request without a body; b"" for a body of length 0.

    Raises:
        httpx.LocalProtocolError: a header contains a line end.
    """
    fields = [*headers.items(), *([("content-length", str(len(body)))] if body is not None else [])]
    try:
        return memoryview(b"%b\r\n%b" % (request_head(method, target, fields), body or b""))
    except ValueError:
        error = httpx.LocalProtocolError("a header that HTTP cannot carry")
    del headers, fields
    raise error


_TO_HTTPX: Mapping[type[Exception], type[httpx.TransportError]] = {
    ConnectError: httpx.ConnectError,
    ConnectionBroken: httpx.ReadError,
    RemoteProtocolError: httpx.RemoteProtocolError,
}


def _as_httpx(error: ConnectError | ConnectionBroken | RemoteProtocolError) -> httpx.TransportError:
    known = next(theirs for ours, theirs in _TO_HTTPX.items() if isinstance(error, ours))
    return known(str(error))
