"""The response to one request: an `Exchange` over a client's stream. Knows no route, no key and no tree.

Heads and chunks are written here and not by h11, whose checks of what we write cost more than the send: a response has
one of three forms, and `_value` lets no value end its line.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from http import HTTPStatus
from typing import final

import trio

from .client_stream import ClientStream
from .exchange import CancelReason, Headers
from .head import RequestHead
from .pace import WritePace

KEEPALIVE_SECONDS = 15.0
"""Without a piece, after which the keepalive is sent: clients and proxies give up after 30 to 60."""
CLEANUP_SECONDS = 0.5
"""For each write after the server has cancelled the route: the drain must end."""
FRAMING = frozenset(
    {b"content-length", b"transfer-encoding", b"connection", b"keep-alive", b"te", b"upgrade"}
)
"""Headers of a response that are the server's; a route's are dropped."""
IDS = (b"x-request-id", b"request-id")
"""Two names, because OpenAI's SDK reads the one and Anthropic's the other."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
_NO_TOKEN = re.compile(r"[^!#$%&'*+.^_`|~0-9a-z-]")

REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"


@final
class HttpExchange:
    """Sends the response to one request. See `exchange.Exchange`.

    Args:
        stream: the client's.
        request: the head of the request. None: it was malformed, and the connection is closed after the response.
        request_id: sent with the response; an attribute.
        write_seconds: that writes may wait for the client, see `WritePace`.

    Attributes:
        nursery: in which the request is answered; `cancel` cancels it. None: it is not answered by a route.
        extra_headers: returns what is sent with the response, besides those of the route.
        release: called before the last bytes are sent, so that a client that has them finds its limits free again.
            Must be harmless when it is called again.
        closes: the connection is closed after the response, and the response says so.
        status: of the response; None before it.
        received: bytes of the request's body, as they came.
        sent: bytes of the body.
        headers: of the response, as the route gave them.
    """

    def __init__(
        self,
        stream: ClientStream,
        request: RequestHead | None,
        *,
        request_id: str,
        write_seconds: float,
    ) -> None:
        self._stream = stream
        self._takes_chunks = request is None or request.takes_chunks
        self._is_head = request is not None and request.method == "HEAD"
        self.request_id = request_id
        self._pace = WritePace(write_seconds)
        self._is_chunked = False
        self.nursery: trio.Nursery | None = None
        self._keepalive = b""
        self._keepalive_sent: trio.Event | None = None  # set when the one that is being written was sent
        self._is_writing = False  # a piece is being written, or that has failed, or the end was sent
        self._written = 0.0  # Trio time at which the last piece was sent
        self.extra_headers: Callable[[], Headers] = tuple
        self.release: Callable[[], None] = lambda: None
        self.closes = request is None or not request.keeps_alive
        self.status: int | None = None
        self.received = 0
        self.sent = 0
        self.headers: Headers = ()
        self.ends_with_connection = False
        """Only the end of the connection says where the body ends (HTTP/1.0)."""
        self.is_broken = False
        """The client has left, or does not read."""
        self.has_ended = False
        """The whole response was sent."""
        self.cancel_reason: CancelReason | None = None

    @property
    def has_begun(self) -> bool:
        """Whether the head of the response was sent, or its sending has begun."""
        return self.status is not None

    @property
    def is_cut_without_a_trace(self) -> bool:
        """Whether the body has not ended, and the end of the connection would look like its end."""
        return self.ends_with_connection and not self.has_ended

    @property
    def keeps_alive(self) -> bool:
        """Whether another request may follow on this connection."""
        return self.has_ended and not self.closes

    def cancel(self, reason: CancelReason) -> None:
        """Cancel what runs in `nursery`. The first reason stays."""
        self.cancel_reason = self.cancel_reason or reason
        self.is_broken = self.is_broken or reason is CancelReason.CLIENT_LEFT
        if self.nursery is not None:
            self.nursery.cancel_scope.cancel()

    async def send_continue(self) -> None:
        """Invite the client to send the body."""
        await self._send(CONTINUE)

    async def respond(self, status: int, headers: Headers, body: bytes) -> None:
        head = self._head(status, headers, len(body))
        data = b"" if self._is_head else body
        self.release()
        await self._send(head + data)
        self.sent = len(data)
        self.has_ended = True

    async def begin(self, status: int, headers: Headers, *, keepalive: bytes = b"") -> None:
        head = self._head(status, headers, None)
        self._is_chunked = self._takes_chunks and not self._is_head
        self.ends_with_connection = not (self._is_chunked or self._is_head)
        await self._send(head)
        self._keepalive = b"" if self._is_head else keepalive
        self._written = trio.current_time()

    async def write(self, data: bytes) -> None:
        self._check_open()
        if not data or self._is_head:
            await trio.lowlevel.checkpoint()
            return
        await self._take_turn()
        await self._send_piece(data)
        self._is_writing = False

    async def end(self) -> None:
        self._check_open()
        await self._take_turn()
        self.release()
        if self._is_chunked:
            await self._send(LAST_CHUNK)
        else:
            await trio.lowlevel.checkpoint()
        self.has_ended = True

    def keep_alive(self, now: float) -> float:
        """Have the keepalive sent if it is due. Called again and again while the request is answered.

        Args:
            now: Trio time.

        Returns:
            When it may be due next.
        """
        nursery, later = self.nursery, now + KEEPALIVE_SECONDS
        if nursery is None or nursery.cancel_scope.cancel_called:  # it may be closed to new tasks already
            return later
        if not self._keepalive or self._is_writing or self._keepalive_sent is not None:
            return later
        due = self._written + KEEPALIVE_SECONDS
        if due > now:
            return due
        self._keepalive_sent = trio.Event()
        nursery.start_soon(self._send_keepalive, self._keepalive_sent)
        return later

    async def _send_keepalive(self, sent: trio.Event) -> None:
        try:
            await self._send_piece(self._keepalive)
        finally:
            self._keepalive_sent = None
            sent.set()

    async def _take_turn(self) -> None:
        """Wait until no keepalive is being written; none is until `_is_writing` is reset."""
        if self._keepalive_sent is not None:
            await self._keepalive_sent.wait()
        self._is_writing = True

    async def _send_piece(self, data: bytes) -> None:
        self.sent += len(data)
        await self._send(b"%x\r\n%b\r\n" % (len(data), data) if self._is_chunked else data)
        self._written = trio.current_time()

    def _check_open(self) -> None:
        if self.status is None or self.has_ended:
            raise RuntimeError("begin comes first, and nothing comes after the end")

    def _head(self, status: int, headers: Headers, length: int | None) -> bytes:
        if self.has_begun:
            raise RuntimeError("a request has one response")
        self.status, self.headers = status, headers
        lines = [b"HTTP/1.1 %d %b" % (status, REASONS.get(status, b""))]
        for name, value in (*headers, *self.extra_headers()):
            field = _name(name)
            if field and field not in FRAMING and field not in IDS:
                lines.append(b"%b: %b" % (field, _value(value)))
        identity = self.request_id.encode()
        lines += [b"%b: %b" % (name, identity) for name in IDS]
        if length is not None:
            lines.append(b"content-length: %d" % length)
        elif self._takes_chunks:
            lines.append(b"transfer-encoding: chunked")
        if self.closes:
            lines.append(b"connection: close")
        lines += (b"", b"")
        return b"\r\n".join(lines)

    async def _send(self, data: bytes) -> None:
        if self.is_broken:
            await trio.lowlevel.checkpoint()
            raise trio.BrokenResourceError("the client has left")
        pace = self._pace if self.cancel_reason is None else WritePace(CLEANUP_SECONDS)
        try:
            await self._stream.send_all(data, pace)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self.is_broken = True
            raise trio.BrokenResourceError(str(error)) from error


@lru_cache(maxsize=256)
def _name(name: str) -> bytes:
    """Return the name of a header. Nearly all are constants of our own."""
    return _NO_TOKEN.sub("-", name.lower()).encode()


def _value(value: str) -> bytes:
    """Return the value of a header, which cannot end its line: it may come from a client or from a provider."""
    if value.isascii() and value.isprintable():
        return value.strip().encode()
    return _CONTROL.sub(" ", value).strip().encode("latin-1", "replace")
