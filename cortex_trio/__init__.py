"""cortex_trio: a supervised gateway to many LLM providers, embedded in your Trio program.

    async with open_cortex() as cortex:
        async with cortex.chat("Hi") as answer:
            async for piece in answer.text():
                print(piece, end="", flush=True)

The map of the house, in the order in which it is best read:

    messages    what goes in            Message, parts, Tool
    intake      … as callers write it   strings, mappings, lists of them
    events      what comes out          stream events, Usage, Reply
    failures    what can go wrong       kinds, classify(), the table of reactions, the exceptions
    otp         the kernel              supervises any Trio program, knows nothing of models
    wire        the dialects            bytes to values and back; pure, incremental
    providers   who                     one small file of data each
    gateway     how                     selection, failover, attempt, stream, keys, health, the tree
    telemetry   what happened           events for observers
    simulator   for your tests          providers that stall, refuse, cut and garble

A request flows downwards: `Cortex.chat` → selection (who, in which order) → failover (one after the other) →
attempt (one try, one key) → dialect → transport, and the answer comes back up the same way.
"""

from .errors import AllWorkersFailed, ProviderError, StreamInterrupted
from .events import (
    Attempt,
    CitationDelta,
    Continued,
    Finished,
    FinishReason,
    ReasoningDelta,
    ReasoningSeal,
    Reply,
    Restarted,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
    Usage,
    UsageUpdate,
    WholePart,
)
from .failures import ConfigError, CortexError, Failure, FailureKind, InvalidRequest, NoWorkersAvailable
from .failures.limits import Bucket
from .gateway.cortex import Cortex, open_cortex
from .gateway.request.options import ChatOptions
from .gateway.request.stream import ChatStream
from .gateway.settings.config import Config, WorkerConfig
from .gateway.settings.secrets import ApiKey, api_keys_from
from .gateway.workers.status import HealthStatus, WorkerInfo
from .messages import (
    Document,
    Image,
    Message,
    Messages,
    Opaque,
    Part,
    Reasoning,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    assistant,
    system,
    user,
)
from .providers import Auth, Provider
from .telemetry import (
    AnswerInterrupted,
    CallWaiting,
    Event,
    Snapshot,
    WorkerAdded,
    WorkerRemoved,
    WorkerStatusChanged,
)
from .version import __version__ as __version__

__all__ = [
    "AllWorkersFailed",
    "AnswerInterrupted",
    "ApiKey",
    "Attempt",
    "Auth",
    "Bucket",
    "CallWaiting",
    "ChatOptions",
    "ChatStream",
    "CitationDelta",
    "Config",
    "ConfigError",
    "Continued",
    "Cortex",
    "CortexError",
    "Document",
    "Event",
    "Failure",
    "FailureKind",
    "FinishReason",
    "Finished",
    "HealthStatus",
    "Image",
    "InvalidRequest",
    "Message",
    "Messages",
    "NoWorkersAvailable",
    "Opaque",
    "Part",
    "Provider",
    "ProviderError",
    "Reasoning",
    "ReasoningDelta",
    "ReasoningSeal",
    "Reply",
    "Restarted",
    "Snapshot",
    "StreamEvent",
    "StreamInterrupted",
    "Text",
    "TextDelta",
    "Tool",
    "ToolCall",
    "ToolCallDelta",
    "ToolResult",
    "Usage",
    "UsageUpdate",
    "WholePart",
    "WorkerAdded",
    "WorkerConfig",
    "WorkerInfo",
    "WorkerRemoved",
    "WorkerStatusChanged",
    "__version__",
    "api_keys_from",
    "assistant",
    "open_cortex",
    "system",
    "user",
]
