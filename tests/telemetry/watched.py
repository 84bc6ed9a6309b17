"""What the tests of spans and metrics share: simulated calls, each of which ends in another way."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from cortex_trio import Cortex, CortexError, FailureKind, StreamInterrupted
from cortex_trio.simulator import Behaviour, open_gateway, open_simulator
from cortex_trio.telemetry import Observer

K = FailureKind
TEXT = "One two three four."
SERVED = Behaviour(text=TEXT, first_token_after=1, tokens_per_second=2)


@asynccontextmanager
async def watched(observer: Observer, **providers: Behaviour) -> AsyncIterator[Cortex]:
    """A gateway with these providers, the first one asked first; `observer` receives its events."""
    async with open_simulator() as sim:
        for name, behaviour in providers.items():
            sim.add(name, behaviour)
        async with open_gateway(sim, on_event=observer) as cortex:
            yield cortex
            await trio.testing.wait_all_tasks_blocked()


async def fail_over(observer: Observer) -> None:
    async with watched(observer, openai=Behaviour(error=K.OVERLOADED), anthropic=SERVED) as cortex:
        assert (await cortex.complete("Hi")).worker == "anthropic"


async def hedge(observer: Observer) -> None:
    async with watched(observer, openai=Behaviour(first_token_after=60), anthropic=SERVED) as cortex:
        assert (await cortex.complete("Hi", hedge_after=1)).worker == "anthropic"


async def cancel(observer: Observer) -> None:
    async with watched(observer, openai=Behaviour(first_token_after=60)) as cortex:
        with trio.move_on_after(5):
            await cortex.complete("Hi")


async def fail_all(observer: Observer) -> None:
    providers = {"openai": Behaviour(error=K.OVERLOADED), "anthropic": Behaviour(error=K.OVERLOADED)}
    async with watched(observer, **providers) as cortex:
        with pytest.raises(CortexError):
            await cortex.complete("Hi", max_wait=0, max_attempts=2)


async def interrupt(observer: Observer, how: str) -> None:
    cut = Behaviour(text=TEXT, cut_after=2)
    async with watched(observer, openai=cut, anthropic=SERVED) as cortex:
        try:
            async with cortex.chat("Hi", on_interrupt=how) as stream:  # type: ignore[arg-type]
                await stream.collect()
        except StreamInterrupted:
            assert how == "raise"


async def leave_two_streams_in_other_tasks(observer: Observer) -> None:
    """Two streams are opened one after the other, read in turns, and each is closed by a task of its own."""
    async with watched(observer, openai=SERVED) as cortex:
        streams = [cortex.chat("Hi", worker="openai") for _ in range(2)]
        opened = [await stream.__aenter__() for stream in streams]
        for _ in range(2):
            for stream in opened:
                await stream.__anext__()
        async with trio.open_nursery() as nursery:
            for stream in opened:
                nursery.start_soon(stream.aclose)
