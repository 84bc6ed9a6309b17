"""Facts about what happened, for whoever wants to know."""

from .events import AnswerInterrupted, WorkerAdded, WorkerRemoved, WorkerStatusChanged
from .observer import Telemetry

__all__ = ["AnswerInterrupted", "Telemetry", "WorkerAdded", "WorkerRemoved", "WorkerStatusChanged"]
