"""Who is here: the table of workers, and the actor that is its only writer.

The table is made before the tree and handed in; a restarted WorkerRegistry adopts it, and workers register
in their own `init`, so it is never empty while there are workers. Reading the table is plain attribute
access; for selection it is arranged as a `WorkerIndex`, once for each time a worker is added or removed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import attrs
import trio

from ...otp import AlreadyRegistered, GenServer, Reject, Timer
from .breaker import BreakerState
from .worker import Worker, WorkerState

ALARM = "a worker's status may end now"


@attrs.define(eq=False)
class WorkerTable:
    """All workers by name, in the order they came, and when they were last checked. Only WorkerRegistry writes."""

    workers: dict[str, WorkerState] = attrs.field(factory=dict)
    last_health_check: datetime | None = None
    changes: int = (
        0  # how often a worker was added or removed; a WorkerIndex of an older number is out of date
    )

    @classmethod
    def of(cls, states: Iterable[WorkerState]) -> WorkerTable:
        return cls({state.name: state for state in states})

    def may_eject(self, candidate: WorkerState, now: float) -> bool:
        """Never eject more than half the pool on passive evidence: a fault of ours looks like a fault of every worker.

        One that is half-open counts as ejected: a failed trial opens it again without asking.
        """
        others = [state for state in self.workers.values() if state is not candidate]
        ejected = sum(state.breaker.state(now) is not BreakerState.CLOSED for state in others)
        return 2 * (ejected + 1) <= len(self.workers)


class WorkerRegistry(GenServer):
    """Names for workers. `register` is idempotent for the same worker and refuses another of the same name.

    It also has the one alarm that refreshes workers whose status ends by time alone, so that observers get the event
    then and not with the next request. The times are in the table: the alarm is set again after a crash.
    """

    def __init__(self, table: WorkerTable) -> None:
        self._table = table
        self._rings_at = math.inf
        self._alarm: Timer | None = None  # set before anything is asked

    async def init(self) -> None:
        self._set_alarm(min((state.changes_at for state in self._table.workers.values()), default=math.inf))

    async def look_again_at(self, when: float) -> None:
        """Some worker's status may end by itself at `when` (Trio time)."""
        if trio.current_time() < when < self._rings_at:
            self._set_alarm(when)

    async def handle_info(self, message: object) -> None:
        if message == ALARM:
            now = trio.current_time()
            resting = [state for state in self._table.workers.values() if math.isfinite(state.changes_at)]
            for state in resting:
                if state.changes_at <= now:
                    state.ref.cast(Worker.refresh)
            self._set_alarm(min((s.changes_at for s in resting if s.changes_at > now), default=math.inf))

    def _set_alarm(self, when: float) -> None:
        """There is always one, if for never: the number of tasks does not depend on cooldowns."""
        if self._alarm is not None:
            self._alarm.cancel()
        self._rings_at = when
        self._alarm = self.send_after(max(0.0, when - trio.current_time()), ALARM)

    async def register(self, state: WorkerState) -> None:
        known = self._table.workers.setdefault(state.name, state)
        if known is not state:
            raise Reject(AlreadyRegistered(f"the name {state.name!r} is taken"))
        self._table.changes += 1

    async def unregister(self, name: str) -> None:
        self._table.workers.pop(name, None)
        self._table.changes += 1

    async def get(self, name: str) -> WorkerState | None:
        return self._table.workers.get(name)

    async def list_all(self) -> Sequence[WorkerState]:
        return tuple(self._table.workers.values())

    async def list_by_provider(self, provider: str) -> Sequence[WorkerState]:
        return tuple(s for s in self._table.workers.values() if s.kind.name == provider)

    async def health_checked(self) -> None:
        """All workers were checked just now."""
        self._table.last_health_check = datetime.now(UTC)
