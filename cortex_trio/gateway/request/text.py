"""The text of an answer alone. Knows events only.

Not a generator: one that is left by `break` is closed by the garbage collector only.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import final

from ...events import StreamEvent, TextDelta


@final
class TextPieces:
    """The pieces of text among the events of an answer, without commentary. Raises as iterating over these does."""

    def __init__(self, events: AsyncIterator[StreamEvent]) -> None:
        """
        Args:
            events: of the answer.
        """
        self._events = events

    def __aiter__(self) -> AsyncIterator[str]:
        return self

    async def __anext__(self) -> str:
        while True:
            event = await self._events.__anext__()
            if isinstance(event, TextDelta) and event.phase != "commentary":
                return event.text
