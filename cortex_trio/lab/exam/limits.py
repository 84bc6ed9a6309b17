"""The primary says that it was asked too much: S01, S02, S18, S30 and S31."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import attrs
import trio

from ...errors import AllWorkersFailed
from ...events import Attempt
from ...failures import CortexError, FailureKind, NoWorkersAvailable
from ...gateway.cortex import Cortex
from ...otp.nursery import open_flat_nursery
from ...simulator.behaviour import Behaviour
from ...simulator.provider import SimulatedProvider
from ...simulator.request import SimRequest
from .scenario import scenario
from .stage import GOOD, RESCUE, Stage, check, equal, failing, hint, near

WORDLESS = Behaviour(status=429, error_body='{"error": {"message": "Too many requests."}}')
"""A rate limit that does not say for how long."""

S01 = scenario("S01", "429 with Retry-After 2 s, then fine", "served; never asked earlier than told")
S02 = scenario("S02", "429 for ever", "the fallback serves; the key cools down for the hint")
S18 = scenario("S18", "Retry-After as ms, float, HTTP date, in the body", "honoured alike")
S30 = scenario(
    "S30",
    "all keys of all workers blocked for longer than max_wait",
    "NoWorkersAvailable with the soonest reopening, at once",
)
S31 = scenario("S31", "all blocked for 1 s, ten callers", "all ten are served after it, none before")


@S01.part("the limit is waited out, and the primary is never asked earlier than told")
async def waited_out(stage: Stage) -> None:
    hint = 2 * stage.second
    primary = stage.primary(Behaviour(error=FailureKind.RATE_LIMIT, retry_after=hint), GOOD)
    async with stage.gateway() as cortex:
        reply = await cortex.complete("Hi")
    equal(reply.text, GOOD.text, "the answer")
    refused, served = primary.requests
    waited = served.when - refused.when
    check(hint <= waited <= 1.1 * hint + 0.05 + stage.slack, f"asked when it said, and soon ({waited:.3f} s)")
    kinds = [attempt.failure and attempt.failure.kind for attempt in reply.attempts]
    equal(kinds, [FailureKind.RATE_LIMIT, None], "the ledger")


@S01.part("with a fallback the answer comes at once, and the primary still cools down", virtual=True)
async def answered_meanwhile(stage: Stage) -> None:
    primary = stage.primary(Behaviour(error=FailureKind.RATE_LIMIT, retry_after=2), GOOD)
    stage.fallback()
    async with stage.gateway() as cortex:
        start = trio.current_time()
        equal((await cortex.complete("Hi")).worker, "fallback", "who serves")
        check(trio.current_time() - start < 0.1, "no call waits where another worker can serve")
        for _ in range(4):
            await trio.sleep(0.4)
            equal((await cortex.complete("Hi")).worker, "fallback", "who serves during the cooldown")
        equal(len(primary.requests), 1, "requests to the primary during its cooldown")
        await trio.sleep(1)
        equal((await cortex.complete("Hi")).worker, "primary", "who serves after its cooldown")


@S02.part("the fallback serves while the key cools down for the hint", virtual=True)
async def rests_for_the_hint(stage: Stage) -> None:
    primary = stage.primary(Behaviour(error=FailureKind.RATE_LIMIT, retry_after=60))
    fallback = stage.fallback()
    async with stage.gateway() as cortex:
        for minute in range(3):
            equal((await cortex.complete("Hi")).text, RESCUE.text, "the answer")
            equal(len(primary.requests), minute + 1, "requests to the primary")
            status = (await cortex.health_status()).workers["primary"]
            equal((status.status, status.reason), ("rate_limited", FailureKind.RATE_LIMIT), "the primary")
            for _ in range(5):
                await trio.sleep(11)
                equal((await cortex.complete("Hi")).text, RESCUE.text, "the answer")
            await trio.sleep(6)
    asked = [request.when for request in primary.requests]
    check(all(b - a >= 60 for a, b in itertools.pairwise(asked)), "the key cools down for the whole hint")
    equal(len(fallback.requests), 18, "requests to the fallback")


@S02.part("without a hint it is retried ever less often", virtual=True)
async def ever_less_often(stage: Stage) -> None:
    primary = stage.primary(WORDLESS)
    stage.fallback()
    async with stage.gateway() as cortex:
        for _ in range(45):
            equal((await cortex.complete("Hi")).worker, "fallback", "who serves")
            await trio.sleep(5)
    asked = [round(request.when - primary.requests[0].when) for request in primary.requests]
    equal(asked, [0, 10, 40, 100, 220], "when the primary is asked")


@S02.part("a limit without a hint is asked again where no other worker can serve", virtual=True)
async def no_hint_and_no_other_worker(stage: Stage) -> None:
    primary = stage.primary(WORDLESS, GOOD)
    async with stage.gateway() as cortex:
        equal((await cortex.complete("Hi")).text, GOOD.text, "the answer")
        equal((await cortex.complete("Hi")).text, GOOD.text, "the next answer")
    equal(len(primary.requests), 3, "requests to the primary")


COUNTED = ("openai", "openai_responses", "groq", "xai", "xai_responses", "anthropic")
"""Dialects whose answers say how much of a limit is left."""
EMPTY_BUCKETS: Mapping[str, Mapping[str, str]] = {
    dialect: {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "1s",
    }
    for dialect in COUNTED
} | {
    "anthropic": {
        "anthropic-ratelimit-requests-limit": "60",
        "anthropic-ratelimit-requests-remaining": "0",
        "anthropic-ratelimit-requests-reset": "2026-01-01T00:00:01Z",  # a second after the simulator's Date
    }
}

FORMS = {
    "whole seconds": Behaviour(error=FailureKind.RATE_LIMIT, retry_after="2"),
    "a float": Behaviour(error=FailureKind.RATE_LIMIT, retry_after="2.0"),
    "milliseconds": Behaviour(error=FailureKind.RATE_LIMIT, headers={"retry-after-ms": "2000"}),
    "an HTTP date": Behaviour(
        error=FailureKind.RATE_LIMIT,
        headers={"date": "Thu, 01 Jan 2026 00:00:00 GMT", "retry-after": "Thu, 01 Jan 2026 00:00:02 GMT"},
    ),
    "words in the body": Behaviour(
        status=429, error_body='{"error": {"message": "Rate limit reached. Please try again in 2s."}}'
    ),
    "Google's RetryInfo": Behaviour(
        status=429,
        error_body='{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "Resource exhausted.",'
        ' "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "2s"}]}}',
    ),
}


@S18.parts_for(FORMS, "whatever form a hint has, it is honoured alike", virtual=True)
async def every_form(stage: Stage, form: Behaviour) -> None:
    primary = stage.primary(form, GOOD)
    async with stage.gateway() as cortex:
        reply = await cortex.complete("Hi")
    equal(reply.text, GOOD.text, "the answer")
    first = reply.attempts[0].failure
    understood = first and (first.kind, first.retry_after)
    equal(understood, (FailureKind.RATE_LIMIT, 2.0), "what is understood")
    refused, served = primary.requests
    waited = served.when - refused.when
    check(2.0 <= waited <= 2.3, f"it is asked when it said, and soon after ({waited:.3f} s)")


@S30.part("the caller hears at once when the first of them is back", virtual=True)
async def everybody_rests(stage: Stage) -> None:
    primary = stage.primary(Behaviour(error=FailureKind.RATE_LIMIT, retry_after=500))
    fallback = stage.fallback(Behaviour(error=FailureKind.RATE_LIMIT, retry_after=300))
    async with stage.gateway() as cortex:
        failed = await failing(AllWorkersFailed, lambda: cortex.complete("Hi"))
        near(failed.retry_after, 300, 1, "when the first is back, as the first caller hears")
        equal(failed.primary.failure.kind, FailureKind.RATE_LIMIT, "the reason")
        for passed in (0, 100):
            await trio.sleep(passed)
            start = trio.current_time()
            nobody = await failing(NoWorkersAvailable, lambda: cortex.complete("Hi"))
            check(trio.current_time() - start < 0.01, "the caller hears at once")
            near(nobody.retry_after, 300 - passed, 1, "when the first is back")
            check("primary" in str(nobody) and "fallback" in str(nobody), "the error names both workers")
        equal((len(primary.requests), len(fallback.requests)), (1, 1), "requests")
        health = await cortex.health_status()
        equal((health.system_health, health.available_workers), ("unhealthy", 0), "the gateway's health")
        await trio.sleep(201)
        fallback.behave(RESCUE)
        equal((await cortex.complete("Hi")).worker, "fallback", "who serves then")


WAITS = {"max_wait=0": 0.0, "max_wait=10": 10.0}


@S30.parts_for(WAITS, "max_wait says how long is too long", virtual=True)
async def longer_than_max_wait(stage: Stage, max_wait: float) -> None:
    primary = stage.primary(Behaviour(error=FailureKind.RATE_LIMIT, retry_after=20), GOOD)
    async with stage.gateway(max_wait=max_wait) as cortex:
        await failing(CortexError, lambda: cortex.complete("Hi"))
        start = trio.current_time()
        refused = await failing(NoWorkersAvailable, lambda: cortex.complete("Hi"))
        check(trio.current_time() - start < 0.01, "the caller hears at once")
        near(refused.retry_after, 20, 2.1, "when the first is back")
        equal(len(primary.requests), 1, "requests to the primary")
        await trio.sleep(22.1 - max_wait / 2)  # with all of its jitter the limit ends at 22 s
        equal((await cortex.complete("Hi")).text, GOOD.text, "the answer within max_wait, or after the limit")


@S30.part("max_wait of one call goes before the configured one", virtual=True)
async def max_wait_of_a_call(stage: Stage) -> None:
    stage.primary(Behaviour(error=FailureKind.RATE_LIMIT, retry_after=20), GOOD)
    async with stage.gateway() as cortex:
        await failing(CortexError, lambda: cortex.complete("Hi", max_wait=0))
        await failing(NoWorkersAvailable, lambda: cortex.complete("Hi", max_wait=5))
        equal((await cortex.complete("Hi")).text, GOOD.text, "the answer of a call that may wait for 30 s")


# ------------------------------------------------------------------ S31: a limit of one second

CALLERS = 10
ONE_SECOND: Mapping[str, Behaviour] = {
    "429": Behaviour(error=FailureKind.RATE_LIMIT),
    "429 with a web page": Behaviour(status=429, html=True),
    "429 in a packed body": Behaviour(error=FailureKind.RATE_LIMIT, packed="gzip"),
}
OVERLOADED: Mapping[str, Behaviour] = {
    "503": Behaviour(error=FailureKind.OVERLOADED, status=503),
    "503 with a web page": Behaviour(status=503, html=True),
}


@attrs.define
class OneSecond:
    """A limit that begins with the first request and ends a second later; it says how long it still lasts."""

    refusal: Behaviour
    seconds: float
    ends: float | None = None

    def answer(self, request: SimRequest) -> Behaviour:
        if self.ends is None:
            self.ends = request.when + self.seconds
        left = self.ends - request.when
        if left <= 0:
            return GOOD
        return attrs.evolve(self.refusal, retry_after=hint(left))


@S31.parts_for(ONE_SECOND, "ten callers at once are all served after the limit")
async def ten_at_once(stage: Stage, refusal: Behaviour) -> None:
    limit = OneSecond(refusal, stage.second)
    primary = stage.primary(limit.answer)
    async with stage.gateway() as cortex:
        served = await _ten_callers(cortex)
    _check_all_served_after(stage, limit, [primary], served)


S31.parts_for(OVERLOADED, "ten callers at once are all served after the hint of an overload", virtual=True)(
    ten_at_once
)


@S31.part("callers who come later wait for the same limit, and ask nothing before")
async def ten_one_after_the_other(stage: Stage) -> None:
    limit = OneSecond(ONE_SECOND["429"], stage.second)
    primary = stage.primary(limit.answer)
    async with stage.gateway() as cortex:
        served = await _ten_callers(cortex, pause=stage.second / 20)
    _check_all_served_after(stage, limit, [primary], served)
    if stage.is_virtual:
        equal(
            len(primary.requests),
            CALLERS + 1,
            "requests: the one that met the limit, and one for each caller",
        )


@S31.part("two workers that are blocked together open together")
async def two_workers(stage: Stage) -> None:
    limits = [OneSecond(ONE_SECOND["429"], stage.second) for _ in range(2)]
    primary, fallback = stage.primary(limits[0].answer), stage.fallback(limits[1].answer)
    async with stage.gateway() as cortex:
        served = await _ten_callers(cortex)
    for limit, provider in zip(limits, (primary, fallback), strict=True):
        _check_all_served_after(stage, limit, [provider], served)


@S31.part("a bucket that a good answer calls empty is waited for as well", virtual=True, only=COUNTED)
async def empty_bucket(stage: Stage) -> None:
    """The headers of a 200: nothing is left, and more comes in a second."""
    primary = stage.primary(attrs.evolve(GOOD, headers=EMPTY_BUCKETS[stage.dialect]), GOOD)
    async with stage.gateway() as cortex:
        equal((await cortex.complete("Hi")).text, GOOD.text, "the first answer")
        served = await _ten_callers(cortex)
    equal(len(served), CALLERS, "callers that are served")
    first, *others = [request.when for request in primary.requests]
    check(min(others) >= first + 1, "the primary is not asked before the bucket has something again")


async def _ten_callers(cortex: Cortex, pause: float = 0.0) -> list[tuple[str, list[Attempt]]]:
    """Every other caller asks for a stream. Returns text and attempts of those that are served; errors come out."""
    served: list[tuple[str, list[Attempt]]] = []

    async def ask(number: int) -> None:
        if number % 2:
            reply = await cortex.complete("Hi")
        else:
            async with cortex.chat("Hi") as answer:
                reply = await answer.collect()
        served.append((reply.text, list(reply.attempts)))

    async with open_flat_nursery() as nursery:
        for number in range(CALLERS):
            nursery.start_soon(ask, number)
            await trio.sleep(pause)
    return served


def _check_all_served_after(
    stage: Stage,
    limit: OneSecond,
    providers: list[SimulatedProvider],
    served: list[tuple[str, list[Attempt]]],
) -> None:
    equal(len(served), CALLERS, "callers that are served")
    check(all(text in (GOOD.text, RESCUE.text) for text, _ in served), "each gets a whole answer")
    assert limit.ends is not None
    began = limit.ends - limit.seconds
    for provider in providers:
        early = [request.when for request in provider.requests if request.when < limit.ends]
        check(len(early) <= CALLERS, f"no caller asks twice before the limit ends ({len(early)} requests)")
        if stage.is_virtual:
            check(
                all(when < began + 0.01 for when in early),
                "once the limit is known nothing is asked before its end",
            )
