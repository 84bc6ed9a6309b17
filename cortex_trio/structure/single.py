"""JSON values that are one value: strings, numbers, dates and choices. Accepts only what the schema of the type allows.

Knows neither classes nor containers.
"""

from __future__ import annotations

import json
import math
import typing
from collections.abc import Callable, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any
from uuid import UUID

from cattrs import Converter

from .kinds import FORMATS, NoneType, name_of, plain

Hook = Callable[[Any, Any], Any]
"""What cattrs calls with a JSON value and a type."""

_JSON_NAMES = {
    str: "a string",
    int: "a number",
    float: "a number",
    bool: "a boolean",
    NoneType: "null",
    list: "an array",
    dict: "an object",
}


class Misfit(ValueError):
    """A JSON value does not fit a type.

    Attributes:
        problems: The place of each problem ("days[0].high", "" for the whole), and what is wrong there.
    """

    def __init__(self, problems: Sequence[tuple[str, str]]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(f"{place}: {text}" if place else text for place, text in problems))

    def under(self, place: str) -> tuple[tuple[str, str], ...]:
        """Return the problems with `place` in front."""
        return tuple(
            (place + (f".{inner}" if inner and not inner.startswith("[") else inner), text)
            for inner, text in self.problems
        )


def wrong_kind(allowed: str, value: object) -> Misfit:
    found = _JSON_NAMES.get(type(value), type(value).__name__)
    shown = "" if value is None or isinstance(value, list | dict) else f" ({value!r:.40})"
    return Misfit([("", f"{allowed} is needed, not {found}{shown}")])


def primitive_hook(hint: Any, _: Converter) -> Hook:
    return {str: _str, int: _int, float: _float, bool: _bool, NoneType: _none}[plain(hint)]


def _str(value: Any, _: Any) -> str:
    if not isinstance(value, str):
        raise wrong_kind("a string", value)
    return value


def _int(value: Any, _: Any) -> int:
    """A number without a fraction is an integer in JSON Schema, even if it is written 5.0."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise wrong_kind("an integer", value)
    return value


def _float(value: Any, _: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise wrong_kind("a number", value)
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise Misfit([("", "a finite number is needed")])
    return number


def _bool(value: Any, _: Any) -> bool:
    if not isinstance(value, bool):
        raise wrong_kind("a boolean", value)
    return value


def _none(value: Any, _: Any) -> None:
    if value is not None:
        raise wrong_kind("null", value)


_READ: dict[type, Callable[[str], Any]] = {
    datetime: datetime.fromisoformat,
    date: date.fromisoformat,
    time: time.fromisoformat,
    UUID: UUID,
    Decimal: Decimal,
    Path: Path,
}


def formatted_hook(hint: Any, _: Converter) -> Hook:
    kind = plain(hint)
    what = f"a string with a {FORMATS[kind] or name_of(kind)}"

    def structure(value: Any, _: Any) -> Any:
        if kind is Decimal and isinstance(value, int | float) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str):
            raise wrong_kind(what, value)
        try:
            return _READ[kind](value)
        except (ValueError, ArithmeticError):
            raise wrong_kind(what, value) from None

    return structure


def literal_hook(hint: Any, _: Converter) -> Hook:
    return _choice_of(typing.get_args(plain(hint)))


def enum_hook(hint: Any, _: Converter) -> Hook:
    return _choice_of(tuple(plain(hint)))


def _choice_of(choices: Sequence[Any]) -> Hook:
    def structure(value: Any, _: Any) -> Any:
        for choice in choices:
            allowed = choice.value if isinstance(choice, Enum) else choice
            if allowed == value and isinstance(allowed, bool) == isinstance(value, bool):
                return choice
        values = [choice.value if isinstance(choice, Enum) else choice for choice in choices]
        raise Misfit([("", f"one of {', '.join(json.dumps(each) for each in values)}, not {value!r:.40}")])

    return structure


def any_hook(_: Any, __: Converter) -> Hook:
    return lambda value, _: value
