"""The output of a call: the events of a stream, token usage, and the reply they add up to. Knows no provider.

stream    the events of a stream, FinishReason, Usage
reply     Attempt and Reply, which hold the result of a call; Round, for calls of several rounds
builder   ReplyBuilder: builds a Reply from events, for streamed and other answers alike
"""

from .builder import ReplyBuilder
from .reply import Attempt, Reply, Round, TypedReply, added_usage, reply_of_rounds
from .stream import (
    CONTENT,
    CitationDelta,
    Continued,
    Finished,
    FinishReason,
    ReasoningDelta,
    ReasoningSeal,
    ResponseStarted,
    Restarted,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
    Usage,
    UsageUpdate,
    Vectors,
    WholePart,
    WireEvent,
)

__all__ = [
    "CONTENT",
    "Attempt",
    "CitationDelta",
    "Continued",
    "FinishReason",
    "Finished",
    "ReasoningDelta",
    "ReasoningSeal",
    "Reply",
    "ReplyBuilder",
    "ResponseStarted",
    "Restarted",
    "Round",
    "StreamEvent",
    "TextDelta",
    "ToolCallDelta",
    "TypedReply",
    "Usage",
    "UsageUpdate",
    "Vectors",
    "WholePart",
    "WireEvent",
    "added_usage",
    "reply_of_rounds",
]
