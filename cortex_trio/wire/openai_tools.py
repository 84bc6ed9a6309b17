"""Schemas and tools as both APIs of OpenAI take them: strict where the schema allows it. Knows no message."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..failures import InvalidRequest
from ..messages import Tool
from .strict_schema import strict_schema, why_not_strict

Json = dict[str, Any]


def parameters(tool: Tool) -> Json:
    """Return the parameters of a tool. OpenAI refuses an object without a type or `properties`, even an empty one."""
    return {"type": "object", "properties": {}, **(tool.parameters or {})}


def strict_parameters(tool: Tool) -> Json:
    """Return the parameters of a tool with strict=True in the form that strict mode needs.

    Raises:
        InvalidRequest: The schema has no such form.
    """
    given = parameters(tool)
    found = strict_schema(given)
    if found is None:
        raise InvalidRequest(
            f"tool {tool.name!r:.40}: strict=True is not possible: {why_not_strict(given)}; leave strict out"
        )
    return found


def response_schema(schema: Mapping[str, Any]) -> Json:
    """Return the fields that describe an answer. Strict only where the schema can be, in the form that this needs."""
    strict = strict_schema(schema)
    return {"name": "response", "schema": schema if strict is None else strict, "strict": strict is not None}


def custom_format(tool: Tool, *, nested: bool) -> Json:
    """Return the format of a custom tool: a grammar is nested in chat completions and flat in Responses.

    Args:
        tool: A custom tool; its format may have either form.
        nested: Whether the fields of a grammar stand in an object of their own.
    """
    form = dict(tool.format or {})
    inner = form.get("grammar")
    if form.get("type") != "grammar":
        return form
    if nested and not isinstance(inner, Mapping):
        return {"type": "grammar", "grammar": {name: each for name, each in form.items() if name != "type"}}
    if not nested and isinstance(inner, Mapping):
        return {"type": "grammar", **inner}
    return form


def flat_format(form: Mapping[str, Any] | None) -> Json | None:
    """Return the format of a custom tool in its flat form, whichever of the two it has; None for none."""
    if form is None:
        return None
    inner = form.get("grammar")
    return {"type": "grammar", **inner} if isinstance(inner, Mapping) else dict(form)
