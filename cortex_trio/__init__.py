"""cortex_trio: a supervised gateway to many LLM providers, embedded in your Trio program.

    async with open_cortex() as cortex:
        async with cortex.chat("Hi") as answer:
            async for piece in answer.text():
                print(piece, end="", flush=True)

The packages, in the order in which they are best read:

    messages     values in             Message, parts, Tool
    intake       values in             strings, mappings and lists that callers write, as values of `messages`
    events       values out            stream events, Usage, Reply
    failures     what can go wrong     kinds, classify(), the table of reactions, the exceptions
    errors       what can go wrong     the exceptions that end a call after an attempt
    otp          kernel                supervises any Trio program; imports nothing of ours
    http         kernel                HTTP/1.1 client connections; imports nothing of ours
    wire         dialects              bytes to values and back; pure, incremental
    providers    data                  one file for each provider
    telemetry    what happened         events for observers, log lines, snapshots
    structure    types of answers      JSON Schemas from types, and values of these types from JSON
    costs        money                 prices, sums of usage, budgets
    cluster      shared state          the protocol of a store, in memory and in Valkey
    gateway      a request's path      settings, transport, workers, routing, request; health, tree, Cortex
    conversation agents                the tool loop, and a history that stays valid
    server       the HTTP endpoint     one base URL for programs that are not written in Trio
    simulator    public test kit       providers that stall, refuse, cut and garble
    lab          proofs                the exam and the simulated worlds; loaded by two commands only
    cli          the command line

A request goes from `Cortex.chat` to selection (which workers, in which order), failover (one worker after another),
attempt (one try, one API key), dialect and transport. The answer comes back through the same modules in reverse.

A public name is loaded when it is first used (PEP 562), so that `import cortex_trio.otp` loads nothing of ours beside
the kernel. A new public name stands in three lists below: the imports, which type checkers read, `__all__` and
`_MODULES`. A test compares them.
"""

import importlib

TYPE_CHECKING = False
"""True for type checkers, as in `typing`, whose import takes longer than all else that `--help` needs."""

if TYPE_CHECKING:
    from .conversation import (
        Conversation,
        RoundEnded,
        RoundStarted,
        ToolEnded,
        ToolStarted,
        run_tools,
    )
    from .costs import Budget, BudgetExceeded, Price, budget
    from .errors import (
        AllWorkersFailed,
        InvalidAnswer,
        ProviderError,
        StreamInterrupted,
        ToolAbort,
        TooManyRounds,
    )
    from .events import (
        Attempt,
        CitationDelta,
        Continued,
        Embeddings,
        Finished,
        FinishReason,
        LogprobsDelta,
        ReasoningDelta,
        ReasoningSeal,
        Reply,
        Restarted,
        Round,
        StreamEvent,
        TextDelta,
        TokenLogprob,
        ToolCallDelta,
        TypedReply,
        Usage,
        UsageUpdate,
        WholePart,
    )
    from .failures import ConfigError, CortexError, Failure, FailureKind, InvalidRequest, NoWorkersAvailable
    from .failures.limits import Bucket
    from .gateway.cortex import Cortex, open_cortex
    from .gateway.request.options import ChatOptions, OnInterrupt, ReasoningEffort
    from .gateway.request.stream import ChatStream
    from .gateway.routing.strategies import Strategy
    from .gateway.settings.config import Config, KeyStrategy, WorkerConfig
    from .gateway.settings.secrets import ApiKey, api_keys_from
    from .gateway.workers.status import HealthStatus, WorkerInfo
    from .messages import (
        Document,
        File,
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
        tool,
        user,
    )
    from .providers import Auth, Provider
    from .telemetry import (
        AnswerInterrupted,
        AttemptStarted,
        BreakerChanged,
        CallEnded,
        CallStarted,
        CallWaiting,
        CooldownEnded,
        CooldownStarted,
        Event,
        FirstToken,
        HealthChecked,
        Observer,
        Reloaded,
        Snapshot,
        StoreLinkChanged,
        WorkerAdded,
        WorkerRemoved,
        WorkerStatus,
        WorkerStatusChanged,
    )
    from .version import __version__


__all__ = [
    "AllWorkersFailed",
    "AnswerInterrupted",
    "ApiKey",
    "Attempt",
    "AttemptStarted",
    "Auth",
    "BreakerChanged",
    "Bucket",
    "Budget",
    "BudgetExceeded",
    "CallEnded",
    "CallStarted",
    "CallWaiting",
    "ChatOptions",
    "ChatStream",
    "CitationDelta",
    "Config",
    "ConfigError",
    "Continued",
    "Conversation",
    "CooldownEnded",
    "CooldownStarted",
    "Cortex",
    "CortexError",
    "Document",
    "Embeddings",
    "Event",
    "Failure",
    "FailureKind",
    "File",
    "FinishReason",
    "Finished",
    "FirstToken",
    "HealthChecked",
    "HealthStatus",
    "Image",
    "InvalidAnswer",
    "InvalidRequest",
    "KeyStrategy",
    "LogprobsDelta",
    "Message",
    "Messages",
    "NoWorkersAvailable",
    "Observer",
    "OnInterrupt",
    "Opaque",
    "Part",
    "Price",
    "Provider",
    "ProviderError",
    "Reasoning",
    "ReasoningDelta",
    "ReasoningEffort",
    "ReasoningSeal",
    "Reloaded",
    "Reply",
    "Restarted",
    "Round",
    "RoundEnded",
    "RoundStarted",
    "Snapshot",
    "StoreLinkChanged",
    "Strategy",
    "StreamEvent",
    "StreamInterrupted",
    "Text",
    "TextDelta",
    "TokenLogprob",
    "TooManyRounds",
    "Tool",
    "ToolAbort",
    "ToolCall",
    "ToolCallDelta",
    "ToolEnded",
    "ToolResult",
    "ToolStarted",
    "TypedReply",
    "Usage",
    "UsageUpdate",
    "WholePart",
    "WorkerAdded",
    "WorkerConfig",
    "WorkerInfo",
    "WorkerRemoved",
    "WorkerStatus",
    "WorkerStatusChanged",
    "__version__",
    "api_keys_from",
    "assistant",
    "budget",
    "open_cortex",
    "run_tools",
    "system",
    "tool",
    "user",
]

_MODULES = {
    "conversation": "Conversation RoundEnded RoundStarted ToolEnded ToolStarted run_tools",
    "costs": "Budget BudgetExceeded Price budget",
    "errors": "AllWorkersFailed InvalidAnswer ProviderError StreamInterrupted ToolAbort TooManyRounds",
    "events": "Attempt CitationDelta Continued Embeddings Finished FinishReason LogprobsDelta ReasoningDelta"
    " ReasoningSeal Reply Restarted Round StreamEvent TextDelta TokenLogprob ToolCallDelta TypedReply Usage"
    " UsageUpdate WholePart",
    "failures": "ConfigError CortexError Failure FailureKind InvalidRequest NoWorkersAvailable",
    "failures.limits": "Bucket",
    "gateway.cortex": "Cortex open_cortex",
    "gateway.request.options": "ChatOptions OnInterrupt ReasoningEffort",
    "gateway.request.stream": "ChatStream",
    "gateway.routing.strategies": "Strategy",
    "gateway.settings.config": "Config WorkerConfig KeyStrategy",
    "gateway.settings.secrets": "ApiKey api_keys_from",
    "gateway.workers.status": "HealthStatus WorkerInfo",
    "messages": "Document File Image Message Messages Opaque Part Reasoning Text Tool ToolCall ToolResult"
    " assistant system tool user",
    "providers": "Auth Provider",
    "telemetry": "AnswerInterrupted AttemptStarted BreakerChanged CallEnded CallStarted CallWaiting CooldownEnded"
    " CooldownStarted Event FirstToken HealthChecked Reloaded Snapshot WorkerAdded WorkerRemoved WorkerStatusChanged"
    " StoreLinkChanged Observer WorkerStatus",
    "version": "__version__",
}
"""The module of each public name, and the names in it."""

_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names.split()}

if not TYPE_CHECKING:  # a type checker that saw `__getattr__` would accept any name

    def __getattr__(name: str) -> object:
        """Load the module of a public name, and keep the name, so that this is called once for each.

        Raises:
            AttributeError: This package has no such name.
        """
        if name not in _MODULE_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module = importlib.import_module(f"{__name__}.{_MODULE_OF[name]}")
        value = globals()[name] = getattr(module, name)
        return value

    def __dir__() -> list[str]:
        """Return the public names, loaded or not, with what every module has."""
        return sorted({*globals(), *__all__})
