"""One request and its response on one connection. The response is read while the request is still being sent.

The pool makes an exchange and takes the connection back when it is closed. An exchange keeps no connections.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Literal, final

import attrs
import trio

from .deadlines import Deadlines
from .errors import ConnectionBroken, ReadTimeout, ServerDisconnected
from .http1 import ResponseHead, ResponseParser
from .network import NetworkStream

CLOSED_WHILE_IDLE_SECONDS = 0.1
"""A reused connection that ends so soon after a request was closed before the request can have arrived.

A server's close and a request can cross for at most one round trip. A server that closes later can have read the
request and worked on it, and may charge for it.
"""

Release = Callable[[bool], Awaitable[None]]
"""Gives the connection back to the pool. The argument says whether it may carry another request."""
_BROKEN = (trio.BrokenResourceError, trio.ClosedResourceError)


@attrs.define
class RequestProgress:
    """How far a request has come. The pool writes it; a caller that gives the request up reads it."""

    phase: Literal["pool", "connect", "send", "headers"] | None = None
    """What the request waits for: a free connection of the pool, a new connection, the network to take the request,
    or the head of the response. None if the transport does not report it."""
    reused: bool = False
    """Whether the connection that carries the request had carried one before."""


@final
class Exchange:
    """One request and its response on one connection.

    Attributes:
        head: status and headers of the response; set before the pool returns the exchange.
        reused: whether the connection had carried a request before this one.
        deadline: of the read that waits (Trio time); infinity while none waits.
        is_reading: whether a task waits in `receive`.
    """

    head: ResponseHead

    def __init__(
        self,
        stream: NetworkStream,
        parser: ResponseParser,
        deadlines: Deadlines | None,
        release: Release,
        *,
        reused: bool = False,
    ) -> None:
        self._stream = stream
        self._parser = parser
        self._deadlines = deadlines  # None: each read has a cancel scope of its own
        self._release = release
        self.reused = reused
        self._body_ahead = b""  # bytes of the body that arrived together with the head
        self._sent_at = math.inf  # Trio time at which the network took the last byte of the request
        self._sends_on = False  # bytes of the request are left, and the server may still want them
        self._has_expired = False
        self.is_reading = False
        self.deadline = math.inf
        self._is_closed = False

    # -------------------------------------------------------------- the request and the head

    async def start(self, request: memoryview, progress: RequestProgress) -> None:
        """Send the request and read the head of the response. Called once, by the pool.

        Args:
            request: the whole request, head and body.
            progress: updated while this waits.

        Raises:
            ServerDisconnected: the connection ended before a byte of the response.
            ConnectionBroken: it ended inside the head.
            RemoteProtocolError: the bytes are not HTTP/1.1.
        """
        parser, stream = self._parser, self._stream
        try:
            await stream.send(request)
            self._note_sending()
        except _BROKEN:
            pass  # The server may have responded before it closed: its response explains more than this error.
        has_begun = False
        while parser.head is None:
            if not self._sends_on:
                progress.phase = "headers"
            try:
                data = await (self._receive_while_sending() if self._sends_on else stream.receive_some())
            except _BROKEN as error:
                raise self._early_end(str(error), has_begun) from error
            if not data:
                raise self._early_end("the server closed the connection", has_begun)
            has_begun = True
            self._body_ahead = parser.feed(data)
        self.head = parser.head
        if self.head.status >= 300:
            self._sends_on = False  # the server does not want the request: RFC 9112, section 9.5
        if self._deadlines is not None:
            self._deadlines.watch(self)

    def _note_sending(self) -> None:
        self._sends_on = self._stream.is_sending
        if not self._sends_on:
            self._sent_at = trio.current_time()

    async def _receive_while_sending(self) -> bytes:
        data, broken = b"", None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send_on)
            try:
                data = await self._stream.receive_some()
            except _BROKEN as error:
                broken = error
            nursery.cancel_scope.cancel()
        if broken is not None:
            raise broken
        return data

    async def _send_on(self) -> None:
        try:
            await self._stream.finish_sending()
            self._note_sending()
        except _BROKEN:
            self._sends_on = False

    def _early_end(self, reason: str, has_begun: bool) -> ConnectionBroken:
        if has_begun:
            return ConnectionBroken(f"{reason} in the middle of the headers")
        seconds = trio.current_time() - self._sent_at  # minus infinity if the request was not sent to its end
        if not self.reused:
            return ServerDisconnected(f"{reason} before it responded", unread=seconds < 0)
        when = "before all of the request was sent" if seconds < 0 else f"{seconds:.1f} s after the request"
        return ServerDisconnected(
            f"{reason} {when}, without a response; the connection was a reused one",
            unread=seconds <= CLOSED_WHILE_IDLE_SECONDS,
        )

    # -------------------------------------------------------------- the body

    async def receive(self, deadline: float = math.inf) -> bytes:
        """Return the next bytes of the body, b"" at its end.

        If the server responded before it had read the whole request, and did not refuse it, the rest of the request is
        sent meanwhile. After a cancellation the exchange is only to be closed.

        Args:
            deadline: Trio time.

        Raises:
            ConnectionBroken: the connection ended before the response was complete.
            RemoteProtocolError: the body is not framed as HTTP/1.1.
            ReadTimeout: nothing arrived before the deadline. The connection may be closed then.
            trio.BusyResourceError: another task is reading this response.
        """
        if self._body_ahead:
            data, self._body_ahead = self._body_ahead, b""
            return data
        parser = self._parser
        while not parser.done:
            if parser.body_error is not None:
                raise parser.body_error
            data = await self._receive_some(deadline)
            if not data:
                parser.finish()
            elif body := parser.feed(data):
                return body
        return b""

    async def _receive_some(self, deadline: float) -> bytes:
        if self.is_reading:  # checked here: a second read would end with the deadline of the first one
            raise trio.BusyResourceError("another task is reading this response")
        self.is_reading = True
        receive = self._receive_while_sending if self._sends_on else self._stream.receive_some
        try:
            if self._deadlines is None:
                with trio.move_on_at(deadline):
                    return await receive()
                raise ReadTimeout
            self._deadlines.set_deadline(self, deadline)
            return await receive()
        except _BROKEN as error:
            if self._has_expired:
                raise ReadTimeout from None
            raise ConnectionBroken(str(error)) from error
        finally:
            self.deadline = math.inf
            self.is_reading = False

    def close_expired(self) -> None:
        """Close the connection, because the deadline of a read has passed. Called by `Deadlines`."""
        self._has_expired = True
        self._stream.close_now()

    async def aclose(self) -> None:
        """Give the connection back if request and response are complete; close it otherwise. Never waits long."""
        if not self._is_closed:
            self._is_closed = True
            if self._deadlines is not None:
                self._deadlines.forget(self)
            reusable = self._parser.done and self._parser.reusable and self._sent_at < math.inf
            await self._release(reusable)
