"""What one gateway finds out, another one with the same store knows: over a store in memory, with virtual time."""

import logging
import random
from typing import Any

import pytest
import trio
import trio.testing
from gateways import ask, open_gateways, open_gateways_of, served_by

from cortex_trio import Config, FailureKind, open_cortex
from cortex_trio.cluster import MemoryStore
from cortex_trio.simulator import Behaviour, SimRequest, open_gateway, open_simulator
from cortex_trio.telemetry import StoreLinkChanged, from_json, to_json

K = FailureKind
LIMITED = Behaviour(status=429, retry_after=40)


async def test_a_cooldown_that_one_gateway_finds_out_is_obeyed_by_the_other(autojump_clock: Any) -> None:
    async with open_simulator() as sim:
        sim.add("openai", LIMITED)
        sim.add("anthropic")
        store = MemoryStore()
        async with open_gateways(sim, store, store) as (first, second):
            assert await served_by(first) == "anthropic"
            assert len(sim["openai"].requests) == 1
            assert await served_by(second) == "anthropic"
            assert len(sim["openai"].requests) == 1, "the second gateway has sent nothing to it"


async def test_it_is_kept_in_full_and_ends_later_by_a_jitter_only(autojump_clock: Any) -> None:
    async with open_simulator() as sim:
        sim.add("openai", LIMITED)
        store = MemoryStore()
        async with open_gateways(sim, store, store) as (first, second):
            await ask(first)
            snapshot = second.snapshot()  # one: its times are those of the machine's clock
            (key,) = snapshot.keys
            (cooldown,) = key.cooldowns
            assert (cooldown.reason, cooldown.basis, cooldown.scope) == (
                K.RATE_LIMIT,
                "declared",
                "key_model",
            )
            left = (cooldown.until - snapshot.at).total_seconds()
            assert left + 0.01 >= 40
            assert left <= 44
            sim["openai"].behave(Behaviour())
            await trio.sleep(39.9)
            assert await served_by(second) is None
            await trio.sleep(4.2)
            assert await served_by(second) == "openai"


async def test_without_a_store_each_gateway_learns_for_itself(autojump_clock: Any) -> None:
    async with open_simulator() as sim:
        sim.add("openai", LIMITED)
        sim.add("anthropic")
        async with open_gateways(sim, None, None) as (first, second):
            await ask(first)
            await ask(second)
            assert len(sim["openai"].requests) == 2
            assert "cluster" not in first.tree()
            assert first.snapshot().cluster is None


async def test_a_gateway_that_starts_later_knows_it_before_its_first_request(autojump_clock: Any) -> None:
    async with open_simulator() as sim:
        sim.add("openai", LIMITED)
        sim.add("anthropic")
        store = MemoryStore()
        async with open_gateways(sim, store) as (first,):
            await ask(first)
            await trio.sleep(10)
            async with open_gateways(sim, store) as (second,):
                assert await served_by(second) == "anthropic"
                assert len(sim["openai"].requests) == 1


async def test_a_cooldown_outlives_the_gateway_that_found_it_out(autojump_clock: Any) -> None:
    async with open_simulator() as sim:
        sim.add("openai", LIMITED)
        store = MemoryStore()
        async with open_gateways(sim, store) as (first,):
            await ask(first)
        async with open_gateways(sim, store) as (second,):
            assert await served_by(second) is None
        assert len(sim["openai"].requests) == 1


async def test_a_success_ends_the_cooldown_for_all(autojump_clock: Any) -> None:
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(status=401))
        sim.add("anthropic")
        store = MemoryStore()
        async with open_gateways(sim, store, store) as (first, second):
            await ask(first)
            assert await served_by(second) == "anthropic"
            sim["openai"].behave(Behaviour())
            await trio.sleep(70)  # a refused key may be tried when nothing else can serve
            assert await served_by(first, worker="openai") == "openai"
            assert await served_by(second) == "openai"
            assert second.snapshot().keys[0].cooldowns == ()


async def test_an_end_that_the_program_asks_for_reaches_the_other_gateway(autojump_clock: Any) -> None:
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(status=401))
        store = MemoryStore()
        async with open_gateways(sim, store, store) as (first, second):
            await ask(first)
            sim["openai"].behave(Behaviour())
            await first.check_health()
            await trio.testing.wait_all_tasks_blocked()
            assert await served_by(second) == "openai"


async def test_a_call_that_waits_is_woken_when_the_other_gateway_ends_the_cooldown(
    autojump_clock: Any,
) -> None:
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(status=401))
        store = MemoryStore()
        async with open_gateways(sim, store, store) as (first, second), trio.open_nursery() as nursery:
            await ask(first)
            sim["openai"].behave(Behaviour())
            answers: list[str | None] = []

            async def wait() -> None:
                answers.append(await served_by(second, max_wait=600))

            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            began = trio.current_time()
            await first.check_health()
            await trio.sleep(0.2)
            assert answers == ["openai"]
            assert trio.current_time() - began < 1


async def test_only_the_key_that_both_have_cools_down(autojump_clock: Any) -> None:
    def limited(request: SimRequest) -> Behaviour:
        return LIMITED if request.key == "sk-shared-0001" else Behaviour()

    async with open_simulator() as sim:
        provider = sim.add("openai", limited)
        store = MemoryStore()
        one = {"openai": provider.worker(api_keys=["sk-shared-0001", "sk-of-first-0002"])}
        two = {"openai": provider.worker(api_keys=["sk-of-second-0003", "sk-shared-0001"])}
        async with open_gateways_of(sim, store, one, two) as (first, second):
            await ask(first)
            cooling = [key.key for key in second.snapshot().keys if key.cooldowns]
            assert len(cooling) == 1
            before = len(provider.requests)
            for _ in range(4):
                assert await served_by(second) == "openai"
            assert {request.key for request in provider.requests[before:]} == {"sk-of-second-0003"}


async def test_workers_of_one_name_with_different_servers_share_nothing(autojump_clock: Any) -> None:
    async with open_simulator() as sim:
        here, there = sim.add("openai", LIMITED), sim.add("groq")
        store = MemoryStore()
        one, two = {"main": here.worker()}, {"main": there.worker()}
        async with open_gateways_of(sim, store, one, two) as (first, second):
            assert await served_by(first) is None
            assert await served_by(second) == "main"


async def test_a_worker_that_is_added_later_knows_the_cooldowns(autojump_clock: Any) -> None:
    async with open_simulator() as sim:
        sim.add("openai", LIMITED)
        sim.add("anthropic")
        store = MemoryStore()
        worker = sim["openai"].worker(priority=0)
        rest = {"anthropic": sim["anthropic"].worker(priority=1)}
        async with open_gateways(sim, store) as (first,), open_gateways_of(sim, store, rest) as (second,):
            await ask(first)
            await second.add_worker("openai", worker)
            await trio.sleep(1)
            assert await served_by(second) == "anthropic"
            assert len(sim["openai"].requests) == 1


async def test_removing_a_worker_ends_no_cooldown_of_others(autojump_clock: Any) -> None:
    async with open_simulator() as sim:
        sim.add("openai", LIMITED)
        sim.add("anthropic")
        store = MemoryStore()
        async with open_gateways(sim, store, store) as (first, second):
            await ask(first)
            await first.remove_worker("openai")
            await trio.sleep(1)
            assert await served_by(second) == "anthropic"
            assert len(sim["openai"].requests) == 1


async def test_killing_the_actor_loses_no_cooldown(autojump_clock: Any) -> None:
    async with open_simulator() as sim:
        sim.add("openai", LIMITED)
        sim.add("anthropic")
        store = MemoryStore()
        async with open_gateways(sim, store, store) as (first, second):
            for cortex in (first, second):
                cortex.actor("cluster").kill()
            await ask(first)
            await trio.sleep(2)
            assert await served_by(second) == "anthropic"
            assert len(sim["openai"].requests) == 1
            assert second.snapshot().cluster is not None
            assert second.snapshot().cluster.connected


async def test_the_link_is_in_the_snapshot_the_events_and_the_log(
    autojump_clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    events: list[object] = []
    caplog.set_level(logging.INFO, "cortex_trio")
    async with open_simulator() as sim:
        sim.add("openai")
        store = MemoryStore()
        async with (
            open_gateways(sim, store) as (first,),
            open_cortex(sim.config(), http_transport=sim.transport, store=store, on_event=events.append),
        ):
            await trio.sleep(1)
            link = first.snapshot().cluster
            assert link is not None
            assert (link.connected, link.processes, link.reason) == (True, 2, None)
            assert "cluster" in first.tree()
        assert [e.connected for e in events if isinstance(e, StoreLinkChanged)] == [True]
        lines = [record.message for record in caplog.records if "store" in record.message]
        assert lines == ["store memory: connected; 1 process", "store memory: connected; 2 processes"]


async def test_random_seeds_of_a_program_do_not_make_two_gateways_the_same_process(
    autojump_clock: Any,
) -> None:
    async with open_simulator() as sim:
        sim.add("openai")
        store = MemoryStore()
        random.seed(1)
        async with open_gateways(sim, store) as (first,):
            random.seed(1)
            async with open_gateways(sim, store):
                await trio.sleep(1)
                link = first.snapshot().cluster
                assert link is not None
                assert link.processes == 2


async def test_the_link_is_in_the_metrics_and_on_the_screen(autojump_clock: Any) -> None:
    prometheus = pytest.importorskip("cortex_trio.telemetry.prometheus")
    async with open_simulator() as sim:
        sim.add("openai")
        store = MemoryStore()
        async with open_gateways(sim, store, store) as (first, _):
            await trio.sleep(1)
            text = prometheus.Prometheus(first).render().decode()
            assert "cortex_store_connected 1.0" in text
            assert "cortex_store_processes 2.0" in text
            assert from_json(to_json(first.snapshot())).cluster == first.snapshot().cluster


async def test_a_reload_keeps_the_store_and_says_so(
    autojump_clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_simulator() as sim:
        sim.add("openai")
        async with open_gateway(sim, store=MemoryStore()) as cortex:
            workers = {"openai": sim["openai"].worker()}
            await cortex.reload(Config(workers=workers, store="valkey://other", health_check_interval=0))
            link = cortex.snapshot().cluster
            assert link is not None
            assert link.connected
            assert "does not change the store" in caplog.text
