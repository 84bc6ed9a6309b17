"""Simulated providers on loopback sockets."""

from collections.abc import AsyncIterator

import pytest

from cortex_trio.simulator import Simulator, open_simulator


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with open_simulator(sockets=True) as simulator:
        yield simulator
