"""A network in memory: connects host names to simulated providers, for every client built on httpcore.

The client's real HTTP code uses it, in virtual time if the clock is virtual. Errors of trio are mapped to those of
httpcore as httpcore's own trio backend maps them.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import httpcore
import trio

from .pipe import Pipe, PipeEnd
from .provider import SimulatedProvider

_READ_ERRORS = (trio.BrokenResourceError, trio.ClosedResourceError)


class MemoryNetwork(httpcore.AsyncNetworkBackend):
    """Connects to providers by host name; the port has no meaning. `nursery` runs the providers' side."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._hosts: dict[str, SimulatedProvider] = {}

    def attach(self, host: str, provider: SimulatedProvider) -> None:
        self._hosts[host] = provider

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        await trio.lowlevel.checkpoint()
        provider = self._hosts.get(host)
        if provider is None:
            raise httpcore.ConnectError(f"no simulated provider at {host!r}")
        behaviour = provider.next_connection()
        try:
            with _within(timeout):
                await provider.link.connect()
                await trio.sleep(behaviour.connect_after)
        except trio.TooSlowError:
            raise httpcore.ConnectTimeout from None
        if behaviour.refuse or provider.link.refusing:
            raise httpcore.ConnectError(f"connection to {host} refused")
        pipe = Pipe(provider.link)
        provider.link.attach(pipe)
        self._nursery.start_soon(provider.serve, pipe.server)
        return _MemoryNetworkStream(pipe.client, (host, port))

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        raise httpcore.ConnectError("the simulator has no unix sockets")

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)


class _MemoryNetworkStream(httpcore.AsyncNetworkStream):
    def __init__(self, end: PipeEnd, server: tuple[str, int]) -> None:
        self._end = end
        self._server = server

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            with _within(timeout):
                return await self._end.receive_some(max_bytes)
        except trio.TooSlowError:
            raise httpcore.ReadTimeout from None
        except _READ_ERRORS as error:
            raise httpcore.ReadError(str(error)) from error

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        try:
            with _within(timeout):
                await self._end.send_all(buffer)
        except trio.TooSlowError:
            raise httpcore.WriteTimeout from None
        except _READ_ERRORS as error:
            raise httpcore.WriteError(str(error)) from error

    async def aclose(self) -> None:
        await self._end.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        raise httpcore.ConnectError("the simulator has no TLS: use its http:// URLs")

    def get_extra_info(self, info: str) -> Any:
        match info:
            case "is_readable":
                return self._end.is_readable
            case "server_addr":
                return self._server
            case "client_addr":
                return ("memory", 0)
            case _:
                return None


_NO_DEADLINE = nullcontext()


def _within(timeout: float | None) -> AbstractContextManager[object]:
    """A deadline, if there is one: a cancel scope would cost more than the operation inside it."""
    return _NO_DEADLINE if timeout is None else trio.fail_after(timeout)
