"""A behaviour's good answer, worked out for one request."""

from __future__ import annotations

from ..events import FinishReason, Usage
from ..wire.server import Answer, ParsedRequest, split_tokens
from .behaviour import Behaviour


def answer_of(behaviour: Behaviour, asked: ParsedRequest) -> Answer:
    tokens = behaviour.tokens if behaviour.tokens is not None else split_tokens(behaviour.text)
    reasoning = split_tokens(behaviour.reasoning)
    finish = FinishReason.REFUSAL if behaviour.refusal else behaviour.finish
    if behaviour.tool_calls and finish is FinishReason.STOP:
        finish = FinishReason.TOOL_CALLS
    spoken = len(tokens) + sum(1 + len(split_tokens(call.arguments)) for call in behaviour.tool_calls)
    counted = Usage(
        input_tokens=asked.prompt_tokens,
        output_tokens=spoken + len(reasoning),
        cached_input_tokens=0,
        reasoning_tokens=len(reasoning),
    )
    return Answer(
        tokens=tokens,
        reasoning=reasoning,
        parts=tuple(behaviour.parts),
        tool_calls=tuple(behaviour.tool_calls),
        citations=tuple(behaviour.citations),
        refusal=behaviour.refusal,
        finish=finish,
        usage=behaviour.usage or counted,
    )
