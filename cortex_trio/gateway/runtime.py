"""What all calls and all actors of one gateway share: made once, before the supervision tree.

Knows nothing of a single request. State that an actor owns is written by that actor only; what all write is
synchronous.
"""

from __future__ import annotations

import math
import random
from datetime import UTC, datetime

import attrs
import trio

from ..cluster import Store
from ..http.deadlines import Deadlines
from ..otp import DynamicSupervisor, Ref, Supervisor
from ..telemetry import Activity, EventLog, Telemetry
from .routing.index import WorkerIndex
from .routing.retries import RetryBudget
from .routing.wait_queue import WaitQueue
from .settings.config import Config
from .sharing.cluster import Cluster
from .sharing.state import Sharing
from .transport.connections import Connections, Connector
from .workers.cooldowns import Cooldowns
from .workers.dialect_guard import DialectGuard
from .workers.health_monitor import HealthMonitor
from .workers.keys import KeyManager, KeyRing
from .workers.publisher import Publisher
from .workers.registry import WorkerRegistry, WorkerTable
from .workers.worker import WorkerState

OUT_OF_DATE = -1


@attrs.define(eq=False, kw_only=True)
class Runtime:
    """The state that survives crashes, the addresses of the actors, and what limits and wakes calls."""

    config: Config
    """As the last reload has left it; `table` has the workers as they are, those added later included."""
    connector: Connector = attrs.field(repr=False)
    """Makes the connections of workers that are added or changed."""

    # State that survives the actors.
    table: WorkerTable
    """Written by the WorkerRegistry; each state in it by its Worker."""
    cooldowns: Cooldowns
    """Written by attempts and health checks."""
    ring: KeyRing
    """Written by the KeyManager."""
    retired_connections: list[Connections] = attrs.field(factory=list)
    """Replaced by a reload. The next one closes those that no request uses; the end of the gateway closes all."""

    # The addresses of the actors.
    root: Ref[Supervisor] = attrs.field(factory=lambda: Ref("cortex"))
    registry: Ref[WorkerRegistry] = attrs.field(factory=lambda: Ref("registry"))
    keys: Ref[KeyManager] = attrs.field(factory=lambda: Ref("keys"))
    workers: Ref[DynamicSupervisor] = attrs.field(factory=lambda: Ref("workers"))
    health: Ref[HealthMonitor] = attrs.field(factory=lambda: Ref("health"))
    cluster: Ref[Cluster] = attrs.field(factory=lambda: Ref("cluster"))
    """Of an actor that is there only with a store."""

    # What calls use.
    telemetry: Telemetry
    event_log: EventLog = attrs.field(factory=EventLog, repr=False)
    publisher: Publisher = attrs.field(
        default=attrs.Factory(
            lambda self: Publisher(self.table, self.telemetry, self.event_log), takes_self=True
        ),
        init=False,
        repr=False,
    )
    budget: RetryBudget = attrs.field(factory=RetryBudget)
    deadlines: Deadlines = attrs.field(factory=Deadlines)
    dialects: DialectGuard = attrs.field(factory=DialectGuard)
    wait_queue: WaitQueue = attrs.field(factory=WaitQueue)
    activity: Activity = attrs.field(factory=Activity, repr=False)
    opened_at: datetime = attrs.field(factory=lambda: datetime.now(UTC))
    prices_needed: trio.Event = attrs.field(factory=trio.Event, repr=False)
    """Set by the first request whose price is not in `config.prices`."""
    closing: trio.Event = attrs.field(factory=trio.Event, repr=False)
    """Set when the gateway is left."""
    random: random.Random = attrs.field(factory=lambda: random.Random(random.getrandbits(64)))
    """Seeded from the module's own generator: `random.seed(…)` before the gateway is opened makes a run repeatable."""
    store: Store | None = attrs.field(default=None, repr=False)
    """Shared with other processes. None: this gateway shares nothing."""
    sharing: Sharing | None = attrs.field(
        default=attrs.Factory(lambda self: self._make_sharing(), takes_self=True), init=False, repr=False
    )
    """What is shared; None without a store."""
    # None before the first use.
    _index: WorkerIndex | None = attrs.field(default=None, init=False, repr=False)
    _indexed: int = attrs.field(default=OUT_OF_DATE, init=False)  # `table.changes` when the index was made

    def note_status(self, state: WorkerState) -> None:
        """Publish what has changed in a worker. Called by its actor, the only writer of `state`."""
        if self._index is not None and not self._index.update(state):
            self._indexed = OUT_OF_DATE
        until = self.publisher.publish(state, trio.current_time())
        if self.sharing is not None:
            self.sharing.note(state.name)
        if until != state.changes_at:
            state.changes_at = until
            if math.isfinite(until):
                self.registry.cast(WorkerRegistry.look_again_at, until)

    def _make_sharing(self) -> Sharing | None:
        if self.store is None:
            return None
        return Sharing(
            self.store,
            self.table,
            self.cooldowns,
            self.ring,
            self.wait_queue,
            self.telemetry,
            self.activity,
            self.random,
            lambda: self.config.limits_without_store == "divided",
        )

    @property
    def index(self) -> WorkerIndex:
        """All workers, arranged for selection; made anew when a worker was added, removed or configured anew."""
        if self._index is None or self._indexed != self.table.changes:
            turns = self._index.turns if self._index else 0
            self._index, self._indexed = WorkerIndex(self.table.workers.values(), turns), self.table.changes
        return self._index

    def close(self) -> None:
        """Let no more calls begin; those that wait, for a worker or for a retry, end at once."""
        self.closing.set()
        self.wait_queue.wake_all()

    def check_open(self) -> None:
        """Raises trio.ClosedResourceError once the gateway is being left."""
        if self.closing.is_set():
            raise trio.ClosedResourceError(
                "this gateway was closed: use it inside `async with open_cortex()`"
            )

    async def pause(self, seconds: float) -> None:
        """Sleep before a retry. Raises trio.ClosedResourceError as soon as the gateway is left."""
        with trio.move_on_after(seconds):
            await self.closing.wait()
        self.check_open()
