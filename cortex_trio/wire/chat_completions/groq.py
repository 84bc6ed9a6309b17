"""Groq's accent of chat completions: `x_groq`, thinking as `reasoning`, whole tool calls, errors as SSE events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...events import CitationDelta, Usage
from ...failures import FailureKind
from ...failures import FailureKind as K
from ...messages import ToolCall
from ..openai_errors import Fault
from ..rules import Illegal, Problem, Rule
from ..server import CREATED, Answer, Frame, FrameKind, HttpAnswer, ParsedRequest, SimRequest, dumps
from . import rules
from .render import FINISH, ChatCompletions, whole_call


def _fault(
    status: int,
    message: str,
    type: str = "invalid_request_error",
    code: str | None = None,
    wait: float | None = None,
) -> Fault:
    return Fault(status, message, type, code, shape="groq", usual_wait=wait)


_LIMIT = (
    "Rate limit reached for model `{model}` in organization `org_00000000000000000000000000` service tier"
    " `on_demand` on %s.{wait} Need more tokens? Upgrade to Dev Tier today at https://console.groq.com/settings/billing"
)

FAULTS: Mapping[K, Fault] = {
    K.CONTEXT_LENGTH: _fault(
        400, "Please reduce the length of the messages or completion.", code="context_length_exceeded"
    ),
    K.CONTENT_POLICY: _fault(
        400, "The request was blocked by our content policy.", code="content_policy_violation"
    ),
    K.BAD_REQUEST: _fault(400, "'temperature' : number must be at most 2"),
    K.CREDENTIAL: _fault(401, "Invalid API Key", code="invalid_api_key"),
    K.PERMISSION: _fault(
        403, "Your API key does not have permission to use model `{model}`.", "permissions_error"
    ),
    K.QUOTA: _fault(
        429,
        _LIMIT % "tokens per day (TPD): Limit 200000, Used 199800, Requested 3100",
        "tokens",
        "rate_limit_exceeded",
        wait=1252.8,
    ),
    K.RATE_LIMIT: _fault(
        429,
        _LIMIT % "tokens per minute (TPM): Limit 6000, Used 4093, Requested 3531",
        "tokens",
        "rate_limit_exceeded",
    ),
    K.OVERLOADED: _fault(
        498, "Flex tier capacity exceeded. Please try again later.", code="capacity_exceeded"
    ),
    K.SERVER: _fault(500, "Internal Server Error", "internal_server_error"),
    K.MODEL_NOT_FOUND: _fault(
        404, "The model `{model}` does not exist or you do not have access to it.", code="model_not_found"
    ),
    K.REGION: _fault(
        403,
        "Access from your country or region is not supported.",
        code="unsupported_country_region_territory",
    ),
}


class Groq(ChatCompletions):
    base_path = "/openai/v1"
    needs_key = True
    makes_images = False
    reasoning_field = "reasoning"
    has_embeddings = False
    faults = FAULTS

    def _annotations(self, answer: Answer) -> list[dict[str, Any]]:
        return [_document_citation(citation) for citation in answer.citations]

    def _rule(self) -> Rule:
        return rules.GROQ

    def headers(self, asked: ParsedRequest) -> Mapping[str, str]:
        kind = "text/event-stream" if asked.stream else "application/json"
        cache = "no-cache" if asked.stream else "private, max-age=0, no-store, no-cache, must-revalidate"
        return {
            "content-type": kind,
            "cache-control": cache,
            "server": "cloudflare",
            "vary": "Origin",
            "x-groq-region": "yul",
            "x-ratelimit-limit-requests": "1000",
            "x-ratelimit-limit-tokens": "12000",
            "x-ratelimit-remaining-requests": "990",
            "x-ratelimit-remaining-tokens": "10420",
            "x-ratelimit-reset-requests": "14m24s",
            "x-ratelimit-reset-tokens": "7.899999999s",
            "x-request-id": self._request_id(asked),
        }

    def _request_id(self, asked: ParsedRequest) -> str:
        return f"req_sim{asked.number:06}"

    def _opening(self, asked: ParsedRequest, answer: Answer) -> Iterator[Frame]:
        content = None if answer.tool_calls and not answer.tokens else ""
        chunk = self._chunk(asked, {"role": "assistant", "content": content}, None)
        yield Frame(FrameKind.OPENING, self._data({**chunk, "x_groq": {"id": self._request_id(asked)}}))

    def _reasoning_delta(self, token: str) -> dict[str, Any]:
        return {"reasoning": token, "channel": "analysis"}

    def _call_deltas(self, index: int, call: ToolCall) -> Iterator[dict[str, Any]]:
        yield {"tool_calls": [{**whole_call(call), "index": index}]}

    def _deltas(self, answer: Answer) -> Iterator[dict[str, Any]]:
        for delta in super()._deltas(answer):
            yield {"content": delta["refusal"]} if "refusal" in delta else delta

    def _event(self, asked: ParsedRequest, delta: dict[str, Any], finish: str | None = None) -> bytes:
        return self._data(self._chunk(asked, delta, finish))

    def _chunk(self, asked: ParsedRequest, delta: dict[str, Any], finish: str | None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return {**self._envelope(asked, "chat.completion.chunk"), "choices": [choice]}

    def _envelope(self, asked: ParsedRequest, kind: str) -> dict[str, Any]:
        return {**super()._envelope(asked, kind), "system_fingerprint": "fp_a7161653a1"}

    def _finish_event(self, asked: ParsedRequest, answer: Answer) -> bytes:
        usage = self._usage(answer.usage)
        chunk = self._chunk(asked, {}, FINISH[answer.finish])
        return self._data(
            {**chunk, "x_groq": {"id": self._request_id(asked), "usage": usage}, "usage": usage}
        )

    def _usage_event(self, asked: ParsedRequest, answer: Answer) -> bytes:
        envelope = self._envelope(asked, "chat.completion.chunk")
        usage = self._usage(answer.usage)
        return self._data({**envelope, "choices": [], "usage": usage, "service_tier": "on_demand"})

    def _usage(self, usage: Usage) -> dict[str, Any]:
        shown: dict[str, Any] = {
            "queue_time": 0.008583192,
            "prompt_tokens": usage.input_tokens or 0,
            "prompt_time": 0.002652893,
            "completion_tokens": usage.output_tokens or 0,
            "completion_time": 0.078664907,
            "total_tokens": usage.total_tokens or 0,
            "total_time": 0.0813178,
        }
        if usage.cached_input_tokens:
            shown["prompt_tokens_details"] = {"cached_tokens": usage.cached_input_tokens}
        if usage.reasoning_tokens:
            shown["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens}
        return shown

    def _data(self, chunk: object) -> bytes:
        return f"data: {dumps(chunk, escape_html=True)}\n\n".encode()

    def whole(self, asked: ParsedRequest, answer: Answer) -> bytes:
        message = {**self._message(answer), "content": answer.text or None}
        message.pop("refusal", None)
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": FINISH[answer.finish]}
        reply = {
            **super()._envelope(asked, "chat.completion"),
            "choices": [choice],
            "usage": self._usage(answer.usage),
            "usage_breakdown": None,
            "system_fingerprint": "fp_a7161653a1",
            "x_groq": {"id": self._request_id(asked)},
            "service_tier": "on_demand",
        }
        return dumps(reply, escape_html=True).encode() + b"\n"

    def listing(self, asked: ParsedRequest, models: Sequence[str]) -> bytes:
        return super().listing(asked, models) + b"\n"

    def _entry(self, model: str) -> dict[str, Any]:
        limits = {
            "active": True,
            "context_window": 131072,
            "public_apps": None,
            "max_completion_tokens": 65536,
        }
        return {"id": model, "object": "model", "created": CREATED, "owned_by": "Groq", **limits}

    def _answer(
        self, status: int, body: Mapping[str, Any], number: int, headers: Mapping[str, str] | None = None
    ) -> HttpAnswer:
        pretty = super()._answer(status, body, number, headers)
        return HttpAnswer(status=status, headers=pretty.headers, body=dumps(body).encode() + b"\n")

    def _illegal(self, illegal: Illegal, request: SimRequest) -> HttpAnswer:
        return self._answer(400, _complaint(illegal), request.number)

    def failure_frame(self, kind: FailureKind, asked: ParsedRequest, wait: float | None) -> bytes:
        fault = self.faults[self.inside(kind)]
        error = {**fault.body(asked.model, wait)["error"], "status_code": fault.status}
        return b"event: error\n" + self._data({"error": error})


def _document_citation(citation: CitationDelta) -> dict[str, Any]:
    source = citation.sources[0] if citation.sources else ""
    where = {"start_index": citation.start, "end_index": citation.end}
    return {"type": "document_citation", "document_citation": {"document_id": source, **where}}


def _complaint(illegal: Illegal) -> dict[str, Any]:
    where = illegal.dots
    match illegal.problem:
        case Problem.UNKNOWN:
            message = f"property '{where}' is unsupported"
        case Problem.MISSING:
            parent, _, name = where.rpartition(".")
            message = f"'{parent}' : property '{name}' is missing"
        case Problem.TYPE:
            message = f"'{where}' : value must be {illegal.expected}, not {illegal.got_kind}"
        case Problem.VALUE:
            message = f"'{where}' : value is not one of the allowed values [{illegal.expected}]"
        case Problem.ORDER:
            message = illegal.expected
    return {"error": {"message": message, "type": "invalid_request_error"}}
