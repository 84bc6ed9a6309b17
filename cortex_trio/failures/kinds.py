"""The kinds of failure and the value that carries one. Knows no wire and no policy."""

from __future__ import annotations

import enum
import re
from typing import Literal

import attrs

Phase = Literal["connect", "headers", "body", "stream"]

MESSAGE_LIMIT = 200
"""Characters kept of a provider's message: enough to read, too little to hold a prompt."""


READ_LIMIT = 4096
"""Characters of any text that are looked at: a provider says what is wrong at once."""

CODE_LIMIT, WORD_LIMIT = 100, 200
"""Characters kept of a code in an error body, and of any code or request id: they travel into logs."""

UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # C0 and C1 controls, ESC and BEL among them
    "\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"  # bidi overrides, invisible characters, line separators
    "\ufff9-\ufffd\ud800-\udfff]"  # annotations, what could not be decoded, halves of surrogate pairs
)
"""What a terminal or a log may act upon instead of showing it. Replaced by a space: removed, it would join words."""


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


def plain(text: str, limit: int) -> str:
    """Return `text` on one line, printable, and at most `limit` characters long."""
    text = " ".join(UNPRINTABLE.sub(" ", text[:READ_LIMIT]).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _plain_message(message: str) -> str:
    return plain(message, MESSAGE_LIMIT)


def _plain_word(word: str | None) -> str | None:
    return None if word is None else plain(word, WORD_LIMIT) or None


@attrs.frozen
class Failure:
    """One failed attempt, as a value: safe to log, to keep and to send on.

    `retry_after` is in seconds; None means the provider gave no hint. `should_retry` is the provider's own
    `x-should-retry` verdict on asking the same worker again (OpenAI, Anthropic). `ours` is True for what ran out on
    our side (descriptors, places in a connection pool, a time limit of the caller's): it counts against no worker.
    `message`, `code` and `request_id` are cut to 200 characters and hold no control characters.
    """

    kind: FailureKind
    message: str = attrs.field(default="", converter=_plain_message)  # scrubbed of keys
    status: int | None = None
    code: str | None = attrs.field(default=None, converter=_plain_word)
    retry_after: float | None = None
    phase: Phase | None = None
    request_id: str | None = attrs.field(default=None, converter=_plain_word)
    should_retry: bool | None = None
    ours: bool = False

    def __str__(self) -> str:
        status = f" (HTTP {self.status})" if self.status else ""
        return f"{self.kind.value}{status}: {self.message}" if self.message else f"{self.kind.value}{status}"
