"""One log line for each response. It has no query, no header and no body: they may hold keys, prompts and answers."""

from __future__ import annotations

import enum
import logging
from typing import Final

import attrs

from ..failures.shown import printable
from .exchange import Headers

log = logging.getLogger("cortex_trio.server")

LONGEST_PATH = 200
FROM_HEADERS: Final = {
    "x-cortex-worker": "worker",
    "x-cortex-model": "model",
    "x-cortex-attempts": "attempts",
}
"""Headers of the response, and the names of their fields in the log."""


class Outcome(enum.StrEnum):
    """What became of a response."""

    COMPLETED = "completed"
    CLIENT_LEFT = "client_left"
    """Or it did not read."""
    CUT = "cut"
    """By the route, or by the end of the server."""
    CRASHED = "crashed"


@attrs.frozen(kw_only=True)
class Access:
    """A request and what became of it."""

    request: str
    """The id."""
    method: str
    path: str
    status: int | None
    """None: nothing was sent."""
    outcome: Outcome
    duration: float
    """Seconds from the end of the head."""
    received: int
    """Bytes of the body of the request."""
    sent: int
    """Bytes of the body of the response."""
    client: str
    """The address."""
    key: str | None
    """The name of the virtual key. None: none was accepted."""
    headers: Headers = attrs.field(repr=False)
    """Of the response, as its route gave them."""


def is_logged() -> bool:
    """Return whether lines of this level are wanted."""
    return log.isEnabledFor(logging.INFO)


def log_access(access: Access) -> None:
    """Write the line. The fields are in `extra`."""
    path = printable(access.path[:LONGEST_PATH])
    extra = {
        "request": access.request,
        "method": printable(access.method),
        "path": path,
        "status": access.status,
        "outcome": access.outcome.value,
        "duration": access.duration,
        "received": access.received,
        "sent": access.sent,
        "client": access.client,
        "key": access.key,
    }
    extra |= {FROM_HEADERS[name]: printable(value) for name, value in access.headers if name in FROM_HEADERS}
    log.info(
        "%s %s %s %s in %.3f s",
        extra["method"],
        path,
        access.status or "-",
        access.outcome,
        access.duration,
        extra=extra,
    )
