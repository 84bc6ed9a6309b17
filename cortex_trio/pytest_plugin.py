"""pytest fixtures for programs that use this library: simulated providers, and a gateway in front of them.

    @pytest.mark.simulated_providers("anthropic", "openai")
    async def test_my_app_when_anthropic_dies_mid_sentence(simulated_providers, cortex):
        simulated_providers["anthropic"].behave(Behaviour(text="The answer is 42.", cut_after=2))
        simulated_providers["openai"].behave(Behaviour(text="It is 42."))
        assert await my_app(cortex) == "It is 42."

The network is in memory and needs no sockets and no API keys. With pytest-trio's `autojump_clock` the time is virtual
as well. pytest loads this module as a plugin; without pytest-trio it has no fixtures. It imports the library when a
fixture is used for the first time, so that other test suites do not start more slowly.
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
        f"{MARKER}(*names, **config): the simulated providers, in the order of their priority, "
        f"and fields of cortex_trio.Config (default: {', '.join(DEFAULT_PROVIDERS)}; no health checks)",
    )


try:
    from pytest_trio import trio_fixture  # type: ignore[import-untyped, unused-ignore]
except ImportError:
    pass
else:

    @trio_fixture  # type: ignore[untyped-decorator, unused-ignore]
    async def simulated_providers(request: pytest.FixtureRequest) -> AsyncIterator[Simulator]:
        """Simulated providers in memory, without faults until the test sets some."""
        from .simulator import open_simulator

        marker = request.node.get_closest_marker(MARKER)
        async with open_simulator() as sim:
            for name in (marker and marker.args) or DEFAULT_PROVIDERS:
                sim.add(name)
            yield sim  # noqa: ASYNC119, RUF100 - pytest-trio runs it to its end

    @trio_fixture  # type: ignore[untyped-decorator, unused-ignore]
    async def cortex(simulated_providers: Simulator, request: pytest.FixtureRequest) -> AsyncIterator[Cortex]:
        """A gateway in front of `simulated_providers`. The test fails if requests still hold anything at its end."""
        from .simulator import open_gateway

        marker = request.node.get_closest_marker(MARKER)
        async with open_gateway(simulated_providers, **(marker.kwargs if marker else {})) as gateway:
            yield gateway  # noqa: ASYNC119, RUF100 - as above
