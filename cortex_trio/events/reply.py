"""The result of a call: the complete answer, and a record of each attempt."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from ..failures import Failure
from ..messages import Message, ToolCall
from .stream import CitationDelta, FinishReason, Usage


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
