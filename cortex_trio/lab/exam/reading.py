"""How scenarios read streams: all events, also of one that breaks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...events import StreamEvent, TextDelta
from ...gateway.cortex import Cortex


async def events_of(
    cortex: Cortex, seen: list[StreamEvent] | None = None, **options: Any
) -> list[StreamEvent]:
    """All events of one answer; they are in `seen` as far as it came, too."""
    events = [] if seen is None else seen
    append = events.append
    async with cortex.chat("Hi", **options) as answer:
        async for event in answer:
            append(event)
    return events


def text_of(events: Sequence[object]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))
