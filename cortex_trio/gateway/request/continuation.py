"""Joins an answer with its continuation, without what the continuation repeats of the answer. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import final

import attrs

from ...events import (
    CitationDelta,
    Finished,
    LogprobsDelta,
    TextDelta,
    TokenLogprob,
    ToolCallDelta,
    WholePart,
    WireEvent,
)

LOOK_BACK = 400
"""Characters of the first part a continuation may repeat."""
CERTAIN = 16
"""Fewer equal characters are taken for a coincidence, unless the first part has no more."""


@final
class ContinuationDeduplicator:
    """Takes the continuation piece by piece and returns it without what was delivered before.

    It keeps a piece only while that may still be a repetition.

    Args:
        delivered: the text of the answer that was delivered.
    """

    def __init__(self, delivered: str) -> None:
        self._tail = delivered[-LOOK_BACK:]
        self._after_blank = delivered[-1:].isspace()
        self._held = ""
        self._decided = not delivered
        self._cut = 0  # characters of repeated text whose tokens have not come yet
        self._tokens: list[TokenLogprob] = []  # of text that is not decided yet

    def deliver(self, events: Iterable[WireEvent]) -> Iterator[WireEvent]:
        """Return what may be delivered of the next events: text only once it is certainly no repetition."""
        for event in events:
            match event:
                case TextDelta() if event.phase != "commentary":
                    yield from self._with_tokens(self.feed(event.text))
                case LogprobsDelta(tokens):
                    self._tokens += tokens
                    yield from self._with_tokens("")
                case WholePart() | ToolCallDelta() | Finished():  # usage comes before text, too
                    yield from self._with_tokens(self.finish())
                    yield event
                case CitationDelta():
                    # Its place is one in an answer of which perhaps only the end is delivered.
                    yield attrs.evolve(event, start=None, end=None)
                case _:
                    yield event

    def feed(self, piece: str) -> str:
        """Return the text that may be delivered now, perhaps "" yet."""
        if self._decided:
            return piece
        self._held += piece
        return "" if self._may_repeat() else self.finish()

    def finish(self) -> str:
        """Decide with the text so far, and return what was kept of it."""
        if self._decided:
            return ""
        self._decided = True
        new = self._held[self._repeated() :]
        new = new.lstrip(" ") if self._after_blank else new
        self._cut = len(self._held) - len(new)
        self._held = ""
        return new

    def _with_tokens(self, text: str) -> Iterator[WireEvent]:
        """The text, behind the log probabilities of tokens that are delivered; those of repeated text are not."""
        if self._decided and self._tokens:
            taken, self._tokens = self._tokens, []
            if tokens := tuple(token for token in taken if not self._is_cut(token)):
                yield LogprobsDelta(tokens)
        if text:
            yield TextDelta(text)

    def _is_cut(self, token: TokenLogprob) -> bool:
        if token.is_reasoning or self._cut <= 0:
            return False
        self._cut -= len(token.token)
        return True

    def _may_repeat(self) -> bool:
        """Return whether more text could make this a repetition that reaches to the end of what was delivered."""
        held = self._held
        return any(self._tail.startswith(held, at) for at in range(len(self._tail) - len(held)))

    def _repeated(self) -> int:
        """Return how many characters of the continuation stand at the end of what was delivered."""
        least = min(CERTAIN, len(self._tail))
        longest = min(len(self._tail), len(self._held))
        return next((n for n in range(longest, least - 1, -1) if self._tail.endswith(self._held[:n])), 0)
