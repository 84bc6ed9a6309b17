"""Runs the exam: every part of every scenario with every dialect, each with providers and a clock of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs
import trio
import trio.testing

from ...simulator.seeding import seeded
from ...simulator.simulator import open_simulator
from . import (
    before_content,
    broken_streams,
    closing,
    key_echoes,
    malformed_responses,
    many_requests,
    over_minutes,
    rate_limits,
    shared_limit,
    single_worker,
    slow_responses,
    stream_contents,
)
from .scenario import SCENARIOS, Part, Scenario, by_number
from .setup import DIALECTS, NotPassed, Setup

MODULES = (
    rate_limits,
    shared_limit,
    before_content,
    slow_responses,
    broken_streams,
    stream_contents,
    over_minutes,
    closing,
    many_requests,
    key_echoes,
    malformed_responses,
    single_worker,
)
"""Importing them fills SCENARIOS."""
BENCH = tuple(f"S{number:02}" for number in range(1, 17))
"""The scenarios of the public FailoverBench."""


@attrs.frozen
class PartResult:
    """The result of one part with one dialect. `problem` is None if it was passed; `seconds` are virtual."""

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


def parts_and_dialects(
    scenarios: Sequence[Scenario], dialects: Sequence[str] = DIALECTS
) -> Iterator[tuple[Scenario, Part, str]]:
    """Every part with every dialect it runs with."""
    for scenario in scenarios:
        for part in scenario.parts:
            for dialect in part.dialects(dialects):
                yield scenario, part, dialect


def run_parts(
    scenarios: Sequence[Scenario], dialects: Sequence[str] = DIALECTS, seed: int = 0
) -> Iterator[PartResult]:
    """Run every part with each of its dialects. Yields each result as soon as it is known."""
    for scenario, part, dialect in parts_and_dialects(scenarios, dialects):
        yield play(scenario, part, dialect, seed)


def play(scenario: Scenario, part: Part, dialect: str, seed: int = 0) -> PartResult:
    """Run one part in virtual time. An exception of the part becomes the problem of the result."""
    clock = trio.testing.MockClock(autojump_threshold=0)
    with seeded(seed):
        problem = trio.run(perform, part, dialect, clock=clock)
    return PartResult(scenario, part, dialect, problem, clock.current_time())


async def perform(part: Part, dialect: str, *, second: float = 1.0, sockets: bool = False) -> str | None:
    """Run one part on the running clock. Returns what does not hold, None if it was passed.

    Over sockets the clock is real, and `second` is the length of a second.
    """
    try:
        async with open_simulator(sockets=sockets) as sim:
            await part.play(Setup(sim, DIALECTS[0] if part.once else dialect, second))
    except NotPassed as error:
        return str(error)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


def score(results: Sequence[PartResult], numbers: Sequence[str]) -> tuple[int, int]:
    """Return how many of the scenarios `numbers` were passed with every dialect, and how many were run."""
    here = [number for number in numbers if any(result.scenario.number == number for result in results)]
    failed = {result.scenario.number for result in results if not result.is_passed}
    return sum(number not in failed for number in here), len(here)
