"""Sits the whole exam: every scenario in every dialect, each in a world and a virtual time of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs
import trio
import trio.testing

from ..seeded import seeded
from ..simulator import open_simulator
from . import before, hostile, lasting, within
from .scenario import SCENARIOS, Scenario
from .stage import DIALECTS, NotPassed, Stage

ROOMS = (before, within, lasting, hostile)
"""Importing them is what fills SCENARIOS."""
BENCH = tuple(f"S{number:02}" for number in range(1, 17))
"""The scenarios of the public FailoverBench."""


@attrs.frozen
class Mark:
    """One scenario in one dialect. `problem` is None if it was passed; `seconds` are virtual."""

    scenario: Scenario
    dialect: str
    problem: str | None
    seconds: float

    @property
    def is_passed(self) -> bool:
        return self.problem is None


def all_scenarios() -> Sequence[Scenario]:
    return tuple(SCENARIOS[number] for number in sorted(SCENARIOS))


def sit(scenarios: Sequence[Scenario], dialects: Sequence[str] = DIALECTS, seed: int = 0) -> Iterator[Mark]:
    """Play each scenario in each dialect, and say what came of it as soon as it is over."""
    for scenario in scenarios:
        for dialect in scenario.dialects(dialects):
            yield play(scenario, dialect, seed)


def play(scenario: Scenario, dialect: str, seed: int = 0) -> Mark:
    """Play one scenario; never raises an Exception: what goes wrong is the mark's problem."""
    clock = trio.testing.MockClock(autojump_threshold=0)
    with seeded(seed):
        problem = trio.run(_played, scenario, dialect, clock=clock)
    return Mark(scenario, dialect, problem, clock.current_time())


async def _played(scenario: Scenario, dialect: str) -> str | None:
    try:
        async with open_simulator() as sim:
            await scenario.play(Stage(sim, dialect if scenario.every_dialect else DIALECTS[0]))
    except NotPassed as error:
        return str(error)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


def score(marks: Sequence[Mark], numbers: Sequence[str]) -> tuple[int, int]:
    """How many of the scenarios `numbers` were passed in every dialect, and how many there are."""
    here = [number for number in numbers if any(mark.scenario.number == number for mark in marks)]
    failed = {mark.scenario.number for mark in marks if not mark.is_passed}
    return sum(number not in failed for number in here), len(here)
