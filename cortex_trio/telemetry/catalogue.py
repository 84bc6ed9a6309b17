"""The union of all events that an observer (`open_cortex(on_event=…)`) receives."""

from __future__ import annotations

from ..events import Attempt
from ..otp import Report
from .events import AnswerInterrupted, CallWaiting, WorkerAdded, WorkerRemoved, WorkerStatusChanged

Event = (
    Attempt
    | AnswerInterrupted
    | CallWaiting
    | WorkerAdded
    | WorkerRemoved
    | WorkerStatusChanged
    | Report
)  # fmt: skip
"""One event for an observer. `match` it by class; later versions may add classes."""
