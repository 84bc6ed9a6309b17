"""Failure: what went wrong in an attempt, as a value. Knows no wire format."""

from __future__ import annotations

import re
from typing import Literal

import attrs

from .reactions import FailureKind as FailureKind

Phase = Literal["connect", "headers", "body", "stream"]
"""The part of a request that failed: before the response, its head, its body, or the stream of an answer."""

MESSAGE_LIMIT = 200
"""Characters kept of a provider's message: enough to understand it, too few to hold a prompt."""

READ_LIMIT = 4096
"""Characters read of any text of a provider: the reason of an error stands at its beginning."""

CODE_LIMIT, WORD_LIMIT = 100, 200
"""Characters kept of a code in an error body, and of any code or request id: both are written to logs."""

UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # C0 and C1 controls, ESC and BEL among them
    "\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"  # bidi overrides, invisible characters, line separators
    "\ufff9-\ufffd\ud800-\udfff]"  # annotations, the replacement character, surrogates
)
"""Characters that a terminal may act upon instead of showing them. Replaced by spaces, to keep words apart."""


def plain(text: str, limit: int) -> str:
    """Return `text` on one line, without control characters, and cut to `limit` characters."""
    text = " ".join(UNPRINTABLE.sub(" ", text[:READ_LIMIT]).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _plain_message(message: str) -> str:
    return plain(message, MESSAGE_LIMIT)


def _plain_word(word: str | None) -> str | None:
    return None if word is None else plain(word, WORD_LIMIT) or None


@attrs.frozen
class Failure:
    """Why an attempt failed. Safe to log and to keep: it holds no API key, no control characters and no prompt."""

    kind: FailureKind
    """What the failure proves."""

    message: str = attrs.field(default="", converter=_plain_message)
    """The provider's message, or ours, without API keys; at most 200 characters. Empty: there is none."""

    status: int | None = None
    """The HTTP status. None: there was no response, or the error came inside a response with status 200."""

    code: str | None = attrs.field(default=None, converter=_plain_word)
    """The provider's error code, in lower case; at most 200 characters. None: it gave none."""

    retry_after: float | None = None
    """Seconds after which the provider allows another request. None: it named no time."""

    phase: Phase | None = None
    """The phase of the request in which it failed. None: it is not known."""

    request_id: str | None = attrs.field(default=None, converter=_plain_word)
    """The provider's id of the request; at most 200 characters. None: it gave none."""

    should_retry: bool | None = None
    """The header `x-should-retry` (OpenAI, Anthropic): whether to send the request again. None: it is absent."""

    ours: bool = False
    """True if a resource or a limit on our side ran out: descriptors, connections, a time-out of the caller's.

    Such a failure counts against no worker.
    """

    def __str__(self) -> str:
        status = f" (HTTP {self.status})" if self.status else ""
        return f"{self.kind.value}{status}: {self.message}" if self.message else f"{self.kind.value}{status}"
