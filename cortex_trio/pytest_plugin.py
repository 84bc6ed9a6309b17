"""Fixtures for the tests of programs that ask models: simulated providers, and a gateway before them.

    @pytest.mark.simulated_providers("anthropic", "openai")
    async def test_my_app_when_anthropic_dies_mid_sentence(simulated_providers, cortex):
        simulated_providers["anthropic"].behave(Behaviour(text="The answer is 42.", cut_after=2))
        simulated_providers["openai"].behave(Behaviour(text="It is 42."))
        assert await my_app(cortex) == "It is 42."

The network is in memory: no sockets, no keys, no bills. With pytest-trio's `autojump_clock` beside them the seconds
are virtual as well. pytest finds this module by itself; without pytest-trio it offers nothing. It imports the
library only when a fixture is used, so that a test suite that does not use it starts no slower.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .gateway.cortex import Cortex
    from .simulator import Simulator

MARKER = "simulated_providers"
DEFAULT_PROVIDERS = ("openai", "anthropic", "ollama")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        f"{MARKER}(*names, **config): which providers are simulated, in the order in which the gateway asks them, "
        f"and settings of cortex_trio.Config (default: {', '.join(DEFAULT_PROVIDERS)}; no health checks)",
    )


try:
    from pytest_trio import trio_fixture  # type: ignore[import-untyped, unused-ignore]
except ImportError:
    pass
else:

    @trio_fixture  # type: ignore[untyped-decorator, unused-ignore]
    async def simulated_providers(request: pytest.FixtureRequest) -> AsyncIterator[Simulator]:
        """Good providers, in memory, until the test makes them behave otherwise."""
        from .simulator import open_simulator

        marker = request.node.get_closest_marker(MARKER)
        async with open_simulator() as sim:
            for name in (marker and marker.args) or DEFAULT_PROVIDERS:
                sim.add(name)
            yield sim  # noqa: ASYNC119, RUF100 - pytest-trio runs it to its end

    @trio_fixture  # type: ignore[untyped-decorator, unused-ignore]
    async def cortex(simulated_providers: Simulator, request: pytest.FixtureRequest) -> AsyncIterator[Cortex]:
        """A gateway before them. At the end nothing of its requests may be left: the test fails if it is."""
        from .simulator import open_gateway

        marker = request.node.get_closest_marker(MARKER)
        async with open_gateway(simulated_providers, **(marker.kwargs if marker else {})) as gateway:
            yield gateway  # noqa: ASYNC119, RUF100 - as above
