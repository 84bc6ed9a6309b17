"""Messages as Anthropic speaks them: named events that repeat their name as `type`, blocks by index, no `[DONE]`.

    message_start ( content_block_start content_block_delta* content_block_stop )* message_delta message_stop

A ping follows the first block's start, and every JSON is padded with spaces before its last brace.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import attrs

from ...events import CitationDelta, FinishReason, Usage
from ...failures import FailureKind
from ...failures import FailureKind as K
from ...messages import Opaque, ToolCall
from ..rules import Illegal, Problem
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
    json_object,
    split_tokens,
)
from ..server_base import BaseSpeaker
from . import rules

FINISH: Mapping[FinishReason, str] = {
    FinishReason.STOP: "end_turn",
    FinishReason.LENGTH: "max_tokens",
    FinishReason.TOOL_CALLS: "tool_use",
    FinishReason.CONTENT_FILTER: "refusal",
    FinishReason.REFUSAL: "refusal",
    FinishReason.PAUSE: "pause_turn",
    FinishReason.OTHER: "other",
}

FAULTS: Mapping[FailureKind, tuple[int, str, str]] = {
    K.CONTEXT_LENGTH: (400, "invalid_request_error", "prompt is too long: 200417 tokens > 200000 maximum"),
    K.CONTENT_POLICY: (400, "invalid_request_error", "Output blocked by content filtering policy"),
    K.BAD_REQUEST: (400, "invalid_request_error", "temperature: range: 0..1"),
    K.CREDENTIAL: (401, "authentication_error", "invalid x-api-key"),
    K.PERMISSION: (
        403,
        "permission_error",
        "Your API key does not have permission to use the specified resource.",
    ),
    K.QUOTA: (
        400,
        "invalid_request_error",
        "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or"
        " purchase credits.",
    ),
    K.RATE_LIMIT: (
        429,
        "rate_limit_error",
        "This request would exceed your account's rate limit. Please try again later.",
    ),
    K.OVERLOADED: (529, "overloaded_error", "Overloaded"),
    K.SERVER: (500, "api_error", "Internal server error"),
    K.MODEL_NOT_FOUND: (404, "not_found_error", "model: {model}"),
    K.REGION: (403, "forbidden", "Request not allowed: your country or region is not supported."),
}
SHOULD_RETRY = dict.fromkeys((429, 500, 504, 529), "true") | dict.fromkeys(
    (400, 401, 402, 403, 404, 413), "false"
)
"""`x-should-retry` by status, as far as it is documented or recorded; other statuses are sent without it."""

SIGNATURE = "EoQDCm0IDhgCKkBzaW11bGF0ZWQ="


class Anthropic(BaseSpeaker):
    base_path = ""
    needs_key = True
    spoken = frozenset(FAULTS)

    # ---- understanding

    def key_of(self, headers: Mapping[str, str], query: Mapping[str, str]) -> str | None:
        return headers.get("x-api-key") or headers.get("authorization", "").removeprefix("Bearer ") or None

    def parse(self, request: SimRequest, terms: AccountRules) -> ParsedRequest:
        self.admit(request, terms)
        if "anthropic-version" not in request.headers:
            raise Rejected(
                self._error(
                    400, "invalid_request_error", "anthropic-version: header is required", request.number
                )
            )
        match request.method, request.path:
            case "POST", "/v1/messages":
                self.require(rules.MESSAGES, request)
                self.require(rules.in_order(prefill=terms.prefill), request)
                return self._chat(request)
            case "POST", "/v1/messages/count_tokens":
                self.require(rules.COUNT, request)
                return attrs.evolve(self._chat(request), what="count", stream=False)
            case "GET", "/v1/models":
                return ParsedRequest(what="models", number=request.number)
            case "GET", path if path.startswith("/v1/models/"):
                return ParsedRequest(
                    what="model", number=request.number, model=path.removeprefix("/v1/models/")
                )
            case _:
                raise Rejected(self._error(404, "not_found_error", "Not Found", request.number))

    def _chat(self, request: SimRequest) -> ParsedRequest:
        body = request.body
        return ParsedRequest(
            what="chat",
            number=request.number,
            model=body["model"],
            stream=bool(body.get("stream")),
            prompt_tokens=count_tokens(body.get("system")) + count_tokens(body["messages"]),
        )

    def _no_key(self, request: SimRequest) -> HttpAnswer:
        return self._error(401, "authentication_error", "x-api-key header is required", request.number)

    def _no_json(self, request: SimRequest) -> HttpAnswer:
        return self._error(400, "invalid_request_error", "The request body is not valid JSON", request.number)

    def _illegal(self, illegal: Illegal, request: SimRequest) -> HttpAnswer:
        return self._error(400, "invalid_request_error", _complaint(illegal), request.number)

    # ---- a good answer

    def headers(self, asked: ParsedRequest) -> Mapping[str, str]:
        limits = {
            "requests": 10_000,
            "tokens": 12_000_000,
            "input-tokens": 10_000_000,
            "output-tokens": 2_000_000,
        }
        said = {
            f"anthropic-ratelimit-{bucket}-{name}": value
            for bucket, limit in limits.items()
            for name, value in (("limit", str(limit)), ("remaining", str(limit - 1)), ("reset", RFC3339))
        }
        kind = "text/event-stream; charset=utf-8" if asked.stream else "application/json"
        cache = {"cache-control": "no-cache"} if asked.stream else {}
        return {
            "content-type": kind,
            **cache,
            **said,
            "request-id": self._request_id(asked.number),
            "server": "cloudflare",
        }

    def stream(self, asked: ParsedRequest, answer: Answer) -> Iterator[Frame]:
        yield Frame(
            FrameKind.OPENING, _event("message_start", {"message": self._message(asked, answer, [], None)})
        )
        for index, block in enumerate(_blocks(answer)):
            start = {"index": index, "content_block": block.start}
            yield Frame(block.starts, _event("content_block_start", start))
            if index == 0:
                yield Frame(FrameKind.OPENING, self.ping(asked))
            for kind, delta in block.deltas:
                yield Frame(kind, _event("content_block_delta", {"index": index, "delta": delta}))
            yield Frame(block.stops, _event("content_block_stop", {"index": index}))
        delta = _ending(answer)
        usage = _final_usage(answer.usage)
        yield Frame(FrameKind.FINISH, _event("message_delta", {"delta": delta, "usage": usage}))
        yield Frame(FrameKind.TERMINAL, _event("message_stop", {}))

    def whole(self, asked: ParsedRequest, answer: Answer) -> bytes:
        content: list[dict[str, Any]] = []
        if answer.reasoning:
            content.append({"type": "thinking", "thinking": answer.reasoning_text, "signature": SIGNATURE})
        content.extend(_own_blocks(answer))
        if answer.tokens:
            cited = {"citations": [_citation(one) for one in answer.citations]} if answer.citations else {}
            content.append({**cited, "type": "text", "text": answer.text})
        content.extend(_tool_use(call, json_object(call.arguments)) for call in answer.tool_calls)
        return dumps(self._message(asked, answer, content, answer.finish)).encode()

    def _message(
        self, asked: ParsedRequest, answer: Answer, content: list[dict[str, Any]], finish: FinishReason | None
    ) -> dict[str, Any]:
        ending = (
            _ending(answer) if finish else {"stop_reason": None, "stop_sequence": None, "stop_details": None}
        )
        return {
            "model": asked.model,
            "id": f"msg_sim{asked.number:06}",
            "type": "message",
            "role": "assistant",
            "content": content,
            **ending,
            "usage": {
                **_prompt_usage(answer.usage),
                "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
                "output_tokens": (answer.usage.output_tokens or 0) if finish else 1,
                **(_thinking_usage(answer.usage) if finish else {}),
                "service_tier": "standard",
                "inference_geo": "not_available",
            },
        }

    def listing(self, asked: ParsedRequest, models: Sequence[str]) -> bytes:
        if asked.what == "model":
            return dumps(_entry(asked.model)).encode()
        if asked.what == "count":
            return dumps({"input_tokens": asked.prompt_tokens}).encode()
        data = [_entry(name) for name in models]
        page = {"data": data, "has_more": False, "first_id": models[0], "last_id": models[-1]}
        return dumps(page).encode()

    # ---- a bad one

    def _failure(
        self, kind: FailureKind, asked: ParsedRequest, status: int | None, wait: float | None
    ) -> HttpAnswer:
        usual, name, message = FAULTS[kind]
        return self._error(status or usual, name, message.replace("{model}", asked.model), asked.number)

    def _error(self, status: int, type: str, message: str, number: int) -> HttpAnswer:
        request_id = self._request_id(number)
        body = {"type": "error", "error": {"type": type, "message": message}, "request_id": request_id}
        headers = {
            "content-type": "application/json",
            "request-id": request_id,
            "server": "cloudflare",
        }
        if status in SHOULD_RETRY:
            headers["x-should-retry"] = SHOULD_RETRY[status]
        return HttpAnswer(status=status, headers=headers, body=dumps(body).encode())

    def _request_id(self, number: int) -> str:
        return f"req_sim{number:06}"

    def failure_frame(self, kind: FailureKind, asked: ParsedRequest, wait: float | None) -> bytes:
        _, name, message = FAULTS[self.inside(kind)]
        error = {"type": name, "message": message.replace("{model}", asked.model)}
        return _event("error", {"error": error})

    def garbled(self, asked: ParsedRequest) -> bytes:
        return b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"te\n\n'

    def ping(self, asked: ParsedRequest) -> bytes:
        return b'event: ping\ndata: {"type": "ping"}\n\n'


# ------------------------------------------------------------------ pieces


class _Block(NamedTuple):
    """One block of a stream. What the user gets to see of it are its deltas, or its start, or its end."""

    start: dict[str, Any]
    deltas: Iterator[tuple[FrameKind, dict[str, Any]]]
    starts: FrameKind = FrameKind.OPENING
    stops: FrameKind = FrameKind.OPENING


def _blocks(answer: Answer) -> Iterator[_Block]:
    if answer.reasoning:
        yield _Block({"type": "thinking", "thinking": "", "signature": ""}, _thoughts(answer))
    for own in _own_blocks(answer):
        given = own.get("input")
        start = {**own, "input": {}} if given else own
        yield _Block(start, _fragments(dumps(given)) if given else iter(()), stops=FrameKind.CONTENT)
    if answer.tokens:
        cited = {"citations": list[object]()} if answer.citations else {}
        yield _Block({**cited, "type": "text", "text": ""}, _words(answer))
    for call in answer.tool_calls:
        yield _Block(_tool_use(call, {}), _spoken(call.arguments), starts=FrameKind.CONTENT)


def _own_blocks(answer: Answer) -> Iterator[dict[str, Any]]:
    """Blocks of the provider's own tools. Claude makes no images."""
    for part in answer.parts:
        if isinstance(part, Opaque):
            yield {"type": part.type, **part.parsed()}


def _tool_use(call: ToolCall, given: object) -> dict[str, Any]:
    said = {"type": "tool_use", "id": call.id, "name": call.name, "input": given}
    return {**said, "caller": {"type": "direct"}}


def _entry(model: str) -> dict[str, Any]:
    limits = {"max_input_tokens": 1_000_000, "max_tokens": 128_000}
    return {"type": "model", "id": model, "display_name": model, "created_at": RFC3339, **limits}


def _event(name: str, fields: Mapping[str, Any]) -> bytes:
    data = dumps({"type": name, **fields})
    return f"event: {name}\ndata: {data[:-1]}{' ' * (len(data) % 16)}}}\n\n".encode()


def _thoughts(answer: Answer) -> Iterator[tuple[FrameKind, dict[str, Any]]]:
    for token in answer.reasoning:
        yield FrameKind.CONTENT, {"type": "thinking_delta", "thinking": token}
    yield FrameKind.OPENING, {"type": "signature_delta", "signature": SIGNATURE}


def _words(answer: Answer) -> Iterator[tuple[FrameKind, dict[str, Any]]]:
    for citation in answer.citations:
        yield FrameKind.OPENING, {"type": "citations_delta", "citation": _citation(citation)}
    for token in answer.tokens:
        yield FrameKind.CONTENT, {"type": "text_delta", "text": token}


def _spoken(arguments: str) -> Iterator[tuple[FrameKind, dict[str, Any]]]:
    """The arguments of a call, of which the user sees every piece but the empty first."""
    for kind, delta in _fragments("" if arguments == "{}" else arguments):
        yield FrameKind.CONTENT if delta["partial_json"] else kind, delta


def _fragments(arguments: str) -> Iterator[tuple[FrameKind, dict[str, Any]]]:
    for piece in ("", *split_tokens(arguments)):
        yield FrameKind.OPENING, {"type": "input_json_delta", "partial_json": piece}


def _citation(citation: CitationDelta) -> dict[str, Any]:
    return {
        "type": "char_location",
        "cited_text": citation.text,
        "document_index": 0,
        "document_title": citation.sources[0] if citation.sources else None,
        "start_char_index": citation.start,
        "end_char_index": citation.end,
    }


def _ending(answer: Answer) -> dict[str, Any]:
    details = None
    if FINISH[answer.finish] == "refusal":
        explanation = "This request was blocked under Anthropic's Usage Policy."
        details = {"type": "refusal", "category": "general_harms", "explanation": explanation}
    return {"stop_reason": FINISH[answer.finish], "stop_sequence": None, "stop_details": details}


def _prompt_usage(usage: Usage) -> dict[str, Any]:
    """Anthropic's input_tokens leave out what was read from or written to the cache."""
    read, written = usage.cached_input_tokens or 0, usage.cache_write_tokens or 0
    return {
        "input_tokens": max(0, (usage.input_tokens or 0) - read - written),
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": read,
    }


def _final_usage(usage: Usage) -> dict[str, Any]:
    return {**_prompt_usage(usage), "output_tokens": usage.output_tokens or 0, **_thinking_usage(usage)}


def _thinking_usage(usage: Usage) -> dict[str, Any]:
    thought = usage.reasoning_tokens
    return {} if not thought else {"output_tokens_details": {"thinking_tokens": thought}}


def _complaint(illegal: Illegal) -> str:
    match illegal.problem:
        case Problem.UNKNOWN:
            return f"{illegal.dots}: Extra inputs are not permitted"
        case Problem.MISSING:
            return f"{illegal.dots}: Field required"
        case Problem.TYPE:
            return f"{illegal.dots}: Input should be a valid {illegal.expected}"
        case Problem.VALUE:
            return f"{illegal.dots}: Input should be {illegal.expected}"
        case Problem.ORDER:
            return illegal.expected
