"""Facts about what happened, for observers."""

from .events import AnswerInterrupted, CallWaiting, WorkerAdded, WorkerRemoved, WorkerStatusChanged
from .observer import Telemetry

__all__ = [
    "AnswerInterrupted",
    "CallWaiting",
    "Telemetry",
    "WorkerAdded",
    "WorkerRemoved",
    "WorkerStatusChanged",
]
