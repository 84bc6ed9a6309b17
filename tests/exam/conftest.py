"""The exam's stages, as fixtures: `stage` is virtual and loopback, `virtual` is for what only a mock clock can show."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from exam_stage import DIALECTS, Stage
from trio.testing import MockClock

from cortex_trio.simulator import open_simulator

LOOPBACK_DIALECTS = ("openai", "ollama")
"""One of each framing; the others differ in nothing a socket could show."""


def run_in_virtual_time(
    main: Callable[[], Any],
    *,
    clock: trio.abc.Clock | None,
    instruments: Sequence[trio.abc.Instrument],
) -> Any:
    """A pytest-trio runner: time jumps to the next deadline as soon as nobody has anything to do."""
    return trio.run(main, clock=clock or MockClock(autojump_threshold=0), instruments=instruments)


VIRTUAL = [
    pytest.param((dialect, False), id=dialect, marks=pytest.mark.trio(run=run_in_virtual_time))
    for dialect in DIALECTS
]
LOOPBACK = [pytest.param((dialect, True), id=f"{dialect}-loopback") for dialect in LOOPBACK_DIALECTS]


@asynccontextmanager
async def _open_stage(request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    dialect, sockets = request.param
    async with open_simulator(sockets=sockets) as sim:
        yield Stage(sim, dialect, second=0.01 if sockets else 1.0)


@pytest.fixture(params=[*VIRTUAL, *LOOPBACK])
async def stage(request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    async with _open_stage(request) as made:
        yield made


@pytest.fixture(params=VIRTUAL)
async def virtual(request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    async with _open_stage(request) as made:
        yield made
