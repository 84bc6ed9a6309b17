"""Makes the values of `cortex_trio.telemetry.snapshot`. Only reads; sends nothing and waits for nothing.

The gateway counts in Trio time, which means nothing outside of its process: snapshots have UTC.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import trio

from ..http.transport import PooledTransport
from ..otp import DynamicSupervisor, Ref, Supervisor
from ..telemetry import (
    ActorSnapshot,
    BreakerSnapshot,
    ConnectionsSnapshot,
    CooldownSnapshot,
    FailureSnapshot,
    KeySnapshot,
    LinkSnapshot,
    RecentAttempt,
    Snapshot,
    WaitingCall,
    WorkerSnapshot,
)
from ..version import __version__
from .runtime import Runtime
from .settings.secrets import ApiKey
from .sharing.state import Sharing
from .transport.connections import Connections
from .workers.breaker import Breaker, BreakerState
from .workers.cooldowns import Cooldown, Target
from .workers.keys import KeyState
from .workers.publisher import scope_of
from .workers.status import status_of
from .workers.worker import WorkerState


def snapshot_of(runtime: Runtime) -> Snapshot:
    """Return the gateway as it is now. Costs time in proportion to the workers, their keys and their cooldowns."""
    clock, activity = _Clock.read(), runtime.activity
    return Snapshot(
        version=__version__,
        at=clock.at,
        opened_at=runtime.opened_at,
        checked_at=runtime.table.last_health_check,
        tree=_tree(runtime.root),
        workers=tuple(_worker(state, clock) for state in runtime.table.workers.values()),
        keys=tuple(key for worker in runtime.ring.workers for key in _keys(runtime, worker, clock)),
        leases=runtime.ring.leased,
        retired=len(runtime.retired_connections),
        waiting=tuple(
            WaitingCall(call.worker, call.reason, clock.utc(call.since), clock.utc(call.until))
            for call in activity.waiting
        ),
        attempts=tuple(RecentAttempt(clock.utc(ended), attempt) for ended, attempt in activity.recent),
        totals=activity.totals,
        cluster=_link(runtime.sharing),
    )


def _link(sharing: Sharing | None) -> LinkSnapshot | None:
    if sharing is None:
        return None
    link = sharing.link
    totals = dict(sharing.totals.of_all)
    return LinkSnapshot(link.connected, link.since, link.processes, link.reason, totals)


@attrs.frozen
class _Clock:
    """The moment of a snapshot, on both clocks."""

    at: datetime
    now: float  # Trio time

    @classmethod
    def read(cls) -> _Clock:
        return cls(datetime.now(UTC), trio.current_time())

    def utc(self, when: float) -> datetime:
        """Trio time as UTC."""
        return self.at + timedelta(seconds=when - self.now)

    def utc_or_none(self, when: float | None) -> datetime | None:
        """As `utc`; None for a time that never comes, or never was."""
        return self.utc(when) if when is not None and math.isfinite(when) else None


# ------------------------------------------------------------------ the tree


def _tree(root: Ref[Supervisor]) -> ActorSnapshot:
    process = root.process
    if process is None:
        return ActorSnapshot(root.name, Supervisor.__name__, "stopped", restarts=0, mailbox=0)
    kind = type(process.server).__name__
    return ActorSnapshot(root.name, kind, "running", 0, len(process.mailbox.queue), tuple(_children(root)))


def _children(ref: Ref[Any]) -> Iterator[ActorSnapshot]:
    server = ref.process.server if ref.process is not None else None
    if isinstance(server, Supervisor | DynamicSupervisor):
        for child in server.children:
            below = tuple(_children(child.ref))
            yield ActorSnapshot(
                child.id, child.server, child.state.value, child.restarts, child.mailbox_length, below
            )


# ------------------------------------------------------------------ workers and keys


def _worker(state: WorkerState, clock: _Clock) -> WorkerSnapshot:
    status, reason, until = status_of(state, clock.now)
    entries = state.cooldowns.entries(state.name, clock.now)
    return WorkerSnapshot(
        name=state.name,
        provider=state.kind.name,
        models=tuple(state.models),
        priority=state.priority,
        status=status,
        reason=reason,
        since=state.since,
        until=clock.utc_or_none(until),
        draining=state.draining,
        breaker=_breaker(state.breaker, clock),
        cooldowns=tuple(_cooldown(target, entry, clock) for target, entry in entries if target[1] is None),
        connections=_connections(state.connections),
        in_flight=state.in_flight,
        limit=state.config.max_concurrency,
        requests=state.requests,
        failures=state.failures,
        restarts=state.restarts,
        latency=state.latency,
        served_at=clock.utc_or_none(state.last_served),
        last_failures=tuple(
            FailureSnapshot(clock.utc(ended), failure.kind, failure.message, failure.status)
            for ended, failure in state.last_failures
        ),
    )


def _breaker(breaker: Breaker, clock: _Clock) -> BreakerSnapshot:
    state = breaker.state(clock.now)
    until = clock.utc(breaker.half_open_at) if state is BreakerState.OPEN else None
    return BreakerSnapshot(state.value, until, breaker.calls, breaker.failed)


def _connections(connections: Connections) -> ConnectionsSnapshot | None:
    transport = connections.transport
    if not isinstance(transport, PooledTransport):
        return None
    return ConnectionsSnapshot(transport.in_use, transport.idle)


def _keys(runtime: Runtime, worker: str, clock: _Clock) -> Iterator[KeySnapshot]:
    cooldowns = defaultdict[ApiKey | None, list[CooldownSnapshot]](list)
    for target, entry in runtime.cooldowns.entries(worker, clock.now):
        cooldowns[target[1]].append(_cooldown(target, entry, clock))
    for state in runtime.ring.states(worker):
        yield _key(worker, state, cooldowns.get(state.key, ()) if state.key else (), clock)


def _key(worker: str, state: KeyState, cooldowns: Sequence[CooldownSnapshot], clock: _Clock) -> KeySnapshot:
    return KeySnapshot(
        worker=worker,
        key=state.key.masked if state.key else None,
        leased=state.in_use,
        uses=state.usage_count,
        successes=state.success_count,
        rate_limited=state.rate_limited_count,
        used_at=clock.utc_or_none(state.last_used),
        cooldowns=tuple(cooldowns),
    )


def _cooldown(target: Target, cooldown: Cooldown, clock: _Clock) -> CooldownSnapshot:
    model, key = target
    return CooldownSnapshot(
        scope=scope_of(target),
        model=model,
        key=key.masked if key else None,
        reason=cooldown.kind,
        basis=cooldown.basis.value,
        since=clock.utc(cooldown.since),
        trial_at=clock.utc(cooldown.trial_at),
        until=clock.utc(cooldown.until),
        failures=cooldown.failures,
    )
