"""A connection in memory: two ends of a byte stream that behave like TCP where it matters.

Unlike `trio.testing.memory_stream_pair` each direction holds only so much: a slow reader makes the writer
wait. An end can be closed in one direction, closed, or reset; what was written before is still read.
"""

from __future__ import annotations

import operator
from typing import final

import trio

BUFFER = 64 * 1024
"""Bytes in flight in one direction, of the order of a socket's buffers."""


@final
class _Channel:
    """One direction. All marks stay once they are set.

    ended   the writer wrote its last byte          deaf   the reader reads no more
    muted   … and closed its end as well            reset  either side broke the connection
    """

    def __init__(self) -> None:
        self._data = bytearray()
        self._changed = trio.lowlevel.ParkingLot()
        self.ended = self.muted = self.deaf = self.reset = False

    def mark(
        self, *, ended: bool = False, muted: bool = False, deaf: bool = False, reset: bool = False
    ) -> None:
        self.ended |= ended
        self.muted |= muted
        self.deaf |= deaf
        self.reset |= reset
        self._changed.unpark_all()

    @property
    def is_readable(self) -> bool:
        return bool(self._data) or self.ended or self.reset

    async def put(self, data: bytes | bytearray | memoryview) -> None:
        view = memoryview(data)
        self.require_writable()
        while view:
            room = BUFFER - len(self._data)
            self._data += view[:room]
            view = view[room:]
            self._changed.unpark_all()
            if view:
                await self.wait_room()

    async def wait_room(self) -> None:
        self.require_writable()
        while len(self._data) >= BUFFER:
            await self._changed.park()
            self.require_writable()

    def require_writable(self) -> None:
        if self.ended or self.muted:
            raise trio.ClosedResourceError("this end was closed for writing")
        if self.deaf or self.reset:
            raise trio.BrokenResourceError("the peer is gone")

    async def get(self, limit: int) -> bytes:
        while not self.is_readable and not self.deaf:
            await self._changed.park()
        if self.deaf:
            raise trio.ClosedResourceError("this end was closed")
        if not self._data and self.reset:
            raise trio.BrokenResourceError("connection reset by peer")
        data = bytes(self._data[:limit])
        del self._data[:limit]
        self._changed.unpark_all()
        return data

    async def wait_deaf(self) -> None:
        while not (self.deaf or self.reset):
            await self._changed.park()


@final
class PipeEnd(trio.abc.HalfCloseableStream):
    """One end. Made in pairs by `open_pipe`."""

    def __init__(self, incoming: _Channel, outgoing: _Channel) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._sending = _OneAtATime("another task is sending on this end")
        self._receiving = _OneAtATime("another task is receiving on this end")

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        with self._sending:
            await trio.lowlevel.checkpoint()
            await self._outgoing.put(data)

    async def wait_send_all_might_not_block(self) -> None:
        with self._sending:
            await trio.lowlevel.checkpoint()
            await self._outgoing.wait_room()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        limit = BUFFER if max_bytes is None else operator.index(max_bytes)
        if limit < 1:
            raise ValueError("max_bytes must be 1 or more")
        with self._receiving:
            await trio.lowlevel.checkpoint()
            return await self._incoming.get(limit)

    async def send_eof(self) -> None:
        with self._sending:
            await trio.lowlevel.checkpoint()
            if self._outgoing.muted:
                raise trio.ClosedResourceError("this end was closed")
            self._outgoing.mark(ended=True)

    async def aclose(self) -> None:
        self.close()
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        """The peer reads what is left and then the end; what it writes breaks."""
        self._outgoing.mark(ended=True, muted=True)
        self._incoming.mark(deaf=True)

    def reset(self) -> None:
        """The peer reads what is left and then an error; what it writes breaks."""
        self._outgoing.mark(muted=True, reset=True)
        self._incoming.mark(deaf=True, reset=True)

    @property
    def is_readable(self) -> bool:
        """Whether a read would return at once: data, the end, or an error."""
        return self._incoming.is_readable

    @property
    def is_peer_gone(self) -> bool:
        """Whether the other end was closed altogether, not only for writing."""
        return self._outgoing.deaf or self._outgoing.reset

    async def wait_peer_gone(self) -> None:
        await self._outgoing.wait_deaf()


def open_pipe() -> tuple[PipeEnd, PipeEnd]:
    one, other = _Channel(), _Channel()
    return PipeEnd(one, other), PipeEnd(other, one)


@final
class _OneAtATime:
    """Two tasks that use one direction at once would mix their bytes: a mistake, told at once."""

    def __init__(self, complaint: str) -> None:
        self._complaint = complaint
        self._busy = False

    def __enter__(self) -> None:
        if self._busy:
            raise trio.BusyResourceError(self._complaint)
        self._busy = True

    def __exit__(self, *_: object) -> None:
        self._busy = False
