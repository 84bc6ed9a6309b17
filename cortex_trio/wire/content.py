"""Reads text and reasoning that is not a string: parts, lists of parts, or a JSON object.

    text      "…"  |  [ { type: "text", text } … ]  |  { any: "JSON" }
    thoughts  "…"  |  { text | content | summary | thinking: thoughts }  |  [ thoughts … ]

Mistral, Databricks and gateways in front of Anthropic send parts in chat completions; Workers AI sends structured
output as an object. Knows no API around it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .codec import compact
from .payload import Malformed

THOUGHT_FIELDS = ("thinking", "text", "summary", "content", "reasoning")
"""Fields with the text of a thought. The first that is not empty counts; the others repeat it."""

THOUGHTS = frozenset({"thinking", "reasoning", "reasoning_text", "summary_text", "thought"})
"""Types of content parts that are reasoning."""

DEEPEST = 8
"""Levels of thoughts inside thoughts; servers use three."""


def thoughts(value: object, depth: int = 0) -> Iterator[str]:
    """The pieces of reasoning in `value`. What has none, such as ciphertext, is skipped."""
    if depth > DEEPEST:
        return
    match value:
        case str():
            if value:
                yield value
        case list():
            for item in value:
                yield from thoughts(item, depth + 1)
        case dict():
            for name in THOUGHT_FIELDS:
                if found := list(thoughts(value.get(name), depth + 1)):
                    yield from found
                    return
        case _:
            pass


def is_part(value: Mapping[str, Any]) -> bool:
    """Whether an object is a content part, and not structured output: parts have a type and a text."""
    kind = value.get("type")
    return isinstance(kind, str) and (kind in value or isinstance(value.get("text"), str))


def object_text(value: Mapping[str, Any], what: str) -> str:
    """Structured output that came as an object, as the JSON text that was asked for."""
    try:
        return compact(value)
    except RecursionError:
        raise Malformed(f"{what} is nested too deeply") from None
