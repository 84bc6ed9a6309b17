"""What every store does: the same tests for the one in memory and for a real server."""

import itertools
from collections.abc import AsyncIterator, Iterator
from typing import Any

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from real_server import PROGRAM, RealServer, cluster_of, running
from socket_server import serving

from cortex_trio.cluster import Entry, MemoryStore, SocketStore, Store, StoreLink, ValkeyStore, replaces

prefixes = itertools.count()


@pytest.fixture(scope="module")
def server() -> Iterator[RealServer | None]:
    if PROGRAM is None:
        yield None
        return
    with running() as started:
        yield started


@pytest.fixture(scope="module")
def node() -> Iterator[RealServer | None]:
    """A cluster of one node."""
    if PROGRAM is None:
        yield None
        return
    with cluster_of(1) as (started,):
        yield started


@pytest.fixture(params=["memory", "socket", "valkey", "cluster"])
async def store(
    request: pytest.FixtureRequest, server: RealServer | None, node: RealServer | None
) -> AsyncIterator[Store]:
    if request.param == "memory":
        yield MemoryStore()
        return
    if request.param == "socket":
        async with serving(MemoryStore()) as path:
            yield SocketStore(path)
        return
    if server is None or node is None:
        pytest.skip("neither valkey-server nor redis-server is installed")
    pytest.importorskip("glide")
    url = server.url if request.param == "valkey" else f"{node.url}?cluster=true"
    yield ValkeyStore(url, prefix=f"test-{next(prefixes)}")


@pytest.fixture
async def link(store: Store) -> AsyncIterator[StoreLink]:
    async with store.open_link("one") as opened:
        yield opened


def fact(fact: str = "a-1", value: str = "text", seconds: float = 10.0, name: str = "cooldown:x") -> Entry:
    return Entry(name, fact, value, seconds)


async def only(link: StoreLink) -> Entry:
    (entry,) = await link.snapshot()
    return entry


async def test_an_entry_is_kept_with_the_time_that_is_left(link: StoreLink) -> None:
    await link.put(fact(seconds=10))
    await trio.sleep(0.05)
    found = await only(link)
    assert attrs.evolve(found, seconds=10.0) == fact()
    assert 9.5 < found.seconds < 9.96


async def test_an_entry_expires_in_the_store(link: StoreLink) -> None:
    await link.put(fact(seconds=0.03))
    await trio.sleep(0.06)
    assert list(await link.snapshot()) == []


async def test_of_two_facts_the_one_that_lasts_longer_stays(link: StoreLink) -> None:
    await link.put(fact("a-1", seconds=10))
    await link.put(fact("b-1", seconds=5))
    assert (await only(link)).fact == "a-1"
    await link.put(fact("b-2", seconds=20))
    assert (await only(link)).fact == "b-2"


async def test_an_end_ends_its_own_fact_only_and_is_remembered(link: StoreLink) -> None:
    await link.put(fact("a-1"))
    await link.put(fact("b-1", value=""))
    assert (await only(link)).value == "text"
    await link.put(fact("a-1", value=""))
    assert (await only(link)).has_ended
    await link.put(fact("a-1", seconds=60))  # arrives late
    assert (await only(link)).has_ended
    await link.put(fact("a-2", seconds=1))
    assert (await only(link)).fact == "a-2"


async def test_all_subscribers_get_what_has_changed_the_stored_entry(store: Store, link: StoreLink) -> None:
    async with store.open_link("two") as other:
        news, own = await other.subscribe(), await link.subscribe()
        await link.put(fact("a-1", value='{"a": "ü"}'))
        await link.put(fact("b-1", seconds=5))  # changes nothing
        await link.put(fact("b-2", seconds=50))
        with trio.fail_after(2):
            for channel in (news, own):
                first, second = await channel.receive(), await channel.receive()
                assert (first.fact, first.value, second.fact) == ("a-1", '{"a": "ü"}', "b-2")
                assert first.seconds == pytest.approx(10, abs=0.1)


async def test_one_process_has_a_lease(link: StoreLink) -> None:
    assert await link.lease("probe", "one", 5) == 0
    assert await link.lease("probe", "one", 5) == 0
    assert await link.lease("probe", "two", 5) == pytest.approx(5, abs=0.2)
    await link.release("probe", "two")
    assert await link.lease("probe", "two", 5) > 0
    await link.release("probe", "one")
    assert await link.lease("probe", "two", 0.03) == 0
    await trio.sleep(0.06)
    assert await link.lease("probe", "one", 5) == 0


async def test_claims_never_exceed_the_limit_and_come_back_unused(link: StoreLink) -> None:
    claims = [await link.claim("k", process, 30, 100, 5) for process in "abcde"]
    assert [claim.granted for claim in claims] == [30, 30, 30, 10, 0]
    assert all(0 < claim.seconds <= 5 for claim in claims)
    assert (await link.claim("k", "a", 18, 100, 5)).granted == 18
    assert (await link.claim("k", "e", 30, 100, 5)).granted == 12


async def test_a_claim_may_be_repeated_and_is_never_less_than_before_when_more_is_wanted(
    link: StoreLink,
) -> None:
    for _ in range(3):  # the answers before were lost
        assert (await link.claim("k", "a", 60, 100, 5)).granted == 60
    assert (await link.claim("k", "b", 60, 100, 5)).granted == 40
    assert (await link.claim("k", "a", 70, 100, 5)).granted == 60
    assert (await link.claim("k", "a", 70, 50, 5)).granted == 60  # the limit was lowered
    assert (await link.claim("k", "a", 0, 100, 5)).granted == 0
    assert (await link.claim("k", "b", 100.5, 100, 5)).granted == 100


async def test_a_limit_is_whole_again_after_its_time(link: StoreLink) -> None:
    old = await link.claim("k", "a", 100, 100, 0.03)
    await trio.sleep(0.06)
    new = await link.claim("k", "b", 90, 100, 5)
    assert new.granted == 90
    assert new.window != old.window


async def test_amounts_are_added_once_for_each_batch(link: StoreLink) -> None:
    assert await link.add("b1", {"requests": 2, "usd": 0.25}) == {"requests": 2, "usd": 0.25}
    assert await link.add("b1", {"requests": 2, "usd": 0.25}) == {"requests": 2, "usd": 0.25}
    assert await link.add("b2", {"requests": 1}) == {"requests": 3, "usd": 0.25}
    assert await link.add("b3", {}) == {"requests": 3, "usd": 0.25}


async def test_processes_are_counted_until_their_time_is_over(link: StoreLink) -> None:
    assert await link.beat("one", 5) == 1
    assert await link.beat("two", 0.05) == 2
    await trio.sleep(0.1)
    assert await link.beat("one", 5) == 1
    assert await link.beat("two", 5) == 2
    assert await link.beat("two", 0) == 1


@pytest.mark.slow
async def test_a_thousand_entries_are_read_at_once(link: StoreLink) -> None:
    for number in range(1000):
        await link.put(fact(f"a-{number}", name=f"cooldown:{number}", seconds=100))
    assert len(await link.snapshot()) == 1000


# ------------------------------------------------------------------ the rule

entries = st.builds(
    Entry,
    st.just("n"),
    st.sampled_from(["a", "b"]),
    st.sampled_from(["", "text"]),
    st.sampled_from([1.0, 2.0, 3.0]),
)


@given(st.lists(entries, max_size=8))
def test_a_message_that_comes_twice_changes_nothing(sequence: list[Entry]) -> None:
    known: Entry | None = None
    for entry in sequence:
        if replaces(entry, known):
            known = entry
        assert not replaces(entry, known)


@given(st.lists(entries, max_size=8))
def test_what_has_ended_stays_ended(sequence: list[Entry]) -> None:
    known: Entry | None = Entry("n", "a", "", 3.0)
    for entry in sequence:
        if entry.fact == "a" and replaces(entry, known):
            known = entry
    assert known is not None
    assert known.has_ended


def test_a_store_in_memory_can_be_used_where_a_store_is_needed() -> None:
    stores: list[Any] = [MemoryStore()]
    assert all(isinstance(store.place, str) and isinstance(store.salt, str) for store in stores)


async def test_a_store_in_memory_forgets_what_has_expired_also_if_it_is_never_asked_for_again(
    autojump_clock: Any,
) -> None:
    store = MemoryStore()

    def size() -> int:
        return sum(len(part) for part in vars(store).values() if isinstance(part, dict))

    async with store.open_link("one") as link:
        for number in range(500):
            await link.put(fact(name=f"cooldown:{number}", seconds=5))
            await link.lease(f"trial:{number}", "one", 5)
            await link.claim(f"limit:{number}", "one", 1, 10, 5)
            await link.add(f"batch-{number}", {"calls": 1})
            await trio.sleep(20)
            await link.beat("one", 2)
        assert size() < 300
        assert await link.add("", {}) == {"calls": 500}
        await link.add("batch-499", {"calls": 1})
        assert await link.add("", {}) == {"calls": 500}, "the last batches are remembered"
