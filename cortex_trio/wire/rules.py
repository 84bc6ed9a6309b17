"""Rules for request bodies: small functions that combine, so that the rules of each dialect read as a table.

A rule is a function `(value, where) -> None` that raises `Illegal`. `where` is the path from the root of the body.
Each dialect turns an `Illegal` into the error of its API.
"""

from __future__ import annotations

import base64
import enum
import json
import re
from collections.abc import Callable, Mapping

import attrs

Where = tuple[str | int, ...]
Rule = Callable[[object, Where], None]


class Problem(enum.Enum):
    UNKNOWN = "unknown"  # the API has no such field
    MISSING = "missing"
    TYPE = "type"
    VALUE = "value"
    ORDER = "order"  # legal elsewhere, but not in this place: `expected` is the whole text


@attrs.frozen
class Illegal(Exception):
    """A field that the API does not accept."""

    problem: Problem
    where: Where
    expected: str = ""
    got: object = None

    @property
    def brackets(self) -> str:
        """messages[0].content[1].type"""
        return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.where).lstrip(
            "."
        )

    @property
    def dots(self) -> str:
        """messages.0.content.1.type"""
        return ".".join(str(step) for step in self.where)

    @property
    def got_kind(self) -> str:
        return kind_of(self.got)


def kind_of(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"


def anything(value: object, where: Where) -> None:
    """Accept any value: the provider does not check it here."""


def string(value: object, where: Where) -> None:
    if not isinstance(value, str):
        raise Illegal(Problem.TYPE, where, "string", value)


def filled(value: object, where: Where) -> None:
    string(value, where)
    if not value:
        raise Illegal(Problem.VALUE, where, "a non-empty string", value)


def boolean(value: object, where: Where) -> None:
    if not isinstance(value, bool):
        raise Illegal(Problem.TYPE, where, "boolean", value)


def integer(at_least: int | None = None, at_most: int | None = None) -> Rule:
    def rule(value: object, where: Where) -> None:
        if not isinstance(value, int) or isinstance(value, bool):
            raise Illegal(Problem.TYPE, where, "integer", value)
        _in_range(value, at_least, at_most, where)

    return rule


def number(at_least: float | None = None, at_most: float | None = None) -> Rule:
    def rule(value: object, where: Where) -> None:
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise Illegal(Problem.TYPE, where, "number", value)
        _in_range(value, at_least, at_most, where)

    return rule


def _in_range(value: float, at_least: float | None, at_most: float | None, where: Where) -> None:
    if at_least is not None and value < at_least:
        raise Illegal(Problem.VALUE, where, f"at least {at_least}", value)
    if at_most is not None and value > at_most:
        raise Illegal(Problem.VALUE, where, f"at most {at_most}", value)


def one_of(*allowed: str) -> Rule:
    def rule(value: object, where: Where) -> None:
        string(value, where)
        if value not in allowed:
            raise Illegal(Problem.VALUE, where, " or ".join(f"'{name}'" for name in allowed), value)

    return rule


def matching(pattern: str) -> Rule:
    def rule(value: object, where: Where) -> None:
        string(value, where)
        if not re.fullmatch(pattern, str(value)):
            raise Illegal(Problem.VALUE, where, f"pattern '^{pattern}$'", value)

    return rule


def nullable(inner: Rule) -> Rule:
    def rule(value: object, where: Where) -> None:
        if value is not None:
            inner(value, where)

    return rule


def either(*rules: Rule) -> Rule:
    """The first rule whose type fits decides; if none fits, the error is that of the last."""

    def rule(value: object, where: Where) -> None:
        for inner in rules[:-1]:
            try:
                return inner(value, where)
            except Illegal as illegal:
                if illegal.where != where or illegal.problem is not Problem.TYPE:
                    raise
        return rules[-1](value, where)

    return rule


def array(item: Rule, at_least: int = 0, at_most: int | None = None) -> Rule:
    def rule(value: object, where: Where) -> None:
        if not isinstance(value, list):
            raise Illegal(Problem.TYPE, where, "array", value)
        if len(value) < at_least or (at_most is not None and len(value) > at_most):
            limits = f"at least {at_least}" if len(value) < at_least else f"at most {at_most}"
            raise Illegal(Problem.VALUE, where, f"an array of {limits} items", value)
        for index, inner in enumerate(value):
            item(inner, (*where, index))

    return rule


def json_object(value: object, where: Where) -> None:
    if not isinstance(value, dict):
        raise Illegal(Problem.TYPE, where, "object", value)


def fields(
    needed: Mapping[str, Rule], allowed: Mapping[str, Rule] | None = None, *, open: bool = False
) -> Rule:
    """An object with these fields and, unless `open`, no others."""
    known = {**(allowed or {}), **needed}

    def rule(value: object, where: Where) -> None:
        if not isinstance(value, dict):
            raise Illegal(Problem.TYPE, where, "object", value)
        for name in needed:
            if name not in value:
                raise Illegal(Problem.MISSING, (*where, name))
        for name, inner in value.items():
            if name in known:
                known[name](inner, (*where, name))
            elif not open:
                raise Illegal(Problem.UNKNOWN, (*where, name))

    return rule


def tagged(tag: str, shapes: Mapping[str, Rule]) -> Rule:
    """An object with a field `tag` that names which of the shapes it has."""

    def rule(value: object, where: Where) -> None:
        if not isinstance(value, dict):
            raise Illegal(Problem.TYPE, where, "object", value)
        if tag not in value:
            raise Illegal(Problem.MISSING, (*where, tag))
        one_of(*shapes)(value[tag], (*where, tag))
        shapes[value[tag]](value, where)

    return rule


def base64_text(value: object, where: Where) -> None:
    string(value, where)
    try:
        base64.b64decode(str(value), validate=True)
    except ValueError:  # binascii.Error, or a character that is not ASCII
        raise Illegal(Problem.VALUE, where, "base64", value) from None


def json_text(value: object, where: Where) -> None:
    """A string that holds JSON."""
    string(value, where)
    try:
        json.loads(str(value))
    except ValueError:
        raise Illegal(Problem.VALUE, where, "a JSON string", value) from None


def image_url(value: object, where: Where) -> None:
    """An http(s) URL or a base64 data URL of an image."""
    string(value, where)
    url = str(value)
    if url.startswith(("https://", "http://")):
        return
    head, comma, data = url.partition(",")
    if not comma or not re.fullmatch(r"data:image/(png|jpe?g|gif|webp);base64", head):
        raise Illegal(Problem.VALUE, where, "a valid image URL", value)
    base64_text(data, where)
