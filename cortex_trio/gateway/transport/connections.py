"""The connections of one worker: they add address and API key to a dialect's request, and send it.

    Connections ── PooledTransport ── ConnectionPool ── Exchange ── ResponseParser, NetworkStream
         └──────── a transport of httpx or httpx2: for a proxy, for HTTP/2, or the user's own

The pool of our own transport is called directly. Making httpx's request and response objects takes 80 µs for each
request, so they are made only for a foreign transport.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from typing import NamedTuple, final
from urllib.parse import quote, urlencode

import httpx
import trio

from ...failures import Failure
from ...http.deadlines import Deadlines
from ...http.defaults import MAX_IDLE_CONNECTIONS
from ...http.errors import ConnectError, ConnectionBroken, RemoteProtocolError
from ...http.exchange import RequestProgress
from ...http.network import CLOSE_SECONDS, Origin
from ...http.pool import ConnectionPool
from ...http.transport import PooledTransport, origin_of, request_bytes
from ...wire.codec import HttpRequest
from ..settings.config import WorkerConfig, environment
from ..settings.connection_settings import ConnectionSettings, connection_settings_for
from ..settings.secrets import ApiKey
from .default_transport import transport_for
from .errors import Secrets, transport_failed
from .errors import TransportFailed as TransportFailed
from .foreign import Transport, check_factory, check_transport, send_by_httpx
from .redirects import MAX_REDIRECTS, next_target
from .response import Response

log = logging.getLogger("cortex_trio")

USER_AGENT = "cortex-trio"
MakeTransport = Callable[[WorkerConfig], Transport]


class _Options(NamedTuple):
    """The arguments of `Connections.send` that its helpers pass on unchanged."""

    connect_timeout: float
    deadlines: Deadlines | None
    fresh: bool
    progress: RequestProgress | None


@final
class Connections:
    """Where the requests of one worker go: its address, its headers, its transport.

    Attributes:
        settings: proxy, TLS context and HTTP version; None if the program passes transports of its own.
        max_idle: idle connections that the transport keeps.
        transport: may be shared with other workers if the program returns one for several.
        users: attempts that hold these connections. A reload closes them only when there are none.
    """

    def __init__(
        self,
        config: WorkerConfig,
        transport: Transport | None = None,
        sharers: Counter[int] | None = None,
        settings: ConnectionSettings | None = None,
        max_idle: int = MAX_IDLE_CONNECTIONS,
    ) -> None:
        """
        Args:
            config: of the worker.
            transport: None: a new PooledTransport.
            sharers: how many Connections use each transport, by its id. The last one closes it.
            settings: those with which `transport` was made.
            max_idle: the number with which `transport` was made.
        """
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
            "accept-encoding": "identity",  # a compressed stream arrives later, and may decompress to any size
            **kind.headers,
            **config.headers,
            **{name: secret.reveal() for name, secret in config.secret_headers.items()},
        }
        self._headers = {name.lower(): value for name, value in headers.items()}
        self._secrets: Secrets = tuple(config.secret_headers.values())
        del headers  # some are secrets, and a traceback with locals would show them
        self.settings = settings
        self.max_idle = max_idle
        self.transport: Transport = transport if transport is not None else PooledTransport()
        self._sharers = Counter[int]() if sharers is None else sharers
        self._sharers[id(self.transport)] += 1
        self._is_closed = False
        self.users = 0

    @property
    def origin(self) -> Origin:
        """The host and the port of the worker's address. A proxy does not change it."""
        return self._origin

    async def send(
        self,
        request: HttpRequest,
        key: ApiKey | None,
        *,
        connect_timeout: float,
        deadlines: Deadlines | None = None,
        fresh: bool = False,
        progress: RequestProgress | None = None,
    ) -> Response:
        """Send `request`; return its response when the head has arrived. The caller closes the response.

        Redirects 307 and 308 to the same origin are followed. Any other redirect is a failure that names its target.
        Cancelling closes the connection. Foreign transports ignore `deadlines`, `fresh` and `progress`.

        Args:
            request: of a dialect, without address and API key.
            key: None for a provider without keys.
            connect_timeout: seconds for a new connection, TLS included.
            deadlines: makes the deadlines of `Response.receive` cheaper.
            fresh: use a new connection.
            progress: updated while this waits; it keeps its last value after an error or a cancellation.

        Raises:
            TransportFailed: there is no response; its Failure contains no secret.
        """
        options = _Options(connect_timeout, deadlines, fresh, progress)
        target = self._with_query(f"{self._path}{request.path}")
        for left in range(MAX_REDIRECTS, -1, -1):
            response = await self._send_once(request, target, key, options)
            if response.status < 300 or response.status >= 400:
                return response
            url = self._base_url.copy_with(raw_path=target.encode("ascii"))
            redirect = next_target(response.status, response.headers, url, left)
            if redirect is None:
                return response
            await response.aclose()
            if isinstance(redirect, Failure):
                raise TransportFailed(redirect)
            target = redirect
        raise AssertionError("next_target returns a Failure when no redirect is left")

    def _with_query(self, target: str) -> str:
        if not self._query:
            return target
        return f"{target}{'&' if '?' in target else '?'}{self._query}"

    async def _send_once(
        self, request: HttpRequest, target: str, key: ApiKey | None, options: _Options
    ) -> Response:
        headers = {**self._headers, **request.headers}
        secrets = self._secrets if key is None else (key, *self._secrets)
        if key is not None:
            headers[self._auth.header.lower()] = f"{self._auth.prefix}{key.reveal()}"
        try:
            if isinstance(self.transport, PooledTransport):
                pool = self.transport.pool
                return await self._send_by_pool(pool, request, target, headers, secrets, options)
            url = self._base_url.copy_with(raw_path=target.encode("ascii"))
            timeout = options.connect_timeout
            return await send_by_httpx(self.transport, request, url, headers, secrets, timeout)
        finally:
            del headers  # they contain the API key, and a traceback with locals would show it

    async def _send_by_pool(
        self,
        pool: ConnectionPool,
        request: HttpRequest,
        target: str,
        headers: Mapping[str, str],
        secrets: Secrets,
        options: _Options,
    ) -> Response:
        try:
            data = request_bytes(request.method, target, headers, request.body)
            exchange = await pool.request(
                self._origin,
                request.method,
                data,
                connect_timeout=options.connect_timeout,
                deadlines=options.deadlines,
                fresh=options.fresh,
                progress=options.progress,
            )
            return Response(exchange.head.status, exchange.head.headers, exchange, secrets)
        except (httpx.LocalProtocolError, ConnectError, ConnectionBroken, RemoteProtocolError) as error:
            failed = transport_failed(error, "headers", secrets)
        finally:
            del headers
        try:
            raise failed
        finally:
            del failed  # its traceback holds this frame: a reference cycle

    async def retire(self) -> None:
        """Expect no more requests; those in flight may end. A foreign transport is closed only by `aclose`."""
        if isinstance(self.transport, PooledTransport) and self._sharers[id(self.transport)] == 1:
            await self.transport.retire()

    async def aclose(self) -> None:
        """Close the transport, unless other workers share it. Never raises, never waits longer than CLOSE_SECONDS."""
        if self._is_closed:
            return
        self._is_closed = True
        self._sharers[id(self.transport)] -= 1
        if self._sharers[id(self.transport)]:
            return
        del self._sharers[id(self.transport)]  # an id may be used again, and the counter must not grow
        with trio.move_on_after(CLOSE_SECONDS, shield=True):
            try:
                await self.transport.aclose()
            except Exception:  # of a foreign transport; the others must still be closed
                log.exception("a transport could not be closed")


@final
class Connector:
    """Makes the connections of all workers of one gateway.

    Attributes:
        max_idle: idle connections that each transport keeps. A change counts for connections that are made later.
    """

    def __init__(self, make_transport: MakeTransport | None, max_idle: int = MAX_IDLE_CONNECTIONS) -> None:
        """
        Args:
            make_transport: returns the transport of a worker; one that it returns for several workers is shared. None:
                the configuration of each worker and the environment choose the transport.
            max_idle: idle connections that each transport keeps.

        Raises:
            ConfigError: `make_transport` is a transport and not a function that returns one.
        """
        if make_transport is not None:
            check_factory(make_transport)
        self.max_idle = max_idle
        self._make_transport = make_transport
        self._sharers = Counter[int]()

    def __call__(self, config: WorkerConfig) -> Connections:
        """Return new connections for a worker.

        Raises:
            ConfigError: a proxy or a CA file cannot be used, or `make_transport` returned no transport.
        """
        settings: ConnectionSettings | None = None
        if self._make_transport is None:
            settings = connection_settings_for(config, environment())
            transport: Transport = transport_for(settings, self.max_idle)
        else:
            transport = self._make_transport(config)
            check_transport(transport)
            if isinstance(transport, PooledTransport):
                transport.set_max_idle(self.max_idle)
        return Connections(config, transport, self._sharers, settings, self.max_idle)

    def check(self, config: WorkerConfig) -> None:
        """Check what can only be checked with the environment.

        Raises:
            ConfigError: the proxy or the CA file of a worker cannot be used.
        """
        if self._make_transport is None:
            connection_settings_for(config, environment())

    def is_out_of_date(self, connections: Connections, config: WorkerConfig) -> bool:
        """Whether new connections would differ: the environment, a CA file or `max_idle` has changed."""
        if connections.max_idle != self.max_idle:
            return True
        if self._make_transport is not None:
            return False
        return connection_settings_for(config, environment()) != connections.settings
