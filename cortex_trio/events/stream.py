"""The events of a stream. Dialects make them from bytes; `ChatStream` delivers them in the order they arrived."""

from __future__ import annotations

import builtins
import enum
from collections.abc import Iterator, Sequence

import attrs

from ..failures import Failure
from ..messages import File, Image, Opaque, Phase, ToolKind


class FinishReason(str, enum.Enum):
    """Why the model stopped. `Finished.raw_reason` has the provider's own name for it."""

    STOP = "stop"
    """The answer is complete, or it reached a stop text."""

    LENGTH = "length"
    """The answer reached its token limit, or the end of the context window."""

    TOOL_CALLS = "tool_calls"
    """The model waits for the results of its tool calls."""

    CONTENT_FILTER = "content_filter"
    """A filter of the provider stopped the answer."""

    REFUSAL = "refusal"
    """The model refused to answer."""

    PAUSE = "pause"
    """The provider paused a long turn, and goes on when `Reply.message` is sent back."""

    OTHER = "other"
    """A reason without a name here, or the answer has no finish at all, as in `StreamInterrupted.partial`."""


@attrs.frozen
class Usage:
    """Token counts of an answer so far: totals, not increments. None in a field: the provider did not report it.

    Usages add up: `first + second`, or `sum(usages, Usage())`. A count that one of the two did not report counts as 0;
    it stays None only if neither reported it.
    """

    input_tokens: int | None = None
    """Tokens of the request, including `cached_input_tokens` and `cache_write_tokens`."""

    output_tokens: int | None = None
    """Tokens of the answer, including `reasoning_tokens`."""

    total_tokens: int | None = None
    """The provider's total, or else the sum of `input_tokens` and `output_tokens` if both are known."""

    cached_input_tokens: int | None = None
    """Tokens of the request that the provider read from its prompt cache."""

    cache_write_tokens: int | None = None
    """Tokens of the request that the provider wrote into its prompt cache."""

    reasoning_tokens: int | None = None
    """Tokens of the answer that were spent on reasoning."""

    def __attrs_post_init__(self) -> None:
        if self.total_tokens is None and self.input_tokens is not None and self.output_tokens is not None:
            object.__setattr__(self, "total_tokens", self.input_tokens + self.output_tokens)

    def __add__(self, other: Usage) -> Usage:
        """Return the sum, count by count."""
        if not isinstance(other, Usage):
            return NotImplemented
        total = None
        if self.total_tokens is not None or other.total_tokens is not None:
            total = self.known_tokens + other.known_tokens
        return Usage(
            _sum(self.input_tokens, other.input_tokens),
            _sum(self.output_tokens, other.output_tokens),
            total,
            _sum(self.cached_input_tokens, other.cached_input_tokens),
            _sum(self.cache_write_tokens, other.cache_write_tokens),
            _sum(self.reasoning_tokens, other.reasoning_tokens),
        )

    def __radd__(self, other: object) -> Usage:
        """Return this value for 0, with which `sum` begins."""
        return self if isinstance(other, int) and other == 0 else NotImplemented

    @property
    def known_tokens(self) -> int:
        """The total, or else what is known of it; 0 if nothing was reported."""
        if self.total_tokens is not None:
            return self.total_tokens
        return (self.input_tokens or 0) + (self.output_tokens or 0)


def _sum(first: int | None, second: int | None) -> int | None:
    if first is None or second is None:
        return second if first is None else first
    return first + second


@attrs.frozen
class ResponseStarted:
    """The provider's names for the answer. It is for the record of the attempt only, and is never delivered."""

    id: str | None
    """The id of the answer. None: the provider gave none."""

    model: str | None
    """The model that answers, as the provider names it. None: the provider did not name it."""


@attrs.frozen
class TextDelta:
    """The next piece of the answer's text."""

    text: str
    """The piece."""

    signature: str | None = None
    """Gemini's opaque thought signature of a piece that ends a text part. None: the piece has none."""

    phase: Phase | None = attrs.field(default=None, kw_only=True, eq=False)
    """What the text is for; see `Reply.text` for "commentary". None: the provider does not say. Ignored by
    `==`."""


@attrs.frozen
class ReasoningDelta:
    """The next piece of the model's reasoning."""

    text: str
    """The piece."""


@attrs.frozen
class ReasoningSeal:
    """The end of a block of reasoning, with the opaque values that are sent back to its provider."""

    signature: str | None = None
    """The provider's signature of the block's text. None: there is none."""

    encrypted: str | None = None
    """The reasoning in encrypted form. None: there is none."""


@attrs.frozen
class ToolCallDelta:
    """The next piece of a tool call. The pieces with the same `index` are one call.

    Only the first piece of a call has `id`, `name` and the right `kind`.
    """

    index: int
    """The number of the call within the answer, from 0."""

    arguments: str
    """A piece of the arguments; may be empty. Joined, the pieces are JSON text (free text for a "custom" tool)."""

    id: str | None = None
    """The id of the call. None after the first piece."""

    name: str | None = None
    """The name of the tool. None after the first piece."""

    signature: str | None = None
    """What the provider needs back with the call. None if there is nothing; it may come with a later piece."""

    kind: ToolKind = "function"
    """Whether the arguments are a JSON object or free text."""


@attrs.frozen
class WholePart:
    """A part that arrives in one piece: an image or speech of the model, or a block that only its provider understands.

    The transcript of speech is in TextDelta events.
    """

    part: Image | File | Opaque
    """The part."""


@attrs.frozen
class CitationDelta:
    """A passage of the answer and its sources. Without a position, the sources are those of the whole answer.

    Anthropic gives no position in the answer: `start`, `end` and `text` are then those of the passage in the cited
    document, and the event comes before the text that cites it.
    """

    start: int | None
    """The first character of the passage in the answer's text, from 0. None: not reported."""

    end: int | None
    """The character after the passage. None: not reported."""

    text: str
    """The passage itself; empty if the provider does not repeat it."""

    sources: Sequence[str]
    """Addresses, titles or document ids of the sources."""


@attrs.frozen
class TokenLogprob:
    """The log probability of one token."""

    token: str
    """The token, as the provider writes it. Cohere gives one text for several tokens: the first of them has it, and the
    others are empty."""

    logprob: float | None
    """The natural logarithm of the token's probability; it is finite. None: the provider sent no finite number."""

    bytes: builtins.bytes | None = None
    """The bytes of the token: a character may be divided between tokens. None: not reported."""

    top: Sequence[TokenLogprob] = ()
    """The most probable tokens at this place, in the provider's order. Empty: not requested, or not reported."""

    is_reasoning: bool = attrs.field(default=False, kw_only=True)
    """True if the provider shows that the token is one of the reasoning. It is never true in whole answers of vLLM and
    Ollama, which do not divide the tokens."""


@attrs.frozen
class LogprobsDelta:
    """Log probabilities of the next tokens. They come before the text of these tokens, or after it if the provider
    sends them later; their number is not that of the text events."""

    tokens: Sequence[TokenLogprob]
    """The tokens, at least one."""


@attrs.frozen
class UsageUpdate:
    """New token counts. They replace those of an earlier UsageUpdate."""

    usage: Usage
    """The counts of the answer so far."""


@attrs.frozen(eq=False)
class Vectors:
    """The result of an embedding request. It can be iterated and indexed, and is equal to a list of its vectors."""

    vectors: Sequence[Sequence[float]] = attrs.field(repr=lambda vectors: f"<{len(vectors)} vectors>")
    """One vector for each text, in the order of the texts."""

    usage: Usage | None = None
    """The token counts of the request. None: the provider reported none."""

    # No subclass of Sequence: `isinstance` with an abstract class is slow, and each event of a stream is checked.

    def __len__(self) -> int:
        return len(self.vectors)

    def __iter__(self) -> Iterator[Sequence[float]]:
        return iter(self.vectors)

    def __getitem__(self, index: int) -> Sequence[float]:
        return self.vectors[index]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Vectors):
            return list(self.vectors) == list(other.vectors) and self.usage == other.usage
        return list(self.vectors) == other if isinstance(other, list) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # vectors are lists


@attrs.frozen
class Finished:
    """The last event of a complete answer. The provider's end marker was seen."""

    reason: FinishReason
    """Why the model stopped."""

    raw_reason: str | None = None
    """The provider's own name for the reason. None: the provider gave none."""


@attrs.frozen
class Restarted:
    """Everything delivered so far is void, and a new answer follows from its beginning (on_interrupt="restart")."""

    failure: Failure
    """Why the answer before was interrupted."""

    worker: str
    """The name of the worker that answers now."""


@attrs.frozen
class Continued:
    """Another attempt continues the interrupted answer (on_interrupt="continue")."""

    failure: Failure
    """Why the answer was interrupted."""

    worker: str
    """The name of the worker that answers now."""

    offset: int
    """How many characters of text were delivered before."""


@attrs.frozen
class Forwarded:
    """Bytes of an answer as the provider sent them, before the events that they mean.

    Only for a call that forwards a request of the provider's own API.
    """

    data: bytes = attrs.field(repr=lambda data: f"<{len(data)} bytes>")
    """Whole frames of the stream, or the whole body of an answer that is not streamed."""


WireEvent = (
    ResponseStarted
    | TextDelta
    | ReasoningDelta
    | ReasoningSeal
    | ToolCallDelta
    | WholePart
    | CitationDelta
    | LogprobsDelta
    | UsageUpdate
    | Vectors
    | Forwarded
    | Finished
    | Failure
)
"""The events of a decoder: content, then exactly one Finished or Failure, then nothing.

One ResponseStarted may come before the last event, where the provider names the answer.
"""

StreamEvent = (
    TextDelta
    | ReasoningDelta
    | ReasoningSeal
    | ToolCallDelta
    | WholePart
    | CitationDelta
    | LogprobsDelta
    | UsageUpdate
    | Finished
    | Restarted
    | Continued
)
"""The events of `ChatStream`: a failure becomes an exception, or a Restarted or Continued event."""

CONTENT = (TextDelta, ReasoningDelta, ToolCallDelta, WholePart, Vectors)
"""The commit point of a stream is the first of these events: before it, failover is invisible to the caller."""
