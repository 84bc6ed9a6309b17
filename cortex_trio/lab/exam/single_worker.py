"""There is only one worker, with a fault that passes or does not concern its answers: S32, S33 and S34."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

import trio

from ...errors import ProviderError
from ...events import Reply
from ...failures import CortexError, FailureKind
from ...gateway.cortex import Cortex
from ...otp.nursery import open_flat_nursery
from ...simulator.behaviour import Behaviour
from .scenario import scenario
from .setup import GOOD, RESCUE, Setup, check, equal, failing

SDK_ATTEMPTS = 3
"""One request and two retries: the default of the official SDKs."""
MOST_ATTEMPTS = 4
"""The default of Config.max_attempts."""
SDK_SECONDS = 10.0
"""Two retries of the official SDKs take 0.5 and 1 s (openai-python, `_calculate_retry_timeout`), with a margin."""
MINUTE = 60.0
LONE_TRIAL_SECONDS = 2 * MINUTE
"""The only worker gets a trial a minute after its failure; the calls come every 10 s."""
SUSPICION_SECONDS = 2 * MINUTE
"""A model or a permission cools down for a minute at first."""
CREDENTIAL_SECONDS = 17 * MINUTE
"""An API key cools down for 15 minutes at first, with up to 10 % of jitter."""

S32 = scenario("S32", "one worker, refused / reset / cut / 500 twice", "served, as by the official SDKs")
S33 = scenario("S33", "one worker whose model list is 404, 405, 500, a page, or slow", "always serves")
S34 = scenario(
    "S34",
    "one 404, 403 or 401, then fine",
    "served again within minutes, at once after check_health()",
)


# ------------------------------------------------------------------ S32: what the SDKs retry


def _status(status: int) -> Behaviour:
    """A status with a body without code and type: the status alone decides."""
    return Behaviour(status=status, error_body='{"error": {"message": "Something went wrong."}}')


TWICE: Mapping[str, Behaviour] = {
    "refused": Behaviour(refuse=True),
    "reset before a byte": Behaviour(reset_at="request"),
    "closed before a byte": Behaviour(cut_at="request"),
    "reset after the headers": Behaviour(reset_at="headers"),
    "cut after the headers": Behaviour(cut_at="headers"),
    "cut before the first content": Behaviour(cut_after=0),
    "500": Behaviour(error=FailureKind.SERVER),
    "503": Behaviour(error=FailureKind.OVERLOADED),
    "504 with a web page": Behaviour(status=504, html=True),
    "408": _status(408),
    "409": _status(409),
    "425": _status(425),
    "429": _status(429),
}


async def _twice_then_fine(
    setup: Setup, fault: Behaviour, make_call: Callable[[Cortex], Awaitable[Reply]]
) -> None:
    primary = setup.primary(fault, fault, GOOD)
    async with setup.gateway() as cortex:
        start = trio.current_time()
        reply = await make_call(cortex)
        took = trio.current_time() - start
    equal((reply.text, reply.worker), (GOOD.text, "primary"), "the answer")
    check(took <= SDK_SECONDS + setup.slack, f"as soon as by the SDKs, not after {took:.1f} s")
    equal(reply.attempts[-1].failure, None, "the last attempt")
    equal(len(primary.requests) + primary.connections_refused, 3, "the requests and refused connections")


@S32.parts_for(TWICE, "complete() retries a fault that happens twice")
async def complete_retries(setup: Setup, fault: Behaviour) -> None:
    await _twice_then_fine(setup, fault, lambda cortex: cortex.complete("Hi"))


@S32.parts_for(TWICE, "chat() retries a fault that happens twice", virtual=True)
async def chat_retries(setup: Setup, fault: Behaviour) -> None:
    async def make_call(cortex: Cortex) -> Reply:
        async with cortex.chat("Hi") as answer:
            return await answer.collect()

    await _twice_then_fine(setup, fault, make_call)


@S32.part("connections that are refused for half a second are retried")
async def refused_for_half_a_second(setup: Setup) -> None:
    primary = setup.primary(Behaviour(refuse=True, lasts=setup.second / 2), GOOD)
    async with setup.gateway() as cortex:
        equal((await cortex.complete("Hi")).text, GOOD.text, "the answer")
    equal(len(primary.requests), 1, "requests that arrived")


@S32.part("a fault that does not pass fails within max_attempts", virtual=True)
async def bounded(setup: Setup) -> None:
    primary = setup.primary(Behaviour(error=FailureKind.SERVER))
    async with setup.gateway() as cortex:
        failed = await failing(CortexError, lambda: cortex.complete("Hi"))
    check("server" in str(failed), f"the error names the failure kind ({failed})")
    sent = len(primary.requests)
    check(SDK_ATTEMPTS <= sent <= MOST_ATTEMPTS, f"it gets as many requests as from the SDKs ({sent} times)")


@S32.part("a kept-alive connection that is silent is replaced once by a new one", virtual=True)
async def kept_and_silent(setup: Setup) -> None:
    primary = setup.primary(GOOD, Behaviour(silent=True), GOOD)
    async with setup.gateway() as cortex:
        for _ in range(2):
            equal((await cortex.complete("Hi")).text, GOOD.text, "the answer")
    equal([request.connection for request in primary.requests], [1, 1, 2], "the connections used")


# ------------------------------------------------------------------ S33: the list of models proves nothing

PROVES_NOTHING: Mapping[str, Behaviour] = {
    "404": Behaviour(status=404),
    "405": Behaviour(status=405, error_body='{"detail": "Method Not Allowed"}'),
    "501": Behaviour(status=501, error_body="Not Implemented", content_type="text/plain"),
    "a web page": Behaviour(html=True),
}
"""Responses that prove nothing about chat."""
LISTS: Mapping[str, Behaviour] = {
    **PROVES_NOTHING,
    "403 with a web page": Behaviour(status=403, html=True),
    "500": Behaviour(status=500),
    "slow": Behaviour(first_token_after=20),
    "silent": Behaviour(silent=True),
    "reset": Behaviour(reset_at="request"),
}


@S33.parts_for(LISTS, "it serves for 36 minutes, with any result of the health checks", virtual=True)
async def always_serves(setup: Setup, listing: Behaviour) -> None:
    """There are fewer calls than checks, so that every call comes after some checks."""
    primary = setup.primary(GOOD)
    primary.behave_health(listing)
    async with setup.gateway(health_check_interval=30, health_check_timeout=5) as cortex:
        for _ in range(18):
            await _served_at_once(cortex)
            await trio.sleep(2 * MINUTE)
    check(_checks(primary.requests) > 18, f"checks came in between ({_checks(primary.requests)})")


@S33.parts_for(LISTS, "it serves right after check_health()")
async def serves_after_a_check(setup: Setup, listing: Behaviour) -> None:
    primary = setup.primary(GOOD)
    primary.behave_health(listing)
    async with setup.gateway(health_check_timeout=5 * setup.second) as cortex:
        for _ in range(3):
            await cortex.check_health()
            await _served_at_once(cortex, setup.slack)


@S33.parts_for(
    PROVES_NOTHING, "a list that proves nothing about chat does not change the order of workers", virtual=True
)
async def still_the_first(setup: Setup, listing: Behaviour) -> None:
    primary = setup.primary(GOOD)
    setup.fallback()
    primary.behave_health(listing)
    async with setup.gateway(health_check_interval=30, health_check_timeout=5) as cortex:
        for _ in range(18):
            await trio.sleep(2 * MINUTE)
            equal((await cortex.complete("Hi")).worker, "primary", "the worker that serves")
        equal((await cortex.health_status()).workers["primary"].status, "available", "the primary")


@S33.part("a list that waits for a running answer proves nothing either", virtual=True)
async def waits_behind_an_answer(setup: Setup) -> None:
    """A small server with one model sends its list after the answer; a second call waits as well."""
    primary = setup.primary(Behaviour(text=GOOD.text, first_token_after=1, tokens_per_second=0.1))
    primary.one_at_a_time = True
    replies: list[str] = []

    async def make_call(cortex: Cortex) -> None:
        replies.append((await cortex.complete("Hi")).text)

    async with setup.gateway(health_check_interval=15, health_check_timeout=5) as cortex:
        for _ in range(20):
            async with open_flat_nursery() as nursery:
                nursery.start_soon(make_call, cortex)
                await trio.sleep(45)
                status = (await cortex.health_status()).workers["primary"].status
                equal(status, "available", "the primary in the middle of an answer")
                nursery.start_soon(make_call, cortex)
            await trio.sleep(MINUTE)
    equal(replies, [GOOD.text] * 40, "the answers")
    check(_checks(primary.requests), "checks came in between")


async def _served_at_once(cortex: Cortex, slack: float = 0.0) -> None:
    start = trio.current_time()
    equal((await cortex.complete("Hi")).text, GOOD.text, "the answer")
    took = trio.current_time() - start
    check(took <= 1 + slack, f"it comes at once, not after {took:.1f} s")


def _checks(requests: Sequence[object]) -> int:
    return sum(getattr(request, "method", "") == "GET" for request in requests)


# ------------------------------------------------------------------ S34: refused once

ONCE: Mapping[str, FailureKind] = {
    "404": FailureKind.MODEL_NOT_FOUND,
    "403": FailureKind.PERMISSION,
    "401": FailureKind.CREDENTIAL,
}
"""Sent as the provider sends them: some have another status for a wrong key."""


@S34.parts_for(ONCE, "the only worker serves again within two minutes", virtual=True)
async def again_within_minutes(setup: Setup, kind: FailureKind) -> None:
    primary = setup.primary(Behaviour(error=kind), GOOD)
    async with setup.gateway() as cortex:
        await _refused(cortex, kind)
        took = await _until_served(lambda: _is_served(cortex))
    check(took <= LONE_TRIAL_SECONDS, f"it is served again within two minutes, not after {took:.0f} s")
    equal(len(primary.requests), 2, "requests to the primary")


@S34.parts_for(
    ONCE,
    "trials come at longer and longer intervals, and the worker serves again after its recovery",
    virtual=True,
)
async def refused_for_ten_minutes(setup: Setup, kind: FailureKind) -> None:
    primary = setup.primary(Behaviour(error=kind, lasts=10 * MINUTE), GOOD)
    async with setup.gateway() as cortex:
        await _refused(cortex, kind)
        took = await _until_served(lambda: _is_served(cortex))
    check(10 * MINUTE <= took <= 20 * MINUTE, f"within ten minutes of its recovery, not after {took:.0f} s")
    check(
        len(primary.requests) <= 7, f"trials are 1, 2, 4 … minutes apart ({len(primary.requests)} requests)"
    )


@S34.parts_for(ONCE, "it serves at once after check_health()")
async def at_once_after_a_check(setup: Setup, kind: FailureKind) -> None:
    setup.primary(Behaviour(error=kind), GOOD)
    async with setup.gateway() as cortex:
        await _refused(cortex, kind)
        await cortex.check_health()
        await _served_at_once(cortex, setup.slack)


@S34.parts_for(ONCE, "it serves at once after check_health() without a list of models", virtual=True)
async def at_once_without_a_list(setup: Setup, kind: FailureKind) -> None:
    primary = setup.primary(Behaviour(error=kind), GOOD)
    primary.behave_health(PROVES_NOTHING["404"])
    async with setup.gateway() as cortex:
        await _refused(cortex, kind)
        await cortex.check_health()
        await _served_at_once(cortex)


@S34.parts_for(ONCE, "it serves at once after a reload of the same configuration")
async def at_once_after_a_reload(setup: Setup, kind: FailureKind) -> None:
    setup.primary(Behaviour(error=kind), GOOD)
    async with setup.gateway() as cortex:
        await _refused(cortex, kind)
        await cortex.reload(setup.config)
        await _served_at_once(cortex, setup.slack)


@S34.parts_for(ONCE, "beside a fallback it serves again when its cooldown ends", virtual=True)
async def beside_a_fallback(setup: Setup, kind: FailureKind) -> None:
    setup.primary(Behaviour(error=kind), GOOD)
    setup.fallback()
    async with setup.gateway() as cortex:
        equal((await cortex.complete("Hi")).text, RESCUE.text, "the answer meanwhile")

        async def is_served_by_the_primary() -> bool:
            return (await cortex.complete("Hi")).worker == "primary"

        took = await _until_served(is_served_by_the_primary)
    most = CREDENTIAL_SECONDS if kind is FailureKind.CREDENTIAL else SUSPICION_SECONDS
    check(took <= most, f"it serves again within {most / MINUTE:.0f} minutes, not after {took:.0f} s")


async def _refused(cortex: Cortex, kind: FailureKind) -> None:
    refused = await failing(ProviderError, lambda: cortex.complete("Hi"))
    equal(refused.failure.kind, kind, "the error")


async def _is_served(cortex: Cortex) -> bool:
    try:
        return (await cortex.complete("Hi")).text == GOOD.text
    except CortexError:
        return False


async def _until_served(is_served: Callable[[], Awaitable[bool]]) -> float:
    """Call every 10 s, for an hour at most; return the seconds until a call is served."""
    start = trio.current_time()
    while not await is_served():
        check(trio.current_time() - start < 60 * MINUTE, "it is served again within an hour")
        await trio.sleep(10)
    return trio.current_time() - start
