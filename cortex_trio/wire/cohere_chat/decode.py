"""Decodes Cohere's answers. One SSE event for each step, its name repeated as `type` in the data:

    message-start
    tool-plan-delta *                                       reasoning about the calls to come
    (tool-call-start tool-call-delta* tool-call-end)*       no delta at all: a call without arguments
    (content-start content-delta* content-end)*             of type text or thinking
        (citation-start citation-end)*                      which source a stretch of the text rests on
    message-end                                             finish reason and usage
    [DONE]

The answer is whole at message-end; a [DONE] or an end of the body without one means it was cut. An error
inside a stream is a message-end that finishes with ERROR or TIMEOUT, or a bare error object.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from ...events import (
    CitationDelta,
    Finished,
    FinishReason,
    ReasoningDelta,
    TextDelta,
    TokenLogprob,
    Usage,
    UsageUpdate,
    WireEvent,
)
from ...failures import classify_payload, scrub
from ..codec import malformed, truncated
from ..finish import reason_of
from ..logprobs import logprob_events, number_of, objects_of
from ..payload import (
    Malformed,
    as_count,
    as_list,
    as_object,
    as_text,
    as_word,
    load_object,
    response_started,
    text_events,
)
from ..sse import SseEvent
from ..sse_decoder import SseDecoder
from ..unframed_errors import error_of, is_error
from .calls import Calls

Json = Mapping[str, Any]

FINISH_REASONS: Mapping[str, FinishReason] = {
    "COMPLETE": FinishReason.STOP,
    "STOP_SEQUENCE": FinishReason.STOP,
    "MAX_TOKENS": FinishReason.LENGTH,
    "TOOL_CALL": FinishReason.TOOL_CALLS,
    "ERROR_TOXIC": FinishReason.CONTENT_FILTER,
}
"""All others are OTHER, but for the next two."""

FAILED = {"ERROR", "TIMEOUT"}


class CohereDecoder(SseDecoder):
    """A streamed answer, event by event."""

    def __init__(self) -> None:
        super().__init__()
        self._calls = Calls()
        self._begun = False  # something of the message came
        self._named = False  # a message-start came

    def _read(self, event: SseEvent) -> list[WireEvent]:
        if event.data == "[DONE]":
            return self._end()
        return list(self._step(event.event, load_object(event.data)))

    def _end(self) -> list[WireEvent]:
        return [truncated("the stream ended without a message-end")]

    def _let_go(self) -> None:
        super()._let_go()
        self._calls = Calls()

    def _step(self, name: str, data: Json) -> Iterator[WireEvent]:
        kind = as_text(data.get("type"), "type") or name
        self._begun = self._begun or kind.endswith("-delta")
        match kind:
            case "message-start" if self._begun:
                raise Malformed("a second message began inside the answer")
            case "message-start" if not self._named:
                self._named = True  # the API does not repeat the model
                yield from response_started(data.get("id"), None)
            case "content-start" | "content-delta":
                content = _delta(data, "content")
                if logprobs := data.get("logprobs"):
                    is_reasoning = bool(content.get("thinking"))
                    yield from logprob_events(_tokens([logprobs], is_reasoning=is_reasoning))
                yield from _content(content)
            case "tool-plan-delta":
                yield from text_events(ReasoningDelta, _message(data).get("tool_plan"), "tool_plan")
            case "tool-call-start":
                yield from self._calls.start(data.get("index"), _delta(data, "tool_calls"))
            case "tool-call-delta":
                yield from self._calls.add(data.get("index"), _delta(data, "tool_calls"))
            case "tool-call-end":
                yield from self._calls.end(data.get("index"))
            case "citation-start":
                yield _citation(_delta(data, "citations"))
            case "message-end":
                yield from _end(as_object(data.get("delta") or {}, "delta"), calls=self._calls.any)
            case "error" | "message" if is_error(data):  # "message": an event without any name
                yield classify_payload(data)
            case _:
                pass  # message-start, the ends of blocks, debug, and what is yet to be invented


def decode_whole(body: bytes) -> list[WireEvent]:
    """The events of an answer that came in one piece, in the order of a stream."""
    events: list[WireEvent] = []
    try:
        events.extend(_reply(load_object(body)))  # what it held before a malformed field still counts
    except Malformed as error:
        events.append(malformed(str(error)))
    return events


def _reply(reply: Json) -> Iterator[WireEvent]:
    if "finish_reason" not in reply and is_error(reply):
        yield classify_payload(reply, phase="body")
        return
    yield from response_started(reply.get("id"), None)
    message = as_object(reply.get("message") or {}, "message")
    yield from logprob_events(_tokens(reply.get("logprobs")))
    yield from text_events(ReasoningDelta, message.get("tool_plan"), "tool_plan")
    for part in as_list(message.get("content"), "content"):
        yield from _content(as_object(part, "a content part"))
    for citation in as_list(message.get("citations"), "citations"):
        yield _citation(as_object(citation, "a citation"))
    calls = Calls()
    for index, call in enumerate(as_list(message.get("tool_calls"), "tool_calls")):
        yield from calls.start(index, as_object(call, "a tool call"))
        yield from calls.end(index)
    yield from _end(reply, calls=calls.any)


def _message(data: Json) -> Json:
    return as_object(as_object(data.get("delta") or {}, "delta").get("message") or {}, "message")


def _delta(data: Json, name: str) -> Json:
    return as_object(_message(data).get(name) or {}, name)


def _content(part: Json) -> Iterator[WireEvent]:
    yield from text_events(ReasoningDelta, part.get("thinking"), "thinking")
    yield from text_events(TextDelta, part.get("text"), "text")


def _tokens(items: object, *, is_reasoning: bool = False) -> Iterator[TokenLogprob]:
    """`items`: pieces of text, `{text, token_ids, logprobs}`, each with the numbers of its tokens."""
    for item in objects_of(items):
        text, numbers = item.get("text"), item.get("logprobs")
        if isinstance(text, str) and isinstance(numbers, list):
            for place, number in enumerate(numbers):
                token = "" if place else text
                yield TokenLogprob(token, number_of(number), is_reasoning=is_reasoning)


def _citation(citation: Json) -> CitationDelta:
    """`start` and `end` count characters of the text; `sources` are the ids of documents or tool results.

    A citation of a plan or of thinking counts there, and has no place in the text.
    """
    in_text = citation.get("type") in (None, "TEXT_CONTENT")
    sources = [as_object(source, "a source") for source in as_list(citation.get("sources"), "sources")]
    return CitationDelta(
        as_count(citation.get("start")) if in_text else None,
        as_count(citation.get("end")) if in_text else None,
        as_text(citation.get("text"), "a citation's text"),
        tuple(as_text(source["id"], "a source's id") for source in sources if source.get("id")),
    )


def _end(end: Json, *, calls: bool) -> Iterator[WireEvent]:
    """`end` is the delta of a message-end or a whole reply: both carry finish_reason and usage."""
    usage = _usage(end.get("usage"))
    if usage != Usage():
        yield UsageUpdate(usage)
    raw = as_word(end.get("finish_reason"), "finish_reason")
    if raw in FAILED or error_of(end) is not None:
        message = scrub(str(end.get("error") or f"the answer ended with {raw}"))
        yield attrs.evolve(classify_payload({"error": message}), code=raw or None)
    elif raw:
        yield Finished(reason_of(raw, FINISH_REASONS, calls=calls), raw)
    else:
        yield truncated("the answer ended without a finish_reason")


def _usage(usage: object) -> Usage:
    """`tokens`, not `billed_units`: those leave out what Cohere itself puts around the prompt."""
    match usage:
        case {"tokens": dict() as tokens, **others}:
            return Usage(
                input_tokens=as_count(tokens.get("input_tokens")),
                output_tokens=as_count(tokens.get("output_tokens")),
                cached_input_tokens=as_count(others.get("cached_tokens")),
                reasoning_tokens=as_count(tokens.get("reasoning_tokens")),
            )
        case _:  # no reason to fail an answer
            return Usage()
