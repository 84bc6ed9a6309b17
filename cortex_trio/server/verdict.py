"""What is decided about a request from its head alone, before its body is read. Values only."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

import attrs

from .exchange import Exchange, Headers, ServedRequest
from .head import RequestHead
from .limits_protocol import ErrorKind

Answer = Callable[[ServedRequest, Exchange], Awaitable[None]]
"""Answers one request."""


@attrs.frozen(kw_only=True)
class Refused:
    """The request is answered with an error."""

    kind: ErrorKind
    message: str
    """For the client."""
    retry_after: float | None = None
    """Seconds. None: unknown, or never."""
    headers: Headers = ()
    """Besides those of the error."""
    key: str | None = None
    """The name of the virtual key; None: none was accepted."""


@attrs.frozen(kw_only=True)
class Accepted:
    """The request is answered by a route."""

    answer: Answer
    key: str | None = None
    """The name of the virtual key; None: none was needed."""
    headers: Callable[[], Headers] = tuple
    """Returns what is sent besides the headers of the route, at the time of the response."""
    release: Callable[[], None] = lambda: None
    """Called when the request has ended, however it ends; more than once has the effect of once."""


class Front(Protocol):
    """Decides about requests, and has the errors of the server in the dialect of a path."""

    def decide(self, head: RequestHead, *, is_draining: bool) -> Accepted | Refused:
        """Return what becomes of a request. What is accepted must be released."""
        ...

    def error(
        self,
        path: str,
        kind: ErrorKind,
        message: str,
        *,
        sent: Headers = (),
        retry_after: float | None = None,
    ) -> tuple[int, Headers, bytes]:
        """Return a response: status, headers, body."""
        ...
