"""What every request needs at hand: made once, before the tree, and shared by everything in it."""

from __future__ import annotations

import logging
import math
import random
from datetime import UTC, datetime

import attrs
import trio

from ..http.deadlines import Deadlines
from ..otp import DynamicSupervisor, Ref, Supervisor
from ..telemetry import Telemetry, WorkerStatusChanged
from .routing.index import WorkerIndex
from .routing.retries import RetryBudget
from .routing.wait_queue import WaitQueue
from .settings.config import Config
from .transport.connections import Connections
from .workers.cooldowns import Cooldowns
from .workers.dialect_guard import DialectGuard
from .workers.health_monitor import HealthMonitor
from .workers.keys import KeyManager, KeyRing
from .workers.registry import WorkerRegistry, WorkerTable
from .workers.status import status_of
from .workers.worker import WorkerState

log = logging.getLogger("cortex_trio")

OUT_OF_DATE = -1


@attrs.define(eq=False)
class Runtime:
    """The state that survives crashes (`table`, `ring`, `cooldowns`) and the addresses of the actors."""

    config: Config
    table: WorkerTable
    cooldowns: Cooldowns
    ring: KeyRing
    telemetry: Telemetry
    root: Ref[Supervisor] = attrs.field(factory=lambda: Ref("cortex"))
    registry: Ref[WorkerRegistry] = attrs.field(factory=lambda: Ref("registry"))
    keys: Ref[KeyManager] = attrs.field(factory=lambda: Ref("keys"))
    workers: Ref[DynamicSupervisor] = attrs.field(factory=lambda: Ref("workers"))
    health: Ref[HealthMonitor] = attrs.field(factory=lambda: Ref("health"))
    budget: RetryBudget = attrs.field(factory=RetryBudget)
    deadlines: Deadlines = attrs.field(factory=Deadlines)
    dialects: DialectGuard = attrs.field(factory=DialectGuard)
    wait_queue: WaitQueue = attrs.field(factory=WaitQueue)
    retired: list[Connections] = attrs.field(
        factory=list
    )  # replaced; closed by a later reload, or with the gateway
    closing: trio.Event = attrs.field(factory=trio.Event, repr=False)  # set when the gateway is left
    # Seeded by the process's own, so that a run with `random.seed(...)` before it can be repeated.
    random: random.Random = attrs.field(factory=lambda: random.Random(random.getrandbits(64)))
    _index: WorkerIndex | None = attrs.field(
        default=None, init=False, repr=False
    )  # None before the first request
    _indexed: int = attrs.field(default=OUT_OF_DATE, init=False)  # `table.changes` when the index was made

    def note_status(self, state: WorkerState) -> None:
        """Publish a worker's status if it is another than before; called by its actor, its only writer."""
        if self._index is not None and not self._index.update(state):
            self._indexed = OUT_OF_DATE
        status, reason, until = status_of(state, trio.current_time())
        if until != state.changes_at:
            state.changes_at = until
            if math.isfinite(until):
                self.registry.cast(WorkerRegistry.look_again_at, until)
        if status == state.status:
            return
        old, state.status, state.since = state.status, status, datetime.now(UTC)
        log.info("worker %s is %s%s", state.name, status, f" ({reason.value})" if reason else "")
        self.telemetry.emit(WorkerStatusChanged(state.name, old, status, reason))

    @property
    def index(self) -> WorkerIndex:
        """All workers, arranged for selection; made anew when a worker was added, removed or configured anew."""
        if self._index is None or self._indexed != self.table.changes:
            turns = self._index.turns if self._index else 0
            self._index, self._indexed = WorkerIndex(self.table.workers.values(), turns), self.table.changes
        return self._index

    def close(self) -> None:
        """The gateway is being left: calls that wait or pause end at once, and no other call begins."""
        self.closing.set()
        self.wait_queue.wake_all()

    def check_open(self) -> None:
        """Raises trio.ClosedResourceError once the gateway is being left."""
        if self.closing.is_set():
            raise trio.ClosedResourceError("this gateway was closed: ask inside `async with open_cortex()`")

    async def pause(self, seconds: float) -> None:
        """Sleep before a retry. Raises trio.ClosedResourceError as soon as the gateway is left."""
        with trio.move_on_after(seconds):
            await self.closing.wait()
        self.check_open()
