"""One gateway opens a breaker, all know it; one makes the trial for all. Over a store in memory, in virtual time."""

import itertools
from collections.abc import Sequence
from typing import Any

import pytest
import trio
import trio.testing
from gateways import ask, open_gateways, served_by

from cortex_trio import Config, Cortex
from cortex_trio.cluster import MemoryStore
from cortex_trio.simulator import Behaviour, Simulator, open_simulator

BROKEN = Behaviour(status=500)


def breakers(gateways: Sequence[Cortex], worker: str = "openai") -> list[str]:
    return [cortex.snapshot().worker(worker).breaker.state for cortex in gateways]


async def open_breaker(sim: Simulator, cortex: Cortex) -> None:
    sim["openai"].behave(BROKEN)
    while breakers([cortex]) == ["closed"]:
        await ask(cortex)


def providers(sim: Simulator) -> None:
    for name in ("openai", "anthropic", "groq"):
        sim.add(name)


async def test_a_breaker_that_opens_in_one_gateway_is_open_in_all(autojump_clock: Any) -> None:
    async with open_simulator() as sim:
        providers(sim)
        store = MemoryStore()
        async with open_gateways(sim, store, store, store) as gateways:
            await open_breaker(sim, gateways[0])
            assert breakers(gateways) == ["open"] * 3
            before = len(sim["openai"].requests)
            for cortex in gateways:
                assert await served_by(cortex) == "anthropic"
            assert len(sim["openai"].requests) == before


async def test_the_trial_of_one_gateway_closes_the_breakers_of_all(autojump_clock: Any) -> None:
    async with open_simulator() as sim:
        providers(sim)
        store = MemoryStore()
        async with open_gateways(sim, store, store, store) as gateways:
            await open_breaker(sim, gateways[0])
            sim["openai"].behave(Behaviour())
            before = len(sim["openai"].requests)
            while breakers(gateways) != ["closed"] * 3:
                await ask(gateways[0])
                await trio.sleep(0.5)
            assert len(sim["openai"].requests) == before + 1
            assert await served_by(gateways[2]) == "openai"


@pytest.mark.slow
async def test_one_gateway_makes_the_trial_although_all_have_requests(autojump_clock: Any) -> None:
    async with open_simulator() as sim:
        providers(sim)
        store = MemoryStore()
        async with open_gateways(sim, *[store] * 3) as gateways:
            await open_breaker(sim, gateways[0])
            before = len(sim["openai"].requests)
            for _ in range(50):  # 30 s: the breaker opens again after each trial
                for cortex in gateways:
                    await ask(cortex)
                await trio.sleep(0.6)
            when = [request.when for request in sim["openai"].requests[before:]]
            assert 2 <= len(when) <= 3, "5 s, 10 s, then 20 s after each other"
            assert all(later - earlier >= 9 for earlier, later in itertools.pairwise(when))


@pytest.mark.slow
async def test_calls_of_all_gateways_at_the_same_moment_make_one_trial(autojump_clock: Any) -> None:
    async with open_simulator() as sim:
        providers(sim)
        store = MemoryStore()
        async with open_gateways(sim, *[store] * 5) as gateways:
            await open_breaker(sim, gateways[0])
            before = len(sim["openai"].requests)
            sim["openai"].behave(Behaviour(first_token_after=5.0))
            until = trio.current_time() + 7
            async with trio.open_nursery() as nursery:
                while trio.current_time() < until:
                    for cortex in gateways:
                        nursery.start_soon(cortex.complete, "Hi")
                    await trio.sleep(0.25)
                    in_flight = sum(c.snapshot().worker("openai").in_flight for c in gateways)
                    assert in_flight <= 1
            assert len(sim["openai"].requests) == before + 1


async def test_a_gateway_that_dies_with_the_lease_is_replaced_by_another(autojump_clock: Any) -> None:
    async with open_simulator() as sim:
        providers(sim)
        store = MemoryStore()
        async with open_gateways(sim, store) as (survivor,):
            async with open_gateways(sim, store) as (dying,):
                await open_breaker(sim, dying)
                await ask(survivor)
                await trio.sleep(4.9)
                sim["openai"].behave(Behaviour(first_token_after=60))
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(ask, dying)
                    await trio.sleep(1)
                    nursery.cancel_scope.cancel()
            sim["openai"].behave(Behaviour())
            with trio.fail_after(10):
                while await served_by(survivor) != "openai":  # noqa: ASYNC110 - no event says it
                    await trio.sleep(0.2)


async def test_a_gateway_without_requests_does_not_keep_the_trial_from_the_others(
    autojump_clock: Any,
) -> None:
    async with open_simulator() as sim:
        providers(sim)
        store = MemoryStore()
        async with open_gateways(sim, store, store) as (busy, idle):
            await open_breaker(sim, busy)
            await trio.sleep(20)  # one of them has had the lease meanwhile
            assert breakers([idle]) == ["half_open"]
            sim["openai"].behave(Behaviour())
            with trio.fail_after(8):
                while await served_by(idle) != "openai":  # noqa: ASYNC110 - no event says it
                    await trio.sleep(0.1)
            assert breakers([busy, idle]) == ["closed"] * 2


async def test_a_call_that_waits_makes_the_trial_as_soon_as_the_lease_is_there(autojump_clock: Any) -> None:
    async with open_simulator() as sim:
        providers(sim)
        store = MemoryStore()
        async with open_gateways(sim, store, store) as (first, _):
            await open_breaker(sim, first)
            sim["openai"].behave(Behaviour())
            began = trio.current_time()
            reply = await first.complete("Hi", worker="openai", max_wait=30)
            assert reply.worker == "openai"
            assert trio.current_time() - began < 7


async def test_a_reload_of_one_gateway_does_not_close_the_breakers_of_others(autojump_clock: Any) -> None:
    async with open_simulator() as sim:
        providers(sim)
        store = MemoryStore()
        async with open_gateways(sim, store, store) as (first, second):
            await open_breaker(sim, first)
            workers = {name: sim[name].worker(timeout=20.0) for name in ("openai", "anthropic", "groq")}
            await first.reload(Config(workers=workers, health_check_interval=0))
            await trio.testing.wait_all_tasks_blocked()
            assert breakers([second]) == ["open"]
