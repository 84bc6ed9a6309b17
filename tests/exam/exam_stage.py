"""Where the exam takes place: a primary that misbehaves, a fallback, and a gateway before both.

Every scenario is written once, in seconds of its own: on the virtual stage (providers in memory, Trio's mock
clock) a second is a second that passes at once; on the loopback stage (real sockets, real clock) it is 30 ms.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import attrs
import pytest
import trio
from at_rest import gateway, worker_of
from trio.testing import MockClock

from cortex_trio import Cortex, WorkerConfig
from cortex_trio.simulator import Behaviour, SimulatedProvider, Simulator

DIALECTS = ("openai", "groq", "xai", "anthropic", "gemini", "cohere", "ollama")
GOOD = Behaviour(text="The whole answer, by the primary.")
RESCUE = Behaviour(text="The whole answer, by the fallback.")
SIXTY = " ".join(f"word{number}" for number in range(60))
"""Sixty tokens, as the simulator cuts them."""


def run_in_virtual_time(
    main: Callable[[], Any],
    *,
    clock: trio.abc.Clock | None,
    instruments: Sequence[trio.abc.Instrument],
) -> Any:
    """A pytest-trio runner: time jumps to the next deadline as soon as nobody has anything to do."""
    return trio.run(main, clock=clock or MockClock(autojump_threshold=0), instruments=instruments)


def virtual_stages(*dialects: str) -> list[Any]:
    """Parameters of the fixtures `stage` and `virtual`; a test that is not for all dialects names its own."""
    mark = pytest.mark.trio(run=run_in_virtual_time)
    return [pytest.param((dialect, False), id=dialect, marks=mark) for dialect in dialects]


def loopback_stages(*dialects: str) -> list[Any]:
    return [pytest.param((dialect, True), id=f"{dialect}-loopback") for dialect in dialects]


@attrs.define
class Stage:
    """One gateway's surroundings. `dialect` is the primary's; `second` scales every time in a scenario."""

    sim: Simulator
    dialect: str
    second: float
    workers: dict[str, WorkerConfig] = attrs.field(factory=dict)

    @property
    def slack(self) -> float:
        """Seconds a real machine may be busy with something else."""
        return 0.0 if self.sim.network is not None else 2.0

    @property
    def other(self) -> str:
        """The fallback's dialect: another one."""
        return "openai" if self.dialect == "anthropic" else "anthropic"

    def add(self, name: str, *script: Any, dialect: str | None = None, **settings: Any) -> SimulatedProvider:
        """Another provider and its worker, asked after those that are here; `settings` are WorkerConfig's."""
        provider = self.sim.add(name, *script, provider=dialect or self.dialect)
        self.workers[name] = worker_of(provider, priority=len(self.workers), **settings)
        return provider

    def primary(self, *script: Any, **settings: Any) -> SimulatedProvider:
        return self.add("primary", *script, **settings)

    def fallback(self, *script: Any, **settings: Any) -> SimulatedProvider:
        return self.add("fallback", *(script or (RESCUE,)), dialect=self.other, **settings)

    def gateway(self, **settings: Any) -> AbstractAsyncContextManager[Cortex]:
        return gateway(self.sim, self.workers, **settings)
