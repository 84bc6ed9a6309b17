"""The stream of a chat completion, from its first byte to its end.

    stream = *( comment | chunk ) "[DONE]"
    chunk  = { choices: [ { index, delta, finish_reason? } ], usage?, error?, x_groq?: { usage?, error? } }

`choices` may be empty, and usage may come on any chunk (OpenAI: after the finish; Groq: up to three times). The
finish is held back until `[DONE]`, or the end of the body where a server leaves that out. An answer is choice 0.
A whole answer is read as one chunk whose `message` is its only delta.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..events import Finished, FinishReason, Usage, UsageUpdate, WireEvent
from ..failures import Failure, FailureKind, classify_payload
from .chat_completions_delta import DeltaReader, read_usage
from .codec import malformed, truncated
from .framing import TooLarge
from .payload import (
    Malformed,
    as_list,
    as_object,
    as_word,
    load_object,
)
from .sse import SseEvent, SseReader
from .stray import StrayErrors

Json = dict[str, Any]

FINISH_REASONS: Mapping[str, FinishReason] = {
    "stop": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "tool_calls": FinishReason.TOOL_CALLS,
    "function_call": FinishReason.TOOL_CALLS,
    "content_filter": FinishReason.CONTENT_FILTER,
}

FAILED_REASONS: Mapping[str, FailureKind] = {
    "error": FailureKind.SERVER,  # OpenRouter
    "insufficient_system_resource": FailureKind.OVERLOADED,  # DeepSeek
}
"""Finish reasons that say: the answer broke off."""


def read_reply(body: bytes, *, usage_excludes_reasoning: bool) -> list[WireEvent]:
    """A whole answer as the events its stream would have had, or one Failure."""
    return ChatCompletionsDecoder(usage_excludes_reasoning=usage_excludes_reasoning).read_whole(body)


class ChatCompletionsDecoder:
    """Decodes one answer."""

    def __init__(self, *, usage_excludes_reasoning: bool) -> None:
        self._usage_excludes_reasoning = usage_excludes_reasoning
        self._sse = SseReader(on_stray=self._on_stray)
        self._stray = StrayErrors()
        self._deltas = DeltaReader()
        self._events: list[WireEvent] = []  # what the running call will return
        self._usage = Usage()
        self._raw_reason = ""  # empty until a finish_reason was seen
        self._done = False

    @property
    def done(self) -> bool:
        return self._done

    def feed(self, data: bytes) -> list[WireEvent]:
        events = self._events = []
        if self._done:
            return events
        try:
            for event in self._sse.feed(data):
                if not self._done:  # a stray line may have ended it
                    self._read(event)
                if self._done:
                    break
        except TooLarge as error:
            self._end(malformed(str(error)))
        return events

    def finish(self) -> list[WireEvent]:
        events = self._events = []
        if not self._done:
            self._sse.finish()  # may hand over a stray last line
            self._end(self._stray.end() or self._finished())
        return events

    def read_whole(self, body: bytes) -> list[WireEvent]:
        """Read a whole answer in place of a stream."""
        try:
            reply = load_object(body)
            choice = _choice_0(reply)
            if choice is None and not reply.get("error"):
                raise Malformed("an answer without choices")
            self._read_chunk(reply, choice, "message")
        except Malformed as error:
            self._end(malformed(str(error)))
        # A whole body needs no finish_reason to be whole.
        self._end(Finished(self._reason(), self._raw_reason or None))
        return self._events

    def _read(self, event: SseEvent) -> None:
        data = event.data
        if data.startswith("[DONE]"):
            self._end(self._finished())
            return
        try:
            chunk = load_object(data)
            if event.event == "error":  # Groq; some proxies leave out the key "error"
                self._end(classify_payload(chunk, phase="stream"))
            else:
                self._read_chunk(chunk, _choice_0(chunk), "delta")
        except Malformed as error:
            ours = event.event in ("message", "error")  # an event unknown to us may hold anything
            if ours and data.strip():
                self._end(malformed(str(error)))

    def _read_chunk(self, chunk: Json, choice: Json | None, field: str) -> None:
        if choice is not None:
            if delta := choice.get(field):
                self._deltas.read(as_object(delta, field), self._events)
            if reason := choice.get("finish_reason"):
                self._raw_reason = as_word(reason, "finish_reason")
        usage, error = chunk.get("usage"), chunk.get("error")
        if chunk.get("object") == "error":  # older vLLM: an error where a chunk should be
            error = error or chunk
        if groq := chunk.get("x_groq"):
            beside = as_object(groq, "x_groq")
            usage = beside.get("usage") if usage is None else usage
            error = error or beside.get("error")
        if usage:
            self._read_usage(as_object(usage, "usage"))
        if citations := chunk.get(
            "citations"
        ):  # the pages a search found: xAI at the end, Perplexity in every chunk
            self._deltas.read_pages(citations, self._events)
        if error:
            self._end(classify_payload({**chunk, "error": error}, phase="stream"))
        elif self._raw_reason in FAILED_REASONS:
            message = f"finish_reason {self._raw_reason}"
            self._end(Failure(FAILED_REASONS[self._raw_reason], message, phase="stream"))

    def _read_usage(self, usage: Json) -> None:
        seen = read_usage(usage, excludes_reasoning=self._usage_excludes_reasoning)
        if seen != self._usage:
            self._usage = seen
            self._events.append(UsageUpdate(seen))

    def _on_stray(self, line: str) -> None:
        if failure := self._stray.add(line):
            self._end(failure)

    def _end(self, last: Finished | Failure) -> None:
        if not self._done:  # a stray error may be followed by what is too large
            self._events.append(last)
            self._done = True

    def _finished(self) -> Finished | Failure:
        """The stream is over. Without any finish_reason the answer was cut, whether or not [DONE] came."""
        return Finished(self._reason(), self._raw_reason) if self._raw_reason else truncated()

    def _reason(self) -> FinishReason:
        reason = FINISH_REASONS.get(self._raw_reason, FinishReason.OTHER)
        if reason is FinishReason.STOP and self._deltas.refused:
            return FinishReason.REFUSAL
        if reason is FinishReason.STOP and self._deltas.has_calls:
            return FinishReason.TOOL_CALLS  # OpenAI says "stop" after a call that tool_choice demanded
        return reason


def _choice_0(chunk: Json) -> Json | None:
    for item in as_list(chunk.get("choices"), "choices"):
        choice = as_object(item, "a choice")
        if not choice.get("index"):
            return choice
    return None
