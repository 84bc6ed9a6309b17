"""The catalogue of events: what an observer (`on_event`) is called with.

    CallStarted, CallEnded             a call of `chat`, `complete` or `embed`
    CallWaiting                        no worker may be asked now, so a call waits
    AttemptStarted, FirstToken         one request to one worker
    Attempt                            an attempt has ended (`cortex_trio.events`)
    AnswerInterrupted                  a stream broke after content was delivered
    WorkerAdded, WorkerRemoved         the workers change
    Reloaded                           a reload has ended
    WorkerStatusChanged                a worker becomes available or unavailable
    BreakerChanged                     the circuit breaker of a worker opens or closes
    CooldownStarted, CooldownEnded     a worker, a model or an API key is not used for some time
    HealthChecked                      a health check has ended
    StoreLinkChanged                   the link to a store that several processes share
    Report                             the supervision tree: starts, exits, restarts (`cortex_trio.otp`)

Events are frozen values. They hold names, kinds, times and counts, and scrubbed error messages; never prompts, answers
or API keys (keys are masked).
"""

from __future__ import annotations

from collections.abc import Callable

from ..events import Attempt
from ..otp import Report
from .call_events import (
    AnswerInterrupted,
    AttemptStarted,
    CallEnded,
    CallStarted,
    CallWaiting,
    FirstToken,
)
from .cluster_events import StoreLinkChanged
from .worker_events import (
    BreakerChanged,
    CooldownEnded,
    CooldownStarted,
    HealthChecked,
    Reloaded,
    WorkerAdded,
    WorkerRemoved,
    WorkerStatusChanged,
)

Event = (
    CallStarted
    | CallWaiting
    | AttemptStarted
    | FirstToken
    | Attempt
    | AnswerInterrupted
    | CallEnded
    | WorkerAdded
    | WorkerRemoved
    | WorkerStatusChanged
    | BreakerChanged
    | CooldownStarted
    | CooldownEnded
    | HealthChecked
    | Reloaded
    | StoreLinkChanged
    | Report
)
"""Every event. More may be added: a `match` over it needs a case for the others."""
Observer = Callable[[Event], None]
"""Is called in the task where the event happens, so it must be fast and must not wait."""
