"""Renders an answer as chat v2: named events that repeat their name as `type`, then a `[DONE]` without a name.

    message-start
    (content-start content-delta* (citation-start citation-end)* content-end)*
    tool-plan-delta* (tool-call-start tool-call-delta* tool-call-end)*
    message-end [DONE]

Beside tool calls the reasoning is a `tool_plan`, else a block of type thinking. What the API has no place for is left
out: seals of reasoning, images, opaque parts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...events import (
    CitationDelta,
    Finished,
    FinishReason,
    LogprobsDelta,
    ReasoningDelta,
    Reply,
    StreamEvent,
    TextDelta,
    TokenLogprob,
    ToolCallDelta,
    Usage,
    UsageUpdate,
)
from ...failures import FailureKind
from ...messages import Reasoning, Text
from ..held_calls import HeldCalls
from ..server import Frame, FrameKind, Operation, ParsedRequest, Preview
from ..writing import dumps, encoded, named_event
from .errors import text_of

Json = dict[str, Any]

FINISH: Mapping[FinishReason, str] = {
    FinishReason.STOP: "COMPLETE",
    FinishReason.LENGTH: "MAX_TOKENS",
    FinishReason.TOOL_CALLS: "TOOL_CALL",
    FinishReason.CONTENT_FILTER: "ERROR_TOXIC",
    FinishReason.REFUSAL: "COMPLETE",
    FinishReason.PAUSE: "COMPLETE",
    FinishReason.OTHER: "USER_CANCEL",
}

DONE = b"data: [DONE]\n\n"


class CohereRenderer:
    """Renders one streamed answer."""

    def __init__(self, request: ParsedRequest, preview: Preview | None = None) -> None:
        self._request = request
        self._preview = preview or Preview()
        self._usage = self._preview.usage
        self._blocks = 0  # begun so far
        self._open = ""  # the type of the block that grows; "" for none
        self._cited = 0  # citations in that block
        self._calls = HeldCalls()
        self._logprobs: list[TokenLogprob] = []  # they wait for the next delta

    def begin(self) -> list[Frame]:
        opening = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
        start = {"id": self._request.identity.uuid, "type": "message-start", "delta": {"message": opening}}
        # The id comes before the type, so it is not one of `named_event`.
        return [Frame(FrameKind.OPENING, encoded(f"event: message-start\ndata: {dumps(start)}\n\n"))]

    def render(self, event: StreamEvent) -> list[Frame]:
        match event:
            case TextDelta(text):
                return [*self._into("text"), self._delta("text", text)]
            case ReasoningDelta(text) if self._preview.calls:
                delta = _event("tool-plan-delta", None, {"tool_plan": text})
                return [*self._close(), Frame(FrameKind.CONTENT, delta)]
            case ReasoningDelta(text):
                return [*self._into("thinking"), self._delta("thinking", text)]
            case CitationDelta():
                return self._cite(event)
            case LogprobsDelta(tokens):
                self._logprobs += tokens
            case ToolCallDelta():
                return self._call(event)
            case UsageUpdate(usage):
                self._usage = usage
            case Finished(reason):
                return [*self._close(), *self._finish(reason)]
        return []

    def fail(self, kind: FailureKind, *, message: str | None = None, wait: float | None = None) -> bytes:
        """The stream ends as always, but its finish is an ERROR with a text."""
        text = text_of(kind, self._request.model, message)
        usage = _usage(Usage(input_tokens=self._request.prompt_tokens, output_tokens=1))
        return _end({"error": text, "finish_reason": "ERROR", "usage": usage}) + DONE

    def _into(self, kind: str) -> list[Frame]:
        """Begin a block of this type unless it is open; what is open ends."""
        if self._open == kind:
            return []
        frames = self._close()
        start = {"content": {"type": kind, kind: ""}}
        frames.append(Frame(FrameKind.OPENING, _event("content-start", self._blocks, start)))
        self._open, self._cited = kind, 0
        self._blocks += 1
        return frames

    def _delta(self, kind: str, text: str) -> Frame:
        delta = {"message": {"content": {kind: text}}}
        event = {"type": "content-delta", "index": self._blocks - 1, "delta": delta}
        if tokens := self._logprobs:
            event["logprobs"] = _piece(tokens)
            self._logprobs = []
        return Frame(FrameKind.CONTENT, named_event(event))

    def _cite(self, citation: CitationDelta) -> list[Frame]:
        number = self._cited
        self._cited += 1
        start = _event("citation-start", number, {"citations": _citation(citation)})
        return [
            Frame(FrameKind.OPENING, start),
            Frame(FrameKind.OPENING, _event("citation-end", number, None)),
        ]

    def _call(self, event: ToolCallDelta) -> list[Frame]:
        call, is_new = self._calls.add(event)
        frames: list[Frame] = []
        if is_new:
            frames += [_call_end(ended.index) for ended in self._calls.take(before=call)]
            frames += self._close_block()
            opened = {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": ""}}
            start = _event("tool-call-start", call.index, {"tool_calls": opened})
            frames.append(Frame(FrameKind.CONTENT, start))
        # "{}" is how other APIs write no arguments; here nothing is sent for those.
        if event.arguments and not (event.arguments == "{}" and len(call.pieces) == 1):
            fragment = {"tool_calls": {"function": {"arguments": event.arguments}}}
            frames.append(Frame(FrameKind.CONTENT, _event("tool-call-delta", call.index, fragment)))
        return frames

    def _close(self) -> list[Frame]:
        """End what is open: all calls, and a block."""
        return [*(_call_end(call.index) for call in self._calls.take()), *self._close_block()]

    def _close_block(self) -> list[Frame]:
        if not self._open:
            return []
        self._open = ""
        return [Frame(FrameKind.OPENING, _event("content-end", self._blocks - 1, None))]

    def _finish(self, reason: FinishReason) -> list[Frame]:
        ending = _end({"finish_reason": FINISH[reason], "usage": _usage(self._usage)})
        return [Frame(FrameKind.FINISH, ending), Frame(FrameKind.TERMINAL, DONE)]


# ------------------------------------------------------------------ whole answers and lists


def render_reply(request: ParsedRequest, reply: Reply) -> bytes:
    """Return the body of an answer that is not streamed."""
    message: Json = {"role": "assistant"}
    if reply.reasoning and reply.tool_calls:
        message["tool_plan"] = reply.reasoning
    if content := _content(reply):
        message["content"] = content
    if reply.tool_calls:
        message["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in reply.tool_calls
        ]
    if reply.citations:
        message["citations"] = [_citation(citation) for citation in reply.citations]
    body: Json = {
        "id": request.identity.uuid,
        "message": message,
        "finish_reason": FINISH[reply.finish_reason],
        "usage": _usage(reply.usage),
    }
    if reply.logprobs:
        body["logprobs"] = [_piece([token]) for token in reply.logprobs]
    return encoded(dumps(body))


def render_listing(request: ParsedRequest, models: Sequence[str]) -> bytes:
    """Return a list of models, one model or what a key is."""
    owner = request.identity.uuid
    match request.operation:
        case Operation.HEALTH:
            return encoded(dumps({"valid": True, "organization_id": owner, "owner_id": owner}))
        case Operation.MODEL:
            return encoded(dumps(_model(request.model)))
        case _:
            return encoded(dumps({"models": [_model(name) for name in models]}))


def render_embeddings(request: ParsedRequest, vectors: Sequence[Sequence[float]]) -> bytes:
    """Return the body with one vector for each text."""
    billed = {"input_tokens": request.prompt_tokens}
    body = {
        "id": request.identity.uuid,
        "texts": list(request.texts),
        "embeddings": {"float": vectors},
        "meta": {"api_version": {"version": "2"}, "billed_units": billed},
        "response_type": "embeddings_by_type",
    }
    return encoded(dumps(body))


# ------------------------------------------------------------------ pieces


def _content(reply: Reply) -> list[Json]:
    content: list[Json] = []
    for part in reply.message.parts:
        match part:
            case Text(text) if text:
                content.append({"type": "text", "text": text})
            case Reasoning(text) if text and not reply.tool_calls:
                content.append({"type": "thinking", "thinking": text})
            case _:
                pass
    return content


def _event(name: str, index: int | None, message: Mapping[str, Any] | None) -> bytes:
    place = {} if index is None else {"index": index}
    delta = {} if message is None else {"delta": {"message": message}}
    return named_event({"type": name, **place, **delta})


def _end(delta: Mapping[str, Any]) -> bytes:
    return named_event({"type": "message-end", "delta": delta})


def _call_end(index: int) -> Frame:
    return Frame(FrameKind.OPENING, _event("tool-call-end", index, None))


def _piece(tokens: Sequence[TokenLogprob]) -> Json:
    """A piece of text with the numbers of its tokens. The ids of the tokens are not known here."""
    numbers = [token.logprob for token in tokens]
    return {"text": "".join(token.token for token in tokens), "token_ids": [], "logprobs": numbers}


def _citation(citation: CitationDelta) -> Json:
    sources = [{"type": "document", "id": source, "document": {"id": source}} for source in citation.sources]
    place = {"start": citation.start, "end": citation.end, "text": citation.text}
    return {**place, "sources": sources, "type": "TEXT_CONTENT"}


def _usage(usage: Usage) -> Json:
    billed = {"input_tokens": usage.input_tokens or 0, "output_tokens": usage.output_tokens or 0}
    thought = {"reasoning_tokens": usage.reasoning_tokens} if usage.reasoning_tokens else {}
    cached = usage.cached_input_tokens or 0
    return {"billed_units": billed, "tokens": {**billed, **thought}, "cached_tokens": cached}


def _model(model: str) -> Json:
    return {
        "name": model,
        "is_deprecated": False,
        "endpoints": ["chat"],
        "finetuned": False,
        "context_length": 288000,
        "tokenizer_url": "",
        "default_endpoints": [],
        "features": ["tools", "citations"],
    }
