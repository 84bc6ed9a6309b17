"""One worker's way to its provider: address and credentials around a dialect's request, errors mapped to `Failure`s.

    Connections ── PooledTransport ── pool (connections) ── http1 (bytes), sockets
         └──────── foreign_transport, of httpx or httpx2: for a proxy, for HTTP/2, or one of the user's

Our own transport is asked directly; the objects of httpx, 80 µs for each request, are made only
for a transport that wants them. `way` chooses the transport, `redirects` where a request may be sent on to, and
`transport_failures` says what an exception proves.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Protocol, final
from urllib.parse import quote, urlencode

import httpx
import trio

from ...failures import Failure
from ...http.deadlines import Deadlines
from ...http.http1 import ConnectionBroken, RemoteProtocolError
from ...http.pool import MAX_IDLE, Exchange, Pool, Progress
from ...http.sockets import CLOSE_SECONDS, ConnectError
from ...http.transport import PooledTransport, origin_of, request_bytes
from ...wire.codec import HttpRequest
from ..settings.config import WorkerConfig, environment
from ..settings.connection_settings import ConnectionSettings, connection_settings_for, transport_for
from ..settings.secrets import ApiKey
from .errors import Secrets, transport_failed
from .errors import TransportFailed as TransportFailed
from .foreign import Transport, check_factory, check_transport, send_by_httpx
from .redirects import MOST_REDIRECTS, next_target

log = logging.getLogger("cortex_trio")

USER_AGENT = "cortex-trio"
MakeTransport = Callable[[WorkerConfig], Transport]


class Answer(Protocol):
    """An open answer: status and headers (names in lower case) are here, the body is still coming."""

    status: int
    headers: Mapping[str, str]

    async def receive(self, deadline: float = math.inf) -> bytes:
        """The next bytes of the body, b"" once at its end.

        Raises TransportFailed when the connection breaks, ReadTimeout when nothing came before `deadline` (Trio time),
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
        way: ConnectionSettings | None = None,
        max_idle: int = MAX_IDLE,
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
        self.max_idle = max_idle
        self.transport: Transport = transport if transport is not None else PooledTransport()
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
        deadlines: Deadlines | None = None,
        fresh: bool = False,
        progress: Progress | None = None,
    ) -> Answer:
        """Send `request` and return its answer, body still open: the caller closes it. Raises TransportFailed.

        307 and 308 to the same origin are followed; any other redirect is a failure that names the place.
        With a `deadlines` the deadlines of `Answer.receive` are cheaper. `fresh` asks for a new connection. `progress`
        says how far the request came, also when it failed or was cancelled. Only our own transport knows the three.
        """
        target = self._with_query(f"{self._path}{request.path}")
        for left in range(MOST_REDIRECTS, -1, -1):
            answer = await self._send_once(request, target, key, connect_timeout, deadlines, fresh, progress)
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
        deadlines: Deadlines | None,
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
                    deadlines,
                    fresh,
                    progress,
                )
            url = self._base_url.copy_with(raw_path=target.encode("ascii"))
            return await send_by_httpx(self.transport, request, url, headers, secrets, connect_timeout)
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
        deadlines: Deadlines | None,
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
                deadlines=deadlines,
                fresh=fresh,
                progress=progress,
            )
            return _PooledAnswer(exchange, secrets)
        except (httpx.LocalProtocolError, ConnectError, ConnectionBroken, RemoteProtocolError) as error:
            failed = transport_failed(error, "headers", secrets)
        finally:
            del headers
        try:
            raise failed
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

    Without `make_transport`, each worker's configuration and the environment choose its transport. `max_idle` is how
    many connections each transport keeps for later requests; a change counts for those that are made from then on.
    """

    def __init__(self, make_transport: MakeTransport | None, max_idle: int = MAX_IDLE) -> None:
        if make_transport is not None:
            check_factory(make_transport)
        self.max_idle = max_idle
        self._make_transport = make_transport
        self._sharers = Counter[int]()

    def __call__(self, config: WorkerConfig) -> Connections:
        """Return a worker's connections. Raises ConfigError for a proxy, a CA file or a transport that is none."""
        way: ConnectionSettings | None = None
        if self._make_transport is None:
            way = connection_settings_for(config, environment())
            transport: Transport = transport_for(way, self.max_idle)
        else:
            transport = self._make_transport(config)
            check_transport(transport)
            if isinstance(transport, PooledTransport):
                transport.keep_at_most(self.max_idle)
        return Connections(config, transport, self._sharers, way, self.max_idle)

    def check(self, config: WorkerConfig) -> None:
        """Raise ConfigError if a worker's proxy or CA file cannot be used."""
        if self._make_transport is None:
            connection_settings_for(config, environment())

    def is_out_of_date(self, connections: Connections, config: WorkerConfig) -> bool:
        """Would they be made another way now: the environment, a CA file or `max_idle` has changed?"""
        if connections.max_idle != self.max_idle:
            return True
        return (
            self._make_transport is None and connection_settings_for(config, environment()) != connections.way
        )


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
        except (ConnectionBroken, RemoteProtocolError) as error:
            failed = transport_failed(error, "stream", self._secrets)
        try:
            raise failed
        finally:
            del failed  # its traceback holds this frame: a circle

    async def aclose(self) -> None:
        await self._exchange.aclose()
