"""Makes a JSON Schema fit OpenAI's strict mode, in which the server holds the answer to the schema.

    strict = { type: "object", properties: { name: strict … }, required: [ every name ], additionalProperties: false }
           | { type: "array", items: strict }  |  { type: a simple type, enum?, const? }
           | { anyOf: [ strict … ] }  |  { $ref: "#/$defs/name" }

The result accepts what the schema accepts, with one difference: an optional property is required and may be null. A
schema that cannot be written so (a mapping with free keys, `allOf` of several, a limit that the mode does not know) is
not strict. Pure, and knows no dialect.
Source: OpenAI, Structured outputs, Supported schemas.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]

KEPT = frozenset(
    {
        "title",
        "description",
        "pattern",
        "multipleOf",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "minItems",
        "maxItems",
    }
)
"""Keywords that the mode takes as they are."""

DROPPED = frozenset(
    {
        "$schema",
        "$id",
        "$comment",
        "default",
        "example",
        "examples",
        "deprecated",
        "readOnly",
        "writeOnly",
        "discriminator",
        "contentEncoding",
        "contentMediaType",
    }
)
"""Keywords that the mode refuses, and that do not change which values are allowed."""

STRUCTURE = frozenset(
    {
        "type",
        "enum",
        "const",
        "format",
        "properties",
        "required",
        "additionalProperties",
        "items",
        "anyOf",
        "oneOf",
        "allOf",
        "$ref",
        "$defs",
        "definitions",
    }
)
"""Keywords that are rewritten here."""

FORMATS = ("date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid")

TYPES = ("string", "number", "integer", "boolean", "null", "object", "array")

DEFINITIONS = ("$defs", "definitions")

DEEPEST = 10
"""Levels of objects inside objects that the mode takes."""

MOST_PROPERTIES = 5_000
"""Properties of one schema, those of its definitions among them."""

MOST_CHOICES = 1_000
"""Values of all `enum`s of one schema."""

NULL: Mapping[str, Any] = {"type": "null"}


class _NotStrict(Exception):
    """Why a schema cannot be strict. Its text begins with the place."""


def strict_schema(schema: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the schema in the form that strict mode needs; None if there is none.

    Args:
        schema: A JSON Schema. It is not changed. The schema of an object is needed: the mode takes no other.

    Returns:
        A new schema: all properties required, optional ones nullable, `additionalProperties` false everywhere.
    """
    try:
        return _Normaliser(schema).root()
    except (_NotStrict, RecursionError):
        return None


def why_not_strict(schema: Mapping[str, Any]) -> str | None:
    """Return why a schema cannot be strict, beginning with the place in it; None if it can be.

    Args:
        schema: A JSON Schema.
    """
    try:
        _Normaliser(schema).root()
    except _NotStrict as error:
        return str(error)
    except RecursionError:
        return "#: nested too deeply"
    return None


class _Normaliser:
    """Rewrites one schema. `where` is the place in it, as a JSON pointer in a URI fragment: "#/properties/a"."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._schema = schema
        self._properties = 0
        self._choices = 0

    def root(self) -> Json:
        """Return the whole schema: an object, for the mode takes no other at the top."""
        top = self._top()
        if any(name in top for name in ("anyOf", "oneOf")) or "object" not in _types(top, "#"):
            raise _NotStrict("#: an object is needed at the top")
        found = self._of({**top, "type": "object"}, "#", 1)
        for name in DEFINITIONS:
            if (definitions := self._schema.get(name)) is not None:
                found[name] = {
                    key: self._of(each, f"#/{name}/{key}", 1)
                    for key, each in _mapping(definitions, f"#/{name}").items()
                }
        return found

    def _top(self) -> Mapping[str, Any]:
        """The top of the schema; where it only names a definition, as for a class that holds itself, that."""
        top = _mapping(self._schema, "#")
        for _ in range(DEEPEST):
            if "$ref" not in top:
                return top
            top = _mapping(self._target(top["$ref"], "#"), "#")
        raise _NotStrict("#: a $ref to itself")

    def _of(self, schema: object, where: str, depth: int) -> Json:
        own = _mapping(schema, where)
        if depth > DEEPEST:
            raise _NotStrict(f"{where}: objects nested in more than {DEEPEST} levels")
        for name in own:
            if name not in KEPT | DROPPED | STRUCTURE and not name.startswith("x-"):
                raise _NotStrict(f"{where}: {name!r:.40} is not supported")
        kept = {name: value for name, value in own.items() if name in KEPT}
        if "$ref" in own:
            return self._reference(own, kept, where)
        for name in ("anyOf", "oneOf", "allOf"):
            if name in own:
                return self._choice(name, own, kept, where, depth)
        return self._typed(own, kept, where, depth)

    def _reference(self, own: Mapping[str, Any], kept: Json, where: str) -> Json:
        """A $ref stands alone: the mode refuses a description beside it, so that one goes around it."""
        self._target(own["$ref"], where)
        _require_only(own, ("$ref", *DEFINITIONS), where)
        only: Json = {"$ref": own["$ref"]}
        return {**kept, "anyOf": [only]} if kept else only

    def _target(self, reference: object, where: str) -> object:
        """Return what a $ref names. Only definitions of this schema and the schema itself can be named."""
        match reference.split("/") if isinstance(reference, str) else None:
            case ["#"]:
                return self._schema
            case ["#", ("$defs" | "definitions") as group, name]:
                definitions = self._schema.get(group)
                if (
                    isinstance(definitions, Mapping)
                    and (found := definitions.get(_unescaped(name))) is not None
                ):
                    return found
        raise _NotStrict(f"{where}: the $ref {reference!r:.60} names no definition of this schema")

    def _choice(self, name: str, own: Mapping[str, Any], kept: Json, where: str, depth: int) -> Json:
        _require_only(own, (name, *DEFINITIONS), where)
        branches = _values(own[name], f"{where}/{name}")
        if name == "allOf" and len(branches) > 1:
            raise _NotStrict(f"{where}: 'allOf' of more than one schema is not supported")
        choices = [self._of(each, f"{where}/{name}/{at}", depth) for at, each in enumerate(branches)]
        if name == "allOf":
            only = choices[0]
            return {**kept, "anyOf": [only]} if "$ref" in only and kept else {**only, **kept}
        return {**kept, "anyOf": choices}

    def _typed(self, own: Mapping[str, Any], kept: Json, where: str, depth: int) -> Json:
        types = _types(own, where)
        found: Json = {"type": types[0] if len(types) == 1 else types, **kept}
        if "enum" in own:
            self._choices += len(_values(own["enum"], f"{where}/enum"))
            if self._choices > MOST_CHOICES:
                raise _NotStrict(f"{where}: more than {MOST_CHOICES:,} values in enums")
        found |= {name: own[name] for name in ("enum", "const") if name in own}
        if own.get("format") in FORMATS:
            found["format"] = own["format"]
        if "object" in types:
            found |= self._object(own, where, depth)
        if "array" in types:
            if "items" not in own:
                raise _NotStrict(f"{where}: an array needs 'items'")
            found["items"] = self._of(own["items"], f"{where}/items", depth)
        return found

    def _object(self, own: Mapping[str, Any], where: str, depth: int) -> Json:
        if own.get("additionalProperties", False) is not False:
            raise _NotStrict(f"{where}: an object with free keys (additionalProperties) is not supported")
        if "properties" not in own and own.get("additionalProperties") is None:
            raise _NotStrict(f"{where}: an object needs 'properties'")
        properties = _mapping(own.get("properties", {}), f"{where}/properties")
        self._properties += len(properties)
        if self._properties > MOST_PROPERTIES:
            raise _NotStrict(f"{where}: more than {MOST_PROPERTIES:,} properties")
        required = _values(own.get("required", []), f"{where}/required", at_least=0)
        if missing := [name for name in required if name not in properties]:
            raise _NotStrict(f"{where}: the required {missing[0]!r:.40} is not among the properties")
        written: Json = {}
        for name, each in properties.items():
            value = self._of(each, f"{where}/properties/{name}", depth + 1)
            written[name] = value if name in required else _nullable(value)
        return {"properties": written, "required": [*written], "additionalProperties": False}


def _nullable(schema: Json) -> Json:
    """Return the schema of an optional property, in which null stands for "not there"."""
    if "anyOf" in schema:
        branches = schema["anyOf"]
        return (
            schema if any(_takes_null(each) for each in branches) else {**schema, "anyOf": [*branches, NULL]}
        )
    if _takes_null(schema):
        return schema
    if "$ref" in schema or "const" in schema:
        notes: Json = {name: schema[name] for name in ("title", "description") if name in schema}
        only = {name: value for name, value in schema.items() if name not in notes}
        return {**notes, "anyOf": [only, dict(NULL)]}
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    nullable: Json = {**schema, "type": [*types, "null"]}
    if "enum" in schema:
        nullable["enum"] = [*schema["enum"], None]
    return nullable


def _takes_null(schema: Mapping[str, Any]) -> bool:
    types = schema.get("type", ())
    return types == "null" or (
        isinstance(types, list) and "null" in types and None in schema.get("enum", (None,))
    )


def _types(own: Mapping[str, Any], where: str) -> list[str]:
    """The types of a schema; without `type`, they follow from its values or its other keywords."""
    named = own.get("type")
    if named is not None:
        types = [named] if isinstance(named, str) else _values(named, f"{where}/type")
        if any(each not in TYPES for each in types):
            raise _NotStrict(f"{where}: the type {named!r:.40} is not known")
        return [*types]
    if "enum" in own or "const" in own:
        values = _values(own["enum"], f"{where}/enum") if "enum" in own else [own["const"]]
        return [*dict.fromkeys(_type_of(value, where) for value in values)]
    if "properties" in own:
        return ["object"]
    if "items" in own:
        return ["array"]
    raise _NotStrict(f"{where}: a type is needed")


def _type_of(value: object, where: str) -> str:
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
        case _:
            raise _NotStrict(f"{where}: only simple values may be enumerated")


def _require_only(own: Mapping[str, Any], names: tuple[str, ...], where: str) -> None:
    """Beside a $ref or a choice only notes may stand: the mode would have to join the two."""
    for name in own:
        if name in STRUCTURE and name not in names:
            raise _NotStrict(f"{where}: {name!r} beside {names[0]!r} is not supported")


def _unescaped(name: str) -> str:
    return name.replace("~1", "/").replace("~0", "~")


def _values(value: object, where: str, at_least: int = 1) -> list[Any]:
    if not isinstance(value, list | tuple) or len(value) < at_least:
        raise _NotStrict(f"{where}: a list is needed")
    return [*value]


def _mapping(value: object, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise _NotStrict(f"{where}: a schema must be an object, not a {type(value).__name__}")
    return value
