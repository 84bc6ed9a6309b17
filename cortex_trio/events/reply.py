"""The result of a call: the complete answer, and a record of each attempt."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Generic, Literal, TypeVar

import attrs

from ..failures import Failure, FailureKind
from ..messages import Message, ToolCall, ToolResult
from .stream import CitationDelta, FinishReason, TokenLogprob, Usage

T = TypeVar("T")

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
    """The text of the answer; empty if it has none. Commentary is left out, if the model wrote anything else."""

    reasoning: str
    """The model's reasoning, or its summary; empty if the provider sent none."""

    tool_calls: Sequence[ToolCall]
    """The tool calls that the model requests, in order."""

    usage: Usage
    """The token counts of the attempt that served; if there were several `rounds`, the sum of theirs."""

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

    logprobs: Sequence[TokenLogprob] = attrs.field(
        default=(), kw_only=True, repr=lambda tokens: f"<{len(tokens)} tokens>"
    )
    """The log probabilities of the answer's tokens, in order, if `extra_body` requested them. Empty: the provider sent
    none. They are not part of `message`, and never go back."""

    cost: float | None = attrs.field(default=None, kw_only=True)
    """US dollars of all attempts of the call, as far as providers reported tokens. None: the price of one of them is
    not known."""

    call: str | None = attrs.field(default=None, kw_only=True, eq=False)
    """The id of the call, which its events have as well. None: it was not made by a gateway."""

    rounds: Sequence[Round] = attrs.field(
        default=(), kw_only=True, repr=lambda rounds: f"<{len(rounds)} rounds>"
    )
    """The rounds of `run_tools` and `Conversation.ask`, or the two of a `response_type` that was asked for twice; the
    last one has this answer. Empty for an answer of one call. Then `usage` and `attempts` are those of all rounds."""


@attrs.frozen
class Round:
    """One round of several: an answer, and the results of the tool calls in it."""

    reply: Reply
    """The answer of the model, with the usage and the attempts of this round."""

    results: Sequence[ToolResult] = ()
    """The results of its tool calls, in the order of the calls. Empty: it has none, or they were not run."""

    @property
    def message(self) -> Message:
        """The answer as a message."""
        return self.reply.message

    @property
    def messages(self) -> tuple[Message, ...]:
        """What the round adds to the history: the answer, and the message with the results if there are any."""
        return (self.message, Message("tool", tuple(self.results))) if self.results else (self.message,)

    @property
    def text(self) -> str:
        """The text of the answer."""
        return self.reply.text

    @property
    def tool_calls(self) -> Sequence[ToolCall]:
        """The tool calls of the answer, in order."""
        return self.reply.tool_calls

    @property
    def usage(self) -> Usage:
        """The token counts of the round."""
        return self.reply.usage


@attrs.frozen
class TypedReply(Generic[T]):
    """An answer that has a type: what `Cortex.complete(…, response_type=…)` returns."""

    value: T
    """The answer, as a value of the type."""

    reply: Reply
    """The answer as the model gave it. If it was asked for twice, with the usage and attempts of both rounds."""


def reply_of_rounds(rounds: Sequence[Round]) -> Reply:
    """Return the last answer of several rounds, with the usage, the attempts and the cost of all of them.

    Args:
        rounds: At least one.
    """
    replies = [each.reply for each in rounds]
    return attrs.evolve(
        replies[-1],
        usage=sum((reply.usage for reply in replies), Usage()),
        cost=added_costs(reply.cost for reply in replies),
        attempts=tuple(attempt for reply in replies for attempt in reply.attempts),
        rounds=tuple(rounds),
    )


def added_costs(costs: Iterable[float | None]) -> float | None:
    """Return the sum of costs in US dollars; None if one of them is not known.

    Args:
        costs: The costs to add.
    """
    total = 0.0
    for cost in costs:
        if cost is None:
            return None
        total += cost
    return total
