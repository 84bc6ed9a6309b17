"""The exam's stages, as fixtures: `stage` is virtual and loopback, `virtual` is for what only a mock clock can show."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from exam_stage import DIALECTS, Stage, loopback_stages, virtual_stages

from cortex_trio.simulator import open_simulator


@asynccontextmanager
async def _open_stage(request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    dialect, sockets = request.param
    async with open_simulator(sockets=sockets) as sim:
        yield Stage(sim, dialect, second=0.03 if sockets else 1.0)


@pytest.fixture(params=[*virtual_stages(*DIALECTS), *loopback_stages("openai", "ollama")])
async def stage(request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    """In memory for every dialect, over sockets for one of each framing: they differ in nothing a socket shows."""
    async with _open_stage(request) as made:
        yield made


@pytest.fixture(params=virtual_stages(*DIALECTS))
async def virtual(request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    async with _open_stage(request) as made:
        yield made
