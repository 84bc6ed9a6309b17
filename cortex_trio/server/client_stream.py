"""A client's connection as bytes, with a limit for how long the client may read nothing. Knows no HTTP.

Plain TCP uses its descriptor directly: a cancel scope around each `send_all` of trio's stream would cost as much as the
send, and nearly every send ends at once. TLS takes the slower path.
"""

from __future__ import annotations

import select
import socket
import ssl
from collections.abc import Callable
from typing import Protocol, final

import trio

RECEIVE_BYTES = 64 * 1024
PIECE_BYTES = 64 * 1024
"""A TLS write of this size must end within the limit."""
HUNG_UP_POLL_SECONDS = 0.005
"""Only for a client that has sent more requests than are kept."""

TOO_SLOW = "the client has read nothing for {:g} s"


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

    async def send_all(self, data: bytes, idle_seconds: float) -> None:
        """Send `data`, and let other tasks run.

        Args:
            data: not empty.
            idle_seconds: if the client reads nothing for so long, trio.BrokenResourceError is raised.
        """
        ...

    async def send_eof(self) -> None:
        """Send no more, and go on receiving, where the transport can."""
        ...

    async def wait_hung_up(self) -> None:
        """Return when the client has closed the connection, without reading what it has sent."""
        ...

    def close_now(self) -> None:
        """Close without waiting. May be called twice."""
        ...


@final
class TCPClient:
    """A connection without TLS. Takes the descriptor out of trio's stream."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._socket = socket.socket(fileno=stream.socket.detach())
        self._socket.setblocking(False)

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

    async def send_all(self, data: bytes, idle_seconds: float) -> None:
        sent = self._send(data)
        if sent == len(data):
            await trio.lowlevel.checkpoint()
            return
        left = memoryview(data)[sent:]
        while left:
            with trio.move_on_after(idle_seconds) as limit:
                await trio.lowlevel.wait_writable(self._socket)
            if limit.cancelled_caught:
                raise trio.BrokenResourceError(TOO_SLOW.format(idle_seconds))
            left = left[self._send(left) :]

    async def send_eof(self) -> None:
        await trio.lowlevel.checkpoint()
        try:
            self._check_open()
            self._socket.shutdown(socket.SHUT_WR)
        except OSError as error:
            raise trio.BrokenResourceError(str(error)) from error

    async def wait_hung_up(self) -> None:
        await _wait_hung_up(self._socket.fileno)

    def close_now(self) -> None:
        if self._socket.fileno() >= 0:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()

    def _send(self, data: bytes | memoryview) -> int:
        self._check_open()
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
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

    async def send_all(self, data: bytes, idle_seconds: float) -> None:
        view = memoryview(data)
        for start in range(0, len(view), PIECE_BYTES):
            with trio.move_on_after(idle_seconds) as limit:
                await self._tls.send_all(view[start : start + PIECE_BYTES])
            if limit.cancelled_caught:
                raise trio.BrokenResourceError(TOO_SLOW.format(idle_seconds))

    async def send_eof(self) -> None:
        await trio.lowlevel.checkpoint()  # TLS cannot close one direction only

    async def wait_hung_up(self) -> None:
        await _wait_hung_up(self._tcp.socket.fileno)

    def close_now(self) -> None:
        self._tcp.socket.close()


async def _wait_hung_up(fileno: Callable[[], int]) -> None:
    """Ask the system again and again: Trio waits for bytes, and there are some."""
    hung_up = getattr(select, "POLLRDHUP", 0)
    if not hung_up:  # only Linux says it
        await trio.sleep_forever()
    while fileno() >= 0:
        poll = select.poll()
        poll.register(fileno(), hung_up)
        if poll.poll(0):
            return
        await trio.sleep(HUNG_UP_POLL_SECONDS)
