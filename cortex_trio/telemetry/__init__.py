"""Events for observers, and snapshots: what can be seen of a running gateway.

events         the catalogue of events
observer       calls the observer of the user
snapshot       the gateway at one moment, as plain values
snapshot_json  snapshots as JSON text
activity       counts and recent attempts, which snapshots show
socket_path    where the sockets with snapshots are
socket_server  serves snapshots on a Unix socket
socket_client  reads the snapshots of another program
page           serves a live page, fed by snapshots; knows of the gateway only that it has `snapshot()`
"""

from .activity import Activity, Waiting
from .events import (
    AnswerInterrupted,
    CallWaiting,
    Event,
    Observer,
    WorkerAdded,
    WorkerRemoved,
    WorkerStatus,
    WorkerStatusChanged,
)
from .observer import Telemetry
from .snapshot import (
    ActorSnapshot,
    BreakerSnapshot,
    ConnectionsSnapshot,
    CooldownSnapshot,
    FailureSnapshot,
    KeySnapshot,
    RecentAttempt,
    Snapshot,
    Totals,
    WaitingCall,
    WorkerSnapshot,
)
from .snapshot_json import from_json, to_json

__all__ = [
    "Activity",
    "ActorSnapshot",
    "AnswerInterrupted",
    "BreakerSnapshot",
    "CallWaiting",
    "ConnectionsSnapshot",
    "CooldownSnapshot",
    "Event",
    "FailureSnapshot",
    "KeySnapshot",
    "Observer",
    "RecentAttempt",
    "Snapshot",
    "Telemetry",
    "Totals",
    "Waiting",
    "WaitingCall",
    "WorkerAdded",
    "WorkerRemoved",
    "WorkerSnapshot",
    "WorkerStatus",
    "WorkerStatusChanged",
    "from_json",
    "to_json",
]
