"""The result of a call: the complete answer, and a record of each attempt."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal

import attrs

from ..failures import Failure, FailureKind
from ..messages import Message, ToolCall
from .stream import CitationDelta, FinishReason, Usage

AttemptOutcome = Literal["served", "failed", "cancelled", "lost_hedge"]
"""How an attempt ended. "cancelled": the caller left; "lost_hedge": another attempt of the call answered first."""


def _now() -> datetime:
    return datetime.now(UTC)


@attrs.frozen
class Attempt:
    """One attempt: one request to one worker with one API key. Recorded when the attempt is over."""

    number: int
    """The number of the attempt within its call, from 1."""

    worker: str
    """The name of the worker."""

    provider: str
    """The name of the worker's provider."""

    model: str
    """The model that was requested."""

    key: str | None
    """The API key, masked. None: the worker has no API keys, or none was leased."""

    failure: Failure | None
    """Why the attempt failed. None: it served."""

    duration: float
    """Seconds from the start of the attempt to its end."""

    time_to_first_token: float | None
    """Seconds from the start of the attempt to its commit point. None: it failed before."""

    usage: Usage | None
    """The token counts. None: the provider reported none."""

    cost: float | None = attrs.field(default=None, kw_only=True)
    """US dollars of the reported tokens, also if the attempt failed. None: the price or the tokens are not known."""

    call: str | None = attrs.field(default=None, kw_only=True, eq=False)
    """The id of the call, as in `Reply.call`. None: it was not made by a gateway."""

    status: int | None = attrs.field(default=None, kw_only=True)
    """The HTTP status of the response. None: there was none."""

    request_id: str | None = attrs.field(default=None, kw_only=True)
    """The provider's id of the request, from a response header; at most 200 characters. None: it gave none."""

    response_id: str | None = attrs.field(default=None, kw_only=True)
    """The id of the answer. None: it is not known."""

    response_model: str | None = attrs.field(default=None, kw_only=True)
    """The model that answered, as the provider names it. None: it is not known."""

    finish_reason: FinishReason | None = attrs.field(default=None, kw_only=True)
    """Why the model stopped. None: the answer is not complete."""

    chunks: int = attrs.field(default=0, kw_only=True)
    """How many events with content arrived."""

    reused: bool = attrs.field(default=False, kw_only=True)
    """True if the request went over a connection that had carried one before."""

    lost_hedge: bool = attrs.field(default=False, kw_only=True)
    """True if it was cancelled because another attempt of the call answered first."""

    started: datetime = attrs.field(factory=_now, kw_only=True, eq=False)
    """When it started, in UTC."""

    at: datetime = attrs.field(factory=_now, kw_only=True, eq=False)
    """When it ended, in UTC."""

    @property
    def outcome(self) -> AttemptOutcome:
        """How it ended."""
        if self.failure is None:
            return "served"
        if self.failure.kind is not FailureKind.CANCELLED:
            return "failed"
        return "lost_hedge" if self.lost_hedge else "cancelled"


@attrs.frozen
class Reply:
    """A complete answer, or in `StreamInterrupted.partial` what was delivered of one."""

    message: Message
    """The answer as a message, ready to be sent back in the history of a conversation."""

    text: str
    """The text of the answer; empty if it has none."""

    reasoning: str
    """The model's reasoning, or its summary; empty if the provider sent none."""

    tool_calls: Sequence[ToolCall]
    """The tool calls that the model requests, in order."""

    usage: Usage
    """The token counts of the attempt that served."""

    finish_reason: FinishReason
    """Why the model stopped."""

    worker: str
    """The name of the worker that served."""

    provider: str
    """The name of that worker's provider."""

    model: str
    """The model that was requested from it."""

    attempts: Sequence[Attempt]
    """All attempts of the call, in the order in which they began."""

    citations: Sequence[CitationDelta] = ()
    """The sources of the answer, as far as the provider reported them."""

    cost: float | None = attrs.field(default=None, kw_only=True)
    """US dollars of all attempts of the call, as far as providers reported tokens. None: the price of one of them is
    not known."""

    call: str | None = attrs.field(default=None, kw_only=True, eq=False)
    """The id of the call, which its events have as well. None: it was not made by a gateway."""
