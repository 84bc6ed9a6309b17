"""The errors of OpenAI's APIs, chat completions and Responses alike. Groq and xAI have tables of their own.

The texts are those the providers send. `{model}` is filled in; `{wait}` is the place for a time to wait.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import attrs

from ..failures import FailureKind as K
from .rules import Illegal, Problem
from .server import HttpResponse, ResponseIdentity
from .writing import dumps, encoded


@attrs.frozen
class Fault:
    """One error. Each API writes it in its own shape."""

    status: int
    message: str
    type: str = "invalid_request_error"
    code: str | None = None
    usual_wait: float | None = None
    """Seconds to wait that the provider names by itself. None: it names none."""

    def text(self, model: str, wait: float | None, message: str | None = None) -> str:
        """Return the text; `message` replaces the usual one."""
        if message is not None:
            return message
        wait = self.usual_wait if wait is None else wait
        hint = "" if wait is None else f" Please try again in {wait:g}s."
        return self.message.replace("{model}", model).replace("{wait}", hint)

    def headers(self, wait: float | None) -> dict[str, str]:
        if wait is None and self.usual_wait is not None:
            return {"retry-after": str(math.ceil(self.usual_wait))}
        return {}


FAULTS: Mapping[K, Fault] = {
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


def error_body(fault: Fault, text: str) -> dict[str, Any]:
    """Return an error as OpenAI writes it."""
    return _error(text, fault.type, None, fault.code)


def error_response(
    status: int, body: Mapping[str, Any], identity: ResponseIdentity, headers: Mapping[str, str] | None = None
) -> HttpResponse:
    """Return the response around an error body, in OpenAI's layout."""
    common = {"content-type": "application/json", "x-request-id": request_id(identity), **(headers or {})}
    return HttpResponse(status=status, headers=common, body=encoded(dumps(body, indent=2)) + b"\n")


def request_id(identity: ResponseIdentity) -> str:
    return f"req_{identity.id}"


# ------------------------------------------------------------------ what is wrong with a request


def _error(message: str, type: str, param: str | None, code: str | None) -> dict[str, Any]:
    return {"error": {"message": message, "type": type, "param": param, "code": code}}


NO_KEY: Mapping[str, Any] = _error(
    "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth"
    " (i.e. Authorization: Bearer YOUR_KEY).",
    "invalid_request_error",
    None,
    "invalid_api_key",
)
NO_JSON: Mapping[str, Any] = _error(
    "We could not parse the JSON body of your request. The API expects a JSON payload.",
    "invalid_request_error",
    None,
    None,
)


def no_route(method: str, path: str) -> dict[str, Any]:
    return _error(f"Invalid URL ({method} {path})", "invalid_request_error", None, None)


def complaint(illegal: Illegal) -> dict[str, Any]:
    """Return the error that says what is wrong with a field."""
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
    return _error(message, "invalid_request_error", where or None, code)
