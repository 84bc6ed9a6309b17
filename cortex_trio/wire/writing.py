"""Writes what servers send: JSON in the spelling of each server, and server-sent events. Knows no dialect."""

from __future__ import annotations

import json
from collections.abc import Mapping


def dumps(
    value: object, *, spaced: bool = False, indent: int | None = None, escape_html: bool = False
) -> str:
    """Return `value` as JSON, compact by default.

    Args:
        spaced: A space after colons, as Google writes it.
        indent: Spaces for each level. None: one line.
        escape_html: Escape what HTML and JavaScript read as their own, as the encoders of Go and Google do.
    """
    separators = (",", ": ") if spaced or indent else (",", ":")
    text = json.dumps(value, ensure_ascii=False, separators=separators, indent=indent)
    if escape_html:
        text = text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
        text = text.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    return text


def encoded(text: str) -> bytes:
    """Return the text as UTF-8; half a surrogate pair, as a cut answer may hold, becomes a question mark."""
    return text.encode("utf-8", "replace")


def data_event(value: object, *, escape_html: bool = False) -> bytes:
    """Return a server-sent event without a name."""
    return encoded(f"data: {dumps(value, escape_html=escape_html)}\n\n")


def named_event(payload: Mapping[str, object]) -> bytes:
    """Return a server-sent event that is named as its `type`."""
    return encoded(f"event: {payload['type']}\ndata: {dumps(payload)}\n\n")


def arguments_value(arguments: str) -> object:
    """Return the arguments of a tool call for APIs that send an object; what is not JSON is the value of one field."""
    try:
        return json.loads(arguments or "{}")
    except (ValueError, RecursionError):
        return {"_": arguments}
