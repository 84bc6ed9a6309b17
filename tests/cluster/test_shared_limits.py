"""Limits that several gateways use up together: how far they are exceeded, given back, and kept in an outage."""

import math
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

from cortex_trio import Config
from cortex_trio.cluster import Claim, MemoryStore, Store
from cortex_trio.gateway.runtime import Runtime
from cortex_trio.gateway.sharing.limits import SLICES, SharedLimit
from cortex_trio.gateway.startup import open_runtime
from cortex_trio.simulator import SimulatedStore, open_simulator

LIMIT = 400.0


@asynccontextmanager
async def limits_of(
    *stores: Store, limit: float = LIMIT, seconds: float = 60.0, **settings: Any
) -> AsyncIterator[Sequence[SharedLimit]]:
    """Open one gateway for each store, and return the limit as each of them sees it."""
    async with open_simulator() as sim, AsyncExitStack() as stack:
        sim.add("openai")
        config = Config(workers={"openai": sim["openai"].worker()}, health_check_interval=0, **settings)
        opened = [
            await stack.enter_async_context(open_runtime(config, http_transport=sim.transport, store=store))
            for store in stores
        ]
        yield [limit_of(runtime, limit, seconds) for runtime in opened]


def limit_of(runtime: Runtime, limit: float, seconds: float) -> SharedLimit:
    assert runtime.sharing is not None
    return runtime.sharing.limits.limit("team/requests", limit, lambda: seconds)


async def use(limit: SharedLimit, pause: float, until: float) -> int:
    """Use the limit as often as it allows; return how often."""
    admitted = 0
    while trio.current_time() < until:
        if limit.seconds_until(1) == 0:
            limit.charge(1)
            admitted += 1
        await trio.sleep(pause)
    return admitted


async def use_all(limits: Sequence[SharedLimit], pauses: Sequence[float], seconds: float) -> int:
    admitted: list[int] = []
    until = trio.current_time() + seconds

    async def one(limit: SharedLimit, pause: float) -> None:
        admitted.append(await use(limit, pause, until))

    async with trio.open_nursery() as nursery:
        for limit, pause in zip(limits, pauses, strict=True):
            nursery.start_soon(one, limit, pause)
    return sum(admitted)


@pytest.mark.slow
@pytest.mark.parametrize(
    "pauses", [(0.25, 0.25, 0.25, 0.25), (0.05, 0.75, 2.5, 1.25)], ids=["even", "uneven"]
)
async def test_four_gateways_admit_the_limit_and_no_more_than_five_percent_beside_it(
    pauses: Sequence[float], autojump_clock: Any
) -> None:
    async with limits_of(*[MemoryStore()] * 4) as limits:
        assert await use_all(limits, pauses, 59) == pytest.approx(LIMIT, rel=0.05)


@pytest.mark.slow
async def test_after_its_time_the_limit_is_whole_again(autojump_clock: Any) -> None:
    async with limits_of(*[MemoryStore()] * 2) as limits:
        assert await use_all(limits, (0.2, 0.2), 119) == pytest.approx(2 * LIMIT, rel=0.05)


async def test_one_round_trip_for_each_slice_and_none_for_a_request(autojump_clock: Any) -> None:
    store = SimulatedStore()
    async with limits_of(store.seen_by("a")) as (limit,):
        assert await use(limit, 0.06, trio.current_time() + 30) == pytest.approx(LIMIT, rel=0.05)
        assert store.operations["claim"] <= SLICES + 30  # when it is used up, one a second


async def test_a_gateway_that_has_stopped_asking_gives_back_what_it_has_not_used(autojump_clock: Any) -> None:
    async with limits_of(*[MemoryStore()] * 2) as (first, second):
        first.charge(1)
        await trio.sleep(3)
        assert await use(second, 0.06, trio.current_time() + 30) == LIMIT - 1


async def test_requests_before_the_first_slice_are_admitted_and_counted(autojump_clock: Any) -> None:
    store = SimulatedStore()
    async with limits_of(store.seen_by("a"), store.seen_by("b")) as (first, second):
        store.behave(delay=0.5)
        for _ in range(15):
            assert first.seconds_until(1) == 0
            first.charge(1)
        store.recover()
        await trio.sleep(1)
        assert await use(second, 0.08, trio.current_time() + 40) <= LIMIT - 15


async def test_a_budget_in_dollars_is_exceeded_by_one_slice_for_each_process_at_most(
    autojump_clock: Any,
) -> None:
    async with limits_of(*[MemoryStore()] * 3, limit=50.0) as limits:
        spent = 0.0
        for _ in range(400):
            for limit in limits:
                if limit.remaining > 0:
                    limit.charge(0.07)
                    spent += 0.07
            await trio.sleep(0.01)
        assert 50 - 3 * 50 / SLICES <= spent <= 50 + 3 * 50 / SLICES


async def test_without_a_link_each_process_may_use_its_part(autojump_clock: Any) -> None:
    store = SimulatedStore()
    async with limits_of(*(store.seen_by(name) for name in "abcd")) as limits:
        await trio.sleep(1)
        store.kill()
        await trio.sleep(1)
        assert await use_all(limits, (0.25,) * 4, 50) == pytest.approx(LIMIT, rel=0.05)


async def test_a_store_that_has_lost_its_data_does_not_make_the_limit_whole(autojump_clock: Any) -> None:
    store = SimulatedStore()
    async with limits_of(store.seen_by("a"), store.seen_by("b")) as limits:
        admitted = await use_all(limits, (0.25, 0.25), 20)
        store.restart_empty()
        admitted += await use_all(limits, (0.1, 0.1), 38)
        assert admitted <= LIMIT + 2 * LIMIT / SLICES
        assert admitted >= LIMIT * 0.9


async def test_a_limit_that_was_never_used_says_when_it_is_whole(autojump_clock: Any) -> None:
    async with limits_of(MemoryStore()) as (limit,):
        assert limit.seconds_until(10) == 0
        limit.charge(LIMIT)
        await trio.sleep(1)
        assert limit.seconds_until(1) == pytest.approx(59, abs=0.1)
        assert math.isfinite(limit.remaining)


async def test_without_a_link_each_process_may_use_the_whole_limit_if_so_configured(
    autojump_clock: Any,
) -> None:
    store = SimulatedStore()
    async with limits_of(*(store.seen_by(name) for name in "ab"), limits_without_store="whole") as limits:
        await trio.sleep(1)
        store.kill()
        await trio.sleep(1)
        assert await use_all(limits, (0.1, 0.1), 50) == 2 * LIMIT
        store.recover()
        await trio.sleep(3)  # what was used counts, also beyond the limit
        assert [limit.seconds_until(1) > 0 for limit in limits] == [True, True]


async def test_a_gateway_that_is_closed_gives_back_its_slice_and_pays_what_it_has_used(
    autojump_clock: Any,
) -> None:
    store = MemoryStore()
    used = 0
    for amount in (1, 7, 15, 1):  # less than half a slice, and more
        async with limits_of(store) as (limit,):
            limit.charge(amount)
            used += amount
            if amount != 15:
                await trio.sleep(0.5)  # else it is closed before it has a slice
    async with limits_of(store) as (last,):
        assert await use(last, 0.01, trio.current_time() + 20) == LIMIT - used


@pytest.mark.parametrize("used", [41, 49, 51, 60])
async def test_a_process_that_is_killed_loses_one_slice_at_most_until_its_window_ends(
    used: int, autojump_clock: Any
) -> None:
    store = SimulatedStore()
    async with limits_of(store.seen_by("a"), store.seen_by("b")) as (killed, other):
        for _ in range(used):
            killed.charge(1)
            await trio.sleep(0.05)
        store.partition("a")  # from now on it does nothing
        admitted = used + await use(other, 0.05, trio.current_time() + 30)
        assert LIMIT - LIMIT / SLICES <= admitted <= LIMIT + LIMIT / SLICES
        await trio.sleep(30)
        assert await use(other, 0.05, trio.current_time() + 50) == LIMIT


async def test_a_refusal_before_the_next_slice_is_there_ends_soon_and_is_no_spent_limit(
    autojump_clock: Any,
) -> None:
    store = SimulatedStore()
    async with limits_of(store.seen_by("a")) as (limit,):
        store.behave(delay=0.4)
        limit.charge(30)  # more than a slice, at once
        assert 0 < limit.seconds_until(1) <= 1
        assert not limit.is_used_up
        assert limit.seconds_until(LIMIT) == pytest.approx(60)  # when all of it may be used
        await trio.sleep(1)
        assert limit.seconds_until(1) == 0
        limit.charge(LIMIT)
        await trio.sleep(1)
        assert limit.seconds_until(1) == pytest.approx(58.5, abs=0.2)
        assert limit.is_used_up


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
async def test_lost_answers_of_the_store_use_up_nothing(seed: int, autojump_clock: Any) -> None:
    store = SimulatedStore(seed)
    async with limits_of(store.seen_by("a"), store.seen_by("b"), seconds=3600) as (first, second):
        store.behave(drop=0.4)
        admitted = 0
        for _ in range(60):  # more slices than there are, if each lost answer cost one
            for limit in (first, second):
                limit.charge(1)
                admitted += 1
            await trio.sleep(4)  # what is unused is given back, or was given back
        store.recover()
        store.behave()
        await trio.sleep(3)
        admitted += await use_all((first, second), (0.05, 0.05), 60)
        assert LIMIT - 2 * LIMIT / SLICES <= admitted <= LIMIT + 2 * LIMIT / SLICES


async def test_what_one_process_gives_back_another_that_refuses_requests_gets(autojump_clock: Any) -> None:
    async with limits_of(*[MemoryStore()] * 2) as (first, second):
        first.charge(1)
        admitted = 1 + await use(second, 0.001, trio.current_time() + 1.5)
        assert admitted < LIMIT
        assert second.is_used_up
        await trio.sleep(10)  # longer than anything is looked at without a request
        assert await use(second, 0.1, trio.current_time() + 10) == LIMIT - admitted


async def test_a_window_that_the_store_begins_a_little_earlier_is_a_new_one(autojump_clock: Any) -> None:
    limit = SharedLimit("team", 40, lambda: 60.0, lambda: None, lambda limit: None)
    limit.charge(30)
    limit.was_given(Claim(32, 60, "1"), 32, trio.current_time())
    await trio.sleep(59.5)
    limit.was_given(Claim(32, 60, "2"), 32, trio.current_time())
    assert limit.used == 0
    limit.charge(30)
    await trio.sleep(20)
    limit.was_given(Claim(32, 60, "3"), 32, trio.current_time())  # it has lost its data
    assert limit.used == 30


async def test_giving_back_does_not_make_a_used_up_limit_usable(autojump_clock: Any) -> None:
    limit = SharedLimit("team", 40, lambda: 60.0, lambda: None, lambda limit: None)
    limit.charge(1)
    limit.was_given(Claim(1.5, 60, "1"), 3, trio.current_time())
    await trio.sleep(3)
    assert limit.wanted(trio.current_time()) == 1
    limit.was_given(Claim(1, 57, "1"), 1, trio.current_time())
    assert limit.is_used_up
    assert limit.remaining == 0


@pytest.mark.parametrize("charged", [0.1 * n for n in range(1, 40)])
async def test_the_actor_never_looks_again_at_once_for_nothing(charged: float, autojump_clock: Any) -> None:
    await trio.sleep(charged)
    limit = SharedLimit("team", 40, lambda: 60.0, lambda: None, lambda limit: None)
    limit.charge(1)
    now = trio.current_time()
    wanted = limit.wanted(now)
    assert wanted == 3
    limit.was_given(Claim(wanted, 60, "1"), wanted, now)
    when = limit.next_look(now)
    assert when > now
    assert limit.wanted(when) == 1, "this is what the look is for"
