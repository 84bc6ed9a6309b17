"""A store holds what other versions and other programs have written: nothing of it may end the actor."""

import json
from contextlib import suppress
from typing import Any

import pytest
import trio
from gateways import open_gateways, served_by
from hypothesis import given, settings
from hypothesis import strategies as st
from real_server import needs_server, running
from test_real_server import client_of, link_of, until

from cortex_trio.cluster import Entry, MemoryStore, StoreUnavailable, ValkeyStore
from cortex_trio.gateway.sharing.cooldown_facts import fact_of, server_of
from cortex_trio.gateway.workers.endpoint import Endpoint
from cortex_trio.simulator import open_simulator

values = (
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5) | st.just([]) | st.just({})
)
GOOD: dict[str, Any] = {
    "worker": "openai",
    "server": "x",
    "model": None,
    "key": None,
    "kind": "rate_limit",
    "basis": "declared",
    "seconds": 10.0,
    "trial_seconds": 10.0,
    "failures": 1,
    "open": 5.0,
    "open_for": 5.0,
}


@settings(max_examples=50)
@given(st.sampled_from(sorted(GOOD)), values)
def test_a_text_with_a_wrong_field_is_no_cooldown_or_a_valid_one(field: str, value: object) -> None:
    fact = fact_of(Entry("cooldown:x", "a-1", json.dumps({**GOOD, field: value}), 10.0))
    if fact is not None:
        assert 0 <= fact.trial_seconds <= fact.seconds <= 10.0
        assert 1 <= fact.failures <= 1000


@pytest.mark.parametrize("value", ["", "x", "[]", "{}", "NaN", '{"worker": []}', "[" * 5000])
@pytest.mark.parametrize("name", ["", ":", "breaker", "breaker:openai", "cooldown:openai:a:-:-", "later:x"])
async def test_an_entry_of_another_program_is_ignored(name: str, value: str, autojump_clock: Any) -> None:
    async with open_simulator() as sim:
        sim.add("openai")
        store = MemoryStore()
        async with open_gateways(sim, store) as (cortex,), store.open_link("other") as link:
            await link.put(Entry(name, "other-1", value, 100.0))
            await trio.sleep(0.1)
            assert await served_by(cortex) == "openai"
            assert "cluster" in cortex.tree()
            assert all(child.restarts == 0 for child in cortex.snapshot().tree.children)


async def test_numbers_that_are_none_open_no_breaker_for_ever(autojump_clock: Any) -> None:
    async with open_simulator() as sim:
        sim.add("openai")
        sim.add("anthropic")
        store = MemoryStore()
        async with open_gateways(sim, store) as (cortex,), store.open_link("other") as link:
            server = _name_of_breaker(sim, store)
            for number, value in enumerate((float("nan"), float("inf"), 1e300, -5, True)):
                text = json.dumps({**GOOD, "open": value, "open_for": value})
                await link.put(Entry(server, f"other-{number}", text, 100.0 + number))
                await trio.sleep(0.1)
            await trio.sleep(70)
            assert await served_by(cortex, worker="openai", max_wait=10) == "openai"


def _name_of_breaker(sim: Any, store: MemoryStore) -> str:
    endpoint = Endpoint(sim["openai"].worker(), None)  # type: ignore[arg-type]
    return f"breaker:openai:{server_of(endpoint, store.salt)}"


@needs_server
async def test_a_limit_and_a_lease_whose_end_was_removed_end_all_the_same() -> None:
    pytest.importorskip("glide")
    with running() as server:
        async with ValkeyStore(server.url).open_link("one") as link:
            await link.claim("k", "a", 100, 100, 60)
            assert await link.lease("trial:x", "a", 60) == 0
            for name in ("limit:k", "lease:trial:x"):
                assert server.command(f"PERSIST {{cortex}}:{name}") == b":1\r\n"
            assert (await link.claim("k", "b", 10, 100, 60)).seconds == pytest.approx(60, abs=1)
            assert await link.lease("trial:x", "b", 60) == 0


@needs_server
async def test_garbage_in_the_server_does_not_end_the_link() -> None:
    pytest.importorskip("glide")
    with running() as server:
        store, key = ValkeyStore(server.url), "{cortex}:entry:cooldown:x"
        async with store.open_link("one") as link:
            await link.put(Entry("cooldown:x", "a-1", "text", 60.0))
            client = await client_of(server)
            for garbage in ("not JSON", "7", "null", "{}", "[1]", '["a", 7, {}]'):
                await client.set(key, garbage)
                await client.pexpire(key, 60_000)
                found = await link.snapshot()
                assert all(isinstance(entry.value, str) for entry in found)
                await link.put(Entry("cooldown:x", "b-1", "text", 60.0 + len(garbage)))
                await link.put(Entry("cooldown:x", "b-2", "text", 90.0 + len(garbage)))
                assert [entry.fact for entry in await link.snapshot()] == ["b-2"]
            await client.close()


FOREIGN = ("sequence", "names", "processes", "data", "totals", "limit:k", "lease:x", "entry:cooldown:x")
"""The keys of a store, after its prefix."""
WRITTEN = (
    ("SET", "text"),
    ("SET", ""),
    ("SET", "9" * 30),
    ("RPUSH", "text"),
    ("HSET", "taken", "text", "has:a", "text", "id", "text"),
    ("ZADD", "1", "text"),
)


@needs_server
@pytest.mark.slow
@pytest.mark.parametrize("name", FOREIGN)
async def test_what_another_program_has_written_at_a_key_of_ours_is_one_kind_of_error(name: str) -> None:
    pytest.importorskip("glide")
    with running() as server:
        for command, *arguments in WRITTEN:
            server.command("FLUSHALL")
            server.command(
                f"{command} {{cortex}}:{name} " + " ".join(argument or '""' for argument in arguments)
            )
            async with ValkeyStore(server.url).open_link("one") as link:
                for operation in (
                    lambda: link.put(Entry("cooldown:x", "a-1", "text", 60.0)),
                    link.snapshot,
                    lambda: link.beat("one", 5),
                    lambda: link.lease("x", "a", 60),
                    lambda: link.claim("k", "a", 10, 100, 60),
                    lambda: link.add("b-1", {"calls": 1.0}),
                    lambda: link.release("x", "a"),
                ):
                    with suppress(StoreUnavailable):
                        await operation()


@needs_server
@pytest.mark.slow
@pytest.mark.parametrize("name", ["sequence", "names", "totals", "processes"])
async def test_a_key_that_another_program_has_written_costs_no_call_and_no_actor(name: str) -> None:
    pytest.importorskip("glide")
    with running() as server:
        server.command(f"SET {{cortex}}:{name} text")
        async with open_simulator() as sim:
            sim.add("openai")
            async with open_gateways(sim, ValkeyStore(server.url)) as (cortex,):
                for _ in range(20):
                    assert await served_by(cortex) == "openai"
                    await trio.sleep(0.05)
                assert all(child.restarts == 0 for child in cortex.snapshot().tree.children)
                await until(lambda: link_of(cortex).reason is not None, 5)
