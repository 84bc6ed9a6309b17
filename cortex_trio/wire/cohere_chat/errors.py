"""Cohere's errors are flat: a message, an id, and seldom an `error_type`."""

from __future__ import annotations

from collections.abc import Mapping

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
    message: str
    error_type: str | None = None


FAULTS: Mapping[FailureKind, Fault] = {
    K.CONTEXT_LENGTH: Fault(
        400,
        "too many tokens: size limit exceeded by 25836 tokens. Try using shorter or fewer inputs. The limit for this"
        " model is 288000 tokens.",
        "TOO_MANY_TOKENS",
    ),
    K.CONTENT_POLICY: Fault(400, "blocked output: the request violates our content policy"),
    K.BAD_REQUEST: Fault(400, "invalid request: temperature must be between 0 and 2.0 inclusive."),
    K.CREDENTIAL: Fault(401, "invalid api token"),
    K.PERMISSION: Fault(403, "You do not have permission to use this model."),
    K.QUOTA: Fault(
        402,
        "Maximum billing reached for this API key as set in your dashboard, please go to"
        " https://dashboard.cohere.com/billing?tab=payment to increase your maximum amount to continue using this API"
        " key. Your billing capacity will reset at the beginning of next month.",
    ),
    K.RATE_LIMIT: Fault(429, "You are past the per minute request limit, please wait and try again later."),
    K.OVERLOADED: Fault(503, "the model is overloaded, please try again later"),
    K.SERVER: Fault(500, "internal server error, this has been reported to our developers"),
    K.MODEL_NOT_FOUND: Fault(
        404,
        "model '{model}' not found, make sure the correct model ID was used and that you have access to the model.",
    ),
    K.REGION: Fault(403, "your country or region is not supported"),
}


def text_of(kind: FailureKind, model: str, message: str | None) -> str:
    """Return the text of a failure; `message` replaces the usual one."""
    return fault_of(FAULTS, kind).message.replace("{model}", model) if message is None else message


def error_response(
    status: int, message: str, identity: ResponseIdentity, error_type: str | None = None
) -> HttpResponse:
    body = {"id": identity.uuid, "message": message}
    if error_type:
        body = {"error_type": error_type, **body}
    headers = {"content-type": "application/json"}
    return HttpResponse(status=status, headers=headers, body=encoded(dumps(body)))


def complaint(illegal: Illegal) -> str:
    """Return the text that says what is wrong with a field."""
    match illegal.problem:
        case Problem.UNKNOWN:
            return f"unknown field: parameter '{illegal.where[-1]}' is not a valid field"
        case Problem.MISSING:
            return f"invalid request: {illegal.brackets} is required."
        case Problem.TYPE:
            kinds = f"is of type {illegal.got_kind} but should be of type {illegal.expected}"
            return f"invalid type: parameter {illegal.dots} {kinds}."
        case Problem.VALUE:
            return f"invalid request: {illegal.brackets} must be {illegal.expected}."
        case Problem.ORDER:
            return illegal.expected
