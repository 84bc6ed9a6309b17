"""A behaviour's good answer to one request: what it says, and the events it is sent as. Knows no dialect's bytes."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence

import attrs

from ..events import (
    CitationDelta,
    Finished,
    FinishReason,
    LogprobsDelta,
    ReasoningDelta,
    ReasoningSeal,
    Reply,
    ReplyBuilder,
    StreamEvent,
    TextDelta,
    TokenLogprob,
    ToolCallDelta,
    Usage,
    UsageUpdate,
    WholePart,
)
from ..messages import Image, Opaque, ToolCall
from ..wire.server import ParsedRequest, Preview
from .behaviour import Behaviour
from .tokens import split_tokens

Order = Sequence[type[StreamEvent]]
"""In which order an API sends the parts of an answer."""

USUAL_ORDER: Order = (ReasoningDelta, WholePart, TextDelta, CitationDelta, ToolCallDelta)


@attrs.frozen(kw_only=True)
class Answer:
    """A good answer, worked out for one request."""

    tokens: Sequence[str]
    reasoning: Sequence[str]
    parts: Sequence[Image | Opaque]
    tool_calls: Sequence[ToolCall]
    citations: Sequence[CitationDelta]
    refusal: bool
    finish: FinishReason
    usage: Usage
    seal: ReasoningSeal | None = None
    """What the model puts on its reasoning; None where there is no reasoning or nothing is put on it."""

    logprobs: int | None = None
    """Alternatives with the log probability of each token of the text. None: log probabilities were not requested."""

    @property
    def reasoning_text(self) -> str:
        return "".join(self.reasoning)

    def preview(self) -> Preview:
        """Return what the provider knows of it before it begins."""
        return Preview(
            usage=self.usage,
            reasoning=bool(self.reasoning),
            text=bool(self.tokens),
            calls=bool(self.tool_calls),
            refused=self.refusal,
            seal=self.seal,
        )

    def events(self, order: Order = USUAL_ORDER) -> Iterator[StreamEvent]:
        """Return the events it is sent as, made as they are asked for: a script's tokens may be many."""
        for kind in order:
            yield from _EVENTS[kind](self)
        yield UsageUpdate(self.usage)
        yield Finished(self.finish)

    def reply(self, order: Order = USUAL_ORDER) -> Reply:
        """Return it as one value."""
        builder = ReplyBuilder()
        builder.add_all(self.events(order))
        return builder.reply(worker="", provider="", model="", attempts=())


def answer_of(behaviour: Behaviour, request: ParsedRequest) -> Answer:
    """Return the answer that `behaviour` gives to a request."""
    tokens = behaviour.tokens if behaviour.tokens is not None else split_tokens(behaviour.text)
    reasoning = split_tokens(behaviour.reasoning)
    finish = FinishReason.REFUSAL if behaviour.refusal else behaviour.finish
    if behaviour.tool_calls and finish is FinishReason.STOP:
        finish = FinishReason.TOOL_CALLS
    written = len(tokens) + sum(1 + len(split_tokens(call.arguments)) for call in behaviour.tool_calls)
    counted = Usage(
        input_tokens=request.prompt_tokens,
        output_tokens=written + len(reasoning),
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
        logprobs=request.logprobs,
    )


def _reasoning(answer: Answer) -> Iterator[StreamEvent]:
    for token in answer.reasoning:
        yield ReasoningDelta(token)
    if answer.seal is not None:
        yield answer.seal


def _text(answer: Answer) -> Iterator[StreamEvent]:
    for token in answer.tokens:
        if answer.logprobs is not None:
            yield LogprobsDelta((token_logprob(token, answer.logprobs),))
        yield TextDelta(token)


def token_logprob(token: str, alternatives: int) -> TokenLogprob:
    """Return a log probability that depends on the token alone; the first alternative is the token itself."""
    data = token.encode("utf-8", "replace")
    logprob = -(zlib.crc32(data) % 1000) / 1000
    others = (TokenLogprob(str(place), logprob - place, b"%d" % place) for place in range(1, alternatives))
    top = (TokenLogprob(token, logprob, data), *others) if alternatives else ()
    return TokenLogprob(token, logprob, data, top)


def _calls(answer: Answer) -> Iterator[StreamEvent]:
    for index, call in enumerate(answer.tool_calls):
        yield ToolCallDelta(index, "", call.id, call.name, call.signature, call.kind)
        for piece in split_tokens(call.arguments):
            yield ToolCallDelta(index, piece)


_EVENTS: dict[type[StreamEvent], Callable[[Answer], Iterator[StreamEvent]]] = {
    ReasoningDelta: _reasoning,
    WholePart: lambda answer: map(WholePart, answer.parts),
    TextDelta: _text,
    CitationDelta: lambda answer: iter(answer.citations),
    ToolCallDelta: _calls,
}
