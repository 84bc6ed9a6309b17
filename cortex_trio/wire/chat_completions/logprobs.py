"""The log probabilities of a choice, in a chunk or a whole answer.

    logprobs = { content?: tokens, refusal?: tokens, reasoning_content?: tokens }           DeepSeek has the third
             | { tokens: [text …], token_logprobs: [number …], top_logprobs?: [{ text: number } …] }     Together

The second form is that of OpenAI's older completions, in three lists of one length.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ...events import TokenLogprob
from ..logprobs import number_of, read_tokens, render_tokens


def tokens_of(logprobs: object, *, is_reasoning: bool = False) -> Iterator[TokenLogprob]:
    """The tokens of a choice, those of its reasoning first.

    `is_reasoning`: the chunk has reasoning and no text, so the tokens are its own (vLLM has one list for both).
    """
    if not isinstance(logprobs, dict):
        return
    yield from read_tokens(logprobs.get("reasoning_content"), is_reasoning=True)
    yield from read_tokens(logprobs.get("content"), is_reasoning=is_reasoning)
    yield from read_tokens(logprobs.get("refusal"))
    if "token_logprobs" in logprobs:
        yield from _in_lists(logprobs, is_reasoning)


def _in_lists(logprobs: dict[str, Any], is_reasoning: bool) -> Iterator[TokenLogprob]:
    tops = _list(logprobs.get("top_logprobs"))
    numbers = _list(logprobs.get("token_logprobs"))
    for place, token in enumerate(_list(logprobs.get("tokens"))[: len(numbers)]):
        if isinstance(token, str):
            found = tops[place] if place < len(tops) else None
            others = found.items() if isinstance(found, dict) else ()
            top = tuple(TokenLogprob(name, number_of(number)) for name, number in others)
            yield TokenLogprob(token, number_of(numbers[place]), None, top, is_reasoning=is_reasoning)


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def rendered(tokens: Sequence[TokenLogprob], *, refused: bool) -> dict[str, Any]:
    """Return the field `logprobs` of a choice; no field if there are no tokens."""
    if not tokens:
        return {}
    listed = render_tokens(tokens)
    return {
        "logprobs": {"content": None if refused else listed, "refusal": listed if refused else None},
    }
