"""The event of the link to a store that several processes share."""

from __future__ import annotations

from datetime import datetime

import attrs

from .call_events import utc_now


@attrs.frozen
class StoreLinkChanged:
    """The link to the store that several processes share was opened or was lost. Calls go on in both cases."""

    connected: bool
    """Whether what other processes find out arrives here, and the reverse."""
    processes: int
    """How many processes use the store, this one included, as far as is known."""
    reason: str | None
    """Why the link was lost. None when it was opened."""
    at: datetime = attrs.field(factory=utc_now, kw_only=True, eq=False)
    """When it happened, in UTC."""
