"""Counts of tokens: those of a provider, read; and an estimate where no provider counts. Knows no gateway."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from ...events import Finished, FinishReason, TextDelta, UsageUpdate, Vectors, WireEvent
from ...failures import Failure, FailureKind
from ...wire.codec import Dialect

BYTES_PER_TOKEN = 4
"""Of English text, by the usual tokenizers. Other scripts take more bytes for a token, and more tokens for a word."""

_NOT_TEXT = frozenset({"data", "image_url", "file_data", "inlineData", "inline_data", "signature"})
"""Fields whose text is no text for the model."""
_PART_TOKENS = 1000
"""Of an image or a file: of the order of what providers count for a picture of usual size."""


def counted(body: bytes) -> list[WireEvent]:
    """Decode the response to a request for a count: the number as text, so that the attempt has content."""
    try:
        value = json.loads(body)
        count = value["input_tokens"] if "input_tokens" in value else value["totalTokens"]
        return [TextDelta(str(int(count))), Finished(FinishReason.STOP)]
    except (ValueError, KeyError, TypeError):
        return [Failure(FailureKind.PROTOCOL, "the response is no count of tokens", phase="body")]


def embedded(dialect: Dialect, body: bytes) -> list[WireEvent]:
    """Decode the response to a request for embeddings that is passed on: its usage, and their number as text."""
    try:
        found = dialect.decode_embed(body)
    except ValueError as error:
        return [Failure(FailureKind.PROTOCOL, str(error), phase="body")]
    vectors = found if isinstance(found, Vectors) else Vectors(found)
    usage = [] if vectors.usage is None else [UsageUpdate(vectors.usage)]
    return [*usage, TextDelta(str(len(vectors))), Finished(FinishReason.STOP)]


def estimate(body: Any) -> int:
    """Return about how many tokens a request takes: one for every four bytes of all its text, tools included."""
    return max(1, sum(_sizes(body, "")))


def _sizes(value: Any, name: str) -> Iterator[int]:
    match value:
        case dict():
            for inner, item in value.items():
                yield from _sizes(item, inner)
        case list():
            for item in value:
                yield from _sizes(item, name)
        case str() if name in _NOT_TEXT:
            yield _PART_TOKENS if len(value) > _PART_TOKENS else 0
        case str() if name not in ("model", "type", "role"):
            yield -(-len(value.encode("utf-8", "replace")) // BYTES_PER_TOKEN)
        case _:
            pass
