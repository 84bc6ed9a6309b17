"""Renders an answer as a message: named events that repeat their name as `type`, blocks by index, no `[DONE]`.

    message_start ( content_block_start content_block_delta* content_block_stop )* message_delta message_stop

A ping follows the first block's start. What the API has no place for is left out: images, where in the answer a
citation belongs (its place is one in the cited document), and `encrypted_index`, so citations of the web are rendered
as those of a document.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...events import (
    CitationDelta,
    Finished,
    FinishReason,
    ReasoningDelta,
    ReasoningSeal,
    Reply,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
    Usage,
    UsageUpdate,
    WholePart,
)
from ...failures import FailureKind
from ...messages import Opaque, Reasoning, Text, ToolCall
from ..held_calls import GrowingCall, HeldCalls
from ..server import Frame, FrameKind, Operation, ParsedRequest, Preview
from ..writing import arguments_value, dumps, encoded
from .errors import error_of
from .values import CITATIONS, CONTAINER, caller_value

Json = dict[str, Any]

FINISH: Mapping[FinishReason, str] = {
    FinishReason.STOP: "end_turn",
    FinishReason.LENGTH: "max_tokens",
    FinishReason.TOOL_CALLS: "tool_use",
    FinishReason.CONTENT_FILTER: "refusal",
    FinishReason.REFUSAL: "refusal",
    FinishReason.PAUSE: "pause_turn",
    FinishReason.OTHER: "other",
}

PING = b'event: ping\ndata: {"type": "ping"}\n\n'


class MessagesRenderer:
    """Renders one streamed answer."""

    def __init__(self, request: ParsedRequest, preview: Preview | None = None) -> None:
        self._request = request
        self._usage = (preview or Preview()).usage
        self._container: Json | None = None  # known at the end of the answer
        self._blocks = 0  # begun so far: the index of the next one
        self._open: type[ReasoningDelta] | type[TextDelta] | None = None  # of the last block, while it grows
        self._calls = HeldCalls()
        self._call_blocks: dict[int, int] = {}  # index of a call -> index of its block

    def begin(self) -> list[Frame]:
        message = _message(self._request, [], self._usage, None)
        return [Frame(FrameKind.OPENING, _event("message_start", {"message": message}))]

    def render(self, event: StreamEvent) -> list[Frame]:
        match event:
            case TextDelta(text):
                return [*self._into(TextDelta, _TEXT), self._delta({"type": "text_delta", "text": text})]
            case CitationDelta():
                delta = {"type": "citations_delta", "citation": _citation(event)}
                start = self._into(TextDelta, {"citations": [], **_TEXT})
                return [*start, self._delta(delta, FrameKind.OPENING)]
            case ReasoningDelta(text):
                start = self._into(ReasoningDelta, _THINKING)
                return [*start, self._delta({"type": "thinking_delta", "thinking": text})]
            case ReasoningSeal():
                return self._seal(event)
            case ToolCallDelta():
                return self._call(event)
            case WholePart(Opaque(type=kind)) if kind == CITATIONS:
                return []
            case WholePart(Opaque(type=kind) as part) if kind == CONTAINER:
                self._container = part.parsed()
            case WholePart(Opaque() as part):
                return [*self._close(), *self._whole_block(part)]
            case UsageUpdate(usage):
                self._usage = usage
            case Finished(reason):
                return [*self._close(), *self._finish(reason)]
        return []

    def fail(self, kind: FailureKind, *, message: str | None = None, wait: float | None = None) -> bytes:
        return _event("error", {"error": error_of(kind, self._request.model, message)[1]})

    # ---- blocks

    def _into(self, kind: type[ReasoningDelta] | type[TextDelta], start: Json) -> list[Frame]:
        """Begin a block of this kind unless the last one is; what is open ends."""
        if self._open is kind:
            return []
        frames = [*self._close(), *self._start(start)]
        self._open = kind
        return frames

    def _start(self, block: Json, kind: FrameKind = FrameKind.OPENING) -> list[Frame]:
        index = self._blocks
        self._blocks += 1
        frames = [Frame(kind, _event("content_block_start", {"index": index, "content_block": block}))]
        return frames if index else [*frames, Frame(FrameKind.OPENING, PING)]

    def _delta(self, delta: Json, kind: FrameKind = FrameKind.CONTENT, index: int | None = None) -> Frame:
        at = self._blocks - 1 if index is None else index
        return Frame(kind, _event("content_block_delta", {"index": at, "delta": delta}))

    def _stop(self, index: int, kind: FrameKind = FrameKind.OPENING) -> Frame:
        return Frame(kind, _event("content_block_stop", {"index": index}))

    def _close(self) -> list[Frame]:
        """End what is open: a text, a thought, all calls."""
        frames = [self._stop(self._call_blocks[call.index]) for call in self._calls.take()]
        if self._open is not None:
            frames.append(self._stop(self._blocks - 1))
            self._open = None
        return frames

    def _seal(self, seal: ReasoningSeal) -> list[Frame]:
        if seal.encrypted and not seal.signature:
            block = {"type": "redacted_thinking", "data": seal.encrypted}
            start = [*self._close(), *self._start(block)]
            return [*start, self._stop(self._blocks - 1, FrameKind.CONTENT)]
        start = self._into(ReasoningDelta, _THINKING)
        delta = {"type": "signature_delta", "signature": seal.signature or ""}
        return [*start, self._delta(delta, FrameKind.OPENING), *self._close()]

    def _call(self, event: ToolCallDelta) -> list[Frame]:
        frames: list[Frame] = []
        call, is_new = self._calls.add(event)
        if is_new:
            frames += self._begin_call(call)
        # "{}" is how other APIs write no arguments; here nothing is sent for those.
        if event.arguments and not (event.arguments == "{}" and len(call.pieces) == 1):
            delta = {"type": "input_json_delta", "partial_json": event.arguments}
            frames.append(self._delta(delta, index=self._call_blocks[event.index]))
        return frames

    def _begin_call(self, call: GrowingCall) -> list[Frame]:
        frames = [self._stop(self._call_blocks[ended.index]) for ended in self._calls.take(before=call)]
        if self._open is not None:
            frames.append(self._stop(self._blocks - 1))
            self._open = None
        self._call_blocks[call.index] = self._blocks
        frames += self._start(_tool_use(call.whole(), {}), FrameKind.CONTENT)
        return [*frames, self._delta({"type": "input_json_delta", "partial_json": ""}, FrameKind.OPENING)]

    def _whole_block(self, part: Opaque) -> list[Frame]:
        """A block of the provider's own tools; what such a call was given comes as text, like that of any call."""
        block = _own_block(part)
        taken = block.get("input")
        frames = self._start({**block, "input": {}} if taken else block)
        for piece in ("", dumps(taken)) if taken else ():
            delta = {"type": "input_json_delta", "partial_json": piece}
            frames.append(self._delta(delta, FrameKind.OPENING))
        return [*frames, self._stop(self._blocks - 1, FrameKind.CONTENT)]

    def _finish(self, reason: FinishReason) -> list[Frame]:
        counts = {**_prompt_usage(self._usage), "output_tokens": self._usage.output_tokens or 0}
        change = {
            "delta": _ending(reason, self._container),
            "usage": {**counts, **_thinking_usage(self._usage)},
        }
        return [
            Frame(FrameKind.FINISH, _event("message_delta", change)),
            Frame(FrameKind.TERMINAL, _event("message_stop", {})),
        ]


# ------------------------------------------------------------------ whole answers and lists


def render_reply(request: ParsedRequest, reply: Reply) -> bytes:
    """Return the body of an answer that is not streamed."""
    cited = {"citations": [_citation(one) for one in reply.citations]} if reply.citations else {}
    content: list[Json] = []
    container: Json | None = None
    for part in reply.message.parts:
        match part:
            case Text(text):
                content.append({**cited, "type": "text", "text": text})
                cited = {}  # once: of which text a citation is, is not known
            case Reasoning():
                content += _thoughts(part)
            case ToolCall():
                content.append(_tool_use(part, arguments_value(part.arguments)))
            case Opaque(type=kind) if kind == CONTAINER:
                container = part.parsed()
            case Opaque(type=kind) if kind != CITATIONS:
                content.append(_own_block(part))
            case _:
                pass
    return encoded(dumps(_message(request, content, reply.usage, reply.finish_reason, container)))


def render_listing(request: ParsedRequest, models: Sequence[str]) -> bytes:
    """Return a list of models, one model or a count of tokens."""
    created = request.identity.created_text
    match request.operation:
        case Operation.MODEL:
            body = _model(request.model, created)
        case Operation.COUNT:
            body = {"input_tokens": request.prompt_tokens}
        case _:
            data = [_model(name, created) for name in models]
            ends = {"first_id": models[0], "last_id": models[-1]} if models else {}
            body = {"data": data, "has_more": False, **ends}
    return encoded(dumps(body))


# ------------------------------------------------------------------ pieces

_TEXT: Json = {"type": "text", "text": ""}
_THINKING: Json = {"type": "thinking", "thinking": "", "signature": ""}


def _event(name: str, fields: Mapping[str, Any]) -> bytes:
    """An event; the server pads its JSON with spaces before the last brace."""
    data = dumps({"type": name, **fields})
    return encoded(f"event: {name}\ndata: {data[:-1]}{' ' * (len(data) % 16)}}}\n\n")


def _message(
    request: ParsedRequest,
    content: list[Json],
    usage: Usage,
    finish: FinishReason | None,
    container: Json | None = None,
) -> Json:
    """The message; None: as it is at its start."""
    ending = {"stop_reason": None, "stop_sequence": None, "stop_details": None}
    return {
        "model": request.model,
        "id": f"msg_{request.identity.id}",
        "type": "message",
        "role": "assistant",
        "content": content,
        **(_ending(finish, container) if finish else ending),
        "usage": {
            **_prompt_usage(usage),
            "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
            "output_tokens": (usage.output_tokens or 0) if finish else 1,
            **(_thinking_usage(usage) if finish else {}),
            "service_tier": "standard",
            "inference_geo": "not_available",
        },
    }


def _ending(finish: FinishReason, container: Json | None) -> Json:
    details = None
    if FINISH[finish] == "refusal":
        explanation = "This request was blocked under Anthropic's Usage Policy."
        details = {"type": "refusal", "category": "general_harms", "explanation": explanation}
    ending: Json = {"stop_reason": FINISH[finish], "stop_sequence": None, "stop_details": details}
    return ending if container is None else {**ending, "container": container}


def _thoughts(part: Reasoning) -> list[Json]:
    blocks: list[Json] = []
    if part.text or part.signature:
        blocks.append({"type": "thinking", "thinking": part.text, "signature": part.signature or ""})
    if part.encrypted and not part.signature:
        blocks.append({"type": "redacted_thinking", "data": part.encrypted})
    return blocks


def _own_block(part: Opaque) -> Json:
    return {"type": part.type, **part.parsed()}


def _tool_use(call: ToolCall, arguments: object) -> Json:
    use = {"type": "tool_use", "id": call.id, "name": call.name, "input": arguments}
    return {**use, "caller": caller_value(call.signature) or {"type": "direct"}}


def _citation(citation: CitationDelta) -> Json:
    return {
        "type": "char_location",
        "cited_text": citation.text,
        "document_index": 0,
        "document_title": citation.sources[0] if citation.sources else None,
        "start_char_index": citation.start,
        "end_char_index": citation.end,
    }


def _prompt_usage(usage: Usage) -> Json:
    """`input_tokens` of this API leaves out what was read from or written to the cache."""
    read, written = usage.cached_input_tokens or 0, usage.cache_write_tokens or 0
    return {
        "input_tokens": max(0, (usage.input_tokens or 0) - read - written),
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": read,
    }


def _thinking_usage(usage: Usage) -> Json:
    thought = usage.reasoning_tokens
    return {"output_tokens_details": {"thinking_tokens": thought}} if thought else {}


def _model(model: str, created: str) -> Json:
    limits = {"max_input_tokens": 1_000_000, "max_tokens": 128_000}
    return {"type": "model", "id": model, "display_name": model, "created_at": created, **limits}
