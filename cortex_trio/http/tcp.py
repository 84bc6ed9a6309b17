"""A TCP connection as a byte stream. Knows no HTTP and no TLS.

Why not trio's SocketStream: it tries `recv` before it waits, which fails on nearly every read of a stream that arrives
slowly. Waiting first takes 18 µs for a read instead of 22.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable
from typing import final

import trio

from .causes import explain
from .network import EMPTY, RECEIVE_BYTES

KEEPALIVE_PROBES = ("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 60), ("TCP_KEEPCNT", 5)
"""Seconds of silence before a probe, seconds between two, and unanswered probes after which the connection is broken.

A model that thinks for minutes sends nothing, and routers forget silent connections. These are the numbers of
Anthropic's SDK (`_base_client.py`); OpenAI's does not probe.
"""


@final
class TCPStream:
    """A TCP connection: a `NetworkStream`. It takes the descriptor out of trio's stream and uses it directly."""

    can_close_now = True

    def __init__(self, stream: trio.SocketStream) -> None:
        self._socket = socket.socket(fileno=stream.socket.detach())
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, number in KEEPALIVE_PROBES:
            if (option := getattr(socket, name, None)) is not None:  # not every system has all of them
                self._socket.setsockopt(socket.IPPROTO_TCP, option, number)
        self._poll = _poller(self._socket.fileno())
        self._unsent = EMPTY

    @property
    def is_sending(self) -> bool:
        return bool(self._unsent)

    async def send(self, data: memoryview) -> None:
        self.send_nowait(data)

    def send_nowait(self, data: memoryview) -> None:
        """Start to send `data` without a checkpoint.

        Raises:
            trio.BrokenResourceError: the connection is broken.
        """
        try:
            sent = self._socket.send(data)
            self._unsent = data[sent:] if sent < len(data) else EMPTY
        except BlockingIOError:
            self._unsent = data
        except OSError as error:
            self._unsent = EMPTY
            raise trio.BrokenResourceError(explain(error)) from error

    async def finish_sending(self) -> None:
        while self._unsent:
            self._check_open()
            await trio.lowlevel.wait_writable(self._socket)
            self.send_nowait(self._unsent)

    async def receive_some(self) -> bytes:
        while True:
            self._check_open()
            await trio.lowlevel.wait_readable(self._socket)
            data = self.receive_nowait()
            if data is not None:
                return data

    def receive_nowait(self) -> bytes | None:
        """Return what has arrived, b"" at the end of the stream, None if nothing has arrived.

        Raises:
            trio.BrokenResourceError: the connection is broken.
        """
        try:
            return self._socket.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return None
        except OSError as error:
            raise trio.BrokenResourceError(explain(error)) from error

    def is_readable(self) -> bool:
        return self._socket.fileno() < 0 or self._poll()

    def close_now(self) -> None:
        if self._socket.fileno() >= 0:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()

    async def aclose(self) -> None:
        self.close_now()

    def _check_open(self) -> None:
        if self._socket.fileno() < 0:
            raise trio.ClosedResourceError("this connection was closed")


def _poller(descriptor: int) -> Callable[[], bool]:
    """Return a function that says whether a read of `descriptor` would return at once."""
    if not hasattr(select, "poll"):  # Windows, where select accepts large descriptors
        return lambda: bool(select.select([descriptor], [], [], 0)[0])
    poll = select.poll()  # made once per connection: making one takes longer than asking it
    poll.register(descriptor, select.POLLIN)
    return lambda: bool(poll.poll(0))
