"""One worker's way to its provider: address and credentials around a dialect's request, errors mapped to `Failure`s.

    Connections ── PooledTransport ── pool (connections) ── http1 (bytes), sockets
         └──────── any httpx.AsyncBaseTransport of the user's

Our own transport is asked directly; the objects of httpx, 80 µs for each request, are made only
for a transport that wants them. What httpx raises is mapped here, once, and so is what our own connections raise.
"""

from __future__ import annotations

import logging
import math
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Protocol, final

import httpx
import trio

from ..failures import Failure, FailureKind
from ..failures.kinds import Phase
from ..wire.codec import HttpRequest
from .config import WorkerConfig
from .http1 import BadAnswer, BrokenOff
from .pool import Exchange, Pool, Progress, TooLate
from .pooled_transport import PooledTransport, origin_of, request_bytes
from .secrets import ApiKey
from .sockets import CLOSE_SECONDS, CannotConnect
from .watchdog import Watchdog

log = logging.getLogger("cortex_trio")

USER_AGENT = "cortex-trio"
UNWIND_PIECES = 1_000
"""What may have been read from the socket and not yet from the transport, when an answer is left early."""

MakeTransport = Callable[[WorkerConfig], httpx.AsyncBaseTransport]


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
        transport: httpx.AsyncBaseTransport | None = None,
        sharers: Counter[int] | None = None,
    ) -> None:
        kind = config.kind
        url = httpx.URL((config.base_url or kind.base_url).rstrip("/"))
        self._base_url = url
        self._origin = origin_of(url)
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
        self._sharers = Counter[int]() if sharers is None else sharers
        self._sharers[id(self.transport)] += 1
        self._closed = False
        self.users = (
            0  # attempts that hold these connections; a reload does not close them while there are any
        )

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

        With a `watchdog` the deadlines of `Answer.receive` are cheaper. `fresh` asks for a new connection. `progress`
        says how far the request came, also when it failed or was cancelled. Only our own transport knows the three.
        """
        headers = {**self._headers, **request.headers}
        if key is not None:
            headers[self._auth.header.lower()] = f"{self._auth.prefix}{key.reveal()}"
        try:
            if isinstance(self.transport, PooledTransport):
                return await self._send_directly(
                    self.transport.pool, request, headers, connect_timeout, watchdog, fresh, progress
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
        fresh: bool,
        progress: Progress | None,
    ) -> Answer:
        target = f"{self._path}{request.path}"
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
        except httpx.LocalProtocolError as error:
            raise TransportFailed(_httpx_failure(error, "connect")) from None
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
    """Makes the connections of one gateway's workers; a transport that `make_transport` gives to several is shared."""

    def __init__(self, make_transport: MakeTransport | None) -> None:
        self._make_transport = make_transport
        self._sharers = Counter[int]()

    def __call__(self, config: WorkerConfig) -> Connections:
        transport = self._make_transport(config) if self._make_transport else None
        return Connections(config, transport, self._sharers)


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
        self._reading = False

    async def receive(self, deadline: float = math.inf) -> bytes:
        if self._reading:  # told here, for two in one generator end the first one's reading as well
            raise trio.BusyResourceError("another task is reading this answer")
        self._reading = True
        try:
            with trio.move_on_at(deadline):
                async for data in self._chunks:
                    if data:
                        return data
                return b""
        except Exception as error:
            raise TransportFailed(_httpx_failure(error, "stream")) from error
        finally:
            self._reading = False
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
