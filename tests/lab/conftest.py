"""Every part of the exam as a parameter: with every dialect in virtual time, with some over sockets."""

from collections.abc import Iterator
from typing import Any

import pytest

from cortex_trio.lab.exam.scorecard import all_scenarios, parts_and_dialects

OVER_SOCKETS = "openai"
"""The dialect that plays the exam over sockets: there the others do not differ but in the framing of streams."""
OTHER_FRAMING, OF_STREAMS = "ollama", ("S01", "S08", "S09", "S10")
"""A dialect of another framing, and the scenarios about the bytes of a stream."""
SAME_DIALECT = ("groq", "xai", "xai_responses")
"""Providers that are left out, for they speak the dialects of others; `cortex-trio exam` plays them."""
FAST = "openai"
"""The dialect that plays the exam in `check.sh`; continuous integration plays all."""
OF_MANY_CALLS = ("S23", "S25", "S28", "S33")
"""Scenarios that only continuous integration plays."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "play" in metafunc.fixturenames:
        metafunc.parametrize("play", list(_plays(over_sockets="sockets" in metafunc.function.__name__)))


def _plays(*, over_sockets: bool) -> Iterator[Any]:
    for scenario, part, dialect in parts_and_dialects(all_scenarios()):
        if dialect in SAME_DIALECT:
            continue
        if over_sockets and (part.virtual or not _is_over_sockets(scenario.number, dialect)):
            continue
        is_fast = dialect in (FAST, "all") and scenario.number not in OF_MANY_CALLS
        marks = () if is_fast else (pytest.mark.slow,)
        yield pytest.param(
            (scenario, part, dialect), marks=marks, id=f"{scenario.number}-{dialect}-{part.title}"
        )


def _is_over_sockets(number: str, dialect: str) -> bool:
    return dialect == OVER_SOCKETS or (dialect == OTHER_FRAMING and number in OF_STREAMS)
