"""What the routes and the server share besides requests: kinds of errors, and the limits of a caller's virtual key.

Knows neither how limits are counted nor in which shape a dialect renders an error.
"""

from __future__ import annotations

import enum
from typing import Protocol


class ErrorKind(enum.Enum):
    """Errors that the server itself has for a request. Dialects render them."""

    BAD_REQUEST = enum.auto()
    """400: the request is not HTTP that is served here, or its body cannot be decoded."""
    BAD_KEY = enum.auto()
    """401: no API key, or one that is not known."""
    INSUFFICIENT_QUOTA = enum.auto()
    """402: the budget of the virtual key is spent."""
    MODEL_NOT_ALLOWED = enum.auto()
    """403: the virtual key does not include the model."""
    NOT_FOUND = enum.auto()
    """404: there is no such path."""
    METHOD_NOT_ALLOWED = enum.auto()
    """405: the path has other methods."""
    TIMEOUT = enum.auto()
    """408: the body of the request did not arrive in time."""
    TOO_LARGE = enum.auto()
    """413: the body of the request is longer than allowed."""
    MISDIRECTED = enum.auto()
    """421: the Host header names a host that is not served here."""
    RATE_LIMITED = enum.auto()
    """429: a rate or the concurrency of the virtual key is used up."""
    INTERNAL = enum.auto()
    """500: the server has a bug."""
    OVERLOADED = enum.auto()
    """503: too many connections."""
    DRAINING = enum.auto()
    """503: the server is being stopped."""

    @property
    def status(self) -> int:
        """The HTTP status, for all dialects unless a dialect says otherwise."""
        return _STATUS[self]


_STATUS = {
    ErrorKind.BAD_REQUEST: 400,
    ErrorKind.BAD_KEY: 401,
    ErrorKind.INSUFFICIENT_QUOTA: 402,
    ErrorKind.MODEL_NOT_ALLOWED: 403,
    ErrorKind.NOT_FOUND: 404,
    ErrorKind.METHOD_NOT_ALLOWED: 405,
    ErrorKind.TIMEOUT: 408,
    ErrorKind.TOO_LARGE: 413,
    ErrorKind.MISDIRECTED: 421,
    ErrorKind.RATE_LIMITED: 429,
    ErrorKind.INTERNAL: 500,
    ErrorKind.OVERLOADED: 503,
    ErrorKind.DRAINING: 503,
}


class ClientLimits(Protocol):
    """The virtual key with which a request came.

    The server has already counted the request against its rate, and holds its place in the concurrency limit until the
    route returns. Routes check the model and charge what the call has cost.
    """

    @property
    def name(self) -> str:
        """The name of the virtual key: for events, tags and logs."""
        ...

    def allows(self, model: str) -> bool:
        """Return whether the virtual key includes a model.

        Args:
            model: As the request names it: an alias, a model, `worker/model`, `auto`, or empty for `auto`.
        """
        ...

    def charge(self, *, tokens: int, usd: float | None) -> None:
        """Count what a call has used, also if it failed or was cancelled. Never waits and never raises.

        Args:
            tokens: Of input and output together.
            usd: None if the price is not known; then the budget is not charged.
        """
        ...
