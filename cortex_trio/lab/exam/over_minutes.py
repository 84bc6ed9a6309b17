"""Behaviour that shows over minutes: S15, S20 and S21."""

from __future__ import annotations

import trio
import trio.testing

from ...events import Reply
from ...failures import FailureKind
from ...simulator.behaviour import Behaviour
from ...simulator.request import SimRequest
from .scenario import scenario
from .setup import GOOD, RESCUE, Setup, check, equal, near

OPEN_SECONDS = 6.0
"""Longer than a breaker stays open for the first time."""

S15 = scenario("S15", "flaps for 60 s, 20 requests", "all served; back on the primary soon; bounded attempts")
S20 = scenario("S20", "the health check hangs", "unavailable after its timeout; others unaffected")
S21 = scenario("S21", "the task holding the half-open permit is cancelled", "the permit is free again")


@S15.part("all calls are served, and the primary serves again soon after its recovery", virtual=True)
async def flapping(setup: Setup) -> None:
    start = trio.current_time()

    def flap(request: SimRequest) -> Behaviour:
        bad = request.when < start + 60 and (request.when - start) % 10 < 8
        return Behaviour(status=503) if bad else GOOD

    primary = setup.primary(flap)
    setup.fallback()
    async with setup.gateway() as cortex:
        for number in range(1, 21):
            check((await cortex.complete("Hi")).text in (GOOD.text, RESCUE.text), "every request is served")
            await trio.sleep_until(start + 3 * number)
        check(len(primary.requests) <= 20, f"attempts at the primary are bounded ({len(primary.requests)})")
        after: list[str] = []
        for second in range(31):
            await trio.sleep_until(start + 60 + second)
            after.append((await cortex.complete("Hi")).worker)
        check("primary" in after, "back on the primary within 30 s of its recovery")
        await trio.testing.wait_all_tasks_blocked()  # until its success is known
        for _ in range(5):
            equal((await cortex.complete("Hi")).worker, "primary", "the worker from then on")


# ------------------------------------------------------------------ S20: a health check that hangs

HANGING = {"silent": Behaviour(silent=True), "headers only": Behaviour(stall_after=0)}


@S20.parts_for(HANGING, "its worker is unavailable, and no call is delayed", virtual=True)
async def health_check_hangs(setup: Setup, hanging: Behaviour) -> None:
    primary = setup.primary(GOOD)
    setup.fallback()
    primary.behave_health(hanging)
    async with setup.gateway(health_check_timeout=5) as cortex:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cortex.check_health)
            await trio.sleep(1)
            before = trio.current_time()
            equal((await cortex.complete("Hi")).worker, "primary", "the worker meanwhile")
            equal((await cortex.list_workers())[0].name, "primary", "the first worker of the list")
            check(trio.current_time() - before < 0.1, "no call waits for the check")
        primary.behave_health(hanging)
        start = trio.current_time()
        health = await cortex.check_health()
        near(trio.current_time() - start, 5, 0.1, "how long a check takes")
        hangs = health.workers["primary"]
        equal((hangs.status, hangs.reason), ("unavailable", FailureKind.STALLED), "the one that hangs")
        equal(health.workers["fallback"].status, "available", "the other")
        equal(health.system_health, "degraded", "the gateway's health")
        equal((await cortex.complete("Hi")).worker, "fallback", "the worker after it")
        primary.behave_health(Behaviour())
        equal(
            (await cortex.check_health()).system_health, "healthy", "the gateway's health after the recovery"
        )
        equal((await cortex.complete("Hi")).worker, "primary", "the worker then")
    posted = [request for request in primary.requests if request.method == "POST"]
    equal(len(posted), 2, "requests for completions: none is a health check")


@S20.part("health checks continue while the check of one worker hangs", virtual=True)
async def rounds_go_on(setup: Setup) -> None:
    primary = setup.primary(GOOD)
    fallback = setup.fallback()
    primary.behave_health(Behaviour(silent=True))
    async with setup.gateway(health_check_interval=30, health_check_timeout=5) as cortex:
        await trio.sleep(125)
        health = await cortex.health_status()
        equal(health.workers["primary"].status, "unavailable", "the one that hangs")
        equal(health.workers["fallback"].status, "available", "the other")
        check(health.last_health_check is not None, "last_health_check has a value")
    sent = (len(primary.requests), len(fallback.requests))
    check(set(sent) <= {3, 4}, f"a round every half minute ({sent} checks in 125 s)")


# ------------------------------------------------------------------ S21: the trial of a half-open breaker


@S21.part("a trial that is cancelled leaves the permit free", virtual=True)
async def trial_cancelled(setup: Setup) -> None:
    primary = setup.primary(Behaviour(status=503))
    setup.fallback()
    async with setup.gateway() as cortex:
        for _ in range(3):
            await cortex.complete("Hi")
        await trio.sleep(OPEN_SECONDS)
        primary.behave(Behaviour(silent=True))
        for _ in range(3):
            with trio.move_on_after(1) as scope:
                await cortex.complete("Hi")
            check(scope.cancelled_caught, "each gets the trial, or it would have been served by the fallback")
        primary.behave(GOOD)
        equal((await cortex.complete("Hi")).worker, "primary", "the worker after it")
        equal((await cortex.health_status()).system_health, "healthy", "the gateway's health")


@S21.part("during a trial other calls are served by another worker", virtual=True)
async def one_trial_at_a_time(setup: Setup) -> None:
    primary = setup.primary(Behaviour(status=503))
    setup.fallback()
    async with setup.gateway() as cortex:
        for _ in range(3):
            await cortex.complete("Hi")
        await trio.sleep(OPEN_SECONDS)
        primary.behave(Behaviour(text=GOOD.text, first_token_after=5))
        before = len(primary.requests)
        replies: list[Reply] = []

        async def make_call() -> None:
            replies.append(await cortex.complete("Hi"))

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(make_call)
    equal(len(primary.requests), before + 1, "requests to the primary")
    equal(sorted(reply.worker for reply in replies), ["fallback"] * 9 + ["primary"], "the worker")


@S21.part("the next request after a trial can use the worker, even without a pause", virtual=True)
async def the_next_request(setup: Setup) -> None:
    """The result of a call must be known to the next call."""
    primary = setup.primary(Behaviour(status=503))
    setup.fallback()
    async with setup.gateway() as cortex:
        for _ in range(20):
            primary.behave(Behaviour(status=503))
            for _ in range(3):
                await cortex.complete("Hi")
            await trio.sleep(70)
            primary.behave(GOOD)
            for _ in range(3):
                equal((await cortex.complete("Hi")).worker, "primary", "the worker")


@S21.part("a sequence of calls never finds its own permit in use", virtual=True)
async def own_shadow(setup: Setup) -> None:
    setup.primary(GOOD, max_concurrency=1)
    async with setup.gateway() as cortex:
        for _ in range(50):
            equal((await cortex.complete("Hi")).text, GOOD.text, "the answer")
            async with cortex.chat("Hi") as answer:
                check(await anext(answer), "there is a first event")
