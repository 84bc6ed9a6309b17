"""Sits the whole exam: every part of every scenario in every dialect, each in a world and a time of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs
import trio
import trio.testing

from ...simulator.seeded import seeded
from ...simulator.simulator import open_simulator
from . import alone, before, broken, crowds, echoes, hostile, lasting, late, leaving, limits, within
from .scenario import SCENARIOS, Part, Scenario, by_number
from .stage import DIALECTS, NotPassed, Stage

ROOMS = (limits, before, late, broken, within, lasting, leaving, crowds, echoes, hostile, alone)
"""Importing them is what fills SCENARIOS."""
BENCH = tuple(f"S{number:02}" for number in range(1, 17))
"""The scenarios of the public FailoverBench."""


@attrs.frozen
class Mark:
    """One part of a scenario in one dialect. `problem` is None if it was passed; `seconds` are virtual."""

    scenario: Scenario
    part: Part
    dialect: str
    problem: str | None
    seconds: float

    @property
    def is_passed(self) -> bool:
        return self.problem is None


def all_scenarios() -> Sequence[Scenario]:
    return by_number(SCENARIOS.values())


def plays(
    scenarios: Sequence[Scenario], dialects: Sequence[str] = DIALECTS
) -> Iterator[tuple[Scenario, Part, str]]:
    """All there is to be played: parts, and the dialects in which they are."""
    for scenario in scenarios:
        for part in scenario.parts:
            for dialect in part.dialects(dialects):
                yield scenario, part, dialect


def sit(scenarios: Sequence[Scenario], dialects: Sequence[str] = DIALECTS, seed: int = 0) -> Iterator[Mark]:
    """Play every part in each dialect, and say what came of it as soon as it is over."""
    for scenario, part, dialect in plays(scenarios, dialects):
        yield play(scenario, part, dialect, seed)


def play(scenario: Scenario, part: Part, dialect: str, seed: int = 0) -> Mark:
    """Play one part in virtual time; never raises an Exception: what goes wrong is the mark's problem."""
    clock = trio.testing.MockClock(autojump_threshold=0)
    with seeded(seed):
        problem = trio.run(perform, part, dialect, clock=clock)
    return Mark(scenario, part, dialect, problem, clock.current_time())


async def perform(part: Part, dialect: str, *, second: float = 1.0, sockets: bool = False) -> str | None:
    """Play one part on the running clock; return what does not hold, or None.

    Over sockets the clock is real, and `second` says what is left of a second.
    """
    try:
        async with open_simulator(sockets=sockets) as sim:
            await part.play(Stage(sim, DIALECTS[0] if part.once else dialect, second))
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
