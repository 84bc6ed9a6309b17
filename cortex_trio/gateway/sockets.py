"""Byte streams to servers: plain, over TLS, or of somebody's own making. Knows no HTTP.

A plain socket is read with trio's `wait_readable` and one `recv`: `trio.SocketStream` tries the `recv` first, which
on a stream that is waited for fails each time (measured: 18 instead of 22 µs for a read). TLS is trio's `SSLStream`,
and an `httpcore.AsyncNetworkBackend`, such as the simulator's network in memory, can stand in for the network.
"""

from __future__ import annotations

import select
import socket
import ssl
from collections.abc import Callable
from typing import NamedTuple, Protocol, final

import httpcore
import trio

RECEIVE_BYTES = 64 * 1024
SslContext = Callable[[], ssl.SSLContext]
"""Asked for only when there is a secure origin: making one takes tens of milliseconds."""
CLOSE_SECONDS = 2.0
"""How long a close may take before it is given up."""


class CannotConnect(Exception):
    """There is no connection to be had; the text says why."""


class Origin(NamedTuple):
    """Where connections lead; those of one origin may be used for one another."""

    secure: bool
    host: str
    port: int


class Socket(Protocol):
    """A connected byte stream, used by one task at a time.

    Sending and receiving raise trio.BrokenResourceError or trio.ClosedResourceError.
    """

    async def send_all(self, data: memoryview) -> None:
        """Need not checkpoint: nobody sends without reading what comes back."""
        ...

    async def receive_some(self) -> bytes:
        """The next bytes, b"" at the end."""
        ...

    def is_readable(self) -> bool:
        """Whether a read would return at once. An idle connection where it would has been hung up."""
        ...

    can_abort: bool  # without waiting

    def abort(self) -> None:
        """Close at once, which wakes whoever reads with an error. Only where `can_abort`."""
        ...

    async def aclose(self) -> None:
        """Close; cancelled or not, never waits long. Whoever reads is woken with an error."""
        ...


class Network(Protocol):
    """Where sockets come from."""

    async def connect(self, origin: Origin, timeout: float) -> Socket:
        """Raises CannotConnect, also after `timeout` seconds."""
        ...


# ------------------------------------------------------------------ the real one


@final
class TrioNetwork:
    """TCP by happy eyeballs, and TLS over it."""

    def __init__(self, ssl_context: SslContext) -> None:
        self._ssl_context = ssl_context

    async def connect(self, origin: Origin, timeout: float) -> Socket:
        try:
            with trio.fail_after(timeout):
                stream = await trio.open_tcp_stream(origin.host, origin.port)
                if origin.secure:
                    return await self._start_tls(stream, origin.host)
        except trio.TooSlowError:
            raise CannotConnect("timed out") from None
        except (OSError, UnicodeError) as error:  # UnicodeError: a name that IDNA cannot spell
            raise CannotConnect(str(error)) from error
        except trio.BrokenResourceError as error:  # TLS: the reason is its cause
            raise CannotConnect(str(error.__cause__ or error)) from error
        return PlainSocket(stream)

    async def _start_tls(self, stream: trio.SocketStream, host: str) -> Socket:
        # HTTPS servers close without a goodbye: an end that was cut shows in the framing of the answer.
        secure = trio.SSLStream(stream, self._ssl_context(), server_hostname=host, https_compatible=True)
        try:
            await secure.do_handshake()
        except BaseException:
            await trio.aclose_forcefully(secure)
            raise
        return SecureSocket(secure)


@final
class PlainSocket:
    """A TCP socket. It takes the descriptor out of trio's stream, whose recv would be one system call more."""

    can_abort = True

    def __init__(self, stream: trio.SocketStream) -> None:
        self._socket = socket.socket(fileno=stream.socket.detach())
        self._socket.setblocking(False)

    async def send_all(self, data: memoryview) -> None:
        rest = data
        while rest:
            try:
                rest = rest[self._socket.send(rest) :]
            except BlockingIOError:
                await trio.lowlevel.wait_writable(self._socket)
            except OSError as error:
                raise trio.BrokenResourceError(str(error)) from error

    async def receive_some(self) -> bytes:
        while True:
            if self._socket.fileno() < 0:
                raise trio.ClosedResourceError("this connection was closed")
            await trio.lowlevel.wait_readable(self._socket)
            try:
                return self._socket.recv(RECEIVE_BYTES)
            except BlockingIOError:
                continue
            except OSError as error:
                raise trio.BrokenResourceError(str(error)) from error

    def is_readable(self) -> bool:
        return _is_readable(self._socket.fileno())

    def abort(self) -> None:
        if self._socket.fileno() >= 0:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()

    async def aclose(self) -> None:
        self.abort()


@final
class SecureSocket:
    """TLS. Its close says no goodbye: who leaves an answer early must not wait for a peer's full buffer."""

    can_abort = True

    def __init__(self, stream: trio.SSLStream[trio.SocketStream]) -> None:
        self._stream = stream

    async def send_all(self, data: memoryview) -> None:
        await self._stream.send_all(data)

    async def receive_some(self) -> bytes:
        return bytes(await self._stream.receive_some(RECEIVE_BYTES))

    def is_readable(self) -> bool:
        return _is_readable(self._stream.transport_stream.socket.fileno())

    def abort(self) -> None:
        self._stream.transport_stream.socket.close()

    async def aclose(self) -> None:
        self.abort()


def _is_readable(descriptor: int) -> bool:
    if descriptor < 0:
        return True
    if not hasattr(select, "poll"):  # Windows, where select has no trouble with large numbers
        return bool(select.select([descriptor], [], [], 0)[0])
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


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
        except (trio.TooSlowError, httpcore.ConnectTimeout):
            raise CannotConnect("timed out") from None
        except httpcore.ConnectError as error:
            raise CannotConnect(str(error)) from error
        return BackendSocket(stream)


@final
class BackendSocket:
    can_abort = False

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream

    async def send_all(self, data: memoryview) -> None:
        try:
            await self._stream.write(bytes(data))
        except httpcore.NetworkError as error:
            raise trio.BrokenResourceError(str(error)) from error

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
