"""Every part of the exam as a parameter: with every dialect in virtual time, with some over sockets."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from cortex_trio.lab.exam.scenario import ALL, Part, Scenario
from cortex_trio.lab.exam.scorecard import all_scenarios

OVER_SOCKETS = "openai"
"""The dialect that plays the exam over sockets: there the others do not differ but in the framing of streams."""
OTHER_FRAMING, OF_STREAMS = "ollama", ("S01", "S08", "S09", "S10")
"""A dialect of another framing, and the scenarios about the bytes of a stream."""
FAST = "openai"
"""The dialect that plays the exam in `check.sh`, and every part of it."""
OTHERS = ("anthropic", "openai_responses", "gemini", "cohere", "ollama")
"""Every other part is played with one of them as well, in turn: what differs between dialects is tested in tests/wire.
`cortex-trio exam` plays each part with all, and with the providers that speak a dialect of these."""
OF_MANY_CALLS = ("S23", "S25", "S28", "S33")
"""Scenarios that only continuous integration plays."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "play" in metafunc.fixturenames:
        metafunc.parametrize("play", list(_plays(over_sockets="sockets" in metafunc.function.__name__)))


def _plays(*, over_sockets: bool) -> Iterator[Any]:
    parts = ((scenario, part) for scenario in all_scenarios() for part in scenario.parts)
    for number, (scenario, part) in enumerate(parts):
        dialects = _over_sockets(scenario, part) if over_sockets else _in_virtual_time(part, number)
        for dialect in dialects:
            is_fast = dialect in (FAST, ALL) and scenario.number not in OF_MANY_CALLS
            marks = () if is_fast else (pytest.mark.slow,)
            yield pytest.param(
                (scenario, part, dialect), marks=marks, id=f"{scenario.number}-{dialect}-{part.title}"
            )


def _in_virtual_time(part: Part, number: int) -> Sequence[str]:
    fast, others = part.dialects((FAST,)), part.dialects(OTHERS)
    is_played_twice = others and (not fast or number % 2 == 0)
    return sorted({*fast, others[number // 2 % len(others)]}) if is_played_twice else fast


def _over_sockets(scenario: Scenario, part: Part) -> Sequence[str]:
    framings = (OVER_SOCKETS, OTHER_FRAMING) if scenario.number in OF_STREAMS else (OVER_SOCKETS,)
    return () if part.virtual else part.dialects(framings)
