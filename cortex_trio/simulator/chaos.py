"""A TCP proxy with faults, between any client and any server: latency, slices, cuts, resets, black holes.

For real sockets; the network in memory has `Link`. It does not parse HTTP: a fault may occur at any byte.
"""

from __future__ import annotations

import math
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import final
from urllib.parse import urlsplit

import attrs
import trio

from ..otp.nursery import open_flat_nursery

_RECEIVE = 64 * 1024
_GONE = (trio.BrokenResourceError, trio.ClosedResourceError)


@attrs.frozen(kw_only=True)
class ProxyFaults:
    """The faults of all connections of a proxy.

    The fields `…_after` count bytes that the server sent on one connection. The smallest of them takes effect; None:
    never.
    """

    latency: float = 0.0
    """Seconds by which all bytes are delayed."""
    bandwidth: float = math.inf
    """Bytes per second, in each direction of each connection."""
    slice_bytes: int | None = None
    """Bytes are forwarded in pieces of so many. None: as they arrive."""
    refuse: bool = False
    """New connections are reset as soon as they are made."""
    cut_after: int | None = None
    """The connection is closed in an orderly way (FIN)."""
    reset_after: int | None = None
    """The connection is reset (RST)."""
    black_hole_after: int | None = None
    """No byte is forwarded any more, in either direction, and neither side gets an error."""

    @property
    def ends_after(self) -> float:
        """The smallest of the `…_after` fields; infinity if all are None."""
        ends = (self.cut_after, self.reset_after, self.black_hole_after)
        return min((end for end in ends if end is not None), default=math.inf)


@final
class ChaosProxy:
    """Made by `open_chaos_proxy`. `faults` may be replaced at any time; open connections get the new ones, too."""

    def __init__(self, url: str, host: str, port: int) -> None:
        self.url = url
        self.faults = ProxyFaults()
        self.connections_made = 0
        self.open_connections = 0
        self._host = host
        self._port = port

    async def serve(self, client: trio.SocketStream) -> None:
        """Serve one connection, from its beginning to its end."""
        self.connections_made += 1
        self.open_connections += 1
        try:
            await self._serve(client)
        finally:
            self.open_connections -= 1

    async def _serve(self, client: trio.SocketStream) -> None:
        if self.faults.refuse:
            await _reset(client)
            return
        try:
            server = await trio.open_tcp_stream(self._host, self._port)
        except OSError:
            await _reset(client)
            return
        async with client, server, trio.open_nursery() as nursery:
            nursery.start_soon(self._forward_requests, client, server, nursery.cancel_scope)
            with suppress(*_GONE):
                await self._forward_responses(server, client)
            nursery.cancel_scope.cancel()

    async def _forward_requests(
        self, client: trio.SocketStream, server: trio.SocketStream, scope: trio.CancelScope
    ) -> None:
        """From the client to the server. When the client closes, the connection ends."""
        with suppress(*_GONE):
            is_lost = False  # what comes after lost bytes must not be forwarded
            while data := await client.receive_some(_RECEIVE):
                is_lost = is_lost or self.faults.black_hole_after is not None
                if not is_lost:
                    await self._forward(data, server)
        scope.cancel()

    async def _forward_responses(self, server: trio.SocketStream, client: trio.SocketStream) -> None:
        """From the server to the client, until the server or a fault ends the connection."""
        forwarded = 0
        while True:
            if forwarded >= self.faults.ends_after:
                await self._end(client, self.faults)
                return
            data = await server.receive_some(_RECEIVE)
            if not data:
                return
            faults = self.faults
            left = faults.ends_after - forwarded
            if left < len(data):
                await self._forward(bytes(data[: max(0, int(left))]), client)
                # Whatever the faults are by now: to go on without the rest of `data` would lose bytes in the middle.
                await self._end(client, faults)
                return
            await self._forward(bytes(data), client)
            forwarded += len(data)

    async def _forward(self, data: bytes | bytearray, to: trio.SocketStream) -> None:
        faults = self.faults
        await trio.sleep(faults.latency)
        size = faults.slice_bytes or len(data)
        for at in range(0, len(data), size or 1):
            piece = data[at : at + size]
            await to.send_all(piece)
            await trio.sleep(len(piece) / faults.bandwidth)

    async def _end(self, client: trio.SocketStream, faults: ProxyFaults) -> None:
        if faults.ends_after == faults.black_hole_after:
            await trio.sleep_forever()
        if faults.ends_after == faults.reset_after:
            await _reset(client)


@asynccontextmanager
async def open_chaos_proxy(target: str) -> AsyncIterator[ChaosProxy]:
    """Listen on a port of this machine and forward all connections to the server at the URL `target`.

    `proxy.url` is the URL for clients: the path of `target` at this port. When the block ends, all connections are
    closed.

    Raises:
        ValueError: `target` is not http://host:port/path. TLS would fail, since the host name differs.
        OSError: No port can be listened on.
    """
    parts = urlsplit(target)
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError(f"target: must be an http:// URL, not {target!r}")
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}{parts.path}"
    proxy = ChaosProxy(url, parts.hostname, parts.port or 80)
    async with open_flat_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, proxy.serve, [listener])
        yield proxy
        nursery.cancel_scope.cancel()


async def _reset(client: trio.SocketStream) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await client.aclose()
