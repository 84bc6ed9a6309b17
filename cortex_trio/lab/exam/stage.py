"""Where a scenario takes place: simulated providers, and a gateway that must leave nothing behind."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import attrs
import trio
import trio.testing

from ...gateway.cortex import Cortex, open_cortex
from ...gateway.settings.config import Config, WorkerConfig
from ...messages import Tool, ToolCall
from ...simulator.behaviour import Behaviour
from ...simulator.leftovers import connected, leftovers, may_be_of_a_check
from ...simulator.provider import SimulatedProvider
from ...simulator.simulator import Simulator

DIALECTS = (
    "openai",
    "openai_responses",
    "groq",
    "xai",
    "xai_responses",
    "anthropic",
    "gemini",
    "cohere",
    "ollama",
)
PATIENCE_SECONDS = 2.0
"""Real time a socket's close may take to be seen on the other side, and a busy machine to come to us."""
GOOD = Behaviour(text="The whole answer, by the primary.")
RESCUE = Behaviour(text="The whole answer, by the fallback.")
SIXTY = " ".join(f"word{number}" for number in range(60))
"""Sixty tokens, as the simulator cuts them."""
FORTY = " ".join(SIXTY.split()[:40])
CALL = ToolCall("call_1", "transfer", '{"amount": 100, "to": "Ada", "note": "rent for November"}')
TRANSFER = Tool(
    name="transfer",
    description="Send money.",
    parameters={
        "type": "object",
        "properties": {
            "amount": {"type": "integer"},
            "to": {"type": "string"},
            "note": {"type": "string"},
        },
    },
)

E = TypeVar("E", bound=BaseException)


class NotPassed(Exception):
    """Something that must happen did not; the message says what."""


def check(holds: object, promise: str) -> None:
    """Raise NotPassed with `promise` unless it holds."""
    if not holds:
        raise NotPassed(f"does not hold: {promise}")


def equal(found: object, wanted: object, what: str) -> None:
    """Raise NotPassed unless `found` is `wanted`."""
    if found != wanted:
        raise NotPassed(f"{what}: {found!r:.200}, not {wanted!r:.200}")


def near(found: float | None, wanted: float, within: float, what: str) -> None:
    """Raise NotPassed unless `found` is `wanted`, give or take `within`."""
    if found is None or abs(found - wanted) > within:
        raise NotPassed(f"{what}: {found!r}, not {wanted:g} ± {within:g}")


def hint(seconds: float) -> str:
    """Return a Retry-After of microseconds, rounded up: a client that obeys it does not come too early."""
    return f"{math.ceil(seconds * 1e6) / 1e6:.6f}"


async def failing(kind: type[E], make: Callable[[], Awaitable[object]]) -> E:
    """Return the error of the type `kind` that must come out of `make()`."""
    try:
        await make()
    except kind as error:
        return error
    raise NotPassed(f"no {kind.__name__} was raised")


@attrs.define
class Stage:
    """One gateway's surroundings. `dialect` is the primary's; `second` scales every time in a scenario.

    In memory, in virtual time, a second is a second that passes at once; over sockets it is rather less.
    """

    sim: Simulator
    dialect: str
    second: float = 1.0
    workers: dict[str, WorkerConfig] = attrs.field(factory=dict)
    config: Config = attrs.field(init=False)  # of the gateway that was opened last

    @property
    def is_virtual(self) -> bool:
        return self.sim.network is not None

    @property
    def slack(self) -> float:
        """Seconds a real machine may be busy with something else."""
        return 0.0 if self.is_virtual else PATIENCE_SECONDS

    @property
    def other(self) -> str:
        """The fallback's dialect: another one."""
        return "openai" if self.dialect == "anthropic" else "anthropic"

    def add(self, name: str, *script: Any, dialect: str | None = None, **settings: Any) -> SimulatedProvider:
        """Another provider and its worker, asked after those that are here; `settings` are WorkerConfig's."""
        models = settings.pop("models", None)
        provider = self.sim.add(name, *script, provider=dialect or self.dialect, models=models)
        self.workers[name] = provider.worker(priority=len(self.workers), **settings)
        return provider

    def primary(self, *script: Any, **settings: Any) -> SimulatedProvider:
        return self.add("primary", *script, **settings)

    def fallback(self, *script: Any, **settings: Any) -> SimulatedProvider:
        return self.add("fallback", *(script or (RESCUE,)), dialect=self.other, **settings)

    @asynccontextmanager
    async def gateway(self, **settings: Any) -> AsyncIterator[Cortex]:
        """A gateway before those that were added; leaving it checks that nothing of a request is left."""
        on_event = settings.pop("on_event", None)
        self.config = config = Config(workers=self.workers, **{"health_check_interval": 0, **settings})
        transport = self.sim.transport if self.is_virtual else None
        async with open_cortex(config, http_transport=transport, on_event=on_event) as cortex:
            yield cortex
            await self.settle(lambda: not leftovers(cortex))
            await self._end_of_a_check(cortex)
            check(not leftovers(cortex), f"requests leave nothing behind ({leftovers(cortex)})")
        await self.settle(lambda: not connected(self.sim))
        check(not connected(self.sim), f"a closed gateway leaves no connection open ({connected(self.sim)})")

    async def _end_of_a_check(self, cortex: Cortex) -> None:
        """A health check that is running holds a connection, which no request has left behind: let it end."""
        held = leftovers(cortex)
        if self.config.health_check_interval and held and may_be_of_a_check(held):
            await trio.sleep(self.config.health_check_timeout)

    async def settle(self, holds: Callable[[], bool]) -> bool:
        """Let every actor handle its messages; over sockets, wait for what holds only when the kernel was asked."""
        await trio.testing.wait_all_tasks_blocked()
        with trio.move_on_after(self.slack):
            while not holds():
                await trio.testing.wait_all_tasks_blocked(0.001)
        return holds()
