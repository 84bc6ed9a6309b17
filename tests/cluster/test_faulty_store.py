"""Gateways with a store that is slow, hangs, loses, repeats and reorders messages, breaks, and forgets everything.

In virtual time. No call may take longer than without a store, and what was found out is known to all in the end.
"""

import logging
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
from gateways import ask, open_gateways, served_by

from cortex_trio import Cortex, open_cortex
from cortex_trio.simulator import Behaviour, SimulatedStore, Simulator, open_simulator
from cortex_trio.telemetry import LinkSnapshot, StoreLinkChanged

LIMITED = Behaviour(status=429, retry_after=50)
NOTICED = 1.0
"""Seconds within which a store that hangs is noticed."""
BACK = 2.0
"""Seconds after the end of an outage within which all know everything."""


@asynccontextmanager
async def three(seed: int = 0) -> AsyncIterator[tuple[Simulator, SimulatedStore, Sequence[Cortex]]]:
    random.seed(seed)
    async with open_simulator() as sim:
        sim.add("openai", LIMITED)
        sim.add("anthropic")
        store = SimulatedStore(seed)
        async with open_gateways(sim, *(store.seen_by(name) for name in "abc")) as gateways:
            yield sim, store, gateways


def link_of(cortex: Cortex) -> LinkSnapshot:
    link = cortex.snapshot().cluster
    assert link is not None
    return link


def know(gateways: Sequence[Cortex]) -> list[bool]:
    return [any(key.cooldowns for key in cortex.snapshot().keys) for cortex in gateways]


async def call_at_once(cortex: Cortex) -> None:
    """A call takes no time at all: nothing in it waits for the store."""
    began = trio.current_time()
    assert await served_by(cortex) is not None
    assert trio.current_time() == began


HANG: Callable[[SimulatedStore], None] = lambda store: store.hang()  # noqa: E731
KILL: Callable[[SimulatedStore], None] = lambda store: store.kill()  # noqa: E731
CUT: Callable[[SimulatedStore], None] = lambda store: store.partition("a", "b", "c")  # noqa: E731


@pytest.mark.parametrize("fail", [HANG, KILL, CUT], ids=["hang", "kill", "partition"])
async def test_an_outage_is_noticed_delays_no_call_and_loses_nothing(
    fail: Callable[[SimulatedStore], None], autojump_clock: Any
) -> None:
    async with three() as (_, store, gateways):
        fail(store)
        for cortex in gateways:
            await call_at_once(cortex)
        await trio.sleep(NOTICED)
        assert [link_of(cortex).connected for cortex in gateways] == [False] * 3
        await trio.sleep(5)
        await call_at_once(gateways[1])
        store.recover()
        await trio.sleep(BACK)
        assert [link_of(cortex).connected for cortex in gateways] == [True] * 3
        assert know(gateways) == [True] * 3


@pytest.mark.parametrize("fail", [HANG, KILL, CUT], ids=["hang", "kill", "partition"])
async def test_what_one_finds_out_during_an_outage_all_know_after_it(
    fail: Callable[[SimulatedStore], None], autojump_clock: Any
) -> None:
    async with three() as (sim, store, gateways):
        fail(store)
        await ask(gateways[0])
        await trio.sleep(10)
        assert know(gateways) == [True, False, False]
        store.recover()
        await trio.sleep(BACK)
        assert know(gateways) == [True] * 3
        assert len(sim["openai"].requests) == 1


async def test_an_end_during_an_outage_is_known_after_it_and_the_cooldown_does_not_return(
    autojump_clock: Any,
) -> None:
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(status=401))
        sim.add("anthropic")
        store = SimulatedStore()
        async with open_gateways(sim, *(store.seen_by(name) for name in "abc")) as gateways:
            await ask(gateways[0])
            assert know(gateways) == [True] * 3
            store.partition("a")
            await trio.sleep(5)
            sim["openai"].behave(Behaviour())
            await gateways[0].check_health()
            assert know(gateways) == [False, True, True]
            store.recover()
            await trio.sleep(BACK)
            assert know(gateways) == [False] * 3


async def test_a_gateway_that_is_cut_off_goes_on_with_what_it_knew(autojump_clock: Any) -> None:
    async with three() as (sim, store, gateways):
        await ask(gateways[0])
        store.partition("c")
        await trio.sleep(5)
        assert [link_of(cortex).connected for cortex in gateways] == [True, True, False]
        assert await served_by(gateways[2]) == "anthropic"
        assert len(sim["openai"].requests) == 1


async def test_a_store_that_starts_again_empty_gets_everything_back_also_from_gateways_that_are_gone(
    autojump_clock: Any,
) -> None:
    async with open_simulator() as sim:
        sim.add("openai", LIMITED)
        sim.add("anthropic")
        store = SimulatedStore()
        async with open_gateways(sim, store.seen_by("b")) as (other,):
            async with open_gateways(sim, store.seen_by("a")) as (first,):
                await ask(first)
            store.restart_empty()
            await trio.sleep(BACK)
            async with open_gateways(sim, store.seen_by("c")) as (third,):
                assert know([other, third]) == [True, True]


async def test_a_cooldown_that_is_passed_on_again_and_again_does_not_grow(autojump_clock: Any) -> None:
    async with three() as (_, store, gateways):
        await ask(gateways[0])
        for _ in range(10):
            store.restart_empty()
            await trio.sleep(4)
        await trio.sleep(50 * 1.1 - 40 + 0.5)
        assert know(gateways) == [False] * 3


async def test_opening_waits_for_a_store_that_hangs_half_a_second_at_most(autojump_clock: Any) -> None:
    async with open_simulator() as sim:
        sim.add("openai")
        store = SimulatedStore()
        store.hang()
        began = trio.current_time()
        async with open_gateways(sim, store.seen_by("a")) as (cortex,):
            assert trio.current_time() - began <= 0.5
            await call_at_once(cortex)


async def test_one_line_and_one_event_for_each_change_of_the_link(
    autojump_clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    events: list[object] = []
    caplog.set_level(logging.INFO, "cortex_trio")
    async with open_simulator() as sim:
        sim.add("openai")
        store = SimulatedStore()
        async with open_cortex(
            sim.config(), http_transport=sim.transport, store=store.seen_by("a"), on_event=events.append
        ):
            store.kill()
            await trio.sleep(60)
            store.recover()
            await trio.sleep(60)
    assert [e.connected for e in events if isinstance(e, StoreLinkChanged)] == [True, False, True]
    assert len([record for record in caplog.records if "store simulated" in record.message]) == 3


async def test_closing_a_gateway_does_not_wait_for_a_store_that_hangs(autojump_clock: Any) -> None:
    async with three() as (_, store, _):
        store.hang()
        await trio.sleep(0.1)
        began = trio.current_time()
    assert trio.current_time() - began < 0.5


@pytest.mark.parametrize("seed", range(6))
async def test_with_a_store_that_loses_repeats_and_reorders_all_agree_in_the_end(
    seed: int, autojump_clock: Any
) -> None:
    async with three(seed) as (_, store, gateways):
        store.behave(delay=0.1, drop=0.15, duplicate=0.3, reorder=0.3)
        for cortex in gateways:
            began = trio.current_time()
            await ask(cortex)
            assert trio.current_time() == began
            await trio.sleep(1)
        store.recover()
        await trio.sleep(BACK)
        assert know(gateways) == [True] * 3
        for cortex in gateways:
            snapshot = cortex.snapshot()  # one: its times are those of the machine's clock
            (cooldown,) = (c for key in snapshot.keys for c in key.cooldowns)
            left = (cooldown.until - snapshot.at).total_seconds()
            assert 50 - 3 - BACK - 0.01 <= left <= 50 * 1.1


class BuggyStore:
    """A store of the user's own, with a bug."""

    place, salt = "buggy", ""

    def open_link(self, process: str) -> Any:
        raise RuntimeError("a bug")


async def test_a_store_with_a_bug_harms_no_call(autojump_clock: Any) -> None:
    async with open_simulator() as sim:
        sim.add("openai")
        async with open_gateways(sim, BuggyStore()) as (cortex,):
            for _ in range(30):
                await call_at_once(cortex)
                await trio.sleep(2)
            assert link_of(cortex).reason == "RuntimeError: a bug"
            assert all(child.restarts == 0 for child in cortex.snapshot().tree.children)


async def test_a_gateway_that_was_cut_off_learns_that_a_cooldown_has_ended(autojump_clock: Any) -> None:
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(status=401))
        sim.add("anthropic")
        store = SimulatedStore()
        async with open_gateways(sim, *(store.seen_by(name) for name in "abc")) as gateways:
            await ask(gateways[0])
            store.partition("b")
            await trio.sleep(3)
            sim["openai"].behave(Behaviour())
            await gateways[0].check_health()
            await trio.sleep(3)
            assert know(gateways) == [False, True, False]
            store.recover()
            await trio.sleep(BACK)
            assert know(gateways) == [False] * 3


@pytest.mark.parametrize("later", [0.3, 0.8, 3.0])
@pytest.mark.parametrize("earlier", [False, True], ids=["first", "again"])
async def test_of_two_ends_that_were_found_out_apart_the_later_one_counts_in_all(
    later: float, earlier: bool, autojump_clock: Any
) -> None:
    async with three() as (sim, store, gateways):
        if earlier:  # one that all know, and that ends during the outage
            sim["openai"].behave(Behaviour(status=429, retry_after=5))
            await ask(gateways[0])
        store.partition("a", "b", "c")
        await trio.sleep(6)
        sim["openai"].behave(Behaviour(status=429, retry_after=20))
        await ask(gateways[0])
        sim["openai"].behave(Behaviour(status=429, retry_after=20 + later))
        await ask(gateways[1])
        sim["openai"].behave(Behaviour())
        store.recover()
        store.partition("b", "c")
        await trio.sleep(2)
        store.recover()  # the shorter one is in the store before the longer one
        await trio.sleep(18 + later - 0.1)
        assert know(gateways) == [True] * 3
        assert {await served_by(cortex) for cortex in gateways} == {"anthropic"}
        await trio.sleep(2.3)
        assert know(gateways) == [False] * 3
