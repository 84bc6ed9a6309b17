"""Ollama's errors: `{"error": "text"}`."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from ...failures import FailureKind
from ...failures import FailureKind as K
from ..rules import Illegal, Problem
from ..server import HttpResponse
from ..server_base import fault_of
from ..writing import dumps, encoded


@attrs.frozen
class Fault:
    """One error. `{model}` in the text is filled in."""

    status: int
    message: str


FAULTS: Mapping[FailureKind, Fault] = {
    K.CONTEXT_LENGTH: Fault(400, "prompt too long; exceeded max context length by 4417 tokens"),
    K.CONTENT_POLICY: Fault(400, "the request was blocked by the content policy"),
    K.BAD_REQUEST: Fault(400, '"{model}" does not support thinking'),
    K.CREDENTIAL: Fault(401, "unauthorized"),
    K.PERMISSION: Fault(403, "this model is not available to your account"),
    K.QUOTA: Fault(429, "you (account) have reached your hourly usage limit, please upgrade to continue"),
    K.RATE_LIMIT: Fault(429, "too many requests"),
    K.OVERLOADED: Fault(503, "server busy, please try again.  maximum pending requests exceeded"),
    K.SERVER: Fault(500, "an error was encountered while running the model: unexpected EOF"),
    K.MODEL_NOT_FOUND: Fault(404, "model '{model}' not found"),
    K.REGION: Fault(403, "your country or region is not supported"),
}


def text_of(kind: FailureKind, model: str, message: str | None) -> str:
    """Return the text of a failure; `message` replaces the usual one."""
    return fault_of(FAULTS, kind).message.replace("{model}", model) if message is None else message


def error_response(status: int, message: str) -> HttpResponse:
    headers = {"content-type": "application/json; charset=utf-8"}
    body = encoded(dumps({"error": message}, escape_html=True))
    return HttpResponse(status=status, headers=headers, body=body)


def complaint(illegal: Illegal) -> str:
    """Return the text that says what is wrong with a field."""
    names = ".".join(str(step) for step in illegal.where if isinstance(step, str))
    match illegal.problem:
        case Problem.MISSING:
            return f"{names} is required"
        case Problem.TYPE:
            return (
                f"json: cannot unmarshal {illegal.got_kind} into Go struct field ChatRequest.{names} of type"
                f" {illegal.expected}"
            )
        case Problem.VALUE if illegal.expected == "base64":
            return "illegal base64 data at input byte 0"
        case Problem.UNKNOWN | Problem.VALUE | Problem.ORDER:
            return f"invalid {names}: expected {illegal.expected}"
