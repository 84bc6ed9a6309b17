"""Renders an answer as generateContent responses: `data:` lines with CRLF, or one long JSON array.

Each response is partial: the next part of one candidate, and the usage so far. There is no terminal marker; the
finishReason stands on the last response and the body ends. Tool calls come whole. An error in the middle of a stream
is a response like the others, with an `error`.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from ...events import (
    CitationDelta,
    Finished,
    FinishReason,
    LogprobsDelta,
    ReasoningDelta,
    ReasoningSeal,
    Reply,
    StreamEvent,
    TextDelta,
    TokenLogprob,
    ToolCallDelta,
    Usage,
    UsageUpdate,
    WholePart,
)
from ...failures import FailureKind
from ...messages import File, Image, Opaque, Reasoning, Text, ToolCall
from ..held_calls import HeldCalls
from ..server import Frame, FrameKind, Operation, ParsedRequest, Preview
from ..writing import arguments_value, dumps, encoded
from .errors import pretty, stream_error
from .logprobs import rendered
from .parse import EmbedForm, StreamForm
from .values import CONTINUATION

Json = dict[str, Any]

FINISH: Mapping[FinishReason, str] = {
    FinishReason.STOP: "STOP",
    FinishReason.LENGTH: "MAX_TOKENS",
    FinishReason.TOOL_CALLS: "STOP",
    FinishReason.CONTENT_FILTER: "SAFETY",
    FinishReason.REFUSAL: "STOP",
    FinishReason.PAUSE: "STOP",
    FinishReason.OTHER: "OTHER",
}


class GeminiRenderer:
    """Renders one streamed answer, in either framing."""

    def __init__(self, request: ParsedRequest, preview: Preview | None = None) -> None:
        self._request = request
        self._sse = form_of(request).sse
        self._begun = False  # the array was opened
        self._prompt = (preview or Preview()).usage
        self._usage = self._prompt
        self._thought = 0  # pieces of reasoning so far, as if each were a token
        self._parts = 0  # all other parts so far
        self._text: list[str] = []
        self._citations: list[CitationDelta] = []
        self._logprobs: list[TokenLogprob] = []  # they wait for the next part
        self._calls = HeldCalls()
        self._token: str | None = None  # of an answer that pauses

    def begin(self) -> list[Frame]:
        return []

    def render(self, event: StreamEvent) -> list[Frame]:
        match event:
            case ToolCallDelta():
                call, _ = self._calls.add(event)
                return self._call_frames([ended.whole() for ended in self._calls.take(before=call)])
            case UsageUpdate(usage):
                self._usage = usage
                return []
            case CitationDelta():
                self._citations.append(event)
                return []
            case LogprobsDelta(tokens):
                self._logprobs += tokens
                return []
            case WholePart(Opaque(type=kind) as part) if kind == CONTINUATION:
                self._token = _token(part)
                return []
            case TextDelta() | ReasoningDelta() | ReasoningSeal() | WholePart():
                before = self._call_frames([call.whole() for call in self._calls.take()])
                return [*before, *self._content(event)]
            case Finished(reason):
                before = self._call_frames([call.whole() for call in self._calls.take()])
                return [*before, *self._finish(reason)]
            case _:
                return []

    def fail(self, kind: FailureKind, *, message: str | None = None, wait: float | None = None) -> bytes:
        body = stream_error(kind, self._request, message, wait)
        if not self._sse:
            separator = b",\n" if self._begun else b"["
            return separator + pretty(body) + b"]"
        # Google may send bare JSON, but readers of server-sent events ignore such lines.
        return sse_event(body)

    def _content(self, event: TextDelta | ReasoningDelta | ReasoningSeal | WholePart) -> list[Frame]:
        match event:
            case TextDelta(text, signature):
                self._text.append(text)
                signed = {"thoughtSignature": signature} if signature else {}
                return [self._part({"text": text, **signed})]
            case ReasoningDelta(text):
                self._thought += 1
                return [self._frame(FrameKind.CONTENT, self._partial({"text": text, "thought": True}))]
            case ReasoningSeal(signature) if signature:
                part = {"text": "", "thought": True, "thoughtSignature": signature}
                return [self._frame(FrameKind.OPENING, self._partial(part))]
            case WholePart(part):
                return [self._part(_own_part(part))]
            case _:
                return []

    def _call_frames(self, calls: Sequence[ToolCall]) -> list[Frame]:
        return [self._part(_call_part(call)) for call in calls]

    def _part(self, part: Json) -> Frame:
        self._parts += 1
        return self._frame(FrameKind.CONTENT, self._partial(part))

    def _partial(self, part: Json) -> Json:
        so_far = attrs.evolve(
            self._prompt,
            output_tokens=self._thought + self._parts,
            reasoning_tokens=self._thought,
            total_tokens=None,
        )
        content = {"parts": [part], "role": "model"}
        candidate = {"content": content, "index": 0, **self._taken_logprobs()}
        return _response(self._request, candidate, so_far)

    def _taken_logprobs(self) -> Json:
        tokens, self._logprobs = self._logprobs, []
        return rendered(tokens)

    def _finish(self, reason: FinishReason) -> list[Frame]:
        text = "".join(self._text)
        called = len(self._calls) > 0
        last = _last_candidate([{"text": ""}], reason, called, self._citations, text, self._token)
        candidate = last | self._taken_logprobs()
        frame = self._frame(FrameKind.FINISH, _response(self._request, candidate, self._usage))
        return [frame] if self._sse else [frame, Frame(FrameKind.TERMINAL, b"]")]

    def _frame(self, kind: FrameKind, response: Json) -> Frame:
        if self._sse:
            return Frame(kind, sse_event(response))
        separator = b",\n" if self._begun else b"["
        self._begun = True
        return Frame(kind, separator + pretty(response))


# ------------------------------------------------------------------ whole answers and lists


def render_reply(request: ParsedRequest, reply: Reply) -> bytes:
    """Return the body of an answer that is not streamed."""
    parts = [made for part in reply.message.parts for made in _reply_parts(part)]
    called = bool(reply.tool_calls)
    tokens = [
        _token(part) for part in reply.message.parts if isinstance(part, Opaque) and part.type == CONTINUATION
    ]
    candidate = _last_candidate(
        parts, reply.finish_reason, called, reply.citations, reply.text, tokens[-1] if tokens else None
    )
    return pretty(_response(request, candidate | rendered(reply.logprobs), reply.usage))


def render_listing(request: ParsedRequest, models: Sequence[str]) -> bytes:
    """Return a list of models, one model or a count of tokens."""
    match request.operation:
        case Operation.MODEL:
            return pretty(_model(request.model))
        case Operation.COUNT:
            counted = [{"modality": "TEXT", "tokenCount": request.prompt_tokens}]
            return pretty({"totalTokens": request.prompt_tokens, "promptTokensDetails": counted})
        case _:
            return pretty({"models": [_model(name) for name in models]})


def render_embeddings(request: ParsedRequest, vectors: Sequence[Sequence[float]]) -> bytes:
    """Return the body with one vector for each text."""
    made = [{"values": vector} for vector in vectors]
    is_batch = not isinstance(request.form, EmbedForm) or request.form.batch
    body: Json = {"embeddings": made} if is_batch else {"embedding": made[0]}
    return pretty({**body, "usageMetadata": {"promptTokenCount": request.prompt_tokens}})


# ------------------------------------------------------------------ pieces


def form_of(request: ParsedRequest) -> StreamForm:
    return request.form if isinstance(request.form, StreamForm) else StreamForm()


def sse_event(response: object) -> bytes:
    return encoded(f"data: {dumps(response, spaced=True, escape_html=True)}\r\n\r\n")


def _response(request: ParsedRequest, candidate: Mapping[str, Any], usage: Usage) -> Json:
    return {
        "candidates": [candidate],
        "usageMetadata": _usage(usage),
        "modelVersion": request.model,
        "responseId": request.identity.id,
    }


def _last_candidate(
    parts: list[Json],
    reason: FinishReason,
    called: bool,
    citations: Sequence[CitationDelta],
    text: str,
    token: str | None,
) -> Json:
    candidate: Json = {
        "content": {"parts": parts, "role": "model"},
        "finishReason": FINISH[reason],
        "index": 0,
    }
    if token:
        candidate |= {"finishReason": "CONTINUATION", "continuationToken": token}
    if called:
        candidate["finishMessage"] = "Model generated function call(s)."
    if citations:
        candidate["groundingMetadata"] = _grounding(citations, text)
    return candidate


def _reply_parts(part: object) -> list[Json]:
    match part:
        case Text(text, signature):
            return [{"text": text, **({"thoughtSignature": signature} if signature else {})}]
        case Reasoning(text, signature):
            signed = {"thoughtSignature": signature} if signature else {}
            return [{"text": text, "thought": True, **signed}]
        case ToolCall():
            return [_call_part(part)]
        case Opaque(type=kind) if kind == CONTINUATION:
            return []
        case Image() | File() | Opaque():
            return [_own_part(part)]
        case _:
            return []


def _token(part: Opaque) -> str:
    return str(part.parsed().get("continuationToken") or "")


def _own_part(part: Image | File | Opaque) -> Json:
    """Code the provider ran itself and its result, images and speech."""
    if isinstance(part, Opaque):
        return part.parsed()
    if part.data is None:
        return {"fileData": {"fileUri": part.url}}
    inline = {"mimeType": part.media_type, "data": base64.b64encode(part.data).decode()}
    if isinstance(part, File):
        return {"inlineData": inline}
    return {"inlineData": inline, **({"thoughtSignature": part.signature} if part.signature else {})}


def _call_part(call: ToolCall) -> Json:
    named: Json = {"name": call.name, "args": arguments_value(call.arguments)}
    function = {**named, "id": call.id} if call.id else named
    return {"functionCall": function, **({"thoughtSignature": call.signature} if call.signature else {})}


def _grounding(citations: Sequence[CitationDelta], text: str) -> Json:
    """Every source once. A segment counts bytes of the text; a start of 0 is left out."""
    pages = list(dict.fromkeys(source for one in citations for source in one.sources))
    supports = []
    for one in citations:
        start, end = (len(text[:place].encode()) if place else None for place in (one.start, one.end))
        segment = {"startIndex": start, "endIndex": end, "text": one.text}
        supports.append(
            {
                "segment": {name: value for name, value in segment.items() if value is not None},
                "groundingChunkIndices": [pages.index(source) for source in one.sources],
            }
        )
    chunks = [{"web": {"uri": page, "title": page}} for page in pages]
    return {"groundingChunks": chunks, "groundingSupports": supports}


def _usage(usage: Usage) -> Json:
    """Counts of zero are left out; candidates and thoughts are counted apart."""
    prompt, thoughts = usage.input_tokens or 0, usage.reasoning_tokens or 0
    counts: Json = {
        "promptTokenCount": prompt,
        "candidatesTokenCount": max(0, (usage.output_tokens or 0) - thoughts),
        "totalTokenCount": usage.total_tokens or 0,
        "cachedContentTokenCount": usage.cached_input_tokens or 0,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": prompt}],
        "thoughtsTokenCount": thoughts,
    }
    return {name: count for name, count in counts.items() if count}


def _model(model: str) -> Json:
    return {
        "name": f"models/{model}",
        "version": "001",
        "displayName": model,
        "inputTokenLimit": 1048576,
        "outputTokenLimit": 65536,
        "supportedGenerationMethods": ["generateContent", "countTokens"],
    }
