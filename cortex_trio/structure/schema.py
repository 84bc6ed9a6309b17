"""A JSON Schema from a type. Knows no provider: what one of them allows of JSON Schema is known to its dialect.

Classes stand where they are used, because not every provider follows references; only a class that contains itself
stands in `$defs`.
"""

from __future__ import annotations

import enum
import typing
from typing import Any

from ..failures import InvalidRequest
from .docstrings import described
from .fields import Field, fields_of, own_docstring
from .kinds import FORMATS, Kind, NoneType, kind_of, name_of, plain

Schema = dict[str, Any]

_PRIMITIVES = {str: "string", int: "integer", float: "number", bool: "boolean", NoneType: "null"}
_JSON_VALUES = (str, int, float, bool, NoneType)


def schema_of(hint: Any, where: str) -> Schema:
    """Return the JSON Schema of a type.

    Args:
        hint: The type.
        where: The place of the type, for the error text: "response_type".

    Raises:
        InvalidRequest: The type, or the type of a field in it, has no form in JSON; the text names the place.
    """
    writer = _Writer()
    return writer.with_definitions(writer.schema(hint, where))


def object_schema(fields: typing.Sequence[Field], where: str) -> Schema:
    """Return the JSON Schema of an object with `fields`, such as the arguments of a function. Raises as `schema_of`."""
    writer = _Writer()
    return writer.with_definitions(writer.object_of(fields, where))


class _Writer:
    """Write one schema.

    Attributes:
        definitions: The schemas of classes that contain themselves, by the name in `$defs`.
    """

    def __init__(self) -> None:
        self.definitions: dict[str, Schema] = {}
        self._open: list[Any] = []  # the classes around the current place
        self._names: dict[Any, str] = {}  # of the classes that contain themselves

    def with_definitions(self, schema: Schema) -> Schema:
        """Return the whole schema. Its root is no reference, because providers want an object there."""
        if not self.definitions:
            return schema
        if "$ref" in schema:
            schema = self.definitions[schema["$ref"].rpartition("/")[2]]
        return {**schema, "$defs": self.definitions}

    def schema(self, hint: Any, where: str) -> Schema:
        hint = plain(hint)
        match kind_of(hint):
            case Kind.ANY:
                return {}
            case Kind.PRIMITIVE:
                return {"type": _PRIMITIVES[hint]}
            case Kind.FORMATTED:
                name = FORMATS[hint]
                return {"type": "string", **({"format": name} if name else {})}
            case Kind.LITERAL:
                return _choice(typing.get_args(hint), where)
            case Kind.ENUM:
                text = own_docstring(hint)
                return _choice(tuple(hint), where) | ({"description": text} if text else {})
            case Kind.UNION:
                return {"anyOf": [self.schema(each, where) for each in typing.get_args(hint)]}
            case Kind.LIST | Kind.SET:
                return self._array(hint, where)
            case Kind.TUPLE:
                return self._tuple(hint, where)
            case Kind.MAPPING:
                return self._mapping(hint, where)
            case Kind.RECORD:
                return self._record(hint, where)
            case None:
                raise InvalidRequest(
                    f"{where}: the type {name_of(hint)} has no form in JSON; attrs classes, dataclasses, TypedDict, "
                    "NamedTuple, Enum, Literal, unions, list, tuple, set, dict, str, int, float, bool, None, datetime, "
                    "date, time, UUID, Decimal and Path are allowed"
                )

    def object_of(self, fields: typing.Sequence[Field], where: str) -> Schema:
        properties = {field.name: self._property(field, f"{where}.{field.name}") for field in fields}
        required = [field.name for field in fields if field.required]
        return {
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": False,
        }

    def _property(self, field: Field, where: str) -> Schema:
        schema = self.schema(field.type, where)
        if field.description:
            schema = {**schema, "description": field.description}
        default = field.default.value if isinstance(field.default, enum.Enum) else field.default
        if isinstance(default, _JSON_VALUES):
            schema = {**schema, "default": default}
        return schema

    def _array(self, hint: Any, where: str) -> Schema:
        [item] = typing.get_args(hint) or [Any]
        return {"type": "array", "items": self.schema(item, f"{where}[]")}

    def _tuple(self, hint: Any, where: str) -> Schema:
        items = typing.get_args(hint)
        if not items and hint is tuple:
            return {"type": "array", "items": {}}
        if len(items) == 2 and items[1] is Ellipsis:
            return {"type": "array", "items": self.schema(items[0], f"{where}[]")}
        schemas = [self.schema(item, f"{where}[{index}]") for index, item in enumerate(items)]
        size = {"minItems": len(items), "maxItems": len(items)}
        if schemas and all(schema == schemas[0] for schema in schemas):
            return {"type": "array", "items": schemas[0], **size}
        return {"type": "array", "prefixItems": schemas, "items": False, **size}

    def _mapping(self, hint: Any, where: str) -> Schema:
        key, value = typing.get_args(hint) or (str, Any)
        if plain(key) not in (str, Any) and not _is_text_choice(key):
            raise InvalidRequest(f"{where}: the keys of a dict are str in JSON, not {name_of(key)}")
        return {"type": "object", "additionalProperties": self.schema(value, f"{where}{{}}")}

    def _record(self, hint: Any, where: str) -> Schema:
        if hint in self._open or hint in self._names:
            return {"$ref": f"#/$defs/{self._name(hint)}"}
        self._open.append(hint)
        cls = typing.get_origin(hint) or hint
        place = where if len(self._open) == 1 else f"{where} ({cls.__name__})"
        schema: Schema = {"title": cls.__name__, **self.object_of(fields_of(hint, place), place)}
        self._open.pop()
        text = described(own_docstring(cls)).text
        if text:
            schema["description"] = text
        if hint not in self._names:
            return schema
        self.definitions[self._name(hint)] = schema
        return {"$ref": f"#/$defs/{self._name(hint)}"}

    def _name(self, hint: Any) -> str:
        """Return the name of a class in `$defs`: its own, with a number if another class has it."""
        if hint not in self._names:
            own = (typing.get_origin(hint) or hint).__name__
            taken = set(self._names.values())
            numbered = (f"{own}_{number}" for number in range(2, len(taken) + 3))
            self._names[hint] = own if own not in taken else next(n for n in numbered if n not in taken)
        return self._names[hint]


def _is_text_choice(hint: Any) -> bool:
    hint = plain(hint)
    match kind_of(hint):
        case Kind.LITERAL:
            return all(isinstance(choice, str) for choice in typing.get_args(hint))
        case Kind.ENUM:
            return all(isinstance(choice.value, str) for choice in hint)
    return False


def _choice(choices: typing.Sequence[Any], where: str) -> Schema:
    values = [choice.value if isinstance(choice, enum.Enum) else choice for choice in choices]
    for value in values:
        if not isinstance(value, _JSON_VALUES):
            raise InvalidRequest(f"{where}: a choice is a str, int, float, bool or None, not {value!r:.40}")
    if not values:
        raise InvalidRequest(f"{where}: an Enum needs at least one member")
    names = sorted({_PRIMITIVES[type(value) if type(value) in _PRIMITIVES else str] for value in values})
    return {"type": names[0] if len(names) == 1 else names, "enum": values}
