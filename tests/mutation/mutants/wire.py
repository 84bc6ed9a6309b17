"""Bugs in the dialects, and in what is built from their events."""

from .mutant import Mutant
from .operators import Calls, Drops, Reads, Returns

CHAT_COMPLETIONS = ("tests/wire/test_chat_completions.py",)
SSE = "tests/wire/test_sse.py"
STREAM_STATE = ("tests/wire/test_stream_state.py",)

MUTANTS = (
    Mutant(
        "a cut stream is taken for an end",
        "wire.chat_completions.decode:ChatCompletionsDecoder",
        Calls("truncated", "Finished(self._reason())"),
        "a stream without a finish is truncated, never a clean end",
        CHAT_COMPLETIONS,
    ),
    Mutant(
        "a repeated tool call is delivered twice",
        "wire.chat_completions.pieces:Call.is_repeated_by",
        Returns("False"),
        "a tool call is one tool call however it comes",
        ("tests/wire/test_tool_calls.py",),
    ),
    Mutant(
        "the end of an item repeats its text",
        "wire.responses.parts:StreamedParts.missing",
        Returns("list(texts)"),
        "text comes once whatever number its part has",
        STREAM_STATE,
    ),
    Mutant(
        "two spliced messages are one answer",
        "wire.anthropic_messages.decode:_Message.start",
        Reads("_begun", "False"),
        "two messages in one stream are a failure",
        STREAM_STATE,
    ),
    Mutant(
        "an error inside a stream is ignored",
        "wire.chat_completions.decode:ChatCompletionsDecoder._read_chunk",
        Drops("_end"),
        "an error inside a 200 is an error",
        CHAT_COMPLETIONS,
    ),
    Mutant(
        "a CRLF cut in two ends two lines",
        "wire.sse:SseReader",
        Reads("_after_cr", "False"),
        "the events are the same however the bytes are cut",
        (SSE, "tests/mutation/test_gaps.py"),
    ),
    Mutant(
        "a line without an end may have any size",
        "wire.sse:SseReader",
        Reads("pending", "0"),
        "a line of 10 MB is an error, and memory stays bounded",
        (SSE, "tests/wire/test_bounds.py"),
    ),
    Mutant(
        "an answer starts again after the provider's own tools acted",
        "events.builder:ReplyBuilder.may_have_acted",
        Reads("Opaque", "()"),
        "what a provider did itself is not done a second time",
        ("tests/providers/test_whole_parts.py",),
    ),
    Mutant(
        "a provider's own block is sent to another provider",
        "wire.history:replayed",
        Reads("origin", "None"),
        "what only its provider understands is sent to no other provider",
        ("tests/wire/test_history.py",),
    ),
    Mutant(
        "a cut response is taken for an end",
        "wire.responses.decode:ResponsesDecoder",
        Calls("truncated", "Finished(FinishReason.STOP)"),
        "a Responses stream without its last event is truncated, never a clean end",
        ("tests/wire/test_responses.py",),
    ),
)
