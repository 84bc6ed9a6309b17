"""Decodes Ollama's answers into events. Knows no request.

A stream is

    {"message": {"content", "thinking"?, "tool_calls"?}, "done": false}*
    {"message": …, "done": true, "done_reason", "prompt_eval_count", "eval_count", …}

and an answer that was not streamed is one such object with everything in it. Tool calls come whole, their
arguments as an object. A line `{"error": "…"}` may take the place of any other, under HTTP 200, and is the
last.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from ...events import (
    Finished,
    FinishReason,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    Usage,
    UsageUpdate,
    WireEvent,
)
from ...failures import classify_payload
from ...failures.kinds import Phase
from ..codec import malformed, truncated
from ..content import object_text
from ..finish import reason_of
from ..framing import TooLarge
from ..logprobs import logprob_events, read_tokens
from ..ndjson import NdjsonReader
from ..payload import (
    Malformed,
    arguments_text,
    as_count,
    as_list,
    as_object,
    as_text,
    as_word,
    load_object,
    response_started,
    text_events,
)
from ..unframed_errors import error_of, is_error

DONE_REASONS = {
    "": FinishReason.STOP,  # older servers send `done` only
    "stop": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "load": FinishReason.OTHER,  # a request without messages only loads the model …
    "unload": FinishReason.OTHER,  # … or frees it
}


class ChatDecoder:
    """A streamed answer, line by line."""

    def __init__(self) -> None:
        self.done = False
        self._lines = NdjsonReader()
        self._answer = _Answer("stream")

    def feed(self, data: bytes) -> list[WireEvent]:
        if self.done:
            return []
        events: list[WireEvent] = []
        try:
            for line in self._lines.feed(data):
                events += self._answer.read(load_object(line))
                if self._answer.over:
                    self._let_go()
                    break
        except (TooLarge, Malformed) as error:
            events.append(malformed(str(error)))
            self._let_go()
        return events

    def finish(self) -> list[WireEvent]:
        if self.done:
            return []
        events: list[WireEvent] = []
        if line := self._lines.finish():
            with contextlib.suppress(Malformed):  # a line that was cut
                events = self._answer.read(load_object(line))
        if not self._answer.over:
            events.append(truncated())
        self._let_go()
        return events

    def _let_go(self) -> None:
        self.done = True
        self._lines = NdjsonReader()


def decode_chat(body: bytes) -> list[WireEvent]:
    """A whole answer, or the error that came in its place."""
    answer = _Answer("body")
    try:
        whole = load_object(body)
        if "message" not in whole and not is_error(whole):
            raise Malformed('no "message" in it')
        events = answer.read(whole)
    except Malformed as error:
        return [malformed(str(error))]
    return events if answer.over else [*events, truncated("the answer does not say that it is done")]


class _Answer:
    """Objects to events. `over` is True once one of them was the last."""

    def __init__(self, phase: Phase) -> None:
        self.over = False
        self._phase: Phase = phase
        self._calls = 0
        self._named = False  # the model of the answer came

    def read(self, line: Mapping[str, Any]) -> list[WireEvent]:
        if error_of(line) is not None or (not isinstance(line.get("message"), dict) and is_error(line)):
            self.over = True
            return [classify_payload(line, phase=self._phase)]
        events: list[WireEvent] = []
        if not self._named:
            events += (started := response_started(None, line.get("model")))  # the API gives no id
            self._named = bool(started)
        if line.get("message") is not None:
            message = as_object(line["message"], "message")
            if logprobs := line.get("logprobs"):
                is_reasoning = bool(message.get("thinking")) and not message.get("content")
                events += logprob_events(read_tokens(logprobs, is_reasoning=is_reasoning))
            events += self._message(message)
        if line.get("done") is True:
            events += [*_usage(line), self._finished(as_word(line.get("done_reason"), "done_reason"))]
            self.over = True
        return events

    def _message(self, message: Mapping[str, Any]) -> list[WireEvent]:
        return [
            *text_events(ReasoningDelta, message.get("thinking"), "message.thinking"),
            *text_events(TextDelta, _content(message.get("content")), "message.content"),
            *map(self._call, as_list(message.get("tool_calls"), "message.tool_calls")),
        ]

    def _call(self, value: object) -> ToolCallDelta:
        """`function.index` is not read: only newer servers count, and not always from 0."""
        call = as_object(value, "a tool call")
        function = as_object(call.get("function"), "a tool call's function")
        name = as_text(function.get("name"), "a tool call's name")
        if not name:
            raise Malformed("a tool call without a name")
        index = self._calls
        self._calls += 1
        call_id = as_text(call.get("id"), "a tool call's id") or f"call_{index}"
        return ToolCallDelta(index, arguments_text(function.get("arguments")), call_id, name)

    def _finished(self, raw: str) -> Finished:
        """The API has `stop` after calls, too."""
        return Finished(reason_of(raw, DONE_REASONS, calls=self._calls > 0), raw or None)


def _content(value: object) -> object:
    """Servers that follow this API send the structured output they were asked for as an object."""
    return object_text(value, "message.content") if isinstance(value, dict) else value


def _usage(line: Mapping[str, Any]) -> list[WireEvent]:
    usage = Usage(as_count(line.get("prompt_eval_count")), as_count(line.get("eval_count")))
    return [] if usage == Usage() else [UsageUpdate(usage)]
