"""What `run_tools` reports to its `on_event`: values with the calls and results themselves, for the caller's own use.

The events of the gateway are others: they are for observers, and hold no content.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from ..events import Reply
from ..messages import ToolCall, ToolResult


@attrs.frozen
class RoundStarted:
    """The model is asked."""

    round: int
    """The number of the round, from 1."""


@attrs.frozen
class ToolStarted:
    """A tool call is about to run."""

    round: int
    """The number of the round."""

    tool_call: ToolCall
    """The call."""


@attrs.frozen
class ToolEnded:
    """A tool call has its result. A call that was cancelled, or that ended everything with `ToolAbort`, has none."""

    round: int
    """The number of the round."""

    tool_call: ToolCall
    """The call."""

    result: ToolResult
    """What is sent to the model; `is_error` is True if the tool failed or was not run."""

    seconds: float
    """Seconds that the call took."""


@attrs.frozen
class RoundEnded:
    """The model has answered, and the tools that it called have run."""

    round: int
    """The number of the round."""

    reply: Reply
    """The answer of this round."""

    results: Sequence[ToolResult] = ()
    """The results of its tool calls, in order. Empty: it has none, or they were not run."""


ToolLoopEvent = RoundStarted | ToolStarted | ToolEnded | RoundEnded
"""All of them."""
