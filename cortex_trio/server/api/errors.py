"""Errors in the shape of the API of a client: those of a call, and those of the server itself. Pure.

A failure of a provider looks as the API of the client shows this kind of failure; its text is ours, and names what was
tried.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from ...errors import AllWorkersFailed, ProviderError
from ...events import Attempt
from ...failures import CortexError, Failure, FailureKind, InvalidRequest, NoWorkersAvailable
from ...wire.codec import Unsupported
from ...wire.server import HttpResponse, ParsedRequest, ServerDialect
from ...wire.writing import dumps, encoded
from ..exchange import Headers
from ..limits_protocol import ErrorKind
from .inbound import NotExpressible
from .ingress import Ingress

LATE_STATUS = 504
"""For a call whose time is over."""

TOO_LARGE_STATUS = 413
"""For a request that was too large for the provider."""


def failure_of(error: CortexError) -> Failure | None:
    """Return what a provider did wrong; None if the error is not about one."""
    match error:
        case AllWorkersFailed(primary=primary):
            return primary.failure
        case ProviderError(failure=failure):
            return failure
        case _:
            return None


def kind_of(error: CortexError) -> FailureKind:
    """Return the kind of failure as which an error is shown."""
    if (failure := failure_of(error)) is not None:
        return failure.kind
    if isinstance(error, NoWorkersAvailable) and error.kind is FailureKind.RATE_LIMIT:
        return error.kind  # a client that meets a limit again learns the same as at the first time
    return FailureKind.BAD_REQUEST if isinstance(error, InvalidRequest) else FailureKind.OVERLOADED


def attempts_of(error: CortexError) -> int:
    """Return how many requests were sent to providers."""
    attempts: tuple[Attempt, ...] = tuple(getattr(error, "attempts", ()))
    return len(attempts)


def message_of(error: CortexError) -> str:
    """Return the message of an error for a client. It leaves out what only programs in Python can use."""
    match error:
        case AllWorkersFailed():
            return error.message  # without the number of exceptions in the group
        case Unsupported(what=what, provider=provider):
            return f"{provider} does not support {what}"
        case _:
            return str(error)


def wait_of(error: CortexError) -> float | None:
    """Return the seconds until a retry makes sense; None if unknown."""
    if isinstance(error, AllWorkersFailed | NoWorkersAvailable | ProviderError):
        return error.retry_after
    return None


def call_error(
    server: ServerDialect, parsed: ParsedRequest, error: CortexError
) -> tuple[int, Headers, bytes]:
    """Return the response to a call that has failed before anything of an answer was sent.

    Args:
        server: The API of the client.
        parsed: The request.
        error: Why there is no answer.
    """
    if isinstance(error, NotExpressible):
        return plain(error.response)
    wait, failure, kind = wait_of(error), failure_of(error), kind_of(error)
    status = None
    if isinstance(error, NoWorkersAvailable) and kind is FailureKind.OVERLOADED:
        status = 503
    elif failure is not None and failure.kind is FailureKind.STALLED:
        status = LATE_STATUS
    elif failure is not None and failure.status == TOO_LARGE_STATUS:
        status = TOO_LARGE_STATUS  # clients make their request smaller and try again
    response = server.failure(kind, parsed, message=message_of(error), status=status, wait=wait)
    headers = {name: value for name, value in response.headers.items() if name not in _OWN}
    headers.update(retry_headers(wait))
    attempts = attempts_of(error)
    if attempts > 1:
        headers["x-should-retry"] = "false"  # we have retried already
    if attempts:
        headers["x-cortex-attempts"] = str(attempts)
    return response.status, tuple(headers.items()), response.body


_OWN = frozenset(
    {"x-request-id", "request-id", "retry-after", "retry-after-ms", "content-length", "connection"}
)
"""Headers that the server sets by itself."""


def plain(response: HttpResponse) -> tuple[int, Headers, bytes]:
    """Return a response of a dialect as it is sent."""
    headers = tuple((name, value) for name, value in response.headers.items() if name not in _OWN)
    return response.status, headers, response.body


def retry_headers(wait: float | None) -> Mapping[str, str]:
    """Return the headers that say when a retry makes sense."""
    if wait is None or not math.isfinite(wait):
        return {}
    return {"retry-after": str(math.ceil(wait)), "retry-after-ms": str(math.ceil(wait * 1000))}


# ------------------------------------------------------------------ errors of the server itself

_OPENAI: Mapping[ErrorKind, tuple[str, str | None]] = {
    ErrorKind.BAD_KEY: ("invalid_request_error", "invalid_api_key"),
    ErrorKind.INSUFFICIENT_QUOTA: ("insufficient_quota", "insufficient_quota"),
    ErrorKind.MODEL_NOT_ALLOWED: ("invalid_request_error", "model_not_allowed"),
    ErrorKind.TOO_LARGE: ("invalid_request_error", "request_too_large"),
    ErrorKind.TIMEOUT: ("invalid_request_error", "request_timeout"),
    ErrorKind.RATE_LIMITED: ("requests", "rate_limit_exceeded"),
    ErrorKind.INTERNAL: ("server_error", None),
    ErrorKind.OVERLOADED: ("server_error", "overloaded"),
    ErrorKind.DRAINING: ("server_error", "shutting_down"),
}
"""Type and code. The others are invalid requests without a code."""

_ANTHROPIC: Mapping[ErrorKind, str] = {
    ErrorKind.BAD_KEY: "authentication_error",
    ErrorKind.INSUFFICIENT_QUOTA: "billing_error",
    ErrorKind.MODEL_NOT_ALLOWED: "permission_error",
    ErrorKind.NOT_FOUND: "not_found_error",
    ErrorKind.TIMEOUT: "timeout_error",
    ErrorKind.TOO_LARGE: "request_too_large",
    ErrorKind.RATE_LIMITED: "rate_limit_error",
    ErrorKind.INTERNAL: "api_error",
    ErrorKind.OVERLOADED: "overloaded_error",
    ErrorKind.DRAINING: "overloaded_error",
}

_GOOGLE: Mapping[ErrorKind, str] = {
    ErrorKind.BAD_KEY: "UNAUTHENTICATED",
    ErrorKind.INSUFFICIENT_QUOTA: "RESOURCE_EXHAUSTED",
    ErrorKind.MODEL_NOT_ALLOWED: "PERMISSION_DENIED",
    ErrorKind.NOT_FOUND: "NOT_FOUND",
    ErrorKind.TIMEOUT: "DEADLINE_EXCEEDED",
    ErrorKind.RATE_LIMITED: "RESOURCE_EXHAUSTED",
    ErrorKind.INTERNAL: "INTERNAL",
    ErrorKind.OVERLOADED: "UNAVAILABLE",
    ErrorKind.DRAINING: "UNAVAILABLE",
}


def server_error(
    ingress: Ingress, kind: ErrorKind, message: str, *, retry_after: float | None = None
) -> tuple[int, Headers, bytes]:
    """Return an error of the server itself."""
    match ingress.name:
        case "anthropic_messages":
            error = {"type": _ANTHROPIC.get(kind, "invalid_request_error"), "message": message}
            body: Mapping[str, object] = {"type": "error", "error": error}
        case "gemini":
            name = _GOOGLE.get(kind, "INVALID_ARGUMENT")
            body = {"error": {"code": kind.status, "message": message, "status": name}}
        case _:
            type_, code = _OPENAI.get(kind, ("invalid_request_error", None))
            body = {"error": {"message": message, "type": type_, "param": None, "code": code}}
    headers = {"content-type": "application/json", **retry_headers(retry_after)}
    return kind.status, tuple(headers.items()), encoded(dumps(body))
