"""The primary fails or rejects the request before content: S03, S04, S05, S12, S13 and S16."""

from __future__ import annotations

import itertools

import trio

from ...errors import ProviderError
from ...events import FinishReason, Usage
from ...failures import FailureKind
from ...simulator.behaviour import Behaviour
from .scenario import scenario
from .setup import GOOD, RESCUE, Setup, check, equal, failing

LONGEST_OPEN_SECONDS = 64.0
"""A breaker is open for a minute at most, with some jitter."""

S03 = scenario("S03", "one 500, then fine", "served, at most one retry")
S04 = scenario("S04", "503 always", "the fallback serves; the breaker opens; bounded primary attempts")
S05 = scenario("S05", "TCP reset", "the fallback serves")
S12 = scenario("S12", "400 context_length", "one attempt; then only a worker with a larger window")
S13 = scenario("S13", "content policy refusal", "one attempt, the error propagates, no routing around it")
S16 = scenario("S16", "the fallback serves", "the reply names its worker, model and usage")


@S03.part("the primary is retried once, and serves")
async def one_server_error(setup: Setup) -> None:
    primary = setup.primary(Behaviour(error=FailureKind.SERVER), GOOD)
    setup.fallback()
    async with setup.gateway() as cortex:
        reply = await cortex.complete("Hi")
    equal((reply.text, reply.worker), (GOOD.text, "primary"), "the answer")
    equal(len(primary.requests), 2, "requests to the primary")


@S04.part("the breaker opens, and the fallback serves")
async def overloaded_for_ever(setup: Setup) -> None:
    primary = setup.primary(Behaviour(status=503))
    fallback = setup.fallback()
    async with setup.gateway() as cortex:
        for _ in range(20):
            equal((await cortex.complete("Hi")).worker, "fallback", "the worker")
        status = (await cortex.health_status()).workers["primary"]
        equal(status.status, "unavailable", "the primary")
        check(status.reopens_in is not None and 0 < status.reopens_in <= 10, "reopens_in has a value")
    check(len(primary.requests) <= 4, f"few attempts at the primary ({len(primary.requests)})")
    equal(len(fallback.requests), 20, "requests to the fallback")


@S04.part("an open breaker allows one trial at a time, at longer and longer intervals", virtual=True)
async def trials(setup: Setup) -> None:
    primary = setup.primary(Behaviour(status=503))
    setup.fallback()
    async with setup.gateway() as cortex:
        for _ in range(100):
            equal((await cortex.complete("Hi")).worker, "fallback", "the worker")
            await trio.sleep(3)
    sent = [request.when for request in primary.requests][3:]
    gaps = [later - earlier for earlier, later in itertools.pairwise(sent)]
    check(len(sent) <= 10, f"trials are 5, 10, 20, 40, 60, 60 … seconds apart, not {len(sent)} in 300 s")
    check(gaps == sorted(gaps), f"the intervals get longer ({gaps})")
    check(max(gaps) <= LONGEST_OPEN_SECONDS, f"and none is longer than a minute ({gaps})")


BROKEN = {
    "refused": Behaviour(refuse=True),
    "reset after the headers": Behaviour(reset_after=0),
    "closed in the middle of a chunk": Behaviour(cut_mid_chunk=0),
}


@S05.parts_for(BROKEN, "if a connection breaks, the fallback serves")
async def connection_broken(setup: Setup, broken: Behaviour) -> None:
    primary = setup.primary(broken)
    setup.fallback()
    async with setup.gateway() as cortex:
        async with cortex.chat("Hi") as answer:
            pieces = [piece async for piece in answer.text()]
        equal(("".join(pieces), answer.worker), (RESCUE.text, "fallback"), "the answer")
        check(len(primary.requests) <= 2, "it gets at most two requests")
        kinds = {attempt.failure.kind for attempt in answer.attempts if attempt.failure}
        equal(kinds, {FailureKind.CONNECTION}, "the failure kind")
        reply = await cortex.complete("Hi")
        equal((reply.text, reply.worker), (RESCUE.text, "fallback"), "the reply of complete()")


@S12.part("a prompt that is too long is only sent to a worker with a larger context window")
async def larger_window(setup: Setup) -> None:
    primary = setup.primary(Behaviour(error=FailureKind.CONTEXT_LENGTH), context_window=8_000)
    same = setup.add("same", context_window=8_000)
    smaller = setup.add("smaller", context_window=4_000)
    larger = setup.add("larger", RESCUE, context_window=32_000)
    async with setup.gateway() as cortex:
        reply = await cortex.complete("Hi")
    equal((reply.worker, reply.text), ("larger", RESCUE.text), "the worker")
    sent = [len(provider.requests) for provider in (primary, same, smaller, larger)]
    equal(sent, [1, 0, 0, 1], "requests to the primary, to one like it, to a smaller and to a larger one")


@S12.part("without a larger context window the error is raised", virtual=True)
async def no_larger_window(setup: Setup) -> None:
    primary = setup.primary(Behaviour(error=FailureKind.CONTEXT_LENGTH), context_window=8_000)
    same = setup.fallback(context_window=8_000)
    async with setup.gateway() as cortex:
        refused = await failing(ProviderError, lambda: cortex.complete("Hi"))
        equal(refused.failure.kind, FailureKind.CONTEXT_LENGTH, "the error")
        equal((await cortex.health_status()).system_health, "healthy", "the gateway's health")
    equal((len(primary.requests), len(same.requests)), (1, 0), "requests")


@S13.part("a refusal by policy is raised, and no other worker is tried")
async def content_policy(setup: Setup) -> None:
    primary = setup.primary(Behaviour(error=FailureKind.CONTENT_POLICY))
    fallback = setup.fallback()
    async with setup.gateway() as cortex:
        refused = await failing(ProviderError, lambda: cortex.complete("Hi"))
        equal((await cortex.health_status()).system_health, "healthy", "the gateway's health")
    equal((refused.failure.kind, refused.worker), (FailureKind.CONTENT_POLICY, "primary"), "the error")
    equal((len(refused.attempts), len(primary.requests), len(fallback.requests)), (1, 1, 0), "attempts")


@S13.part("a rejected request is raised at once, and no worker is blamed", virtual=True)
async def malformed(setup: Setup) -> None:
    primary = setup.primary(Behaviour(error=FailureKind.BAD_REQUEST))
    fallback = setup.fallback()
    async with setup.gateway() as cortex:
        for _ in range(6):
            refused = await failing(ProviderError, lambda: cortex.complete("Hi"))
            equal(refused.failure.kind, FailureKind.BAD_REQUEST, "the error")
        equal((await cortex.health_status()).system_health, "healthy", "the gateway's health")
    equal((len(primary.requests), len(fallback.requests)), (6, 0), "requests")


@S16.part("the reply and the stream name the worker, the model and the usage")
async def who_served(setup: Setup) -> None:
    setup.primary(Behaviour(status=503))
    fallback = setup.fallback(Behaviour(text="Rescued.", usage=Usage(input_tokens=11, output_tokens=7)))
    async with setup.gateway() as cortex:
        reply = await cortex.complete("Hi")
        async with cortex.chat("Hi") as answer:
            equal([piece async for piece in answer.text()], ["Rescued."], "the answer")
    for served in (reply, answer):
        equal((served.worker, served.provider), ("fallback", setup.other), "the worker")
        equal(served.model, fallback.models[0], "the model")
        equal((served.usage.input_tokens, served.usage.output_tokens), (11, 7), "the usage")
    equal(reply.finish_reason, FinishReason.STOP, "the finish reason")
    ledger = [(a.number, a.worker, a.failure and a.failure.kind) for a in reply.attempts]
    equal(ledger, [(1, "primary", FailureKind.OVERLOADED), (2, "fallback", None)], "the ledger")
    equal(reply.attempts[-1].usage, reply.usage, "the usage in the ledger")
