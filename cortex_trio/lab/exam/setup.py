"""The setup of a part: simulated providers, and a gateway that must release everything. Also the checks of parts."""

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
from ...simulator.held import connected, leftovers, may_be_of_a_check
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
REAL_TIME_SLACK_SECONDS = 2.0
"""Real time that a busy machine may need more, and that the close of a socket takes to the other side."""
GOOD = Behaviour(text="The whole answer, by the primary.")
RESCUE = Behaviour(text="The whole answer, by the fallback.")
SIXTY = " ".join(f"word{number}" for number in range(60))
"""Sixty tokens of the simulator."""
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
    """Something that must happen did not happen. The message says what."""


def check(holds: object, expected: str) -> None:
    """Raise NotPassed with `expected` unless it holds."""
    if not holds:
        raise NotPassed(f"does not hold: {expected}")


def equal(found: object, wanted: object, what: str) -> None:
    """Raise NotPassed unless `found` is `wanted`."""
    if found != wanted:
        raise NotPassed(f"{what}: {found!r:.200}, not {wanted!r:.200}")


def near(found: float | None, wanted: float, within: float, what: str) -> None:
    """Raise NotPassed unless `found` is `wanted`, give or take `within`."""
    if found is None or abs(found - wanted) > within:
        raise NotPassed(f"{what}: {found!r}, not {wanted:g} ± {within:g}")


def hint(seconds: float) -> str:
    """Return a Retry-After with microseconds, rounded up, so that a client that waits for it is not too early."""
    return f"{math.ceil(seconds * 1e6) / 1e6:.6f}"


async def failing(kind: type[E], make: Callable[[], Awaitable[object]]) -> E:
    """Return the error of the type `kind` that `make()` must raise."""
    try:
        await make()
    except kind as error:
        return error
    raise NotPassed(f"no {kind.__name__} was raised")


@attrs.define
class Setup:
    """The providers of one part, and its gateway. `dialect` is the primary's.

    `second` is the length of a second: all times in parts are multiples of it. Over sockets it is shorter, since time
    is real.
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
        """Seconds by which a real machine may be late."""
        return 0.0 if self.is_virtual else REAL_TIME_SLACK_SECONDS

    @property
    def other(self) -> str:
        """The dialect of the fallback: not that of the primary."""
        return "openai" if self.dialect == "anthropic" else "anthropic"

    def add(self, name: str, *script: Any, dialect: str | None = None, **settings: Any) -> SimulatedProvider:
        """Add a provider and its worker, after those before it; `settings` are fields of WorkerConfig."""
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
        """Open a gateway with all workers, which releases everything; `settings` are fields of Config."""
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
        """If a running health check may be what holds a connection, let it end."""
        held = leftovers(cortex)
        if self.config.health_check_interval and held and may_be_of_a_check(held):
            await trio.sleep(self.config.health_check_timeout)

    async def settle(self, holds: Callable[[], bool]) -> bool:
        """Wait until every actor has handled its messages; over sockets, until `holds` or the slack is over."""
        await trio.testing.wait_all_tasks_blocked()
        with trio.move_on_after(self.slack):
            while not holds():
                await trio.testing.wait_all_tasks_blocked(0.001)
        return holds()
