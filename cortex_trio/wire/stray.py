"""Errors that stand in a stream of server-sent events without being one: bare JSON, on one line or on many.

A server that fails before its first event, or a proxy that gives up on one, may write its JSON error body into
what was announced as a stream. The grammar of server-sent events ignores such lines, and the answer would pass
for one that was merely cut. Knows no provider.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..failures import Failure, classify_payload
from .payload import Malformed, load_object

STRAY_LIMIT = 64 * 1024
"""Characters of an error body that is held; what is longer explains nothing."""


MOST_TRIES = 16
"""Times one body is read in hope of its end: each of them reads it from its beginning."""


class StrayErrors:
    """Shown every line outside the grammar, it tells when they add up to an error."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._size = 0
        self._tries = 0

    def add(self, line: str) -> Failure | None:
        """Take a line; the failure it completes, if it does."""
        named = line.startswith("error:")  # llama.cpp
        line = line.removeprefix("error:").strip() if named else line.rstrip()
        begins = line.startswith("{")
        if begins:
            self._lines, self._size, self._tries = [], 0, 0
        elif not self._lines:
            return None
        self._size += len(line)
        # Printed on many lines, an object ends with a brace of its own; tried once each, not at every line.
        ends = begins or line == "}"
        self._tries += ends
        if self._size > STRAY_LIMIT or self._tries > MOST_TRIES:
            self._lines = []
            return None
        self._lines.append(line)
        return self._failure(named=named) if ends else None

    def end(self) -> Failure | None:
        """The stream ended: what the lines add up to, wherever the last of them broke."""
        return self._failure(named=False)

    def _failure(self, *, named: bool) -> Failure | None:
        try:
            value = load_object("\n".join(self._lines))
        except Malformed:
            return None
        self._lines = []
        return classify_payload(value, phase="stream") if named or is_error(value) else None


BARE = ("message", "msg", "detail", "error_msg")
"""Where a server that has no `error` says what is wrong: Cohere, older z.ai, FastAPI, Baidu."""

LISTS = ("errors", "detail")
"""The same for a list of errors: Cloudflare, FastAPI."""


def is_error(value: Mapping[str, Any]) -> bool:
    """Whether an object where none should be is an error."""
    result = value.get("base_resp")  # MiniMax: 0 is success
    return (
        error_of(value) is not None
        or any(value.get(name) and isinstance(value[name], str) for name in BARE)
        or any(value.get(name) and isinstance(value[name], list) for name in LISTS)
        or (isinstance(result, dict) and bool(result.get("status_code")))
    )


def error_of(holder: Mapping[str, Any]) -> object | None:
    """The `error` of an answer, if it says anything: gateways in Go send the empty value of their struct."""
    error = holder.get("error")
    says = any(error.values()) if isinstance(error, dict) else bool(error)
    return error if says else None
