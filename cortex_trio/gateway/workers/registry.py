"""The table of all workers, and the actor that is its only writer.

The table is made before the supervision tree. A restarted WorkerRegistry finds it, and workers register in their own
`init`, so the table is never empty while there are workers. Other code reads it as plain attributes; for selection it
is arranged as an index, once after each worker that is added or removed.
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

STATUS_TIMER = "the status of a worker may have changed"


@attrs.define(eq=False)
class WorkerTable:
    """All workers. Only WorkerRegistry writes."""

    workers: dict[str, WorkerState] = attrs.field(factory=dict)
    """By name, in the order in which they were added."""
    last_health_check: datetime | None = None
    """When the last round of health checks ended; None if there was none."""
    changes: int = 0
    """How often a worker was added or removed. An index made at a lower number is out of date."""

    @classmethod
    def of(cls, states: Iterable[WorkerState]) -> WorkerTable:
        """Return a table with these workers."""
        return cls({state.name: state for state in states})

    def may_eject(self, candidate: WorkerState, now: float) -> bool:
        """Whether the breaker of `candidate` may open: at most half of all workers are ejected.

        A problem on this machine looks like a failure of every worker. A half-open breaker counts as ejected, because a
        failed trial opens it without this check.
        """
        others = [state for state in self.workers.values() if state is not candidate]
        ejected = sum(state.breaker.state(now) is not BreakerState.CLOSED for state in others)
        return 2 * (ejected + 1) <= len(self.workers)


class WorkerRegistry(GenServer):
    """The actor that adds workers to the table and removes them.

    It also has one timer for all workers whose status changes at a known time, without a request. Observers then get
    the event at that time. The times are in the table, so the timer is set again after a crash.
    """

    def __init__(self, table: WorkerTable) -> None:
        self._table = table
        self._timer_at = math.inf  # Trio time
        self._timer: Timer | None = None  # None only before `init`

    async def init(self) -> None:
        self._set_timer(min((state.changes_at for state in self._table.workers.values()), default=math.inf))

    async def look_again_at(self, when: float) -> None:
        """Publish statuses again at `when` (Trio time), because one may change then."""
        if trio.current_time() < when < self._timer_at:
            self._set_timer(when)

    async def handle_info(self, message: object) -> None:
        if message != STATUS_TIMER:
            return
        now = trio.current_time()
        states = self._table.workers.values()
        for state in states:
            if state.changes_at <= now:
                state.ref.cast(Worker.refresh)
        self._set_timer(min((s.changes_at for s in states if s.changes_at > now), default=math.inf))

    def _set_timer(self, when: float) -> None:
        """Set the timer, to infinity if need be, so that the number of tasks does not depend on cooldowns."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = when
        self._timer = self.send_after(max(0.0, when - trio.current_time()), STATUS_TIMER)

    async def register(self, state: WorkerState) -> None:
        """Add a worker. Adding the same one again changes nothing.

        Raises:
            AlreadyRegistered: another worker has this name.
        """
        known = self._table.workers.setdefault(state.name, state)
        if known is not state:
            raise Reject(AlreadyRegistered(f"the name {state.name!r} is taken"))
        self._table.changes += 1

    async def unregister(self, name: str) -> None:
        """Remove a worker. Does nothing if there is none of this name."""
        self._table.workers.pop(name, None)
        self._table.changes += 1

    async def get(self, name: str) -> WorkerState | None:
        """Return the worker of this name, or None."""
        return self._table.workers.get(name)

    async def list_all(self) -> Sequence[WorkerState]:
        """Return all workers, in the order in which they were added."""
        return tuple(self._table.workers.values())

    async def list_by_provider(self, provider: str) -> Sequence[WorkerState]:
        """Return all workers of the provider of this name."""
        return tuple(s for s in self._table.workers.values() if s.kind.name == provider)

    async def health_checked(self) -> None:
        """Note that a round of health checks has ended now."""
        self._table.last_health_check = datetime.now(UTC)
