"""How the parts read streams: all events, also those before an error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...events import StreamEvent, TextDelta
from ...gateway.cortex import Cortex


async def events_of(
    cortex: Cortex, seen: list[StreamEvent] | None = None, **options: Any
) -> list[StreamEvent]:
    """Return all events of one answer. After an error, those before it are in `seen`."""
    events = [] if seen is None else seen
    append = events.append
    async with cortex.chat("Hi", **options) as answer:
        async for event in answer:
            append(event)
    return events


def text_of(events: Sequence[object]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))
