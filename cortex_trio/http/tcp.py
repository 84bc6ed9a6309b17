"""Byte streams to servers: plain, or of a network backend of the user's. Knows no HTTP; TLS is in `tls`.

A plain socket is read with trio's `wait_readable` and one `recv`: `trio.SocketStream` tries the `recv` first, which
on a stream that is waited for fails each time (measured: 18 instead of 22 µs for a read). An
`httpcore.AsyncNetworkBackend`, such as the simulator's network in memory, can stand in for the network.
"""

from __future__ import annotations

import select
import socket
import ssl
from collections.abc import Callable
from typing import NamedTuple, Protocol, final

import httpcore
import trio

from .causes import explain, is_our_shortage

RECEIVE_BYTES = 64 * 1024
SslContext = Callable[[], ssl.SSLContext]
"""ParsedRequest for only when there is a secure origin: making one takes tens of milliseconds."""
CLOSE_SECONDS = 2.0
"""How long a close may take before it is given up."""
WRITE_BYTES = 16 * 1024
"""Written to a network backend in one piece; less than any buffer on the way to a server holds."""
KEEPALIVE_PROBES = ("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 60), ("TCP_KEEPCNT", 5)
"""Seconds of silence before a probe, between two, and how many go unanswered before the connection is broken.

A model that thinks for minutes sends nothing, and routers forget silent connections. These are the numbers of
Anthropic's SDK (`_base_client.py`); OpenAI's does not probe.
"""
LONGEST_ADDRESS = 80
"""Characters of an address in an error: a long text is cut at its end, where the cause is."""
NOTHING = memoryview(b"")


class ConnectError(Exception):
    """There is no connection; the text says where to and why, and `__cause__` is what the system said."""

    @property
    def ours(self) -> bool:
        """Whether something ran out on this machine (descriptors, memory, ports). The server was not asked."""
        return is_our_shortage(self)


class Origin(NamedTuple):
    """Where connections lead; those of one origin may be used for one another."""

    secure: bool
    host: str
    port: int

    @property
    def address(self) -> str:
        """Host and port, as people write them."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def connect_error(origin: Origin, why: str) -> ConnectError:
    """The error that says where to and, at its end, why."""
    address = origin.address
    if len(address) > LONGEST_ADDRESS:
        address = address[: LONGEST_ADDRESS - 1] + "…"
    return ConnectError(f"could not connect to {address}: {why}")


class Socket(Protocol):
    """A connected byte stream. One task may send while another receives.

    Sending and receiving raise trio.BrokenResourceError or trio.ClosedResourceError.
    """

    async def send(self, data: memoryview) -> None:
        """Begin to send `data`: as much as can be sent without waiting for the server. Need not checkpoint.

        What is left is sent by `finish_sending`; until then nothing else may be sent.
        """
        ...

    @property
    def is_sending(self) -> bool:
        """Whether something is left to be sent; no longer after an error."""
        ...

    async def finish_sending(self) -> None:
        """Send what is left. May be cancelled and called again."""
        ...

    async def receive_some(self) -> bytes:
        """The next bytes, b"" at the end."""
        ...

    def is_readable(self) -> bool:
        """Whether a read would return at once. An idle connection where it would is of no use any more."""
        ...

    can_abort: bool  # without waiting

    def abort(self) -> None:
        """Close at once; a task that reads is woken with an error. Only where `can_abort`."""
        ...

    async def aclose(self) -> None:
        """Close; cancelled or not, never waits long. A task that reads is woken with an error."""
        ...


class Network(Protocol):
    """Where sockets come from."""

    async def connect(self, origin: Origin, timeout: float) -> Socket:
        """Raises ConnectError, also after `timeout` seconds."""
        ...


# ------------------------------------------------------------------ the real one


@final
class PlainSocket:
    """A TCP socket. It takes the descriptor out of trio's stream, whose recv would be one system call more."""

    can_abort = True

    def __init__(self, stream: trio.SocketStream) -> None:
        self._socket = socket.socket(fileno=stream.socket.detach())
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, number in KEEPALIVE_PROBES:
            if (option := getattr(socket, name, None)) is not None:  # not every system has all of them
                self._socket.setsockopt(socket.IPPROTO_TCP, option, number)
        self._looks_readable = _look_at(self._socket.fileno())
        self._unsent = NOTHING

    @property
    def is_sending(self) -> bool:
        return bool(self._unsent)

    async def send(self, data: memoryview) -> None:
        self.send_nowait(data)

    def send_nowait(self, data: memoryview) -> None:
        """Begin to send `data`; without waiting at all, which no other socket promises."""
        try:
            sent = self._socket.send(data)
            self._unsent = data[sent:] if sent < len(data) else NOTHING
        except BlockingIOError:
            self._unsent = data
        except OSError as error:
            self._unsent = NOTHING
            raise trio.BrokenResourceError(explain(error)) from error

    async def finish_sending(self) -> None:
        while self._unsent:
            if self._socket.fileno() < 0:
                raise trio.ClosedResourceError("this connection was closed")
            await trio.lowlevel.wait_writable(self._socket)
            self.send_nowait(self._unsent)

    async def receive_some(self) -> bytes:
        while True:
            if self._socket.fileno() < 0:
                raise trio.ClosedResourceError("this connection was closed")
            await trio.lowlevel.wait_readable(self._socket)
            data = self.receive_nowait()
            if data is not None:
                return data

    def receive_nowait(self) -> bytes | None:
        """What has arrived, b"" at the end, None if nothing has."""
        try:
            return self._socket.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return None
        except OSError as error:
            raise trio.BrokenResourceError(explain(error)) from error

    def is_readable(self) -> bool:
        return self._socket.fileno() < 0 or self._looks_readable()

    def abort(self) -> None:
        if self._socket.fileno() >= 0:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()

    async def aclose(self) -> None:
        self.abort()


def _look_at(descriptor: int) -> Callable[[], bool]:
    """A function that says whether a read of it would return at once."""
    if not hasattr(select, "poll"):  # Windows, where select has no trouble with large numbers
        return lambda: bool(select.select([descriptor], [], [], 0)[0])
    poll = select.poll()  # made once: that takes longer than to ask it
    poll.register(descriptor, select.POLLIN)
    return lambda: bool(poll.poll(0))


# ------------------------------------------------------------------ others


@final
class BackendNetwork:
    """An httpcore network backend in place of the network."""

    def __init__(self, backend: httpcore.AsyncNetworkBackend, ssl_context: SslContext) -> None:
        self._backend = backend
        self._ssl_context = ssl_context

    async def connect(self, origin: Origin, timeout: float) -> Socket:
        try:
            with trio.fail_after(timeout):
                stream = await self._backend.connect_tcp(origin.host, origin.port)
                if origin.secure:
                    stream = await stream.start_tls(self._ssl_context(), origin.host)
        except trio.TooSlowError as error:
            raise connect_error(origin, f"timed out after {timeout:g} s") from error
        except httpcore.ConnectTimeout as error:
            raise connect_error(origin, "timed out") from error
        except httpcore.ConnectError as error:
            raise connect_error(origin, str(error) or "refused by the network backend") from error
        return BackendSocket(stream)


@final
class BackendSocket:
    """What a backend gives. It cannot say how much it would take without waiting, so a short request is written
    at once, and one that is longer while the answer is read."""

    can_abort = False

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream
        self._unsent = NOTHING
        self._is_writing = False

    @property
    def is_sending(self) -> bool:
        return bool(self._unsent)

    async def send(self, data: memoryview) -> None:
        self._unsent = data
        if len(data) <= WRITE_BYTES:
            await self.finish_sending()

    async def finish_sending(self) -> None:
        if self._is_writing:
            raise trio.BrokenResourceError("a write was cancelled, and how much of it was sent is not known")
        while self._unsent:
            await self._write(self._unsent[:WRITE_BYTES])
            self._unsent = self._unsent[WRITE_BYTES:]

    async def _write(self, data: memoryview) -> None:
        self._is_writing = True
        try:
            await self._stream.write(bytes(data))
        except httpcore.NetworkError as error:
            self._unsent = NOTHING
            raise trio.BrokenResourceError(str(error)) from error
        self._is_writing = False

    async def receive_some(self) -> bytes:
        try:
            return await self._stream.read(RECEIVE_BYTES)
        except httpcore.NetworkError as error:
            raise trio.BrokenResourceError(str(error)) from error

    def is_readable(self) -> bool:
        return bool(self._stream.get_extra_info("is_readable"))

    def abort(self) -> None:
        raise NotImplementedError("a network backend can close only asynchronously")

    async def aclose(self) -> None:
        with trio.move_on_after(CLOSE_SECONDS, shield=True):
            await self._stream.aclose()
