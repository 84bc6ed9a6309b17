"""The errors of this package. Callers import them from `cortex_trio.http`.

    ConnectError             no connection was opened
    ConnectionBroken         the connection ended before the response was complete
    └── ServerDisconnected   … before its first byte
    RemoteProtocolError      the bytes of the server are not HTTP/1.1, or exceed a limit
    ReadTimeout              no byte arrived before the deadline

They are no subclasses of httpx's errors, because the gateway uses this package without httpx. `transport` maps them
for callers of httpx.
"""

from __future__ import annotations

from .causes import is_our_shortage


class ConnectError(Exception):
    """No connection was opened. The text names the address and the reason; `__cause__` is the system's error."""

    @property
    def ours(self) -> bool:
        """Whether this machine ran out of descriptors, memory or ports. Then the error says nothing of the server."""
        return is_our_shortage(self)


class ConnectionBroken(Exception):
    """The connection ended before the response was complete."""


class ServerDisconnected(ConnectionBroken):
    """The connection ended before the first byte of a response.

    Attributes:
        unread: the server cannot have read the request: it was not sent to its end, or only just. Then sending it
            again over another connection is safe.
    """

    def __init__(self, text: str, *, unread: bool) -> None:
        super().__init__(text)
        self.unread = unread


class RemoteProtocolError(Exception):
    """The bytes of the server are not HTTP/1.1, or exceed a limit of the parser."""


class ReadTimeout(Exception):
    """No byte arrived before the deadline. The connection may be closed already."""
