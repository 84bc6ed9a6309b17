"""Tokens and costs of several attempts. Plain sums; waits for nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self, final

from ..events import Attempt, Usage


@final
class Spending:
    """What some attempts took together. Each costs what its provider has reported, also one that failed or was cut.

    Attributes:
        usage: the token counts in total. None: no provider reported any.
        known: US dollars of the attempts whose price is known.
        unpriced: attempts whose tokens or price are not known, though they were served or reported tokens.
    """

    def __init__(self) -> None:
        self.usage: Usage | None = None
        self.known = 0.0
        self.unpriced = 0
        self._priced = 0

    @classmethod
    def of(cls, attempts: Iterable[Attempt]) -> Self:
        """Return what these attempts took."""
        made = cls()
        for attempt in attempts:
            made.add(attempt)
        return made

    def add(self, attempt: Attempt) -> None:
        """Add an attempt that is over."""
        is_reported = attempt.usage is not None and attempt.usage != Usage()
        if attempt.usage is not None and is_reported:
            self.usage = attempt.usage if self.usage is None else self.usage + attempt.usage
        if attempt.cost is not None:
            self.known += attempt.cost
            self._priced += 1
        elif is_reported or attempt.failure is None:
            self.unpriced += 1

    @property
    def cost(self) -> float | None:
        """US dollars. None: the price of one of the attempts is not known, or nothing was reported."""
        return self.known if self._priced and not self.unpriced else None
