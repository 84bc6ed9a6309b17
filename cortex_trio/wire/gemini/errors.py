"""Google's errors: `google.rpc.Status` with details, and the prompt that was blocked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from ...failures import FailureKind
from ...failures import FailureKind as K
from ..server import ParsedRequest

_TYPE = "type.googleapis.com/google.rpc."
_METRIC = "generativelanguage.googleapis.com/generate_content_requests"


@attrs.frozen
class Fault:
    """One error; `details` as Google appends them, `is_limit` if a wait belongs into them."""

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
UNREGISTERED = Fault(
    403,
    "PERMISSION_DENIED",
    "Method doesn't allow unregistered callers (callers without established identity). Please use API Key or other"
    " form of API consumer identity to call this API.",
)


def status_body(fault: Fault, model: str, status: int | None, wait: float | None) -> dict[str, Any]:
    """The body; a rate limit with a known wait says whose bucket it is and when it is full again."""
    message, details = fault.message.replace("{model}", model), list(fault.details)
    if fault.is_limit and wait is not None:
        violation = {
            "quotaMetric": _METRIC,
            "quotaId": "GenerateRequestsPerMinutePerProjectPerModel",
            "quotaDimensions": {"location": "global", "model": model},
            "quotaValue": "1000",
        }
        message = f"You exceeded your current quota. Please retry in {wait:g}s."
        details += [
            {"@type": f"{_TYPE}QuotaFailure", "violations": [violation]},
            {"@type": f"{_TYPE}RetryInfo", "retryDelay": f"{wait:g}s"},
        ]
    error: dict[str, Any] = {"code": status or fault.status, "message": message, "status": fault.grpc}
    return {"error": {**error, "details": details} if details else error}


def blocked(asked: ParsedRequest) -> dict[str, Any]:
    """A prompt that broke the rules gets a 200 without candidates."""
    ratings = [
        {"category": "HARM_CATEGORY_HATE_SPEECH", "probability": "HIGH"},
        {"category": "HARM_CATEGORY_HARASSMENT", "probability": "NEGLIGIBLE"},
    ]
    count = {"promptTokenCount": asked.prompt_tokens, "totalTokenCount": asked.prompt_tokens}
    return {
        "promptFeedback": {"blockReason": "SAFETY", "safetyRatings": ratings},
        "usageMetadata": count,
        "modelVersion": asked.model,
        "responseId": f"sim{asked.number:06}",
    }
