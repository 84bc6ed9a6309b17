"""The state of each worker and of the gateway, as values for users. Made on request from state that is only read."""

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

STATUSES: tuple[WorkerStatus, ...] = get_args(WorkerStatus)


@attrs.frozen
class WorkerInfo:
    """One worker at one moment.

    A worker that is cooling down because of a guess (a 429 that names no time, a failed health check) is not available,
    but it is asked if no other worker is left.
    """

    name: str
    """The name of the worker."""
    provider: str
    """The name of its provider."""
    models: Sequence[str]
    """At least one; the first is the default."""
    priority: int
    """The lowest number is asked first."""
    status: WorkerStatus
    """`unavailable`: it does not respond, or not in a usable form. `quota_exceeded`: the provider rejects its API keys
    or its account. `rate_limited`: its API keys have sent too many requests."""
    reason: FailureKind | None
    """The failure that led to the status; None if the worker is available, or if no failure did."""
    in_flight: int
    """Requests in flight."""
    requests: int
    """Requests that were sent."""
    failures: int
    """Requests that failed, without those that were cancelled or failed for a reason on this machine."""
    restarts: int
    """How often the actor of the worker was restarted after a crash."""
    keys: Sequence[str]
    """The API keys, masked."""
    since: datetime
    """When the status last changed, as far as it was published."""
    reopens_in: float | None = None
    """Seconds until the status may change by itself; None if no time is known."""
    latency: float | None = None
    """Moving average of the time to first token, in seconds; None before the first one."""
    limits: Mapping[str, Bucket] = attrs.field(factory=dict)
    """Rate limits by name, from the headers of the last response."""


@attrs.frozen
class HealthStatus:
    """The gateway at one moment."""

    total_workers: int
    """How many workers there are."""
    available_workers: int
    """How many of them are available."""
    workers_by_status: Mapping[str, int]
    """How many workers have each status; every status is there."""
    workers_by_provider: Mapping[str, Mapping[str, int]]
    """Counts by provider, such as `{"openai": {"total": 3, "available": 2}}`."""
    system_health: Literal["healthy", "degraded", "unhealthy"]
    """`healthy`: all workers are available; `degraded`: some are; `unhealthy`: none is."""
    last_health_check: datetime | None
    """When the last round of health checks ended; None if there was none."""
    workers: Mapping[str, WorkerInfo]
    """By name."""


def status_of(state: WorkerState, now: float) -> tuple[WorkerStatus, FailureKind | None, float]:
    """Compute the status of a worker.

    Args:
        state: of the worker.
        now: Trio time.

    Returns:
        WorkerStatus, reason, and the Trio time at which the status may change by itself; infinity if it does not.
    """
    model = state.models[0]
    cooldown = state.cooldown(model, now)
    if cooldown is None:
        cooldown = _first_of_keys_to_end(state, model, now)
    if cooldown is not None:
        return _STATUS_OF.get(cooldown.kind, "unavailable"), cooldown.kind, cooldown.until
    refusal = state.refusal(model, now)
    is_busy = refusal is not None and refusal.until_request_ends and refusal.kind is None
    if refusal is not None and not is_busy:  # a busy worker is available
        return "unavailable", refusal.kind, refusal.until
    return "available", None, math.inf


def _first_of_keys_to_end(state: WorkerState, model: str, now: float) -> Cooldown | None:
    """Return None if an API key can be used. A trial does not count: it changes no status by itself."""
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
"""All other kinds: unavailable."""


def worker_info(state: WorkerState, ring: KeyRing, now: float) -> WorkerInfo:
    """Return the state of a worker as a value for users.

    Args:
        state: of the worker.
        ring: the API keys of all workers.
        now: Trio time.
    """
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
    """Return the state of the gateway as a value for users. Sends nothing.

    Args:
        states: all workers.
        ring: their API keys.
        checked: when the last round of health checks ended; None if there was none.
        now: Trio time.
    """
    return health_of([worker_info(state, ring, now) for state in states], checked)


def health_of(infos: Iterable[WorkerInfo], checked: datetime | None) -> HealthStatus:
    """Return the state of a gateway with these workers.

    Args:
        infos: all workers.
        checked: when the last round of health checks ended; None if there was none.
    """
    workers = {info.name: info for info in infos}
    by_status: dict[str, int] = dict.fromkeys(STATUSES, 0)
    by_provider: dict[str, dict[str, int]] = {}
    for info in workers.values():
        by_status[info.status] += 1
        counts = by_provider.setdefault(info.provider, {"total": 0, "available": 0})
        counts["total"] += 1
        counts["available"] += info.status == "available"
    available = by_status["available"]
    partly: Literal["healthy", "degraded"] = "healthy" if available == len(workers) else "degraded"
    return HealthStatus(
        total_workers=len(workers),
        available_workers=available,
        workers_by_status=by_status,
        workers_by_provider=by_provider,
        system_health=partly if available else "unhealthy",
        last_health_check=checked,
        workers=workers,
    )
