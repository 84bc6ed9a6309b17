"""The demo load of `cortex-trio observe`: a gateway in front of simulated providers, callers, and faults in turn.

Everything is in the memory of this process: no API key, no network. The times are real.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import final

import attrs
import trio

from ..failures import CortexError, FailureKind
from ..gateway.cortex import Cortex, open_cortex
from ..gateway.settings.config import Config
from ..otp.nursery import open_flat_nursery
from ..simulator import Behaviour, SimRequest, Simulator, open_simulator
from ..telemetry import Snapshot

PROVIDERS = {"openai": 0.5, "anthropic": 0.8, "groq": 0.15, "ollama": 1.4}
"""The simulated providers, with the usual seconds until the first token."""
KEYS = ("sk-sim-openai-0001", "sk-sim-openai-0002")
CALLERS = 10
PAUSE_SECONDS = 1.0
"""The longest pause of a caller between two calls."""
TEXT = "A supervisor starts an actor again after it has crashed, so the callers need not know of it."
TOKENS_PER_SECOND = 30.0
PROMPTS = ("Why do programs have supervisors?", "What is a rate limit?", "What is a circuit breaker for?")


@attrs.frozen
class Episode:
    """A fault that lasts for `seconds`. `said` describes it."""

    said: str
    seconds: float
    behaviour: Behaviour | None = None
    """What `providers` do meanwhile. None: they work."""
    providers: Sequence[str] = ()
    limited_key: str | None = None
    """An API key of openai that is over its rate limit."""
    kills: str | None = None
    """The actor that is killed."""


OVERLOADED = Behaviour(error=FailureKind.OVERLOADED, first_token_after=0.2)
REFUSED = Behaviour(status=429, retry_after=6.0, first_token_after=0.2)
EPISODES = (
    Episode("nothing", 1.0),
    Episode("the first key of openai is over its rate limit (429, retry in 15 s)", 3.0, limited_key=KEYS[0]),
    Episode("anthropic is overloaded (529)", 9.0, OVERLOADED, ("anthropic",)),
    Episode("nothing", 6.0),
    Episode("the actor of groq was killed", 5.0, kills="groq"),
    Episode("groq ends its streams before the first token", 8.0, Behaviour(cut_after=0), ("groq",)),
    Episode("all providers refuse for 6 s (Retry-After): calls wait", 6.0, REFUSED, tuple(PROVIDERS)),
    Episode("nothing", 12.0),
)
"""Repeated for ever."""


@final
class DemoLoad:
    """A gateway under load, for `observe`."""

    def __init__(self, simulator: Simulator, cortex: Cortex) -> None:
        self._simulator = simulator
        self._cortex = cortex
        self._random = random.Random()
        self.fault = EPISODES[0].said

    def snapshot(self) -> Snapshot:
        """Return the gateway as it is now."""
        return self._cortex.snapshot()

    async def run(self) -> None:
        """Ask and break, until cancelled."""
        async with open_flat_nursery() as nursery:
            for _ in range(CALLERS):
                nursery.start_soon(self._call_repeatedly)
            while True:
                for episode in EPISODES:
                    await self._play(episode)

    async def _call_repeatedly(self) -> None:
        while True:
            try:
                async with self._cortex.chat(self._random.choice(PROMPTS)) as answer:
                    async for _ in answer.text():
                        pass
            except CortexError:
                pass  # it is in the next snapshot
            await trio.sleep(self._random.uniform(0.1, PAUSE_SECONDS))

    async def _play(self, episode: Episode) -> None:
        self.fault = episode.said
        openai = self._simulator["openai"]
        limit = Behaviour(status=429, retry_after=15.0, first_token_after=0.1)
        openai.limit_key(KEYS[0], limit if episode.limited_key == KEYS[0] else None)
        for name, provider in self._simulator.providers.items():
            fault = episode.behaviour if name in episode.providers else None
            provider.behave(fault if fault is not None else self._good(name))
            provider.requests.clear()  # the simulator keeps all of them, for tests
        if episode.kills is not None:
            self._cortex.actor(episode.kills).kill()
        await trio.sleep(episode.seconds)

    def _good(self, name: str) -> Callable[[SimRequest], Behaviour]:
        """Return good answers that do not all take the same time."""

        def answer(_: SimRequest) -> Behaviour:
            return Behaviour(
                text=TEXT,
                first_token_after=PROVIDERS[name] * self._random.uniform(0.5, 1.8),
                tokens_per_second=TOKENS_PER_SECOND,
            )

        return answer


@asynccontextmanager
async def open_demo_load() -> AsyncIterator[DemoLoad]:
    """Run the demo load while the block runs."""
    async with open_simulator() as simulator:
        for name in PROVIDERS:
            simulator.add(name)
        mapping = simulator.config(max_concurrency=4)
        mapping["openai"]["api_keys"] = list(KEYS)
        config = attrs.evolve(Config.from_mapping(mapping), strategy="round_robin", health_check_interval=5.0)
        async with open_cortex(config, http_transport=simulator.transport) as cortex:
            load = DemoLoad(simulator, cortex)
            async with open_flat_nursery() as nursery:
                nursery.start_soon(load.run)
                yield load
                nursery.cancel_scope.cancel()
