"""The catalogue of events: what an observer (`on_event`) is called with.

    WorkerAdded, WorkerRemoved       the workers change
    WorkerStatusChanged              a worker becomes available or unavailable
    CallWaiting                      no worker may be asked now, so a call waits
    AnswerInterrupted                a stream broke after content was delivered
    Attempt                          an attempt has ended: served, failed or cancelled (`cortex_trio.events`)
    Report                           the supervision tree: starts, exits, restarts (`cortex_trio.otp`)

Events are frozen values. They hold names, kinds, times and counts, and scrubbed error messages; never prompts, answers
or API keys (keys are masked).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import attrs

from ..events import Attempt
from ..failures import Failure, FailureKind
from ..otp import Report

WorkerStatus = Literal["available", "unavailable", "quota_exceeded", "rate_limited"]
"""Whether a worker may be asked, and if not, why: quota_exceeded is for its API keys or its credit."""


@attrs.frozen
class WorkerAdded:
    """A worker was added while the gateway was open. The workers it was opened with are not reported."""

    worker: str
    """The name of the worker."""
    provider: str
    """The name of its provider."""


@attrs.frozen
class WorkerRemoved:
    """A worker was removed: its requests have ended, or the time for them was over."""

    worker: str
    """The name of the worker."""
    provider: str
    """The name of its provider."""


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


@attrs.frozen
class CallWaiting:
    """A call waits because no worker may be asked now. It may wait several times."""

    worker: str
    """The worker that is expected to be available first."""
    reason: FailureKind | None
    """The kind of failure after which it is cooling down. None: it is busy."""
    seconds: float
    """How long the call waits at most."""


@attrs.frozen
class AnswerInterrupted:
    """A stream broke after content was delivered."""

    worker: str
    """The name of the worker that was answering."""
    failure: Failure
    """Why the stream broke."""
    how: str
    """The `on_interrupt` of the call, which decides what follows: "raise", "restart", "continue" or "buffer"."""


Event = WorkerAdded | WorkerRemoved | WorkerStatusChanged | CallWaiting | AnswerInterrupted | Attempt | Report
"""Every event. More may be added: a `match` over it needs a case for the others."""
Observer = Callable[[Event], None]
"""Is called in the task where the event happens, so it must be fast and must not wait."""
