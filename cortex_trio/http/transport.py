"""Our connections behind httpx's interface, for callers with an httpx of their own."""

from __future__ import annotations

import math
import ssl
from collections.abc import AsyncIterator, Mapping
from typing import final

import httpcore
import httpx
import trio

from .certificates import default_context
from .http1 import ConnectionBroken, RemoteProtocolError, request_head
from .network import TrioNetwork
from .pool import KEEPALIVE_SECONDS, MAX_IDLE, Exchange, Pool, Progress
from .sockets import BackendNetwork, ConnectError, Network, Origin


@final
class PooledTransport(httpx.AsyncBaseTransport):
    """Our connections behind httpx's interface: `httpx.AsyncClient(transport=PooledTransport())`.

    `max_connections` bounds those in use; further requests wait their turn, first come first served. `max_idle`
    bounds those that are kept, for `keepalive` seconds each; None: 64, or `Config.max_idle_connections` of the gateway
    that uses it. Without `ssl_context` the environment says which CAs to trust. A `network_backend` stands in for the
    network (the simulator brings one). A request over a kept connection that the server had closed before it can have
    read the request is sent once more, over a new one.
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
        context = default_context if ssl_context is None else lambda: ssl_context
        network: Network = TrioNetwork(context)
        if network_backend is not None:
            network = BackendNetwork(network_backend, context)
        self._has_own_bound = max_idle is not None
        kept = MAX_IDLE if max_idle is None else max_idle
        self.pool = Pool(network, max_connections=max_connections, max_idle=kept, keepalive=keepalive)

    def keep_at_most(self, max_idle: int) -> None:
        """For `Connector`: bound the kept connections, unless this was made with a bound of its own."""
        if not self._has_own_bound:
            self.pool.max_idle = max_idle

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
        data = request_bytes(request.method, target, headers, framed)
        times = request.extensions.get("timeout", {})
        connect, read = (_seconds(times.get(what)) for what in ("connect", "read"))
        progress = Progress()
        try:
            with trio.fail_after(read):
                exchange = await self.pool.request(
                    origin_of(request.url), request.method, data, connect_timeout=connect, progress=progress
                )
        except trio.TooSlowError:
            if progress.phase == "place":
                raise httpx.PoolTimeout("all connections are in use") from None
            raise httpx.ReadTimeout("no answer") from None
        except (ConnectError, ConnectionBroken, RemoteProtocolError) as error:
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
        except (ConnectionBroken, RemoteProtocolError) as error:
            raise _as_httpx(error) from error
        if not data:
            raise StopAsyncIteration
        return data

    async def aclose(self) -> None:
        await self._exchange.aclose()


# ------------------------------------------------------------------ to and from httpx


def origin_of(url: httpx.URL) -> Origin:
    """Whom to connect to."""
    secure = url.scheme == "https"
    return Origin(secure, url.raw_host.decode("ascii"), url.port or (443 if secure else 80))


def request_bytes(method: str, target: str, headers: Mapping[str, str], body: bytes | None) -> memoryview:
    """A whole request, written at once. Raises httpx.LocalProtocolError if a header would end its line.

    A view, for it holds the key: of one, a traceback with locals shows the address alone.
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
