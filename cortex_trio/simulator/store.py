"""A store that misbehaves, for tests of gateways that share state: in memory, with Trio's time, repeatable by a seed.

    store = SimulatedStore(seed=1)
    async with open_cortex(config, store=store.seen_by("a")), open_cortex(config, store=store.seen_by("b")):
        store.behave(delay=0.2, drop=0.1, duplicate=0.1, reorder=0.1)
        store.hang()                # no answer until `recover`
        store.partition("a")        # what "a" sends is lost, until `recover`
        store.kill()                # every link breaks, none can be opened, until `recover`
        store.restart_empty()       # every link breaks, and all data is gone

Whether an operation has had its effect before its answer was lost is random, as with a real network. Knows no gateway.
"""

from __future__ import annotations

import math
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import final

import attrs
import trio

from ..cluster import Claim, Entry, MemoryStore, Store, StoreLink, StoreUnavailable
from ..otp.nursery import open_flat_nursery

LATE_SECONDS = 0.5
"""How much later a published entry comes at most, in another order or for the second time."""


@attrs.define
class _Faults:
    """What goes wrong now. Shares are from 0 to 1."""

    delay: float = 0.0  # the longest, seconds
    drop: float = 0.0  # of operations, whose answer never comes, and of published entries
    duplicate: float = 0.0  # of published entries
    reorder: float = 0.0  # of published entries, which come behind later ones
    is_hanging: bool = False
    is_down: bool = False
    partitioned: frozenset[str] = frozenset()


@final
class SimulatedStore:
    """A store in memory whose links can be slow, hang, lose, repeat and reorder messages, and break.

    Args:
        seed: of what is random.

    Attributes:
        memory: the data, without faults.
        operations: how many operations were begun, by the name of the method.
    """

    def __init__(self, seed: int = 0) -> None:
        self.memory = MemoryStore()
        self.operations: dict[str, int] = {}
        self._chance = random.Random(seed)
        self._faults = _Faults()
        self._changed = trio.Event()  # set when a fault ends or links break; then replaced
        self._generation = 0  # of links: those of an older one are broken

    def seen_by(self, process: str) -> Store:
        """Return the store as one gateway sees it, which `partition` can cut off.

        Args:
            process: a name for the gateway.
        """
        return _View(self, process)

    # -------------------------------------------------------------- faults

    def behave(
        self, *, delay: float = 0.0, drop: float = 0.0, duplicate: float = 0.0, reorder: float = 0.0
    ) -> None:
        """Set what happens to messages from now on.

        Args:
            delay: seconds that each takes at most; random.
            drop: the share of operations without an answer, and of published entries that are lost. A link that has
                lost an entry breaks a little later, as that of a real store does.
            duplicate: the share of published entries that come twice.
            reorder: the share of published entries that come behind later ones.
        """
        self._faults = attrs.evolve(
            self._faults, delay=delay, drop=drop, duplicate=duplicate, reorder=reorder
        )

    def hang(self) -> None:
        """Answer nothing until `recover`."""
        self._faults.is_hanging = True

    def partition(self, *processes: str) -> None:
        """Let no message of these gateways pass, in either direction, until `recover`.

        Args:
            processes: as passed to `seen_by`.
        """
        self._faults.partitioned |= set(processes)

    def kill(self) -> None:
        """Break every link, and open none until `recover`. The data stays."""
        self._faults.is_down = True
        self._break_links()

    def restart_empty(self) -> None:
        """Break every link and forget all data; links can be opened at once."""
        self.memory.clear()
        self._break_links()

    def recover(self) -> None:
        """End all faults. What hangs goes on."""
        self._faults = _Faults()
        self._wake()

    def _break_links(self) -> None:
        self._generation += 1
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    # -------------------------------------------------------------- what messages meet

    def _happens(self, share: float) -> bool:
        return share > 0 and self._chance.random() < share

    async def _travel(self, process: str, generation: int) -> None:
        """Wait as long as a message takes; for ever if it is lost. Raises StoreUnavailable when the link breaks."""
        await trio.lowlevel.checkpoint()
        if self._faults.delay:
            await trio.sleep(self._faults.delay * self._chance.random())
        while True:
            if generation != self._generation or self._faults.is_down:
                raise StoreUnavailable("the connection was closed")
            if not self._faults.is_hanging and process not in self._faults.partitioned:
                return
            await self._changed.wait()


@final
@attrs.frozen
class _View:
    """The store as one gateway sees it."""

    store: SimulatedStore
    process: str
    place = "simulated"
    salt = ""

    def open_link(self, process: str) -> AbstractAsyncContextManager[StoreLink]:
        return self._open()

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[StoreLink]:
        generation = self.store._generation
        await self.store._travel(self.process, generation)
        async with self.store.memory.open_link(self.process) as link, open_flat_nursery() as nursery:
            yield _FaultyLink(self.store, self.process, generation, link, nursery)
            nursery.cancel_scope.cancel()


@final
class _FaultyLink:
    """A link whose messages meet the faults of the store."""

    def __init__(
        self, store: SimulatedStore, process: str, generation: int, link: StoreLink, nursery: trio.Nursery
    ) -> None:
        self._store = store
        self._process = process
        self._generation = generation
        self._link = link
        self._nursery = nursery

    async def subscribe(self) -> trio.MemoryReceiveChannel[Entry]:
        await self._request("subscribe")
        news = await self._link.subscribe()
        send, receive = trio.open_memory_channel[Entry](math.inf)
        self._nursery.start_soon(self._pass_on, news, send)
        return receive

    async def _pass_on(
        self, news: trio.MemoryReceiveChannel[Entry], send: trio.MemorySendChannel[Entry]
    ) -> None:
        """Pass published entries on: late, twice, in another order, or not at all."""
        store = self._store
        with send:
            async for entry in news:
                faults = store._faults
                try:
                    await store._travel(self._process, self._generation)
                except StoreUnavailable:
                    return
                if store._happens(faults.drop):
                    return  # what is lost ends the link
                is_late, is_double = store._happens(faults.reorder), store._happens(faults.duplicate)
                if is_late or is_double:
                    self._nursery.start_soon(self._pass_late, entry, send.clone())
                if not is_late:
                    send.send_nowait(entry)

    async def _pass_late(self, entry: Entry, send: trio.MemorySendChannel[Entry]) -> None:
        with send:
            await trio.sleep(LATE_SECONDS * self._store._chance.random())
            send.send_nowait(entry)

    async def _request(self, name: str) -> None:
        store = self._store
        store.operations[name] = store.operations.get(name, 0) + 1
        await store._travel(self._process, self._generation)
        if store._happens(store._faults.drop / 2):
            await trio.sleep_forever()  # the request was lost

    async def _answer(self) -> None:
        store = self._store
        if store._happens(store._faults.drop / 2):
            await trio.sleep_forever()  # it had its effect, and the answer was lost
        await store._travel(self._process, self._generation)

    async def snapshot(self) -> Sequence[Entry]:
        await self._request("snapshot")
        found = await self._link.snapshot()
        await self._answer()
        return found

    async def put(self, entry: Entry) -> None:
        await self._request("put")
        await self._link.put(entry)
        await self._answer()

    async def lease(self, name: str, holder: str, seconds: float) -> float:
        await self._request("lease")
        left = await self._link.lease(name, holder, seconds)
        await self._answer()
        return left

    async def release(self, name: str, holder: str) -> None:
        await self._request("release")
        await self._link.release(name, holder)
        await self._answer()

    async def claim(self, name: str, process: str, amount: float, limit: float, seconds: float) -> Claim:
        await self._request("claim")
        claim = await self._link.claim(name, process, amount, limit, seconds)
        await self._answer()
        return claim

    async def add(self, batch: str, amounts: Mapping[str, float]) -> Mapping[str, float]:
        await self._request("add")
        totals = await self._link.add(batch, amounts)
        await self._answer()
        return totals

    async def beat(self, process: str, seconds: float) -> int:
        await self._request("beat")
        count = await self._link.beat(process, seconds)
        await self._answer()
        return count
