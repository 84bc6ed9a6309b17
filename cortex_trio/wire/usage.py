"""Reads the token counts of chat completions and of Responses, under all names that servers give them.

Usage that cannot be read is not reported: it is no reason to fail an answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..events import Usage
from .payload import as_count

Json = Mapping[str, Any]

CACHED = ("cached_tokens", "cache_read_tokens", "cache_read_input_tokens", "prompt_cache_hit_tokens")
"""Moonshot and Together beside the counts, LiteLLM, Anthropic behind a gateway, DeepSeek."""

WRITTEN = ("cache_write_tokens", "cache_creation_tokens", "cache_creation_input_tokens")


def read_usage(usage: Json, *, excludes_reasoning: bool = False) -> Usage:
    """The counts of one usage object.

    Args:
        usage: As it came.
        excludes_reasoning: `completion_tokens` are without `reasoning_tokens` (xAI's chat completions).
    """
    read = _details(usage, "prompt_tokens_details", "input_tokens_details")
    written = _details(usage, "completion_tokens_details", "output_tokens_details")
    prompt = _count(("prompt_tokens", "input_tokens"), usage)
    completion = _count(("completion_tokens", "output_tokens"), usage)
    total = as_count(usage.get("total_tokens"))
    reasoning = _count(("reasoning_tokens",), written, usage)
    if excludes_reasoning and reasoning and completion is not None:
        # In case xAI starts to count as others do.
        included = prompt is not None and total == prompt + completion
        completion += 0 if included else reasoning
    return Usage(
        input_tokens=prompt,
        output_tokens=completion,
        total_tokens=total,
        cached_input_tokens=_count(CACHED, read, usage),
        cache_write_tokens=_count(WRITTEN, read, usage),
        reasoning_tokens=reasoning,
    )


def _details(usage: Json, *names: str) -> Json:
    return next((found for name in names if isinstance(found := usage.get(name), dict)), {})


def _count(names: tuple[str, ...], *places: Json) -> int | None:
    """Return the first count there is: the details come first, and the first name does."""
    for place in places:
        for name in names:
            if name in place and (count := as_count(place[name])) is not None:
                return count
    return None
