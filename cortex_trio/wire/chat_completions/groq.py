"""Groq's chat completions: `x_groq`, reasoning as `reasoning`, whole tool calls, errors as named events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...events import (
    CitationDelta,
    FinishReason,
    ReasoningDelta,
    ReasoningSeal,
    Reply,
    TextDelta,
    Usage,
    WholePart,
)
from ...failures import FailureKind
from ...failures import FailureKind as K
from ..openai_errors import Fault, request_id
from ..rules import Illegal, Problem, Rule
from ..server import (
    Frame,
    FrameKind,
    HttpResponse,
    ParsedRequest,
    ReceivedRequest,
    ResponseIdentity,
)
from ..server_base import fault_of
from ..writing import data_event, dumps, encoded
from . import rules
from .logprobs import rendered
from .render import FINISH, ChatCompletionsRenderer
from .server import ChatCompletionsServer

Json = dict[str, Any]


def _fault(
    status: int,
    message: str,
    type: str = "invalid_request_error",
    code: str | None = None,
    wait: float | None = None,
) -> Fault:
    return Fault(status, message, type, code, usual_wait=wait)


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


class GroqRenderer(ChatCompletionsRenderer):
    makes_images = False
    own_fields = False
    reasoning_field = "reasoning"
    whole_calls = True
    faults = FAULTS

    def begin(self) -> list[Frame]:
        content = None if self._preview.calls and not self._preview.text else ""
        chunk = self._chunk({"role": "assistant", "content": content}, None)
        request = request_id(self._request.identity)
        return [Frame(FrameKind.OPENING, self._data({**chunk, "x_groq": {"id": request}}))]

    def fail(self, kind: FailureKind, *, message: str | None = None, wait: float | None = None) -> bytes:
        fault = fault_of(self.faults, kind)
        body = self.error(fault, message=message, wait=wait)
        return b"event: error\n" + self._data({"error": {**body["error"], "status_code": fault.status}})

    def _error(self, fault: Fault, text: str) -> Json:
        """No `param`, and a `code` only where there is one."""
        code = {"code": fault.code} if fault.code else {}
        return {"error": {"message": text, "type": fault.type, **code}}

    def _content_deltas(self, event: TextDelta | ReasoningDelta | ReasoningSeal | WholePart) -> list[Json]:
        if isinstance(event, TextDelta):  # there is no field for a refusal
            return [{"content": event.text}]
        return super()._content_deltas(event)

    def _reasoning_delta(self, text: str) -> Json:
        return {"reasoning": text, "channel": "analysis"}

    def _chunk_event(self, delta: Json, finish: str | None = None) -> bytes:
        return self._data(self._chunk(delta, finish))

    def _chunk(self, delta: Json, finish: str | None) -> Json:
        logprobs = {"logprobs": None} | self._taken_logprobs()
        choice = {"index": 0, "delta": delta, **logprobs, "finish_reason": finish}
        return {**self._envelope("chat.completion.chunk"), "choices": [choice]}

    def _envelope(self, kind: str) -> Json:
        return {**super()._envelope(kind), "system_fingerprint": "fp_a7161653a1"}

    def _finish_event(self, reason: FinishReason) -> bytes:
        usage = self._usage_of(self._usage)
        chunk = self._chunk({}, FINISH[reason])
        about = {"id": request_id(self._request.identity), "usage": usage}
        return self._data({**chunk, "x_groq": about, "usage": usage})

    def _usage_event(self) -> bytes:
        envelope = self._envelope("chat.completion.chunk")
        usage = self._usage_of(self._usage)
        return self._data({**envelope, "choices": [], "usage": usage, "service_tier": "on_demand"})

    def _annotations(self, citations: Sequence[CitationDelta]) -> list[Json]:
        return [_document_citation(citation) for citation in citations]

    def _usage_of(self, usage: Usage) -> Json:
        shown: Json = {
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
        return data_event(chunk, escape_html=True)

    def reply(self, reply: Reply) -> bytes:
        message = {**self._message(reply), "content": reply.text or None}
        message.pop("refusal", None)
        logprobs = {"logprobs": None} | rendered(reply.logprobs, refused=False)
        finish = FINISH[reply.finish_reason]
        choice = {"index": 0, "message": message, **logprobs, "finish_reason": finish}
        body = {
            **super()._envelope("chat.completion"),
            "choices": [choice],
            "usage": self._usage_of(reply.usage),
            "usage_breakdown": None,
            "system_fingerprint": "fp_a7161653a1",
            "x_groq": {"id": request_id(self._request.identity)},
            "service_tier": "on_demand",
        }
        return encoded(dumps(body, escape_html=True)) + b"\n"


class GroqServer(ChatCompletionsServer):
    base_path = "/openai/v1"
    has_embeddings = False
    renders = GroqRenderer

    def _rule(self) -> Rule:
        return rules.GROQ

    def content_type(self, request: ParsedRequest) -> str:
        return "text/event-stream" if request.stream else "application/json"

    def render_listing(self, request: ParsedRequest, models: Sequence[str]) -> bytes:
        return super().render_listing(request, models) + b"\n"

    def _entry(self, model: str, created: int) -> Json:
        limits = {
            "active": True,
            "context_window": 131072,
            "public_apps": None,
            "max_completion_tokens": 65536,
        }
        return {"id": model, "object": "model", "created": created, "owned_by": "Groq", **limits}

    def _illegal(self, illegal: Illegal, request: ReceivedRequest) -> HttpResponse:
        return self._error(400, _complaint(illegal), request.identity)

    def _error(
        self,
        status: int,
        body: Mapping[str, Any],
        identity: ResponseIdentity,
        headers: Mapping[str, str] | None = None,
    ) -> HttpResponse:
        response = super()._error(status, body, identity, headers)
        return HttpResponse(status=status, headers=response.headers, body=encoded(dumps(body)) + b"\n")


def _document_citation(citation: CitationDelta) -> Json:
    source = citation.sources[0] if citation.sources else ""
    where = {"start_index": citation.start, "end_index": citation.end}
    return {"type": "document_citation", "document_citation": {"document_id": source, **where}}


def _complaint(illegal: Illegal) -> Json:
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
