"""Renders an answer as a chat completion. The plain form is here; `openai`, `groq` and `xai` change details of it.

A stream is `data:` lines of chunks, each ended by a blank line, and `data: [DONE]` at the end. Citations wait for the
finish, as the servers have it. What the API has no place for is left out: seals of other APIs, opaque parts.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

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
from ...messages import File, Image, Reasoning, ToolCall
from .. import openai_errors as errors
from ..held_calls import HeldCalls
from ..openai_errors import Fault
from ..own_fields import unpacked
from ..server import Frame, FrameKind, Operation, ParsedRequest, Preview
from ..server_base import fault_of
from ..writing import data_event, dumps, encoded
from .content import image_part
from .logprobs import rendered
from .message_fields import FIELDS, extra_content
from .parse import EmbedForm, StreamForm

Json = dict[str, Any]

FINISH: Mapping[FinishReason, str] = {
    FinishReason.STOP: "stop",
    FinishReason.LENGTH: "length",
    FinishReason.TOOL_CALLS: "tool_calls",
    FinishReason.CONTENT_FILTER: "content_filter",
    FinishReason.REFUSAL: "stop",  # the refusal field says it
    FinishReason.PAUSE: "stop",
    FinishReason.OTHER: "other",
}

DONE = b"data: [DONE]\n\n"


class ChatCompletionsRenderer:
    """Renders one answer, streamed or whole, as a server compatible with OpenAI does (llama.cpp, vLLM …)."""

    reasoning_field: ClassVar[str | None] = "reasoning_content"
    """Where reasoning is shown. None: it is not."""
    makes_images: ClassVar[bool] = True
    """As OpenRouter sends them."""
    own_fields: ClassVar[bool] = True
    """Fields beyond those of OpenAI, which the client sends back: `reasoning_details`, `extra_content`."""
    whole_calls: ClassVar[bool] = False
    """A tool call comes in one chunk."""
    always_usage: ClassVar[bool] = False
    """The last chunk has the usage, whether it was asked for or not."""
    faults: ClassVar[Mapping[FailureKind, Fault]] = errors.FAULTS

    def __init__(self, request: ParsedRequest, preview: Preview | None = None) -> None:
        self._request = request
        self._preview = preview or Preview()
        self._form = request.form if isinstance(request.form, StreamForm) else StreamForm()
        self._calls = HeldCalls()
        self._sent_calls = 0  # only where they are sent whole
        self._citations: list[CitationDelta] = []
        self._logprobs: list[TokenLogprob] = []  # they wait for the next chunk
        self._usage = self._preview.usage

    # ---- a stream

    def begin(self) -> list[Frame]:
        content = None if self._preview.calls and not self._preview.text else ""
        return [Frame(FrameKind.OPENING, self._chunk_event({"role": "assistant", "content": content}))]

    def render(self, event: StreamEvent) -> list[Frame]:
        match event:
            case ToolCallDelta():
                return self._frames(self._call_deltas(event))
            case UsageUpdate(usage):
                self._usage = usage
            case CitationDelta():
                self._citations.append(event)
            case LogprobsDelta(tokens):
                self._logprobs += tokens
            case Finished(reason):
                return [*self._frames(self._ended_calls()), *self._finish(reason)]
            case TextDelta() | ReasoningDelta() | ReasoningSeal() | WholePart():
                return self._frames([*self._ended_calls(), *self._content_deltas(event)])
        return []

    def fail(self, kind: FailureKind, *, message: str | None = None, wait: float | None = None) -> bytes:
        return self._data(self.error(fault_of(self.faults, kind), message=message, wait=wait))

    def error(self, fault: Fault, *, message: str | None = None, wait: float | None = None) -> Json:
        """Return an error body."""
        return self._error(fault, fault.text(self._request.model, wait, message))

    def _error(self, fault: Fault, text: str) -> Json:
        return errors.error_body(fault, text)

    def _frames(self, deltas: Sequence[Json]) -> list[Frame]:
        return [Frame(FrameKind.CONTENT, self._chunk_event(delta)) for delta in deltas]

    def _content_deltas(self, event: TextDelta | ReasoningDelta | ReasoningSeal | WholePart) -> list[Json]:
        match event:
            case TextDelta(text):
                return [{"refusal" if self._preview.refused else "content": text}]
            case ReasoningDelta(text) if self.reasoning_field:
                return [self._reasoning_delta(text)]
            case WholePart(Image() as image) if self.makes_images:
                return [{"images": [image_part(image)]}]
            case WholePart(File(data=bytes(sound))):
                return [{"audio": {"data": base64.b64encode(sound).decode()}}]
            case ReasoningSeal(signature) if own := self._own_fields(signature):
                return [own]
            case _:
                return []

    def _own_fields(self, signature: str | None) -> Json:
        fields = unpacked(signature) if self.own_fields else {}
        return {name: value for name, value in fields.items() if name in FIELDS}

    def _reasoning_delta(self, text: str) -> Json:
        return {str(self.reasoning_field): text}

    def _call_deltas(self, event: ToolCallDelta) -> list[Json]:
        call, is_new = self._calls.add(event)
        if self.whole_calls:
            return self._whole_calls([ended.whole() for ended in self._calls.take(before=call)])
        deltas: list[Json] = []
        name, field = ("custom", "input") if call.kind == "custom" else ("function", "arguments")
        if is_new:
            start = {"index": event.index, "id": call.id, "type": name, name: {"name": call.name, field: ""}}
            deltas.append({"tool_calls": [{**start, **self._extra(call.signature)}]})
        elif extra := self._extra(event.signature):
            deltas.append({"tool_calls": [{"index": event.index, **extra}]})
        if event.arguments:
            deltas.append({"tool_calls": [{"index": event.index, name: {field: event.arguments}}]})
        return deltas

    def _extra(self, signature: str | None) -> Json:
        return {"extra_content": extra_content(signature)} if signature and self.own_fields else {}

    def _ended_calls(self) -> list[Json]:
        ended = self._calls.take()
        if self.whole_calls:
            return self._whole_calls([call.whole() for call in ended])
        bare = [call for call in ended if call.arguments and not call.pieces]
        return [{"tool_calls": [{"index": c.index, "function": {"arguments": c.arguments}}]} for c in bare]

    def _whole_calls(self, calls: Sequence[ToolCall]) -> list[Json]:
        """The deltas of calls that are sent whole; their numbers count on from those sent before."""
        first = self._sent_calls
        self._sent_calls += len(calls)
        return [self._whole_call_delta(index, call) for index, call in enumerate(calls, first)]

    def _whole_call_delta(self, index: int, call: ToolCall) -> Json:
        return {"tool_calls": [{**whole_call(call), "index": index}]}

    def _finish(self, reason: FinishReason) -> list[Frame]:
        frames: list[Frame] = []
        if annotations := self._annotations(self._citations):
            frames += self._frames([{"annotations": annotations}])
        frames.append(Frame(FrameKind.FINISH, self._finish_event(reason)))
        if self._form.include_usage or self.always_usage:
            frames.append(Frame(FrameKind.FINISH, self._usage_event()))
        return [*frames, Frame(FrameKind.TERMINAL, DONE)]

    def _finish_event(self, reason: FinishReason) -> bytes:
        return self._chunk_event({}, FINISH[reason])

    def _usage_event(self) -> bytes:
        envelope = self._envelope("chat.completion.chunk")
        return self._data({**envelope, "choices": [], "usage": self._usage_of(self._usage)})

    def _chunk_event(self, delta: Json, finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, **self._taken_logprobs(), "finish_reason": finish}
        return self._data({**self._envelope("chat.completion.chunk"), "choices": [choice]})

    def _taken_logprobs(self) -> Json:
        if not self._logprobs:
            return {}
        tokens, self._logprobs = self._logprobs, []
        return rendered(tokens, refused=self._preview.refused)

    def _data(self, chunk: object) -> bytes:
        return data_event(chunk)

    # ---- a whole answer

    def reply(self, reply: Reply) -> bytes:
        """Return the body of an answer that is not streamed."""
        choice = self._whole_choice(self._message(reply), reply)
        envelope = self._envelope("chat.completion")
        return encoded(dumps({**envelope, "choices": [choice], "usage": self._usage_of(reply.usage)}))

    def _whole_choice(self, message: Json, reply: Reply) -> Json:
        refused = reply.finish_reason is FinishReason.REFUSAL
        logprobs = rendered(reply.logprobs, refused=refused)
        return {"index": 0, "message": message, **logprobs, "finish_reason": FINISH[reply.finish_reason]}

    def _message(self, reply: Reply) -> Json:
        refused = reply.finish_reason is FinishReason.REFUSAL
        text = None if refused or (reply.tool_calls and not reply.text) else reply.text
        message: Json = {"role": "assistant", "content": text}
        if self.reasoning_field and reply.reasoning:
            message[self.reasoning_field] = reply.reasoning
        for part in reply.message.parts:
            if isinstance(part, Reasoning):
                message |= self._own_fields(part.signature)
        if images := self._images(reply):
            message["images"] = images
        if annotations := self._annotations(reply.citations):
            message["annotations"] = annotations
        if reply.tool_calls:
            calls = reply.tool_calls
            message["tool_calls"] = [{**whole_call(call), **self._extra(call.signature)} for call in calls]
        if refused:
            message["refusal"] = reply.text
        if speech := next((p for p in reply.message.parts if isinstance(p, File) and p.data), None):
            sound = base64.b64encode(speech.data or b"").decode()
            message |= {"content": None, "audio": {"data": sound, "transcript": reply.text}}
        return message

    def _images(self, reply: Reply) -> list[Json]:
        parts = reply.message.parts if self.makes_images else ()
        return [image_part(part) for part in parts if isinstance(part, Image)]

    # ---- both

    def _envelope(self, kind: str) -> Json:
        identity = self._request.identity
        return {
            "id": f"chatcmpl-{identity.id}",
            "object": kind,
            "created": identity.created,
            "model": self._request.model,
        }

    def _annotations(self, citations: Sequence[CitationDelta]) -> list[Json]:
        return [_url_citation(citation) for citation in citations]

    def _usage_of(self, usage: Usage) -> Json:
        return {
            "prompt_tokens": usage.input_tokens or 0,
            "completion_tokens": usage.output_tokens or 0,
            "total_tokens": usage.total_tokens or 0,
            "prompt_tokens_details": {"cached_tokens": usage.cached_input_tokens or 0},
            "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens or 0},
        }


def whole_call(call: ToolCall) -> Json:
    """Return a call as the API writes it in one piece."""
    if call.kind == "custom":
        return {"id": call.id, "type": "custom", "custom": {"name": call.name, "input": call.arguments}}
    return {
        "id": call.id,
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments or "{}"},
    }


def _url_citation(citation: CitationDelta) -> Json:
    source = citation.sources[0] if citation.sources else ""
    where = {"start_index": citation.start, "end_index": citation.end}
    return {"type": "url_citation", "url_citation": {**where, "title": citation.text, "url": source}}


# ------------------------------------------------------------------ lists


def embeddings(request: ParsedRequest, vectors: Sequence[Sequence[float]]) -> bytes:
    """Return the body with one vector for each text."""
    packs = isinstance(request.form, EmbedForm) and request.form.base64
    data = [
        {"object": "embedding", "index": index, "embedding": _packed(vector) if packs else vector}
        for index, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": request.prompt_tokens, "total_tokens": request.prompt_tokens}
    return encoded(dumps({"object": "list", "data": data, "model": request.model, "usage": usage}))


def listing(request: ParsedRequest, models: Sequence[str], entry: Callable[[str, int], Json]) -> bytes:
    """Return the body for a list of models, or for one of them; `entry` makes one from its name and a time."""
    created = request.identity.created
    if request.operation is Operation.MODEL:
        return encoded(dumps(entry(request.model, created)))
    return encoded(dumps({"object": "list", "data": [entry(name, created) for name in models]}))


def _packed(vector: Sequence[float]) -> str:
    """Little-endian float32 in base64: OpenAI's compact form."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
