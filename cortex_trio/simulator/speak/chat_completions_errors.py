"""The errors of the chat completions family: OpenAI's object, Groq's sparser one, xAI's string.

Texts as the providers send them. `{model}` is filled in; where a text has room for a wait, `wait` puts it there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import attrs

from ...failures import FailureKind as K
from .rules import Illegal, Problem


@attrs.frozen
class Fault:
    """One error: its status and what is needed to write its body in the provider's shape."""

    status: int
    message: str
    type: str = "invalid_request_error"
    code: str | None = None
    shape: str = "openai"  # "openai" | "groq" | "xai"
    retry: bool | None = None  # x-should-retry
    usual_wait: float | None = None  # what the provider says unless told otherwise

    def body(self, model: str, wait: float | None) -> dict[str, Any]:
        wait = self.usual_wait if wait is None else wait
        message = self.message.replace("{model}", model)
        message = message.replace("{wait}", "" if wait is None else f" Please try again in {wait:g}s.")
        if self.shape == "xai":
            return {"code": self.code, "error": message}
        error: dict[str, Any] = {"message": message, "type": self.type}
        if self.shape == "openai":
            error |= {"param": None, "code": self.code}
        elif self.code:
            error["code"] = self.code
        return {"error": error}

    def headers(self, wait: float | None) -> dict[str, str]:
        headers = {} if self.retry is None else {"x-should-retry": str(self.retry).lower()}
        if wait is None and self.usual_wait is not None:
            headers["retry-after"] = str(math.ceil(self.usual_wait))
        return headers


OPENAI: Mapping[K, Fault] = {
    K.CONTEXT_LENGTH: Fault(
        400,
        "This model's maximum context length is 128000 tokens. However, your messages resulted in 128417 tokens."
        " Please reduce the length of the messages.",
        code="context_length_exceeded",
    ),
    K.CONTENT_POLICY: Fault(
        400,
        "Your request was rejected as a result of our safety system.",
        code="content_policy_violation",
    ),
    K.BAD_REQUEST: Fault(
        400, "Invalid value for 'temperature': expected a number between 0 and 2.", code="invalid_value"
    ),
    K.CREDENTIAL: Fault(
        401,
        "Incorrect API key provided: sk-si*************0001. You can find your API key at"
        " https://platform.openai.com/account/api-keys.",
        code="invalid_api_key",
    ),
    K.PERMISSION: Fault(403, "You are not allowed to sample from this model"),
    K.QUOTA: Fault(
        429,
        "You exceeded your current quota, please check your plan and billing details. For more information on this"
        " error, read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors.",
        "insufficient_quota",
        "insufficient_quota",
    ),
    K.RATE_LIMIT: Fault(
        429,
        "Rate limit reached for {model} in organization org-000000000000000000000000 on tokens per min (TPM):"
        " Limit 30000, Used 28770, Requested 30000.{wait} Visit https://platform.openai.com/account/rate-limits"
        " to learn more.",
        "tokens",
        "rate_limit_exceeded",
    ),
    K.OVERLOADED: Fault(503, "The engine is currently overloaded, please try again later", "server_error"),
    K.SERVER: Fault(
        500,
        "The server had an error while processing your request. Sorry about that!",
        "server_error",
    ),
    K.MODEL_NOT_FOUND: Fault(
        404, "The model `{model}` does not exist or you do not have access to it.", code="model_not_found"
    ),
    K.REGION: Fault(
        403,
        "Country, region, or territory not supported",
        "request_forbidden",
        "unsupported_country_region_territory",
    ),
}


def _groq(
    status: int,
    message: str,
    type: str = "invalid_request_error",
    code: str | None = None,
    wait: float | None = None,
) -> Fault:
    return Fault(status, message, type, code, shape="groq", usual_wait=wait)


_GROQ_LIMIT = (
    "Rate limit reached for model `{model}` in organization `org_00000000000000000000000000` service tier"
    " `on_demand` on %s.{wait} Need more tokens? Upgrade to Dev Tier today at https://console.groq.com/settings/billing"
)

GROQ: Mapping[K, Fault] = {
    K.CONTEXT_LENGTH: _groq(
        400, "Please reduce the length of the messages or completion.", code="context_length_exceeded"
    ),
    K.CONTENT_POLICY: _groq(
        400, "The request was blocked by our content policy.", code="content_policy_violation"
    ),
    K.BAD_REQUEST: _groq(400, "'temperature' : number must be at most 2"),
    K.CREDENTIAL: _groq(401, "Invalid API Key", code="invalid_api_key"),
    K.PERMISSION: _groq(
        403, "Your API key does not have permission to use model `{model}`.", "permissions_error"
    ),
    K.QUOTA: _groq(
        429,
        _GROQ_LIMIT % "tokens per day (TPD): Limit 200000, Used 199800, Requested 3100",
        "tokens",
        "rate_limit_exceeded",
        wait=1252.8,
    ),
    K.RATE_LIMIT: _groq(
        429,
        _GROQ_LIMIT % "tokens per minute (TPM): Limit 6000, Used 4093, Requested 3531",
        "tokens",
        "rate_limit_exceeded",
    ),
    K.OVERLOADED: _groq(
        498, "Flex tier capacity exceeded. Please try again later.", code="capacity_exceeded"
    ),
    K.SERVER: _groq(500, "Internal Server Error", "internal_server_error"),
    K.MODEL_NOT_FOUND: _groq(
        404, "The model `{model}` does not exist or you do not have access to it.", code="model_not_found"
    ),
    K.REGION: _groq(
        403,
        "Access from your country or region is not supported.",
        code="unsupported_country_region_territory",
    ),
}


def _xai(status: int, code: str, message: str) -> Fault:
    return Fault(status, message, code=code, shape="xai")


_EXHAUSTED = "Some resource has been exhausted"
_FORBIDDEN = "The caller does not have permission to execute the specified operation"
_TEAM = "00000000-0000-0000-0000-000000000000"

XAI: Mapping[K, Fault] = {
    K.CONTEXT_LENGTH: _xai(
        400,
        "Client specified an invalid argument",
        "This model's maximum prompt length is 131072 but the request contains 140011 tokens: it does not fit the"
        " context window.",
    ),
    K.CONTENT_POLICY: _xai(403, _FORBIDDEN, "Content violates usage guidelines."),
    K.BAD_REQUEST: _xai(400, "invalid-argument", "Model {model} does not support parameter reasoningEffort."),
    K.CREDENTIAL: _xai(
        400,
        "invalid-argument",
        "Incorrect API key provided. You can obtain an API key from https://console.x.ai.",
    ),
    K.PERMISSION: _xai(
        403, _FORBIDDEN, "Your API key or team doesn't have permission to perform the action."
    ),
    K.QUOTA: _xai(
        429,
        _EXHAUSTED,
        f"Your team {_TEAM} has either used all available credits or reached its monthly spending limit. To continue"
        " making API requests, please purchase more credits or raise your spending limit.",
    ),
    K.RATE_LIMIT: _xai(
        429,
        _EXHAUSTED,
        f"Too many tokens for team {_TEAM} and model {{model}}. Your team's rate limit is — Tokens per Minute"
        " (actual/limit): 65605/16000. You can view your team rate limits at https://console.x.ai.",
    ),
    K.OVERLOADED: _xai(
        503, "The service is currently unavailable", "The model is overloaded. Please try again later."
    ),
    K.SERVER: _xai(500, "Internal error", "Internal server error"),
    K.MODEL_NOT_FOUND: _xai(
        404,
        "Some requested entity was not found",
        "The model {model} does not exist or your team does not have access to it.",
    ),
    K.REGION: _xai(403, _FORBIDDEN, "This service is not available in your region: region not supported."),
}

# ------------------------------------------------------------------ what is wrong with a request

NO_KEY: Mapping[str, Any] = {
    "error": {
        "message": "You didn't provide an API key. You need to provide your API key in an Authorization header using"
        " Bearer auth (i.e. Authorization: Bearer YOUR_KEY).",
        "type": "invalid_request_error",
        "param": None,
        "code": "invalid_api_key",
    }
}
XAI_NO_KEY: Mapping[str, Any] = {
    "code": "Unauthenticated",
    "error": "No authorization header or an invalid authorization token was provided.",
}
XAI_KEY_STATUS: Mapping[str, Any] = {
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
NO_JSON: Mapping[str, Any] = {
    "error": {
        "message": "We could not parse the JSON body of your request. The API expects a JSON payload.",
        "type": "invalid_request_error",
        "param": None,
        "code": None,
    }
}


def no_route(method: str, path: str) -> dict[str, Any]:
    return {
        "error": {
            "message": f"Invalid URL ({method} {path})",
            "type": "invalid_request_error",
            "param": None,
            "code": None,
        }
    }


def openai_complaint(illegal: Illegal) -> dict[str, Any]:
    where, got = illegal.brackets, illegal.got
    code: str | None
    match illegal.problem:
        case Problem.UNKNOWN:
            message, code = f"Unknown parameter: '{where}'.", "unknown_parameter"
        case Problem.MISSING:
            message, code = f"Missing required parameter: '{where}'.", "missing_required_parameter"
        case Problem.TYPE:
            message = f"Invalid type for '{where}': expected {illegal.expected}, but got {illegal.got_kind} instead."
            code = "invalid_type"
        case Problem.VALUE:
            message = f"Invalid value: {got!r:.60}. Supported values for '{where}' are: {illegal.expected}."
            code = "invalid_value"
        case Problem.ORDER:
            message, code = illegal.expected, None
    return {
        "error": {"message": message, "type": "invalid_request_error", "param": where or None, "code": code}
    }


def groq_complaint(illegal: Illegal) -> dict[str, Any]:
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


def xai_complaint(illegal: Illegal) -> str:
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
