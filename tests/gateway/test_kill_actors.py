"""Any actor may be killed at any moment: streams end well, the tree heals, and nothing that was known is forgotten."""

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
"""Every actor there is; "openai" is a worker."""

victims = pytest.mark.parametrize("victim", VICTIMS)


def house(sim: Simulator) -> SimulatedProvider:
    """Three workers that stream for about two seconds, and a fourth that asks to be left alone for 100."""
    for name in ("openai", "anthropic", "ollama"):
        sim.add(name, Behaviour(text=TEXT, tokens_per_second=5))
    return sim.add("resting", Behaviour(error=FailureKind.RATE_LIMIT, retry_after=100), provider="groq")


async def let_it_rest(cortex: Cortex) -> None:
    with pytest.raises(CortexError, match="rate_limit"):
        await cortex.complete("Hi", worker="resting", max_attempts=1)
    await trio.testing.wait_all_tasks_blocked()  # until it is known


async def stream(cortex: Cortex, ended: list[Reply]) -> None:
    async with cortex.chat("Hi") as answer:
        ended.append(await answer.collect())


async def is_whole(cortex: Cortex) -> bool:
    """Every actor of the tree is running."""
    await trio.testing.wait_all_tasks_blocked()
    lines = cortex.tree().splitlines()
    return len(lines) == 9 and all("running" in line for line in lines)


@victims
async def test_all_streams_end_well_the_tree_heals_and_a_rested_key_still_rests(
    autojump_clock: trio.testing.MockClock, victim: str
) -> None:
    ended: list[Reply] = []
    async with open_simulator() as sim:
        resting = house(sim)
        async with gateway(sim, strategy="round_robin") as cortex:
            await let_it_rest(cortex)
            async with trio.open_nursery() as nursery:
                for _ in range(STREAMS):
                    nursery.start_soon(stream, cortex, ended)
                await trio.sleep(1)
                cortex.actor(victim).kill()
                await trio.sleep(0.1)
                assert await is_whole(cortex), cortex.tree()
                assert "1 restart" in cortex.tree()
            with pytest.raises(CortexError, match=r"rate_limit.*retry in 9"):
                await cortex.complete("Hi", worker="resting")
            assert len(resting.requests) == 1
            served = sum(info.requests for info in await cortex.list_workers())
            assert served == STREAMS + 1
    assert [reply.text for reply in ended] == [TEXT] * STREAMS
    assert [len(reply.attempts) for reply in ended] == [1] * STREAMS


@victims
async def test_requests_made_at_the_very_moment_of_the_kill_are_served(
    autojump_clock: trio.testing.MockClock, victim: str
) -> None:
    ended: list[Reply] = []
    async with open_simulator() as sim:
        house(sim)
        async with gateway(sim, strategy="round_robin") as cortex:
            await let_it_rest(cortex)
            async with trio.open_nursery() as nursery:
                for number in range(STREAMS):
                    nursery.start_soon(stream, cortex, ended)
                    if number == STREAMS // 2:
                        cortex.actor(victim).kill()
            assert await is_whole(cortex)
    assert [reply.text for reply in ended] == [TEXT] * STREAMS


@victims
async def test_at_whatever_step_of_a_request_the_kill_comes_it_is_served(
    autojump_clock: trio.testing.MockClock, victim: str
) -> None:
    """One request, and the kill a little later each time, in steps finer than any of its own."""

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


async def test_the_pool_can_be_changed_while_its_keepers_die(autojump_clock: trio.testing.MockClock) -> None:
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


async def test_a_worker_that_was_killed_says_so_in_its_restarts(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_simulator() as sim:
        house(sim)
        async with gateway(sim) as cortex:
            cortex.actor("openai").kill()
            await trio.sleep(1)
            restarts = {info.name: info.restarts for info in await cortex.list_workers()}
    assert restarts == {"openai": 1, "anthropic": 0, "ollama": 0, "resting": 0}


@pytest.mark.parametrize("seed", range(3))
async def test_a_random_killer_over_minutes_costs_nobody_an_answer(
    autojump_clock: trio.testing.MockClock, seed: int
) -> None:
    chance = random.Random(seed)
    ended: list[Reply] = []

    async def ask(cortex: Cortex) -> None:
        await trio.sleep(chance.uniform(0, 180))
        await stream(cortex, ended)

    async def kill(cortex: Cortex) -> None:
        for _ in range(100):
            await trio.sleep(
                chance.uniform(1.1, 3)
            )  # more often, and the tree would take it for its own fault
            cortex.actor(chance.choice(VICTIMS)).kill()

    async with open_simulator() as sim:
        resting = house(sim)
        async with gateway(sim, strategy="least_used", health_check_interval=5) as cortex:
            await let_it_rest(cortex)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(kill, cortex)
                for _ in range(150):
                    nursery.start_soon(ask, cortex)
            await trio.sleep(10)
            assert await is_whole(cortex)
            assert not leftovers(cortex)
    assert [reply.text for reply in ended] == [TEXT] * 150
    posted = [request for request in resting.requests if request.method == "POST"]
    assert all(later.when - earlier.when >= 100 for earlier, later in itertools.pairwise(posted))


async def test_a_tree_that_cannot_keep_its_actors_alive_gives_up_with_one_flat_error(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def hunt(sim: Simulator) -> None:
        async with gateway(sim) as cortex:
            for _ in range(100):
                cortex.actor("registry").kill()
                await trio.sleep(0.1)

    async with open_simulator() as sim:
        house(sim)
        with pytest.raises(MaxRestartsExceeded):
            await hunt(sim)
