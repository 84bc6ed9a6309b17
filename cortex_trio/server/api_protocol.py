"""What the server needs of the routes of the API. Knows no dialect."""

from __future__ import annotations

from typing import Protocol

from .exchange import Exchange, Headers, ServedRequest
from .limits_protocol import ClientLimits, ErrorKind


class Api(Protocol):
    """The routes of the API, and errors in the dialect of a path."""

    def serves(self, method: str, path: str) -> bool:
        """Return whether a route answers."""
        ...

    async def answer(self, request: ServedRequest, exchange: Exchange, client: ClientLimits | None) -> None:
        """Answer a request for which `serves` is true.

        Args:
            request: the request.
            exchange: takes the response.
            client: the virtual key; None: no key was asked for.
        """
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
        """Return an error of the server: status, headers, body.

        Args:
            path: decides about the dialect; any path.
            sent: the headers of the request, which decide where the path belongs to several dialects.
            kind: decides about the status.
            message: for the client.
            retry_after: seconds; None: unknown, or never.
        """
        ...
