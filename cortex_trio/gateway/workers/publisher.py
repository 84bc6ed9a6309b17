"""Publishes the state of workers: events for observers and log lines, for what has changed since the last look.

Called by each worker's actor after every change, and when time alone may have changed something. It compares, so the
code that changes a breaker or a cooldown reports nothing itself.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import final

import attrs

from ...telemetry import (
    BreakerChanged,
    CooldownEnded,
    CooldownScope,
    CooldownStarted,
    EventLog,
    Telemetry,
    WorkerStatusChanged,
)
from .breaker import BreakerState
from .cooldowns import Cooldown, Target
from .registry import WorkerTable
from .status import status_of
from .worker import WorkerState


@attrs.define
class _Published:
    """What observers know of one worker."""

    breaker: BreakerState = BreakerState.CLOSED
    cooldowns: dict[Target, Cooldown] = attrs.field(factory=dict)


@final
class Publisher:
    """What was published of each worker.

    Args:
        table: all workers.
        telemetry: the observers.
        event_log: the log lines.
    """

    def __init__(self, table: WorkerTable, telemetry: Telemetry, event_log: EventLog) -> None:
        self._table = table
        self._telemetry = telemetry
        self._event_log = event_log
        self._published: dict[str, _Published] = {}  # by worker; empty without observers

    def publish(self, state: WorkerState, now: float) -> float:
        """Publish what has changed in a worker.

        Args:
            state: of the worker. Its status is written here, on behalf of its actor.
            now: Trio time.

        Returns:
            The Trio time at which something may change without a request; infinity if nothing does.
        """
        status, reason, until = status_of(state, now)
        if status != state.status:
            old, state.status, state.since = state.status, status, datetime.now(UTC)
            if self._telemetry.observers:
                self._telemetry.emit(WorkerStatusChanged(state.name, old, status, reason))
        if not state.draining:  # the program removes it: no outage
            until = min(until, self._event_log.status(state.name, status, reason, now=now))
        until = min(until, self._event_log.workers(self._statuses, now=now))
        if self._telemetry.observers:
            published = self._published.setdefault(state.name, _Published())
            self._publish_breaker(state, published, now)
            until = min(until, self._publish_cooldowns(state, published, now))
        return until

    def forget(self, worker: str) -> None:
        """Forget a worker that was removed."""
        self._event_log.forget(worker)
        self._published.pop(worker, None)

    def _statuses(self) -> list[tuple[str, str]]:
        return [(state.name, state.status) for state in self._table.workers.values() if not state.draining]

    def _publish_breaker(self, state: WorkerState, published: _Published, now: float) -> None:
        old, new = published.breaker, state.breaker.state(now)
        if new is not old:
            published.breaker = new
            until = _utc(state.breaker.half_open_at, now) if new is BreakerState.OPEN else None
            self._telemetry.emit(BreakerChanged(state.name, old.value, new.value, until))

    def _publish_cooldowns(self, state: WorkerState, published: _Published, now: float) -> float:
        """Return the Trio time at which the first cooldown ends."""
        found = dict(state.cooldowns.entries(state.name, now))
        if not found and not published.cooldowns:
            return math.inf  # the usual case
        for target, known in published.cooldowns.items():
            if target not in found:
                scope, key = scope_of(target), target.key.masked if target.key else None
                self._telemetry.emit(CooldownEnded(state.name, scope, target.model, key, known.kind))
        for target, cooldown in found.items():
            known_one = published.cooldowns.get(target)
            if known_one is None or _facts(known_one) != _facts(cooldown):
                self._telemetry.emit(_started(state.name, target, cooldown, now))
        published.cooldowns = found
        return min((cooldown.until for cooldown in found.values()), default=math.inf)


def scope_of(target: Target) -> CooldownScope:
    """Return the name of what a cooldown is for."""
    match target:
        case None, None:
            return "worker"
        case _, None:
            return "model"
        case None, _:
            return "key"
        case _:
            return "key_model"


def _facts(cooldown: Cooldown) -> tuple[object, ...]:
    return cooldown.kind, cooldown.basis, cooldown.until


def _started(worker: str, target: Target, cooldown: Cooldown, now: float) -> CooldownStarted:
    return CooldownStarted(
        worker=worker,
        scope=scope_of(target),
        model=target.model,
        key=target.key.masked if target.key else None,
        reason=cooldown.kind,
        basis=cooldown.basis.value,
        until=_utc(cooldown.until, now),
    )


def _utc(when: float, now: float) -> datetime:
    """Trio time as UTC."""
    return datetime.now(UTC) + timedelta(seconds=when - now)
