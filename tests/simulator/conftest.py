"""Simulators in memory and over sockets, each with a client."""

from collections.abc import AsyncIterator

import pytest
from sim_client import Client

from cortex_trio.simulator import Simulator, open_simulator


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    """In memory."""
    async with open_simulator() as simulator:
        yield simulator


@pytest.fixture
async def client(sim: Simulator) -> AsyncIterator[Client]:
    made = Client(sim)
    yield made
    await made.pool.aclose()


@pytest.fixture(params=[False, True], ids=["memory", "sockets"])
async def any_sim(request: pytest.FixtureRequest) -> AsyncIterator[Simulator]:
    """In memory, and again over loopback sockets."""
    async with open_simulator(sockets=request.param) as simulator:
        yield simulator


@pytest.fixture
async def any_client(any_sim: Simulator) -> AsyncIterator[Client]:
    made = Client(any_sim)
    yield made
    await made.pool.aclose()
