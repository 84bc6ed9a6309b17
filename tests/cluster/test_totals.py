"""Sums over all processes: nothing is counted twice, and nothing is lost in an outage."""

from typing import Any

import trio
from gateways import ask, open_gateways

from cortex_trio import Cortex
from cortex_trio.cluster import MemoryStore
from cortex_trio.server.admission import KeyRing
from cortex_trio.server.counters import SharedCounters
from cortex_trio.server.virtual_keys import VirtualKey, sha256_of
from cortex_trio.simulator import Behaviour, SimulatedStore, open_simulator


def totals(cortex: Cortex) -> dict[str, float]:
    link = cortex.snapshot().cluster
    assert link is not None
    return dict(link.totals)


async def test_all_gateways_see_the_sums_of_all(autojump_clock: Any) -> None:
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(status=429, retry_after=30), Behaviour())
        sim.add("anthropic")
        store = MemoryStore()
        async with open_gateways(sim, store, store) as (first, second):
            await ask(first)
            await ask(second)
            await trio.sleep(2.5)
            for cortex in (first, second):
                found = totals(cortex)
                assert (found["calls"], found["attempts"], found["served"], found["failed"]) == (2, 3, 2, 1)
                assert found["worker:openai:requests"] == found["worker:openai:failures"] == 1
                assert found["worker:anthropic:requests"] == 2
                assert found["output_tokens"] > 0


async def test_the_sums_outlast_a_gateway(autojump_clock: Any) -> None:
    async with open_simulator() as sim:
        sim.add("openai")
        store = MemoryStore()
        async with open_gateways(sim, store) as (first,):
            await ask(first)
            await trio.sleep(2)
        async with open_gateways(sim, store) as (second,):
            await trio.sleep(1)
            assert totals(second)["calls"] == 1


async def test_lost_answers_count_nothing_twice_and_outages_lose_nothing(autojump_clock: Any) -> None:
    async with open_simulator() as sim:
        sim.add("openai")
        store = SimulatedStore(1)
        async with open_gateways(sim, store.seen_by("a"), store.seen_by("b")) as gateways:
            store.behave(drop=0.4)
            for _ in range(20):
                await ask(gateways[0])
                await trio.sleep(1)
            store.kill()
            await ask(gateways[1])
            await trio.sleep(5)
            store.recover()
            await trio.sleep(4)
            assert [totals(cortex)["calls"] for cortex in gateways] == [21, 21]


async def test_a_gateway_that_is_closed_reports_its_last_calls_and_its_end(autojump_clock: Any) -> None:
    async with open_simulator() as sim:
        sim.add("openai")
        store = MemoryStore()
        async with open_gateways(sim, store) as (first,):
            await trio.sleep(2)
            await ask(first)
        async with open_gateways(sim, store) as (second,):
            await trio.sleep(0.5)
            assert totals(second)["calls"] == 1
            link = second.snapshot().cluster
            assert link is not None
            assert link.processes == 1


async def test_api_keys_and_virtual_keys_have_sums_and_no_key_is_in_their_names(autojump_clock: Any) -> None:
    async with open_simulator() as sim:
        sim.add("openai")
        store = MemoryStore()
        async with open_gateways(sim, store, store) as gateways:
            for cortex in gateways:
                await ask(cortex)
                assert cortex.shared_limits is not None
                assert cortex.shared_totals is not None
                counters = SharedCounters(cortex.shared_limits, cortex.shared_totals)
                use = KeyRing([VirtualKey(name="team", key_sha256=sha256_of("sk-virtual"))], counters).find(
                    "sk-virtual"
                )
                assert use is not None
                use.admit()
                use.charge(tokens=30, usd=0.25)
            await trio.sleep(2.5)
            found = totals(gateways[0])
            assert [found[f"virtual_key:team:{what}"] for what in ("requests", "tokens", "usd")] == [
                2,
                60,
                0.5,
            ]
            (name,) = [name for name in found if name.startswith("key:openai:")]
            assert name.endswith(":uses")
            assert found[name] == 2
            key = sim["openai"].requests[0].key
            assert all(secret not in name for name in found for secret in (key, "sk-virtual"))
