"""Values of a type from JSON, and JSON from values, with cattrs. Knows neither a model nor a message.

cattrs converts a str to an int, takes a str for a list, and ignores what it does not know. A model's mistake would
then become a wrong value. So each kind of type has a hook here that accepts only what the schema of the type allows,
collects all problems, and names the place of each.
"""

from __future__ import annotations

import json
import typing
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

from cattrs import Converter

from ..failures.shown import closest, listed
from .fields import Field, fields_of
from .fit import accepts_null, by_fit
from .kinds import FORMATS, PRIMITIVES, Kind, kind_of, name_of, plain
from .single import (
    Hook,
    Misfit,
    any_hook,
    enum_hook,
    formatted_hook,
    literal_hook,
    primitive_hook,
    wrong_kind,
)


def value_from(data: object, hint: Any, *, allow_unknown: bool = False) -> Any:
    """Return the value of a type that JSON `data` describes.

    Args:
        data: What `json.loads` returns.
        hint: A type for which there is a schema.
        allow_unknown: True: fields that a class does not have are ignored.

    Raises:
        Misfit: `data` does not fit.
    """
    try:
        return _converter(allow_unknown).structure(data, plain(hint))
    except RecursionError:
        raise Misfit([("", "nested too deeply")]) from None


def json_text(value: object) -> str:
    """Return a value as JSON text: classes as objects, sets as arrays, other values as their `str`."""
    return json.dumps(_plain_converter().unstructure(value), ensure_ascii=False, default=str)


@cache
def _plain_converter() -> Converter:
    converter = Converter()
    for moment in (datetime, date, time):
        converter.register_unstructure_hook(moment, lambda value: value.isoformat())
    for text in (UUID, Decimal, Path):
        converter.register_unstructure_hook(text, str)
    for many in (set, frozenset):
        converter.register_unstructure_hook(
            many, lambda value: [converter.unstructure(each) for each in value]
        )
    return converter


@cache
def _converter(allow_unknown: bool) -> Converter:
    converter = Converter()
    for single in PRIMITIVES:
        converter.register_structure_hook(single, primitive_hook(single, converter))
    for formatted in FORMATS:
        converter.register_structure_hook(formatted, formatted_hook(formatted, converter))
    for kind, make_hook in _HOOKS.items():

        def is_of_kind(hint: Any, kind: Kind = kind) -> bool:
            return kind_of(hint) is kind

        converter.register_structure_hook_factory(is_of_kind, make_hook)
    if not allow_unknown:
        converter.register_structure_hook_factory(lambda hint: kind_of(hint) is Kind.RECORD, _strict_record)
    return converter


# ------------------------------------------------------------------ values of several


def _each(
    items: Iterable[tuple[str, Any, Any]], converter: Converter, problems: list[tuple[str, str]]
) -> list[Any]:
    """Return the values of (place, JSON value, type), and add what does not fit to `problems`."""
    found = []
    for place, value, hint in items:
        try:
            found.append(converter.structure(value, plain(hint)))
        except Misfit as misfit:
            problems += misfit.under(place)
    return found


def _array(hint: Any, converter: Converter) -> Hook:
    origin = typing.get_origin(hint) or hint
    [item] = typing.get_args(hint) or [Any]
    make: Any = list
    if kind_of(hint) is Kind.SET:
        make = frozenset if origin is frozenset else set
    return _array_of(lambda value: [item] * len(value), make, converter)


def _tuple(hint: Any, converter: Converter) -> Hook:
    items = typing.get_args(hint)
    if hint is tuple or (len(items) == 2 and items[1] is Ellipsis):
        item = items[0] if items else Any
        return _array_of(lambda value: [item] * len(value), tuple, converter)

    def types(value: list[Any]) -> Sequence[Any]:
        if len(value) != len(items):
            raise Misfit([("", f"an array of {len(items)} is needed, not of {len(value)}")])
        return items

    return _array_of(types, tuple, converter)


def _array_of(types: Callable[[list[Any]], Sequence[Any]], make: Any, converter: Converter) -> Hook:
    def structure(value: Any, _: Any) -> Any:
        if not isinstance(value, list):
            raise wrong_kind("an array", value)
        problems: list[tuple[str, str]] = []
        numbered = zip(value, types(value), strict=True)
        found = _each(
            ((f"[{index}]", item, hint) for index, (item, hint) in enumerate(numbered)), converter, problems
        )
        if problems:
            raise Misfit(problems)
        try:
            return make(found)
        except TypeError as error:  # of a set
            raise Misfit([("", str(error))]) from None

    return structure


def _mapping(hint: Any, converter: Converter) -> Hook:
    key_type, item = typing.get_args(hint) or (str, Any)

    def structure(value: Any, _: Any) -> dict[Any, Any]:
        if not isinstance(value, dict):
            raise wrong_kind("an object", value)
        problems: list[tuple[str, str]] = []
        keys = _each(((key, key, key_type) for key in value), converter, problems)
        found = _each(((key, each, item) for key, each in value.items()), converter, problems)
        if problems:
            raise Misfit(problems)
        return dict(zip(keys, found, strict=True))

    return structure


# ------------------------------------------------------------------ classes


def _lenient_record(hint: Any, converter: Converter) -> Hook:
    return _record(hint, converter, allow_unknown=True)


def _strict_record(hint: Any, converter: Converter) -> Hook:
    return _record(hint, converter, allow_unknown=False)


def _record(hint: Any, converter: Converter, *, allow_unknown: bool) -> Hook:
    make = typing.get_origin(hint) or hint
    fields = fields_of(hint, name_of(hint))

    def structure(value: Any, _: Any) -> Any:
        arguments = fields_from(value, fields, converter, allow_unknown=allow_unknown)
        try:
            return make(**arguments)
        except Exception as error:  # of a validator or a converter of the class
            raise Misfit([("", f"{type(error).__name__}: {error}")]) from error

    return structure


def fields_from(
    value: Any, fields: Sequence[Field], converter: Converter | None = None, *, allow_unknown: bool = False
) -> dict[str, Any]:
    """Return the values of fields, or arguments of a function, from a JSON object. Missing ones are left out.

    A null for a field that may be missing and may not be None counts as missing: OpenAI's strict schemas require every
    field, and have null where one may be missing.

    Raises:
        Misfit: `value` is no object, or a field does not fit, is missing or, without `allow_unknown`, is unknown.
    """
    converter = converter or _converter(allow_unknown)
    if not isinstance(value, dict):
        raise wrong_kind("an object", value)
    problems: list[tuple[str, str]] = []
    arguments: dict[str, Any] = {}
    for field in fields:
        given = value.get(field.name)
        if field.name not in value or (given is None and not field.required and not accepts_null(field.type)):
            if field.required:
                problems.append((field.name, "missing"))
            continue
        for found in _each([(field.name, given, field.type)], converter, problems):
            arguments[field.name] = found
    if not allow_unknown:
        problems += _unknown(value, [field.name for field in fields])
    if problems:
        raise Misfit(problems)
    return arguments


def _unknown(value: dict[str, Any], names: Sequence[str]) -> list[tuple[str, str]]:
    problems = []
    for name in value.keys() - set(names):
        meant = closest(name, names)
        hint = f"; did you mean {meant}?" if meant else ""
        problems.append((name[:40], f"unknown; allowed are {listed(names) or 'none'}{hint}"))
    return sorted(problems)


# ------------------------------------------------------------------ unions


def _union(hint: Any, converter: Converter) -> Hook:
    members = tuple(plain(each) for each in typing.get_args(plain(hint)))

    def structure(value: Any, _: Any) -> Any:
        misfits = []
        for member in by_fit(value, members):
            try:
                return converter.structure(value, member)
            except Misfit as misfit:
                misfits.append(misfit)
        if len(misfits) == 1 or (misfits and isinstance(value, dict | list)):
            raise misfits[0]  # that of the member that fits best says most
        raise wrong_kind(f"one of {', '.join(map(name_of, members))}", value)

    return structure


_HOOKS: dict[Kind, Callable[[Any, Converter], Hook]] = {
    Kind.ANY: any_hook,
    Kind.LITERAL: literal_hook,
    Kind.ENUM: enum_hook,
    Kind.UNION: _union,
    Kind.LIST: _array,
    Kind.SET: _array,
    Kind.TUPLE: _tuple,
    Kind.MAPPING: _mapping,
    Kind.RECORD: _lenient_record,
}
"""How a value of each kind is read. Primitive and formatted types have hooks of their own."""
