"""The primary sends nothing, or nothing in time: S06 and S07."""

from __future__ import annotations

import trio

from ...errors import ProviderError
from ...failures import FailureKind
from ...simulator.behaviour import Behaviour
from .scenario import scenario
from .setup import GOOD, RESCUE, Setup, check, equal, failing, near

S06 = scenario(
    "S06",
    "accepts, then silent 120 s",
    "answer within 11 s at first_token_timeout=10; one request to the primary",
)
S07 = scenario("S07", "first token after 20 s", "answer within 15 s at first_token_timeout=10")

SILENT = {"accepts and is silent": Behaviour(silent=True), "sends headers only": Behaviour(stall_after=0)}


@S06.parts_for(SILENT, "a silent worker gets one request, and the answer comes in time")
async def silent(setup: Setup, late: Behaviour) -> None:
    primary = setup.primary(late)
    setup.fallback()
    async with setup.gateway() as cortex:
        start = trio.current_time()
        reply = await cortex.complete("Hi", first_token_timeout=10 * setup.second)
        took = trio.current_time() - start
        check(took <= 11 * setup.second + setup.slack, f"the answer is there within 11 s, not {took:.1f}")
    equal((reply.worker, reply.text), ("fallback", RESCUE.text), "the answer")
    equal(len(primary.requests), 1, "requests to the silent one")
    equal([attempt.worker for attempt in reply.attempts], ["primary", "fallback"], "the ledger")


@S06.part("a connection that is never accepted fails within the connect timeout", virtual=True)
async def never_accepts(setup: Setup) -> None:
    primary = setup.primary(Behaviour(connect_after=120))
    setup.fallback()
    async with setup.gateway() as cortex:
        start = trio.current_time()
        equal((await cortex.complete("Hi")).worker, "fallback", "the worker")
        near(trio.current_time() - start, 5, 0.1, "seconds until the answer")
    equal(len(primary.requests), 0, "requests that arrived")


@S06.part("a silent worker gets no second request, even if there is no other worker", virtual=True)
async def silent_and_alone(setup: Setup) -> None:
    primary = setup.primary(Behaviour(silent=True))
    async with setup.gateway() as cortex:
        failed = await failing(ProviderError, lambda: cortex.complete("Hi", first_token_timeout=10))
    equal(failed.failure.kind, FailureKind.STALLED, "the error")
    check("no first token" in str(failed), f"the error says what was missing ({failed})")
    equal(len(primary.requests), 1, "requests to the silent one")


@S07.parts_for({"in silence": None, "with pings": 1.0}, "a first token that comes too late is not awaited")
async def late(setup: Setup, pings: float | None) -> None:
    pause = pings and pings * setup.second
    primary = setup.primary(Behaviour(first_token_after=20 * setup.second, pings=pause))
    setup.fallback()
    async with setup.gateway() as cortex:
        start = trio.current_time()
        async with cortex.chat("Hi", first_token_timeout=10 * setup.second) as answer:
            took = trio.current_time() - start
            check(
                took <= 15 * setup.second + setup.slack, f"the first token comes within 15 s, not {took:.1f}"
            )
            equal((await answer.collect()).text, RESCUE.text, "the answer")
    equal(len(primary.requests), 1, "requests to the late one")


@S07.part("a late first token within the timeout is accepted", virtual=True)
async def late_and_in_time(setup: Setup) -> None:
    setup.primary(Behaviour(text=GOOD.text, first_token_after=20))
    fallback = setup.fallback()
    async with setup.gateway() as cortex:
        reply = await cortex.complete("Hi", first_token_timeout=25)
    equal((reply.worker, reply.text), ("primary", GOOD.text), "the answer")
    near(reply.attempts[0].time_to_first_token, 20, 0.1, "the time to the first token")
    equal(len(fallback.requests), 0, "requests to the fallback")
