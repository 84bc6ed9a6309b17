"""Counts tokens and makes embeddings without a model: both depend on the text alone."""

from __future__ import annotations

import hashlib
import re
from typing import Any

_TOKEN = re.compile(r"\s*\S+|\s+")

PROMPT_FIELDS = (
    "messages",
    "system",
    "contents",
    "systemInstruction",
    "system_instruction",
    "input",
    "instructions",
    "texts",
)
"""Fields of a request body, in any dialect, that hold text for the model."""


def split_tokens(text: str) -> tuple[str, ...]:
    """Return the words with the space before them, much as tokenisers cut; joined they are the text again."""
    return tuple(_TOKEN.findall(text))


def prompt_tokens(body: Any) -> int:
    """Return the number of tokens of a request body."""
    if not isinstance(body, dict):
        return 0
    documents = body.get("documents")
    data = [item["data"] for item in documents or () if isinstance(item, dict) and "data" in item]
    return sum(count_tokens(body.get(name)) for name in PROMPT_FIELDS) + count_tokens(data)


def count_tokens(value: object) -> int:
    """Return the number of tokens of every string under "content", "text", "parts" and "system", at any depth."""
    match value:
        case str():
            return len(split_tokens(value))
        case list() | tuple():
            return sum(count_tokens(item) for item in value)
        case dict():
            names = ("content", "text", "parts", "system")
            return sum(count_tokens(value[name]) for name in names if name in value)
        case _:
            return 0


def vector_of(text: str, dimensions: int | None) -> list[float]:
    """Return a small vector with components in [-1, 1)."""
    wanted = dimensions or 8
    digest = hashlib.shake_128(text.encode()).digest(wanted * 2)
    return [int.from_bytes(digest[at : at + 2], "big", signed=True) / 32768 for at in range(0, wanted * 2, 2)]
