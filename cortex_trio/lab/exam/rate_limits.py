"""The primary is rate limited: S01, S02, S18 and S30."""

from __future__ import annotations

import itertools

import trio

from ...errors import AllWorkersFailed
from ...failures import CortexError, FailureKind, NoWorkersAvailable
from ...simulator.behaviour import Behaviour
from .scenario import scenario
from .setup import GOOD, RESCUE, Setup, check, equal, failing, near

WITHOUT_RETRY_AFTER = Behaviour(status=429, error_body='{"error": {"message": "Too many requests."}}')
"""A rate limit without Retry-After."""

S01 = scenario(
    "S01", "429 with Retry-After 2 s, then fine", "served; no request before Retry-After has passed"
)
S02 = scenario("S02", "429 always", "the fallback serves; the key cools down for the hint")
S18 = scenario("S18", "Retry-After as ms, float, HTTP date, in the body", "all forms are honoured")
S30 = scenario(
    "S30",
    "all keys of all workers blocked for longer than max_wait",
    "NoWorkersAvailable with the earliest retry_after, at once",
)


@S01.part("the call waits for the limit, and the primary gets no request before it ends")
async def waited_out(setup: Setup) -> None:
    hint = 2 * setup.second
    primary = setup.primary(Behaviour(error=FailureKind.RATE_LIMIT, retry_after=hint), GOOD)
    async with setup.gateway() as cortex:
        reply = await cortex.complete("Hi")
    equal(reply.text, GOOD.text, "the answer")
    refused, served = primary.requests
    waited = served.when - refused.when
    check(
        hint <= waited <= 1.1 * hint + 0.05 + setup.slack, f"sent after the hint, and soon ({waited:.3f} s)"
    )
    kinds = [attempt.failure and attempt.failure.kind for attempt in reply.attempts]
    equal(kinds, [FailureKind.RATE_LIMIT, None], "the ledger")


@S01.part("with a fallback the answer comes at once, and the primary still cools down", virtual=True)
async def answered_meanwhile(setup: Setup) -> None:
    primary = setup.primary(Behaviour(error=FailureKind.RATE_LIMIT, retry_after=2), GOOD)
    setup.fallback()
    async with setup.gateway() as cortex:
        start = trio.current_time()
        equal((await cortex.complete("Hi")).worker, "fallback", "the worker")
        check(trio.current_time() - start < 0.1, "no call waits where another worker can serve")
        for _ in range(4):
            await trio.sleep(0.4)
            equal((await cortex.complete("Hi")).worker, "fallback", "the worker during the cooldown")
        equal(len(primary.requests), 1, "requests to the primary during its cooldown")
        await trio.sleep(1)
        equal((await cortex.complete("Hi")).worker, "primary", "the worker after its cooldown")


@S02.part("the fallback serves while the key cools down for the hint", virtual=True)
async def cools_down_for_the_hint(setup: Setup) -> None:
    primary = setup.primary(Behaviour(error=FailureKind.RATE_LIMIT, retry_after=60))
    fallback = setup.fallback()
    async with setup.gateway() as cortex:
        for minute in range(3):
            equal((await cortex.complete("Hi")).text, RESCUE.text, "the answer")
            equal(len(primary.requests), minute + 1, "requests to the primary")
            status = (await cortex.health_status()).workers["primary"]
            equal((status.status, status.reason), ("rate_limited", FailureKind.RATE_LIMIT), "the primary")
            for _ in range(5):
                await trio.sleep(11)
                equal((await cortex.complete("Hi")).text, RESCUE.text, "the answer")
            await trio.sleep(6)
    sent = [request.when for request in primary.requests]
    check(all(b - a >= 60 for a, b in itertools.pairwise(sent)), "the key cools down for the whole hint")
    equal(len(fallback.requests), 18, "requests to the fallback")


@S02.part("without a hint the intervals between retries get longer", virtual=True)
async def longer_and_longer_intervals(setup: Setup) -> None:
    primary = setup.primary(WITHOUT_RETRY_AFTER)
    setup.fallback()
    async with setup.gateway() as cortex:
        for _ in range(45):
            equal((await cortex.complete("Hi")).worker, "fallback", "the worker")
            await trio.sleep(5)
    sent = [round(request.when - primary.requests[0].when) for request in primary.requests]
    equal(sent, [0, 10, 40, 100, 220], "the times of requests to the primary")


@S02.part("a limit without a hint is retried where no other worker can serve", virtual=True)
async def no_hint_and_no_other_worker(setup: Setup) -> None:
    primary = setup.primary(WITHOUT_RETRY_AFTER, GOOD)
    async with setup.gateway() as cortex:
        equal((await cortex.complete("Hi")).text, GOOD.text, "the answer")
        equal((await cortex.complete("Hi")).text, GOOD.text, "the next answer")
    equal(len(primary.requests), 3, "requests to the primary")


FORMS = {
    "whole seconds": Behaviour(error=FailureKind.RATE_LIMIT, retry_after="2"),
    "a float": Behaviour(error=FailureKind.RATE_LIMIT, retry_after="2.0"),
    "milliseconds": Behaviour(error=FailureKind.RATE_LIMIT, headers={"retry-after-ms": "2000"}),
    "an HTTP date": Behaviour(
        error=FailureKind.RATE_LIMIT,
        headers={"date": "Thu, 01 Jan 2026 00:00:00 GMT", "retry-after": "Thu, 01 Jan 2026 00:00:02 GMT"},
    ),
    "text in the body": Behaviour(
        status=429, error_body='{"error": {"message": "Rate limit reached. Please try again in 2s."}}'
    ),
    "Google's RetryInfo": Behaviour(
        status=429,
        error_body='{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "Resource exhausted.",'
        ' "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "2s"}]}}',
    ),
}


@S18.parts_for(FORMS, "every form of a hint is honoured", virtual=True)
async def every_form(setup: Setup, form: Behaviour) -> None:
    primary = setup.primary(form, GOOD)
    async with setup.gateway() as cortex:
        reply = await cortex.complete("Hi")
    equal(reply.text, GOOD.text, "the answer")
    first = reply.attempts[0].failure
    understood = first and (first.kind, first.retry_after)
    equal(understood, (FailureKind.RATE_LIMIT, 2.0), "what is understood")
    refused, served = primary.requests
    waited = served.when - refused.when
    check(2.0 <= waited <= 2.3, f"it gets a request when the hint ends, or soon after ({waited:.3f} s)")


@S30.part(
    "the caller gets an error at once, with the time at which the first of them is available", virtual=True
)
async def all_cool_down(setup: Setup) -> None:
    primary = setup.primary(Behaviour(error=FailureKind.RATE_LIMIT, retry_after=500))
    fallback = setup.fallback(Behaviour(error=FailureKind.RATE_LIMIT, retry_after=300))
    async with setup.gateway() as cortex:
        failed = await failing(AllWorkersFailed, lambda: cortex.complete("Hi"))
        near(failed.retry_after, 300, 1, "retry_after of the first error")
        equal(failed.primary.failure.kind, FailureKind.RATE_LIMIT, "the reason")
        for passed in (0, 100):
            await trio.sleep(passed)
            start = trio.current_time()
            refused = await failing(NoWorkersAvailable, lambda: cortex.complete("Hi"))
            check(trio.current_time() - start < 0.01, "the error comes at once")
            near(refused.retry_after, 300 - passed, 1, "retry_after")
            check("primary" in str(refused) and "fallback" in str(refused), "the error names both workers")
        equal((len(primary.requests), len(fallback.requests)), (1, 1), "requests")
        health = await cortex.health_status()
        equal((health.system_health, health.available_workers), ("unhealthy", 0), "the gateway's health")
        await trio.sleep(201)
        fallback.behave(RESCUE)
        equal((await cortex.complete("Hi")).worker, "fallback", "the worker then")


WAITS = {"max_wait=0": 0.0, "max_wait=10": 10.0}


@S30.parts_for(WAITS, "max_wait limits how long a call waits", virtual=True)
async def longer_than_max_wait(setup: Setup, max_wait: float) -> None:
    primary = setup.primary(Behaviour(error=FailureKind.RATE_LIMIT, retry_after=20), GOOD)
    async with setup.gateway(max_wait=max_wait) as cortex:
        await failing(CortexError, lambda: cortex.complete("Hi"))
        start = trio.current_time()
        refused = await failing(NoWorkersAvailable, lambda: cortex.complete("Hi"))
        check(trio.current_time() - start < 0.01, "the error comes at once")
        near(refused.retry_after, 20, 2.1, "retry_after")
        equal(len(primary.requests), 1, "requests to the primary")
        await trio.sleep(22.1 - max_wait / 2)  # with all of its jitter the limit ends at 22 s
        equal((await cortex.complete("Hi")).text, GOOD.text, "the answer within max_wait, or after the limit")


@S30.part("max_wait of a call replaces the configured one", virtual=True)
async def max_wait_of_a_call(setup: Setup) -> None:
    setup.primary(Behaviour(error=FailureKind.RATE_LIMIT, retry_after=20), GOOD)
    async with setup.gateway() as cortex:
        await failing(CortexError, lambda: cortex.complete("Hi", max_wait=0))
        await failing(NoWorkersAvailable, lambda: cortex.complete("Hi", max_wait=5))
        equal((await cortex.complete("Hi")).text, GOOD.text, "the answer of a call that may wait for 30 s")
