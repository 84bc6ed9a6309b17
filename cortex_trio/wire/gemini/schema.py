"""Reads a schema in the form of OpenAPI, as `parameters` and `responseSchema` hold it, as JSON Schema.

    { "type": "OBJECT", "properties": { "a": { "type": "STRING", "nullable": true } }, "propertyOrdering": [ "a" ] }

Types are in capitals, null is a flag, and sizes may be text. A schema that is JSON Schema already stays as it is.
Source: Generative Language API reference, Schema. Knows no request.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Json = dict[str, Any]

UNSPECIFIED = "TYPE_UNSPECIFIED"
SIZES = frozenset({"minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"})
"""Written as text by clients that follow protobuf: an int64 has no number in its JSON."""
DROPPED = frozenset({"nullable", "propertyOrdering"})
"""`nullable` becomes a type; the order is that of the properties, and nothing else names it."""


def json_schema(schema: Mapping[str, Any]) -> Json:
    """Return the schema as JSON Schema. What is no schema where one is expected stays as it is."""
    found = {name: _field(name, value) for name, value in schema.items() if name not in DROPPED}
    if "example" in found:
        found["examples"] = [found.pop("example")]
    if found.get("format") == "enum":  # says no more than `enum`
        del found["format"]
    if found.get("type") == UNSPECIFIED.lower():
        del found["type"]
    return _with_null(found) if schema.get("nullable") is True else found


def _field(name: str, value: Any) -> Any:
    match name, value:
        case "type", str():
            return value.lower()
        case "properties" | "$defs" | "defs", dict():
            return {key: _inner(each) for key, each in value.items()}
        case "anyOf" | "oneOf" | "allOf" | "prefixItems", list():
            return [_inner(each) for each in value]
        case "items" | "additionalProperties", dict():
            return json_schema(value)
        case _ if name in SIZES and isinstance(value, str) and value.isdecimal():
            return int(value)
        case _:
            return value


def _inner(value: Any) -> Any:
    return json_schema(value) if isinstance(value, dict) else value


def _with_null(schema: Json) -> Json:
    add: Mapping[str, Callable[[Any], Any]] = {
        "type": lambda kind: [kind, "null"] if isinstance(kind, str) else kind,
        "enum": lambda values: [*values, None] if isinstance(values, list) and None not in values else values,
        "anyOf": lambda kinds: [*kinds, {"type": "null"}] if isinstance(kinds, list) else kinds,
    }
    return {name: add[name](value) if name in add else value for name, value in schema.items()}
