"""One worker's way to its provider: address and credentials around a dialect's request, errors mapped to `Failure`s.

    Connections ── PooledTransport ── pool (connections) ── http1 (bytes), sockets
         └──────── a transport of httpx or httpx2: for a proxy, for HTTP/2, or one of the user's

Our own transport is asked directly; the objects of httpx, 80 µs for each request, are made only
for a transport that wants them. `way` chooses the transport, `redirects` where a request may be sent on to, and
`transport_failures` says what an exception proves.
"""

from __future__ import annotations

import inspect
import logging
import math
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from types import ModuleType
from typing import Any, Protocol, final
from urllib.parse import quote, urlencode

import httpx
import trio

from ..failures import ConfigError, Failure
from ..wire.codec import HttpRequest
from .config import WorkerConfig, environment
from .http1 import BadAnswer, BrokenOff
from .pool import Exchange, Pool, Progress, TooLate
from .pooled_transport import PooledTransport, origin_of, request_bytes
from .redirects import MOST_REDIRECTS, next_target
from .secrets import ApiKey
from .sockets import CLOSE_SECONDS, CannotConnect
from .transport_failures import LIBRARIES, transport_failed
from .transport_failures import TransportFailed as TransportFailed
from .watchdog import Watchdog
from .way import Way, transport_for, way_of

log = logging.getLogger("cortex_trio")

USER_AGENT = "cortex-trio"
UNWIND_PIECES = 1_000
"""What may have been read from the socket and not yet from the transport, when an answer is left early."""


class Transport(Protocol):
    """What a transport of httpx, of httpx2 or of your own has: these two methods.

    The response has `status_code`, `headers` and, as `stream`, an async iterable of bytes with an `aclose`.
    """

    async def handle_async_request(self, request: Any, /) -> Any: ...

    async def aclose(self) -> None: ...


Secrets = tuple[ApiKey, ...]
"""What a request shows to its provider and an error must not repeat."""
MakeTransport = Callable[[WorkerConfig], Transport]


class Answer(Protocol):
    """An open answer: status and headers (names in lower case) are here, the body is still coming."""

    status: int
    headers: Mapping[str, str]

    async def receive(self, deadline: float = math.inf) -> bytes:
        """The next bytes of the body, b"" once at its end.

        Raises TransportFailed when the connection breaks, TooLate when nothing came before `deadline` (Trio time),
        trio.BusyResourceError while another task waits here.
        """
        ...

    async def aclose(self) -> None:
        """Give the connection back, or close it if the body was not read to its end. Never raises, never waits long."""
        ...


@final
class Connections:
    """Where one worker's requests go: its address, its headers, its transport.

    `sharers` counts the Connections on one transport (by id), where one may serve several: the last one closes it.
    """

    def __init__(
        self,
        config: WorkerConfig,
        transport: Transport | None = None,
        sharers: Counter[int] | None = None,
        way: Way | None = None,
    ) -> None:
        kind = config.kind
        url = httpx.URL(config.address)
        self._base_url = url
        self._origin = origin_of(url)
        self._path = url.raw_path.decode("ascii").rstrip("/")
        self._query = urlencode(dict(config.query), quote_via=quote)
        self._auth = kind.auth
        headers = {
            "host": url.netloc.decode("ascii"),
            "user-agent": USER_AGENT,
            "accept-encoding": "identity",  # a stream is read as it comes; nothing is unpacked unbounded
            **kind.headers,
            **config.headers,
            **{name: secret.reveal() for name, secret in config.secret_headers.items()},
        }
        self._headers = {name.lower(): value for name, value in headers.items()}
        self._secrets: Secrets = tuple(config.secret_headers.values())
        del headers  # some are secrets, and a traceback with locals would show them
        self.way = way
        self.transport: Transport = transport if transport is not None else PooledTransport()
        self._httpx = _httpx_of(self.transport)
        self._sharers = Counter[int]() if sharers is None else sharers
        self._sharers[id(self.transport)] += 1
        self._closed = False
        self.users = 0  # attempts that hold these connections; a reload closes them only when there are none

    async def send(
        self,
        request: HttpRequest,
        key: ApiKey | None,
        *,
        connect_timeout: float,
        watchdog: Watchdog | None = None,
        fresh: bool = False,
        progress: Progress | None = None,
    ) -> Answer:
        """Send `request` and return its answer, body still open: the caller closes it. Raises TransportFailed.

        307 and 308 to the same origin are followed; any other redirect is a failure that names the place.
        With a `watchdog` the deadlines of `Answer.receive` are cheaper. `fresh` asks for a new connection. `progress`
        says how far the request came, also when it failed or was cancelled. Only our own transport knows the three.
        """
        target = self._with_query(f"{self._path}{request.path}")
        for left in range(MOST_REDIRECTS, -1, -1):
            answer = await self._send_once(request, target, key, connect_timeout, watchdog, fresh, progress)
            if answer.status < 300 or answer.status >= 400:
                return answer
            url = self._base_url.copy_with(raw_path=target.encode("ascii"))
            further = next_target(answer.status, answer.headers, url, left)
            if further is None:
                return answer
            await answer.aclose()
            if isinstance(further, Failure):
                raise TransportFailed(further)
            target = further
        raise AssertionError("next_target gives a Failure when no redirect is left")

    def _with_query(self, target: str) -> str:
        if not self._query:
            return target
        return f"{target}{'&' if '?' in target else '?'}{self._query}"

    async def _send_once(
        self,
        request: HttpRequest,
        target: str,
        key: ApiKey | None,
        connect_timeout: float,
        watchdog: Watchdog | None,
        fresh: bool,
        progress: Progress | None,
    ) -> Answer:
        headers = {**self._headers, **request.headers}
        secrets = self._secrets if key is None else (key, *self._secrets)
        if key is not None:
            headers[self._auth.header.lower()] = f"{self._auth.prefix}{key.reveal()}"
        try:
            if isinstance(self.transport, PooledTransport):
                return await self._send_directly(
                    self.transport.pool,
                    request,
                    target,
                    headers,
                    secrets,
                    connect_timeout,
                    watchdog,
                    fresh,
                    progress,
                )
            return await self._send_by_httpx(
                self.transport, request, target, headers, secrets, connect_timeout
            )
        finally:
            del headers  # they hold the key, and a traceback with locals would show it

    async def _send_directly(
        self,
        pool: Pool,
        request: HttpRequest,
        target: str,
        headers: Mapping[str, str],
        secrets: Secrets,
        connect_timeout: float,
        watchdog: Watchdog | None,
        fresh: bool,
        progress: Progress | None,
    ) -> Answer:
        try:
            data = request_bytes(request.method, target, headers, request.body)
            exchange = await pool.request(
                self._origin,
                request.method,
                data,
                connect_timeout=connect_timeout,
                watchdog=watchdog,
                fresh=fresh,
                progress=progress,
            )
            return _PooledAnswer(exchange, secrets)
        except (httpx.LocalProtocolError, CannotConnect, BrokenOff, BadAnswer) as error:
            failed = transport_failed(error, "headers", secrets)
        finally:
            del headers
        try:
            raise failed
        finally:
            del failed  # its traceback holds this frame: a circle

    async def _send_by_httpx(
        self,
        transport: Transport,
        request: HttpRequest,
        target: str,
        headers: Mapping[str, str],
        secrets: Secrets,
        connect_timeout: float,
    ) -> Answer:
        http_request = self._httpx.Request(
            request.method,
            self._httpx.URL(str(self._base_url)).copy_with(raw_path=target.encode("ascii")),
            headers=headers,
            content=request.body,
            extensions={"timeout": {"connect": connect_timeout}},
        )
        try:
            response = await transport.handle_async_request(http_request)
            if not hasattr(response.stream, "__aiter__"):
                raise TypeError("a body that is not async-iterable")
            return _HttpxAnswer(response, secrets)
        except Exception as error:
            failed = transport_failed(error, "headers", secrets)
        finally:
            del headers, http_request
        try:
            raise failed  # outside of the handler: what it was made of may repeat a secret
        finally:
            del failed  # its traceback holds this frame: a circle

    async def retire(self) -> None:
        """No more requests will come; those in flight may end. A transport that is not ours is closed with `aclose`."""
        if isinstance(self.transport, PooledTransport) and self._sharers[id(self.transport)] == 1:
            await self.transport.retire()

    async def aclose(self) -> None:
        """Close all connections, unless others use them, too. Never raises, never waits long."""
        if self._closed:
            return
        self._closed = True
        self._sharers[id(self.transport)] -= 1
        if self._sharers[id(self.transport)]:
            return
        del self._sharers[id(self.transport)]  # workers that come and go leave nothing behind
        with trio.move_on_after(CLOSE_SECONDS, shield=True):
            try:
                await self.transport.aclose()
            except Exception:  # of a transport of the user's; the others are still to be closed
                log.exception("a transport could not be closed")


@final
class Connector:
    """Makes the connections of one gateway's workers; a transport that `make_transport` gives to several is shared.

    Without `make_transport`, each worker's configuration and the environment choose its transport.
    """

    def __init__(self, make_transport: MakeTransport | None) -> None:
        if make_transport is not None:
            _check_factory(make_transport)
        self._make_transport = make_transport
        self._sharers = Counter[int]()

    def __call__(self, config: WorkerConfig) -> Connections:
        """Return a worker's connections. Raises ConfigError for a proxy, a CA file or a transport that is none."""
        if self._make_transport is None:
            way = way_of(config, environment())
            return Connections(config, transport_for(way), self._sharers, way)
        transport = self._make_transport(config)
        _check_transport(transport)
        return Connections(config, transport, self._sharers)

    def check(self, config: WorkerConfig) -> None:
        """Raise ConfigError if a worker's proxy or CA file cannot be used."""
        if self._make_transport is None:
            way_of(config, environment())

    def is_out_of_date(self, connections: Connections, config: WorkerConfig) -> bool:
        """Would they be made another way now, because the environment or a CA file has changed?"""
        return self._make_transport is None and way_of(config, environment()) != connections.way


_PASS_A_FUNCTION = (
    "pass a function that returns one: http_transport=lambda worker: httpx.AsyncHTTPTransport()"
)


def _check_factory(make_transport: object) -> None:
    is_class = isinstance(make_transport, type)
    kind = make_transport if isinstance(make_transport, type) else type(make_transport)
    handles = hasattr(kind, "handle_async_request") or hasattr(kind, "handle_request")
    if handles and not is_class:
        raise ConfigError("http_transport", f"this is a transport, {kind.__name__}; {_PASS_A_FUNCTION}")
    if handles and kind.__module__.partition(".")[0] in LIBRARIES:  # one of the user's may take a worker
        raise ConfigError("http_transport", f"this is the class {kind.__name__}; {_PASS_A_FUNCTION}")
    if not callable(make_transport):
        raise ConfigError("http_transport", f"this is of type {kind.__name__}; {_PASS_A_FUNCTION}")


def _check_transport(transport: object) -> None:
    if inspect.iscoroutine(transport):
        transport.close()
        raise ConfigError("http_transport", f"the function is async; {_PASS_A_FUNCTION}")
    if not (hasattr(transport, "handle_async_request") and hasattr(transport, "aclose")):
        kind = type(transport).__name__
        raise ConfigError(
            "http_transport",
            f"the function returned a value of type {kind}, which has no handle_async_request and aclose",
        )


def _httpx_of(transport: Transport) -> ModuleType:
    """The library, httpx or httpx2, whose Request a transport takes: that of its base, else of its annotation."""
    handle = getattr(type(transport), "handle_async_request", None)
    annotations = getattr(handle, "__annotations__", {}).values()
    modules = [
        *(kind.__module__ for kind in type(transport).__mro__),
        *(text if isinstance(text, str) else getattr(text, "__module__", "") for text in annotations),
    ]
    roots = [module.partition(".")[0] for module in modules]
    name = next((root for root in roots if root in ("httpx", "httpx2")), "httpx")
    return sys.modules.get(name, httpx)


# ------------------------------------------------------------------ answers


@final
class _PooledAnswer:
    def __init__(self, exchange: Exchange, secrets: Secrets) -> None:
        self.status = exchange.head.status
        self.headers = exchange.head.headers
        self._exchange = exchange
        self._secrets = secrets

    async def receive(self, deadline: float = math.inf) -> bytes:
        try:
            return await self._exchange.receive(deadline)
        except (BrokenOff, BadAnswer) as error:
            failed = transport_failed(error, "stream", self._secrets)
        try:
            raise failed
        finally:
            del failed  # its traceback holds this frame: a circle

    async def aclose(self) -> None:
        await self._exchange.aclose()


@final
class _HttpxAnswer:
    def __init__(self, response: Any, secrets: Secrets) -> None:  # of httpx, of httpx2, or of the user's
        self.status: int = response.status_code
        self.headers: Mapping[str, str] = {name.lower(): value for name, value in response.headers.items()}
        self._stream = response.stream
        self._chunks: AsyncIterator[bytes] = self._stream.__aiter__()
        self._reading = False
        self._secrets = secrets

    async def receive(self, deadline: float = math.inf) -> bytes:
        if self._reading:  # told here, for two in one generator end the first one's reading as well
            raise trio.BusyResourceError("another task is reading this answer")
        self._reading = True
        failed: Exception = TooLate()
        try:
            with trio.move_on_at(deadline):
                async for data in self._chunks:
                    if data:
                        return data
                return b""
        except Exception as error:
            failed = transport_failed(error, "stream", self._secrets)
        finally:
            self._reading = False
        try:
            raise failed
        finally:
            del failed  # its traceback holds this frame: a circle

    async def aclose(self) -> None:
        bodies = {id(body): body for body in (self._chunks, self._stream)}  # a stream may be its own iterator
        closings = [getattr(body, "aclose", None) for body in bodies.values()]
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
