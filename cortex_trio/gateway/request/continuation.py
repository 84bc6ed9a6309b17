"""Joins an answer with its continuation: what the second repeats of the end of the first is left out. Pure."""

from __future__ import annotations

from typing import final

LOOK_BACK = 400
"""Characters of the first part a continuation may repeat."""
CERTAIN = 16
"""Fewer equal characters than these are a coincidence, unless they are all there is of the first part."""


@final
class ContinuationDeduplicator:
    """Fed with the continuation piece by piece; gives it back without what was delivered before.

    It holds a piece only while it might still turn out to be a repetition.
    """

    def __init__(self, delivered: str) -> None:
        self._tail = delivered[-LOOK_BACK:]
        self._after_blank = delivered[-1:].isspace()
        self._held = ""
        self._decided = not delivered

    def feed(self, piece: str) -> str:
        """Return what may be delivered now; perhaps nothing yet."""
        if self._decided:
            return piece
        self._held += piece
        return "" if self._may_repeat() else self.finish()

    def finish(self) -> str:
        """Decide with what there is, and return what was held."""
        if self._decided:
            return ""
        self._decided = True
        rest = self._held[self._repeated() :]
        self._held = ""
        return rest.lstrip(" ") if self._after_blank else rest

    def _may_repeat(self) -> bool:
        """Could more text make the held text a repetition that reaches to the end of what was delivered?"""
        held = self._held
        return any(self._tail.startswith(held, at) for at in range(len(self._tail) - len(held)))

    def _repeated(self) -> int:
        """How many characters at the start of the held text stand at the end of what was delivered."""
        least = min(CERTAIN, len(self._tail))
        longest = min(len(self._tail), len(self._held))
        return next((n for n in range(longest, least - 1, -1) if self._tail.endswith(self._held[:n])), 0)
