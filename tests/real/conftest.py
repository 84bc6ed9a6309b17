"""Raw servers in memory, over loopback sockets and over TLS. Tests of `memory` also ask for `autojump_clock`."""

from collections.abc import AsyncIterator

import pytest
from raw_server import World, open_world


@pytest.fixture
async def memory() -> AsyncIterator[World]:
    async with open_world("memory") as world:
        yield world


@pytest.fixture
async def sockets() -> AsyncIterator[World]:
    async with open_world("sockets") as world:
        yield world


@pytest.fixture
async def tls() -> AsyncIterator[World]:
    async with open_world("tls") as world:
        yield world
