"""The output of a call: the events of a stream, token usage, and the reply they add up to. Knows no provider.

stream    the events of a stream, FinishReason, Usage
reply     Attempt and Reply, which hold the result of a call
builder   ReplyBuilder: builds a Reply from events, for streamed and other answers alike
"""

from .builder import ReplyBuilder
from .reply import Attempt, Reply
from .stream import (
    CONTENT,
    CitationDelta,
    Continued,
    Finished,
    FinishReason,
    Forwarded,
    ReasoningDelta,
    ReasoningSeal,
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
    "Forwarded",
    "ReasoningDelta",
    "ReasoningSeal",
    "Reply",
    "ReplyBuilder",
    "Restarted",
    "StreamEvent",
    "TextDelta",
    "ToolCallDelta",
    "Usage",
    "UsageUpdate",
    "Vectors",
    "WholePart",
    "WireEvent",
]
