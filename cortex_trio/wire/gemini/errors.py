"""Google's errors: `google.rpc.Status` with details, and the prompt that was blocked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from ...failures import FailureKind
from ...failures import FailureKind as K
from ..rules import Illegal, Problem
from ..server import HttpResponse, ParsedRequest
from ..server_base import fault_of
from ..writing import dumps, encoded

_TYPE = "type.googleapis.com/google.rpc."
_METRIC = "generativelanguage.googleapis.com/generate_content_requests"


@attrs.frozen
class Fault:
    """One error. `details` as Google appends them; `is_limit`: a time to wait belongs into them."""

    status: int
    grpc: str
    message: str
    details: tuple[Mapping[str, Any], ...] = ()
    is_limit: bool = False


_KEY_INVALID = "API key not valid. Please pass a valid API key."
FAULTS: Mapping[FailureKind, Fault] = {
    K.CONTEXT_LENGTH: Fault(
        400,
        "INVALID_ARGUMENT",
        "The input token count (1052993) exceeds the maximum number of tokens allowed (1048576).",
    ),
    K.BAD_REQUEST: Fault(
        400, "INVALID_ARGUMENT", "Unable to submit request because temperature must be between 0 and 2."
    ),
    K.CREDENTIAL: Fault(
        400,
        "INVALID_ARGUMENT",
        _KEY_INVALID,
        (
            {
                "@type": f"{_TYPE}ErrorInfo",
                "reason": "API_KEY_INVALID",
                "domain": "googleapis.com",
                "metadata": {"service": "generativelanguage.googleapis.com"},
            },
            {"@type": f"{_TYPE}LocalizedMessage", "locale": "en-US", "message": _KEY_INVALID},
        ),
    ),
    K.PERMISSION: Fault(403, "PERMISSION_DENIED", "The caller does not have permission"),
    K.QUOTA: Fault(402, "RESOURCE_EXHAUSTED", "Your prepaid credit balance is depleted."),
    K.RATE_LIMIT: Fault(
        429,
        "RESOURCE_EXHAUSTED",
        "Resource has been exhausted (e.g. check quota).",
        is_limit=True,
    ),
    K.OVERLOADED: Fault(503, "UNAVAILABLE", "The model is overloaded. Please try again later."),
    K.SERVER: Fault(
        500,
        "INTERNAL",
        "An internal error has occurred. Please retry or report in"
        " https://developers.generativeai.google/guide/troubleshooting",
    ),
    K.MODEL_NOT_FOUND: Fault(
        404,
        "NOT_FOUND",
        "models/{model} is not found for API version v1beta, or is not supported for generateContent. Call ListModels"
        " to see the list of available models and their supported methods.",
    ),
    K.REGION: Fault(400, "FAILED_PRECONDITION", "User location is not supported for the API use."),
}
NOT_JSON = Fault(400, "INVALID_ARGUMENT", "Invalid JSON payload received. Unexpected end of string.")
UNREGISTERED = Fault(
    403,
    "PERMISSION_DENIED",
    "Method doesn't allow unregistered callers (callers without established identity). Please use API Key or other"
    " form of API consumer identity to call this API.",
)


def status_body(
    fault: Fault, model: str, status: int | None, wait: float | None, message: str | None = None
) -> dict[str, Any]:
    """Return the error body. A rate limit with a known wait names the limit and when it ends.

    `message` replaces the usual text.
    """
    text, details = fault.message.replace("{model}", model), list(fault.details)
    if fault.is_limit and wait is not None:
        violation = {
            "quotaMetric": _METRIC,
            "quotaId": "GenerateRequestsPerMinutePerProjectPerModel",
            "quotaDimensions": {"location": "global", "model": model},
            "quotaValue": "1000",
        }
        text = f"You exceeded your current quota. Please retry in {wait:g}s."
        details += [
            {"@type": f"{_TYPE}QuotaFailure", "violations": [violation]},
            {"@type": f"{_TYPE}RetryInfo", "retryDelay": f"{wait:g}s"},
        ]
    error: dict[str, Any] = {
        "code": status or fault.status,
        "message": text if message is None else message,
        "status": fault.grpc,
    }
    return {"error": {**error, "details": details} if details else error}


def stream_error(
    kind: FailureKind, request: ParsedRequest, message: str | None, wait: float | None
) -> dict[str, Any]:
    """Return what stands in a stream for a failure: an error body, or a response to a blocked prompt."""
    if kind is K.CONTENT_POLICY:
        return blocked(request)
    return status_body(fault_of(FAULTS, kind), request.model, None, wait, message)


def blocked(request: ParsedRequest) -> dict[str, Any]:
    """Return the response to a prompt that broke the rules: it has status 200 and no candidates."""
    ratings = [
        {"category": "HARM_CATEGORY_HATE_SPEECH", "probability": "HIGH"},
        {"category": "HARM_CATEGORY_HARASSMENT", "probability": "NEGLIGIBLE"},
    ]
    count = {"promptTokenCount": request.prompt_tokens, "totalTokenCount": request.prompt_tokens}
    return {
        "promptFeedback": {"blockReason": "SAFETY", "safetyRatings": ratings},
        "usageMetadata": count,
        "modelVersion": request.model,
        "responseId": request.identity.id,
    }


def error_response(
    fault: Fault,
    model: str = "",
    *,
    status: int | None = None,
    wait: float | None = None,
    message: str | None = None,
) -> HttpResponse:
    """Return the response around an error body."""
    body = status_body(fault, model, status, wait, message)
    return json_response(status or fault.status, pretty(body))


def json_response(status: int, body: bytes) -> HttpResponse:
    headers = {"content-type": "application/json; charset=UTF-8"}
    return HttpResponse(status=status, headers=headers, body=body)


def pretty(value: object) -> bytes:
    """Return JSON as Google lays it out."""
    return encoded(dumps(value, indent=2, escape_html=True) + "\n")


def illegal_response(illegal: Illegal) -> HttpResponse:
    """Return the response to a body with an illegal field."""
    return error_response(Fault(400, "INVALID_ARGUMENT", complaint(illegal)))


def complaint(illegal: Illegal) -> str:
    """Return the text that says what is wrong with a field."""
    match illegal.problem:
        case Problem.UNKNOWN:
            parent = illegal.brackets.rpartition(".")[0]
            place = f" at '{parent}'" if parent else ""
            return f'Invalid JSON payload received. Unknown name "{illegal.where[-1]}"{place}: Cannot find field.'
        case Problem.MISSING:
            return f"* GenerateContentRequest.{illegal.brackets}: {illegal.where[-1]} is not specified\n"
        case Problem.TYPE:
            return f"Invalid value at '{illegal.brackets}' ({illegal.expected}), {dumps(illegal.got)[:60]}"
        case Problem.VALUE:
            return f"* GenerateContentRequest.{illegal.brackets}: must be {illegal.expected}\n"
        case Problem.ORDER:
            return illegal.expected
