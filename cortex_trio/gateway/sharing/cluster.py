"""The actor `cluster`: keeps a link to the store open, carries entries out and in. Decides nothing about requests.

    opening ── subscribe, read the store, send what it does not have ── connected
       ▲                                                                    │ an error, no answer in time, lost entries
       └────────────────────── a pause, at most PAUSE_SECONDS ──────────────┘

A store that is slow, hangs, is full, refuses the password or dies changes nothing for calls but what they know.
"""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from typing import ParamSpec, TypeVar, final

import trio

from ...cluster import Entry, Store, StoreLink, StoreUnavailable
from ...otp import GenServer
from .limits import SharedLimit
from .probes import LEASE_SECONDS
from .state import Sharing

P = ParamSpec("P")
R = TypeVar("R")

log = logging.getLogger("cortex_trio")

OPEN_SECONDS = 1.0
"""Seconds that opening a link may take."""
ANSWER_SECONDS = 0.6
"""Seconds after which a store that does not answer counts as lost."""
BEAT_SECONDS = 0.2
"""Seconds between two reports that this process runs: together with ANSWER_SECONDS, a store that hangs is noticed
within a second."""
PRESENCE_SECONDS = 2.0
"""Seconds after its last report for which a process is counted."""
TOTALS_SECONDS = 1.0
"""Seconds between two reports of what was counted."""
LEAVE_SECONDS = 0.1
"""Seconds that the store has to take back what this process holds when the gateway is closed."""
ENTRIES_PER_TURN = 20
"""Entries of a snapshot that are read before other tasks have a turn."""
PAUSE_SECONDS = (0.05, 0.8)
"""The first and the longest pause before the link is opened again; it doubles each time. With OPEN_SECONDS, a store
that has returned is used within two seconds."""


@final
class Cluster(GenServer):
    """The actor that uses the store.

    Args:
        sharing: what is shared; it outlives this actor.
        chance: for the jitter of pauses.
    """

    def __init__(self, sharing: Sharing, chance: random.Random) -> None:
        self._sharing = sharing
        self._chance = chance

    async def init(self) -> None:
        if self._sharing.link.connected:
            self._sharing.lost("the actor was restarted")
        self.nursery.start_soon(self._run)  # not here: the supervisor must not wait for a store

    async def _run(self) -> None:
        pause = PAUSE_SECONDS[0]
        while True:
            reason, was_open = await self._use_link()
            self._sharing.lost(reason)
            self._sharing.synced.set()
            pause = PAUSE_SECONDS[0] if was_open else min(2 * pause, PAUSE_SECONDS[1])
            await trio.sleep(pause * (0.5 + self._chance.random() / 2))

    async def _use_link(self) -> tuple[str, bool]:
        """Open a link and use it until it is lost. Returns why it was lost, and whether it was open."""
        reasons: list[str] = []
        was_open = False
        with trio.CancelScope() as opening:
            opening.deadline = trio.current_time() + OPEN_SECONDS
            try:
                async with AsyncExitStack() as stack:
                    link = await _enter(stack, self._sharing.store, self._sharing.process)
                    opening.deadline = math.inf
                    news = await _answer(link.subscribe)
                    await self._read(link)
                    processes = await _answer(link.beat, self._sharing.process, PRESENCE_SECONDS)
                    await self._send_outbox(link)
                    self._sharing.opened(processes)
                    was_open = True
                    self._sharing.synced.set()
                    await self._share(link, news)
            except* StoreUnavailable as group:
                reasons += [str(error) for error in _leaves(group)]
        if opening.cancelled_caught:
            reasons.append(f"no connection within {OPEN_SECONDS:g} s")
        return reasons[0], was_open

    async def _share(self, link: StoreLink, news: trio.MemoryReceiveChannel[Entry]) -> None:
        """Carry everything in both directions until the link is lost or the gateway is closed."""
        is_lost = False
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._receive, news)
                nursery.start_soon(self._send, link)
                nursery.start_soon(self._beat, link)
                nursery.start_soon(self._take_leases, link)
                nursery.start_soon(self._take_slices, link)
                nursery.start_soon(self._add_totals, link)
        except* StoreUnavailable:
            is_lost = True
            raise
        finally:
            if not is_lost:
                with trio.move_on_after(LEAVE_SECONDS, shield=True), suppress(StoreUnavailable):
                    await self._leave(link)

    async def _leave(self, link: StoreLink) -> None:
        """Return slices and report sums: otherwise each restart of a program would use up a part of its budgets."""
        sharing, limits = self._sharing, self._sharing.limits
        for limit in limits.active():
            now = trio.current_time()
            if (amount := limit.settled(now)) is not None:
                await self._claim(link, limit, amount)
        for _ in range(2):  # a batch that was not confirmed, then what was counted since
            batch = sharing.totals.next_batch()
            sharing.totals.confirmed(await _answer(link.add, batch.id, batch.amounts))
        await _answer(link.beat, sharing.process, 0)

    async def _read(self, link: StoreLink) -> None:
        """Take over what the store has, then send what it may not have."""
        self._sharing.was_read()
        entries = await _answer(link.snapshot)
        for place, entry in enumerate(entries):
            self._sharing.adopt(entry, trio.current_time())
            if place % ENTRIES_PER_TURN == ENTRIES_PER_TURN - 1:
                await trio.lowlevel.checkpoint()  # a thousand at once would take too long beside requests
        self._sharing.send_all(trio.current_time())

    async def _receive(self, news: trio.MemoryReceiveChannel[Entry]) -> None:
        async for entry in news:
            self._sharing.adopt(entry, trio.current_time())
        raise StoreUnavailable("entries may have been lost")

    async def _send(self, link: StoreLink) -> None:
        while True:
            await self._sharing.wake.wait()
            self._sharing.wake = trio.Event()
            await self._send_outbox(link)

    async def _send_outbox(self, link: StoreLink) -> None:
        while (entry := self._sharing.next_entry(trio.current_time())) is not None:
            await _answer(link.put, entry)
            self._sharing.was_sent(entry)

    async def _take_leases(self, link: StoreLink) -> None:
        """Take the leases for trials of half-open breakers, ahead of the requests that will make them."""
        sharing = self._sharing
        while True:
            for step in sharing.probes_due(trio.current_time()):
                name, now = sharing.lease_of(step.state), trio.current_time()
                if step.is_release:
                    sharing.probes.released(step.state, now)
                    await _answer(link.release, name, sharing.process)
                else:
                    seconds = await _answer(link.lease, name, sharing.process, LEASE_SECONDS)
                    sharing.answered(step.state, seconds, now, trio.current_time())
            sharing.probes_changed = trio.Event()
            with trio.move_on_at(sharing.next_probe(trio.current_time())):
                await sharing.probes_changed.wait()

    async def _take_slices(self, link: StoreLink) -> None:
        """Take slices of limits ahead of the requests that use them, and give back what is unused."""
        limits = self._sharing.limits
        while True:
            limits.changed = trio.Event()
            for limit in limits.active():
                if (amount := limit.wanted(trio.current_time())) is not None:
                    await self._claim(link, limit, amount)
            with trio.move_on_at(limits.next_look(trio.current_time())):
                await limits.changed.wait()

    async def _claim(self, link: StoreLink, limit: SharedLimit, amount: float) -> None:
        process, seconds = self._sharing.process, limit.seconds()
        claim = await _answer(link.claim, limit.name, process, amount, limit.limit, seconds)
        limit.was_given(claim, amount, trio.current_time())

    async def _add_totals(self, link: StoreLink) -> None:
        totals = self._sharing.totals
        while True:
            batch = totals.next_batch()
            totals.confirmed(await _answer(link.add, batch.id, batch.amounts))
            await trio.sleep(TOTALS_SECONDS)

    async def _beat(self, link: StoreLink) -> None:
        while True:
            await trio.sleep(BEAT_SECONDS)
            processes = await _answer(link.beat, self._sharing.process, PRESENCE_SECONDS)
            self._sharing.link.processes = max(1, processes)
            self._sharing.count_calls(trio.current_time())
            if self._sharing.has_new_endpoints:
                await self._read(link)
                self._sharing.wake.set()


async def _enter(stack: AsyncExitStack, store: Store, process: str) -> StoreLink:
    """Open a link until `stack` is closed. Raises StoreUnavailable, also for a bug of a store of the user's own."""
    try:
        return await stack.enter_async_context(store.open_link(process))
    except StoreUnavailable:
        raise
    except Exception as error:
        raise _bug(error) from error


async def _answer(method: Callable[P, Awaitable[R]], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call a method of a link. Raises StoreUnavailable if there is no answer in time, and as `_enter`."""
    with trio.move_on_after(ANSWER_SECONDS):
        try:
            return await method(*args, **kwargs)
        except StoreUnavailable:
            raise
        except Exception as error:
            raise _bug(error) from error
    raise StoreUnavailable(f"no answer within {ANSWER_SECONDS:g} s")


def _bug(error: Exception) -> StoreUnavailable:
    """Return what a bug of a store counts as: an actor that crashes again and again would end the gateway."""
    log.debug("the store raised", exc_info=error)
    return StoreUnavailable(f"{type(error).__name__}: {error}"[:200])


def _leaves(group: BaseExceptionGroup[StoreUnavailable]) -> list[StoreUnavailable]:
    found: list[StoreUnavailable] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
