"""A scenario as a value: its number, what the primary does, what must happen, and the parts that try it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TypeVar

import attrs

from ...simulator.servers import SERVERS
from .stage import Stage

ALL = "all"
Play = Callable[[Stage], Awaitable[None]]
V = TypeVar("V")


@attrs.frozen
class Part:
    """One thing that must happen in a scenario, tried on a stage of its own; `title` is a sentence.

    `play` raises NotPassed, or whatever else comes out of it, if the promise is not kept.
    """

    title: str
    play: Play
    only: Sequence[str] | None = None  # the dialects it is for; None: all of them
    once: bool = False  # it brings its dialects itself
    about_keys: bool = False  # it has nothing to ask of a dialect without keys
    virtual: bool = False  # only a clock that jumps can show it: it takes minutes, or looks at moments

    def dialects(self, wanted: Sequence[str]) -> Sequence[str]:
        """Those of the wanted ones in which it is played; `ALL` where it is played once."""
        if self.once:
            return (ALL,)
        return [
            dialect
            for dialect in wanted
            if (self.only is None or dialect in self.only)
            and (SERVERS[dialect].needs_key or not self.about_keys)
        ]


@attrs.define
class Scenario:
    """Its parts are added by the modules that hold them; it is passed if all of them are, in every dialect."""

    number: str
    misfortune: str
    promise: str
    parts: list[Part] = attrs.field(factory=list)

    def part(
        self,
        title: str,
        *,
        only: Sequence[str] | None = None,
        once: bool = False,
        about_keys: bool = False,
        virtual: bool = False,
    ) -> Callable[[Play], Play]:
        """Enter a function as a part."""

        def enter(play: Play) -> Play:
            self.parts.append(Part(title, play, only, once, about_keys, virtual))
            return play

        return enter

    def parts_for(
        self,
        variants: Mapping[str, V],
        title: str,
        *,
        only: Sequence[str] | None = None,
        once: bool = False,
        about_keys: bool = False,
        virtual: bool = False,
    ) -> Callable[[Callable[[Stage, V], Awaitable[None]]], Callable[[Stage, V], Awaitable[None]]]:
        """Enter a function of a stage and a variant as a part for each of them."""

        def enter(play: Callable[[Stage, V], Awaitable[None]]) -> Callable[[Stage, V], Awaitable[None]]:
            for name, variant in variants.items():
                played = partial(_with, play, variant)
                self.parts.append(Part(f"{title} ({name})", played, only, once, about_keys, virtual))
            return play

        return enter


async def _with(play: Callable[[Stage, V], Awaitable[None]], variant: V, stage: Stage) -> None:
    await play(stage, variant)


SCENARIOS: dict[str, Scenario] = {}
"""By number; filled by the modules that hold them, see `scorecard`."""


def scenario(number: str, misfortune: str, promise: str) -> Scenario:
    """Make a scenario and enter it in SCENARIOS."""
    made = SCENARIOS[number] = Scenario(number, misfortune, promise)
    return made


def by_number(scenarios: Iterable[Scenario]) -> Sequence[Scenario]:
    return tuple(sorted(scenarios, key=lambda scenario: scenario.number))
