"""One direction of a connection in memory: bytes on their way over a link, bounded, in order.

What was sent and has not arrived travels without a task: each piece carries the time at which it arrives, and
the reader waits for that. On an ideal link everything arrives at once.
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
"""Bytes in flight in one direction, of the order of a socket's buffers."""
SEGMENT = 4 * 1024
"""Bytes that arrive together where bandwidth is limited: of the order of a few packets."""


class _Mark(enum.Enum):
    """What travels behind the last byte."""

    END = "end"
    RESET = "reset"


@final
class Channel:
    """One direction. All marks stay once they are set; the writer sees the first three, the reader the last two.

    finished  the writer wrote its last byte      ended  … and the reader read it
    muted     … and closed its end as well        reset  the connection broke, as far as the reader knows
    broken    … as far as the writer knows

    `deaf`: the reader reads no more; the writer hears of it as late as of anything.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._data = bytearray()  # has arrived and was not read
        self._way: deque[tuple[float, bytes | _Mark]] = (
            deque()
        )  # is on its way, and when it arrives (Trio time)
        self._travelling = 0  # bytes in _way
        self._free_at = -math.inf  # when all that was sent so far has left
        self._last_at = -math.inf  # when the last of it arrives
        self._deaf_at = math.inf  # when the writer can know that the reader left
        self._silent = False
        self._on_lost: Callable[[], None] | None = None
        self._changed = trio.lowlevel.ParkingLot()
        self.finished = self.muted = self.broken = self.deaf = self.ended = self.reset = False

    def wake(self) -> None:
        self._changed.unpark_all()

    # ---- the writer's side

    async def put(self, data: bytes | bytearray | memoryview) -> None:
        view = memoryview(data)
        self.require_writable()
        most = BUFFER if self._link.bandwidth == math.inf else SEGMENT
        while view:
            piece = bytes(view[: min(BUFFER - self._held, most)])
            if piece:
                self._send(piece)
                view = view[len(piece) :]
            else:
                await self.wait_room()

    async def wait_room(self) -> None:
        self.require_writable()
        while self._held >= BUFFER:
            await self._wait(self._deaf_at)
            self.require_writable()

    def require_writable(self) -> None:
        if self.finished or self.muted:
            raise trio.ClosedResourceError("this end was closed for writing")
        if self.knows_reader_left:
            raise trio.BrokenResourceError("the peer is gone")

    @property
    def knows_reader_left(self) -> bool:
        """Whether the writer has heard that the reader has left."""
        if self.broken:
            return True
        heard = self.deaf and not self._link.is_partitioned and trio.current_time() >= self._deaf_at
        return heard and self._on_lost is None

    async def wait_reader_left(self) -> None:
        while not self.knows_reader_left:
            await self._wait(math.inf if self._link.is_partitioned else self._deaf_at)

    def finish(self, *, close_write: bool = False, reset: bool = False) -> None:
        """Write the end, once; `close_write`: and close this end; `reset`: not an orderly end."""
        if reset or not (self.finished or self.muted):
            self._send(_Mark.RESET if reset else _Mark.END)
        self.finished = True
        self.muted |= close_write
        self.wake()

    @property
    def _held(self) -> int:
        return len(self._data) + self._travelling

    def _send(self, item: bytes | _Mark) -> None:
        if self._silent:
            return
        if self._on_lost is not None:
            self._on_lost()
        elif self._link.is_ideal and not self._way:
            self._deliver(item)
        else:
            self._despatch(item)
        self.wake()

    def _despatch(self, item: bytes | _Mark) -> None:
        size = len(item) if isinstance(item, bytes) else 0
        self._free_at = max(trio.current_time(), self._free_at) + size / self._link.bandwidth
        self._last_at = max(self._last_at, self._free_at + self._link.delay())
        self._way.append((self._last_at, item))
        self._travelling += size

    # ---- the reader's side

    async def get(self, limit: int) -> bytes:
        while not self.is_readable and not self.deaf:
            await self._wait(self._way[0][0] if self._way and not self._link.is_partitioned else math.inf)
        if self.deaf:
            raise trio.ClosedResourceError("this end was closed")
        if not self._data and self.reset:
            raise trio.BrokenResourceError("connection reset by peer")
        data = bytes(self._data[:limit])
        del self._data[:limit]
        self.wake()
        return data

    @property
    def is_readable(self) -> bool:
        """Whether a read would return at once: data, the end, or an error."""
        if self._way:
            self._arrive()
        return bool(self._data) or self.ended or self.reset

    def _arrive(self) -> None:
        """Take off the link what is here by now."""
        now = trio.current_time()
        while self._way and self._way[0][0] <= now and not self._link.is_partitioned:
            _, item = self._way.popleft()
            self._travelling -= len(item) if isinstance(item, bytes) else 0
            self._deliver(item)

    def _deliver(self, item: bytes | _Mark) -> None:
        match item:
            case _Mark.END:
                self.ended = True
            case _Mark.RESET:
                self.reset = True
            case _:
                self._data += item

    def close_read(self) -> None:
        """The reader closes its end: it reads no more, and the writer will hear of it."""
        self.deaf = True
        self._deaf_at = min(self._deaf_at, trio.current_time() + self._link.delay())
        self.wake()

    # ---- what happens to both

    def break_off(self) -> None:
        """Both sides know at once that the connection is broken."""
        self.broken = self.reset = True
        self.wake()

    def silence(self) -> None:
        """The writer's machine is gone: it may not write, and no mark of it travels."""
        self._silent = self.broken = True
        self.wake()

    def lose(self, on_write: Callable[[], None]) -> None:
        """The reader's machine is gone: what is written disappears, and `on_write` is told."""
        self._on_lost, self.reset = on_write, True
        self._data.clear()
        self._way.clear()
        self._travelling = 0
        self.wake()

    def answer_with_reset(self) -> None:
        """The far side knows nothing of this connection: the reader hears so after the way there and back."""
        self._last_at = max(self._last_at, trio.current_time() + self._link.delay())
        self._despatch(_Mark.RESET)
        self.wake()

    async def _wait(self, until: float) -> None:
        if until == math.inf:
            await self._changed.park()
        else:
            with trio.move_on_at(until):
                await self._changed.park()
