"""The errors of xAI's APIs, chat completions and Responses alike: the text itself is the value of `error`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..failures import FailureKind as K
from .openai_errors import Fault
from .rules import Illegal, Problem
from .server import HttpResponse
from .writing import dumps, encoded


def _fault(status: int, code: str, message: str) -> Fault:
    return Fault(status, message, code=code)


_EXHAUSTED = "Some resource has been exhausted"
_FORBIDDEN = "The caller does not have permission to execute the specified operation"
TEAM = "00000000-0000-0000-0000-000000000000"

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
        f"Your team {TEAM} has either used all available credits or reached its monthly spending limit. To continue"
        " making API requests, please purchase more credits or raise your spending limit.",
    ),
    K.RATE_LIMIT: _fault(
        429,
        _EXHAUSTED,
        f"Too many tokens for team {TEAM} and model {{model}}. Your team's rate limit is — Tokens per Minute"
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


def error_body(fault: Fault, text: str) -> dict[str, Any]:
    """Return an error as xAI writes it."""
    return {"code": fault.code, "error": text}


def error_response(
    status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None
) -> HttpResponse:
    """Return the response around an error body; an error in OpenAI's shape is rewritten."""
    if set(body) == {"error"}:
        body = {"code": "Client specified an invalid argument", "error": body["error"]["message"]}
    common = {"content-type": "application/json", **(headers or {})}
    return HttpResponse(status=status, headers=common, body=encoded(dumps(body)))


def illegal_response(illegal: Illegal) -> HttpResponse:
    """Return the response to a body that xAI cannot read: text, and another status than everywhere else."""
    headers = {"content-type": "text/plain; charset=utf-8"}
    return HttpResponse(status=422, headers=headers, body=encoded(complaint(illegal)))


def complaint(illegal: Illegal) -> str:
    """Return the text that says what is wrong with a field."""
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
