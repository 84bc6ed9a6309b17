"""The primary says that it was asked too much: S01, S02, S18 and S30."""

from __future__ import annotations

import itertools

import trio

from ...failures import AllWorkersFailed, FailureKind, NoWorkersAvailable, ProviderError
from ..behaviour import Behaviour
from .scenario import scenario
from .stage import GOOD, RESCUE, Stage, check, equal, failing, near

WORDLESS = Behaviour(status=429, error_body='{"error": {"message": "Too many requests."}}')
"""A rate limit that does not say for how long."""

S01 = scenario("S01", "429 with Retry-After 2 s, then fine", "served; never asked earlier than told")
S02 = scenario("S02", "429 for ever", "the fallback serves; the key rests for the hint")
S18 = scenario("S18", "Retry-After as ms, float, HTTP date, in the body", "honoured alike")
S30 = scenario(
    "S30", "all keys of all workers blocked", "NoWorkersAvailable with the soonest reopening, at once"
)


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


@S01.part("with a fallback the answer comes at once, and the primary still gets its rest", virtual=True)
async def answered_meanwhile(stage: Stage) -> None:
    primary = stage.primary(Behaviour(error=FailureKind.RATE_LIMIT, retry_after=2), GOOD)
    stage.fallback()
    async with stage.gateway() as cortex:
        start = trio.current_time()
        equal((await cortex.complete("Hi")).worker, "fallback", "who serves")
        check(trio.current_time() - start < 0.1, "nobody waits where somebody else can serve")
        for _ in range(4):
            await trio.sleep(0.4)
            equal((await cortex.complete("Hi")).worker, "fallback", "who serves while the primary rests")
        equal(len(primary.requests), 1, "requests to the primary while it rests")
        await trio.sleep(1)
        equal((await cortex.complete("Hi")).worker, "primary", "who serves after its rest")


@S02.part("the fallback serves while the key rests for the hint", virtual=True)
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
    check(all(b - a >= 60 for a, b in itertools.pairwise(asked)), "the key rests for the whole hint")
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


@S02.part("a guess of ours is not obeyed when nobody else is left", virtual=True)
async def a_guess_is_no_word(stage: Stage) -> None:
    stage.primary(WORDLESS, GOOD)
    async with stage.gateway() as cortex:
        await failing(ProviderError, lambda: cortex.complete("Hi"))
        equal((await cortex.complete("Hi")).text, GOOD.text, "the answer")


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
            check("primary" in str(nobody) and "fallback" in str(nobody), "the error names everybody")
        equal((len(primary.requests), len(fallback.requests)), (1, 1), "requests")
        health = await cortex.health_status()
        equal((health.system_health, health.available_workers), ("unhealthy", 0), "the gateway's health")
        await trio.sleep(201)
        fallback.behave(RESCUE)
        equal((await cortex.complete("Hi")).worker, "fallback", "who serves then")
