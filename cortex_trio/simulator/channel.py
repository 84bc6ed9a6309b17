"""One direction of a connection in memory: a bounded buffer of bytes that a link delays, in order.

Bytes in flight need no task: each segment has the time at which it arrives, and the reader waits for this time. On an
ideal link everything arrives at once.
"""

from __future__ import annotations

import enum
import math
from collections import deque
from collections.abc import Callable
from typing import final

import trio

from .link import Link

BUFFER = 64 * 1024
"""Bytes in one direction that were sent and not read: of the order of a socket's buffers."""
SEGMENT = 4 * 1024
"""Bytes that arrive together if the bandwidth is limited: of the order of a few packets."""


class _End(enum.Enum):
    """What is sent after the last byte."""

    FIN = "fin"
    RESET = "reset"


@final
class Channel:
    """One direction of a connection. A flag that is set stays set.

    of the writer                                of the reader
    is_finished  it has sent the end             is_ended   the end has arrived
    is_closed    it has closed its end     is_reset   a reset has arrived, or the connection broke
    is_broken    it knows of a break             is_left    it has closed and reads no more

    The writer learns that the reader has left after the delay of the link.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._data = bytearray()  # arrived and not read
        self._in_flight: deque[tuple[float, bytes | _End]] = deque()  # with the time of arrival (Trio time)
        self._bytes_in_flight = 0
        self._free_at = -math.inf  # when all bytes that were sent have left, at the bandwidth of the link
        self._last_at = -math.inf  # when the last of them arrives
        self._left_known_at = math.inf  # when the writer can know that the reader has left
        self._is_silent = False  # nothing that the writer sends leaves its machine
        self._on_lost: Callable[[], None] | None = None
        self._changed = trio.lowlevel.ParkingLot()
        self.is_finished = self.is_closed = self.is_broken = False
        self.is_ended = self.is_reset = self.is_left = False

    def wake(self) -> None:
        self._changed.unpark_all()

    # ---- the writer's side

    async def put(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of `data`; wait while the buffer is full. Raises ClosedResourceError, BrokenResourceError."""
        view = memoryview(data)
        self.require_writable()
        most = BUFFER if self._link.bandwidth == math.inf else SEGMENT
        while view:
            segment = bytes(view[: min(BUFFER - self._held, most)])
            if segment:
                self._send(segment)
                view = view[len(segment) :]
            else:
                await self.wait_writable()

    async def wait_writable(self) -> None:
        """Wait until the buffer is not full."""
        self.require_writable()
        while self._held >= BUFFER:
            await self._wait(self._left_known_at)
            self.require_writable()

    def require_writable(self) -> None:
        """Raise ClosedResourceError or BrokenResourceError if the writer may not send."""
        if self.is_finished or self.is_closed:
            raise trio.ClosedResourceError("this end was closed for writing")
        if self.knows_reader_left:
            raise trio.BrokenResourceError("the peer is gone")

    @property
    def knows_reader_left(self) -> bool:
        """Whether the writer knows that the reader has left or the connection is broken."""
        if self.is_broken:
            return True
        is_known = (
            self.is_left and not self._link.is_partitioned and trio.current_time() >= self._left_known_at
        )
        return is_known and self._on_lost is None

    async def wait_reader_left(self) -> None:
        while not self.knows_reader_left:
            await self._wait(math.inf if self._link.is_partitioned else self._left_known_at)

    def finish(self, *, close_write: bool = False, reset: bool = False) -> None:
        """Send the end, once.

        Args:
            close_write: The writer closes its end as well.
            reset: Send a reset instead of an orderly end.
        """
        if reset or not (self.is_finished or self.is_closed):
            self._send(_End.RESET if reset else _End.FIN)
        self.is_finished = True
        self.is_closed |= close_write
        self.wake()

    @property
    def _held(self) -> int:
        return len(self._data) + self._bytes_in_flight

    def _send(self, item: bytes | _End) -> None:
        if self._is_silent:
            return
        if self._on_lost is not None:
            self._on_lost()
        elif self._link.is_ideal and not self._in_flight:
            self._deliver(item)
        else:
            self._dispatch(item)
        self.wake()

    def _dispatch(self, item: bytes | _End) -> None:
        size = len(item) if isinstance(item, bytes) else 0
        self._free_at = max(trio.current_time(), self._free_at) + size / self._link.bandwidth
        self._last_at = max(self._last_at, self._free_at + self._link.delay())
        self._in_flight.append((self._last_at, item))
        self._bytes_in_flight += size

    # ---- the reader's side

    async def get(self, limit: int) -> bytes:
        """Return at most `limit` bytes; empty at the end. Raises ClosedResourceError, BrokenResourceError."""
        while not self.is_readable and not self.is_left:
            await self._wait(
                self._in_flight[0][0] if self._in_flight and not self._link.is_partitioned else math.inf
            )
        if self.is_left:
            raise trio.ClosedResourceError("this end was closed")
        if not self._data and self.is_reset:
            raise trio.BrokenResourceError("connection reset by peer")
        data = bytes(self._data[:limit])
        del self._data[:limit]
        self.wake()
        return data

    @property
    def is_readable(self) -> bool:
        """Whether a read would return at once: data, the end, or an error."""
        if self._in_flight:
            self._arrive()
        return bool(self._data) or self.is_ended or self.is_reset

    def _arrive(self) -> None:
        """Deliver what has arrived by now."""
        now = trio.current_time()
        while self._in_flight and self._in_flight[0][0] <= now and not self._link.is_partitioned:
            _, item = self._in_flight.popleft()
            self._bytes_in_flight -= len(item) if isinstance(item, bytes) else 0
            self._deliver(item)

    def _deliver(self, item: bytes | _End) -> None:
        match item:
            case _End.FIN:
                self.is_ended = True
            case _End.RESET:
                self.is_reset = True
            case _:
                self._data += item

    def close_read(self) -> None:
        """The reader closes its end and reads no more. The writer learns it after the delay of the link."""
        self.is_left = True
        self._left_known_at = min(self._left_known_at, trio.current_time() + self._link.delay())
        self.wake()

    # ---- faults

    def break_off(self) -> None:
        """Break the connection; both sides know it at once."""
        self.is_broken = self.is_reset = True
        self.wake()

    def silence(self) -> None:
        """The writer's machine is gone: its writes fail, and nothing more of it arrives."""
        self._is_silent = self.is_broken = True
        self.wake()

    def lose(self, on_write: Callable[[], None]) -> None:
        """The reader's machine is gone: bytes that are sent to it are lost, and `on_write` is called instead."""
        self._on_lost, self.is_reset = on_write, True
        self._data.clear()
        self._in_flight.clear()
        self._bytes_in_flight = 0
        self.wake()

    def answer_with_reset(self) -> None:
        """The other side does not know this connection: the reader gets a reset after the delay in both directions."""
        self._last_at = max(self._last_at, trio.current_time() + self._link.delay())
        self._dispatch(_End.RESET)
        self.wake()

    async def _wait(self, until: float) -> None:
        if until == math.inf:
            await self._changed.park()
        else:
            with trio.move_on_at(until):
                await self._changed.park()
