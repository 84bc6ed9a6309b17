"""Chat completions as OpenAI, Groq, xAI and compatible servers speak it, each with its own accent.

The stream is `data:` lines of chunks, LF LF, ended by `data: [DONE]`. OpenAI sends usage only if asked, in a chunk
without choices, and pads every chunk; Groq adds `x_groq`, calls thinking `reasoning` and sends whole tool calls;
xAI calls it `reasoning_content`, sends whole tool calls and always usage, which leaves reasoning out.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import unquote

from ...events import CitationDelta, FinishReason, Usage
from ...failures import FailureKind
from ...messages import Image, ToolCall
from .. import openai_errors as errors
from ..rules import Illegal, Rule
from ..server import (
    CREATED,
    AccountRules,
    Answer,
    Frame,
    FrameKind,
    HttpAnswer,
    ParsedRequest,
    Rejected,
    SimRequest,
    count_tokens,
    dumps,
    split_tokens,
    vector_of,
)
from ..server_base import BaseSpeaker
from . import rules

FINISH: Mapping[FinishReason, str] = {
    FinishReason.STOP: "stop",
    FinishReason.LENGTH: "length",
    FinishReason.TOOL_CALLS: "tool_calls",
    FinishReason.CONTENT_FILTER: "content_filter",
    FinishReason.REFUSAL: "stop",  # the refusal field says it
    FinishReason.PAUSE: "stop",
    FinishReason.OTHER: "other",
}


class ChatCompletions(BaseSpeaker):
    """A compatible server (llama.cpp, vLLM …): the plain dialect, no key needed, unknown fields ignored."""

    base_path = "/v1"
    needs_key = False
    whole_calls: ClassVar[bool] = False
    reasoning_field: ClassVar[str | None] = "reasoning_content"
    has_embeddings: ClassVar[bool] = True
    makes_images: ClassVar[bool] = True  # as OpenRouter hands them on
    faults: ClassVar[Mapping[FailureKind, errors.Fault]] = errors.FAULTS
    spoken = frozenset(errors.FAULTS)

    # ---- understanding

    def key_of(self, headers: Mapping[str, str], query: Mapping[str, str]) -> str | None:
        scheme, _, key = headers.get("authorization", "").partition(" ")
        return key.strip() or None if scheme.lower() == "bearer" else None

    def parse(self, request: SimRequest, terms: AccountRules) -> ParsedRequest:
        self.admit(request, terms)
        path = request.path.removeprefix(self.base_path)
        match request.method, path:
            case "POST", "/chat/completions":
                self.require(self._rule(), request)
                self.require(rules.in_order(prefill=terms.prefill), request)
                return self._chat(request)
            case "POST", "/embeddings" if self.has_embeddings:
                self.require(rules.EMBEDDINGS, request)
                return self._embed(request)
            case "GET", "/models":
                return ParsedRequest(what="models", number=request.number)
            case "GET", path if path.startswith("/models/"):
                model = unquote(path.removeprefix("/models/"))  # Groq's have a slash of their own
                return ParsedRequest(what="model", number=request.number, model=model)
            case _:
                raise Rejected(
                    self._answer(404, errors.no_route(request.method, request.path), request.number)
                )

    def _rule(self) -> Rule:
        return rules.COMPATIBLE

    def _no_key(self, request: SimRequest) -> HttpAnswer:
        return self._answer(401, errors.NO_KEY, request.number)

    def _no_json(self, request: SimRequest) -> HttpAnswer:
        return self._answer(400, errors.NO_JSON, request.number)

    def _illegal(self, illegal: Illegal, request: SimRequest) -> HttpAnswer:
        return self._answer(400, errors.complaint(illegal), request.number)

    def _chat(self, request: SimRequest) -> ParsedRequest:
        body = request.body
        options = body.get("stream_options") or {}
        return ParsedRequest(
            what="chat",
            number=request.number,
            model=body["model"],
            stream=bool(body.get("stream")),
            prompt_tokens=count_tokens(body["messages"]),
            options={
                "include_usage": bool(options.get("include_usage")),
                "obfuscated": options.get("include_obfuscation", True),
            },
        )

    def _embed(self, request: SimRequest) -> ParsedRequest:
        body = request.body
        texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
        return ParsedRequest(
            what="embed",
            number=request.number,
            model=body["model"],
            texts=texts,
            dimensions=body.get("dimensions"),
            prompt_tokens=count_tokens(texts),
            options={"base64": body.get("encoding_format") == "base64"},
        )

    # ---- a good answer

    def headers(self, asked: ParsedRequest) -> Mapping[str, str]:
        streamed = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}
        return streamed if asked.stream else {"content-type": "application/json"}

    def stream(self, asked: ParsedRequest, answer: Answer) -> Iterator[Frame]:
        yield from self._opening(asked, answer)
        for delta in self._deltas(answer):
            yield Frame(FrameKind.CONTENT, self._event(asked, delta))
        yield Frame(FrameKind.FINISH, self._finish_event(asked, answer))
        if asked.options["include_usage"]:
            yield Frame(FrameKind.FINISH, self._usage_event(asked, answer))
        yield Frame(FrameKind.TERMINAL, b"data: [DONE]\n\n")

    def _opening(self, asked: ParsedRequest, answer: Answer) -> Iterator[Frame]:
        content = None if answer.tool_calls and not answer.tokens else ""
        yield Frame(FrameKind.OPENING, self._event(asked, {"role": "assistant", "content": content}))

    def _deltas(self, answer: Answer) -> Iterator[dict[str, Any]]:
        if self.reasoning_field:
            for token in answer.reasoning:
                yield self._reasoning_delta(token)
        for token in answer.tokens:
            yield {"refusal" if answer.refusal else "content": token}
        for image in self._images(answer):
            yield {"images": [image]}
        for index, call in enumerate(answer.tool_calls):
            yield from self._call_deltas(index, call)
        if annotations := self._annotations(answer):
            yield {"annotations": annotations}

    def _images(self, answer: Answer) -> list[dict[str, Any]]:
        images = [part for part in answer.parts if isinstance(part, Image)] if self.makes_images else []
        return [{"type": "image_url", "image_url": {"url": _image_url(image)}} for image in images]

    def _annotations(self, answer: Answer) -> list[dict[str, Any]]:
        return [_url_citation(citation) for citation in answer.citations]

    def _reasoning_delta(self, token: str) -> dict[str, Any]:
        return {str(self.reasoning_field): token}

    def _call_deltas(self, index: int, call: ToolCall) -> Iterator[dict[str, Any]]:
        function = {"name": call.name, "arguments": ""}
        yield {"tool_calls": [{"index": index, "id": call.id, "type": "function", "function": function}]}
        for piece in split_tokens(call.arguments):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}

    def _event(self, asked: ParsedRequest, delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return self._data({**self._envelope(asked, "chat.completion.chunk"), "choices": [choice]})

    def _finish_event(self, asked: ParsedRequest, answer: Answer) -> bytes:
        return self._event(asked, {}, FINISH[answer.finish])

    def _usage_event(self, asked: ParsedRequest, answer: Answer) -> bytes:
        envelope = self._envelope(asked, "chat.completion.chunk")
        return self._data({**envelope, "choices": [], "usage": self._usage(answer.usage)})

    def _envelope(self, asked: ParsedRequest, kind: str) -> dict[str, Any]:
        return {
            "id": f"chatcmpl-sim{asked.number:06}",
            "object": kind,
            "created": CREATED,
            "model": asked.model,
        }

    def _data(self, chunk: object) -> bytes:
        return f"data: {dumps(chunk)}\n\n".encode()

    def _usage(self, usage: Usage) -> dict[str, Any]:
        return {
            "prompt_tokens": usage.input_tokens or 0,
            "completion_tokens": usage.output_tokens or 0,
            "total_tokens": usage.total_tokens or 0,
            "prompt_tokens_details": {"cached_tokens": usage.cached_input_tokens or 0},
            "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens or 0},
        }

    def whole(self, asked: ParsedRequest, answer: Answer) -> bytes:
        choice = {"index": 0, "message": self._message(answer), "finish_reason": FINISH[answer.finish]}
        envelope = self._envelope(asked, "chat.completion")
        return dumps({**envelope, "choices": [choice], "usage": self._usage(answer.usage)}).encode()

    def _message(self, answer: Answer) -> dict[str, Any]:
        said = None if answer.refusal or (answer.tool_calls and not answer.text) else answer.text
        message: dict[str, Any] = {"role": "assistant", "content": said}
        if self.reasoning_field and answer.reasoning:
            message[self.reasoning_field] = answer.reasoning_text
        if images := self._images(answer):
            message["images"] = images
        if annotations := self._annotations(answer):
            message["annotations"] = annotations
        if answer.tool_calls:
            message["tool_calls"] = [whole_call(call) for call in answer.tool_calls]
        if answer.refusal:
            message["refusal"] = answer.text
        return message

    def listing(self, asked: ParsedRequest, models: Sequence[str]) -> bytes:
        if asked.what == "model":
            return dumps(self._entry(asked.model)).encode()
        return dumps({"object": "list", "data": [self._entry(name) for name in models]}).encode()

    def _entry(self, model: str) -> dict[str, Any]:
        return {"id": model, "object": "model", "created": CREATED, "owned_by": "system"}

    def embeddings(self, asked: ParsedRequest) -> bytes:
        vectors = [vector_of(text, asked.dimensions) for text in asked.texts]
        data = [
            {
                "object": "embedding",
                "index": index,
                "embedding": _packed(vector) if asked.options["base64"] else vector,
            }
            for index, vector in enumerate(vectors)
        ]
        usage = {"prompt_tokens": asked.prompt_tokens, "total_tokens": asked.prompt_tokens}
        return dumps({"object": "list", "data": data, "model": asked.model, "usage": usage}).encode()

    # ---- a bad one

    def _failure(
        self, kind: FailureKind, asked: ParsedRequest, status: int | None, wait: float | None
    ) -> HttpAnswer:
        fault = self.faults[kind]
        return self._answer(
            status or fault.status, fault.body(asked.model, wait), asked.number, fault.headers(wait)
        )

    def _answer(
        self, status: int, body: Mapping[str, Any], number: int, headers: Mapping[str, str] | None = None
    ) -> HttpAnswer:
        common = {
            "content-type": "application/json",
            "x-request-id": f"req_sim{number:06}",
            **(headers or {}),
        }
        return HttpAnswer(status=status, headers=common, body=dumps(body, indent=2).encode() + b"\n")

    def failure_frame(self, kind: FailureKind, asked: ParsedRequest, wait: float | None) -> bytes:
        return self._data(self.faults[self.inside(kind)].body(asked.model, wait))

    def garbled(self, asked: ParsedRequest) -> bytes:
        return b'data: {"id":"chatcmpl-sim","object":"chat.completion.chunk","choices":[{"index":0,"del\n\n'

    def ping(self, asked: ParsedRequest) -> bytes:
        return b": keepalive\n\n"


class OpenAI(ChatCompletions):
    """The original: strict about fields, hides reasoning, pads its chunks."""

    needs_key = True
    reasoning_field = None
    makes_images = False
    _limits: ClassVar[Mapping[str, str]] = {
        "x-ratelimit-limit-requests": "10000",
        "x-ratelimit-limit-tokens": "2000000",
        "x-ratelimit-remaining-requests": "9999",
        "x-ratelimit-remaining-tokens": "1999976",
        "x-ratelimit-reset-requests": "6ms",
        "x-ratelimit-reset-tokens": "0s",
    }

    def _rule(self) -> Rule:
        return rules.OPENAI

    def headers(self, asked: ParsedRequest) -> Mapping[str, str]:
        kind = "text/event-stream; charset=utf-8" if asked.stream else "application/json"
        own = {
            "openai-version": "2020-10-01",
            "openai-processing-ms": "140",
            "x-request-id": f"req_sim{asked.number:06}",
        }
        return {"content-type": kind, "server": "cloudflare", **own, **self._limits}

    def _opening(self, asked: ParsedRequest, answer: Answer) -> Iterator[Frame]:
        if answer.tool_calls and not answer.tokens:
            delta: dict[str, Any] = {"role": "assistant", "content": None}
        elif answer.refusal:
            delta = {"role": "assistant", "content": None, "refusal": ""}
        else:
            delta = {"role": "assistant", "content": "", "refusal": None}
        yield Frame(FrameKind.OPENING, self._event(asked, delta))

    def _envelope(self, asked: ParsedRequest, kind: str) -> dict[str, Any]:
        envelope = super()._envelope(asked, kind)
        if kind == "chat.completion.chunk":
            envelope |= {"service_tier": "default", "system_fingerprint": None}
        return envelope

    def _event(self, asked: ParsedRequest, delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        chunk = {**self._envelope(asked, "chat.completion.chunk"), "choices": [choice]}
        if asked.options["include_usage"]:
            chunk["usage"] = None
        return self._padded(asked, chunk)

    def _usage_event(self, asked: ParsedRequest, answer: Answer) -> bytes:
        envelope = self._envelope(asked, "chat.completion.chunk")
        return self._padded(asked, {**envelope, "choices": [], "usage": self._usage(answer.usage)})

    def _padded(self, asked: ParsedRequest, chunk: dict[str, Any]) -> bytes:
        if asked.options["obfuscated"]:
            noise = hashlib.blake2b(repr(chunk["choices"]).encode(), digest_size=8).hexdigest()
            chunk["obfuscation"] = noise[: int(noise[0], 16) + 1]
        return self._data(chunk)

    def _usage(self, usage: Usage) -> dict[str, Any]:
        shown = super()._usage(usage)
        shown["prompt_tokens_details"]["audio_tokens"] = 0
        for name in ("audio_tokens", "accepted_prediction_tokens", "rejected_prediction_tokens"):
            shown["completion_tokens_details"][name] = 0
        return shown

    def whole(self, asked: ParsedRequest, answer: Answer) -> bytes:
        message = {**self._message(answer), "refusal": answer.text if answer.refusal else None}
        message["annotations"] = self._annotations(answer)
        choice = {"index": 0, "message": message, "finish_reason": FINISH[answer.finish]}
        reply = {
            **self._envelope(asked, "chat.completion"),
            "choices": [choice],
            "usage": self._usage(answer.usage),
            "service_tier": "default",
            "system_fingerprint": None,
        }
        return dumps(reply, indent=2).encode() + b"\n"


def whole_call(call: ToolCall) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _image_url(image: Image) -> str:
    if image.data is None:
        return image.url or ""
    return f"data:{image.media_type};base64,{base64.b64encode(image.data).decode()}"


def _url_citation(citation: CitationDelta) -> dict[str, Any]:
    source = citation.sources[0] if citation.sources else ""
    where = {"start_index": citation.start, "end_index": citation.end}
    return {"type": "url_citation", "url_citation": {**where, "title": citation.text, "url": source}}


def _packed(vector: Sequence[float]) -> str:
    """Little-endian float32 in base64: OpenAI's compact form."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
