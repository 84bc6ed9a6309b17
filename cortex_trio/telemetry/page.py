"""A live page of a gateway for a browser: one static file, and its snapshots as server-sent events.

    async with open_observer_page(cortex, port=8800) as page:
        print(page.url)

`PAGE` and `event` are all that another HTTP server needs to serve the same page: the file under any folder, the events
as `events` beside it.

There is no password: listen on the loopback interface, or behind a proxy that asks for one. Other sites that are open
in the browser cannot read the page, also not by DNS rebinding: on the loopback interface the Host header must name it.
"""

from __future__ import annotations

import importlib.resources
import ipaddress
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Protocol, final
from urllib.parse import urlsplit

import attrs
import h11
import trio

from ..otp.nursery import open_flat_nursery
from .snapshot import Snapshot
from .snapshot_json import to_json

log = logging.getLogger("cortex_trio")

PAGE = importlib.resources.files("cortex_trio.telemetry").joinpath("page.html").read_bytes()
INTERVAL_SECONDS = 1.0
MOST_STREAMS = 16
"""Browsers that are served at the same time: each costs a snapshot a second."""
MOST_CONNECTIONS = 64
REQUEST_SECONDS = 10.0
"""For the head of a request to arrive."""
SEND_SECONDS = 5.0
"""A browser that takes longer to read a snapshot is disconnected; it connects again by itself."""
RECONNECT_MILLISECONDS = 1000
RECEIVE_BYTES = 16 * 1024
MOST_HEAD_BYTES = 16 * 1024

Headers = Sequence[tuple[str, str]]
COMMON: Headers = (
    ("cache-control", "no-store"),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("connection", "close"),
)
HTML: Headers = (
    ("content-type", "text/html; charset=utf-8"),
    (
        "content-security-policy",
        "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
)
EVENTS: Headers = (("content-type", "text/event-stream"),)
TEXT: Headers = (("content-type", "text/plain; charset=utf-8"),)


class SnapshotSource(Protocol):
    """What the page shows: a `Cortex`, for example."""

    def snapshot(self) -> Snapshot:
        """Return the gateway as it is now."""
        ...


@attrs.frozen
class ObserverPage:
    """A page that is served."""

    url: str
    port: int


@asynccontextmanager
async def open_observer_page(
    cortex: SnapshotSource, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[ObserverPage]:
    """Serve the page of a gateway while the block runs; then all browsers are disconnected.

    Args:
        cortex: the gateway.
        host: the name or address of the interface to listen on.
        port: 0: any that is free.

    Raises:
        OSError: the address cannot be used, or the port is taken.
    """
    listener, *others = await trio.open_tcp_listeners(port, host=host)
    for other in others:  # with port 0 each address of a name would have another port
        await other.aclose()
    address, bound, *_ = listener.socket.getsockname()
    server = _Server(cortex, _names_of(host) if ipaddress.ip_address(address).is_loopback else None)
    async with open_flat_nursery() as nursery:
        nursery.start_soon(partial(trio.serve_listeners, server.serve, [listener]))
        shown = f"[{address}]" if ":" in address else address
        yield ObserverPage(f"http://{shown}:{bound}/", bound)
        nursery.cancel_scope.cancel()


def event(snapshot: Snapshot) -> bytes:
    """Return a snapshot as a server-sent event. JSON has no line breaks outside of strings, and none inside."""
    return b"data: " + to_json(snapshot).encode() + b"\n\n"


def _names_of(host: str) -> frozenset[str]:
    """Return the host names that a request to the loopback interface may have."""
    return frozenset({"localhost", "127.0.0.1", "::1", host.lower()})


@final
class _Server:
    def __init__(self, source: SnapshotSource, names: frozenset[str] | None) -> None:
        self._source = source
        self._names = names  # None: any
        self._connections = self._streams = 0

    async def serve(self, stream: trio.SocketStream) -> None:
        """Serve one connection. What goes wrong in it ends this connection only."""
        self._connections += 1
        try:
            if self._connections <= MOST_CONNECTIONS:
                await self._answer(_Exchange(stream))
        except (trio.BrokenResourceError, h11.RemoteProtocolError, TimeoutError, trio.TooSlowError):
            pass  # the browser has left, is too slow, or speaks no HTTP
        except Exception:
            log.exception("the observer page has failed")
        finally:
            self._connections -= 1
            await trio.aclose_forcefully(stream)

    async def _answer(self, exchange: _Exchange) -> None:
        request = await exchange.request()
        if request is None:
            return
        path = urlsplit(request.target.decode("ascii", "replace")).path
        if self._names is not None and _host_of(request) not in self._names:
            await exchange.respond(421, TEXT, b"This host name is not served here.\n")
        elif request.method not in (b"GET", b"HEAD"):
            await exchange.respond(405, (*TEXT, ("allow", "GET, HEAD")), b"Only GET is served here.\n")
        elif path == "/":
            await exchange.respond(200, HTML, PAGE)
        elif path != "/events":
            await exchange.respond(404, TEXT, b"There is only / and /events.\n")
        elif self._streams >= MOST_STREAMS:
            await exchange.respond(503, TEXT, b"Too many pages are open.\n")
        elif request.method == b"HEAD":
            await exchange.respond(200, EVENTS, b"")
        else:
            await self._stream(exchange)

    async def _stream(self, exchange: _Exchange) -> None:
        self._streams += 1
        try:
            await exchange.begin(200, EVENTS)
            await exchange.send(f"retry: {RECONNECT_MILLISECONDS}\n\n".encode())
            while True:
                await exchange.send(event(self._source.snapshot()))
                await trio.sleep(INTERVAL_SECONDS)
        finally:
            self._streams -= 1


@final
class _Exchange:
    """One request and its response; then the connection is closed."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MOST_HEAD_BYTES)
        self._is_head = False

    async def request(self) -> h11.Request | None:
        """Wait for the head of the request. None: the browser has left."""
        with trio.fail_after(REQUEST_SECONDS):
            while True:
                found = self._http.next_event()
                if isinstance(found, h11.Request):
                    self._is_head = found.method == b"HEAD"
                    return found
                if found is not h11.NEED_DATA:
                    return None
                self._http.receive_data(await self._stream.receive_some(RECEIVE_BYTES))

    async def respond(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a whole response, without its body if the request was HEAD."""
        await self.begin(status, (*headers, ("content-length", str(len(body)))))
        if not self._is_head:
            await self.send(body)
        await self._write(self._http.send(h11.EndOfMessage()))
        await self._stream.send_eof()

    async def begin(self, status: int, headers: Headers) -> None:
        """Send the head of a response."""
        await self._write(self._http.send(h11.Response(status_code=status, headers=[*headers, *COMMON])))

    async def send(self, data: bytes) -> None:
        """Send a part of the body."""
        await self._write(self._http.send(h11.Data(data)))

    async def _write(self, data: bytes | None) -> None:
        if data:
            with trio.fail_after(SEND_SECONDS):
                await self._stream.send_all(data)


def _host_of(request: h11.Request) -> str | None:
    """Return the name in the Host header in lower case, without its port. None: there is none."""
    for name, value in request.headers:
        if name == b"host":
            try:
                return urlsplit("//" + value.decode("ascii")).hostname
            except ValueError:
                return None
    return None
