"""Ollama's chat: NDJSON lines, the last with `done: true`; arguments as objects; no key; as lenient as Go's decoder.

Nothing is written before the first delta, headers included: a model that is being loaded looks like silence.
An error after that is a line `{"error": …}` under status 200.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...events import FinishReason
from ...failures import FailureKind
from ...failures import FailureKind as K
from ..rules import (
    Illegal,
    Problem,
    Rule,
    Where,
    anything,
    array,
    base64_text,
    boolean,
    either,
    fields,
    filled,
    json_object,
    nullable,
    one_of,
    string,
)
from ..server import (
    RFC3339,
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
    vector_of,
)
from ..server import json_object as parsed_object
from ..server_base import BaseSpeaker

FINISH: Mapping[FinishReason, str] = {
    FinishReason.STOP: "stop",
    FinishReason.LENGTH: "length",
    FinishReason.TOOL_CALLS: "stop",
    FinishReason.CONTENT_FILTER: "stop",
    FinishReason.REFUSAL: "stop",
    FinishReason.PAUSE: "stop",
    FinishReason.OTHER: "unload",
}

FAULTS: Mapping[FailureKind, tuple[int, str]] = {
    K.CONTEXT_LENGTH: (400, "prompt too long; exceeded max context length by 4417 tokens"),
    K.CONTENT_POLICY: (400, "the request was blocked by the content policy"),
    K.BAD_REQUEST: (400, '"{model}" does not support thinking'),
    K.CREDENTIAL: (401, "unauthorized"),
    K.PERMISSION: (403, "this model is not available to your account"),
    K.QUOTA: (429, "you (account) have reached your hourly usage limit, please upgrade to continue"),
    K.RATE_LIMIT: (429, "too many requests"),
    K.OVERLOADED: (503, "server busy, please try again.  maximum pending requests exceeded"),
    K.SERVER: (500, "an error was encountered while running the model: unexpected EOF"),
    K.MODEL_NOT_FOUND: (404, "model '{model}' not found"),
    K.REGION: (403, "your country or region is not supported"),
}

_CALL = fields(
    {"function": fields({"name": filled, "arguments": json_object}, {"index": anything})}, open=True
)
_MESSAGE = fields(
    {"role": one_of("system", "user", "assistant", "tool")},
    {
        "content": string,
        "thinking": string,
        "images": array(base64_text),
        "tool_calls": array(_CALL),
        "tool_name": string,
        "tool_call_id": string,
    },
    open=True,
)
CHAT: Rule = fields(
    {"model": filled},
    {
        "messages": array(_MESSAGE),
        "stream": nullable(boolean),
        "think": nullable(either(boolean, one_of("low", "medium", "high", "max"))),
        "format": nullable(either(json_object, one_of("", "json"))),
        "tools": nullable(array(fields({"type": string, "function": json_object}, open=True))),
        "options": nullable(json_object),
    },
    open=True,
)
EMBED: Rule = fields({"model": filled, "input": either(string, array(string))}, open=True)
SHOW: Rule = fields({"model": filled}, open=True)

DETAILS: Mapping[str, Any] = {
    "parent_model": "",
    "format": "gguf",
    "family": "qwen3",
    "families": ["qwen3"],
    "parameter_size": "4.0B",
    "quantization_level": "Q4_K_M",
}


def _ending(*, prefill: bool | None) -> Rule:
    """Ollama itself goes on from an assistant's message; a template that cannot is scripted."""

    def rule(body: object, where: Where) -> None:
        messages = body.get("messages") if isinstance(body, dict) else None
        if prefill is False and messages and messages[-1]["role"] == "assistant":
            raise Illegal(Problem.ORDER, ("messages",), "a user's message at the end")

    return rule


class Ollama(BaseSpeaker):
    base_path = ""
    needs_key = False
    spoken = frozenset(FAULTS)

    def key_of(self, headers: Mapping[str, str], query: Mapping[str, str]) -> str | None:
        return headers.get("authorization", "").removeprefix("Bearer ") or None

    def parse(self, request: SimRequest, terms: AccountRules) -> ParsedRequest:
        self.admit(request, terms)
        match request.method, request.path:
            case "POST", "/api/chat":
                self.require(CHAT, request)
                self.require(_ending(prefill=terms.prefill), request)
                return self._chat(request)
            case "POST", "/api/embed":
                self.require(EMBED, request)
                return self._embed(request)
            case (("GET" | "HEAD"), ("/" | "/api/version")):
                return ParsedRequest(what="health", number=request.number, options={"path": request.path})
            case "GET", ("/api/tags" | "/api/ps"):
                return ParsedRequest(what="models", number=request.number)
            case "POST", "/api/show":
                self.require(SHOW, request)
                return ParsedRequest(what="model", number=request.number, model=request.body["model"])
            case _:
                plain = {"content-type": "text/plain"}
                raise Rejected(HttpAnswer(status=404, headers=plain, body=b"404 page not found"))

    def _chat(self, request: SimRequest) -> ParsedRequest:
        body = request.body
        messages = body.get("messages") or []
        return ParsedRequest(
            what="chat",
            number=request.number,
            model=body["model"],
            stream=body.get("stream") is not False,  # left out, it is true
            prompt_tokens=count_tokens(messages),
        )

    def _embed(self, request: SimRequest) -> ParsedRequest:
        given = request.body["input"]
        texts = [given] if isinstance(given, str) else given
        return ParsedRequest(
            what="embed",
            number=request.number,
            model=request.body["model"],
            texts=texts,
            dimensions=request.body.get("dimensions"),
            prompt_tokens=count_tokens(texts),
        )

    def _no_key(self, request: SimRequest) -> HttpAnswer:
        return _error(401, "unauthorized")

    def _no_json(self, request: SimRequest) -> HttpAnswer:
        return _error(400, "missing request body")

    def _illegal(self, illegal: Illegal, request: SimRequest) -> HttpAnswer:
        return _error(400, _complaint(illegal))

    # ---- a good answer

    def headers(self, asked: ParsedRequest) -> Mapping[str, str]:
        if asked.what == "health" and asked.options["path"] == "/":
            return {"content-type": "text/plain; charset=utf-8"}
        return {"content-type": "application/x-ndjson" if asked.stream else "application/json; charset=utf-8"}

    def stream(self, asked: ParsedRequest, answer: Answer) -> Iterator[Frame]:
        for token in answer.reasoning:
            yield Frame(FrameKind.CONTENT, self._line(asked, {"content": "", "thinking": token}))
        for token in answer.tokens:
            yield Frame(FrameKind.CONTENT, self._line(asked, {"content": token}))
        for call in self._calls(answer):
            yield Frame(FrameKind.CONTENT, self._line(asked, {"content": "", "tool_calls": [call]}))
        last = {**self._head(asked, {"content": ""}), "done": True, **self._tail(answer)}
        yield Frame(FrameKind.FINISH, _line(last))

    def _calls(self, answer: Answer) -> list[dict[str, Any]]:
        return [
            {
                "id": call.id,
                "function": {"index": index, "name": call.name, "arguments": parsed_object(call.arguments)},
            }
            for index, call in enumerate(answer.tool_calls)
        ]

    def _head(self, asked: ParsedRequest, message: Mapping[str, Any]) -> dict[str, Any]:
        return {"model": asked.model, "created_at": RFC3339, "message": {"role": "assistant", **message}}

    def _line(self, asked: ParsedRequest, message: Mapping[str, Any]) -> bytes:
        return _line({**self._head(asked, message), "done": False})

    def _tail(self, answer: Answer) -> dict[str, Any]:
        return {
            "done_reason": FINISH[answer.finish],
            "total_duration": 1735248334,
            "load_duration": 139246000,
            "prompt_eval_count": answer.usage.input_tokens or 0,
            "prompt_eval_duration": 247164000,
            "eval_count": answer.usage.output_tokens or 0,
            "eval_duration": 1337032000,
        }

    def whole(self, asked: ParsedRequest, answer: Answer) -> bytes:
        message: dict[str, Any] = {"content": answer.text}
        if answer.reasoning:
            message["thinking"] = answer.reasoning_text
        if answer.tool_calls:
            message["tool_calls"] = self._calls(answer)
        return _line({**self._head(asked, message), "done": True, **self._tail(answer)}).rstrip()

    def listing(self, asked: ParsedRequest, models: Sequence[str]) -> bytes:
        if asked.what == "health":
            return b"Ollama is running" if asked.options["path"] == "/" else b'{"version":"0.12.6"}'
        if asked.what == "model":
            shown = {"details": DETAILS, "model_info": {"general.architecture": "qwen3"}}
            able = ["completion", "tools", "thinking"]
            return dumps({"modelfile": "", "template": "", **shown, "capabilities": able}).encode()
        tags = [
            {
                "name": name,
                "model": name,
                "modified_at": RFC3339,
                "size": 2497293931,
                "digest": "0" * 64,
                "details": DETAILS,
            }
            for name in models
        ]
        return dumps({"models": tags}).encode()

    def embeddings(self, asked: ParsedRequest) -> bytes:
        vectors = [vector_of(text, asked.dimensions) for text in asked.texts]
        reply = {
            "model": asked.model,
            "embeddings": vectors,
            "total_duration": 14143917,
            "load_duration": 1019500,
            "prompt_eval_count": asked.prompt_tokens,
        }
        return dumps(reply).encode()

    # ---- a bad one

    def _failure(
        self, kind: FailureKind, asked: ParsedRequest, status: int | None, wait: float | None
    ) -> HttpAnswer:
        usual, message = FAULTS[kind]
        return _error(status or usual, message.replace("{model}", asked.model))

    def failure_frame(self, kind: FailureKind, asked: ParsedRequest, wait: float | None) -> bytes:
        _, message = FAULTS[self.inside(kind)]
        return _line({"error": message.replace("{model}", asked.model)})

    def garbled(self, asked: ParsedRequest) -> bytes:
        return b'{"model":"sim","created_at":"2026-01-01T00:00:00Z","message":{"role":"assis\n'

    def ping(self, asked: ParsedRequest) -> bytes:
        return b""


def _line(value: object) -> bytes:
    return f"{dumps(value, escape_html=True)}\n".encode()


def _error(status: int, message: str) -> HttpAnswer:
    headers = {"content-type": "application/json; charset=utf-8"}
    return HttpAnswer(
        status=status, headers=headers, body=dumps({"error": message}, escape_html=True).encode()
    )


def _complaint(illegal: Illegal) -> str:
    names = ".".join(str(step) for step in illegal.where if isinstance(step, str))
    match illegal.problem:
        case Problem.MISSING:
            return f"{names} is required"
        case Problem.TYPE:
            return (
                f"json: cannot unmarshal {illegal.got_kind} into Go struct field ChatRequest.{names} of type"
                f" {illegal.expected}"
            )
        case Problem.VALUE if illegal.expected == "base64":
            return "illegal base64 data at input byte 0"
        case Problem.UNKNOWN | Problem.VALUE | Problem.ORDER:
            return f"invalid {names}: expected {illegal.expected}"
