"""The log probabilities of a candidate: its `logprobsResult`, read and rendered.

    logprobsResult = { chosenCandidates: [token …], topCandidates?: [ { candidates: [token …] } … ] }
    token          = { token, tokenId, logProbability }

The two lists have an entry for each step. In a stream, each response has those of its own part.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ...events import TokenLogprob
from ..logprobs import number_of, objects_of

Json = dict[str, Any]


def tokens_of(result: object) -> Iterator[TokenLogprob]:
    """The tokens of a `logprobsResult`. What has another type is left out."""
    if not isinstance(result, dict):
        return
    chosen, steps = result.get("chosenCandidates"), result.get("topCandidates")
    if not isinstance(chosen, list):
        return
    steps = steps if isinstance(steps, list) else []
    for place, one in enumerate(chosen):
        step = steps[place] if place < len(steps) else None
        others = objects_of(step.get("candidates")) if isinstance(step, dict) else []
        top = tuple(token for other in others if (token := _token(other)))
        if isinstance(one, dict) and (token := _token(one, top)):
            yield token


def _token(item: Json, top: Sequence[TokenLogprob] = ()) -> TokenLogprob | None:
    if not isinstance(token := item.get("token"), str):
        return None
    return TokenLogprob(token, number_of(item.get("logProbability")), None, top)


def rendered(tokens: Sequence[TokenLogprob]) -> Json:
    """Return the field of a candidate; no field if there are no tokens."""
    if not tokens:
        return {}
    result: Json = {"chosenCandidates": [_render(token) for token in tokens]}
    if any(token.top for token in tokens):
        result["topCandidates"] = [{"candidates": [_render(one) for one in token.top]} for token in tokens]
    return {"logprobsResult": result}


def _render(token: TokenLogprob) -> Json:
    return {"token": token.token, "logProbability": token.logprob}
