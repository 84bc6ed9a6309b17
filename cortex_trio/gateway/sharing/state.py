"""What one gateway shares with others, as a plain object that outlives the actor `cluster`.

The code that has found something out calls `note`, which is synchronous and costs no more than a set and an event:
nothing on the path of a request waits for a store. The actor takes `outbox` to the store and calls `adopt` for what
arrives. What could not be sent stays here until the link is open again.
"""

from __future__ import annotations

import itertools
import logging
import math
import random
import secrets
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import final

import attrs
import trio

from ...cluster import Entry, Store
from ...telemetry import Activity, StoreLinkChanged, Telemetry
from ..routing.wait_queue import WaitQueue
from ..workers.cooldowns import Cooldowns
from ..workers.keys import KeyRing
from ..workers.registry import WorkerTable
from ..workers.worker import Worker, WorkerState
from .breakers import KIND as BREAKER
from .breakers import SharedBreakers
from .cooldown_facts import KIND as COOLDOWN
from .cooldowns import SharedCooldowns
from .limits import SharedLimits
from .probes import Probes, Step
from .totals import SharedTotals

BUSY_SECONDS = 5.0
"""A process that had a call within this time makes the trials of half-open breakers before the others."""

log = logging.getLogger("cortex_trio")


@attrs.define
class LinkState:
    """The link to the store, as it is now. Written by `Sharing`."""

    connected: bool = False
    since: datetime = attrs.field(factory=lambda: datetime.now(UTC))
    """When `connected` was written."""
    processes: int = 1
    """How many processes use the store, this one included, as far as is known."""
    reason: str | None = None
    """Why it is not connected. None while it is, and before the first attempt has ended."""


@final
class Sharing:
    """What is shared, and with which store.

    Args:
        store: the store.
        table: all workers.
        cooldowns: of this process.
        ring: the API keys.
        wait_queue: calls that wait.
        telemetry: the observers.
        activity: counts calls.
        chance: makes jitter.
        is_divided: returns whether limits are divided while there is no link.

    Attributes:
        process: the id of this gateway in the store.
        link: the state of the link.
        synced: set when the first attempt to read the store has ended, with or without a result.
        wake: set when there is something to send; replaced by the actor.
        probes_changed: set when a breaker may need a lease; replaced by the actor.
        probes: the leases for trials of half-open breakers.
        limits: limits that all processes use up together.
        totals: sums over all processes.
    """

    def __init__(
        self,
        store: Store,
        table: WorkerTable,
        cooldowns: Cooldowns,
        ring: KeyRing,
        wait_queue: WaitQueue,
        telemetry: Telemetry,
        activity: Activity,
        chance: random.Random,
        is_divided: Callable[[], bool],
    ) -> None:
        self.store = store
        # Not from `chance`: programs that seed it alike must not look like one process.
        self.process = secrets.token_hex(6)
        self._facts = itertools.count(1)
        self.link = LinkState()
        self.synced = trio.Event()
        self.wake = trio.Event()
        self.probes_changed = trio.Event()
        self.probes = Probes(self._is_busy)
        self._activity = activity
        # How many there were at the last look, and the Trio time at which that changed.
        self._calls = 0, -math.inf
        self._is_divided = is_divided
        self.limits = SharedLimits(self._divisor)
        self._table = table
        self._wait_queue = wait_queue
        self._telemetry = telemetry
        self._cooldowns = SharedCooldowns(table, cooldowns, store.salt, self._new_id, chance)
        self.totals = SharedTotals(table, activity, ring, self._cooldowns.fingerprint, self._new_id)
        self._breakers = SharedBreakers(table, store.salt, self._new_id, chance)
        self._dirty: dict[str, None] = {}  # names of workers, in the order in which they changed
        self._outbox: dict[str, tuple[float, Entry]] = {}  # by name, with the Trio time of the end
        self._seen: set[int] = set()  # ids of the endpoints that were there when the store was read
        cooldowns.on_change = self.note

    def _new_id(self) -> str:
        return f"{self.process}-{next(self._facts)}"

    def _divisor(self) -> int | None:
        if self.link.connected:
            return None
        return self.link.processes if self._is_divided() else 1

    # -------------------------------------------------------------- from the code that finds something out

    def note(self, worker: str) -> None:
        """Look at a worker again: something of it has changed."""
        self._dirty[worker] = None
        self.wake.set()

    # -------------------------------------------------------------- out

    def next_entry(self, now: float) -> Entry | None:
        """Return the next entry for the store, with the time left now; None if all were sent."""
        while self._dirty:
            worker = next(iter(self._dirty))
            del self._dirty[worker]
            self._queue(self._cooldowns.changes(worker, now), now)
            self._queue(self._breakers.changes(worker, now), now)
            self._look_at_breaker(worker, now)
        while self._outbox:
            ends, entry = next(iter(self._outbox.values()))
            if ends > now:
                return attrs.evolve(entry, seconds=ends - now)
            del self._outbox[entry.name]
        return None

    def was_sent(self, entry: Entry) -> None:
        """Forget an entry that the store has taken, unless there is a newer one."""
        queued = self._outbox.get(entry.name)
        if queued is not None and (queued[1].fact, queued[1].value) == (entry.fact, entry.value):
            del self._outbox[entry.name]

    def send_all(self, now: float) -> None:
        """Send all that has not ended again: the store may have lost it, or may never have got it."""
        self._queue(self._cooldowns.all(now), now)
        self._queue(self._breakers.all(now), now)

    def _queue(self, entries: Iterable[Entry], now: float) -> None:
        for entry in entries:
            self._outbox[entry.name] = now + entry.seconds, entry

    # -------------------------------------------------------------- in

    def adopt(self, entry: Entry, now: float) -> None:
        """Enter what another process has found out."""
        match entry.name.partition(":")[0]:
            case kind if kind == COOLDOWN:
                worker = self._cooldowns.adopt(entry, now)
            case kind if kind == BREAKER:
                worker = self._breakers.adopt(entry, now)
            case _:
                return  # of a later version
        if worker is None:
            return
        state = self._table.workers.get(worker)
        if state is not None:
            state.ref.cast(Worker.refresh)
        if entry.has_ended:
            self._wait_queue.wake_all()

    # -------------------------------------------------------------- leases for trials

    def count_calls(self, now: float) -> None:
        """Look whether there were calls since the last look."""
        calls = self._activity.calls
        if calls != self._calls[0]:
            self._calls = calls, now

    def _is_busy(self, now: float) -> bool:
        self.count_calls(now)
        return now - self._calls[1] < BUSY_SECONDS or len(self._wait_queue) > 0

    def _look_at_breaker(self, worker: str, now: float) -> None:
        state = self._table.workers.get(worker)
        if state is not None:
            self.probes.look_at(state, now)
            self.probes_changed.set()

    def probes_due(self, now: float) -> list[Step]:
        """Return what to do with the leases for trials now."""
        return self.probes.due(self._table.workers.values(), now)

    def lease_of(self, state: WorkerState) -> str:
        """Return the name of the lease for the trial of a worker."""
        return f"trial:{self._breakers.name_of(state)}"

    def next_probe(self, now: float) -> float:
        """Return the Trio time at which `probes_due` may return a worker."""
        return self.probes.next_look(self._table.workers.values(), now)

    def answered(self, state: WorkerState, seconds: float, asked_at: float, now: float) -> None:
        """Record who makes the trial of a worker: this process, or for so many seconds another one."""
        if seconds > 0:
            self.probes.refused(state, seconds, now)
        else:
            self.probes.granted(state, asked_at)
            self._wait_queue.wake_all()

    @property
    def has_new_endpoints(self) -> bool:
        """Whether a worker was added or got another endpoint after the store was read."""
        return not self._endpoints() <= self._seen

    def was_read(self) -> None:
        """Record that the store was read for all workers that are here now."""
        self._seen = self._endpoints()

    def _endpoints(self) -> set[int]:
        return {id(state.endpoint) for state in self._table.workers.values()}

    # -------------------------------------------------------------- the link

    def opened(self, processes: int) -> None:
        """Record that the link is open, and that both sides know what the other has found out."""
        self.link = LinkState(True, processes=processes)
        self.probes.linked(True)
        for worker in self._table.workers:
            self.note(worker)
        log.info(
            "store %s: connected; %s", self.store.place, _count(processes), extra={"processes": processes}
        )
        self._emit()

    def lost(self, reason: str) -> None:
        """Record that the link is not open. A second call changes the reason only."""
        was_known = self.link.reason is not None
        if not self.link.connected and was_known:
            self.link.reason = reason
            return
        self.probes.linked(False)
        self._wait_queue.wake_all()
        self.link = LinkState(False, processes=self.link.processes, reason=reason)
        log.warning(
            "store %s: not connected: %s; this process goes on with what it knows",
            self.store.place,
            reason,
            extra={"processes": self.link.processes},
        )
        self._emit()

    def _emit(self) -> None:
        if self._telemetry.observers:
            link = self.link
            self._telemetry.emit(StoreLinkChanged(link.connected, link.processes, link.reason))


def _count(processes: int) -> str:
    return "1 process" if processes == 1 else f"{processes} processes"
