"""xAI's accent of chat completions: `reasoning_content`, whole tool calls, usage always and without reasoning, errors
as strings, a wrong key as a 400."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...events import Usage
from ...failures import FailureKind as K
from ...messages import ToolCall
from ..openai_errors import Fault
from ..rules import Illegal, Problem, Rule
from ..server import (
    CREATED,
    AccountRules,
    Answer,
    Frame,
    FrameKind,
    HttpAnswer,
    ParsedRequest,
    SimRequest,
    dumps,
)
from . import rules
from .render import FINISH, ChatCompletions


def _fault(status: int, code: str, message: str) -> Fault:
    return Fault(status, message, code=code, shape="xai")


_EXHAUSTED = "Some resource has been exhausted"
_FORBIDDEN = "The caller does not have permission to execute the specified operation"
_TEAM = "00000000-0000-0000-0000-000000000000"

FAULTS: Mapping[K, Fault] = {
    K.CONTEXT_LENGTH: _fault(
        400,
        "Client specified an invalid argument",
        "This model's maximum prompt length is 131072 but the request contains 140011 tokens: it does not fit the"
        " context window.",
    ),
    K.CONTENT_POLICY: _fault(403, _FORBIDDEN, "Content violates usage guidelines."),
    K.BAD_REQUEST: _fault(
        400, "invalid-argument", "Model {model} does not support parameter reasoningEffort."
    ),
    K.CREDENTIAL: _fault(
        400,
        "invalid-argument",
        "Incorrect API key provided. You can obtain an API key from https://console.x.ai.",
    ),
    K.PERMISSION: _fault(
        403, _FORBIDDEN, "Your API key or team doesn't have permission to perform the action."
    ),
    K.QUOTA: _fault(
        429,
        _EXHAUSTED,
        f"Your team {_TEAM} has either used all available credits or reached its monthly spending limit. To continue"
        " making API requests, please purchase more credits or raise your spending limit.",
    ),
    K.RATE_LIMIT: _fault(
        429,
        _EXHAUSTED,
        f"Too many tokens for team {_TEAM} and model {{model}}. Your team's rate limit is — Tokens per Minute"
        " (actual/limit): 65605/16000. You can view your team rate limits at https://console.x.ai.",
    ),
    K.OVERLOADED: _fault(
        503, "The service is currently unavailable", "The model is overloaded. Please try again later."
    ),
    K.SERVER: _fault(500, "Internal error", "Internal server error"),
    K.MODEL_NOT_FOUND: _fault(
        404,
        "Some requested entity was not found",
        "The model {model} does not exist or your team does not have access to it.",
    ),
    K.REGION: _fault(403, _FORBIDDEN, "This service is not available in your region: region not supported."),
}


NO_KEY: Mapping[str, Any] = {
    "code": "Unauthenticated",
    "error": "No authorization header or an invalid authorization token was provided.",
}
KEY_STATUS: Mapping[str, Any] = {
    "redacted_api_key": "xai-...0001",
    "user_id": _TEAM,
    "name": "simulated",
    "create_time": "2026-01-01T00:00:00Z",
    "modify_time": "2026-01-01T00:00:00Z",
    "modified_by": _TEAM,
    "team_id": _TEAM,
    "acls": ["api-key:model:*", "api-key:endpoint:*"],
    "api_key_id": _TEAM,
    "team_blocked": False,
    "api_key_blocked": False,
    "api_key_disabled": False,
}


class XAI(ChatCompletions):
    needs_key = True
    makes_images = False
    faults = FAULTS

    def _annotations(self, answer: Answer) -> list[dict[str, Any]]:
        return []  # it tells of pages, beside the choices

    def _rule(self) -> Rule:
        return rules.XAI

    def parse(self, request: SimRequest, terms: AccountRules) -> ParsedRequest:
        if (request.method, request.path) == ("GET", "/v1/api-key"):
            self.admit(request, terms)
            return ParsedRequest(what="health", number=request.number)
        return super().parse(request, terms)

    def _no_key(self, request: SimRequest) -> HttpAnswer:
        return self._answer(401, NO_KEY, request.number)

    def _chat(self, request: SimRequest) -> ParsedRequest:
        asked = super()._chat(request)
        return ParsedRequest(  # usage comes, asked for or not
            what="chat",
            number=asked.number,
            model=asked.model,
            stream=asked.stream,
            prompt_tokens=asked.prompt_tokens,
            options={**asked.options, "include_usage": True},
        )

    def headers(self, asked: ParsedRequest) -> Mapping[str, str]:
        kind = "text/event-stream" if asked.stream else "application/json"
        return {
            "content-type": kind,
            "server": "cloudflare",
            "x-request-id": f"00000000-0000-4000-8000-{asked.number:012}",
            "x-ratelimit-limit-requests": "1800",
            "x-ratelimit-limit-tokens": "10000000",
            "x-ratelimit-remaining-requests": "1799",
            "x-ratelimit-remaining-tokens": "9999900",
        }

    def _opening(self, asked: ParsedRequest, answer: Answer) -> Iterator[Frame]:
        if not answer.reasoning and answer.tokens:
            yield Frame(FrameKind.OPENING, self._event(asked, {"role": "assistant"}))

    def _deltas(self, answer: Answer) -> Iterator[dict[str, Any]]:
        """Unless an opening went before, the first delta carries the role as well."""
        merged = bool(answer.reasoning) or not answer.tokens
        for index, delta in enumerate(super()._deltas(answer)):
            yield {**delta, "role": "assistant"} if merged and index == 0 else delta

    def _call_deltas(self, index: int, call: ToolCall) -> Iterator[dict[str, Any]]:
        function = {"name": call.name, "arguments": call.arguments}
        yield {"tool_calls": [{"id": call.id, "function": function, "index": index, "type": "function"}]}

    def _event(self, asked: ParsedRequest, delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, **({"finish_reason": finish} if finish else {})}
        return self._data(
            self._signed({**self._envelope(asked, "chat.completion.chunk"), "choices": [choice]})
        )

    def _usage_event(self, asked: ParsedRequest, answer: Answer) -> bytes:
        chunk = {
            **self._envelope(asked, "chat.completion.chunk"),
            "choices": [],
            "usage": self._usage(answer.usage),
        }
        if answer.citations:
            chunk["citations"] = [source for citation in answer.citations for source in citation.sources]
        return self._data(self._signed(chunk))

    def _envelope(self, asked: ParsedRequest, kind: str) -> dict[str, Any]:
        return {**super()._envelope(asked, kind), "id": f"00000000-0000-4000-8000-{asked.number:012}"}

    def _signed(self, chunk: dict[str, Any]) -> dict[str, Any]:
        return {**chunk, "system_fingerprint": "fp_3d7ed3b779"}

    def _usage(self, usage: Usage) -> dict[str, Any]:
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

    def whole(self, asked: ParsedRequest, answer: Answer) -> bytes:
        message = {**self._message(answer), "content": "" if answer.refusal else answer.text}
        message.setdefault("refusal", None)
        choice = {"index": 0, "message": message, "finish_reason": FINISH[answer.finish]}
        envelope = self._envelope(asked, "chat.completion")
        reply = self._signed({**envelope, "choices": [choice], "usage": self._usage(answer.usage)})
        return dumps(reply).encode()

    def listing(self, asked: ParsedRequest, models: Sequence[str]) -> bytes:
        if asked.what == "health":
            return dumps(KEY_STATUS).encode()
        return super().listing(asked, models)

    def _entry(self, model: str) -> dict[str, Any]:
        return {"id": model, "created": CREATED, "object": "model", "owned_by": "xai"}

    def _answer(
        self, status: int, body: Mapping[str, Any], number: int, headers: Mapping[str, str] | None = None
    ) -> HttpAnswer:
        common = {"content-type": "application/json", **(headers or {})}
        if set(body) == {"error"}:  # worded for OpenAI's shape: here `error` is the text itself
            body = {"code": "Client specified an invalid argument", "error": body["error"]["message"]}
        return HttpAnswer(status=status, headers=common, body=dumps(body).encode())

    def _illegal(self, illegal: Illegal, request: SimRequest) -> HttpAnswer:
        if illegal.problem is Problem.ORDER:
            return super()._illegal(illegal, request)
        text = _complaint(illegal)
        return HttpAnswer(
            status=422, headers={"content-type": "text/plain; charset=utf-8"}, body=text.encode()
        )


def _complaint(illegal: Illegal) -> str:
    match illegal.problem:
        case Problem.UNKNOWN:
            what = f"unknown field `{illegal.where[-1]}`"
        case Problem.MISSING:
            what = f"missing field `{illegal.where[-1]}`"
        case Problem.TYPE:
            what = f"invalid type: {illegal.got_kind}, expected {illegal.expected}"
        case Problem.VALUE | Problem.ORDER:
            what = f"invalid value, expected {illegal.expected}"
    return f"Failed to deserialize the JSON body into the target type: {illegal.brackets}: {what} at line 1 column 62"
