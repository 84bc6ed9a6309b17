"""A connection in memory: two ends of a byte stream that behave like TCP where it matters.

Unlike `trio.testing.memory_stream_pair` each direction holds only so much: a slow reader makes the writer
wait. An end can be closed in one direction, closed, or reset; what was written before is still read.
"""

from __future__ import annotations

import operator
from typing import final

import trio

from .channel import BUFFER, Channel
from .link import Link


@final
class PipeEnd(trio.abc.HalfCloseableStream):
    """One end. Made in pairs by `open_pipe`."""

    def __init__(self, incoming: Channel, outgoing: Channel) -> None:
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
            self._outgoing.finish()

    async def aclose(self) -> None:
        self.close()
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        """The peer reads what is left and then the end; what it writes breaks."""
        self._outgoing.finish(close_write=True)
        self._incoming.close_read()

    def reset(self) -> None:
        """The peer reads what is left and then an error; what it writes breaks."""
        self._outgoing.finish(close_write=True, reset=True)
        self._incoming.close_read()

    def vanish(self) -> None:
        """This end is gone without a word: its user gets an error, the peer nothing until it writes."""
        self._outgoing.silence()
        self._incoming.lose(on_write=self._outgoing.answer_with_reset)

    @property
    def is_readable(self) -> bool:
        """Whether a read would return at once: data, the end, or an error."""
        return self._incoming.is_readable

    @property
    def is_peer_gone(self) -> bool:
        """Whether the other end was closed altogether, not only for writing; it may not be known here yet."""
        return self._outgoing.deaf or self._outgoing.broken

    async def wait_peer_gone(self) -> None:
        await self._outgoing.wait_reader_left()


@final
class Pipe:
    """A connection over a link: the two ends, and what can happen to both at once."""

    def __init__(self, link: Link) -> None:
        self._there, self._back = Channel(link), Channel(link)
        self.client = PipeEnd(self._back, self._there)
        self.server = PipeEnd(self._there, self._back)

    @property
    def is_over(self) -> bool:
        return self._there.deaf and self._back.deaf

    def wake(self) -> None:
        self._there.wake()
        self._back.wake()

    def reset(self) -> None:
        self._there.break_off()
        self._back.break_off()

    def vanish(self) -> None:
        self.server.vanish()


def open_pipe(link: Link | None = None) -> tuple[PipeEnd, PipeEnd]:
    """The two ends of a connection, over an ideal link unless another one is given."""
    pipe = Pipe(link or Link())
    return pipe.client, pipe.server


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
