"""The events of calls: what an observer receives from the start of a call to its end.

    CallStarted
    ├── CallWaiting           no worker may be asked now
    ├── AttemptStarted        one request to one worker
    │   ├── FirstToken        its first content has arrived
    │   └── Attempt           it has ended: served, failed, cancelled, or another one answered first
    ├── AnswerInterrupted     the stream broke after content was delivered
    └── CallEnded

All events of one call have the same `call`, which the reply, the stream and the errors of the call have as well.
Hedged attempts overlap. `at` and `call` do not take part in comparisons.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal

import attrs

from ..events import Attempt, FinishReason, Usage
from ..failures import Failure, FailureKind

Operation = Literal["chat", "complete", "embed"]
"""The method of Cortex that was called."""
CallOutcome = Literal["served", "failed", "cancelled"]
"""How a call ended. "cancelled": the caller left before the end of the answer, or was cancelled."""
OptionValue = str | float | Sequence[str]
"""The value of an option in `CallStarted.options`."""


def utc_now() -> datetime:
    """Return the time of an event."""
    return datetime.now(UTC)


@attrs.frozen
class CallStarted:
    """A call of `chat`, `complete` or `embed` has begun. A CallEnded with the same `call` always follows."""

    call: str = attrs.field(eq=False)
    """The id of the call: unique in this gateway, and unlikely to be used by another one."""
    operation: Operation
    """The method that was called."""
    model: str | None
    """The model that the caller named. None: none."""
    provider: str | None
    """The provider that the caller named. None: none."""
    worker: str | None
    """The worker that the caller named. None: none."""
    streamed: bool
    """True if the caller reads the answer while it arrives."""
    options: Mapping[str, OptionValue]
    """The options that the caller set, by name: numbers and names as they are, stop sequences as they are, and how
    many there are of everything else, such as tools, documents, or fields of a schema."""
    tags: Mapping[str, str]
    """The option `tags` of the call. Empty: it was not set."""
    at: datetime = attrs.field(factory=utc_now, kw_only=True, eq=False)
    """When it happened, in UTC."""


@attrs.frozen
class CallWaiting:
    """A call waits because no worker may be asked now. It may wait several times."""

    worker: str
    """The worker that is expected to be available first."""
    reason: FailureKind | None
    """The kind of failure after which it is cooling down. None: it is busy."""
    seconds: float
    """How long the call waits at most: until `at` plus these seconds."""
    call: str | None = attrs.field(default=None, kw_only=True, eq=False)
    """The id of the call."""
    at: datetime = attrs.field(factory=utc_now, kw_only=True, eq=False)
    """When it began to wait, in UTC."""


@attrs.frozen
class AttemptStarted:
    """A request is about to be sent. An Attempt with the same `call` and `number` follows."""

    call: str = attrs.field(eq=False)
    """The id of the call."""
    number: int
    """The number of the attempt within its call, from 1."""
    worker: str
    """The name of the worker."""
    provider: str
    """The name of the worker's provider."""
    model: str
    """The model that is requested."""
    server_address: str
    """The host of the worker's address: a name, or an IP address without brackets."""
    server_port: int
    """The port of the worker's address."""
    key: str | None
    """The API key, masked. None: the worker needs none."""
    at: datetime = attrs.field(factory=utc_now, kw_only=True, eq=False)
    """When it happened, in UTC."""


@attrs.frozen
class FirstToken:
    """The first content of an attempt has arrived."""

    call: str = attrs.field(eq=False)
    """The id of the call."""
    number: int
    """The number of the attempt within its call."""
    worker: str
    """The name of the worker."""
    seconds: float
    """Seconds from the start of the attempt."""
    at: datetime = attrs.field(factory=utc_now, kw_only=True, eq=False)
    """When it happened, in UTC."""


@attrs.frozen
class AnswerInterrupted:
    """A stream broke after content was delivered."""

    worker: str
    """The name of the worker that was answering."""
    failure: Failure
    """Why the stream broke."""
    how: str
    """The `on_interrupt` of the call, which decides what follows: "raise", "restart", "continue" or "buffer"."""
    call: str | None = attrs.field(default=None, kw_only=True, eq=False)
    """The id of the call."""
    at: datetime = attrs.field(factory=utc_now, kw_only=True, eq=False)
    """When it happened, in UTC."""


@attrs.frozen(kw_only=True)
class CallEnded:
    """A call has ended. All its attempts have ended before."""

    call: str = attrs.field(eq=False)
    """The id of the call."""
    operation: Operation
    """The method that was called."""
    outcome: CallOutcome
    """How it ended."""
    worker: str | None
    """The worker of the last attempt; the one that served, if one did. None: there was no attempt."""
    provider: str | None
    """The provider of that worker. None: there was no attempt."""
    model: str | None
    """The model that was requested from it. None: there was no attempt."""
    attempts: Sequence[Attempt]
    """Its attempts, in the order in which they began. Of an endless number the first ones."""
    failure: FailureKind | None
    """The kind of failure that says most about the cause. None: the call did not fail, or sent nothing."""
    error: str | None
    """The name of the class of the exception that the caller receives, such as "AllWorkersFailed". None: there is none,
    or it is not ours."""
    finish_reason: FinishReason | None
    """Why the model stopped. None: the answer is not complete, or the call is for embeddings."""
    interruption: FailureKind | None
    """Why the answer broke off after something was delivered; the last time, if it did several times. None: never."""
    resumed: Literal["restart", "continue"] | None
    """How the answer went on after that. None: it did not, or was not interrupted."""
    usage: Usage | None
    """The token counts of all attempts in total. None: no provider reported any."""
    cost: float | None = None
    """US dollars of all attempts, as far as providers reported tokens. None: the price of one of them is not known."""
    seconds: float
    """Seconds from the start of the call to its end; for a stream the time that the caller took to read is included."""
    time_to_first_token: float | None
    """Seconds from the start of the call to the first content. None: there was none."""
    overhead: float
    """Seconds that the gateway itself spent before content arrived: choosing workers, encoding, leasing API keys.
    Attempts, pauses before retries, and waiting for a worker do not count."""
    tags: Mapping[str, str]
    """The option `tags` of the call. Empty: it was not set."""
    at: datetime = attrs.field(factory=utc_now, eq=False)
    """When it happened, in UTC."""
