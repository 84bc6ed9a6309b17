"""Finds errors in a stream of server-sent events that are not events: bare JSON, on one line or on many.

A server that fails before its first event, or a proxy behind it, may write a JSON error body into the stream. The
grammar of server-sent events ignores such lines, and the failure would look like an answer that was cut. Knows no
provider.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..failures import Failure, classify_payload
from .payload import Malformed, load_object

BODY_LIMIT = 64 * 1024
"""Characters of an error body; a longer one is not held."""


MOST_TRIES = 16
"""How often one body is parsed to see whether it is complete: each time from its beginning."""


class UnframedErrors:
    """Collects the lines outside the grammar and finds the error that they form."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._size = 0
        self._tries = 0

    def add(self, line: str) -> Failure | None:
        """Add a line. Return the failure it completes, None where it completes none."""
        named = line.startswith("error:")  # llama.cpp
        line = line.removeprefix("error:").strip() if named else line.rstrip()
        begins = line.startswith("{")
        if begins:
            self._lines, self._size, self._tries = [], 0, 0
        elif not self._lines:
            return None
        self._size += len(line)
        # An object on many lines ends with a line of one brace: it is parsed there, not at every line.
        ends = begins or line == "}"
        self._tries += ends
        if self._size > BODY_LIMIT or self._tries > MOST_TRIES:
            self._lines = []
            return None
        self._lines.append(line)
        return self._failure(named=named) if ends else None

    def end(self) -> Failure | None:
        """Return the failure that the lines form when the stream ends, None for none."""
        return self._failure(named=False)

    def _failure(self, *, named: bool) -> Failure | None:
        try:
            value = load_object("\n".join(self._lines))
        except Malformed:
            return None
        self._lines = []
        return classify_payload(value, phase="stream") if named or is_error(value) else None


BARE = ("message", "msg", "detail", "error_msg")
"""Fields with the text of an error where there is no `error`: Cohere, older z.ai, FastAPI, Baidu."""

LISTS = ("errors", "detail")
"""The same for a list of errors: Cloudflare, FastAPI."""


def is_error(value: Mapping[str, Any]) -> bool:
    """Whether an object that is not what was expected is an error."""
    result = value.get("base_resp")  # MiniMax: 0 is success
    return (
        error_of(value) is not None
        or any(value.get(name) and isinstance(value[name], str) for name in BARE)
        or any(value.get(name) and isinstance(value[name], list) for name in LISTS)
        or (isinstance(result, dict) and bool(result.get("status_code")))
    )


def error_of(holder: Mapping[str, Any]) -> object | None:
    """The `error` of an answer, None where it is empty: gateways in Go send the empty value of their struct."""
    error = holder.get("error")
    is_filled = any(error.values()) if isinstance(error, dict) else bool(error)
    return error if is_filled else None
