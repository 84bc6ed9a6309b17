"""Renders an answer as Ollama does: lines of JSON, the last of them with `done: true`; arguments are objects.

Tool calls come whole. An error inside a stream is a line `{"error": …}` under status 200. What the API has no place
for is left out: seals of reasoning, citations, images, opaque parts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...events import (
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
from ...messages import ToolCall
from ..held_calls import HeldCalls
from ..logprobs import render_tokens
from ..server import Frame, FrameKind, Operation, ParsedRequest, Preview
from ..writing import arguments_value, dumps, encoded
from .errors import text_of
from .parse import HealthForm

Json = dict[str, Any]

FINISH: Mapping[FinishReason, str] = {
    FinishReason.STOP: "stop",
    FinishReason.LENGTH: "length",
    FinishReason.TOOL_CALLS: "stop",
    FinishReason.CONTENT_FILTER: "stop",
    FinishReason.REFUSAL: "stop",
    FinishReason.PAUSE: "stop",
    FinishReason.OTHER: "unload",
}

DETAILS: Mapping[str, Any] = {
    "parent_model": "",
    "format": "gguf",
    "family": "qwen3",
    "families": ["qwen3"],
    "parameter_size": "4.0B",
    "quantization_level": "Q4_K_M",
}


class OllamaRenderer:
    """Renders one streamed answer. Nothing is sent before the first event: a model that loads looks like silence."""

    def __init__(self, request: ParsedRequest, preview: Preview | None = None) -> None:
        self._request = request
        self._usage = (preview or Preview()).usage
        self._calls = HeldCalls()
        self._sent_calls = 0
        self._logprobs: list[TokenLogprob] = []  # they wait for the next line

    def begin(self) -> list[Frame]:
        return []

    def render(self, event: StreamEvent) -> list[Frame]:
        match event:
            case ToolCallDelta():
                call, _ = self._calls.add(event)
                return self._call_frames([ended.whole() for ended in self._calls.take(before=call)])
            case ReasoningDelta(text):
                return [*self._ended_calls(), self._frame({"content": "", "thinking": text})]
            case TextDelta(text):
                return [*self._ended_calls(), self._frame({"content": text})]
            case UsageUpdate(usage):
                self._usage = usage
                return []
            case LogprobsDelta(tokens):
                self._logprobs += tokens
                return []
            case Finished(reason):
                ended = {"done": True, **_tail(reason, self._usage), **self._taken_logprobs()}
                last = {**_head(self._request, {"content": ""}), **ended}
                return [*self._ended_calls(), Frame(FrameKind.FINISH, _line(last))]
            case _:
                return []

    def fail(self, kind: FailureKind, *, message: str | None = None, wait: float | None = None) -> bytes:
        return _line({"error": text_of(kind, self._request.model, message)})

    def _ended_calls(self) -> list[Frame]:
        return self._call_frames([call.whole() for call in self._calls.take()])

    def _call_frames(self, calls: Sequence[ToolCall]) -> list[Frame]:
        first = self._sent_calls
        self._sent_calls += len(calls)
        made = (_call(index, call) for index, call in enumerate(calls, first))
        return [self._frame({"content": "", "tool_calls": [call]}) for call in made]

    def _frame(self, message: Json) -> Frame:
        tail = {"done": False, **self._taken_logprobs()}
        return Frame(FrameKind.CONTENT, _line({**_head(self._request, message), **tail}))

    def _taken_logprobs(self) -> Json:
        tokens, self._logprobs = self._logprobs, []
        return _logprobs(tokens)


# ------------------------------------------------------------------ whole answers and lists


def render_reply(request: ParsedRequest, reply: Reply) -> bytes:
    """Return the body of an answer that is not streamed."""
    message: Json = {"content": reply.text}
    if reply.reasoning:
        message["thinking"] = reply.reasoning
    if reply.tool_calls:
        message["tool_calls"] = [_call(index, call) for index, call in enumerate(reply.tool_calls)]
    tail = {**_tail(reply.finish_reason, reply.usage), **_logprobs(reply.logprobs)}
    return _line({**_head(request, message), "done": True, **tail}).rstrip()


def render_listing(request: ParsedRequest, models: Sequence[str]) -> bytes:
    """Return a list of models, one model or a health check."""
    match request.operation:
        case Operation.HEALTH:
            is_root = isinstance(request.form, HealthForm) and request.form.root
            return b"Ollama is running" if is_root else b'{"version":"0.12.6"}'
        case Operation.MODEL:
            shown = {"details": DETAILS, "model_info": {"general.architecture": "qwen3"}}
            able = ["completion", "tools", "thinking"]
            return encoded(dumps({"modelfile": "", "template": "", **shown, "capabilities": able}))
        case _:
            created = request.identity.created_text
            return encoded(dumps({"models": [_tag(name, created) for name in models]}))


def render_embeddings(request: ParsedRequest, vectors: Sequence[Sequence[float]]) -> bytes:
    """Return the body with one vector for each text."""
    body = {
        "model": request.model,
        "embeddings": vectors,
        "total_duration": 14143917,
        "load_duration": 1019500,
        "prompt_eval_count": request.prompt_tokens,
    }
    return encoded(dumps(body))


# ------------------------------------------------------------------ pieces


def _line(value: object) -> bytes:
    return encoded(f"{dumps(value, escape_html=True)}\n")


def _head(request: ParsedRequest, message: Mapping[str, Any]) -> Json:
    created = request.identity.created_text
    return {"model": request.model, "created_at": created, "message": {"role": "assistant", **message}}


def _tail(reason: FinishReason, usage: Usage) -> Json:
    return {
        "done_reason": FINISH[reason],
        "total_duration": 1735248334,
        "load_duration": 139246000,
        "prompt_eval_count": usage.input_tokens or 0,
        "prompt_eval_duration": 247164000,
        "eval_count": usage.output_tokens or 0,
        "eval_duration": 1337032000,
    }


def _logprobs(tokens: Sequence[TokenLogprob]) -> Json:
    return {"logprobs": render_tokens(tokens)} if tokens else {}


def _call(index: int, call: ToolCall) -> Json:
    function = {"index": index, "name": call.name, "arguments": arguments_value(call.arguments)}
    return {"id": call.id, "function": function}


def _tag(model: str, created: str) -> Json:
    return {
        "name": model,
        "model": model,
        "modified_at": created,
        "size": 2497293931,
        "digest": "0" * 64,
        "details": DETAILS,
    }
