"""A gateway at one moment, as plain values: what `cortex.snapshot()` returns.

For monitoring pages, command lines, metrics and tests. All values are frozen; none refers to anything of the running
gateway, so a snapshot may be kept, compared, pickled and sent. It holds names, counts, times and scrubbed error
messages, never prompts, answers or API keys; keys are masked. Points in time are aware UTC datetimes, durations are
seconds.

    Snapshot
    ├── tree        ActorSnapshot         and its children
    ├── workers     WorkerSnapshot        BreakerSnapshot, ConnectionsSnapshot, CooldownSnapshot, FailureSnapshot
    ├── keys        KeySnapshot           CooldownSnapshot
    ├── totals      Totals
    ├── attempts    RecentAttempt
    ├── waiting     WaitingCall
    └── cluster     LinkSnapshot          None without a store

This module knows nothing of the gateway, which makes the values in `gateway/snapshots.py`; `snapshot_json.py` turns
them into text and back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal

import attrs

from ..events import Attempt
from ..failures import FailureKind
from .worker_events import BreakerName, CooldownBasis, CooldownScope, WorkerStatus

ActorState = Literal["running", "restarting", "stopped"]


@attrs.frozen
class ActorSnapshot:
    """One actor of the supervision tree."""

    name: str
    """Its name within its supervisor."""
    type: str
    """The name of its class."""
    state: ActorState
    """"restarting": between a failed start and the next; "stopped": it has no process, and none is due."""
    restarts: int
    """How often its supervisor started it again. 0 for the root, which has no supervisor."""
    mailbox: int
    """Messages that wait for it."""
    children: Sequence[ActorSnapshot] = ()
    """In start order. Empty for an actor that is no supervisor."""


@attrs.frozen
class CooldownSnapshot:
    """A cooldown that has not ended."""

    scope: CooldownScope
    """What is cooling down: the worker, one model of it, one API key, or one API key for one model."""
    model: str | None
    """None for the scopes "worker" and "key"."""
    key: str | None
    """Masked. None for the scopes "worker" and "model"."""
    reason: FailureKind
    """The kind of failure after which it began."""
    basis: CooldownBasis
    """"declared": the server named the time; "refused": a response said no; "suspected": a guess."""
    since: datetime
    """When it began."""
    trial_at: datetime
    """From then on one request may try, if no other worker or key can serve. Between `since` and `until`."""
    until: datetime
    """When it ends."""
    failures: int
    """In a row, this one included."""


@attrs.frozen
class BreakerSnapshot:
    """A worker's circuit breaker."""

    state: BreakerName
    """"closed": requests are admitted; "open": none is; "half_open": one at a time, as a trial."""
    until: datetime | None
    """When an open breaker becomes half-open. None when it is not open."""
    calls: int
    """Results it remembers: of the last minute, at most a thousand."""
    failed: float
    """Sum of their weights: 1 for a failure, 0.5 for one that proves less, 0 for success."""


@attrs.frozen
class ConnectionsSnapshot:
    """The connections of a worker's transport."""

    in_use: int
    """Connections that carry a request."""
    idle: int
    """Connections that are kept open for the next request."""


@attrs.frozen
class FailureSnapshot:
    """A request that failed."""

    at: datetime
    """When it ended."""
    kind: FailureKind
    """Why it failed."""
    message: str
    """The message of the provider: scrubbed of keys, at most 200 characters."""
    status: int | None
    """The HTTP status. None if there was no response, or the failure was not in it."""


@attrs.frozen
class WorkerSnapshot:
    """One worker. The order in `Snapshot.workers` is the order in which they were added."""

    name: str
    """The name of the worker."""
    provider: str
    """The name of its provider."""
    models: Sequence[str]
    """The first is the default."""
    priority: int
    """The lowest number is asked first."""
    status: WorkerStatus
    """Whether requests may be sent to it, and if not, why."""
    reason: FailureKind | None
    """Why it is not available. None when it is, or when it is being removed."""
    since: datetime
    """When `status` was published for the first time."""
    until: datetime | None
    """When `status` may end by itself. None if time alone does not end it."""
    draining: bool
    """It is being removed: it takes no more requests, and those in flight may end."""
    breaker: BreakerSnapshot
    """Its circuit breaker."""
    cooldowns: Sequence[CooldownSnapshot]
    """Those of scope "worker" and "model"; those of single keys are in `Snapshot.keys`."""
    connections: ConnectionsSnapshot | None
    """None for a transport of the user's, which does not say."""
    in_flight: int
    """Requests that were admitted and have not ended."""
    limit: int | None
    """The most that may be in flight. None: no limit."""
    requests: int
    """Requests that were sent, since it was added."""
    failures: int
    """Of these, the ones that failed; cancelled requests and limits of our own do not count."""
    restarts: int
    """Of its actor."""
    latency: float | None
    """Moving average of the time to the first token, seconds. None before the first answer."""
    served_at: datetime | None
    """The end of its last successful request. None if there was none."""
    last_failures: Sequence[FailureSnapshot]
    """The oldest first; few are kept."""


@attrs.frozen
class KeySnapshot:
    """One API key of one worker."""

    worker: str
    """The name of the worker."""
    key: str | None
    """Masked. None: the worker needs no key, and this entry counts its requests."""
    leased: int
    """Requests that use it now."""
    uses: int
    """How often it was leased."""
    successes: int
    """Leases that ended with a success, or without a result."""
    rate_limited: int
    """Requests that were refused with a rate limit."""
    used_at: datetime | None
    """When it was leased last. None: never."""
    cooldowns: Sequence[CooldownSnapshot]
    """Those of scope "key" and "key_model"."""


@attrs.frozen
class Totals:
    """Sums since the gateway was opened, workers that were removed included."""

    calls: int
    """Calls that began: chats, and the requests of `embed`."""
    attempts: int
    """Attempts that ended. `served`, `failed` and `cancelled` add up to it."""
    served: int
    """Attempts that were answered."""
    failed: int
    """Attempts that failed."""
    cancelled: int
    """The caller left, or another attempt of the same call answered first."""
    input_tokens: int
    """Tokens of the requests, as far as providers reported them."""
    output_tokens: int
    """Tokens of the answers, as far as providers reported them."""
    cost: float | None = None
    """US dollars of the attempts whose price is known. None: there was none."""


@attrs.frozen
class RecentAttempt:
    """An attempt that ended lately."""

    ended_at: datetime
    """When it ended."""
    attempt: Attempt
    """Its record."""


@attrs.frozen
class WaitingCall:
    """A call that waits because no worker may be asked now."""

    worker: str
    """The worker that is expected to be available first."""
    reason: FailureKind | None
    """Why that worker cannot be asked. None: it is busy."""
    since: datetime
    """When it began to wait."""
    until: datetime
    """The call waits no longer than this."""


@attrs.frozen
class LinkSnapshot:
    """The link to the store that several processes share."""

    connected: bool
    """Whether what other processes find out arrives here, and the reverse."""
    since: datetime
    """When `connected` changed."""
    processes: int
    """How many processes use the store, this one included, as far as is known."""
    reason: str | None
    """Why it is not connected. None while it is, and before the first attempt has ended."""
    totals: Mapping[str, float] = attrs.field(factory=dict)
    """Sums over all processes that use the store, those that have ended included, a second old at most. They
    are the fields of `Totals`; for each worker `worker:NAME:requests` and `worker:NAME:failures`; for each API key
    `key:WORKER:HASH:uses`; for each virtual key of a server `virtual_key:NAME:requests`, `:tokens` and `:usd`. Empty
    before the first report."""


@attrs.frozen
class Snapshot:
    """A gateway at one moment."""

    version: str
    """Of cortex_trio."""
    at: datetime
    """When the snapshot was made."""
    opened_at: datetime
    """When the gateway was opened."""
    checked_at: datetime | None
    """When the last round of health checks ended. None: there was none."""
    tree: ActorSnapshot
    """The root of the supervision tree."""
    workers: Sequence[WorkerSnapshot]
    """All workers, in the order in which they were added."""
    keys: Sequence[KeySnapshot]
    """All API keys, worker by worker."""
    leases: int
    """API keys that attempts hold now, keys that a reload has removed included."""
    retired: int
    """Connection pools that a reload has replaced and that are not closed yet."""
    waiting: Sequence[WaitingCall]
    """In the order in which they began to wait."""
    attempts: Sequence[RecentAttempt]
    """The last ones, the oldest first."""
    totals: Totals
    """Sums since the gateway was opened."""
    cluster: LinkSnapshot | None = None
    """The link to the shared store. None: the gateway has no store."""

    def worker(self, name: str) -> WorkerSnapshot:
        """Return the worker called `name`. Raises KeyError."""
        for worker in self.workers:
            if worker.name == name:
                return worker
        raise KeyError(name)

    def keys_of(self, worker: str) -> Sequence[KeySnapshot]:
        """Return the API keys of `worker`. Empty for an unknown worker."""
        return tuple(key for key in self.keys if key.worker == worker)
