"""The status of each worker and of the gateway, as values: made on request, from state that is only read."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Literal, get_args

import attrs

from ...failures import FailureKind
from ...failures.limits import Bucket, rate_limits
from ...telemetry import WorkerStatus
from .cooldowns import Cooldown
from .keys import KeyRing
from .worker import WorkerState

STATUSES: Sequence[WorkerStatus] = get_args(WorkerStatus)


@attrs.frozen
class WorkerInfo:
    """One worker. `reason` is None when it is available; `reopens_in` is in seconds, None if it is not known.

    A worker that is cooling down on a guess (a 429 that named no time, a failed health check) is not available, but
    it is asked all the same when no other is left. `requests` are those that were sent.
    """

    name: str
    provider: str
    models: Sequence[str]
    priority: int
    status: WorkerStatus
    reason: FailureKind | None
    in_flight: int
    requests: int
    failures: int
    restarts: int
    keys: Sequence[str]  # masked
    since: datetime
    reopens_in: float | None = None
    latency: float | None = None  # moving average of the time to first token, seconds
    limits: Mapping[str, Bucket] = attrs.field(factory=dict)  # by name, from the headers of its last answer


@attrs.frozen
class HealthStatus:
    """The whole gateway. `healthy`: all workers are available; `degraded`: some; `unhealthy`: none."""

    total_workers: int
    available_workers: int
    workers_by_status: Mapping[str, int]
    workers_by_provider: Mapping[str, Mapping[str, int]]  # {"openai": {"total": 3, "available": 2}}
    system_health: Literal["healthy", "degraded", "unhealthy"]
    last_health_check: datetime | None
    workers: Mapping[str, WorkerInfo]


def status_of(state: WorkerState, now: float) -> tuple[WorkerStatus, FailureKind | None, float]:
    """Return status, reason and the Trio time at which it may change by itself (infinity: not by itself)."""
    model = state.models[0]
    cooldown = state.cooldown(model, now)
    if cooldown is None:
        cooldown = _first_of_keys_to_end(state, model, now)
    if cooldown is not None:
        return _STATUS_OF.get(cooldown.kind, "unavailable"), cooldown.kind, cooldown.until
    refusal = state.refusal(model, now)
    if refusal is not None and not (refusal.has_place_later and refusal.kind is None):  # a busy one is well
        return "unavailable", refusal.kind, refusal.until
    return "available", None, math.inf


def _first_of_keys_to_end(state: WorkerState, model: str, now: float) -> Cooldown | None:
    """None if a key is free. A trial does not count: it changes no status by itself."""
    name, keys, cooldowns = state.name, state.endpoint.keys, state.cooldowns
    if cooldowns.of_keys(name, model, keys, now) is None:
        return None
    found = filter(None, (cooldowns.of_key(name, model, key, now) for key in keys))
    return min(found, key=lambda cooldown: cooldown.until)


_STATUS_OF: Mapping[FailureKind, WorkerStatus] = {
    FailureKind.CREDENTIAL: "quota_exceeded",
    FailureKind.PERMISSION: "quota_exceeded",
    FailureKind.QUOTA: "quota_exceeded",
    FailureKind.RATE_LIMIT: "rate_limited",
}
"""All others: unavailable."""


def worker_info(state: WorkerState, ring: KeyRing, now: float) -> WorkerInfo:
    status, reason, until = status_of(state, now)
    return WorkerInfo(
        name=state.name,
        provider=state.kind.name,
        models=tuple(state.models),
        priority=state.priority,
        status=status,
        reason=reason,
        in_flight=state.in_flight,
        requests=state.requests,
        failures=state.failures,
        restarts=state.restarts,
        keys=tuple(known.key.masked for known in ring.states(state.name) if known.key),
        since=state.since,
        reopens_in=max(0.0, until - now) if math.isfinite(until) else None,
        latency=state.latency,
        limits=rate_limits(state.headers),
    )


def health_status(
    states: Iterable[WorkerState], ring: KeyRing, checked: datetime | None, now: float
) -> HealthStatus:
    """Return the status of the gateway. Sends nothing.

    Args:
        states: all workers.
        ring: their API keys.
        checked: when the last round of health checks ended; None if there was none.
        now: Trio time.
    """
    workers = {state.name: worker_info(state, ring, now) for state in states}
    by_status: dict[str, int] = dict.fromkeys(STATUSES, 0)
    by_provider: dict[str, dict[str, int]] = {}
    for info in workers.values():
        by_status[info.status] += 1
        counts = by_provider.setdefault(info.provider, {"total": 0, "available": 0})
        counts["total"] += 1
        counts["available"] += info.status == "available"
    available = by_status["available"]
    some: Literal["healthy", "degraded"] = "healthy" if available == len(workers) else "degraded"
    return HealthStatus(
        total_workers=len(workers),
        available_workers=available,
        workers_by_status=by_status,
        workers_by_provider=by_provider,
        system_health=some if available else "unhealthy",
        last_health_check=checked,
        workers=workers,
    )
