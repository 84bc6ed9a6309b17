"""Many workers and many requests, while workers fail and actors are killed: S23 and S25."""

from __future__ import annotations

import random
from collections.abc import Callable

import trio

from ...events import Reply
from ...failures import CortexError, FailureKind
from ...gateway.cortex import Cortex
from ...simulator.behaviour import Behaviour
from ...simulator.provider import SimulatedProvider
from ...simulator.request import SimRequest
from .scenario import scenario
from .setup import DIALECTS, SIXTY, Setup, check, equal, failing

S23 = scenario("S23", "200 workers flapping at random", "no lost request; state stays bounded")
S25 = scenario(
    "S25", "any actor killed under 200 streams", "every stream ends with an answer; every actor is restarted"
)

SERVED = Behaviour(text="Served.")
FAULTS = (
    Behaviour(status=503),
    Behaviour(error=FailureKind.SERVER),
    Behaviour(error=FailureKind.RATE_LIMIT, retry_after=7),
    Behaviour(error=FailureKind.QUOTA),
    Behaviour(reset_after=0),
    Behaviour(cut_after=2),
    Behaviour(garble_after=1),
    Behaviour(html=True),
    Behaviour(text=""),
)


@S23.part("every request that can be served is served", virtual=True, once=True)
async def all_flap(setup: Setup) -> None:
    """Each worker fails and works in turn, with its own fault and phase; at any time most of them work."""
    chance = random.Random(23)
    for number in range(200):
        dialect = DIALECTS[number % len(DIALECTS)]
        script = _sometimes(chance.choice(FAULTS), chance.uniform(0, 40))
        setup.add(f"{dialect}-{number}", script, dialect=dialect)
    replies: list[Reply] = []
    async with setup.gateway(strategy="random", max_attempts=12) as cortex:

        async def make_call(at: float) -> None:
            await trio.sleep_until(at)
            replies.append(await cortex.complete("Hi"))

        async with trio.open_nursery() as nursery:
            for _ in range(300):
                nursery.start_soon(make_call, trio.current_time() + chance.uniform(0, 120))
        _check_bounded(cortex)
    equal([reply.text for reply in replies], [SERVED.text] * 300, "the answers")
    sent = [len(reply.attempts) for reply in replies]
    check(max(sent) <= 12, f"no more attempts than were allowed ({max(sent)})")
    check(sum(sent) < 2 * len(sent), "few attempts, although at any moment three of eight workers fail")


def _sometimes(fault: Behaviour, phase: float) -> Callable[[SimRequest], Behaviour]:
    return lambda request: fault if (request.when + phase) % 40 < 15 else SERVED


def _check_bounded(cortex: Cortex) -> None:
    snapshot = cortex.snapshot()
    for worker in snapshot.workers:
        check(worker.breaker.calls <= 1000, "the calls that a breaker remembers are bounded")
        check(worker.in_flight == 0, "no permit is held")
        keys = snapshot.keys_of(worker.name)
        cooldowns = len(worker.cooldowns) + sum(len(key.cooldowns) for key in keys)
        check(cooldowns <= 2 * (len(keys) + 1), "cooldowns are bounded")


# ------------------------------------------------------------------ S25: actors die

VICTIMS = ("registry", "keys", "workers", "health", "openai")
TEN = " ".join(SIXTY.split()[:10])


@S25.parts_for(
    {victim: victim for victim in VICTIMS},
    "when an actor is killed during 200 streams, all of them end with an answer",
    virtual=True,
    once=True,
)
async def actor_killed(setup: Setup, victim: str) -> None:
    limited = await _all_dialects(setup, Behaviour(text=TEN, tokens_per_second=5))
    async with setup.gateway(strategy="round_robin") as cortex:
        await failing(CortexError, lambda: cortex.complete("Hi", worker="limited"))
        equal(await _kill_during_streams(cortex, victim, 200), [TEN] * 200, "the answers")
        tree = cortex.tree()
        check("restart" in tree, "it was restarted")
        equal(tree.count("running"), len(tree.splitlines()), "actors that run")
        await _check_remembered(cortex, limited)


@S25.part("all actors may be killed one after the other in one gateway", virtual=True, once=True)
async def actors_killed(setup: Setup) -> None:
    limited = await _all_dialects(setup, Behaviour(text=SIXTY, tokens_per_second=20))
    async with setup.gateway(strategy="round_robin") as cortex:
        await failing(CortexError, lambda: cortex.complete("Hi", worker="limited"))
        for victim in VICTIMS:
            answers = await _kill_during_streams(cortex, victim, 40)
            equal(answers, [SIXTY] * 40, f"the answers while {victim} was killed")
            await trio.sleep(10)
        check(all("running" in line for line in cortex.tree().splitlines()), "every actor runs again")
        await _check_remembered(cortex, limited)


async def _all_dialects(setup: Setup, behaviour: Behaviour) -> SimulatedProvider:
    """A provider in each dialect, and one that is rate limited from its first request on."""
    for dialect in DIALECTS:
        setup.add(dialect, behaviour, dialect=dialect)
    return setup.add("limited", Behaviour(error=FailureKind.RATE_LIMIT, retry_after=1000), dialect="groq")


async def _kill_during_streams(cortex: Cortex, victim: str, streams: int) -> list[str]:
    ended: list[str] = []

    async def make_call() -> None:
        async with cortex.chat("Hi") as answer:
            ended.append("".join([piece async for piece in answer.text()]))

    async with trio.open_nursery() as nursery:
        for _ in range(streams):
            nursery.start_soon(make_call)
        await trio.sleep(1)
        cortex.actor(victim).kill()
    return ended


async def _check_remembered(cortex: Cortex, limited: SimulatedProvider) -> None:
    refused = await failing(CortexError, lambda: cortex.complete("Hi", worker="limited"))
    check("rate_limit" in str(refused), f"the error says why no worker is available ({refused})")
    equal(
        len(limited.requests),
        1,
        "requests to the worker that is cooling down: a crash does not lose its cooldown",
    )
