"""Events for observers, log lines for operators, and snapshots: what can be seen of a running gateway.

events         the catalogue of events
call_events    the events of calls
worker_events  the events of workers
cluster_events the event of the link to a shared store
observer       calls the observers of the user
logs           what is logged about workers, and an observer that logs every event
snapshot       the gateway at one moment, as plain values
snapshot_json  snapshots as JSON text
activity       counts and recent attempts, which snapshots show
measures       what both kinds of metrics compute from events
otel           spans and metrics of OpenTelemetry; needs the extra `otel`
prometheus     metrics for Prometheus; needs the extra `prometheus`
socket_path    where the sockets with snapshots are
socket_server  serves snapshots on a Unix socket
socket_client  reads the snapshots of another program
page           serves a live page, fed by snapshots; knows of the gateway only that it has `snapshot()`
"""

from .activity import Activity, Waiting
from .call_events import (
    AnswerInterrupted,
    AttemptStarted,
    CallEnded,
    CallOutcome,
    CallStarted,
    CallWaiting,
    FirstToken,
    Operation,
    OptionValue,
)
from .cluster_events import StoreLinkChanged
from .events import Event, Observer
from .logs import EventLog, log_events
from .observer import Telemetry
from .snapshot import (
    ActorSnapshot,
    BreakerSnapshot,
    ConnectionsSnapshot,
    CooldownSnapshot,
    FailureSnapshot,
    KeySnapshot,
    LinkSnapshot,
    RecentAttempt,
    Snapshot,
    Totals,
    WaitingCall,
    WorkerSnapshot,
)
from .snapshot_json import from_json, to_json
from .worker_events import (
    BreakerChanged,
    BreakerName,
    CooldownBasis,
    CooldownEnded,
    CooldownScope,
    CooldownStarted,
    HealthChecked,
    Reloaded,
    WorkerAdded,
    WorkerRemoved,
    WorkerStatus,
    WorkerStatusChanged,
)

__all__ = [
    "Activity",
    "ActorSnapshot",
    "AnswerInterrupted",
    "AttemptStarted",
    "BreakerChanged",
    "BreakerName",
    "BreakerSnapshot",
    "CallEnded",
    "CallOutcome",
    "CallStarted",
    "CallWaiting",
    "ConnectionsSnapshot",
    "CooldownBasis",
    "CooldownEnded",
    "CooldownScope",
    "CooldownSnapshot",
    "CooldownStarted",
    "Event",
    "EventLog",
    "FailureSnapshot",
    "FirstToken",
    "HealthChecked",
    "KeySnapshot",
    "LinkSnapshot",
    "Observer",
    "Operation",
    "OptionValue",
    "RecentAttempt",
    "Reloaded",
    "Snapshot",
    "StoreLinkChanged",
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
    "log_events",
    "to_json",
]
