"""A TCP proxy that is bad weather: slow, in slices, cut, reset, or a black hole. Between any client and any server.

For real sockets; the network in memory has its `Link`. It knows nothing of HTTP: what it does happens to bytes,
wherever they are in a message.
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
class Weather:
    """What connections meet. The `_after`s count bytes of one connection's answers; the first that is due happens."""

    latency: float = 0.0
    """Seconds by which whatever comes is held."""
    bandwidth: float = math.inf
    """Bytes a second, in each direction of each connection."""
    slice_bytes: int | None = None
    """Bytes are handed on in pieces of so many."""
    refuse: bool = False
    """New connections are reset as soon as they are made."""
    cut_after: int | None = None
    """The connection ends in good order (FIN)."""
    reset_after: int | None = None
    """The connection is reset (RST)."""
    black_hole_after: int | None = None
    """Nothing passes any more, in neither direction, and neither side gets an error."""

    @property
    def ends_after(self) -> float:
        """Bytes of answers after which something ends; infinity: nothing does."""
        ends = (self.cut_after, self.reset_after, self.black_hole_after)
        return min((end for end in ends if end is not None), default=math.inf)


@final
class ChaosProxy:
    """Made by `open_chaos_proxy`. `weather` may be changed at any time; what is under way meets it, too."""

    def __init__(self, url: str, host: str, port: int) -> None:
        self.url = url
        self.weather = Weather()
        self.connections_made = 0
        self.open_connections = 0
        self._host = host
        self._port = port

    async def serve(self, client: trio.SocketStream) -> None:
        """One connection, from its beginning to its end."""
        self.connections_made += 1
        self.open_connections += 1
        try:
            await self._serve(client)
        finally:
            self.open_connections -= 1

    async def _serve(self, client: trio.SocketStream) -> None:
        if self.weather.refuse:
            await _reset(client)
            return
        try:
            server = await trio.open_tcp_stream(self._host, self._port)
        except OSError:
            await _reset(client)
            return
        async with client, server, trio.open_nursery() as nursery:
            nursery.start_soon(self._up, client, server, nursery.cancel_scope)
            with suppress(*_GONE):
                await self._down(server, client)
            nursery.cancel_scope.cancel()

    async def _up(
        self, client: trio.SocketStream, server: trio.SocketStream, scope: trio.CancelScope
    ) -> None:
        """Questions; the end of a client ends its connection."""
        with suppress(*_GONE):
            while data := await client.receive_some(_RECEIVE):
                if self.weather.black_hole_after is None:
                    await self._hand_on(data, server)
        scope.cancel()

    async def _down(self, server: trio.SocketStream, client: trio.SocketStream) -> None:
        """Answers, until they end or the weather ends them."""
        told = 0
        while True:
            if told >= self.weather.ends_after:
                await self._end(client)
                return
            data = await server.receive_some(_RECEIVE)
            if not data:
                return
            room = self.weather.ends_after - told
            data = data[: int(room)] if room < len(data) else data
            await self._hand_on(bytes(data), client)
            told += len(data)

    async def _hand_on(self, data: bytes | bytearray, to: trio.SocketStream) -> None:
        weather = self.weather
        await trio.sleep(weather.latency)
        size = weather.slice_bytes or len(data)
        for at in range(0, len(data), size or 1):
            piece = data[at : at + size]
            await to.send_all(piece)
            await trio.sleep(len(piece) / weather.bandwidth)

    async def _end(self, client: trio.SocketStream) -> None:
        weather = self.weather
        if weather.ends_after == weather.black_hole_after:
            await trio.sleep_forever()
        if weather.ends_after == weather.reset_after:
            await _reset(client)


@asynccontextmanager
async def open_chaos_proxy(target: str) -> AsyncIterator[ChaosProxy]:
    """Listen on a port of this machine for the server at the URL `target`; `proxy.url` is the same with that port.

    Raises ValueError for a target that is not http://host:port/path: with TLS the name would be another one.
    """
    parts = urlsplit(target)
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError(f"target: an http:// URL is needed, not {target!r}")
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
