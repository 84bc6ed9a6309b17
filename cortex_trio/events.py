"""What comes out: the events of a stream, usage, and the whole reply they fold into.

Dialects make these from bytes, `ChatStream` hands them on as they came. `ReplyBuilder` is the one
place that folds events into a `Reply`; streamed and whole answers go through it alike.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Iterable, Sequence

import attrs

from .failures import Failure
from .messages import Image, Message, Opaque, Part, Reasoning, Text, ToolCall, ToolKind


class FinishReason(str, enum.Enum):
    STOP = "stop"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"
    CONTENT_FILTER = "content_filter"
    REFUSAL = "refusal"
    PAUSE = "pause"
    OTHER = "other"


@attrs.frozen
class Usage:
    """Snapshots, not deltas. None = not reported.

    `input_tokens` includes cached ones and cache writes; `output_tokens` includes reasoning; `total_tokens`
    is the sum where the wire omits it and both are known.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    cached_input_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None

    def __attrs_post_init__(self) -> None:
        if self.total_tokens is None and self.input_tokens is not None and self.output_tokens is not None:
            object.__setattr__(self, "total_tokens", self.input_tokens + self.output_tokens)


@attrs.frozen
class TextDelta:
    text: str


@attrs.frozen
class ReasoningDelta:
    text: str


@attrs.frozen
class ReasoningSeal:
    """Closes the current block of reasoning with what must go back with it, unread, to its provider."""

    signature: str | None = None
    encrypted: str | None = None


@attrs.frozen
class ToolCallDelta:
    """The first delta of a call carries id and name; the fragments of one index join to the whole arguments.

    `kind`, too, is that of the first delta: the arguments of a "custom" tool are free text.
    """

    index: int
    arguments: str
    id: str | None = None
    name: str | None = None
    signature: str | None = None  # Gemini's thought signature, on the first delta
    kind: ToolKind = "function"


@attrs.frozen
class WholePart:
    """A part that does not come piece by piece: an image the model made, or a block only its provider understands."""

    part: Image | Opaque


@attrs.frozen
class CitationDelta:
    """A stretch of the text and what it rests on; without a place: what the answer as a whole rests on.

    `start` and `end` count characters of the answer's text. Anthropic alone says none of those: its `text` and its
    place are those of the cited document, and the citation comes before the text that rests on it.
    """

    start: int | None
    end: int | None
    text: str
    sources: Sequence[str]


@attrs.frozen
class UsageUpdate:
    usage: Usage


@attrs.frozen
class Vectors:
    """What an embedding request was about; one vector per text, in order."""

    vectors: Sequence[Sequence[float]] = attrs.field(repr=lambda vectors: f"<{len(vectors)} vectors>")


@attrs.frozen
class Finished:
    """The last event of a whole answer: the terminal marker was seen and nothing follows."""

    reason: FinishReason
    raw_reason: str | None = None


@attrs.frozen
class Restarted:
    """What was delivered so far is void: a whole new answer follows (on_interrupt="restart")."""

    failure: Failure
    worker: str


@attrs.frozen
class Continued:
    """The next worker goes on at this many characters of text (on_interrupt="continue")."""

    failure: Failure
    worker: str
    offset: int


WireEvent = (
    TextDelta
    | ReasoningDelta
    | ReasoningSeal
    | ToolCallDelta
    | WholePart
    | CitationDelta
    | UsageUpdate
    | Vectors
    | Finished
    | Failure
)
"""What a decoder makes of bytes: content, then exactly one Finished or Failure, then nothing."""

StreamEvent = (
    TextDelta
    | ReasoningDelta
    | ReasoningSeal
    | ToolCallDelta
    | WholePart
    | CitationDelta
    | UsageUpdate
    | Finished
    | Restarted
    | Continued
)
"""What the user sees: failures have become exceptions, or Restarted and Continued."""

CONTENT = (TextDelta, ReasoningDelta, ToolCallDelta, WholePart, Vectors)
"""The events that commit a stream: after one of these was delivered, failover is no longer invisible."""


@attrs.frozen
class Attempt:
    """One request to one worker, recorded once, when it is over."""

    number: int
    worker: str
    provider: str
    model: str
    key: str | None  # masked
    failure: Failure | None  # None: it served
    duration: float
    time_to_first_token: float | None
    usage: Usage | None


@attrs.frozen
class Reply:
    """A whole answer."""

    message: Message
    text: str
    reasoning: str
    tool_calls: Sequence[ToolCall]
    usage: Usage
    finish_reason: FinishReason
    worker: str
    provider: str
    model: str
    attempts: Sequence[Attempt]
    citations: Sequence[CitationDelta] = ()


@attrs.define
class _Block:
    """One part of the answer while it grows; `key` tells which deltas belong to it."""

    key: type[Text] | type[Reasoning] | int
    pieces: list[str]
    id: str | None = None
    name: str | None = None
    signature: str | None = None
    encrypted: str | None = None
    origin: str | None = None
    kind: ToolKind = "function"


class ReplyBuilder:
    """Folds stream events into the assistant message, keeping the order in which parts appeared.

    `origin` ("provider/model" of the model that answers now) is stamped on what may only go back to where it came from.
    """

    def __init__(self, origin: str | None = None) -> None:
        self.origin = origin
        self._blocks: list[_Block | Image | Opaque] = []
        self._calls: dict[int, _Block] = {}
        self._citations: list[CitationDelta] = []
        self.usage = Usage()
        self.finish: Finished | None = None

    def add(self, event: WireEvent | StreamEvent) -> None:
        match event:
            case TextDelta(text):
                self._block(Text).pieces.append(text)
            case ReasoningDelta(text):
                self._block(Reasoning).pieces.append(text)
            case ReasoningSeal(signature, encrypted):
                self._seal(signature, encrypted)
            case ToolCallDelta():
                self._add_call(event)
            case WholePart(part):
                self._blocks.append(self._stamped(part))
            case CitationDelta():
                self._citations.append(event)
            case UsageUpdate(usage):
                self.usage = usage
            case Finished():
                self.finish = event
            case Restarted():
                self._blocks.clear()
                self._calls.clear()
                self._citations.clear()
                self.usage, self.finish = Usage(), None
            case Continued() | Vectors() | Failure():
                pass

    def add_all(self, events: Iterable[WireEvent | StreamEvent]) -> None:
        for event in events:
            self.add(event)

    def _block(self, kind: type[Text] | type[Reasoning]) -> _Block:
        last = self._blocks[-1] if self._blocks else None
        if not isinstance(last, _Block) or last.key is not kind or last.signature or last.encrypted:
            last = _Block(kind, [], origin=self.origin)
            self._blocks.append(last)
        return last

    def _seal(self, signature: str | None, encrypted: str | None) -> None:
        block = self._block(Reasoning)
        block.signature, block.encrypted = signature, encrypted

    def _add_call(self, delta: ToolCallDelta) -> None:
        block = self._calls.get(delta.index)
        if block is None:
            block = _Block(
                delta.index, [], delta.id, delta.name, delta.signature, origin=self.origin, kind=delta.kind
            )
            self._calls[delta.index] = block
            self._blocks.append(block)
        block.pieces.append(delta.arguments)

    def _stamped(self, part: Image | Opaque) -> Image | Opaque:
        unbound = isinstance(part, Image) and part.signature is None
        return part if unbound else attrs.evolve(part, origin=self.origin)

    @property
    def text(self) -> str:
        return self._joined(Text)

    @property
    def reasoning(self) -> str:
        return self._joined(Reasoning)

    def _joined(self, kind: type[Text] | type[Reasoning]) -> str:
        blocks = (block for block in self._blocks if isinstance(block, _Block) and block.key is kind)
        return "".join(piece for block in blocks for piece in block.pieces)

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        return tuple(part for part in self._parts() if isinstance(part, ToolCall))

    @property
    def may_have_acted(self) -> bool:
        """A whole tool call was delivered, on which the reader may have acted, or a block of the provider's own tools.

        Of a free-form call nothing tells where it ends, and one without arguments has ended when another part begins:
        both count as whole.
        """
        parts = self._parts()
        for place, part in enumerate(parts, 1):
            if isinstance(part, Opaque):
                return True
            if isinstance(part, ToolCall):
                is_followed = place < len(parts) and not part.arguments
                if part.complete or part.kind != "function" or is_followed:
                    return True
        return False

    def message(self) -> Message:
        """The assistant message, ready to be sent back as history."""
        return Message("assistant", self._parts())

    def _parts(self) -> tuple[Part, ...]:
        return tuple(self._part(block) for block in self._blocks)

    def _part(self, block: _Block | Image | Opaque) -> Part:
        if not isinstance(block, _Block):
            return block
        joined = "".join(block.pieces)
        if block.key is Text:
            return Text(joined)
        if block.key is Reasoning:
            return Reasoning(joined, block.signature, block.encrypted, block.origin)
        origin = block.origin if block.signature else None
        complete = self._is_complete(joined, block.kind)
        return ToolCall(
            block.id or "", block.name or "", joined, block.signature, origin, block.kind, complete
        )

    def _is_complete(self, arguments: str, kind: ToolKind) -> bool:
        """An object says by itself that it ended; of free text, and of no arguments at all, the finish does."""
        if kind == "custom" or not arguments.strip():
            return self.finish is not None and self.finish.reason is not FinishReason.LENGTH
        try:
            json.loads(arguments)
        except (ValueError, RecursionError):
            return False
        return True

    def reply(self, *, worker: str, provider: str, model: str, attempts: Sequence[Attempt]) -> Reply:
        """The answer as folded so far; OTHER stands for a finish that never came."""
        return Reply(
            message=self.message(),
            text=self.text,
            reasoning=self.reasoning,
            tool_calls=self.tool_calls,
            usage=self.usage,
            finish_reason=self.finish.reason if self.finish else FinishReason.OTHER,
            worker=worker,
            provider=provider,
            model=model,
            attempts=tuple(attempts),
            citations=tuple(self._citations),
        )
