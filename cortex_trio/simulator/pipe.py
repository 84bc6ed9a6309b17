"""A connection in memory: the two ends of a byte stream that behaves like TCP.

Unlike in `trio.testing.memory_stream_pair` the buffer of each direction is bounded: a slow reader makes the writer
wait. An end can be closed for writing, closed, or reset; bytes that were sent before are still read.
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
            await self._outgoing.wait_writable()

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
            if self._outgoing.is_closed:
                raise trio.ClosedResourceError("this end was closed")
            self._outgoing.finish()

    async def aclose(self) -> None:
        self.close()
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        """The peer reads the bytes that were sent and then the end; its writes fail."""
        self._outgoing.finish(close_write=True)
        self._incoming.close_read()

    def reset(self) -> None:
        """The peer reads the bytes that were sent and then gets an error; its writes fail."""
        self._outgoing.finish(close_write=True, reset=True)
        self._incoming.close_read()

    def vanish(self) -> None:
        """This end is gone and sends nothing about it. Its user gets an error, the peer a reset at its next write."""
        self._outgoing.silence()
        self._incoming.lose(on_write=self._outgoing.answer_with_reset)

    @property
    def is_readable(self) -> bool:
        """Whether a read would return at once: data, the end, or an error."""
        return self._incoming.is_readable

    @property
    def is_peer_gone(self) -> bool:
        """Whether the other end was closed, and not only for writing. This end may not know it yet."""
        return self._outgoing.is_left or self._outgoing.is_broken

    async def wait_peer_gone(self) -> None:
        await self._outgoing.wait_reader_left()


@final
class Pipe:
    """A connection that uses a link: its two ends, and the faults of both together."""

    def __init__(self, link: Link) -> None:
        self._to_server, self._to_client = Channel(link), Channel(link)
        self.client = PipeEnd(self._to_client, self._to_server)
        self.server = PipeEnd(self._to_server, self._to_client)

    @property
    def is_over(self) -> bool:
        return self._to_server.is_left and self._to_client.is_left

    def wake(self) -> None:
        self._to_server.wake()
        self._to_client.wake()

    def reset(self) -> None:
        self._to_server.break_off()
        self._to_client.break_off()

    def vanish(self) -> None:
        self.server.vanish()


def open_pipe(link: Link | None = None) -> tuple[PipeEnd, PipeEnd]:
    """Return the client's and the server's end of a connection, with an ideal link if none is given."""
    pipe = Pipe(link or Link())
    return pipe.client, pipe.server


@final
class _OneAtATime:
    """Raises trio.BusyResourceError if two tasks use one direction at the same time."""

    def __init__(self, message: str) -> None:
        self._message = message
        self._busy = False

    def __enter__(self) -> None:
        if self._busy:
            raise trio.BusyResourceError(self._message)
        self._busy = True

    def __exit__(self, *_: object) -> None:
        self._busy = False
