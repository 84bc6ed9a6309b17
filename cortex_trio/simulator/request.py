"""One request as a simulated provider received it, for scripts and for assertions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from ..wire.server import ReceivedRequest, ResponseIdentity

CREATED = 1767225600
"""2026-01-01T00:00:00Z: every answer is made at this moment, so that two runs give the same bytes."""
CREATED_TEXT = "2026-01-01T00:00:00Z"
DATE = "Thu, 01 Jan 2026 00:00:00 GMT"


@attrs.frozen(kw_only=True)
class SimRequest:
    """One request as it arrived.

    `when` is trio time; `connection` counts the provider's connections from 1, `number` its requests from 1.
    """

    when: float
    method: str
    path: str
    query: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    body: Any = None  # parsed JSON; None for none, the bytes for what is not JSON
    key: str | None = attrs.field(default=None, repr=False)  # as sent, for assertions; never shown
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)  # lower-case names
    connection: int = 0
    number: int = 0

    def received(self) -> ReceivedRequest:
        """Return it as the dialects read it."""
        return ReceivedRequest(
            method=self.method,
            path=self.path,
            query=self.query,
            headers=self.headers,
            body=self.body,
            identity=identity_of(self.number),
        )


def identity_of(number: int) -> ResponseIdentity:
    """Return the identity of the response to a provider's request `number`."""
    return ResponseIdentity(
        id=f"sim{number:06}",
        uuid=f"00000000-0000-4000-8000-{number:012}",
        created=CREATED,
        created_text=CREATED_TEXT,
    )
