"""The network as the pool sees it: origins, byte streams and what opens them. Protocols only; knows no HTTP.

`trio_backend` implements them for this machine's network, `httpcore_backend` for a network backend of httpcore, such as
the simulator's network in memory.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import NamedTuple, Protocol

from .errors import ConnectError

RECEIVE_BYTES = 64 * 1024
"""Bytes of one read."""
CLOSE_SECONDS = 2.0
"""Seconds after which a close that waits is given up."""
MAX_ADDRESS_LENGTH = 80
"""Characters of an address in an error. Messages are cut at their end, where the reason is."""
EMPTY = memoryview(b"")

MakeSSLContext = Callable[[], ssl.SSLContext]
"""Called for secure origins only: making a context takes tens of milliseconds."""


class Origin(NamedTuple):
    """Where a connection leads. Any idle connection of an origin can carry any request to it."""

    secure: bool
    host: str
    port: int

    @property
    def address(self) -> str:
        """`host:port`; an IPv6 address in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def connect_error(origin: Origin, reason: str) -> ConnectError:
    """Return an error whose text names the address and, at its end, the reason."""
    address = origin.address
    if len(address) > MAX_ADDRESS_LENGTH:
        address = address[: MAX_ADDRESS_LENGTH - 1] + "…"
    return ConnectError(f"could not connect to {address}: {reason}")


class NetworkStream(Protocol):
    """A connected byte stream. One task may send while another receives.

    Sending and receiving raise trio.BrokenResourceError, or trio.ClosedResourceError after a close on this side.
    """

    async def send(self, data: memoryview) -> None:
        """Start to send `data`: as much as the network takes without waiting for the server. May not checkpoint.

        `finish_sending` sends what is left. Until then no other data may be sent.
        """
        ...

    @property
    def is_sending(self) -> bool:
        """Whether bytes are left to be sent. False after an error."""
        ...

    async def finish_sending(self) -> None:
        """Send the bytes that are left. It can be cancelled and called again, unless the stream says otherwise."""
        ...

    async def receive_some(self) -> bytes:
        """Return the next bytes, or b"" when the server has ended the stream."""
        ...

    def is_readable(self) -> bool:
        """Whether a read would return at once. An idle connection that is readable must not be used again."""
        ...

    can_close_now: bool
    """Whether `close_now` can be called."""

    def close_now(self) -> None:
        """Close without waiting. A task that is reading or writing gets an error."""
        ...

    async def aclose(self) -> None:
        """Close. Never waits longer than CLOSE_SECONDS, cancelled or not. A task that is reading gets an error."""
        ...


class NetworkBackend(Protocol):
    """Opens network streams."""

    async def connect(self, origin: Origin, timeout: float) -> NetworkStream:
        """Open a stream to `origin`, over TLS if the origin is secure.

        Args:
            origin: where to connect to.
            timeout: seconds for the whole connection, name resolution and TLS handshake included.

        Raises:
            ConnectError: no connection was opened, or not in time.
        """
        ...
