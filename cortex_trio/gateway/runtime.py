"""What every request needs at hand: made once, before the tree, and shared by everything in it."""

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
    openings: Openings = attrs.field(factory=Openings)
    activity: Activity = attrs.field(factory=Activity, repr=False)
    opened_at: datetime = attrs.field(factory=lambda: datetime.now(UTC))
    retired: list[Connections] = attrs.field(
        factory=list
    )  # replaced; closed by a later reload, or with the gateway
    closing: trio.Event = attrs.field(factory=trio.Event, repr=False)  # set when the gateway is left
    # Seeded by the process's own, so that a run with `random.seed(...)` before it can be repeated.
    random: random.Random = attrs.field(factory=lambda: random.Random(random.getrandbits(64)))
    _roster: Roster | None = attrs.field(default=None, init=False, repr=False)
    _arranged: int = attrs.field(default=OUT_OF_DATE, init=False)  # `table.changes` when the roster was made

    def note_status(self, state: WorkerState) -> None:
        """Publish a worker's status if it is another than before; called by its actor, its only writer."""
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
        """The gateway is being left: calls that wait or pause end at once, and no other call begins."""
        self.closing.set()
        self.openings.changed()

    def check_open(self) -> None:
        """Raises trio.ClosedResourceError once the gateway is being left."""
        if self.closing.is_set():
            raise trio.ClosedResourceError("this gateway was closed: ask inside `async with open_cortex()`")

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
