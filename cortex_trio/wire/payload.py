"""Reads JSON that a server sent: every value is checked where it is used, so that no shape raises anything else.

Knows no dialect. Errors name the place and the type; the text of an answer is never part of an error.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..events import ReasoningDelta, ResponseStarted, TextDelta, WireEvent
from ..messages import Opaque
from .codec import compact

WORD_LIMIT = 200
"""Characters kept of a finish reason and the like: it may go into logs."""

OPEN_LIMIT = 1024
"""Blocks or tool calls of one answer that may be open at once; models open a dozen."""


class Malformed(Exception):
    """Not the shape that the API promises. Decoders turn it into a Failure of kind PROTOCOL."""


def load_object(text: str | bytes) -> dict[str, Any]:
    """The JSON object in `text`; raises Malformed for anything else.

    raw_decode skips what json.loads does around it, at two thirds of the cost for the short text an event is;
    anything but exactly one object takes the general path, which also names what is wrong.
    """
    if isinstance(text, str):
        try:
            value, end = _DECODER.raw_decode(text)
        except (Malformed, ValueError, RecursionError):
            return as_object(load_json(text), "a JSON object")
        if end == len(text) and type(value) is dict:
            return value
    return as_object(load_json(text), "a JSON object")


def load_json(text: str | bytes) -> object:
    """The JSON value in `text`; raises Malformed if it is none."""
    try:
        return _DECODER.decode(text if isinstance(text, str) else str(text, json.detect_encoding(text)))
    except RecursionError:
        raise Malformed("JSON nested too deeply") from None
    except json.JSONDecodeError as error:
        raise Malformed(f"not JSON: {error.msg} at {error.pos} of {len(text)}") from None
    except ValueError:  # bytes that are no UTF-8, integers of more than 4300 digits
        raise Malformed("not JSON: invalid UTF-8, or an integer of too many digits") from None


def is_json(text: str | bytes) -> bool:
    """Whether `text` is a whole JSON value: an event without its blank line is complete then, and else it was cut."""
    try:
        load_json(text)
    except Malformed:
        return False
    return True


def _no_number(constant: str) -> None:
    """NaN and the infinities are no JSON, but servers in Python write them, into logprobs above all: read as null."""


_DECODER = json.JSONDecoder(parse_constant=_no_number)
"""Made once: `json.loads` with an option builds a new decoder at every call (measured: twice the cost)."""


def as_object(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Malformed(f"{what} was expected, not {_kind(value)}")
    return value


def as_list(value: object, what: str) -> list[Any]:
    """A list; null and missing are the empty one (Go marshals an empty slice as null)."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise Malformed(f"{what} is {_kind(value)}, not a list")
    return value


def as_text(value: object, what: str) -> str:
    """A string; null and missing are the empty one."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Malformed(f"{what} is {_kind(value)}, not a string")
    return value


def as_word(value: object, what: str) -> str:
    """A short string such as a finish reason, cut at WORD_LIMIT."""
    return as_text(value, what)[:WORD_LIMIT]


def is_above_0(index: object) -> bool:
    """Whether a choice or candidate is another one than the first; an index that is not a number does not count."""
    return isinstance(index, int | float) and not isinstance(index, bool) and index > 0


def require_open(count: int, what: str) -> None:
    """Raise Malformed where more is open at once than any answer needs: memory is bounded."""
    if count > OPEN_LIMIT:
        raise Malformed(f"more than {OPEN_LIMIT:,} {what} at once")


def as_count(value: object) -> int | None:
    """A number of tokens, None where it cannot be read: that is no reason to fail an answer.

    5.0 is 5: Cohere's reference calls its counts doubles, and servers in Lua and JavaScript write them so.
    """
    if type(value) is int:
        return value if value >= 0 else None
    return int(value) if type(value) is float and value >= 0 and value.is_integer() else None


def text_events(kind: type[TextDelta] | type[ReasoningDelta], value: object, what: str) -> list[WireEvent]:
    """The delta for a piece of text; none for an empty piece."""
    text = as_text(value, what)
    return [kind(text)] if text else []


def response_started(response_id: object, model: object) -> list[WireEvent]:
    """Return the event that names the answer; none if it has neither an id nor a model.

    Both are for telemetry only: what is not a string fails no answer.
    """
    found_id = response_id[:WORD_LIMIT] if isinstance(response_id, str) else ""
    found_model = model[:WORD_LIMIT] if isinstance(model, str) else ""
    return [ResponseStarted(found_id or None, found_model or None)] if found_id or found_model else []


def arguments_text(value: object) -> str:
    """Tool arguments that came whole, as JSON text. Servers behind a translating gateway send text."""
    if isinstance(value, str):
        return value or "{}"
    try:
        return compact(value or {})
    except RecursionError:
        raise Malformed("tool arguments nested too deeply") from None


def opaque(kind: str, block: Mapping[str, Any]) -> Opaque:
    """Return a block as it came. Its origin is set where the answer is folded into a reply."""
    try:
        return Opaque(kind[:WORD_LIMIT], compact(block))
    except RecursionError:
        raise Malformed(f"a block of type {kind[:WORD_LIMIT]!r} nested too deeply") from None


def _kind(value: object) -> str:
    return "null" if value is None else f"a {type(value).__name__}"
