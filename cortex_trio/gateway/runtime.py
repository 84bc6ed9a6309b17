"""What all calls and all actors of one gateway share: made once, before the supervision tree.

Knows nothing of a single request. State that an actor owns is written by that actor only; what all write is
synchronous.
"""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial

import attrs
import trio

from ..http.deadlines import Deadlines
from ..otp import DynamicSupervisor, Ref, Supervisor
from ..telemetry import Activity, Telemetry, WorkerStatusChanged
from .routing.index import Roster, Selection
from .routing.openings import Openings, Place
from .routing.retries import RetryBudget
from .routing.selection import Candidate, Selected, Wanted
from .routing.strategies import by_priority
from .settings.config import Config
from .transport.connections import Connections, Connector
from .workers.cooldowns import Cooldowns
from .workers.dialect_guard import DialectGuard
from .workers.health_monitor import HealthMonitor
from .workers.keys import KeyManager, KeyRing
from .workers.registry import WorkerRegistry, WorkerTable
from .workers.status import status_of
from .workers.worker import WorkerState

log = logging.getLogger("cortex_trio")

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

    # What calls use.
    telemetry: Telemetry
    budget: RetryBudget = attrs.field(factory=RetryBudget)
    deadlines: Deadlines = attrs.field(factory=Deadlines)
    dialects: DialectGuard = attrs.field(factory=DialectGuard)
    openings: Openings = attrs.field(factory=Openings)
    activity: Activity = attrs.field(factory=Activity, repr=False)
    opened_at: datetime = attrs.field(factory=lambda: datetime.now(UTC))
    closing: trio.Event = attrs.field(factory=trio.Event, repr=False)
    """Set when the gateway is left."""
    random: random.Random = attrs.field(factory=lambda: random.Random(random.getrandbits(64)))
    """Seeded from the module's own generator: `random.seed(…)` before the gateway is opened makes a run repeatable."""
    _roster: Roster | None = attrs.field(default=None, init=False, repr=False)
    _arranged: int = attrs.field(default=OUT_OF_DATE, init=False)  # `table.changes` when the roster was made

    def note_status(self, state: WorkerState) -> None:
        """Publish a worker's status if it has changed. Called by its actor, the only writer of `state`."""
        if self._roster is not None and not self._roster.note(state):
            self._arranged = OUT_OF_DATE
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
    def roster(self) -> Roster:
        """All workers, arranged for selection."""
        if self._roster is None or self._arranged != self.table.changes:
            selections = self._roster.selections if self._roster else 0
            self._roster, self._arranged = Roster(self.table.workers.values(), selections), self.table.changes
        return self._roster

    def embed_model(self, provider: str | None) -> str | None:
        """The model embeddings are made with when none is named; None if no worker has one."""
        group = self.roster.group(Wanted(provider=provider, embed=True))
        return group.members[group.sorted_by(by_priority)[0]].model if group.members else None

    def embed_batch(self, wanted: Wanted) -> int:
        """Texts that every worker that might be asked takes at once."""
        group = self.roster.group(wanted)
        if not group.members:
            return 2048
        return group.members[group.sorted_by(_by_embed_batch)[0]].state.kind.embed_batch

    def close(self) -> None:
        """Let no more calls begin; those that wait, for a worker or for a retry, end at once."""
        self.closing.set()
        self.openings.changed()

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

    def select(self, wanted: Wanted, place: Place | None = None) -> Selection:
        """Choose workers step by step, for a call that holds `place`, if it does.

        Raises trio.ClosedResourceError once the gateway is being left.
        """
        self.check_open()
        return self.roster.select(
            wanted,
            strategy=self.config.strategy,
            cooldowns=self.cooldowns,
            clock=trio.current_time,
            reserved=partial(self.openings.reserved, besides=place),
        )

    def candidates(self, wanted: Wanted) -> Sequence[Candidate]:
        """All whose configuration allows what is wanted, whether they may be asked now or not."""
        return self.roster.group(wanted).members

    def peek(self, wanted: Wanted) -> Selected:
        """The decision as it would be taken now, about all workers."""
        strategy = self.config.strategy
        return self.roster.peek(wanted, strategy=strategy, cooldowns=self.cooldowns, clock=trio.current_time)


def _by_embed_batch(state: WorkerState) -> int:
    return state.kind.embed_batch
