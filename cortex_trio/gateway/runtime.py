"""What every request needs at hand: made once, before the tree, and shared by everything in it."""

from __future__ import annotations

import logging
import random
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import attrs
import trio

from ..otp import DynamicSupervisor, Ref, Supervisor
from ..telemetry import Telemetry, WorkerStatusChanged
from .config import Config
from .keys import KeyManager, KeyRing
from .registry import WorkerRegistry, WorkerTable
from .retries import RetryBudget
from .selection import Selected, Wanted, not_wanted, select
from .status import status_of
from .transport import Connections
from .watchdog import Watchdog
from .worker import Permit, Worker, WorkerState

log = logging.getLogger("cortex_trio")

if TYPE_CHECKING:
    from .health import HealthMonitor


@attrs.frozen
class Retired:
    """Connections that a reload replaced, and the requests that were under way on them."""

    connections: Connections
    permits: frozenset[Permit]

    @property
    def is_over(self) -> bool:
        return all(permit.settled for permit in self.permits)


@attrs.define(eq=False)
class Runtime:
    """The state that survives crashes (`table`, `ring`) and the addresses of the actors that write it."""

    config: Config
    table: WorkerTable
    ring: KeyRing
    telemetry: Telemetry
    root: Ref[Supervisor] = attrs.field(factory=lambda: Ref("cortex"))
    registry: Ref[WorkerRegistry] = attrs.field(factory=lambda: Ref("registry"))
    keys: Ref[KeyManager] = attrs.field(factory=lambda: Ref("keys"))
    workers: Ref[DynamicSupervisor] = attrs.field(factory=lambda: Ref("workers"))
    health: Ref[HealthMonitor] = attrs.field(factory=lambda: Ref("health"))
    budget: RetryBudget = attrs.field(factory=RetryBudget)
    watchdog: Watchdog = attrs.field(factory=Watchdog)
    retired: list[Retired] = attrs.field(factory=list)  # closed by a later reload, or with the gateway
    closed: bool = False  # written once, when the gateway is left
    turn: int = 0  # requests so far; what round robin goes by
    # Seeded by the process's own, so that a run with `random.seed(...)` before it can be repeated.
    random: random.Random = attrs.field(factory=lambda: random.Random(random.getrandbits(64)))

    def note_status(self, state: WorkerState) -> None:
        """Publish a worker's status if it is another than before; called by its actor, its only writer."""
        status, reason, _ = status_of(state, self.ring, trio.current_time())
        if status == state.status:
            return
        old, state.status, state.since = state.status, status, datetime.now(UTC)
        log.info("worker %s is %s%s", state.name, status, f" ({reason.value})" if reason else "")
        self.telemetry.emit(WorkerStatusChanged(state.name, old, status, reason))

    def refresh(self, worker: str) -> None:
        """Have a worker publish its status anew."""
        if state := self.table.workers.get(worker):
            state.ref.cast(Worker.refresh)

    def embed_model(self, provider: str | None) -> str | None:
        """The model embeddings are made with when none is named; None if nobody has one."""
        states = [s for s in self.table.workers.values() if s.kind.embed_model]
        states = [state for state in states if provider in (None, state.kind.name)]
        first = min(states, key=lambda state: state.priority, default=None)
        return first.kind.embed_model if first else None

    def embed_batch(self, wanted: Wanted) -> int:
        """Texts that every worker that might be asked takes at once."""
        kinds = [s.kind for s in self.table.workers.values() if not_wanted(s, wanted) is None]
        return min((kind.embed_batch for kind in kinds), default=2048)

    def select(self, wanted: Wanted, *, peek: bool = False) -> Selected:
        """Decide whom to ask now; `peek` leaves round robin where it is."""
        if self.closed:
            raise trio.ClosedResourceError("this gateway was closed: ask inside `async with open_cortex()`")
        turn = self.turn
        if not peek:
            self.turn += 1
        return select(
            tuple(self.table.workers.values()),
            wanted,
            strategy=self.config.strategy,
            turn=turn,
            ring=self.ring,
            now=trio.current_time(),
        )
