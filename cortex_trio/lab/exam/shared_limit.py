"""All workers are rate limited for a second, and ten calls wait for them: S31."""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import trio

from ...events import Attempt
from ...failures import FailureKind
from ...gateway.cortex import Cortex
from ...otp.nursery import open_flat_nursery
from ...simulator.behaviour import Behaviour
from ...simulator.provider import SimulatedProvider
from ...simulator.request import SimRequest
from .scenario import scenario
from .setup import GOOD, RESCUE, Setup, check, equal, hint

S31 = scenario("S31", "all blocked for 1 s, ten callers", "all ten are served after it, none before")

COUNTED = ("openai", "openai_responses", "groq", "xai", "xai_responses", "anthropic")
"""Dialects whose responses say how much of a limit is left."""
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
    """A limit that begins with the first request and ends a second later. Its Retry-After is the remaining time."""

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


@S31.parts_for(ONE_SECOND, "ten calls at the same time are all served after the limit")
async def ten_at_once(setup: Setup, refusal: Behaviour) -> None:
    limit = OneSecond(refusal, setup.second)
    primary = setup.primary(limit.answer)
    async with setup.gateway() as cortex:
        served = await _ten_callers(cortex)
    _check_all_served_after(setup, limit, [primary], served)


S31.parts_for(
    OVERLOADED, "ten calls at the same time are all served after the Retry-After of an overload", virtual=True
)(ten_at_once)


@S31.part("later calls wait for the same limit, and send no request before")
async def ten_one_after_the_other(setup: Setup) -> None:
    limit = OneSecond(ONE_SECOND["429"], setup.second)
    primary = setup.primary(limit.answer)
    async with setup.gateway() as cortex:
        served = await _ten_callers(cortex, pause=setup.second / 20)
    _check_all_served_after(setup, limit, [primary], served)
    if setup.is_virtual:
        equal(
            len(primary.requests),
            CALLERS + 1,
            "requests: the one that met the limit, and one for each caller",
        )


@S31.part("two workers with the same limit are available again at the same time")
async def two_workers(setup: Setup) -> None:
    limits = [OneSecond(ONE_SECOND["429"], setup.second) for _ in range(2)]
    primary, fallback = setup.primary(limits[0].answer), setup.fallback(limits[1].answer)
    async with setup.gateway() as cortex:
        served = await _ten_callers(cortex)
    for limit, provider in zip(limits, (primary, fallback), strict=True):
        _check_all_served_after(setup, limit, [provider], served)


@S31.part(
    "the calls wait as well if a good answer says that no requests are left", virtual=True, only=COUNTED
)
async def empty_bucket(setup: Setup) -> None:
    """The headers of a 200 say that no requests are left, and that there are more in a second."""
    primary = setup.primary(attrs.evolve(GOOD, headers=EMPTY_BUCKETS[setup.dialect]), GOOD)
    async with setup.gateway() as cortex:
        equal((await cortex.complete("Hi")).text, GOOD.text, "the first answer")
        served = await _ten_callers(cortex)
    equal(len(served), CALLERS, "callers that are served")
    first, *others = [request.when for request in primary.requests]
    check(min(others) >= first + 1, "the primary gets no request before there are more")


async def _ten_callers(cortex: Cortex, pause: float = 0.0) -> list[tuple[str, list[Attempt]]]:
    """Every second call is a stream. Returns text and attempts of all calls; raises the error of a call that fails."""
    served: list[tuple[str, list[Attempt]]] = []

    async def make_call(number: int) -> None:
        if number % 2:
            reply = await cortex.complete("Hi")
        else:
            async with cortex.chat("Hi") as answer:
                reply = await answer.collect()
        served.append((reply.text, list(reply.attempts)))

    async with open_flat_nursery() as nursery:
        for number in range(CALLERS):
            nursery.start_soon(make_call, number)
            await trio.sleep(pause)
    return served


def _check_all_served_after(
    setup: Setup,
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
        check(
            len(early) <= CALLERS, f"no call sends two requests before the limit ends ({len(early)} requests)"
        )
        if setup.is_virtual:
            check(
                all(when < began + 0.01 for when in early),
                "once the limit is known, no request is sent before its end",
            )
