"""One request and the response to it, as the routes of the server see them. Knows no socket and no dialect."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Protocol

import attrs

Headers = Sequence[tuple[str, str]]
"""Names in lower case, and values, in order. Framing headers (content-length, transfer-encoding) are not in it."""

KEY_HEADERS = ("x-api-key", "x-goog-api-key", "api-key")
"""Headers whose whole value is the client's key: those of Anthropic, Google and Azure."""


@attrs.frozen(kw_only=True)
class ServedRequest:
    """One request that was read whole and whose key was accepted."""

    id: str
    """Our id of the request, "req_" and hexadecimal digits: in `x-request-id` and `request-id` of the response, in
    logs, events and spans."""

    method: str
    """In upper case."""

    path: str
    """Without the query; percent escapes are decoded."""

    query: Mapping[str, str] = attrs.field(repr=False)
    """The first value of each field."""

    headers: Headers = attrs.field(repr=False)
    """As the client sent them, with its API key removed."""

    body: bytes = attrs.field(repr=False)
    """The whole body, decoded; empty if there is none."""

    first_headers: Mapping[str, str] = attrs.field(
        init=False,
        repr=False,
        default=attrs.Factory(lambda self: dict(reversed(self.headers)), takes_self=True),
    )
    """The first value of each header."""

    def header(self, name: str) -> str | None:
        """Return the first value of a header, None if the client did not send it.

        Args:
            name: The name, in lower case.
        """
        return self.first_headers.get(name)


class CancelReason(enum.Enum):
    """Why the server cancelled a route."""

    CLIENT_LEFT = "client_left"
    """Nothing can be sent any more."""
    DRAINING = "draining"
    """The server is being stopped and the grace is over; the client is still there."""


class Exchange(Protocol):
    """Sends the response to one request. The route is cancelled when the client leaves, or at the end of a drain.

    A response is either one `respond`, or `begin`, then `write` any number of times, then `end`. A route that returns
    or raises between `begin` and `end` breaks the connection off, so that the client sees that the body is cut.

    A route that is cancelled while a body is open may send the error event of its dialect and `end`, if
    `cancel_reason` is DRAINING, in a shielded scope of at most one second. If nothing has begun the server responds
    by itself.
    """

    @property
    def cancel_reason(self) -> CancelReason | None:
        """Why the route was cancelled. None: the server has not cancelled it."""
        ...

    @property
    def has_begun(self) -> bool:
        """Whether the head of the response was sent."""
        ...

    async def respond(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a whole response.

        Args:
            status: The HTTP status.
            headers: Without framing; the ids of the request are added.
            body: The whole body.
        """
        ...

    async def begin(self, status: int, headers: Headers, *, keepalive: bytes = b"") -> None:
        """Send the head of a response whose body comes in pieces.

        Args:
            status: The HTTP status.
            headers: Without framing; the ids of the request are added.
            keepalive: A piece that means nothing, sent whenever there was no other for 15 s. Empty: none is sent.
        """
        ...

    async def write(self, data: bytes) -> None:
        """Send the next piece of the body at once. Waits while the client does not read.

        Args:
            data: The piece; nothing is sent for an empty one.

        Raises:
            trio.BrokenResourceError: The client has left, or has not read for too long.
        """
        ...

    async def end(self) -> None:
        """Send the end of the body."""
        ...
