"""The fields of classes: attrs classes, dataclasses, TypedDicts and NamedTuples look the same from here on.

Knows neither JSON Schema nor cattrs.
"""

from __future__ import annotations

import dataclasses
import inspect
import sys
import typing
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import attrs

from ..failures import InvalidRequest
from .docstrings import described
from .kinds import is_named_tuple, is_typed_dict

MISSING = object()
"""The default of a field that has none, or whose default is made anew for each value."""


@attrs.frozen
class Field:
    """A field of a class, or a parameter of a function."""

    name: str
    """The name in JSON, and of the argument."""

    type: Any
    """The type, with the class's type variables replaced."""

    required: bool
    """False: it may be missing."""

    default: Any = MISSING
    """The value if it is missing, or `MISSING`."""

    description: str = ""
    """What it is for; empty if that is not written anywhere."""


def fields_of(hint: Any, where: str) -> tuple[Field, ...]:
    """Return the fields of a class that `kinds.is_record`.

    Args:
        hint: The class, or a generic class with its arguments, such as Page[int].
        where: The place of the type, for the error text.

    Raises:
        InvalidRequest: A field has no type, or its annotation cannot be resolved.
    """
    cls = typing.get_origin(hint) or hint
    found = _declared(cls, where)
    texts = described(own_docstring(cls)).parameters
    variables = _variables(cls, typing.get_args(hint))
    return tuple(
        attrs.evolve(
            field,
            type=_substituted(field.type, variables),
            description=description_of(field.type) or field.description or texts.get(field.name, ""),
        )
        for field in found
    )


def own_docstring(cls: type) -> str:
    """Return the docstring that a class itself has; empty for one that was generated."""
    text = inspect.cleandoc(cls.__dict__.get("__doc__") or "")
    is_generated = text.startswith(f"{cls.__name__}(") or text == "An enumeration."
    return "" if is_generated else text


def description_of(hint: Any) -> str:
    """Return the text in `Annotated[int, "the text"]`, or that of a `Doc` in it; empty if there is none."""
    for each in getattr(hint, "__metadata__", ()):
        text = getattr(each, "documentation", each)
        if isinstance(text, str):
            return text
    return ""


def resolved(
    annotations: Mapping[str, Any], globals_: Mapping[str, Any], locals_: Mapping[str, Any], where: str
) -> dict[str, Any]:
    """Return the types of annotations, of which some may be strings.

    Raises:
        InvalidRequest: A name in an annotation does not exist.
    """
    found: dict[str, Any] = {}
    for name, annotation in annotations.items():
        holder = type("holder", (), {"__annotations__": {name: annotation}})
        try:
            found |= typing.get_type_hints(holder, dict(globals_), dict(locals_), include_extras=True)
        except (NameError, TypeError, SyntaxError, AttributeError) as error:
            raise InvalidRequest(
                f"{where}.{name}: the annotation {annotation!r} cannot be resolved ({error}); "
                "types are found at the top of their module only"
            ) from None
    return found


def _declared(cls: Any, where: str) -> list[Field]:
    hints: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        annotations = inspect.get_annotations(base)
        module = vars(sys.modules.get(base.__module__, SimpleNamespace()))
        hints |= resolved(annotations, module, {cls.__name__: cls}, where)
    if attrs.has(cls):
        return [
            _attrs_field(field, hints.get(field.name, field.type), where)
            for field in attrs.fields(cls)
            if field.init
        ]
    if dataclasses.is_dataclass(cls):
        found = cls.__dataclass_fields__.values()  # with those that are arguments only (InitVar)
        return [
            _dataclass_field(field, hints[field.name])
            for field in found
            if field.init and typing.get_origin(hints[field.name]) is not typing.ClassVar
        ]
    if is_typed_dict(cls):
        return [_typed_dict_field(name, hint, cls) for name, hint in _all_hints(cls, hints).items()]
    assert is_named_tuple(cls)
    defaults = cls._field_defaults
    return [
        Field(name, hints.get(name, Any), name not in defaults, defaults.get(name, MISSING))
        for name in cls._fields
    ]


def _attrs_field(field: Any, hint: Any, where: str) -> Field:
    if hint is None:
        raise InvalidRequest(f"{where}.{field.name}: a type annotation is needed")
    is_constant = field.default is not attrs.NOTHING and not isinstance(field.default, attrs.Factory)  # type: ignore[arg-type]
    return Field(
        field.alias,
        hint,
        field.default is attrs.NOTHING,
        field.default if is_constant else MISSING,
        str(field.metadata.get("description", "")),
    )


def _dataclass_field(field: dataclasses.Field[Any], hint: Any) -> Field:
    hint = hint.type if isinstance(hint, dataclasses.InitVar) else hint
    has_default = field.default is not dataclasses.MISSING
    required = not has_default and field.default_factory is dataclasses.MISSING
    return Field(
        field.name,
        hint,
        required,
        field.default if has_default else MISSING,
        str(field.metadata.get("description", "")),
    )


def _all_hints(cls: Any, hints: Mapping[str, Any]) -> dict[str, Any]:
    """Return the hints of a TypedDict: it does not inherit from its bases, but has copied their annotations."""
    return {name: hints[name] for name in cls.__annotations__}


def _typed_dict_field(name: str, hint: Any, cls: Any) -> Field:
    """`NotRequired` in a string is not in `__required_keys__` of Python 3.11, so the type itself is asked, too."""
    wrapper = getattr(typing.get_origin(hint), "_name", None)
    required = name in cls.__required_keys__ if wrapper not in ("Required", "NotRequired") else None
    return Field(name, hint, wrapper == "Required" if required is None else required)


def _variables(cls: Any, arguments: tuple[Any, ...]) -> dict[Any, Any]:
    """Return the types of a class's type variables, and of those of its generic bases."""
    own = dict(zip(getattr(cls, "__parameters__", ()), arguments, strict=False))
    inherited: dict[Any, Any] = {}
    for base in getattr(cls, "__orig_bases__", ()):
        origin = typing.get_origin(base)
        if isinstance(origin, type) and origin is not typing.Generic:
            inherited |= _variables(origin, tuple(_substituted(each, own) for each in typing.get_args(base)))
    return inherited | own


def _substituted(hint: Any, variables: Mapping[Any, Any]) -> Any:
    if not variables:
        return hint
    if isinstance(hint, typing.TypeVar):
        return variables.get(hint, hint)
    parameters = getattr(hint, "__parameters__", ())
    return hint[tuple(variables.get(each, each) for each in parameters)] if parameters else hint
