"""Servers between a client and a provider, over real sockets: proxies, TLS, unix sockets. Each relays bytes."""

import base64
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import attrs
import trio

Handle = Callable[[trio.abc.Stream], Awaitable[None]]


async def relay(one: trio.abc.Stream, other: trio.abc.Stream) -> None:
    """Pass bytes in both directions until either side ends."""

    async def copy(source: trio.abc.Stream, sink: trio.abc.Stream) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while data := await source.receive_some(65_536):
                await sink.send_all(data)
        nursery.cancel_scope.cancel()

    async with one, other, trio.open_nursery() as nursery:
        nursery.start_soon(copy, one, other)
        nursery.start_soon(copy, other, one)


@asynccontextmanager
async def serving(handle: Handle, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Serve connections on the loopback interface, over TLS with `context`; gives the port."""

    async def safely(stream: trio.abc.Stream) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            await handle(stream)

    async with trio.open_nursery() as nursery:
        if context is None:
            listeners = await nursery.start(partial(trio.serve_tcp, safely, 0, host="127.0.0.1"))
            port: int = listeners[0].socket.getsockname()[1]
        else:
            secure = await nursery.start(
                partial(trio.serve_ssl_over_tcp, safely, 0, context, host="127.0.0.1", https_compatible=True)
            )
            port = secure[0].transport_listener.socket.getsockname()[1]
        yield port
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def serving_unix(path: Path, handle: Handle) -> AsyncIterator[None]:
    """Serve connections on a unix socket."""
    listening = trio.socket.socket(socket.AF_UNIX)
    await listening.bind(str(path))
    listening.listen()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(trio.serve_listeners, handle, [trio.SocketListener(listening)]))
        yield
        nursery.cancel_scope.cancel()


def to_port(port: int) -> Handle:
    """Relay to a port of this machine."""

    async def handle(stream: trio.abc.Stream) -> None:
        await relay(stream, await trio.open_tcp_stream("127.0.0.1", port))

    return handle


@attrs.define
class Proxy:
    """An HTTP proxy, by CONNECT and by absolute-form (RFC 9112 §3.2.2). Names lead to ports of this machine."""

    names: Mapping[str, int]
    user: str | None = None  # "name:password" it demands
    seen: list[str] = attrs.field(factory=list)  # "CONNECT api.example:443", "POST http://api.example/v1/…"
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def handle(self, stream: trio.abc.Stream) -> None:
        data = bytearray()
        while b"\r\n\r\n" not in data:
            more = await stream.receive_some(65_536)
            if not more:
                return
            data += more
        head, _, after = bytes(data).partition(b"\r\n\r\n")
        line, *fields = head.decode("latin-1").split("\r\n")
        method, target, _ = line.split()
        self.seen.append(f"{method} {target}")
        headers = {
            name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)
        }
        if self.user is not None:
            wanted = f"Basic {base64.b64encode(self.user.encode()).decode()}"
            if headers.get("proxy-authorization") != wanted:
                await stream.send_all(
                    b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                )
                return
        if method == "CONNECT":
            host = target.rpartition(":")[0]
            upstream = await trio.open_tcp_stream("127.0.0.1", self.names[host])
            opening, back = after, b"HTTP/1.1 200 Connection established\r\n\r\n"
        else:
            url = urlsplit(target)
            upstream = await trio.open_tcp_stream("127.0.0.1", self.names[url.hostname or ""])
            path = url.path + (f"?{url.query}" if url.query else "")
            kept = [field for field in fields if not field.lower().startswith(("proxy-", "connection:"))]
            lines = [f"{method} {path} HTTP/1.1", *kept, "connection: close", "", ""]
            opening, back = "\r\n".join(lines).encode("latin-1") + after, b""
        async with upstream:
            await upstream.send_all(opening)
            await stream.send_all(back)
            await relay(stream, upstream)


@asynccontextmanager
async def open_proxy(names: Mapping[str, int], *, user: str | None = None) -> AsyncIterator[Proxy]:
    """Run a proxy on this machine."""
    proxy = Proxy(names, user)
    async with serving(proxy.handle) as proxy.port:
        yield proxy
