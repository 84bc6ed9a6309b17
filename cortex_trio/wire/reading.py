"""Reads a client's request body: each value with its place, so that a complaint names the field. Knows no dialect."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, get_args

import attrs

from ..messages import Detail, File, Image, Opaque
from ..messages.files import media_type_of
from .codec import compact
from .payload import WORD_LIMIT
from .rules import Illegal, Problem, Where

T = TypeVar("T")

_DATA_URL = re.compile(r"data:(?P<media_type>[^;,]+)(?:;[^;,]*)*;base64,(?P<data>.*)", re.DOTALL)


@attrs.frozen
class Value:
    """A JSON value and where it stands in the body. Every method that reads raises Illegal for another type."""

    raw: Any
    where: Where = ()

    def text(self) -> str:
        return self._typed(str, "string")

    def boolean(self) -> bool:
        return self._typed(bool, "boolean")

    def integer(self) -> int:
        if isinstance(self.raw, bool):
            raise self.wrong_type("integer")
        return self._typed(int, "integer")

    def number(self) -> float:
        """An int stays an int."""
        if isinstance(self.raw, bool) or not isinstance(self.raw, int | float):
            raise self.wrong_type("number")
        return self.raw

    def object(self) -> dict[str, Any]:
        return self._typed(dict, "object")

    def items(self) -> list[Value]:
        listed = self._typed(list, "array")
        return [Value(item, (*self.where, index)) for index, item in enumerate(listed)]

    def at(self, name: str) -> Value:
        """Return a field that must be there."""
        fields = self.object()
        if name not in fields:
            raise Illegal(Problem.MISSING, (*self.where, name))
        return Value(fields[name], (*self.where, name))

    def get(self, name: str) -> Value | None:
        """Return a field, None where it is missing or null."""
        found = self.object().get(name)
        return None if found is None else Value(found, (*self.where, name))

    def optional(self, name: str, read: Callable[[Value], T]) -> T | None:
        """Return what `read` makes of a field, None where it is missing or null."""
        found = self.get(name)
        return None if found is None else read(found)

    def texts(self) -> tuple[str, ...]:
        """Return one string or a list of them."""
        return (self.raw,) if isinstance(self.raw, str) else tuple(item.text() for item in self.items())

    def kind(self) -> str:
        """Return the `type` of an object."""
        return self.at("type").text()

    def base64(self) -> bytes:
        """Return what is packed. As in a browser, line breaks count for nothing, and `=` at the end may be missing."""
        text = self.text()
        try:
            return base64.b64decode(text, validate=True)
        except ValueError:
            text = "".join(text.split())
        try:
            return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
        except ValueError:
            raise self.invalid("base64") from None

    def json_text(self) -> str:
        """Return the value as compact JSON."""
        try:
            return compact(self.raw)
        except RecursionError:
            raise self.invalid("JSON that is nested less deeply") from None

    def opaque(self, kind: str, origin: str | None) -> Opaque:
        """Return the object as a part that only its provider understands."""
        self.object()
        return Opaque(kind[:WORD_LIMIT], self.json_text(), origin)

    def image(self, media_type: str | None = None, detail: str | None = None) -> Image:
        """Return the image at an address; a data URL is decoded."""
        url = self.text()
        if detail not in (None, *get_args(Detail)):
            known = " or ".join(f"'{name}'" for name in get_args(Detail))
            raise Value(detail, (*self.where[:-1], "detail")).invalid(known)
        looked_at: Any = detail  # checked above
        if not url.startswith("data:"):
            return Image(url=url, media_type=media_type, detail=looked_at)
        found = _DATA_URL.fullmatch(url)
        if found is None:
            raise self.invalid("a valid image URL")
        data = Value(found["data"], self.where).base64()
        return Image(data=data, media_type=media_type or found["media_type"], detail=looked_at)

    def file(self, media_type: str, name: str | None = None) -> File:
        """Return the file whose bytes are here as base64."""
        data = self.base64()
        if not data:
            raise self.invalid("base64 of at least one byte")
        return File(data=data, media_type=media_type, name=name)

    def data_url_file(self, name: str | None = None) -> File:
        """Return the file of a data URL; without its head, the bytes say which type it has."""
        text = self.text()
        found = _DATA_URL.fullmatch(text)
        if found is not None:
            return Value(found["data"], self.where).file(found["media_type"], name)
        kind = media_type_of(self.base64(), name or "")
        if kind is None:
            raise self.invalid("a data URL, which names the type of the file")
        return self.file(kind, name)

    def without(self, *names: str) -> dict[str, Any]:
        """Return the fields with other names than these, but for those that are null."""
        return {
            name: value for name, value in self.object().items() if name not in names and value is not None
        }

    def wrong_type(self, expected: str) -> Illegal:
        return Illegal(Problem.TYPE, self.where, expected, self.raw)

    def invalid(self, expected: str) -> Illegal:
        return Illegal(Problem.VALUE, self.where, expected, self.raw)

    def _typed(self, kind: type[T], expected: str) -> T:
        if not isinstance(self.raw, kind):
            raise self.wrong_type(expected)
        return self.raw


def given(**options: Any) -> dict[str, Any]:
    """Return the options that are not None: a ChatRequest holds only what the client set."""
    return {name: value for name, value in options.items() if value is not None}


def extra(fields: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what goes into `extra_body`, None where there is nothing."""
    return dict(fields) or None
