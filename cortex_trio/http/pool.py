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
from functools import partial
from typing import final
from weakref import WeakSet

import attrs
import trio

from .deadlines import Deadlines
from .exchange import Exchange as Exchange
from .exchange import Progress as Progress
from .exchange import ReadTimeout as ReadTimeout
from .exchange import ServerDisconnected as ServerDisconnected
from .http1 import AnswerReader
from .sockets import ConnectError, Network, Origin, Socket, connect_error

log = logging.getLogger("cortex_trio")

KEEPALIVE_SECONDS = 30.0
"""Shorter than any provider's own: the one who closes first must not be the server."""
MAX_IDLE = 64
"""Connections a pool keeps. httpx keeps 20 for all origins; a worker is one origin, and may serve bursts."""
_UNSEEN = Progress()
"""Written by all requests whose caller does not ask, and read by none."""
_pools: trio.lowlevel.RunVar[WeakSet[Pool]] = trio.lowlevel.RunVar("cortex_trio pools")
"""All pools of this `trio.run`: they share the descriptors of the process."""


@attrs.frozen
class _Idle:
    socket: Socket
    until: float  # Trio time; one number for all who look at it, for sums of it differ in the last digit


@final
class Pool:
    """Connections to any number of origins. `max_connections` bounds those in use; further requests wait their turn.

    Idle ones are closed after `keepalive` seconds: by the deadlines that came with their last request, without one at
    the next request to their origin. At most `max_idle` are kept, the ones that were used last; all idle ones of all
    pools are closed when the process has no descriptor left for a new connection.
    """

    def __init__(
        self,
        network: Network,
        *,
        max_connections: int | None = None,
        max_idle: int = MAX_IDLE,
        keepalive: float = KEEPALIVE_SECONDS,
    ) -> None:
        self._network = network
        self._slots = trio.Semaphore(max_connections) if max_connections else None
        self.max_idle = max_idle  # a lower number closes those beyond it when the next one comes back
        self._keepalive = keepalive
        self._idle: defaultdict[Origin, deque[_Idle]] = defaultdict(deque)
        self._in_use: set[Socket] = set()
        self._deadlines: Deadlines | None = None  # who was asked last to watch the idle ones
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
        return sum(map(len, self._idle.values()))

    async def request(
        self,
        origin: Origin,
        method: str,
        data: memoryview,
        *,
        connect_timeout: float = math.inf,
        deadlines: Deadlines | None = None,
        fresh: bool = False,
        progress: Progress | None = None,
    ) -> Exchange:
        """Send `data`, a whole request, and return its answer with the body still open: the caller closes it.

        The answer is read while the request is sent. An error status ends the sending.

        A kept connection that the server had closed before it can have read the request is replaced by a new one, in
        silence. Cancellation closes the connection.

        Args:
            connect_timeout: Seconds for a new connection, TLS included.
            deadlines: Sees to the deadlines of what is read.
            fresh: Use no kept connection.
            progress: Says where the request is, also after it failed or was cancelled.

        Raises:
            ConnectError: There is no connection; with `ours` the reason is on this machine.
            ServerDisconnected: The connection ended before a byte of an answer.
            http1.ConnectionBroken: It ended in the middle of the headers.
            http1.RemoteProtocolError: What came is not HTTP.
        """
        if progress is None:
            progress = _UNSEEN
        progress.phase, progress.reused = "place", False
        if self._slots:
            await self._slots.acquire()
        try:
            kept = None if fresh else await self._take_idle(origin)
            if kept is not None:
                try:
                    return await self._ask(kept, origin, method, data, deadlines, progress, reused=True)
                except ServerDisconnected as error:
                    if not error.unread:
                        raise
            progress.phase, progress.reused = "connect", False
            socket = await self._connect(origin, connect_timeout)
            return await self._ask(socket, origin, method, data, deadlines, progress, reused=False)
        except BaseException:
            self._free_slot()
            raise

    async def _connect(self, origin: Origin, timeout: float) -> Socket:
        if not self._closed:
            _pools_of_this_run().add(self)
            try:
                socket = await self._network.connect(origin, timeout)
            except ConnectError as error:
                if not error.ours or not await _give_back_idle():
                    raise
                socket = await self._network.connect(origin, timeout)
            if not self._closed:
                return socket
            await socket.aclose()
        raise connect_error(origin, "the connections of this worker were closed")

    async def _ask(
        self,
        socket: Socket,
        origin: Origin,
        method: str,
        data: memoryview,
        deadlines: Deadlines | None,
        progress: Progress,
        *,
        reused: bool,
    ) -> Exchange:
        self._in_use.add(socket)
        watches = deadlines is not None and deadlines.awake and socket.can_abort
        try:
            if deadlines is not None:
                self._deadlines = deadlines
            reader, seen_by = AnswerReader(method), deadlines if watches else None
            give_back = partial(self.release, socket, origin)
            exchange = Exchange(socket, reader, seen_by, give_back, reused=reused)
            progress.phase, progress.reused = "send", reused
            await exchange.begin(data, progress)
            return exchange
        except BaseException:
            self._in_use.discard(socket)
            await socket.aclose()
            raise

    async def _take_idle(self, origin: Origin) -> Socket | None:
        """The most recently used one that still lives."""
        stack = self._idle[origin]
        if self.deadline == math.inf:  # no deadlines watches them
            for socket in self._take_expired(stack):
                await socket.aclose()
        while stack:
            newest = stack.pop().socket
            if not newest.is_readable():
                return newest
            await newest.aclose()  # the server has hung up, or speaks out of turn
        return None

    def _take_expired(self, stack: deque[_Idle]) -> list[Socket]:
        """The oldest are at the bottom, where no request takes them: each is checked once, when it expires."""
        expired: list[Socket] = []
        now = trio.current_time()
        while stack and stack[0].until <= now:
            expired.append(stack.popleft().socket)
        return expired

    def _expect_expiry(self, deadlines: Deadlines) -> None:
        first = min((stack[0].until for stack in self._idle.values() if stack), default=math.inf)
        if first < math.inf:
            deadlines.watch(self)
            deadlines.expect(self, first)

    def abort(self) -> None:
        """For `Deadlines`: the oldest idle ones have been kept long enough."""
        self.deadline, deadlines = math.inf, self._deadlines
        expired = [socket for stack in self._idle.values() for socket in self._take_expired(stack)]
        if deadlines is not None:
            deadlines.start_soon(partial(_close_all, expired))
            self._expect_expiry(deadlines)

    async def release(self, socket: Socket, origin: Origin, reusable: bool) -> None:
        """Take a connection back, or close it."""
        self._in_use.discard(socket)
        self._free_slot()
        if reusable and not self.retired:
            self._idle[origin].append(_Idle(socket, trio.current_time() + self._keepalive))
            while self.idle > self.max_idle:
                await self._take_oldest().aclose()
            if self.deadline == math.inf and self._deadlines is not None and self._deadlines.awake:
                self._expect_expiry(self._deadlines)
        else:
            await socket.aclose()

    def _take_oldest(self) -> Socket:
        stacks = [stack for stack in self._idle.values() if stack]
        return min(stacks, key=lambda stack: stack[0].until).popleft().socket

    def _free_slot(self) -> None:
        if self._slots:
            self._slots.release()

    async def retire(self) -> None:
        """Keep no connection from now on: idle ones are closed now, the others when their answers end."""
        self.retired = True
        if self._deadlines is not None:
            self._deadlines.forget(self)
            self.deadline = math.inf
        await self.close_idle()

    async def close_idle(self) -> int:
        """Close all connections that are kept, and return how many there were. Further ones are kept again."""
        closed = 0
        for stack in list(self._idle.values()):  # a request to another origin may come while one is closed
            while stack:
                closed += 1
                await stack.pop().socket.aclose()
        return closed

    async def aclose(self) -> None:
        """Close every connection and make no more; a task that still reads from one gets an error."""
        self._closed = True
        await self.retire()
        for socket in list(self._in_use):
            await socket.aclose()


def _pools_of_this_run() -> WeakSet[Pool]:
    try:
        return _pools.get()
    except LookupError:
        _pools.set(WeakSet())
        return _pools.get()


async def _give_back_idle() -> int:
    """Close what all pools keep, and return how many descriptors that gives back."""
    return sum([await pool.close_idle() for pool in list(_pools_of_this_run())])


async def _close_all(sockets: Iterable[Socket]) -> None:
    for socket in sockets:
        try:
            await socket.aclose()
        except Exception:  # of a network that is not ours; the others are still to be closed
            log.exception("an idle connection could not be closed")
