"""Reads log probabilities in the form that OpenAI gave them, and renders them so. Knows no API around them.

    [ { token, logprob, bytes?, top_logprobs?: [ { token, logprob, bytes? } … ] } … ]

Chat completions, the Responses API and Ollama have this list in different places. An answer does not depend on it: what
has another type is left out, and no number fails an answer.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ..events import LogprobsDelta, TokenLogprob, WireEvent

Json = dict[str, Any]

MOST_ASKED = 20
"""Alternatives that OpenAI's API sends for a token at most."""


def logprob_events(tokens: Iterable[TokenLogprob]) -> list[WireEvent]:
    """Return the event that carries `tokens`; none if there are none."""
    found = tuple(tokens)
    return [LogprobsDelta(found)] if found else []


def read_tokens(items: object, *, is_reasoning: bool = False) -> Iterator[TokenLogprob]:
    """The tokens of such a list."""
    for item in objects_of(items):
        if isinstance(token := item.get("token"), str):
            top = tuple(
                TokenLogprob(name, number_of(one.get("logprob")), _bytes(one.get("bytes")))
                for one in objects_of(item.get("top_logprobs"))
                if isinstance(name := one.get("token"), str)
            )
            number, data = number_of(item.get("logprob")), _bytes(item.get("bytes"))
            yield TokenLogprob(token, number, data, top, is_reasoning=is_reasoning)


def objects_of(items: object) -> list[Json]:
    """The objects in a list; none if it is no list."""
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def number_of(value: object) -> float | None:
    """A finite number as a float. NaN and the infinities are none: they spoil every sum, and have no JSON form."""
    if type(value) in (int, float) and -sys.float_info.max <= value <= sys.float_info.max:  # type: ignore[operator]
        return float(value)  # type: ignore[arg-type]
    return None


def _bytes(value: object) -> bytes | None:
    try:
        return bytes(value) if isinstance(value, list) else None
    except (TypeError, ValueError):  # no number, or none of a byte
        return None


def asked_for(wanted: object, alternatives: object) -> int | None:
    """Return how many alternatives to each token a client wants; None if it wants no log probabilities.

    Reads a client's request leniently: the API that gets the request is the judge of it.
    """
    if not wanted:
        return None
    return max(0, min(alternatives, MOST_ASKED)) if type(alternatives) is int else 0


def render_tokens(tokens: Sequence[TokenLogprob]) -> list[Json]:
    """Return the list for `tokens`."""
    return [{**_render(token), "top_logprobs": [_render(one) for one in token.top]} for token in tokens]


def _render(token: TokenLogprob) -> Json:
    data = None if token.bytes is None else list(token.bytes)
    return {"token": token.token, "logprob": token.logprob, "bytes": data}
