"""A scenario as a value: its number, the fault of the primary, what must happen, and the parts that test it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TypeVar

import attrs

from ...simulator.servers import SERVERS
from .setup import Setup

ALL = "all"
Play = Callable[[Setup], Awaitable[None]]
V = TypeVar("V")


@attrs.frozen
class Part:
    """One thing that must happen in a scenario, tested with a setup of its own; `title` is a sentence.

    `play` raises NotPassed, or any other exception, if it does not happen.
    """

    title: str
    play: Play
    only: Sequence[str] | None = None  # the dialects it runs with; None: all of them
    once: bool = False  # it runs once and chooses its dialects itself
    about_keys: bool = False  # it does not run with dialects without API keys
    virtual: bool = False  # it needs a virtual clock: it takes minutes, or compares exact times

    def dialects(self, wanted: Sequence[str]) -> Sequence[str]:
        """Return which of the wanted dialects it runs with; `ALL` if it runs once."""
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
    """It is passed if all of its parts are passed with every dialect."""

    number: str
    fault: str
    expected: str
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
        """Decorator: add a function as a part."""

        def add(play: Play) -> Play:
            self.parts.append(Part(title, play, only, once, about_keys, virtual))
            return play

        return add

    def parts_for(
        self,
        variants: Mapping[str, V],
        title: str,
        *,
        only: Sequence[str] | None = None,
        once: bool = False,
        about_keys: bool = False,
        virtual: bool = False,
    ) -> Callable[[Callable[[Setup, V], Awaitable[None]]], Callable[[Setup, V], Awaitable[None]]]:
        """Decorator: add a function of a setup and a variant, as one part for each variant."""

        def add(play: Callable[[Setup, V], Awaitable[None]]) -> Callable[[Setup, V], Awaitable[None]]:
            for name, variant in variants.items():
                played = partial(_with, play, variant)
                self.parts.append(Part(f"{title} ({name})", played, only, once, about_keys, virtual))
            return play

        return add


async def _with(play: Callable[[Setup, V], Awaitable[None]], variant: V, setup: Setup) -> None:
    await play(setup, variant)


SCENARIOS: dict[str, Scenario] = {}
"""By number. Filled when the modules in `scorecard.MODULES` are imported."""


def scenario(number: str, fault: str, expected: str) -> Scenario:
    """Make a scenario and add it to SCENARIOS."""
    made = SCENARIOS[number] = Scenario(number, fault, expected)
    return made


def by_number(scenarios: Iterable[Scenario]) -> Sequence[Scenario]:
    return tuple(sorted(scenarios, key=lambda scenario: scenario.number))
