"""What happened, as values: the catalogue of what `on_event` may be given.

They hold names, kinds and numbers, never prompts, answers or keys. Beside these an observer gets
`cortex_trio.events.Attempt` (one try is over) and `cortex_trio.otp.Report` (the tree did something).
"""

from __future__ import annotations

import attrs

from ..failures import Failure, FailureKind


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
    old: str
    new: str
    reason: FailureKind | None


@attrs.frozen
class AnswerInterrupted:
    """A stream broke after something was delivered; `how` is the on_interrupt that decided what follows."""

    worker: str
    failure: Failure
    how: str
