"""What every request needs at hand: made once, before the tree, and shared by everything in it."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import attrs
import trio

from ..otp import DynamicSupervisor, Ref, Supervisor
from ..telemetry import Telemetry
from .config import Config
from .keys import KeyManager, KeyRing
from .registry import WorkerRegistry, WorkerTable
from .retries import RetryBudget
from .selection import Selected, Wanted, select

if TYPE_CHECKING:
    from .health import HealthMonitor


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
    turn: int = 0  # requests so far; what round robin goes by
    random: random.Random = attrs.field(factory=random.Random)

    def select(self, wanted: Wanted, *, peek: bool = False) -> Selected:
        """Decide whom to ask now; `peek` leaves round robin where it is."""
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
