"""Build a `Reply` from events. The one place that does, for streamed and other answers alike."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence

import attrs

from ..failures import Failure
from ..messages import File, Image, Message, Opaque, Part, Phase, Reasoning, Text, ToolCall, ToolKind
from ..messages.message import without_commentary
from .reply import Attempt, Reply
from .stream import (
    CitationDelta,
    Continued,
    Finished,
    FinishReason,
    LogprobsDelta,
    ReasoningDelta,
    ReasoningSeal,
    ResponseStarted,
    Restarted,
    StreamEvent,
    TextDelta,
    TokenLogprob,
    ToolCallDelta,
    Usage,
    UsageUpdate,
    Vectors,
    WholePart,
    WireEvent,
)


class ReplyBuilder:
    """Build the assistant message from events, with its parts in the order in which they began.

    Attributes:
        origin: The "provider/model" that answers now. It is written into the parts that only this model may get back.
            None: they have no origin.
        usage: The latest token counts.
        finish: The end of the answer. None: it has not arrived.
    """

    def __init__(self, origin: str | None = None) -> None:
        self.origin = origin
        self._blocks: list[_Block | Image | File | Opaque] = []
        self._calls: dict[int, _Block] = {}
        self._citations: list[CitationDelta] = []
        self._logprobs: list[TokenLogprob] = []
        self.usage = Usage()
        self.finish: Finished | None = None

    def add(self, event: WireEvent | StreamEvent) -> None:
        """Add the next `event`. A `Restarted` discards all events before it."""
        match event:
            case TextDelta(text, signature):
                self._add_text(text, signature, event.phase)
            case ReasoningDelta(text):
                self._block(Reasoning).pieces.append(text)
            case ReasoningSeal(signature, encrypted):
                self._seal(signature, encrypted)
            case ToolCallDelta():
                self._add_call(event)
            case WholePart(part):
                self._blocks.append(self._with_origin(part))
            case CitationDelta():
                self._citations.append(event)
            case LogprobsDelta(tokens):
                self._logprobs += tokens
            case UsageUpdate(usage):
                self.usage = usage
            case Finished():
                self.finish = event
            case Restarted():
                self._blocks.clear()
                self._calls.clear()
                self._citations.clear()
                self._logprobs.clear()
                self.usage, self.finish = Usage(), None
            case Continued() | Vectors() | ResponseStarted() | Failure():
                pass

    def add_all(self, events: Iterable[WireEvent | StreamEvent]) -> None:
        """Add `events` in order."""
        for event in events:
            self.add(event)

    def _block(self, kind: type[Text] | type[Reasoning], phase: Phase | None = None) -> _Block:
        last = self._blocks[-1] if self._blocks else None
        if not isinstance(last, _Block) or not last.continues(kind, phase):
            last = _Block(kind, [], origin=self.origin, phase=phase)
            self._blocks.append(last)
        return last

    def _add_text(self, text: str, signature: str | None, phase: Phase | None) -> None:
        """A piece with a signature is a part of its own: a signature does not hold for the text around it."""
        if signature is None:
            self._block(Text, phase).pieces.append(text)
        else:
            self._blocks.append(_Block(Text, [text], signature=signature, origin=self.origin, phase=phase))

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
        block.signature = delta.signature or block.signature
        block.pieces.append(delta.arguments)

    def _with_origin(self, part: Image | File | Opaque) -> Image | File | Opaque:
        if isinstance(part, File) or (isinstance(part, Image) and part.signature is None):
            return part
        return attrs.evolve(part, origin=self.origin)

    @property
    def text(self) -> str:
        """The text so far, without commentary if there is anything else."""
        return without_commentary(("".join(block.pieces), block.phase) for block in self._blocks_of(Text))

    @property
    def reasoning(self) -> str:
        """The reasoning so far."""
        return "".join(piece for block in self._blocks_of(Reasoning) for piece in block.pieces)

    def _blocks_of(self, kind: type[Text] | type[Reasoning]) -> Iterator[_Block]:
        return (block for block in self._blocks if isinstance(block, _Block) and block.key is kind)

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The tool calls so far. The last one may be incomplete."""
        return tuple(part for part in self._parts() if isinstance(part, ToolCall))

    @property
    def may_have_acted(self) -> bool:
        """True if the caller, or the provider, may have run a tool already, so that a new answer could run it twice.

        That is so after a complete tool call, and after a block of the provider's own tools. A free-form call has no
        end marker, and a call without arguments is complete when another part begins: both count as complete.
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
        """Return the assistant message, ready to be sent back in the history of a conversation."""
        return Message("assistant", self._parts())

    def _parts(self) -> tuple[Part, ...]:
        return tuple(self._part(block) for block in self._blocks)

    def _part(self, block: _Block | Image | File | Opaque) -> Part:
        if not isinstance(block, _Block):
            return block
        joined = "".join(block.pieces)
        if block.key is Text:
            return Text(joined, block.signature, block.origin if block.signature else None, phase=block.phase)
        if block.key is Reasoning:
            return Reasoning(joined, block.signature, block.encrypted, block.origin)
        origin = block.origin if block.signature else None
        complete = self._is_complete(joined, block.kind)
        return ToolCall(
            block.id or "", block.name or "", joined, block.signature, origin, block.kind, complete
        )

    def _is_complete(self, arguments: str, kind: ToolKind) -> bool:
        """JSON shows by itself that it is complete. For free text, and for no arguments, the finish shows it."""
        if kind == "custom" or not arguments.strip():
            return self.finish is not None and self.finish.reason is not FinishReason.LENGTH
        try:
            json.loads(arguments)
        except (ValueError, RecursionError):
            return False
        return True

    def reply(
        self,
        *,
        worker: str,
        provider: str,
        model: str,
        attempts: Sequence[Attempt],
        call: str | None = None,
        cost: float | None = None,
    ) -> Reply:
        """Return the answer so far. Without a `Finished` event its finish reason is OTHER.

        Args:
            worker: The name of the worker that served.
            provider: The name of its provider.
            model: The model that was requested.
            attempts: All attempts of the call.
            call: The id of the call.
            cost: US dollars of all attempts.
        """
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
            logprobs=tuple(self._logprobs),
            call=call,
            cost=cost,
        )


@attrs.define
class _Block:
    """A part of the answer while its pieces arrive. `key` is the kind of part, or the index of a tool call."""

    key: type[Text] | type[Reasoning] | int
    pieces: list[str]
    id: str | None = None
    name: str | None = None
    signature: str | None = None
    encrypted: str | None = None
    origin: str | None = None
    kind: ToolKind = "function"
    phase: Phase | None = None

    def continues(self, kind: type[Text] | type[Reasoning], phase: Phase | None) -> bool:
        """Whether more text of this kind belongs to the same part: a sealed part has ended."""
        return self.key is kind and self.phase == phase and not self.signature and not self.encrypted
