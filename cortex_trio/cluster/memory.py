"""A store in the memory of this process: for several gateways in one program, and the model for every other store.

Time is Trio's. Nothing here waits, so each operation is atomic. Knows no gateway.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar, final

import attrs
import trio

from .entry import Entry, replaces
from .store import Claim, StoreLink

UNREAD_ENTRIES = 10_000
"""Entries that wait for a subscriber that does not read; with more, its channel is closed."""
REMEMBERED_BATCH_SECONDS = 3600.0
"""Seconds for which the id of a batch of `add` is remembered."""

SWEEP_SECONDS = 60.0
"""Seconds between two sweeps of what has expired; most of it is never asked for again."""

T = TypeVar("T")


@final
class MemoryStore:
    """A store in memory. Pass the same one to several gateways of one Trio run."""

    place = "memory"
    salt = ""  # the names do not leave this process

    def __init__(self) -> None:
        self._entries: dict[str, tuple[float, Entry]] = {}  # with the Trio time of the end, as in those below
        self._leases: dict[str, tuple[float, str]] = {}
        self._windows: dict[str, tuple[float, _Window]] = {}
        self._batches: dict[str, tuple[float, None]] = {}
        self._processes: dict[str, tuple[float, None]] = {}
        self._totals: dict[str, float] = {}
        self._subscribers: list[trio.MemorySendChannel[Entry]] = []
        self._made = 0  # windows so far
        self._sweep_at = 0.0  # Trio time

    @asynccontextmanager
    async def open_link(self, process: str) -> AsyncIterator[StoreLink]:
        """Open a link. `process` makes no difference here. Never fails."""
        link = _MemoryLink(self)
        await trio.lowlevel.checkpoint()
        try:
            yield link
        finally:
            link.close()

    def clear(self) -> None:
        """Forget everything, as a server that was started again without its data."""
        for part in (self._entries, self._leases, self._windows, self._batches, self._processes):
            part.clear()
        self._totals.clear()

    # -------------------------------------------------------------- what links do; synchronous

    def _put(self, entry: Entry) -> None:
        now = trio.current_time()
        known = _live(self._entries, entry.name, now)
        left = attrs.evolve(known[1], seconds=known[0] - now) if known else None
        if replaces(entry, left):
            self._entries[entry.name] = now + entry.seconds, entry
            self._publish(entry)

    def _publish(self, entry: Entry) -> None:
        for channel in tuple(self._subscribers):
            try:
                channel.send_nowait(entry)
            except (trio.WouldBlock, trio.BrokenResourceError):
                self._unsubscribe(channel)

    def _unsubscribe(self, channel: trio.MemorySendChannel[Entry]) -> None:
        channel.close()
        if channel in self._subscribers:
            self._subscribers.remove(channel)

    def _snapshot(self) -> Sequence[Entry]:
        now = trio.current_time()
        found = [self._entries[name] for name in tuple(self._entries) if _live(self._entries, name, now)]
        return tuple(attrs.evolve(entry, seconds=ends - now) for ends, entry in found)

    def _lease(self, name: str, holder: str, seconds: float) -> float:
        now = trio.current_time()
        known = _live(self._leases, name, now)
        if known is not None and known[1] != holder:
            return known[0] - now
        self._leases[name] = now + seconds, holder
        return 0.0

    def _release(self, name: str, holder: str) -> None:
        known = _live(self._leases, name, trio.current_time())
        if known is not None and known[1] == holder:
            del self._leases[name]

    def _claim(self, name: str, process: str, amount: float, limit: float, seconds: float) -> Claim:
        now = trio.current_time()
        known = _live(self._windows, name, now)
        if known is None:
            self._made += 1
            known = self._windows[name] = now + seconds, _Window(str(self._made))
        ends, window = known
        had = window.claims.get(process, 0.0)
        has = amount if amount <= had else max(had, min(amount, limit - (window.taken - had)))
        window.claims[process] = has
        window.taken = max(0.0, window.taken + has - had)
        return Claim(has, ends - now, window.id)

    def _add(self, batch: str, amounts: Mapping[str, float]) -> Mapping[str, float]:
        now = trio.current_time()
        if amounts and _live(self._batches, batch, now) is None:
            self._batches[batch] = now + REMEMBERED_BATCH_SECONDS, None
            for name, amount in amounts.items():
                self._totals[name] = self._totals.get(name, 0.0) + amount
        return dict(self._totals)

    def _beat(self, process: str, seconds: float) -> int:
        now = trio.current_time()
        self._sweep(now)
        self._processes[process] = now + seconds, None
        return sum(_live(self._processes, name, now) is not None for name in tuple(self._processes))

    def _sweep(self, now: float) -> None:
        if now >= self._sweep_at:
            self._sweep_at = now + SWEEP_SECONDS
            for table in (self._entries, self._leases, self._windows, self._batches):
                for name in [name for name, (ends, _) in table.items() if ends <= now]:
                    del table[name]


@attrs.define
class _Window:
    id: str
    taken: float = 0.0
    """The sum of the claims."""
    claims: dict[str, float] = attrs.field(factory=dict)
    """By process."""


def _live(table: dict[str, tuple[float, T]], name: str, now: float) -> tuple[float, T] | None:
    """Return what is stored under `name`, with its end; forget it if it has expired."""
    found = table.get(name)
    if found is not None and found[0] <= now:
        del table[name]
        return None
    return found


@final
class _MemoryLink:
    """A link to a MemoryStore. Each method is one checkpoint and one atomic operation."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._news: trio.MemorySendChannel[Entry] | None = None  # None before `subscribe`

    def close(self) -> None:
        if self._news is not None:
            self._store._unsubscribe(self._news)

    async def subscribe(self) -> trio.MemoryReceiveChannel[Entry]:
        await trio.lowlevel.checkpoint()
        self._news, receive = trio.open_memory_channel[Entry](UNREAD_ENTRIES)
        self._store._subscribers.append(self._news)
        return receive

    async def snapshot(self) -> Sequence[Entry]:
        await trio.lowlevel.checkpoint()
        return self._store._snapshot()

    async def put(self, entry: Entry) -> None:
        await trio.lowlevel.checkpoint()
        self._store._put(entry)

    async def lease(self, name: str, holder: str, seconds: float) -> float:
        await trio.lowlevel.checkpoint()
        return self._store._lease(name, holder, seconds)

    async def release(self, name: str, holder: str) -> None:
        await trio.lowlevel.checkpoint()
        self._store._release(name, holder)

    async def claim(self, name: str, process: str, amount: float, limit: float, seconds: float) -> Claim:
        await trio.lowlevel.checkpoint()
        return self._store._claim(name, process, amount, limit, seconds)

    async def add(self, batch: str, amounts: Mapping[str, float]) -> Mapping[str, float]:
        await trio.lowlevel.checkpoint()
        return self._store._add(batch, amounts)

    async def beat(self, process: str, seconds: float) -> int:
        await trio.lowlevel.checkpoint()
        return self._store._beat(process, seconds)
