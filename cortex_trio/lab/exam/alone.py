"""One worker is all there is, and what is wrong with it passes, or says nothing about its answers: S32, S33 and S34."""

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
from .stage import GOOD, RESCUE, Stage, check, equal, failing

SDK_ATTEMPTS = 3
"""One request and two retries, if nothing else is said to an official SDK."""
MOST_ATTEMPTS = 4
"""Config.max_attempts, where nothing else is said."""
SDK_SECONDS = 10.0
"""Two retries of the official SDKs take 0.5 and 1 s (openai-python, `_calculate_retry_timeout`); this is generous."""
MINUTE = 60.0
LONE_TRIAL_SECONDS = 2 * MINUTE
"""A worker that is the only one gets a trial a minute after its failure; callers come every 10 s."""
SUSPICION_SECONDS = 2 * MINUTE
"""A model or a permission cools down for a minute at first."""
CREDENTIAL_SECONDS = 17 * MINUTE
"""An API key cools down for 15 minutes at first, with up to 10 % of jitter."""

S32 = scenario("S32", "one worker, refused / reset / cut / 500 twice", "served, as the official SDKs would")
S33 = scenario("S33", "one worker whose model list is 404, 405, 500, a page, or slow", "serves for ever")
S34 = scenario(
    "S34",
    "one 404, 403 or 401, then fine",
    "served again within minutes, at once after check_health()",
)


# ------------------------------------------------------------------ S32: what the SDKs ask again


def _status(status: int) -> Behaviour:
    """A status with a body that names no code and no type: the status alone decides."""
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
    stage: Stage, trouble: Behaviour, ask: Callable[[Cortex], Awaitable[Reply]]
) -> None:
    primary = stage.primary(trouble, trouble, GOOD)
    async with stage.gateway() as cortex:
        start = trio.current_time()
        reply = await ask(cortex)
        took = trio.current_time() - start
    equal((reply.text, reply.worker), (GOOD.text, "primary"), "the answer")
    check(took <= SDK_SECONDS + stage.slack, f"as soon as the SDKs would, not after {took:.1f} s")
    equal(reply.attempts[-1].failure, None, "the last attempt")
    equal(len(primary.requests) + primary.connections_refused, 3, "how often it is asked")


@S32.parts_for(TWICE, "complete() asks again what happens twice and then no more")
async def complete_asks_again(stage: Stage, trouble: Behaviour) -> None:
    await _twice_then_fine(stage, trouble, lambda cortex: cortex.complete("Hi"))


@S32.parts_for(TWICE, "chat() asks again what happens twice and then no more", virtual=True)
async def chat_asks_again(stage: Stage, trouble: Behaviour) -> None:
    async def ask(cortex: Cortex) -> Reply:
        async with cortex.chat("Hi") as answer:
            return await answer.collect()

    await _twice_then_fine(stage, trouble, ask)


@S32.part("connections that are refused for half a second are tried again")
async def refused_for_half_a_second(stage: Stage) -> None:
    primary = stage.primary(Behaviour(refuse=True, lasts=stage.second / 2), GOOD)
    async with stage.gateway() as cortex:
        equal((await cortex.complete("Hi")).text, GOOD.text, "the answer")
    equal(len(primary.requests), 1, "requests that arrived")


@S32.part("trouble that does not pass is given up within max_attempts", virtual=True)
async def bounded(stage: Stage) -> None:
    primary = stage.primary(Behaviour(error=FailureKind.SERVER))
    async with stage.gateway() as cortex:
        failed = await failing(CortexError, lambda: cortex.complete("Hi"))
    check("server" in str(failed), f"the error says what went wrong ({failed})")
    asked = len(primary.requests)
    check(SDK_ATTEMPTS <= asked <= MOST_ATTEMPTS, f"it is asked as often as the SDKs would ({asked} times)")


@S32.part("a kept connection that falls silent is replaced, once, by a fresh one", virtual=True)
async def kept_and_silent(stage: Stage) -> None:
    primary = stage.primary(GOOD, Behaviour(silent=True), GOOD)
    async with stage.gateway() as cortex:
        for _ in range(2):
            equal((await cortex.complete("Hi")).text, GOOD.text, "the answer")
    equal([request.connection for request in primary.requests], [1, 1, 2], "the connections used")


# ------------------------------------------------------------------ S33: the list of models says nothing

SAYS_NOTHING: Mapping[str, Behaviour] = {
    "404": Behaviour(status=404),
    "405": Behaviour(status=405, error_body='{"detail": "Method Not Allowed"}'),
    "501": Behaviour(status=501, error_body="Not Implemented", content_type="text/plain"),
    "a web page": Behaviour(html=True),
}
"""Statuses that say nothing about chat."""
LISTS: Mapping[str, Behaviour] = {
    **SAYS_NOTHING,
    "403 with a web page": Behaviour(status=403, html=True),
    "500": Behaviour(status=500),
    "slow": Behaviour(first_token_after=20),
    "silent": Behaviour(silent=True),
    "reset": Behaviour(reset_at="request"),
}


@S33.parts_for(LISTS, "it serves for 36 minutes, whatever the checks of its list find", virtual=True)
async def serves_for_ever(stage: Stage, listing: Behaviour) -> None:
    """Calls are rarer than checks, so that every call comes after some of them."""
    primary = stage.primary(GOOD)
    primary.behave_health(listing)
    async with stage.gateway(health_check_interval=30, health_check_timeout=5) as cortex:
        for _ in range(18):
            await _served_at_once(cortex)
            await trio.sleep(2 * MINUTE)
    check(_checks(primary.requests) > 18, f"checks came in between ({_checks(primary.requests)})")


@S33.parts_for(LISTS, "it serves right after a check that was asked for")
async def serves_after_a_check(stage: Stage, listing: Behaviour) -> None:
    primary = stage.primary(GOOD)
    primary.behave_health(listing)
    async with stage.gateway(health_check_timeout=5 * stage.second) as cortex:
        for _ in range(3):
            await cortex.check_health()
            await _served_at_once(cortex, stage.slack)


@S33.parts_for(SAYS_NOTHING, "what says nothing about chat makes no worker the second choice", virtual=True)
async def still_the_first(stage: Stage, listing: Behaviour) -> None:
    primary = stage.primary(GOOD)
    stage.fallback()
    primary.behave_health(listing)
    async with stage.gateway(health_check_interval=30, health_check_timeout=5) as cortex:
        for _ in range(18):
            await trio.sleep(2 * MINUTE)
            equal((await cortex.complete("Hi")).worker, "primary", "the worker that serves")
        equal((await cortex.health_status()).workers["primary"].status, "available", "the primary")


@S33.part("a list that waits behind a running answer says nothing either", virtual=True)
async def waits_behind_an_answer(stage: Stage) -> None:
    """A small server with one model lists its models when the answer is over; a call waits for its turn as well."""
    primary = stage.primary(Behaviour(text=GOOD.text, first_token_after=1, tokens_per_second=0.1))
    primary.one_at_a_time = True
    replies: list[str] = []

    async def ask(cortex: Cortex) -> None:
        replies.append((await cortex.complete("Hi")).text)

    async with stage.gateway(health_check_interval=15, health_check_timeout=5) as cortex:
        for _ in range(20):
            async with open_flat_nursery() as nursery:
                nursery.start_soon(ask, cortex)
                await trio.sleep(45)
                status = (await cortex.health_status()).workers["primary"].status
                equal(status, "available", "the primary in the middle of an answer")
                nursery.start_soon(ask, cortex)
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
"""As the provider itself says it: some have another status for a key that is wrong."""


@S34.parts_for(ONCE, "the only worker is served again within two minutes", virtual=True)
async def again_within_minutes(stage: Stage, kind: FailureKind) -> None:
    primary = stage.primary(Behaviour(error=kind), GOOD)
    async with stage.gateway() as cortex:
        await _refused(cortex, kind)
        took = await _until_served(lambda: _is_served(cortex))
    check(took <= LONE_TRIAL_SECONDS, f"it is served again within two minutes, not after {took:.0f} s")
    equal(len(primary.requests), 2, "requests to the primary")


@S34.parts_for(
    ONCE, "trials come ever less often while it lasts, and bring the worker back after it", virtual=True
)
async def refused_for_ten_minutes(stage: Stage, kind: FailureKind) -> None:
    primary = stage.primary(Behaviour(error=kind, lasts=10 * MINUTE), GOOD)
    async with stage.gateway() as cortex:
        await _refused(cortex, kind)
        took = await _until_served(lambda: _is_served(cortex))
    check(10 * MINUTE <= took <= 20 * MINUTE, f"within ten minutes of its recovery, not after {took:.0f} s")
    check(
        len(primary.requests) <= 7, f"trials are 1, 2, 4 … minutes apart ({len(primary.requests)} requests)"
    )


@S34.parts_for(ONCE, "a check that is asked for brings it back at once")
async def at_once_after_a_check(stage: Stage, kind: FailureKind) -> None:
    stage.primary(Behaviour(error=kind), GOOD)
    async with stage.gateway() as cortex:
        await _refused(cortex, kind)
        await cortex.check_health()
        await _served_at_once(cortex, stage.slack)


@S34.parts_for(ONCE, "a check brings it back where there is no list of models", virtual=True)
async def at_once_without_a_list(stage: Stage, kind: FailureKind) -> None:
    primary = stage.primary(Behaviour(error=kind), GOOD)
    primary.behave_health(SAYS_NOTHING["404"])
    async with stage.gateway() as cortex:
        await _refused(cortex, kind)
        await cortex.check_health()
        await _served_at_once(cortex)


@S34.parts_for(ONCE, "a reload with the same configuration brings it back at once")
async def at_once_after_a_reload(stage: Stage, kind: FailureKind) -> None:
    stage.primary(Behaviour(error=kind), GOOD)
    async with stage.gateway() as cortex:
        await _refused(cortex, kind)
        await cortex.reload(stage.config)
        await _served_at_once(cortex, stage.slack)


@S34.parts_for(ONCE, "beside a fallback it is the first choice again when its cooldown ends", virtual=True)
async def beside_a_fallback(stage: Stage, kind: FailureKind) -> None:
    stage.primary(Behaviour(error=kind), GOOD)
    stage.fallback()
    async with stage.gateway() as cortex:
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
