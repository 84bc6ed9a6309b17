"""Which members of a union a JSON value may be of, those first that fit best. Pure; converts nothing."""

from __future__ import annotations

import typing
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from .fields import fields_of
from .kinds import Kind, NoneType, kind_of, name_of, plain


def by_fit(value: object, members: Sequence[Any]) -> list[Any]:
    """Return the members of a union that the value may be of, those first that fit best.

    Of classes, those whose Literal fields fit; if some of them have all their fields in the value, only these, so that
    a value nested in many unions is not tried with every combination of classes.
    """
    possible = [member for member in members if _may_be(value, member)]
    if not isinstance(value, dict):
        return possible
    distances = {index: _distance(value, member) for index, member in enumerate(possible)}
    complete = [index for index in distances if distances[index][0] == 0]
    return [possible[index] for index in sorted(complete or distances, key=lambda index: distances[index])]


def _may_be(value: object, hint: Any) -> bool:
    match kind_of(hint):
        case Kind.PRIMITIVE if hint is float:
            return type(value) in (int, float)
        case Kind.PRIMITIVE:
            return type(value) is hint
        case Kind.FORMATTED:
            return isinstance(value, str) or (hint is Decimal and type(value) in (int, float))
        case Kind.LIST | Kind.SET | Kind.TUPLE:
            return isinstance(value, list)
        case Kind.MAPPING:
            return isinstance(value, dict)
        case Kind.RECORD:
            return isinstance(value, dict) and _tags_fit(value, hint)
    return True


def _tags_fit(value: dict[str, Any], hint: Any) -> bool:
    """Return whether the Literal fields of a class have one of their values, or are missing and may be."""
    return all(
        value[field.name] in typing.get_args(plain(field.type)) if field.name in value else not field.required
        for field in fields_of(hint, name_of(hint))
        if kind_of(field.type) is Kind.LITERAL
    )


def _distance(value: dict[str, Any], hint: Any) -> tuple[int, int]:
    """Return how many fields of the class are missing in the value, and how many of the value's it does not have."""
    if kind_of(hint) is not Kind.RECORD:
        return (0, len(value) + 1)
    fields = fields_of(hint, name_of(hint))
    missing = sum(field.required and field.name not in value for field in fields)
    return (missing, len(value.keys() - {field.name for field in fields}))


def accepts_null(hint: Any) -> bool:
    """Return whether None is a value of the type."""
    match kind_of(hint):
        case Kind.ANY:
            return True
        case Kind.PRIMITIVE:
            return plain(hint) is NoneType
        case Kind.UNION | Kind.LITERAL:
            return any(
                each is None or each is NoneType or (kind_of(hint) is Kind.UNION and accepts_null(each))
                for each in typing.get_args(plain(hint))
            )
    return False
