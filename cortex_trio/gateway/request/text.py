"""The text of an answer alone. Knows events only.

Not a generator: one that is left by `break` is closed by the garbage collector only.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import final

from ...events import Restarted, StreamEvent, TextDelta


@final
class TextPieces:
    """The pieces of text among the events of an answer. Raises as iterating over these does.

    Commentary is left out, as in `Reply.text`; if nothing else came, it is delivered at the end.
    """

    def __init__(self, events: AsyncIterator[StreamEvent]) -> None:
        """
        Args:
            events: of the answer.
        """
        self._events = events
        self._commentary: list[str] = []
        self._has_answer = False

    def __aiter__(self) -> AsyncIterator[str]:
        return self

    async def __anext__(self) -> str:
        while True:
            try:
                event = await self._events.__anext__()
            except StopAsyncIteration:
                commentary = "".join(self._commentary)
                self._commentary.clear()
                if self._has_answer or not commentary:
                    raise
                return commentary
            match event:
                case TextDelta(phase="commentary"):
                    self._commentary.append(event.text)
                case TextDelta():
                    self._has_answer = True
                    return event.text
                case Restarted():
                    self._commentary.clear()
                    self._has_answer = False
                case _:
                    pass
