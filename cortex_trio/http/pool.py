"""The connection pool: taking and releasing a connection costs the same with 3,000 other connections as with none.

Idle connections are kept in one stack for each origin, last in, first out. A request looks at the newest one only; the
oldest ones are looked at when they expire. httpcore's pool walks all connections at every request and polls all idle
sockets, which takes 20 times the CPU time at 100 streams.
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
from .defaults import KEEPALIVE_SECONDS, MAX_IDLE_CONNECTIONS
from .errors import ConnectError, ServerDisconnected
from .exchange import Exchange, RequestProgress
from .http1 import ResponseParser
from .network import NetworkBackend, NetworkStream, Origin, connect_error

log = logging.getLogger("cortex_trio")

_IGNORED_PROGRESS = RequestProgress()
"""Written by the requests whose caller passes no progress; never read."""
_pools: trio.lowlevel.RunVar[WeakSet[ConnectionPool]] = trio.lowlevel.RunVar("cortex_trio pools")
"""All pools of this `trio.run`. They share the file descriptors of the process."""


@attrs.frozen
class _Idle:
    stream: NetworkStream
    expires_at: float  # Trio time; stored, because the same sum computed twice may differ in its last digit


@final
class ConnectionPool:
    """Connections to any number of origins.

    Idle connections are closed after `keepalive` seconds: by the `Deadlines` of the last request, or, without one, at
    the next request to their origin. When the process has no descriptor left for a new connection, the idle connections
    of all pools are closed first.

    Attributes:
        max_idle: idle connections that are kept. A lower number takes effect when the next connection is released.
        retired: whether no connection is kept any more.
        deadline: when the first idle connection expires (Trio time); infinity if no `Deadlines` watches them.
    """

    def __init__(
        self,
        network: NetworkBackend,
        *,
        max_connections: int | None = None,
        max_idle: int = MAX_IDLE_CONNECTIONS,
        keepalive: float = KEEPALIVE_SECONDS,
    ) -> None:
        """
        Args:
            network: opens connections.
            max_connections: how many may be in use at the same time; further requests wait, first come, first served.
                None: any number.
            max_idle: how many idle connections are kept, of all origins together: those that were used last.
            keepalive: seconds for which an idle connection is kept.
        """
        self._network = network
        self._slots = trio.Semaphore(max_connections) if max_connections else None
        self.max_idle = max_idle
        self._keepalive = keepalive
        self._idle: defaultdict[Origin, deque[_Idle]] = defaultdict(deque)  # the oldest at the left
        self._in_use: set[NetworkStream] = set()
        self._deadlines: Deadlines | None = None  # those of the last request; they watch the idle connections
        self.deadline = math.inf
        self.retired = False
        self._is_closed = False

    @property
    def in_use(self) -> int:
        """Connections that carry a request now."""
        return len(self._in_use)

    @property
    def idle(self) -> int:
        """Connections that are kept for later requests."""
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
        progress: RequestProgress | None = None,
    ) -> Exchange:
        """Send a request; return its exchange when the head of the response has arrived. The caller closes it.

        The response is read while the request is being sent. An error status ends the sending. If a reused connection
        was closed before the server can have read the request, the request is sent once more, over a new connection.
        Cancelling closes the connection.

        Args:
            origin: where to send the request.
            method: its method; a response to HEAD has no body.
            data: the whole request, head and body.
            connect_timeout: seconds for a new connection, TLS included.
            deadlines: watches the deadlines of reads. None: each read has a cancel scope of its own.
            fresh: use a new connection.
            progress: updated while this waits; it keeps its last value after an error or a cancellation.

        Raises:
            ConnectError: no connection was opened; with `ours` the reason is on this machine.
            ServerDisconnected: the connection ended before the first byte of a response.
            ConnectionBroken: it ended inside the head.
            RemoteProtocolError: the bytes of the server are not HTTP/1.1.
        """
        if progress is None:
            progress = _IGNORED_PROGRESS
        progress.phase, progress.reused = "pool", False
        if self._slots:
            await self._slots.acquire()
        try:
            kept = None if fresh else await self._take_idle(origin)
            if kept is not None:
                try:
                    return await self._send(kept, origin, method, data, deadlines, progress, reused=True)
                except ServerDisconnected as error:
                    if not error.unread:
                        raise
            progress.phase, progress.reused = "connect", False
            stream = await self._connect(origin, connect_timeout)
            return await self._send(stream, origin, method, data, deadlines, progress, reused=False)
        except BaseException:
            self._free_slot()
            raise

    async def _connect(self, origin: Origin, timeout: float) -> NetworkStream:
        if not self._is_closed:
            _pools_of_this_run().add(self)
            try:
                stream = await self._network.connect(origin, timeout)
            except ConnectError as error:
                if not error.ours or not await _close_idle_of_all_pools():
                    raise
                stream = await self._network.connect(origin, timeout)
            if not self._is_closed:
                return stream
            await stream.aclose()
        raise connect_error(origin, "the connections of this worker were closed")

    async def _send(
        self,
        stream: NetworkStream,
        origin: Origin,
        method: str,
        data: memoryview,
        deadlines: Deadlines | None,
        progress: RequestProgress,
        *,
        reused: bool,
    ) -> Exchange:
        self._in_use.add(stream)
        try:
            if deadlines is not None:
                self._deadlines = deadlines
            can_watch = deadlines is not None and deadlines.is_running and stream.can_close_now
            parser, watching = ResponseParser(method), deadlines if can_watch else None
            release = partial(self.release, stream, origin)
            exchange = Exchange(stream, parser, watching, release, reused=reused)
            progress.phase, progress.reused = "send", reused
            await exchange.start(data, progress)
            return exchange
        except BaseException:
            self._in_use.discard(stream)
            await stream.aclose()
            raise

    # -------------------------------------------------------------- idle connections

    async def _take_idle(self, origin: Origin) -> NetworkStream | None:
        """Return the newest idle connection that the server has not closed.

        Closes unusable ones one by one: a connection that was popped and is in no collection while this waits for a
        close would be missed by `aclose`.
        """
        stack = self._idle[origin]
        if self.deadline == math.inf:  # no `Deadlines` watches the idle connections
            for stream in self._pop_expired(stack):
                await stream.aclose()
        while stack:
            newest = stack.pop().stream
            if not newest.is_readable():
                return newest
            await newest.aclose()  # the server has closed it, or has sent bytes that no request asked for
        return None

    def _pop_expired(self, stack: deque[_Idle]) -> list[NetworkStream]:
        """Remove the expired connections of one origin and return them, for the caller to close."""
        expired: list[NetworkStream] = []
        now = trio.current_time()
        while stack and stack[0].expires_at <= now:
            expired.append(stack.popleft().stream)
        return expired

    def _watch_expiry(self, deadlines: Deadlines) -> None:
        first = min((stack[0].expires_at for stack in self._idle.values() if stack), default=math.inf)
        if first < math.inf:
            deadlines.watch(self)
            deadlines.set_deadline(self, first)

    def close_expired(self) -> None:
        """Close the idle connections that have expired. Called by `Deadlines`."""
        self.deadline, deadlines = math.inf, self._deadlines
        expired = [stream for stack in self._idle.values() for stream in self._pop_expired(stack)]
        if deadlines is not None:
            deadlines.start_soon(partial(_close_all, expired))
            self._watch_expiry(deadlines)

    async def release(self, stream: NetworkStream, origin: Origin, reusable: bool) -> None:
        """Take a connection back from its exchange: keep it if it is `reusable`, close it otherwise."""
        self._in_use.discard(stream)
        self._free_slot()
        if not reusable or self.retired:
            await stream.aclose()
            return
        self._idle[origin].append(_Idle(stream, trio.current_time() + self._keepalive))
        while self.idle > self.max_idle:
            await self._pop_oldest().aclose()
        if self.deadline == math.inf and self._deadlines is not None and self._deadlines.is_running:
            self._watch_expiry(self._deadlines)

    def _pop_oldest(self) -> NetworkStream:
        stacks = [stack for stack in self._idle.values() if stack]
        return min(stacks, key=lambda stack: stack[0].expires_at).popleft().stream

    def _free_slot(self) -> None:
        if self._slots:
            self._slots.release()

    # -------------------------------------------------------------- closing

    async def retire(self) -> None:
        """Keep no connection from now on. Idle ones are closed now, the others when their responses end."""
        self.retired = True
        if self._deadlines is not None:
            self._deadlines.forget(self)
            self.deadline = math.inf
        await self.close_idle()

    async def close_idle(self) -> int:
        """Close all idle connections and return their number. Connections released later are kept again."""
        closed = 0
        for stack in list(self._idle.values()):  # a request to another origin may change the dict meanwhile
            while stack:
                closed += 1
                await stack.pop().stream.aclose()
        return closed

    async def aclose(self) -> None:
        """Close all connections and open no more. A task that is reading a response gets an error."""
        self._is_closed = True
        await self.retire()
        for stream in list(self._in_use):
            await stream.aclose()


def _pools_of_this_run() -> WeakSet[ConnectionPool]:
    try:
        return _pools.get()
    except LookupError:
        _pools.set(WeakSet())
        return _pools.get()


async def _close_idle_of_all_pools() -> int:
    """Return how many connections were closed, which is how many descriptors are free again."""
    return sum([await pool.close_idle() for pool in list(_pools_of_this_run())])


async def _close_all(streams: Iterable[NetworkStream]) -> None:
    for stream in streams:
        try:
            await stream.aclose()
        except Exception:  # of a network backend that is not ours; the others must still be closed
            log.exception("an idle connection could not be closed")
