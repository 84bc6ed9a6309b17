"""A JSON object as it came, with the place of each of its fields: one value can be replaced and all else stays.

Knows no dialect. A field that stands there twice is replaced twice: the server that reads the body next may take the
first of them, where we took the last.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


@attrs.frozen
class Field:
    """One field: where its value begins and ends, in characters."""

    name: str
    start: int
    end: int


@attrs.frozen
class RawBody:
    """One JSON object: its text, its fields, and what they hold."""

    text: str = attrs.field(repr=False)
    value: dict[str, Any] = attrs.field(repr=False)
    fields: Sequence[Field] = attrs.field(repr=False)
    inside: int
    """The place after the opening brace."""

    def with_values(self, values: Mapping[str, Any]) -> bytes:
        """Return the bytes of the body with other values in some of its fields; all other bytes stay.

        Args:
            values: The new values by name. A name that the body does not have is added in front.
        """
        pieces: list[str] = []
        present = {field.name for field in self.fields}
        added = [
            f"{json.dumps(name)}:{_text(value)}" for name, value in values.items() if name not in present
        ]
        pieces += [self.text[: self.inside], ",".join(added), "," if added and self.fields else ""]
        at = self.inside
        for field in self.fields:
            if field.name in values:
                pieces += [self.text[at : field.start], _text(values[field.name])]
                at = field.end
        pieces.append(self.text[at:])
        return "".join(pieces).encode("utf-8", "replace")


def raw_body(data: bytes) -> RawBody:
    """Read a body.

    Raises:
        ValueError: It is not one JSON object in UTF-8.
    """
    text = data.decode("utf-8-sig")  # servers in Go and Rust do not take a byte order mark
    at = _past_space(text, 0)
    _expect(text, at, "{")
    inside = at + 1
    value, fields, at = dict[str, Any](), list[Field](), _past_space(text, inside)
    if text[at : at + 1] != "}":
        while True:
            _expect(text, at, '"')
            name, at = _DECODER.raw_decode(text, at)
            at = _past_space(text, at)
            _expect(text, at, ":")
            start = _past_space(text, at + 1)
            value[name], end = _read(text, start)
            fields.append(Field(name, start, end))
            at = _past_space(text, end)
            if text[at : at + 1] != ",":
                break
            at = _past_space(text, at + 1)
        _expect(text, at, "}")
    if _past_space(text, at + 1) != len(text):
        raise ValueError("something follows the JSON object")
    return RawBody(text, value, fields, inside)


def _read(text: str, at: int) -> tuple[Any, int]:
    try:
        return _DECODER.raw_decode(text, at)
    except RecursionError:
        raise ValueError("the JSON is nested too deeply") from None


def _past_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    assert found is not None  # it matches nothing at all as well
    return found.end()


def _expect(text: str, at: int, character: str) -> None:
    if text[at : at + 1] != character:
        raise ValueError(f"{character!r} is expected at character {at}")


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
