"""The kinds of types that answers and arguments may have.

The schema and the values are both made by kind, so they agree. Knows neither JSON Schema nor cattrs.
"""

from __future__ import annotations

import collections.abc
import enum
import types
import typing
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import attrs

NoneType = type(None)


class Kind(enum.Enum):
    """What a type is in JSON."""

    ANY = "any"
    PRIMITIVE = "primitive"
    """str, int, float, bool or None."""
    FORMATTED = "formatted"
    """A string with a format: see `FORMATS`."""
    LITERAL = "literal"
    ENUM = "enum"
    UNION = "union"
    LIST = "list"
    SET = "set"
    TUPLE = "tuple"
    MAPPING = "mapping"
    RECORD = "record"
    """A class with fields."""


PRIMITIVES = (str, int, float, bool, NoneType)

FORMATS: dict[type, str | None] = {
    datetime: "date-time",
    date: "date",
    time: "time",
    UUID: "uuid",
    Decimal: None,
    Path: None,
}
"""Types that are strings in JSON, with the format of JSON Schema; None: it has no name for the format."""

_SEQUENCES = (list, collections.abc.Sequence, collections.abc.MutableSequence, collections.abc.Iterable)
_SETS = (set, frozenset, collections.abc.Set, collections.abc.MutableSet)
_MAPPINGS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)
_WRAPPERS = ("Required", "NotRequired", "ReadOnly", "Final")


def plain(hint: Any) -> Any:
    """Return a type without what wraps it: Annotated, NotRequired, Final, NewType, and the name of an alias.

    A type variable that was not replaced is its bound, one of its constraints, or Any.
    """
    while True:
        if typing.get_origin(hint) is typing.Annotated or getattr(typing.get_origin(hint), "_name", None) in (
            _WRAPPERS
        ):
            hint = typing.get_args(hint)[0]
        elif hasattr(hint, "__supertype__"):  # NewType
            hint = hint.__supertype__
        elif type(hint).__name__ == "TypeAliasType":
            hint = hint.__value__
        elif isinstance(hint, typing.TypeVar):
            hint = typing.Union[hint.__constraints__] if hint.__constraints__ else hint.__bound__ or Any  # noqa: UP007
        else:
            return NoneType if hint is None else hint


def kind_of(hint: Any) -> Kind | None:
    """Return the kind of a type; None if answers and arguments cannot have it."""
    hint = plain(hint)
    origin = typing.get_origin(hint) or hint
    if hint is Any or hint is object:
        return Kind.ANY
    if hint in PRIMITIVES:
        return Kind.PRIMITIVE
    if origin in (typing.Union, types.UnionType):
        return Kind.UNION
    if origin is typing.Literal:
        return Kind.LITERAL
    if not isinstance(origin, type):
        return None
    return _kind_of_class(origin)


def _kind_of_class(cls: type) -> Kind | None:
    if issubclass(cls, enum.Enum):
        return Kind.ENUM
    if is_record(cls):
        return Kind.RECORD
    if cls in FORMATS:
        return Kind.FORMATTED
    for kind, classes in (
        (Kind.LIST, _SEQUENCES),
        (Kind.SET, _SETS),
        (Kind.TUPLE, (tuple,)),
        (Kind.MAPPING, _MAPPINGS),
    ):
        if cls in classes:
            return kind
    return None


def is_record(cls: type) -> bool:
    """Return whether a class is an attrs class, a dataclass, a TypedDict or a NamedTuple."""
    return attrs.has(cls) or hasattr(cls, "__dataclass_fields__") or is_typed_dict(cls) or is_named_tuple(cls)


def is_typed_dict(cls: type) -> bool:
    """Return whether a class is a TypedDict, of `typing` or of typing_extensions."""
    return dict in cls.__mro__ and hasattr(cls, "__total__")


def is_named_tuple(cls: type) -> bool:
    """Return whether a class is a NamedTuple."""
    return tuple in cls.__mro__ and hasattr(cls, "_fields")


def name_of(hint: Any) -> str:
    """Return a short name of a type, for errors and for titles."""
    if hint is NoneType:
        return "None"
    if isinstance(hint, type) and not typing.get_args(hint):
        return hint.__name__
    return str(hint).replace("typing.", "")
