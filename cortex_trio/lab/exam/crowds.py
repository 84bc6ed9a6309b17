"""Many of everything, while much of it breaks: S23 and S25."""

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
from .stage import DIALECTS, SIXTY, Stage, check, equal, failing

S23 = scenario("S23", "200 workers flapping at random", "no lost request; state stays bounded")
S25 = scenario("S25", "any actor killed under 200 streams", "every stream ends well; the tree heals")

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


@S23.part("no request is lost that could be served", virtual=True, once=True)
async def everybody_flaps(stage: Stage) -> None:
    """Each worker is bad for a while, good for a while, in its own way; most are good at any moment."""
    chance = random.Random(23)
    for number in range(200):
        dialect = DIALECTS[number % len(DIALECTS)]
        script = _sometimes(chance.choice(FAULTS), chance.uniform(0, 40))
        stage.add(f"{dialect}-{number}", script, dialect=dialect)
    replies: list[Reply] = []
    async with stage.gateway(strategy="random", max_attempts=12) as cortex:

        async def ask(at: float) -> None:
            await trio.sleep_until(at)
            replies.append(await cortex.complete("Hi"))

        async with trio.open_nursery() as nursery:
            for _ in range(300):
                nursery.start_soon(ask, trio.current_time() + chance.uniform(0, 120))
        _check_bounded(cortex)
    equal([reply.text for reply in replies], [SERVED.text] * 300, "the answers")
    asked = [len(reply.attempts) for reply in replies]
    check(max(asked) <= 12, f"no more attempts than were allowed ({max(asked)})")
    check(sum(asked) < 2 * len(asked), "few attempts, although at any moment three of eight are bad")


def _sometimes(fault: Behaviour, phase: float) -> Callable[[SimRequest], Behaviour]:
    return lambda request: fault if (request.when + phase) % 40 < 15 else SERVED


def _check_bounded(cortex: Cortex) -> None:
    snapshot = cortex.snapshot()
    for worker in snapshot.workers:
        keys = snapshot.keys_of(worker.name)
        cooldowns = len(worker.cooldowns) + sum(len(key.cooldowns) for key in keys)
        check(worker.breaker.calls <= 1000, "a breaker's memory is bounded")
        check(not worker.in_flight, "no permit is out")
        check(cooldowns <= 2 * (len(keys) + 1), "cooldowns are bounded")


# ------------------------------------------------------------------ S25: actors die

VICTIMS = ("registry", "keys", "workers", "health", "openai")
TEN = " ".join(SIXTY.split()[:10])


@S25.parts_for(
    {victim: victim for victim in VICTIMS},
    "whichever actor is killed under 200 streams, all of them end well",
    virtual=True,
    once=True,
)
async def actor_killed(stage: Stage, victim: str) -> None:
    resting = await _all_dialects(stage, Behaviour(text=TEN, tokens_per_second=5))
    async with stage.gateway(strategy="round_robin") as cortex:
        await failing(CortexError, lambda: cortex.complete("Hi", worker="resting"))
        equal(await _kill_while_asked(cortex, victim, 200), [TEN] * 200, "the answers")
        tree = cortex.tree()
        check("restart" in tree, "it was started again")
        equal(tree.count("running"), len(tree.splitlines()), "actors that run")
        await _check_remembered(cortex, resting)


@S25.part("they may be killed one after the other in the same gateway", virtual=True, once=True)
async def actors_killed(stage: Stage) -> None:
    resting = await _all_dialects(stage, Behaviour(text=SIXTY, tokens_per_second=20))
    async with stage.gateway(strategy="round_robin") as cortex:
        await failing(CortexError, lambda: cortex.complete("Hi", worker="resting"))
        for victim in VICTIMS:
            answers = await _kill_while_asked(cortex, victim, 40)
            equal(answers, [SIXTY] * 40, f"the answers while {victim} was killed")
            await trio.sleep(10)
        check(all("running" in line for line in cortex.tree().splitlines()), "the tree healed")
        await _check_remembered(cortex, resting)


async def _all_dialects(stage: Stage, behaviour: Behaviour) -> SimulatedProvider:
    """A provider in each dialect, and one whose limit is reached as soon as it is asked."""
    for dialect in DIALECTS:
        stage.add(dialect, behaviour, dialect=dialect)
    return stage.add("resting", Behaviour(error=FailureKind.RATE_LIMIT, retry_after=1000), dialect="groq")


async def _kill_while_asked(cortex: Cortex, victim: str, streams: int) -> list[str]:
    ended: list[str] = []

    async def ask() -> None:
        async with cortex.chat("Hi") as answer:
            ended.append("".join([piece async for piece in answer.text()]))

    async with trio.open_nursery() as nursery:
        for _ in range(streams):
            nursery.start_soon(ask)
        await trio.sleep(1)
        cortex.actor(victim).kill()
    return ended


async def _check_remembered(cortex: Cortex, resting: SimulatedProvider) -> None:
    refused = await failing(CortexError, lambda: cortex.complete("Hi", worker="resting"))
    check("rate_limit" in str(refused), f"the error says why no worker is asked ({refused})")
    equal(len(resting.requests), 1, "requests to the one that is cooling down: no crash forgets it")
