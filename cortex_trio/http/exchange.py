"""One request and its answer on one connection: the answer is read while the request is sent. Keeps no connections."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Literal, final

import attrs
import trio

from .deadlines import Deadlines
from .http1 import AnswerReader, ConnectionBroken, Head
from .sockets import Socket

CLOSED_WHILE_IDLE_SECONDS = 0.1
"""A kept connection that ends so soon after a request was closed before the request can have arrived.

A server's close crosses with a request for at most the time there and back. Later it can have read the request and
worked, and may have charged for it.
"""

GiveBack = Callable[[bool], Awaitable[None]]
"""Takes the connection back; says whether it may carry another request."""
_BROKEN = (trio.BrokenResourceError, trio.ClosedResourceError)


class ServerDisconnected(ConnectionBroken):
    """The connection ended before a byte of an answer.

    `unread`: the server cannot have read the request, for it was not sent to its end, or only just.
    """

    def __init__(self, text: str, *, unread: bool) -> None:
        super().__init__(text)
        self.unread = unread


class ReadTimeout(Exception):
    """Nothing came before the deadline. The connection may be closed already."""


@attrs.define
class Progress:
    """How far a request came, for a caller who gives it up. `Pool.request` writes it, the caller reads it.

    `phase`: what the request waits for: a "place" among `max_connections`, to "connect", to "send", or the "headers" of
    the answer; None if the transport does not say. `reused`: whether the connection on which the request was sent last
    had carried a request before.
    """

    phase: Literal["place", "connect", "send", "headers"] | None = None
    reused: bool = False


@final
class Exchange:
    """One request and its answer on one connection. `head` is there from the start.

    `reused`: the connection had carried a request before this one.
    """

    head: Head

    def __init__(
        self,
        socket: Socket,
        reader: AnswerReader,
        deadlines: Deadlines | None,
        give_back: GiveBack,
        *,
        reused: bool = False,
    ) -> None:
        self._socket = socket
        self._reader = reader
        self._deadlines = deadlines
        self._give_back = give_back
        self.reused = reused
        self._ahead = b""  # of the body, came together with the head
        self._sent_at = math.inf  # when the last byte of the request was handed to the network
        self._sends_on = False  # the request is not sent to its end, and there is a reason to go on
        self._aborted = False
        self._reading = False
        self.deadline = math.inf
        self._closed = False

    # -------------------------------------------------------------- the request and the head

    async def begin(self, request: memoryview, progress: Progress) -> None:
        """For `Pool`: send the request and read the head."""
        reader, socket = self._reader, self._socket
        try:
            await socket.send(request)
            self._note_sending()
        except _BROKEN:
            pass  # It may have been answered before it was read to its end: that answer says more than this error.
        came = False
        while reader.head is None:
            if not self._sends_on:
                progress.phase = "headers"
            try:
                data = await (self._receive_while_sending() if self._sends_on else socket.receive_some())
            except _BROKEN as error:
                raise self._early_end(str(error), came) from error
            if not data:
                raise self._early_end("the server closed the connection", came)
            came = True
            self._ahead = reader.feed(data)
        self.head = reader.head
        if self.head.status >= 300:
            self._sends_on = False  # the server does not want the request: RFC 9112, section 9.5
        if self._deadlines is not None:
            self._deadlines.watch(self)

    def _note_sending(self) -> None:
        self._sends_on = self._socket.is_sending
        if not self._sends_on:
            self._sent_at = trio.current_time()

    async def _receive_while_sending(self) -> bytes:
        data, broken = b"", None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send_on)
            try:
                data = await self._socket.receive_some()
            except _BROKEN as error:
                broken = error
            nursery.cancel_scope.cancel()
        if broken is not None:
            raise broken
        return data

    async def _send_on(self) -> None:
        try:
            await self._socket.finish_sending()
            self._note_sending()
        except _BROKEN:
            self._sends_on = False

    def _early_end(self, why: str, came: bool) -> ConnectionBroken:
        if came:
            return ConnectionBroken(f"{why} in the middle of the headers")
        since = trio.current_time() - self._sent_at  # minus infinity if it was not sent to its end
        if not self.reused:
            return ServerDisconnected(f"{why} before it answered", unread=since < 0)
        waited = "before all of the request was sent" if since < 0 else f"{since:.1f} s after the request"
        return ServerDisconnected(
            f"{why} {waited}, without an answer; the connection had been kept",
            unread=since <= CLOSED_WHILE_IDLE_SECONDS,
        )

    # -------------------------------------------------------------- the body

    async def receive(self, deadline: float = math.inf) -> bytes:
        """The next bytes of the body, b"" at its end. Raises ConnectionBroken, RemoteProtocolError or ReadTimeout.

        What is left of a request that was answered early, but not refused, is sent while this waits.
        Raises trio.BusyResourceError while another task waits here.
        """
        if self._ahead:
            ahead, self._ahead = self._ahead, b""
            return ahead
        reader = self._reader
        while not reader.done:
            if reader.spoiled is not None:
                raise reader.spoiled
            data = await self._receive_some(deadline)
            if not data:
                reader.finish()
            elif body := reader.feed(data):
                return body
        return b""

    async def _receive_some(self, deadline: float) -> bytes:
        if self._reading:  # told here, for a second wait would end with the first one's deadline
            raise trio.BusyResourceError("another task is reading this answer")
        self._reading = True
        receive = self._receive_while_sending if self._sends_on else self._socket.receive_some
        try:
            if self._deadlines is None:
                with trio.move_on_at(deadline):
                    return await receive()
                raise ReadTimeout
            self._deadlines.expect(self, deadline)
            return await receive()
        except _BROKEN as error:
            if self._aborted:
                raise ReadTimeout from None
            raise ConnectionBroken(str(error)) from error
        finally:
            self.deadline = math.inf
            self._reading = False

    def abort(self) -> None:
        """For `Deadlines`: the deadline has passed."""
        self._aborted = True
        self._socket.abort()

    async def aclose(self) -> None:
        """Give the connection back if request and answer were whole, close it otherwise. Never waits long."""
        if not self._closed:
            self._closed = True
            if self._deadlines is not None:
                self._deadlines.forget(self)
            reusable = self._reader.done and self._reader.reusable and self._sent_at < math.inf
            await self._give_back(reusable)
