"""Anthropic's errors: `{"type": "error", "error": {"type", "message"}, "request_id"}`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from ...failures import FailureKind
from ...failures import FailureKind as K
from ..rules import Illegal, Problem
from ..server import HttpResponse, ResponseIdentity
from ..server_base import fault_of
from ..writing import dumps, encoded


@attrs.frozen
class Fault:
    """One error. `{model}` in the text is filled in."""

    status: int
    type: str
    message: str


FAULTS: Mapping[FailureKind, Fault] = {
    K.CONTEXT_LENGTH: Fault(
        400, "invalid_request_error", "prompt is too long: 200417 tokens > 200000 maximum"
    ),
    K.CONTENT_POLICY: Fault(400, "invalid_request_error", "Output blocked by content filtering policy"),
    K.BAD_REQUEST: Fault(400, "invalid_request_error", "temperature: range: 0..1"),
    K.CREDENTIAL: Fault(401, "authentication_error", "invalid x-api-key"),
    K.PERMISSION: Fault(
        403,
        "permission_error",
        "Your API key does not have permission to use the specified resource.",
    ),
    K.QUOTA: Fault(
        400,
        "invalid_request_error",
        "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or"
        " purchase credits.",
    ),
    K.RATE_LIMIT: Fault(
        429,
        "rate_limit_error",
        "This request would exceed your account's rate limit. Please try again later.",
    ),
    K.OVERLOADED: Fault(529, "overloaded_error", "Overloaded"),
    K.SERVER: Fault(500, "api_error", "Internal server error"),
    K.MODEL_NOT_FOUND: Fault(404, "not_found_error", "model: {model}"),
    K.REGION: Fault(403, "forbidden", "Request not allowed: your country or region is not supported."),
}


def error_of(kind: FailureKind, model: str, message: str | None) -> tuple[int, dict[str, Any]]:
    """Return the usual status of a failure, and the object that describes it; `message` replaces the usual text."""
    fault = fault_of(FAULTS, kind)
    text = fault.message.replace("{model}", model) if message is None else message
    return fault.status, {"type": fault.type, "message": text}


def error_response(status: int, error: Mapping[str, Any], identity: ResponseIdentity) -> HttpResponse:
    """Return the response around an error object."""
    request_id = f"req_{identity.id}"
    body = {"type": "error", "error": error, "request_id": request_id}
    headers = {"content-type": "application/json", "request-id": request_id}
    return HttpResponse(status=status, headers=headers, body=encoded(dumps(body)))


def plain_error(status: int, type: str, message: str, identity: ResponseIdentity) -> HttpResponse:
    return error_response(status, {"type": type, "message": message}, identity)


def complaint(illegal: Illegal) -> str:
    """Return the text that says what is wrong with a field."""
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
