"""The networks of the raw server: in memory, in virtual time, or loopback sockets with or without TLS.

They know no HTTP. A connection in memory has a buffer like that of a socket and can be reset; a host can refuse
connections.
"""

import errno
import os
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

import attrs
import httpcore
import trio
from certificates import server_context
from memory_stream import MemoryStream

BUFFER = 256 * 1024


class Line(Protocol):
    """The server's end of a connection."""

    async def send_all(self, data: bytes) -> None: ...

    async def receive_some(self) -> bytes:
        """The next bytes, b"" at the end."""
        ...

    async def aclose(self) -> None: ...

    def reset(self) -> None:
        """Close with a RST: the peer loses what it has not read."""
        ...


Serve = Callable[[Line], Awaitable[None]]

# ------------------------------------------------------------------ memory


@attrs.define(eq=False)
class _Half:
    """One direction of a connection in memory."""

    data: bytearray = attrs.field(factory=bytearray)
    ended: bool = False  # the writer has ended
    left: bool = False  # the reader has left
    broken: bool = False  # a reset
    lot: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)

    async def put(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        left = memoryview(data)
        while left:
            while len(self.data) >= BUFFER and not (self.left or self.broken or self.ended):
                await self.lot.park()
            if self.ended:
                raise trio.ClosedResourceError
            if self.left or self.broken:
                raise trio.BrokenResourceError("connection reset by peer")
            free = BUFFER - len(self.data)
            self.data += left[:free]
            left = left[free:]
            self.lot.unpark_all()

    async def get(self, limit: int) -> bytes:
        await trio.lowlevel.checkpoint()
        while not (self.data or self.ended or self.broken or self.left):
            await self.lot.park()
        if self.left:
            raise trio.ClosedResourceError
        if self.broken:
            raise trio.BrokenResourceError("connection reset by peer")
        data = bytes(self.data[:limit])
        del self.data[:limit]
        self.lot.unpark_all()
        return data

    def change(self, **fields: bool) -> None:
        for name, value in fields.items():
            setattr(self, name, value)
        self.lot.unpark_all()


@attrs.define(eq=False)
class MemoryLine:
    incoming: _Half
    outgoing: _Half

    @property
    def is_readable(self) -> bool:
        return bool(self.incoming.data or self.incoming.ended or self.incoming.broken)

    async def send_all(self, data: bytes) -> None:
        await self.outgoing.put(data)

    async def receive_some(self, limit: int = 65536) -> bytes:
        return await self.incoming.get(limit)

    async def aclose(self) -> None:
        self.outgoing.change(ended=True)
        self.incoming.change(left=True)
        await trio.lowlevel.checkpoint()

    def reset(self) -> None:
        self.outgoing.data.clear()
        self.outgoing.change(broken=True)
        self.incoming.change(left=True)


class MemoryNetwork(httpcore.AsyncNetworkBackend):
    """Servers by host name. `refusing`: the Trio time until which a host refuses connections."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self.hosts: dict[str, Serve] = {}
        self.refusing: dict[str, float] = {}

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        await trio.lowlevel.checkpoint()
        if trio.current_time() < self.refusing.get(host, -1.0):
            refused = OSError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
            raise httpcore.ConnectError(str(refused)) from refused
        there, back = _Half(), _Half()
        self._nursery.start_soon(self.hosts[host], MemoryLine(there, back))
        return MemoryStream(MemoryLine(back, there))


# ------------------------------------------------------------------ sockets


class SocketLine:
    """A socket, under TLS where `secure` is set."""

    def __init__(self, stream: trio.SocketStream, secure: trio.SSLStream[trio.SocketStream] | None) -> None:
        self._raw = stream
        self._stream: trio.abc.Stream = secure or stream

    async def send_all(self, data: bytes) -> None:
        await self._stream.send_all(data)

    async def receive_some(self) -> bytes:
        return bytes(await self._stream.receive_some(65536))

    async def aclose(self) -> None:
        with trio.move_on_after(1):
            await self._stream.aclose()

    def reset(self) -> None:
        self._raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._raw.socket.close()


class SocketServer:
    """A listener on a loopback port, which it keeps while it refuses connections."""

    def __init__(self, nursery: trio.Nursery, serve: Serve, *, secure: bool) -> None:
        self._nursery = nursery
        self._serve = serve
        self._context: ssl.SSLContext | None = None
        if secure:
            self._context = server_context()
        self._socket = self._bound(0)
        self._scope = trio.CancelScope()
        self.port: int = self._socket.getsockname()[1]
        self._listen()

    @staticmethod
    def _bound(port: int) -> trio.socket.SocketType:
        made = socket.socket()
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(("127.0.0.1", port))
        return trio.socket.from_stdlib_socket(made)

    def _listen(self) -> None:
        self._socket.listen(256)
        self._scope = trio.CancelScope()
        self._nursery.start_soon(self._accept, self._scope, trio.SocketListener(self._socket))

    async def _accept(self, scope: trio.CancelScope, listener: trio.SocketListener) -> None:
        with scope:
            await trio.serve_listeners(self._handle, [listener], handler_nursery=self._nursery)

    async def _handle(self, stream: trio.SocketStream) -> None:
        secure = None
        if self._context is not None:
            secure = trio.SSLStream(stream, self._context, server_side=True, https_compatible=True)
        await self._serve(SocketLine(stream, secure))

    def refuse(self, seconds: float) -> None:
        """Refuse connections for some seconds, on the same port: a port that is bound and does not listen refuses."""
        self._scope.cancel()
        self._socket.close()
        self._socket = self._bound(self.port)

        async def open_again() -> None:
            await trio.sleep(seconds)
            self._listen()

        self._nursery.start_soon(open_again)

    def close(self) -> None:
        self._socket.close()
