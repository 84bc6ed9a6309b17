"""Facts about what happened, for whoever wants to know."""

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
