"""Where the exam takes place: a primary that misbehaves, a fallback, and a gateway before both.

Every scenario is written once, in seconds of its own: on the virtual stage (providers in memory, Trio's mock
clock) a second is a second that passes at once, on the loopback stage (real sockets, real clock) it is a hundredth.
"""

from contextlib import AbstractAsyncContextManager
from typing import Any

import attrs
from at_rest import gateway, worker_of

from cortex_trio import Cortex, WorkerConfig
from cortex_trio.simulator import Behaviour, SimulatedProvider, Simulator

DIALECTS = ("openai", "groq", "xai", "anthropic", "gemini", "cohere", "ollama")
GOOD = Behaviour(text="The whole answer, by the primary.")
RESCUE = Behaviour(text="The whole answer, by the fallback.")
SIXTY = " ".join(f"word{number}" for number in range(60))
"""Sixty tokens, as the simulator cuts them."""


@attrs.define
class Stage:
    """One gateway's surroundings. `dialect` is the primary's; `second` scales every time in a scenario."""

    sim: Simulator
    dialect: str
    second: float
    workers: dict[str, WorkerConfig] = attrs.field(factory=dict)

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
