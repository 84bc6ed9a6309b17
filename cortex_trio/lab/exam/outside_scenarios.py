"""The scenarios S01 to S16 and S31 to S34 for a gateway with an HTTP endpoint; see `outside`."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Sequence

import attrs
import trio

from ...failures import FailureKind
from ...simulator.behaviour import Behaviour
from ...simulator.provider import SimulatedProvider
from ...simulator.request import SimRequest
from .outside import FALLBACK_MODEL, OutsideSetup, Received
from .setup import GOOD, RESCUE, SIXTY, NotPassed, check, equal, hint

MOST_SECONDS = 180.0
"""The limit of one scenario."""
RETRIES = 2
CALLERS = 10
CHECKED_SECONDS = 60.0
"""How long S33 gives a gateway for its own health checks before each request."""
SERVED_AGAIN_SECONDS = 85.0
"""How soon S34 expects an answer again. It waits twice, within MOST_SECONDS."""


@attrs.frozen
class OutsideScenario:
    number: str
    fault: str
    play: Callable[[OutsideSetup], Awaitable[None]]


async def _waits_for_the_hint(setup: OutsideSetup) -> None:
    wait = 2 * setup.second
    setup.begin(Behaviour(error=FailureKind.RATE_LIMIT, retry_after=wait), GOOD)
    check((await setup.request()).is_whole, "it is served")
    sent = [request.when for request in setup.primary.requests]
    check(
        all(b - a >= wait for a, b in itertools.pairwise(sent)),
        "no request comes before the hint has passed",
    )


async def _rate_limited(setup: OutsideSetup) -> None:
    setup.begin(Behaviour(error=FailureKind.RATE_LIMIT, retry_after=60 * setup.second))
    equal((await setup.request()).text, RESCUE.text, "the answer")


async def _one_server_error(setup: OutsideSetup) -> None:
    setup.begin(Behaviour(error=FailureKind.SERVER), GOOD)
    check((await setup.request()).is_whole, "it is served")
    check(len(setup.primary.requests) <= 2, "at most one retry")


async def _overloaded(setup: OutsideSetup) -> None:
    setup.begin(Behaviour(status=503))
    for _ in range(5):
        equal((await setup.request()).text, RESCUE.text, "the answer")
    check(len(setup.primary.requests) <= 5 * (1 + RETRIES), "the attempts at the primary are bounded")


async def _reset(setup: OutsideSetup) -> None:
    setup.begin(Behaviour(refuse=True))
    equal((await setup.request()).text, RESCUE.text, "the answer")


async def _silent(setup: OutsideSetup) -> None:
    setup.begin(Behaviour(silent=True))
    received = await setup.request()
    equal(received.text, RESCUE.text, "the answer")
    check(received.seconds <= setup.most_seconds, f"within the timeout, not after {received.seconds:.1f} s")
    equal(len(setup.primary.requests), 1, "requests to the silent provider")


async def _late(setup: OutsideSetup) -> None:
    setup.begin(Behaviour(text=GOOD.text, first_token_after=20 * setup.second))
    received = await setup.request()
    check(received.is_whole, f"it is served ({received.error})")
    check(received.seconds <= setup.most_seconds, f"within the timeout, not after {received.seconds:.1f} s")


def _broken_after_40(behaviour: Behaviour) -> Callable[[OutsideSetup], Awaitable[None]]:
    async def play(setup: OutsideSetup) -> None:
        scaled = attrs.evolve(behaviour, stall_for=behaviour.stall_for * setup.second)
        setup.begin(attrs.evolve(scaled, text=SIXTY))
        _check_whole_or_error(await setup.request())

    return play


def _check_whole_or_error(received: Received) -> None:
    """The answer is whole, or an error says that it is not."""
    check(not received.garbled, "no malformed chunk is forwarded")
    check(
        received.is_whole or received.error is not None,
        f"a broken answer does not end like a whole one (…{received.text[-40:]!r})",
    )


async def _no_done(setup: OutsideSetup) -> None:
    setup.begin(Behaviour(text=SIXTY, no_terminal=True))
    received = await setup.request()
    check(received.is_success, f"it is accepted as complete ({received.error})")
    equal(received.text, SIXTY, "the answer")


async def _too_long(setup: OutsideSetup) -> None:
    setup.begin(Behaviour(error=FailureKind.CONTEXT_LENGTH))
    received = await setup.request()
    equal(len(setup.primary.requests), 1, "requests to the primary")
    check(
        received.is_whole or 400 <= received.status < 500,
        f"an error of the request or an answer, not {received.status}",
    )


async def _policy(setup: OutsideSetup) -> None:
    setup.begin(Behaviour(error=FailureKind.CONTENT_POLICY))
    received = await setup.request()
    check(not received.is_success, "an error is reported")
    equal((len(setup.primary.requests), len(setup.fallback.requests)), (1, 0), "requests")


async def _no_prefix(setup: OutsideSetup) -> None:
    setup.begin(Behaviour(text=SIXTY, cut_after=40))
    setup.fallback.prefill = False
    received = await setup.request()
    check(
        received.is_whole or received.error is not None,
        f"a broken answer ends like a whole one: {received.text[-60:]!r}",
    )


async def _flapping(setup: OutsideSetup) -> None:
    start = trio.current_time()

    def flap(request: SimRequest) -> Behaviour:
        return Behaviour(status=503) if (request.when - start) / setup.second % 10 < 8 else GOOD

    setup.begin(flap)
    for number in range(1, 21):
        check((await setup.request()).is_whole, f"request {number} is served")
        await trio.sleep_until(start + 3 * number * setup.second)
    check(len(setup.primary.requests) <= 20 * (1 + RETRIES), "the attempts at the primary are bounded")


async def _names_the_model(setup: OutsideSetup) -> None:
    setup.begin(Behaviour(status=503))
    received = await setup.request()
    equal((received.text, received.model), (RESCUE.text, FALLBACK_MODEL), "the answer and the model it names")


async def _limited_for_a_second(setup: OutsideSetup) -> None:
    limits: dict[str, float] = {}

    def limit(provider: SimulatedProvider) -> Callable[[SimRequest], Behaviour]:
        def answer(request: SimRequest) -> Behaviour:
            left = limits.setdefault(provider.name, request.when + setup.second) - request.when
            return Behaviour(error=FailureKind.RATE_LIMIT, retry_after=hint(left)) if left > 0 else GOOD

        return answer

    setup.begin(limit(setup.primary))
    setup.fallback.behave(limit(setup.fallback))
    received: list[Received] = []

    async def make_call() -> None:
        received.append(await setup.request())

    async with trio.open_nursery() as nursery:
        for _ in range(CALLERS):
            nursery.start_soon(make_call)
    whole = sum(one.is_whole for one in received)
    equal(whole, CALLERS, "callers that are served")
    for provider in (setup.primary, setup.fallback):
        early = sum(request.when < limits.get(provider.name, 0.0) for request in provider.requests)
        check(
            early <= CALLERS, f"no caller asks {provider.name} twice before its limit ends ({early} requests)"
        )


async def _twice(setup: OutsideSetup) -> None:
    for fault in (Behaviour(refuse=True), Behaviour(cut_at="request"), Behaviour(status=500)):
        await setup.recover()
        setup.begin(fault, fault, GOOD)
        setup.fallback.behave(Behaviour(refuse=True))
        received = await setup.request()
        check(received.is_whole, f"it is served ({received.error})")


async def _without_model_list(setup: OutsideSetup) -> None:
    lists = (Behaviour(status=404), Behaviour(status=405), Behaviour(status=500), Behaviour(html=True))
    for listing in (*lists, Behaviour(silent=True)):
        setup.begin(GOOD)
        for provider in (setup.primary, setup.fallback):
            provider.behave_health(listing)
        await trio.sleep(CHECKED_SECONDS / (len(lists) + 1) * setup.second)
        received = await setup.request()
        check(received.is_whole, f"it is served ({received.error})")


async def _refused_once(setup: OutsideSetup) -> None:
    for kind in (FailureKind.MODEL_NOT_FOUND, FailureKind.CREDENTIAL):
        start = trio.current_time()
        setup.begin(Behaviour(error=kind), GOOD)
        setup.fallback.behave(Behaviour(error=kind), GOOD)
        while not (received := await setup.request()).is_whole:
            took = trio.current_time() - start
            check(
                took < SERVED_AGAIN_SECONDS * setup.second, f"it is served within minutes ({received.error})"
            )
            await trio.sleep(5 * setup.second)


OUTSIDE: Sequence[OutsideScenario] = (
    OutsideScenario("S01", "429 with Retry-After 2 s, then fine", _waits_for_the_hint),
    OutsideScenario("S02", "429 always", _rate_limited),
    OutsideScenario("S03", "one 500, then fine", _one_server_error),
    OutsideScenario("S04", "503 always", _overloaded),
    OutsideScenario("S05", "TCP reset", _reset),
    OutsideScenario("S06", "accepts, then silent", _silent),
    OutsideScenario("S07", "first token after 20 s", _late),
    OutsideScenario("S08", "cut after 40 of 60 tokens", _broken_after_40(Behaviour(cut_after=40))),
    OutsideScenario(
        "S09", "stalls 30 s mid-stream", _broken_after_40(Behaviour(stall_after=40, stall_for=30))
    ),
    OutsideScenario("S10", "malformed chunk", _broken_after_40(Behaviour(garble_after=40))),
    OutsideScenario("S11", "no [DONE] after the finish reason", _no_done),
    OutsideScenario("S12", "400 context_length", _too_long),
    OutsideScenario("S13", "content policy refusal", _policy),
    OutsideScenario("S14", "cut, and the fallback rejects a prefix", _no_prefix),
    OutsideScenario("S15", "flaps for 60 s, 20 requests", _flapping),
    OutsideScenario("S16", "the fallback serves", _names_the_model),
    OutsideScenario("S31", "both limited for 1 s, ten callers", _limited_for_a_second),
    OutsideScenario("S32", "one is refused, the other fails twice", _twice),
    OutsideScenario("S33", "no list of models", _without_model_list),
    OutsideScenario("S34", "one 404 or 401, then fine", _refused_once),
)


async def run_outside(scenario: OutsideScenario, setup: OutsideSetup) -> str | None:
    """Run one scenario. Returns what does not hold, None if it is passed."""
    await setup.recover()
    try:
        with trio.fail_after(MOST_SECONDS * setup.second):
            await scenario.play(setup)
    except NotPassed as error:
        return str(error)
    except trio.TooSlowError:
        return f"not finished within {MOST_SECONDS * setup.second:g} s"
    return None
