"""The kinds of failure and the value that carries one. Knows no wire and no policy."""

from __future__ import annotations

import enum
from typing import Literal

import attrs

Phase = Literal["connect", "headers", "body", "stream"]

MESSAGE_LIMIT = 200
"""Characters kept of a provider's message: enough to read, too little to hold a prompt."""


class FailureKind(str, enum.Enum):
    """What a failure proves. `reactions.REACTIONS` says what each one makes us do."""

    CONTEXT_LENGTH = "context_length"
    CONTENT_POLICY = "content_policy"
    BAD_REQUEST = "bad_request"
    CREDENTIAL = "credential"
    PERMISSION = "permission"
    QUOTA = "quota"
    RATE_LIMIT = "rate_limit"
    OVERLOADED = "overloaded"
    SERVER = "server"
    CONNECTION = "connection"
    STALLED = "stalled"
    PROTOCOL = "protocol"
    TRUNCATED = "truncated"
    EMPTY = "empty"
    MODEL_NOT_FOUND = "model_not_found"
    REGION = "region"
    EDGE = "edge"
    CRASHED = "crashed"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"


def _shorten(message: str) -> str:
    message = " ".join(message.split())
    return message if len(message) <= MESSAGE_LIMIT else message[: MESSAGE_LIMIT - 1] + "…"


@attrs.frozen
class Failure:
    """One failed attempt, as a value: safe to log, to keep and to send on.

    `retry_after` is in seconds; None means the provider gave no hint. `should_retry` is the provider's own
    `x-should-retry` verdict on asking the same worker again (OpenAI, Anthropic). `ours` is true for what ran out
    on our side: descriptors, places in a pool; it counts against no worker.
    """

    kind: FailureKind
    message: str = attrs.field(default="", converter=_shorten)  # scrubbed of keys, at most 200 characters
    status: int | None = None
    code: str | None = None
    retry_after: float | None = None
    phase: Phase | None = None
    request_id: str | None = None
    should_retry: bool | None = None
    ours: bool = False

    def __str__(self) -> str:
        status = f" (HTTP {self.status})" if self.status else ""
        return f"{self.kind.value}{status}: {self.message}" if self.message else f"{self.kind.value}{status}"
