"""The primary says nothing, or nothing in time: S06 and S07."""

from __future__ import annotations

import trio

from ...errors import ProviderError
from ...failures import FailureKind
from ...simulator.behaviour import Behaviour
from .scenario import scenario
from .stage import GOOD, RESCUE, Stage, check, equal, failing, near

S06 = scenario(
    "S06", "accepts, then silent 120 s", "answer within 11 s at first_token_timeout=10; asked once"
)
S07 = scenario("S07", "first token after 20 s", "answer within 15 s at first_token_timeout=10")

SILENT = {"accepts and is silent": Behaviour(silent=True), "sends headers only": Behaviour(stall_after=0)}


@S06.parts_for(SILENT, "a silent worker is asked once, and the answer comes in time")
async def silent(stage: Stage, late: Behaviour) -> None:
    primary = stage.primary(late)
    stage.fallback()
    async with stage.gateway() as cortex:
        start = trio.current_time()
        reply = await cortex.complete("Hi", first_token_timeout=10 * stage.second)
        took = trio.current_time() - start
        check(took <= 11 * stage.second + stage.slack, f"the answer is there within 11 s, not {took:.1f}")
    equal((reply.worker, reply.text), ("fallback", RESCUE.text), "the answer")
    equal(len(primary.requests), 1, "requests to the silent one")
    equal([attempt.worker for attempt in reply.attempts], ["primary", "fallback"], "the ledger")


@S06.part("a host that never accepts is given up within the connect time-out", virtual=True)
async def never_accepts(stage: Stage) -> None:
    primary = stage.primary(Behaviour(connect_after=120))
    stage.fallback()
    async with stage.gateway() as cortex:
        start = trio.current_time()
        equal((await cortex.complete("Hi")).worker, "fallback", "who serves")
        near(trio.current_time() - start, 5, 0.1, "seconds until the answer")
    equal(len(primary.requests), 0, "requests that arrived")


@S06.part("a silent worker is not asked again, even if it is alone", virtual=True)
async def silent_and_alone(stage: Stage) -> None:
    primary = stage.primary(Behaviour(silent=True))
    async with stage.gateway() as cortex:
        failed = await failing(ProviderError, lambda: cortex.complete("Hi", first_token_timeout=10))
    equal(failed.failure.kind, FailureKind.STALLED, "the error")
    check("no first token" in str(failed), f"the error says what was missing ({failed})")
    equal(len(primary.requests), 1, "requests to the silent one")


@S07.parts_for(
    {"in silence": None, "with signs of life": 1.0}, "a first token that comes too late is not waited for"
)
async def late(stage: Stage, pings: float | None) -> None:
    pause = pings and pings * stage.second
    primary = stage.primary(Behaviour(first_token_after=20 * stage.second, pings=pause))
    stage.fallback()
    async with stage.gateway() as cortex:
        start = trio.current_time()
        async with cortex.chat("Hi", first_token_timeout=10 * stage.second) as answer:
            took = trio.current_time() - start
            check(
                took <= 15 * stage.second + stage.slack, f"the first word comes within 15 s, not {took:.1f}"
            )
            equal((await answer.collect()).text, RESCUE.text, "the answer")
    equal(len(primary.requests), 1, "requests to the late one")


@S07.part("a late first token within the time-out is fine", virtual=True)
async def late_and_in_time(stage: Stage) -> None:
    stage.primary(Behaviour(text=GOOD.text, first_token_after=20))
    fallback = stage.fallback()
    async with stage.gateway() as cortex:
        reply = await cortex.complete("Hi", first_token_timeout=25)
    equal((reply.worker, reply.text), ("primary", GOOD.text), "the answer")
    near(reply.attempts[0].time_to_first_token, 20, 0.1, "the time to the first token")
    equal(len(fallback.requests), 0, "requests to the fallback")
