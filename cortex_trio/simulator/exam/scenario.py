"""A scenario as a value: its number, what the primary does, what must happen, and the function that tries it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import attrs

from ..speak import SPEAKERS
from .stage import Stage

ALL = "all"
Play = Callable[[Stage], Awaitable[None]]


@attrs.frozen
class Scenario:
    """`play` raises NotPassed, or whatever else comes out of it, if the promise is not kept."""

    number: str
    misfortune: str
    promise: str
    play: Play
    every_dialect: bool = True  # otherwise it brings all dialects itself, and is played once
    about_keys: bool = False  # it has nothing to ask of a dialect without keys

    def dialects(self, wanted: Sequence[str]) -> Sequence[str]:
        """Those of the wanted ones in which it is played; `ALL` where it is played once."""
        if not self.every_dialect:
            return (ALL,)
        return [dialect for dialect in wanted if SPEAKERS[dialect].needs_key or not self.about_keys]


SCENARIOS: dict[str, Scenario] = {}
"""By number; filled by the modules that hold them, see `scorecard`."""


def scenario(
    number: str, misfortune: str, promise: str, *, every_dialect: bool = True, about_keys: bool = False
) -> Callable[[Play], Play]:
    """Enter a function in SCENARIOS."""

    def enter(play: Play) -> Play:
        SCENARIOS[number] = Scenario(number, misfortune, promise, play, every_dialect, about_keys)
        return play

    return enter
