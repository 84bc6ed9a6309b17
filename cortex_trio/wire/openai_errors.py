"""The errors of chat completions as OpenAI words them; Groq and xAI say theirs beside their accents.

Texts as the providers send them. `{model}` is filled in; where a text has room for a wait, `wait` puts it there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import attrs

from ..failures import FailureKind as K
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


def complaint(illegal: Illegal) -> dict[str, Any]:
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
