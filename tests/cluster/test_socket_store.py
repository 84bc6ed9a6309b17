"""A store in another process: what one side does to the other. What a store does is in test_store.py."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
from gateways import ask, open_gateways, served_by
from socket_server import serving

from cortex_trio.cluster import Entry, MemoryStore, SocketStore, StoreLink, StoreUnavailable, serve_link
from cortex_trio.simulator import Behaviour, open_simulator

LIMITED = Behaviour(status=429, retry_after=40)


@asynccontextmanager
async def served(store: MemoryStore) -> AsyncIterator[trio.abc.Stream]:
    """Serve one link; return the other end of its stream."""
    theirs, ours = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_link, store, theirs)
        yield ours
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "line",
    [
        b"\x00\xff\n",
        b"[]\n",
        b"7\n",
        b'{"a": 1}\n',
        b'[1,"no-such",[]]\n',
        b'[1,"put",["name"]]\n',
        b'[1,"put",["name","fact","value","soon"]]\n',
        b'[1,"add",["batch",7]]\n',
        b"[" * 100_000 + b"\n",
        b'[1,["put"],{}]\n',
    ],
)
async def test_a_line_that_is_not_understood_ends_its_link_only(line: bytes) -> None:
    store = MemoryStore()
    async with served(store) as stream, store.open_link("other") as other:
        await stream.send_all(line)
        with trio.fail_after(5):
            assert await stream.receive_some() == b""
        await other.put(Entry("a", "b", "c", 1.0))
        assert len(await other.snapshot()) == 1


@pytest.mark.slow
async def test_a_process_that_does_not_read_holds_up_nothing(autojump_clock: Any) -> None:
    store = MemoryStore()
    async with serving(store) as path:
        stalled = await trio.open_unix_socket(path)
        await stalled.send_all(b'[1,"subscribe",[]]\n')
        assert await stalled.receive_some() == b"[1,null]\n"
        async with SocketStore(path).open_link("one") as link:
            for number in range(10_200):
                await store_put(store, number)
            await link.put(Entry("last", "f", "v", 5.0))
            assert len(await link.snapshot()) == 10_201
        await stalled.aclose()


async def store_put(store: MemoryStore, number: int) -> None:
    async with store.open_link("") as direct:
        await direct.put(Entry(f"name-{number}", "f", "v" * 50, 100.0))


async def test_commands_fail_at_once_when_the_serving_process_is_gone() -> None:
    failed: list[str] = []

    async def fails(link: StoreLink) -> None:
        try:
            await link.snapshot()
        except StoreUnavailable as error:
            failed.append(str(error))

    accepted = trio.Event()
    async with serving_nothing(accepted) as (path, end):
        async with SocketStore(path).open_link("one") as link, trio.open_nursery() as nursery:
            nursery.start_soon(fails, link)
            nursery.start_soon(fails, link)
            await accepted.wait()
            end.set()
        with pytest.raises(StoreUnavailable):
            await link.beat("one", 1.0)
    assert failed == ["the connection was closed"] * 2
    with pytest.raises(StoreUnavailable, match="No such file"):
        async with SocketStore(path).open_link("one"):
            raise AssertionError("it is gone")


@asynccontextmanager
async def serving_nothing(accepted: trio.Event) -> AsyncIterator[tuple[str, trio.Event]]:
    """Accept links and close them at the event."""
    end = trio.Event()

    async def close_later(stream: trio.abc.Stream) -> None:
        accepted.set()
        await end.wait()
        await stream.aclose()

    async with serving(MemoryStore(), close_later) as path:
        yield path, end


async def test_two_gateways_share_through_it() -> None:
    store = MemoryStore()
    async with open_simulator() as sim:
        sim.add("openai", LIMITED)
        sim.add("anthropic")
        async with serving(store) as path:
            stores = [SocketStore(path), SocketStore(path)]
            async with open_gateways(sim, *stores) as (first, second):
                await ask(first)
                with trio.fail_after(5):
                    while not any(key.cooldowns for key in second.snapshot().keys):  # noqa: ASYNC110
                        await trio.sleep(0.001)
                assert await served_by(second) == "anthropic"
                assert len(sim["openai"].requests) == 1
