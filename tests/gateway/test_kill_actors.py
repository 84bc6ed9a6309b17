"""Any actor may be killed at any time: streams are completed, the tree recovers, and no cooldown is forgotten."""

import itertools
import random

import pytest
import trio
import trio.testing
from at_rest import gateway, leftovers, worker_of

from cortex_trio import Cortex, CortexError, FailureKind, Reply
from cortex_trio.otp import MaxRestartsExceeded
from cortex_trio.simulator import Behaviour, SimulatedProvider, Simulator, open_simulator

TEXT = "One two three four five six seven eight nine ten."
STREAMS = 50

VICTIMS = ("registry", "keys", "workers", "health", "openai")
"""All actors but the root; "openai" is a worker."""

victims = pytest.mark.parametrize("victim", VICTIMS)


def add_providers(sim: Simulator) -> SimulatedProvider:
    """Three that stream for about two seconds, and a fourth whose rate limit ends after 100."""
    for name in ("openai", "anthropic", "ollama"):
        sim.add(name, Behaviour(text=TEXT, tokens_per_second=5))
    return sim.add("limited", Behaviour(error=FailureKind.RATE_LIMIT, retry_after=100), provider="groq")


async def start_cooldown(cortex: Cortex) -> None:
    with pytest.raises(CortexError, match="rate_limit"):
        await cortex.complete("Hi", worker="limited", max_attempts=1)
    await trio.testing.wait_all_tasks_blocked()  # until the gateway has recorded it


async def stream(cortex: Cortex, ended: list[Reply]) -> None:
    async with cortex.chat("Hi") as answer:
        ended.append(await answer.collect())


async def is_running(cortex: Cortex) -> bool:
    """Every actor of the tree is running."""
    await trio.testing.wait_all_tasks_blocked()
    lines = cortex.tree().splitlines()
    return len(lines) == 9 and all("running" in line for line in lines)


@pytest.mark.slow
@victims
async def test_all_streams_are_completed_the_tree_recovers_and_a_cooldown_goes_on(
    autojump_clock: trio.testing.MockClock, victim: str
) -> None:
    ended: list[Reply] = []
    async with open_simulator() as sim:
        limited = add_providers(sim)
        async with gateway(sim, strategy="round_robin") as cortex:
            await start_cooldown(cortex)
            async with trio.open_nursery() as nursery:
                for _ in range(STREAMS):
                    nursery.start_soon(stream, cortex, ended)
                await trio.sleep(1)
                cortex.actor(victim).kill()
                await trio.sleep(0.1)
                assert await is_running(cortex), cortex.tree()
                assert "1 restart" in cortex.tree()
            with pytest.raises(CortexError, match=r"rate_limit.*retry in 9"):
                await cortex.complete("Hi", worker="limited")
            assert len(limited.requests) == 1
            served = sum(info.requests for info in await cortex.list_workers())
            assert served == STREAMS + 1
    assert [reply.text for reply in ended] == [TEXT] * STREAMS
    assert [len(reply.attempts) for reply in ended] == [1] * STREAMS


@pytest.mark.slow
@victims
async def test_requests_that_begin_when_an_actor_is_killed_are_served(
    autojump_clock: trio.testing.MockClock, victim: str
) -> None:
    ended: list[Reply] = []
    async with open_simulator() as sim:
        add_providers(sim)
        async with gateway(sim, strategy="round_robin") as cortex:
            await start_cooldown(cortex)
            async with trio.open_nursery() as nursery:
                for number in range(STREAMS):
                    nursery.start_soon(stream, cortex, ended)
                    if number == STREAMS // 2:
                        cortex.actor(victim).kill()
            assert await is_running(cortex)
    assert [reply.text for reply in ended] == [TEXT] * STREAMS


@victims
async def test_a_request_is_served_when_an_actor_is_killed_at_any_of_its_steps(
    autojump_clock: trio.testing.MockClock, victim: str
) -> None:
    """One request each time, and the kill one checkpoint later: finer than the steps of the request."""

    async def kill_after(cortex: Cortex, steps: int) -> None:
        for _ in range(steps):
            await trio.lowlevel.checkpoint()
        cortex.actor(victim).kill()

    async with open_simulator() as sim:
        sim.add("openai", Behaviour(text=TEXT))
        async with gateway(sim) as cortex:
            for steps in range(40):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(kill_after, cortex, steps)
                    assert (await cortex.complete("Hi")).text == TEXT, steps
                await trio.sleep(10)
                assert not leftovers(cortex), steps


async def test_workers_can_be_added_and_removed_while_actors_are_killed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_simulator() as sim:
        first, second = (worker_of(sim.add(name, Behaviour(text=TEXT))) for name in ("openai", "anthropic"))
        async with gateway(sim, {"first": first}) as cortex:
            for name in ("registry", "keys", "workers"):
                cortex.actor(name).kill()
                await cortex.add_worker("second", second)
                assert (await cortex.complete("Hi", worker="second")).text == TEXT
                cortex.actor(name).kill()
                assert [info.name for info in await cortex.list_workers()] == ["first", "second"]
                await cortex.remove_worker("second")
                assert [info.name for info in await cortex.list_workers()] == ["first"]
                await trio.sleep(10)


async def test_the_restarts_of_a_killed_worker_are_counted(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_simulator() as sim:
        add_providers(sim)
        async with gateway(sim) as cortex:
            cortex.actor("openai").kill()
            await trio.sleep(1)
            restarts = {info.name: info.restarts for info in await cortex.list_workers()}
    assert restarts == {"openai": 1, "anthropic": 0, "ollama": 0, "limited": 0}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
async def test_random_kills_over_minutes_cost_no_answer(
    autojump_clock: trio.testing.MockClock, seed: int
) -> None:
    chance = random.Random(seed)
    ended: list[Reply] = []

    async def ask(cortex: Cortex) -> None:
        await trio.sleep(chance.uniform(0, 180))
        await stream(cortex, ended)

    async def kill(cortex: Cortex) -> None:
        for _ in range(100):
            # With shorter pauses, the tree would give up.
            await trio.sleep(chance.uniform(1.1, 3))
            cortex.actor(chance.choice(VICTIMS)).kill()

    async with open_simulator() as sim:
        limited = add_providers(sim)
        async with gateway(sim, strategy="least_used", health_check_interval=5) as cortex:
            await start_cooldown(cortex)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(kill, cortex)
                for _ in range(150):
                    nursery.start_soon(ask, cortex)
            await trio.sleep(10)
            assert await is_running(cortex)
            assert not leftovers(cortex)
    assert [reply.text for reply in ended] == [TEXT] * 150
    posted = [request for request in limited.requests if request.method == "POST"]
    assert all(later.when - earlier.when >= 100 for earlier, later in itertools.pairwise(posted))


async def test_a_tree_whose_actors_exit_too_often_gives_up_with_one_flat_error(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def kill_often(sim: Simulator) -> None:
        async with gateway(sim) as cortex:
            for _ in range(100):
                cortex.actor("registry").kill()
                await trio.sleep(0.1)

    async with open_simulator() as sim:
        add_providers(sim)
        with pytest.raises(MaxRestartsExceeded):
            await kill_often(sim)
