"""A client's connection as bytes, with a limit for how slowly the client may read. Knows no HTTP.

Plain TCP uses its descriptor directly: a cancel scope around each `send_all` of trio's stream would cost as much as the
send, and nearly every send ends at once. TLS takes the slower path.
"""

from __future__ import annotations

import select
import socket
import ssl
import struct
import sys
from typing import Protocol, final

import trio

from .pace import WritePace

RECEIVE_BYTES = 64 * 1024
PIECE_BYTES = 64 * 1024
"""A TLS write of this size must end within the limit."""
CLOSE_SECONDS = 0.5
"""For the client to answer `close_notify`. Many do not."""

TOO_SLOW = "the client reads too slowly"
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: closing drops what was not sent, and the client gets a reset."""


class ClientStream(Protocol):
    """What a connection needs. One task may send while another one receives.

    All methods that wait raise trio.BrokenResourceError if the connection is broken, and trio.ClosedResourceError
    after `close_now`.
    """

    async def handshake(self) -> None:
        """Do what comes before the first byte of HTTP."""
        ...

    async def receive_some(self) -> bytes:
        """Wait for bytes; empty at the end of what the client sends."""
        ...

    def receive_nowait(self) -> bytes:
        """Return what has arrived; empty if nothing has, or if the transport cannot say."""
        ...

    async def send_all(self, data: bytes, pace: WritePace) -> None:
        """Send `data`. Other tasks run only if this has to wait: what a route sends, it has waited for.

        A cancelled call may have sent a part. The next one sends the other part first, so that an error event does not
        begin inside of a chunk; with TLS it raises trio.BrokenResourceError.

        Args:
            data: not empty.
            pace: of the response. If the client reads more slowly, trio.BrokenResourceError is raised.
        """
        ...

    async def send_eof(self) -> None:
        """Send no more, and go on receiving, where the transport can."""
        ...

    async def notify_close(self) -> None:
        """Say that all was sent, to a client for which only the end of the connection ends a body.

        Nothing can be sent or received after it.
        """
        ...

    async def wait_hung_up(self) -> None:
        """Return when the client has closed the connection, without reading what it has sent."""
        ...

    def close_now(self, *, reset: bool = False) -> None:
        """Close without waiting. May be called twice.

        Args:
            reset: the client is to see an error, not the end of what was sent.
        """
        ...


@final
class TCPClient:
    """A connection without TLS. Takes the descriptor out of trio's stream."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._socket = socket.socket(fileno=stream.socket.detach())
        self._socket.setblocking(False)
        self._unsent = b""  # of a write that was cancelled: it comes before the next one

    async def handshake(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self) -> bytes:
        while True:
            self._check_open()
            await trio.lowlevel.wait_readable(self._socket)
            try:
                return self._socket.recv(RECEIVE_BYTES)
            except BlockingIOError:
                continue
            except OSError as error:
                raise trio.BrokenResourceError(str(error)) from error

    def receive_nowait(self) -> bytes:
        try:
            return self._socket.recv(RECEIVE_BYTES)
        except OSError:  # BlockingIOError is one
            return b""

    async def send_all(self, data: bytes, pace: WritePace) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._unsent:
            data, self._unsent = self._unsent + data, b""
        sent = self._send(data)
        pace.sent(sent)
        if sent == len(data):
            return
        left = memoryview(data)[sent:]
        try:
            while left:
                start = trio.current_time()
                with trio.move_on_after(pace.left) as limit:
                    await trio.lowlevel.wait_writable(self._socket)
                if limit.cancelled_caught:
                    raise trio.BrokenResourceError(TOO_SLOW)
                sent = self._send(left)
                pace.sent(sent, waited=trio.current_time() - start)
                left = left[sent:]
        finally:
            self._unsent = bytes(left)

    async def send_eof(self) -> None:
        await trio.lowlevel.checkpoint()
        try:
            self._check_open()
            self._socket.shutdown(socket.SHUT_WR)
        except OSError as error:
            raise trio.BrokenResourceError(str(error)) from error

    async def notify_close(self) -> None:
        await trio.lowlevel.checkpoint()  # closing does

    async def wait_hung_up(self) -> None:
        await _wait_hung_up(self._socket.fileno())

    def close_now(self, *, reset: bool = False) -> None:
        if self._socket.fileno() >= 0:
            if reset:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()

    def _send(self, data: bytes | memoryview) -> int:
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            self._check_open()
            raise trio.BrokenResourceError(str(error)) from error

    def _check_open(self) -> None:
        if self._socket.fileno() < 0:
            raise trio.ClosedResourceError("this connection was closed")


@final
class TLSClient:
    """A connection with TLS."""

    def __init__(self, stream: trio.SocketStream, context: ssl.SSLContext) -> None:
        self._tcp = stream
        self._tls = trio.SSLStream(stream, context, server_side=True, https_compatible=True)

    async def handshake(self) -> None:
        await self._tls.do_handshake()

    async def receive_some(self) -> bytes:
        return bytes(await self._tls.receive_some(RECEIVE_BYTES))

    def receive_nowait(self) -> bytes:
        return b""

    async def send_all(self, data: bytes, pace: WritePace) -> None:
        view = memoryview(data)
        for at in range(0, len(view), PIECE_BYTES):
            piece, start = view[at : at + PIECE_BYTES], trio.current_time()
            with trio.move_on_after(pace.left) as limit:
                await self._tls.send_all(piece)
            if limit.cancelled_caught:
                raise trio.BrokenResourceError(TOO_SLOW)
            pace.sent(len(piece), waited=trio.current_time() - start)

    async def send_eof(self) -> None:
        await trio.lowlevel.checkpoint()  # TLS cannot close one direction only

    async def notify_close(self) -> None:
        """Send `close_notify`: without it, a body that was cut on the way would look whole (RFC 8446, section 6.1)."""
        with trio.move_on_after(CLOSE_SECONDS):
            await self._tls.unwrap()

    async def wait_hung_up(self) -> None:
        await _wait_hung_up(self._tcp.socket.fileno())

    def close_now(self, *, reset: bool = False) -> None:
        if reset and self._tcp.socket.fileno() >= 0:
            self._tcp.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self._tcp.socket.close()


async def _wait_hung_up(descriptor: int) -> None:
    """Wait for the end alone: Trio waits for bytes or the end, and there are bytes.

    Trio can wait for an epoll descriptor like for any other. Asking the system again and again would let a few clients
    that send much and read nothing keep the processor busy.
    """
    if descriptor < 0:
        raise trio.ClosedResourceError("this connection was closed")
    if sys.platform != "linux":  # only there the system says it
        await trio.sleep_forever()
    try:
        watched = select.epoll()
    except OSError:  # no descriptor is free: the end is seen when the client is read or written
        await trio.sleep_forever()
    with watched:
        watched.register(descriptor, select.EPOLLRDHUP)  # an error and a reset are always included
        await trio.lowlevel.wait_readable(watched.fileno())
