"""pytest fixtures for programs that use this library: simulated providers, and a gateway in front of them.

    import pytest
    from cortex_trio.simulator import Behaviour

    async def my_app(cortex):  # your program
        return (await cortex.complete("What is the answer?")).text

    @pytest.mark.trio
    @pytest.mark.simulated_providers("anthropic", "openai")
    async def test_my_app_when_anthropic_dies_mid_sentence(simulated_providers, cortex):
        simulated_providers["anthropic"].behave(Behaviour(text="The answer is 42.", cut_after=2))
        simulated_providers["openai"].behave(Behaviour(text="It is 42."))
        assert await my_app(cortex) == "It is 42."

With `trio_mode = true` in the configuration of pytest, the mark `trio` is not needed.

The network is in memory and needs no sockets and no API keys. With pytest-trio's `autojump_clock` the time is virtual
as well. pytest loads this module as a plugin; without pytest-trio it has no fixtures. It imports the library when a
fixture is used for the first time, so that other test suites do not start more slowly.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .gateway.cortex import Cortex
    from .simulator import SimulatedProvider, Simulator
    from .telemetry import Observer

MARKER = "simulated_providers"
DEFAULT_PROVIDERS = ("openai", "anthropic", "ollama")
FIXTURES = {"simulated_providers", "cortex"}
WITHOUT_TRIO = (
    "the fixtures of cortex_trio need Trio: set trio_mode = true in the configuration of pytest, "
    "or mark the test with @pytest.mark.trio"
)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        f"{MARKER}(*names, providers, keys, models, on_event, **config): the simulated providers, in the order of "
        "their priority; providers={worker: provider}, keys={worker: [key]} and models={worker: [model]} change them, "
        "on_event takes an observer or several, and other keywords are fields of cortex_trio.Config "
        f"(default: {', '.join(DEFAULT_PROVIDERS)}; no health checks)",
    )


try:
    from pytest_trio import trio_fixture  # type: ignore[import-untyped, unused-ignore]
except ImportError:
    pass
else:

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(item: pytest.Item) -> None:
        """Fail a test that cannot work: without Trio it would end before its first line, or with another's error."""
        if not FIXTURES.intersection(getattr(item, "fixturenames", ())):
            return
        is_async = inspect.iscoroutinefunction(getattr(item, "obj", None))
        if item.get_closest_marker("trio") is None and not item.config.getini("trio_mode") and is_async:
            pytest.fail(WITHOUT_TRIO, pytrace=False)

    @trio_fixture  # type: ignore[untyped-decorator, unused-ignore]
    async def simulated_providers(request: pytest.FixtureRequest) -> AsyncIterator[Simulator]:
        """Simulated providers in memory, without faults until the test sets some."""
        from .simulator import open_simulator

        mark = request.node.get_closest_marker(MARKER)
        options: Mapping[str, Any] = mark.kwargs if mark else {}
        providers: Mapping[str, str] = options.get("providers", {})
        keys: Mapping[str, Sequence[str]] = options.get("keys", {})
        models: Mapping[str, Sequence[str]] = options.get("models", {})
        names = dict.fromkeys([*(mark.args if mark else ()), *providers]) or dict.fromkeys(DEFAULT_PROVIDERS)
        _check_names(names, keys=keys, models=models)
        async with open_simulator() as sim:
            for name in names:
                provider = sim.add(name, provider=providers.get(name), models=_list(models.get(name)))
                _set_keys(provider, _list(keys.get(name)))
            yield sim  # noqa: ASYNC119, RUF100 - pytest-trio runs it to its end

    @pytest.fixture
    def cortex_observers() -> Sequence[Observer]:
        """The observers of `cortex`, beside those of the mark. Define a fixture of this name to add your own."""
        return ()

    @trio_fixture  # type: ignore[untyped-decorator, unused-ignore]
    async def cortex(
        simulated_providers: Simulator, cortex_observers: Sequence[Observer], request: pytest.FixtureRequest
    ) -> AsyncIterator[Cortex]:
        """A gateway in front of `simulated_providers`. The test fails if requests still hold anything at its end."""
        from .simulator import open_gateway

        mark = request.node.get_closest_marker(MARKER)
        settings = dict(mark.kwargs) if mark else {}
        for name in ("providers", "keys", "models"):
            settings.pop(name, None)
        observers = [*_observers(settings.pop("on_event", None)), *cortex_observers]
        async with open_gateway(simulated_providers, on_event=observers, **settings) as gateway:
            yield gateway  # noqa: ASYNC119, RUF100 - as above


def _check_names(names: Mapping[str, None], **options: Mapping[str, object]) -> None:
    for option, values in options.items():
        for name in values:
            if name not in names:
                raise ValueError(f"{MARKER}: {option}= names {name!r}, but there are: {', '.join(names)}")


def _observers(given: Observer | Sequence[Observer] | None) -> Sequence[Observer]:
    if given is None:
        return ()
    return given if isinstance(given, Sequence) else (given,)


def _list(values: Sequence[str] | None) -> Sequence[str] | None:
    return [values] if isinstance(values, str) else values


def _set_keys(provider: SimulatedProvider, keys: Sequence[str] | None) -> None:
    """Give a provider API keys of its own; it accepts no others."""
    if keys is not None:
        provider.api_keys = tuple(keys)
        provider.valid_keys = set(keys)
