"""The primary refuses, fails or cannot be reached before it has said anything."""

from __future__ import annotations

import itertools

import trio

from ...events import FinishReason, Usage
from ...failures import FailureKind, NoWorkersAvailable, ProviderError
from ..behaviour import Behaviour
from .scenario import scenario
from .stage import GOOD, RESCUE, Stage, check, equal, failing

LIMITED = Behaviour(error=FailureKind.RATE_LIMIT, retry_after=2)
HINTS = {
    "a float": Behaviour(error=FailureKind.RATE_LIMIT, retry_after="2.0"),
    "milliseconds": Behaviour(error=FailureKind.RATE_LIMIT, headers={"retry-after-ms": "2000"}),
    "an HTTP date": Behaviour(
        error=FailureKind.RATE_LIMIT,
        headers={"date": "Thu, 01 Jan 2026 00:00:00 GMT", "retry-after": "Thu, 01 Jan 2026 00:00:02 GMT"},
    ),
    "words in the body": Behaviour(
        status=429, error_body='{"error": {"message": "Rate limit reached. Please try again in 2s."}}'
    ),
}


@scenario("S01", "429 with Retry-After 2 s, then fine", "served; never asked earlier than told")
async def rate_limit_with_a_hint(stage: Stage) -> None:
    primary = stage.primary(LIMITED, GOOD)
    async with stage.gateway() as cortex:
        equal((await cortex.complete("Hi")).text, GOOD.text, "the answer")
    first, second = primary.requests
    check(2.0 <= second.when - first.when <= 2.4, "it is asked again when it said, and soon after")


@scenario("S02", "429 for ever", "the fallback serves; the key rests for the hint")
async def rate_limit_for_ever(stage: Stage) -> None:
    primary = stage.primary(Behaviour(error=FailureKind.RATE_LIMIT, retry_after=60))
    stage.fallback()
    async with stage.gateway() as cortex:
        for _ in range(19):
            equal((await cortex.complete("Hi")).text, RESCUE.text, "the answer")
            await trio.sleep(10)
    asked = [request.when for request in primary.requests]
    check(2 <= len(asked) <= 4, "the primary is tried again, and not more often than it allows")
    check(all(b - a >= 60 for a, b in itertools.pairwise(asked)), "the key rests for the whole hint")


@scenario("S03", "one 500, then fine", "served, at most one retry")
async def one_server_error(stage: Stage) -> None:
    primary = stage.primary(Behaviour(error=FailureKind.SERVER), GOOD)
    stage.fallback()
    async with stage.gateway() as cortex:
        equal((await cortex.complete("Hi")).text, GOOD.text, "the answer")
    equal(len(primary.requests), 2, "requests to the primary")


@scenario("S04", "503 for ever", "the fallback serves; the breaker opens; bounded primary attempts")
async def overloaded_for_ever(stage: Stage) -> None:
    primary = stage.primary(Behaviour(status=503))
    stage.fallback()
    async with stage.gateway() as cortex:
        for _ in range(20):
            equal((await cortex.complete("Hi")).worker, "fallback", "who serves")
        status = (await cortex.health_status()).workers["primary"].status
        equal(status, "unavailable", "the primary")
    check(len(primary.requests) <= 4, f"few attempts at the primary ({len(primary.requests)})")


@scenario("S05", "TCP reset", "the fallback serves")
async def connection_reset(stage: Stage) -> None:
    primary = stage.primary(Behaviour(reset_after=0))
    stage.fallback()
    async with stage.gateway() as cortex:
        reply = await cortex.complete("Hi")
    equal((reply.text, reply.worker), (RESCUE.text, "fallback"), "the answer")
    check(len(primary.requests) <= 2, "it is asked no more than twice")


@scenario("S12", "400 context_length", "one attempt; then only a worker with a larger window")
async def context_too_long(stage: Stage) -> None:
    primary = stage.primary(Behaviour(error=FailureKind.CONTEXT_LENGTH), context_window=8_000)
    same = stage.add("same", context_window=8_000)
    larger = stage.add("larger", RESCUE, context_window=32_000)
    async with stage.gateway() as cortex:
        equal((await cortex.complete("Hi")).worker, "larger", "who serves")
    asked = [len(provider.requests) for provider in (primary, same, larger)]
    equal(asked, [1, 0, 1], "requests to the primary, to one like it, to a larger one")


@scenario("S13", "content policy refusal", "one attempt, the error propagates, no routing around it")
async def content_policy(stage: Stage) -> None:
    primary = stage.primary(Behaviour(error=FailureKind.CONTENT_POLICY))
    fallback = stage.fallback()
    async with stage.gateway() as cortex:
        error = await failing(ProviderError, lambda: cortex.complete("Hi"))
        equal(error.failure.kind, FailureKind.CONTENT_POLICY, "the error")
        equal((await cortex.health_status()).system_health, "healthy", "the gateway's health")
    equal((len(primary.requests), len(fallback.requests)), (1, 0), "requests")


@scenario("S16", "the fallback serves", "the reply names its worker, model and usage")
async def who_served(stage: Stage) -> None:
    stage.primary(Behaviour(status=503))
    fallback = stage.fallback(Behaviour(text="Rescued.", usage=Usage(input_tokens=11, output_tokens=7)))
    async with stage.gateway() as cortex:
        reply = await cortex.complete("Hi")
    equal((reply.worker, reply.provider), ("fallback", stage.other), "who served")
    equal(reply.model, fallback.models[0], "the model")
    equal((reply.usage.input_tokens, reply.usage.output_tokens), (11, 7), "the usage")
    equal(reply.finish_reason, FinishReason.STOP, "the finish reason")


@scenario("S18", "Retry-After as ms, float, HTTP date, in the body", "honoured alike")
async def every_form_of_hint(stage: Stage) -> None:
    for name, hint in HINTS.items():
        there = Stage(stage.sim, stage.dialect)
        provider = there.add(name, hint, GOOD)
        async with there.gateway() as cortex:
            equal((await cortex.complete("Hi")).text, GOOD.text, f"the answer after {name}")
        first, second = provider.requests
        check(2.0 <= second.when - first.when <= 2.4, f"{name} is honoured")


@scenario("S30", "all keys of all workers blocked", "NoWorkersAvailable with the soonest reopening, at once")
async def everybody_rests(stage: Stage) -> None:
    stage.primary(Behaviour(error=FailureKind.RATE_LIMIT, retry_after=500))
    fallback = stage.fallback(Behaviour(error=FailureKind.RATE_LIMIT, retry_after=300))
    async with stage.gateway() as cortex:
        await failing(Exception, lambda: cortex.complete("Hi"))
        await trio.sleep(100)
        start = trio.current_time()
        error = await failing(NoWorkersAvailable, lambda: cortex.complete("Hi"))
        equal(trio.current_time(), start, "when the caller hears of it")
        check(190 <= (error.retry_after or 0) <= 200, "the error says when the first of them is back")
        await trio.sleep(201)
        fallback.behave(RESCUE)
        equal((await cortex.complete("Hi")).worker, "fallback", "who serves then")
