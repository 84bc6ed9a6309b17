"""xAI's chat completions: `reasoning_content`, whole tool calls, usage always and without reasoning.

Its errors are strings, and a wrong key is a 400: see `wire.xai_errors`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...events import CitationDelta, FinishReason, Reply, Usage
from ...messages import ToolCall
from .. import xai_errors as errors
from ..openai_errors import Fault
from ..rules import Illegal, Problem, Rule
from ..server import (
    Frame,
    FrameKind,
    HttpResponse,
    Operation,
    ParsedRequest,
    Preview,
    ReceivedRequest,
    ResponseIdentity,
)
from ..writing import dumps, encoded
from ..xai_errors import TEAM
from . import rules
from .render import ChatCompletionsRenderer
from .server import ChatCompletionsServer

Json = dict[str, Any]

KEY_STATUS: Mapping[str, Any] = {
    "redacted_api_key": "xai-...0001",
    "user_id": TEAM,
    "name": "simulated",
    "create_time": "2026-01-01T00:00:00Z",
    "modify_time": "2026-01-01T00:00:00Z",
    "modified_by": TEAM,
    "team_id": TEAM,
    "acls": ["api-key:model:*", "api-key:endpoint:*"],
    "api_key_id": TEAM,
    "team_blocked": False,
    "api_key_blocked": False,
    "api_key_disabled": False,
}


class XAIRenderer(ChatCompletionsRenderer):
    makes_images = False
    own_fields = False
    whole_calls = True
    always_usage = True
    faults = errors.FAULTS

    def __init__(self, request: ParsedRequest, preview: Preview | None = None) -> None:
        super().__init__(request, preview)
        self._needs_role = self._preview.reasoning or not self._preview.text

    def begin(self) -> list[Frame]:
        """Where the answer does not start with text, the first delta holds the role as well."""
        if self._needs_role:
            return []
        return [Frame(FrameKind.OPENING, self._chunk_event({"role": "assistant"}))]

    def _frames(self, deltas: Sequence[Json]) -> list[Frame]:
        if self._needs_role and deltas:
            self._needs_role = False
            deltas = [{**deltas[0], "role": "assistant"}, *deltas[1:]]
        return super()._frames(deltas)

    def _error(self, fault: Fault, text: str) -> Json:
        return errors.error_body(fault, text)

    def _whole_call_delta(self, index: int, call: ToolCall) -> Json:
        function = {"name": call.name, "arguments": call.arguments}
        return {"tool_calls": [{"id": call.id, "function": function, "index": index, "type": "function"}]}

    def _chunk_event(self, delta: Json, finish: str | None = None) -> bytes:
        finished = {"finish_reason": finish} if finish else {}
        choice = {"index": 0, "delta": delta, **self._taken_logprobs(), **finished}
        return self._data(self._signed({**self._envelope("chat.completion.chunk"), "choices": [choice]}))

    def _usage_event(self) -> bytes:
        chunk = {
            **self._envelope("chat.completion.chunk"),
            "choices": [],
            "usage": self._usage_of(self._usage),
        }
        if self._citations:
            chunk["citations"] = [source for citation in self._citations for source in citation.sources]
        return self._data(self._signed(chunk))

    def _annotations(self, citations: Sequence[CitationDelta]) -> list[Json]:
        return []  # its sources are a list beside the choices

    def _envelope(self, kind: str) -> Json:
        return {**super()._envelope(kind), "id": self._request.identity.uuid}

    def _signed(self, chunk: Json) -> Json:
        return {**chunk, "system_fingerprint": "fp_3d7ed3b779"}

    def _usage_of(self, usage: Usage) -> Json:
        reasoning = usage.reasoning_tokens or 0
        return {
            "prompt_tokens": usage.input_tokens or 0,
            "completion_tokens": max(0, (usage.output_tokens or 0) - reasoning),
            "total_tokens": usage.total_tokens or 0,
            "prompt_tokens_details": {
                "text_tokens": usage.input_tokens or 0,
                "audio_tokens": 0,
                "image_tokens": 0,
                "cached_tokens": usage.cached_input_tokens or 0,
            },
            "completion_tokens_details": {
                "reasoning_tokens": reasoning,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
            "num_sources_used": 0,
        }

    def reply(self, reply: Reply) -> bytes:
        refused = reply.finish_reason is FinishReason.REFUSAL
        message = {**self._message(reply), "content": "" if refused else reply.text}
        message.setdefault("refusal", None)
        choice = self._whole_choice(message, reply)
        envelope = self._envelope("chat.completion")
        return encoded(
            dumps(self._signed({**envelope, "choices": [choice], "usage": self._usage_of(reply.usage)}))
        )


class XAIServer(ChatCompletionsServer):
    renders = XAIRenderer

    def _rule(self) -> Rule:
        return rules.XAI

    def _parse(self, request: ReceivedRequest) -> ParsedRequest:
        if (request.method, request.path) == ("GET", "/v1/api-key"):
            return ParsedRequest(operation=Operation.HEALTH, identity=request.identity)
        return super()._parse(request)

    def content_type(self, request: ParsedRequest) -> str:
        return "text/event-stream" if request.stream else "application/json"

    def render_listing(self, request: ParsedRequest, models: Sequence[str]) -> bytes:
        if request.operation is Operation.HEALTH:
            return encoded(dumps(KEY_STATUS))
        return super().render_listing(request, models)

    def _entry(self, model: str, created: int) -> Json:
        return {"id": model, "created": created, "object": "model", "owned_by": "xai"}

    def missing_key(self, request: ReceivedRequest) -> HttpResponse:
        return self._error(401, errors.NO_KEY, request.identity)

    def _illegal(self, illegal: Illegal, request: ReceivedRequest) -> HttpResponse:
        if illegal.problem is Problem.ORDER:
            return super()._illegal(illegal, request)
        return errors.illegal_response(illegal)

    def _error(
        self,
        status: int,
        body: Mapping[str, Any],
        identity: ResponseIdentity,
        headers: Mapping[str, str] | None = None,
    ) -> HttpResponse:
        return errors.error_response(status, body, headers)
