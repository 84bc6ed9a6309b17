"""Connections that are kept: taking one and giving it back cost the same beside 3,000 others as beside none.

Per origin a stack of idle connections, last in, first out, looked at only when one is taken or the oldest has been
kept long enough. httpcore's pool walks every connection at every request and polls every idle socket: 20 times the
CPU at 100 streams.
"""

from __future__ import annotations

import logging
import math
from collections import defaultdict, deque
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from typing import final

import attrs
import trio

from .http1 import AnswerReader, BrokenOff, Head
from .sockets import CannotConnect, Network, Origin, Socket
from .watchdog import Watchdog

log = logging.getLogger("cortex_trio")

KEEPALIVE_SECONDS = 30.0
"""Shorter than any provider's own: the one who closes first must not be the server."""


_BROKEN = (trio.BrokenResourceError, trio.ClosedResourceError)


class NothingCame(BrokenOff):
    """The connection ended before a byte of an answer."""


class TooLate(Exception):
    """Nothing came before the deadline. The connection may be closed already."""


@attrs.frozen
class _Idle:
    socket: Socket
    until: float  # Trio time; one number for all who look at it, for sums of it differ in the last digit


@final
class Pool:
    """Connections to any number of origins. `max_connections` bounds those in use; further requests wait their turn.

    Idle ones are closed after `keepalive` seconds: by the watchdog that came with their last request, without one at
    the next request to their origin.
    """

    def __init__(
        self, network: Network, *, max_connections: int | None = None, keepalive: float = KEEPALIVE_SECONDS
    ) -> None:
        self._network = network
        self._slots = trio.Semaphore(max_connections) if max_connections else None
        self._keepalive = keepalive
        self._idle: defaultdict[Origin, deque[_Idle]] = defaultdict(deque)
        self._in_use: set[Socket] = set()
        self._watchdog: Watchdog | None = None  # who was asked last to watch the idle ones
        self.deadline = math.inf  # when the first of them has been kept long enough, if that is watched
        self.retired = False
        self._closed = False

    @property
    def in_use(self) -> int:
        """Connections checked out at the moment."""
        return len(self._in_use)

    @property
    def idle(self) -> int:
        """Connections kept for the next request."""
        return sum(len(stack) for stack in self._idle.values())

    async def request(
        self,
        origin: Origin,
        method: str,
        data: memoryview,
        *,
        connect_timeout: float = math.inf,
        watchdog: Watchdog | None = None,
    ) -> Exchange:
        """Send `data`, a whole request, and return its answer with the body still open: the caller closes it.

        What was sent over a kept connection that died before any byte of an answer is sent once more, over a
        new one. `watchdog` sees to the deadlines of what is read. Raises CannotConnect, http1.BrokenOff or
        http1.BadAnswer.
        """
        if self._slots:
            await self._slots.acquire()
        try:
            kept = await self._take_idle(origin)
            if kept is not None:
                try:
                    return await self._ask(kept, origin, method, data, watchdog)
                except NothingCame:
                    pass
            fresh = await self._connect(origin, connect_timeout)
            return await self._ask(fresh, origin, method, data, watchdog)
        except BaseException:
            self._free_slot()
            raise

    async def _connect(self, origin: Origin, timeout: float) -> Socket:
        if not self._closed:
            socket = await self._network.connect(origin, timeout)
            if not self._closed:
                return socket
            await socket.aclose()
        raise CannotConnect("the connections of this worker were closed")

    async def _ask(
        self, socket: Socket, origin: Origin, method: str, data: memoryview, watchdog: Watchdog | None
    ) -> Exchange:
        self._in_use.add(socket)
        watches = watchdog is not None and watchdog.awake and socket.can_abort
        try:
            if watchdog is not None:
                self._watchdog = watchdog
            exchange = Exchange(self, socket, origin, AnswerReader(method), watchdog if watches else None)
            await exchange.begin(data)
            return exchange
        except BaseException:
            self._in_use.discard(socket)
            await socket.aclose()
            raise

    async def _take_idle(self, origin: Origin) -> Socket | None:
        """The most recently used one that still lives."""
        stack = self._idle[origin]
        if self.deadline == math.inf:  # nobody watches them
            for socket in self._take_expired(stack):
                await socket.aclose()
        while stack:
            newest = stack.pop().socket
            if not newest.is_readable():
                return newest
            await newest.aclose()  # the server has hung up, or speaks out of turn
        return None

    def _take_expired(self, stack: deque[_Idle]) -> list[Socket]:
        """The oldest lie at the bottom, where nobody takes them: each is looked at once, when its time is over."""
        expired: list[Socket] = []
        now = trio.current_time()
        while stack and stack[0].until <= now:
            expired.append(stack.popleft().socket)
        return expired

    def _expect_expiry(self, watchdog: Watchdog) -> None:
        first = min((stack[0].until for stack in self._idle.values() if stack), default=math.inf)
        if first < math.inf:
            watchdog.watch(self)
            watchdog.expect(self, first)

    def abort(self) -> None:
        """For `Watchdog`: the oldest idle ones have been kept long enough."""
        self.deadline, watchdog = math.inf, self._watchdog
        expired = [socket for stack in self._idle.values() for socket in self._take_expired(stack)]
        if watchdog is not None:
            watchdog.start_soon(partial(_close_all, expired))
            self._expect_expiry(watchdog)

    async def release(self, socket: Socket, origin: Origin, *, reusable: bool) -> None:
        """Take a connection back, or close it."""
        self._in_use.discard(socket)
        self._free_slot()
        if reusable and not self.retired:
            self._idle[origin].append(_Idle(socket, trio.current_time() + self._keepalive))
            if self.deadline == math.inf and self._watchdog is not None and self._watchdog.awake:
                self._expect_expiry(self._watchdog)
        else:
            await socket.aclose()

    def _free_slot(self) -> None:
        if self._slots:
            self._slots.release()

    async def retire(self) -> None:
        """Keep no connection from now on: idle ones are closed now, the others when their answers end."""
        self.retired = True
        if self._watchdog is not None:
            self._watchdog.forget(self)
            self.deadline = math.inf
        for stack in list(self._idle.values()):  # a request to another origin may come while one is closed
            while stack:
                await stack.pop().socket.aclose()

    async def aclose(self) -> None:
        """Close every connection and make no more; whoever still reads from one is told that it broke."""
        self._closed = True
        await self.retire()
        for socket in list(self._in_use):
            await socket.aclose()


async def _close_all(sockets: Iterable[Socket]) -> None:
    for socket in sockets:
        try:
            await socket.aclose()
        except Exception:  # of a network that is not ours; the others are still to be closed
            log.exception("an idle connection could not be closed")


@final
class Exchange:
    """One request and its answer on one connection. `head` is there from the start."""

    head: Head

    def __init__(
        self, pool: Pool, socket: Socket, origin: Origin, reader: AnswerReader, watchdog: Watchdog | None
    ) -> None:
        self._pool = pool
        self._socket = socket
        self._origin = origin
        self._reader = reader
        self._watchdog = watchdog
        self._ahead = b""  # of the body, came together with the head
        self._aborted = False
        self._reading = False
        self.deadline = math.inf
        self._closed = False

    async def begin(self, request: memoryview) -> None:
        """For `Pool`: send the request and read the head."""
        with suppress(*_BROKEN):
            # It may have been answered before it was read to its end: that answer says more than this error.
            await self._socket.send_all(request)
        reader, came = self._reader, False
        while reader.head is None:
            try:
                data = await self._socket.receive_some()
            except _BROKEN as error:
                raise (BrokenOff if came else NothingCame)(str(error)) from error
            if not data:
                raise (BrokenOff if came else NothingCame)("the server hung up before it answered")
            came = True
            self._ahead = reader.feed(data)
        self.head = reader.head
        if self._watchdog is not None:
            self._watchdog.watch(self)

    async def receive(self, deadline: float = math.inf) -> bytes:
        """The next bytes of the body, b"" at its end. Raises http1.BrokenOff, http1.BadAnswer or TooLate.

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
        try:
            if self._watchdog is None:
                with trio.move_on_at(deadline):
                    return await self._socket.receive_some()
                raise TooLate
            self._watchdog.expect(self, deadline)
            return await self._socket.receive_some()
        except _BROKEN as error:
            if self._aborted:
                raise TooLate from None
            raise BrokenOff(str(error)) from error
        finally:
            self.deadline = math.inf
            self._reading = False

    def abort(self) -> None:
        """For `Watchdog`: the deadline has passed."""
        self._aborted = True
        self._socket.abort()

    async def aclose(self) -> None:
        """Give the connection back if the body was read to its end, close it otherwise. Never waits long."""
        if not self._closed:
            self._closed = True
            if self._watchdog is not None:
                self._watchdog.forget(self)
            reusable = self._reader.done and self._reader.reusable
            await self._pool.release(self._socket, self._origin, reusable=reusable)
