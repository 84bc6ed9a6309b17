"""The events of workers: what an observer receives when their state changes, whichever call or check is the cause.

`at` does not take part in comparisons.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

import attrs

from ..failures import Failure, FailureKind
from .call_events import utc_now

WorkerStatus = Literal["available", "unavailable", "quota_exceeded", "rate_limited"]
"""Whether a worker may be asked, and if not, why: quota_exceeded is for its API keys or its credit."""
BreakerName = Literal["closed", "open", "half_open"]
"""The state of a circuit breaker."""
CooldownScope = Literal["worker", "model", "key", "key_model"]
"""What is cooling down: a worker, one model of it, one API key, or one API key for one model."""
CooldownBasis = Literal["declared", "refused", "suspected"]
"""What a cooldown is based on. "declared": the server named the time; "refused": a response rejected the request;
"suspected": a guess."""


@attrs.frozen
class WorkerAdded:
    """A worker was added while the gateway was open. The workers it was opened with are not reported."""

    worker: str
    """The name of the worker."""
    provider: str
    """The name of its provider."""
    at: datetime = attrs.field(factory=utc_now, kw_only=True, eq=False)
    """When it happened, in UTC."""


@attrs.frozen
class WorkerRemoved:
    """A worker was removed: its requests have ended, or the time for them was over."""

    worker: str
    """The name of the worker."""
    provider: str
    """The name of its provider."""
    at: datetime = attrs.field(factory=utc_now, kw_only=True, eq=False)
    """When it happened, in UTC."""


@attrs.frozen
class WorkerStatusChanged:
    """The status of a worker, as in `health_status()`, has changed. Also when it changes by time alone."""

    worker: str
    """The name of the worker."""
    old: WorkerStatus
    """The status before."""
    new: WorkerStatus
    """The status now."""
    reason: FailureKind | None
    """Why it is not available. None when it is, or when it is being removed."""
    at: datetime = attrs.field(factory=utc_now, kw_only=True, eq=False)
    """When it happened, in UTC."""


@attrs.frozen
class CooldownStarted:
    """A cooldown has begun, or was changed: it is longer now, or has another reason."""

    worker: str
    """The name of the worker."""
    scope: CooldownScope
    """What is cooling down."""
    model: str | None
    """The model. None for the scopes "worker" and "key"."""
    key: str | None
    """The API key, masked. None for the scopes "worker" and "model"."""
    reason: FailureKind
    """The kind of failure after which it began."""
    basis: CooldownBasis
    """What it is based on."""
    until: datetime
    """When it ends, in UTC."""
    at: datetime = attrs.field(factory=utc_now, kw_only=True, eq=False)
    """When it happened, in UTC."""


@attrs.frozen
class CooldownEnded:
    """A cooldown has ended: its time is over, a request or a health check succeeded, or the program ended it."""

    worker: str
    """The name of the worker."""
    scope: CooldownScope
    """What was cooling down."""
    model: str | None
    """The model. None for the scopes "worker" and "key"."""
    key: str | None
    """The API key, masked. None for the scopes "worker" and "model"."""
    reason: FailureKind
    """The kind of failure after which it began."""
    at: datetime = attrs.field(factory=utc_now, kw_only=True, eq=False)
    """When it happened, in UTC."""


@attrs.frozen
class BreakerChanged:
    """The circuit breaker of a worker has changed its state. Also when it changes by time alone."""

    worker: str
    """The name of the worker."""
    old: BreakerName
    """The state before."""
    new: BreakerName
    """The state now."""
    until: datetime | None
    """When an open breaker becomes half-open, in UTC. None when it is not open."""
    at: datetime = attrs.field(factory=utc_now, kw_only=True, eq=False)
    """When it happened, in UTC."""


@attrs.frozen
class HealthChecked:
    """A health check of a worker has ended."""

    worker: str
    """The name of the worker."""
    failure: Failure | None
    """Why it failed. None: it passed, or the worker was configured anew meanwhile."""
    seconds: float
    """How long it took."""
    at: datetime = attrs.field(factory=utc_now, kw_only=True, eq=False)
    """When it happened, in UTC."""


@attrs.frozen
class Reloaded:
    """A reload has ended: the gateway has the new configuration."""

    added: Sequence[str]
    """The names of the workers that were added."""
    changed: Sequence[str]
    """The names of the workers that were configured anew."""
    removed: Sequence[str]
    """The names of the workers that were removed."""
    at: datetime = attrs.field(factory=utc_now, kw_only=True, eq=False)
    """When it happened, in UTC."""
