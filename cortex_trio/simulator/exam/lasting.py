"""What shows over minutes, under load, and when somebody leaves or dies."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Sequence

import trio
import trio.testing

from ...failures import CortexError, FailureKind
from ...gateway.cortex import Cortex
from ..behaviour import Behaviour
from ..leftovers import leftovers
from ..provider import SimulatedProvider
from ..speak.speaker import SimRequest
from .scenario import scenario
from .stage import DIALECTS, GOOD, RESCUE, SIXTY, Stage, check, equal, failing

MEGABYTE = 1024 * 1024
SERVED = Behaviour(text="Served.")


@scenario("S15", "flaps for 60 s, 20 requests", "all served; back on the primary soon; bounded attempts")
async def flapping(stage: Stage) -> None:
    def flap(request: SimRequest) -> Behaviour:
        return Behaviour(status=503) if request.when < 60 and request.when % 10 < 8 else GOOD

    primary = stage.primary(flap)
    stage.fallback()
    async with stage.gateway() as cortex:
        for number in range(1, 21):
            check((await cortex.complete("Hi")).text in (GOOD.text, RESCUE.text), "every request is served")
            await trio.sleep_until(3 * number)
        check(len(primary.requests) <= 20, "attempts at the primary are bounded")
        while (await cortex.complete("Hi")).worker != "primary":
            await trio.sleep(1)
            check(trio.current_time() <= 90, "back on the primary within 30 s of its recovery")


@scenario("S17", "the caller cancels mid-stream", "upstream closed before control returns; nothing left")
async def caller_leaves(stage: Stage) -> None:
    primary = stage.primary(Behaviour(text=SIXTY, stall_after=3))
    async with stage.gateway() as cortex:
        for cancels in (True, False):
            with trio.CancelScope() as scope:
                try:
                    await _leave(cortex, scope if cancels else None)
                finally:  # no checkpoint lies between leaving the stream and here
                    equal(primary.open_connections, 0, "connections open after leaving")
            await trio.testing.wait_all_tasks_blocked()
            check(not leftovers(cortex), f"nothing is held ({leftovers(cortex)})")
        equal((await cortex.health_status()).workers["primary"].failures, 0, "failures counted")


async def _leave(cortex: Cortex, scope: trio.CancelScope | None) -> None:
    async with cortex.chat("Hi") as answer:
        async for _ in answer.text():
            if scope is None:
                break
            scope.cancel()


@scenario("S20", "the health check hangs", "unavailable after its timeout; others unaffected")
async def health_check_hangs(stage: Stage) -> None:
    primary = stage.primary(GOOD)
    stage.fallback()
    primary.behave_health(Behaviour(silent=True))
    async with stage.gateway(health_check_timeout=5) as cortex:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cortex.check_health)
            await trio.sleep(1)
            equal((await cortex.complete("Hi")).worker, "primary", "who serves meanwhile")
            check(trio.current_time() < 1.2, "nobody waits for the check")
        primary.behave_health(Behaviour(silent=True))
        start = trio.current_time()
        health = await cortex.check_health()
        check(trio.current_time() - start < 5.2, "a check takes no longer than its timeout")
        equal(health.workers["primary"].status, "unavailable", "the one that hangs")
        equal(health.workers["fallback"].status, "available", "the other")


@scenario("S21", "the task holding the half-open permit is cancelled", "the permit is free again")
async def trial_cancelled(stage: Stage) -> None:
    primary = stage.primary(Behaviour(status=503))
    stage.fallback()
    async with stage.gateway() as cortex:
        for _ in range(3):
            await cortex.complete("Hi")
        await trio.sleep(6)
        primary.behave(Behaviour(silent=True))
        for _ in range(3):
            with trio.move_on_after(1) as scope:
                await cortex.complete("Hi")
            check(scope.cancelled_caught, "each of them gets the trial")
        primary.behave(GOOD)
        equal((await cortex.complete("Hi")).worker, "primary", "who serves after it")


@scenario(
    "S23", "200 workers flapping at random", "no lost request; state stays bounded", every_dialect=False
)
async def everybody_flaps(stage: Stage) -> None:
    chance = random.Random(23)
    faults = (
        Behaviour(status=503),
        Behaviour(error=FailureKind.RATE_LIMIT, retry_after=7),
        Behaviour(reset_after=0),
        Behaviour(cut_after=2),
        Behaviour(html=True),
    )
    for number in range(200):
        dialect = DIALECTS[number % len(DIALECTS)]
        script = _sometimes(chance.choice(faults), chance.uniform(0, 40))
        stage.add(f"{dialect}-{number}", script, dialect=dialect)
    texts: list[str] = []
    async with stage.gateway(strategy="random", max_attempts=12) as cortex:

        async def ask(at: float) -> None:
            await trio.sleep_until(at)
            texts.append((await cortex.complete("Hi")).text)

        async with trio.open_nursery() as nursery:
            for _ in range(300):
                nursery.start_soon(ask, chance.uniform(0, 120))
        for state in cortex._runtime.table.workers.values():
            check(len(state.breaker._calls) <= 1000, "a breaker's memory is bounded")
    equal(texts, [SERVED.text] * 300, "the answers")


def _sometimes(fault: Behaviour, phase: float) -> Callable[[SimRequest], Behaviour]:
    return lambda request: fault if (request.when + phase) % 40 < 15 else SERVED


@scenario(
    "S25", "any actor killed under 200 streams", "every stream ends well; the tree heals", every_dialect=False
)
async def actors_killed(stage: Stage) -> None:
    for dialect in DIALECTS:
        stage.add(dialect, Behaviour(text=SIXTY, tokens_per_second=20), dialect=dialect)
    resting = stage.add("resting", Behaviour(error=FailureKind.RATE_LIMIT, retry_after=1000), dialect="groq")
    async with stage.gateway(strategy="round_robin") as cortex:
        await failing(CortexError, lambda: cortex.complete("Hi", worker="resting"))
        for victim in ("registry", "keys", "workers", "health", "openai"):
            ended: list[str] = []

            async def ask(ended: list[str] = ended) -> None:
                async with cortex.chat("Hi") as answer:
                    ended.append("".join([piece async for piece in answer.text()]))

            async with trio.open_nursery() as nursery:
                for _ in range(40):
                    nursery.start_soon(ask)
                await trio.sleep(1)
                cortex.actor(victim).kill()
            equal(ended, [SIXTY] * 40, f"the answers while {victim} was killed")
            await trio.sleep(10)
        check(all("running" in line for line in cortex.tree().splitlines()), "the tree healed")
        await failing(CortexError, lambda: cortex.complete("Hi", worker="resting"))
    equal(len(resting.requests), 1, "requests to the one that rests: no crash forgets it")


class _Torrent(Sequence[str]):
    """A gigabyte of text, made piece by piece as it is sent."""

    def __len__(self) -> int:
        return 1_000_000

    def __iter__(self) -> Iterator[str]:
        return itertools.repeat("x" * 1000, len(self))

    def __getitem__(self, place: object) -> str:
        return "x" * 1000


@scenario("S26", "slow consumer, fast upstream of 1 GB", "memory bounded, upstream read paused")
async def slow_consumer(stage: Stage) -> None:
    primary = stage.primary(Behaviour(tokens=_Torrent()))
    async with stage.gateway() as cortex:
        async with cortex.chat("Hi") as answer:
            taken = 0
            async for piece in answer.text():
                taken += len(piece)
                if taken % 50_000 == 0:
                    await trio.testing.wait_all_tasks_blocked()
                    _check_paused(primary, taken)
                if taken >= 400_000:
                    break


def _check_paused(primary: SimulatedProvider, taken: int) -> None:
    ahead = primary.bytes_sent - 2 * taken
    check(ahead < MEGABYTE / 2, f"the upstream waits for its reader ({ahead:,} bytes ahead)")


@scenario("S29", "a connection reused after the server closed it", "asked again on a new one, unnoticed")
async def reused_connection(stage: Stage) -> None:
    primary = stage.primary(Behaviour(close_on_reuse=True), Behaviour(close_idle=True), GOOD)
    async with stage.gateway() as cortex:
        replies = [await cortex.complete("Hi") for _ in range(3)]
        equal((await cortex.health_status()).workers["primary"].failures, 0, "failures counted")
    equal(replies[-1].text, GOOD.text, "the answer")
    equal([len(reply.attempts) for reply in replies], [1, 1, 1], "attempts")
    equal(len(primary.requests), 3, "requests")
