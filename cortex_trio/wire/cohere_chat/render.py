"""Chat v2 as Cohere speaks it: named events that repeat their name as `type`, then a `[DONE]` without one.

    message-start
    (content-start content-delta* (citation-start citation-end)* content-end)*
    tool-plan-delta* (tool-call-start tool-call-delta* tool-call-end)*
    message-end [DONE]

Beside tool calls the reasoning is a `tool_plan`, else a block of type thinking. Errors are flat: a message, no code.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...events import CitationDelta, FinishReason, Usage
from ...failures import FailureKind
from ...failures import FailureKind as K
from ..rules import Illegal, Problem
from ..server import (
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
    FinishReason.STOP: "COMPLETE",
    FinishReason.LENGTH: "MAX_TOKENS",
    FinishReason.TOOL_CALLS: "TOOL_CALL",
    FinishReason.CONTENT_FILTER: "ERROR_TOXIC",
    FinishReason.REFUSAL: "COMPLETE",
    FinishReason.PAUSE: "COMPLETE",
    FinishReason.OTHER: "USER_CANCEL",
}

FAULTS: Mapping[FailureKind, tuple[int, str, str | None]] = {
    K.CONTEXT_LENGTH: (
        400,
        "too many tokens: size limit exceeded by 25836 tokens. Try using shorter or fewer inputs. The limit for this"
        " model is 288000 tokens.",
        "TOO_MANY_TOKENS",
    ),
    K.CONTENT_POLICY: (400, "blocked output: the request violates our content policy", None),
    K.BAD_REQUEST: (400, "invalid request: temperature must be between 0 and 2.0 inclusive.", None),
    K.CREDENTIAL: (401, "invalid api token", None),
    K.PERMISSION: (403, "You do not have permission to use this model.", None),
    K.QUOTA: (
        402,
        "Maximum billing reached for this API key as set in your dashboard, please go to"
        " https://dashboard.cohere.com/billing?tab=payment to increase your maximum amount to continue using this API"
        " key. Your billing capacity will reset at the beginning of next month.",
        None,
    ),
    K.RATE_LIMIT: (429, "You are past the per minute request limit, please wait and try again later.", None),
    K.OVERLOADED: (503, "the model is overloaded, please try again later", None),
    K.SERVER: (500, "internal server error, this has been reported to our developers", None),
    K.MODEL_NOT_FOUND: (
        404,
        "model '{model}' not found, make sure the correct model ID was used and that you have access to the model.",
        None,
    ),
    K.REGION: (403, "your country or region is not supported", None),
}

_ENVELOPE: Mapping[str, str] = {
    "cache-control": "no-cache, no-store, no-transform, must-revalidate, private, max-age=0",
    "expires": "Thu, 01 Jan 1970 00:00:00 GMT",
    "pragma": "no-cache",
    "server": "envoy",
    "via": "1.1 google",
    "x-accel-expires": "0",
}


class Cohere(BaseSpeaker):
    base_path = ""
    needs_key = True
    spoken = frozenset(FAULTS)

    # ---- understanding

    def key_of(self, headers: Mapping[str, str], query: Mapping[str, str]) -> str | None:
        scheme, _, key = headers.get("authorization", "").partition(" ")
        return key.strip() or None if scheme.lower() == "bearer" else None

    def parse(self, request: SimRequest, terms: AccountRules) -> ParsedRequest:
        self.admit(request, terms)
        match request.method, request.path:
            case "POST", "/v2/chat":
                self.require(rules.CHAT, request)
                self.require(rules.in_order(prefill=terms.prefill), request)
                return self._chat(request)
            case "POST", "/v2/embed":
                self.require(rules.EMBED, request)
                return self._embed(request)
            case "POST", "/v1/check-api-key":
                return ParsedRequest(what="health", number=request.number)
            case "GET", "/v1/models":
                return ParsedRequest(what="models", number=request.number)
            case "GET", path if path.startswith("/v1/models/"):
                return ParsedRequest(
                    what="model", number=request.number, model=path.removeprefix("/v1/models/")
                )
            case _:
                raise Rejected(self._error(404, f"no route for {request.path}", None, request.number))

    def _chat(self, request: SimRequest) -> ParsedRequest:
        body = request.body
        documents = [item["data"] for item in body.get("documents") or () if isinstance(item, dict)]
        return ParsedRequest(
            what="chat",
            number=request.number,
            model=body["model"],
            stream=bool(body.get("stream")),
            prompt_tokens=count_tokens(body["messages"]) + count_tokens(documents),
        )

    def _embed(self, request: SimRequest) -> ParsedRequest:
        body = request.body
        return ParsedRequest(
            what="embed",
            number=request.number,
            model=body["model"],
            texts=body["texts"],
            dimensions=body.get("output_dimension"),
            prompt_tokens=count_tokens(body["texts"]),
        )

    def _no_key(self, request: SimRequest) -> HttpAnswer:
        return self._error(401, "no api key supplied", None, request.number)

    def _no_json(self, request: SimRequest) -> HttpAnswer:
        return self._error(400, "invalid request: failed to parse the body as JSON", None, request.number)

    def _illegal(self, illegal: Illegal, request: SimRequest) -> HttpAnswer:
        status = 422 if illegal.problem in (Problem.UNKNOWN, Problem.TYPE) else 400
        return self._error(status, _complaint(illegal), None, request.number)

    # ---- a good answer

    def headers(self, asked: ParsedRequest) -> Mapping[str, str]:
        kind = "text/event-stream" if asked.stream else "application/json"
        return {"content-type": kind, **_ENVELOPE, "x-debug-trace-id": f"{asked.number:032x}"}

    def stream(self, asked: ParsedRequest, answer: Answer) -> Iterator[Frame]:
        opening = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
        start = {"id": _id(asked.number), "type": "message-start", "delta": {"message": opening}}
        yield Frame(FrameKind.OPENING, _raw("message-start", start))
        blocks = 0
        if answer.reasoning and not answer.tool_calls:
            yield from _block(blocks, "thinking", answer.reasoning, ())
            blocks += 1
        if answer.tokens:
            yield from _block(blocks, "text", answer.tokens, answer.citations)
        if answer.tool_calls:
            for token in answer.reasoning:
                yield Frame(FrameKind.CONTENT, _event("tool-plan-delta", None, {"tool_plan": token}))
        yield from _calls(answer)
        ending = {"finish_reason": FINISH[answer.finish], "usage": _usage(answer.usage)}
        yield Frame(FrameKind.FINISH, _raw("message-end", {"type": "message-end", "delta": ending}))
        yield Frame(FrameKind.TERMINAL, b"data: [DONE]\n\n")

    def whole(self, asked: ParsedRequest, answer: Answer) -> bytes:
        message: dict[str, Any] = {"role": "assistant"}
        content = []
        if answer.reasoning and answer.tool_calls:
            message["tool_plan"] = answer.reasoning_text
        elif answer.reasoning:
            content.append({"type": "thinking", "thinking": answer.reasoning_text})
        if answer.tokens:
            content.append({"type": "text", "text": answer.text})
        if content:
            message["content"] = content
        if answer.tool_calls:
            message["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments},
                }
                for call in answer.tool_calls
            ]
        if answer.citations:
            message["citations"] = [_citation(citation) for citation in answer.citations]
        reply = {
            "id": _id(asked.number),
            "message": message,
            "finish_reason": FINISH[answer.finish],
            "usage": _usage(answer.usage),
        }
        return dumps(reply).encode()

    def listing(self, asked: ParsedRequest, models: Sequence[str]) -> bytes:
        if asked.what == "health":
            return dumps({"valid": True, "organization_id": _id(0), "owner_id": _id(0)}).encode()
        if asked.what == "model":
            return dumps(_entry(asked.model)).encode()
        return dumps({"models": [_entry(name) for name in models]}).encode()

    def embeddings(self, asked: ParsedRequest) -> bytes:
        vectors = [vector_of(text, asked.dimensions) for text in asked.texts]
        billed = {"input_tokens": asked.prompt_tokens}
        reply = {
            "id": _id(asked.number),
            "texts": list(asked.texts),
            "embeddings": {"float": vectors},
            "meta": {"api_version": {"version": "2"}, "billed_units": billed},
            "response_type": "embeddings_by_type",
        }
        return dumps(reply).encode()

    # ---- a bad one

    def _failure(
        self, kind: FailureKind, asked: ParsedRequest, status: int | None, wait: float | None
    ) -> HttpAnswer:
        usual, message, error_type = FAULTS[kind]
        return self._error(status or usual, message.replace("{model}", asked.model), error_type, asked.number)

    def _error(self, status: int, message: str, error_type: str | None, number: int) -> HttpAnswer:
        body = {"id": _id(number), "message": message}
        if error_type:
            body = {"error_type": error_type, **body}
        headers = {"content-type": "application/json", **_ENVELOPE, "x-debug-trace-id": f"{number:032x}"}
        return HttpAnswer(status=status, headers=headers, body=dumps(body).encode())

    def failure_frame(self, kind: FailureKind, asked: ParsedRequest, wait: float | None) -> bytes:
        """The stream ends as always, but its finish is an ERROR with a text."""
        _, message, _ = FAULTS[self.inside(kind)]
        text = message.replace("{model}", asked.model)
        usage = _usage(Usage(input_tokens=asked.prompt_tokens, output_tokens=1))
        delta = {"error": text, "finish_reason": "ERROR", "usage": usage}
        return _raw("message-end", {"type": "message-end", "delta": delta}) + b"data: [DONE]\n\n"

    def garbled(self, asked: ParsedRequest) -> bytes:
        return b'event: content-delta\ndata: {"type":"content-delta","index":0,"delta":{"mess\n\n'

    def ping(self, asked: ParsedRequest) -> bytes:
        return b": keepalive\n\n"


# ------------------------------------------------------------------ pieces


def _entry(model: str) -> dict[str, Any]:
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


def _id(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012}"


def _raw(name: str, data: Mapping[str, Any]) -> bytes:
    return f"event: {name}\ndata: {dumps(data)}\n\n".encode()


def _event(name: str, index: int | None, message: Mapping[str, Any] | None) -> bytes:
    place = {} if index is None else {"index": index}
    delta = {} if message is None else {"delta": {"message": message}}
    return _raw(name, {"type": name, **place, **delta})


def _block(
    index: int, type: str, tokens: Sequence[str], citations: Sequence[CitationDelta]
) -> Iterator[Frame]:
    opening = {"content": {"type": type, type: ""}}
    yield Frame(FrameKind.OPENING, _event("content-start", index, opening))
    for token in tokens:
        yield Frame(FrameKind.CONTENT, _event("content-delta", index, {"content": {type: token}}))
    for number, citation in enumerate(citations):
        start = {"citations": _citation(citation)}
        yield Frame(FrameKind.OPENING, _event("citation-start", number, start))
        yield Frame(FrameKind.OPENING, _event("citation-end", number, None))
    yield Frame(FrameKind.OPENING, _event("content-end", index, None))


def _calls(answer: Answer) -> Iterator[Frame]:
    for index, call in enumerate(answer.tool_calls):
        opened = {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": ""}}
        yield Frame(FrameKind.CONTENT, _event("tool-call-start", index, {"tool_calls": opened}))
        for piece in split_tokens("" if call.arguments == "{}" else call.arguments):
            fragment = {"tool_calls": {"function": {"arguments": piece}}}
            yield Frame(FrameKind.CONTENT, _event("tool-call-delta", index, fragment))
        yield Frame(FrameKind.OPENING, _event("tool-call-end", index, None))


def _citation(citation: CitationDelta) -> dict[str, Any]:
    sources = [{"type": "document", "id": source, "document": {"id": source}} for source in citation.sources]
    place = {"start": citation.start, "end": citation.end, "text": citation.text}
    return {**place, "sources": sources, "type": "TEXT_CONTENT"}


def _usage(usage: Usage) -> dict[str, Any]:
    billed = {"input_tokens": usage.input_tokens or 0, "output_tokens": usage.output_tokens or 0}
    thought = {"reasoning_tokens": usage.reasoning_tokens} if usage.reasoning_tokens else {}
    cached = usage.cached_input_tokens or 0
    return {"billed_units": billed, "tokens": {**billed, **thought}, "cached_tokens": cached}


def _complaint(illegal: Illegal) -> str:
    match illegal.problem:
        case Problem.UNKNOWN:
            return f"unknown field: parameter '{illegal.where[-1]}' is not a valid field"
        case Problem.MISSING:
            return f"invalid request: {illegal.brackets} is required."
        case Problem.TYPE:
            kinds = f"is of type {illegal.got_kind} but should be of type {illegal.expected}"
            return f"invalid type: parameter {illegal.dots} {kinds}."
        case Problem.VALUE:
            return f"invalid request: {illegal.brackets} must be {illegal.expected}."
        case Problem.ORDER:
            return illegal.expected
