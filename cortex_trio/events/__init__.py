"""The output of a call: the events of a stream, token usage, and the reply they add up to. Knows no provider.

stream      the events of a stream, FinishReason, Usage
reply       Attempt and Reply, which hold the result of a call; Round, for calls of several rounds
embeddings  Embeddings, the result of a call of `embed`
builder     ReplyBuilder: builds a Reply from events, for streamed and other answers alike
"""

from .builder import ReplyBuilder
from .embeddings import Embeddings
from .reply import Attempt, Reply, Round, TypedReply, added_costs, reply_of_rounds
from .stream import (
    CONTENT,
    CitationDelta,
    Continued,
    Finished,
    FinishReason,
    Forwarded,
    LogprobsDelta,
    ReasoningDelta,
    ReasoningSeal,
    ResponseStarted,
    Restarted,
    StreamEvent,
    TextDelta,
    TokenLogprob,
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
    "Embeddings",
    "FinishReason",
    "Finished",
    "Forwarded",
    "LogprobsDelta",
    "ReasoningDelta",
    "ReasoningSeal",
    "Reply",
    "ReplyBuilder",
    "ResponseStarted",
    "Restarted",
    "Round",
    "StreamEvent",
    "TextDelta",
    "TokenLogprob",
    "ToolCallDelta",
    "TypedReply",
    "Usage",
    "UsageUpdate",
    "Vectors",
    "WholePart",
    "WireEvent",
    "added_costs",
    "reply_of_rounds",
]
