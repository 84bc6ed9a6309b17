"""What happened, as values: the catalogue of what `on_event` may be given.

They hold names, kinds and numbers, never prompts, answers or keys. Beside these an observer gets
`cortex_trio.events.Attempt` (one try is over) and `cortex_trio.otp.Report` (the tree did something).
"""

from __future__ import annotations

from typing import Literal

import attrs

from ..failures import Failure, FailureKind

WorkerStatus = Literal["available", "unavailable", "quota_exceeded", "rate_limited"]
"""Whether a worker may be asked, and if not, why: quota_exceeded is for its API keys or its credit."""


@attrs.frozen
class WorkerAdded:
    worker: str
    provider: str


@attrs.frozen
class WorkerRemoved:
    worker: str
    provider: str


@attrs.frozen
class WorkerStatusChanged:
    """A worker's status as in `health_status()`; `reason` is None when it is available."""

    worker: str
    old: WorkerStatus
    new: WorkerStatus
    reason: FailureKind | None


@attrs.frozen
class CallWaiting:
    """A call waits because no worker may be asked: for `worker`, the first that can be, for at most `seconds`.

    `reason` is the kind of failure after which it is cooling down; None when it is busy.
    """

    worker: str
    reason: FailureKind | None
    seconds: float


@attrs.frozen
class AnswerInterrupted:
    """A stream broke after something was delivered; `how` is the on_interrupt that decided what follows."""

    worker: str
    failure: Failure
    how: str
