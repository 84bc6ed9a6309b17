"""Renders an answer as a response: named events with a growing `sequence_number`, and no `[DONE]`.

    response.created response.in_progress
    ( response.output_item.added  deltas of that item  response.output_item.done )*
    response.completed | response.incomplete | response.failed      the whole response

An answer that is not streamed is the response of the last event. Reasoning is shown as a summary, and only to a
client that asked for one. `openai` and `xai` change details.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from ...events import (
    CitationDelta,
    Finished,
    FinishReason,
    LogprobsDelta,
    ReasoningDelta,
    ReasoningSeal,
    Reply,
    StreamEvent,
    TextDelta,
    TokenLogprob,
    ToolCallDelta,
    Usage,
    UsageUpdate,
    WholePart,
)
from ...failures import FailureKind
from ...messages import File, Image, Opaque, Phase, Reasoning, Text, ToolCall
from ..held_calls import GrowingCall, HeldCalls
from ..own_fields import unpacked
from ..server import Frame, FrameKind, ParsedRequest, Preview
from ..writing import named_event
from .actions import NAMES
from .calls import OWN_FIELDS
from .growing import Growing, GrowingMessage, GrowingReasoning, image_item, opaque_item
from .parse import ResponseForm

Json = dict[str, Any]

INCOMPLETE: Mapping[FinishReason, str] = {
    FinishReason.LENGTH: "max_output_tokens",
    FinishReason.CONTENT_FILTER: "content_filter",
    FinishReason.PAUSE: "other",
    FinishReason.OTHER: "other",
}
"""Why an answer is incomplete; after any other finish it is completed."""


class ResponsesRenderer:
    """Renders one answer, streamed or whole."""

    whole_arguments: ClassVar[bool] = False
    """The arguments of a call come in one delta."""
    always_summary: ClassVar[bool] = False
    """Reasoning is shown to clients that did not ask for it."""

    def __init__(self, request: ParsedRequest, preview: Preview | None = None) -> None:
        self._request = request
        self._preview = preview or Preview()
        self._form = request.form if isinstance(request.form, ResponseForm) else ResponseForm()
        self._usage = self._preview.usage
        self._known_seal = self._preview.seal  # of the first block of reasoning
        self._id = f"resp_{request.identity.id}"
        self._number = 0  # of the next event
        self._begun = 0  # items begun so far
        self._output: dict[int, Json] = {}  # the items that ended, by their place
        self._open: Growing | None = None  # the reasoning or message that grows
        self._place = 0  # of what grows
        self._messages = 0
        self._early: list[CitationDelta] = []  # citations that came before their message
        self._logprobs: list[TokenLogprob] = []  # they wait for the text of their tokens
        self._calls = HeldCalls()
        self._call_places: dict[int, int] = {}  # index of a call -> place of its item

    # ---- the events

    def begin(self) -> list[Frame]:
        started = self.response()
        return [self._event(FrameKind.OPENING, name, response=started) for name in ("created", "in_progress")]

    def render(self, event: StreamEvent) -> list[Frame]:
        match event:
            case CitationDelta() if not isinstance(self._open, GrowingMessage):
                self._early.append(event)  # an annotation belongs to a message: the next one
                return []
            case LogprobsDelta(tokens):
                self._logprobs += tokens
                return []
            case TextDelta():
                frames = self._into(GrowingMessage, event.phase)
                self._give_logprobs()
            case CitationDelta():
                frames = []
            case ReasoningDelta():
                frames = self._into(GrowingReasoning)
            case ReasoningSeal():
                return self._seal(event)
            case ToolCallDelta():
                return self._call(event)
            case WholePart(File()):
                return []  # speech: its transcript is the text
            case WholePart(Image() | Opaque() as part):
                return [*self._close(), *self._whole(part)]
            case UsageUpdate(usage):
                self._usage = usage
                return []
            case Finished(reason):
                return self._finish(reason)
            case _:
                return []
        assert self._open is not None, "_into has opened it"
        return [*frames, *self._deltas(self._open.add(event))]

    def fail(self, kind: FailureKind, *, message: str | None = None, wait: float | None = None) -> bytes:
        raise NotImplementedError("each provider has a form of its own")

    def resume(self, response_id: str, number: int) -> None:
        """Go on in a stream whose events so far were rendered elsewhere.

        Args:
            response_id: The id of its response. Empty: unknown.
            number: The `sequence_number` of its last event.
        """
        self._id = response_id or self._id
        self._number = number + 1

    def reply(self, reply: Reply) -> Json:
        """Return the response of an answer that is not streamed."""
        for event in _events_of(reply):
            self.render(event)
        return self.response(Finished(reply.finish_reason))

    # ---- items

    def _give_logprobs(self) -> None:
        if self._logprobs and isinstance(self._open, GrowingMessage):
            self._open.note_logprobs(self._logprobs)
            self._logprobs = []

    def _into(self, kind: type[Growing], phase: Phase | None = None) -> list[Frame]:
        """Begin an item of this kind unless one is open; what is open ends. A message has one phase."""
        if isinstance(self._open, kind) and getattr(self._open, "phase", None) == phase:
            return []
        frames = self._close()
        self._open = self._new(kind, phase)
        added, self._place = self._added(self._open.item())
        frames += [added, *self._deltas(self._open.begin())]
        if kind is GrowingMessage:
            early, self._early = self._early, []
            frames += [frame for citation in early for frame in self._deltas(self._open.add(citation))]
        return frames

    def _new(self, kind: type[Growing], phase: Phase | None) -> Growing:
        identity = self._request.identity
        if kind is GrowingReasoning:
            shown = self._form.summary or self.always_summary
            known, self._known_seal = self._known_seal, None
            item_id = known.signature if known and known.signature else f"rs_{identity.id}_{self._begun}"
            encrypted = known.encrypted if known and self._form.encrypted else None
            return GrowingReasoning(item_id, encrypted, shown=shown)
        nth = f"_{self._messages}" if self._messages else ""
        self._messages += 1
        return GrowingMessage(f"msg_{identity.id}{nth}", refused=self._preview.refused, phase=phase)

    def _seal(self, seal: ReasoningSeal) -> list[Frame]:
        """What is encrypted goes with its reasoning; a seal of another API has no place here."""
        if not seal.encrypted:
            return self._close()
        frames = self._into(GrowingReasoning)
        assert isinstance(self._open, GrowingReasoning), "_into has opened it"
        if self._form.encrypted:
            self._open.encrypted = seal.encrypted
        return [*frames, *self._close()]

    def _call(self, event: ToolCallDelta) -> list[Frame]:
        call, is_new = self._calls.add(event)
        frames: list[Frame] = []
        if is_new and self._is_action(call):
            return [*self._end_calls(before=call), *self._close_open(), *self._action(call)]
        if is_new:
            frames += self._end_calls(before=call)
            frames += self._close_open()
            added, self._call_places[call.index] = self._added(self._call_item(call), FrameKind.CONTENT)
            frames.append(added)
        if event.arguments and not self.whole_arguments and not self._is_action(call):
            frames.append(self._call_event(FrameKind.CONTENT, call, "delta", delta=event.arguments))
        return frames

    def _end_calls(self, *, before: GrowingCall | None = None) -> list[Frame]:
        frames: list[Frame] = []
        for call in self._calls.take(before=before):
            if self._is_action(call):
                frames.append(self._done(self._call_places[call.index], unpacked(call.signature)))
                continue
            arguments = call.arguments
            if arguments and (self.whole_arguments or not call.pieces):
                frames.append(self._call_event(FrameKind.CONTENT, call, "delta", delta=arguments))
            field = "input" if call.kind == "custom" else "arguments"
            frames.append(self._call_event(FrameKind.OPENING, call, "done", **{field: arguments}))
            frames.append(self._done(self._call_places[call.index], self._call_item(call)))
        return frames

    def _call_event(self, kind: FrameKind, call: GrowingCall, name: str, **fields: Any) -> Frame:
        what = "custom_tool_call_input" if call.kind == "custom" else "function_call_arguments"
        at = {"item_id": self._call_id(call), "output_index": self._call_places[call.index]}
        return self._event(kind, f"{what}.{name}", **at, **fields)

    def _call_id(self, call: GrowingCall) -> str:
        return f"fc_{self._request.identity.id}_{call.index}"

    def _call_item(self, call: GrowingCall) -> Json:
        own = {"id": self._call_id(call), "type": "function_call", "status": "completed"}
        fields = unpacked(call.signature)
        also = {name: fields[name] for name in OWN_FIELDS if name in fields}
        named = {"call_id": call.id, "name": call.name, **also}
        if call.kind == "custom":
            return {**own, "type": "custom_tool_call", "input": call.arguments, **named}
        return {**own, "arguments": call.arguments, **named}

    def _is_action(self, call: GrowingCall) -> bool:
        return unpacked(call.signature).get("type") in NAMES

    def _action(self, call: GrowingCall) -> list[Frame]:
        """A call of a tool of the server's own, which the client answers: its item comes whole, as it was."""
        item = unpacked(call.signature)
        added, place = self._added(item, FrameKind.CONTENT)
        self._call_places[call.index] = place
        return [added]

    def _whole(self, part: Image | Opaque) -> list[Frame]:
        suffix = f"{self._form.turn}_{self._begun}"
        item = opaque_item(part, suffix) if isinstance(part, Opaque) else image_item(part, suffix)
        added, place = self._added(item)
        return [added, self._done(place, item, FrameKind.CONTENT)]

    def _added(self, item: Json, kind: FrameKind = FrameKind.OPENING) -> tuple[Frame, int]:
        place = self._begun
        self._begun += 1
        return self._event(kind, "output_item.added", item=_unfilled(item), output_index=place), place

    def _done(self, place: int, item: Json, kind: FrameKind = FrameKind.OPENING) -> Frame:
        self._output[place] = item
        return self._event(kind, "output_item.done", item=item, output_index=place)

    def _close(self) -> list[Frame]:
        """End what is open: all calls, and a reasoning or a message."""
        return [*self._end_calls(), *self._close_open()]

    def _close_open(self) -> list[Frame]:
        if self._open is None:
            return []
        self._give_logprobs()
        grown, self._open = self._open, None
        at = {"item_id": grown.id, "output_index": self._place}
        frames = [self._event(kind, name, **at, **fields) for kind, name, fields in grown.end()]
        return [*frames, self._done(self._place, grown.item())]

    def _deltas(self, pieces: Iterator[tuple[FrameKind, str, Json]]) -> list[Frame]:
        assert self._open is not None, "its pieces are rendered while it grows"
        at = {"item_id": self._open.id, "output_index": self._place}
        return [self._event(kind, name, **at, **fields) for kind, name, fields in pieces]

    # ---- the response

    def _finish(self, reason: FinishReason) -> list[Frame]:
        frames = self._close()
        if not self._begun:  # an empty answer is a message all the same
            frames += self._into(GrowingMessage)
            frames += self._close()
        response = self.response(Finished(reason))
        return [*frames, self._event(FrameKind.FINISH, response["status"], response=response)]

    def response(self, finish: Finished | None = None, *, error: Mapping[str, Any] | None = None) -> Json:
        """Return the response as it is now: in progress, finished, or failed with `error`."""
        reason = INCOMPLETE.get(finish.reason) if finish else None
        ended = "failed" if error else "in_progress" if finish is None else "completed"
        return {
            "id": self._id,
            "object": "response",
            "created_at": self._request.identity.created,
            "status": "incomplete" if reason else ended,
            "error": error,
            "incomplete_details": {"reason": reason} if reason else None,
            "model": self._request.model,
            **self._form.echoed,
            "output": [self._output[place] for place in sorted(self._output)],
            "usage": _usage(self._usage) if finish else None,
        }

    def _event(self, kind: FrameKind, name: str, **fields: Any) -> Frame:
        if self._form.obfuscated and name.endswith(".delta"):
            fields |= self._padding(fields)
        return Frame(kind, named_event(self._numbered(f"response.{name}", fields)))

    def _numbered(self, type: str, fields: Mapping[str, Any]) -> Json:
        event = {"type": type, "sequence_number": self._number, **fields}
        self._number += 1
        return event

    def _padding(self, fields: Mapping[str, Any]) -> Json:
        return {}


def _events_of(reply: Reply) -> Iterator[StreamEvent]:
    """The events that a whole answer would have been streamed as."""
    calls = 0
    citations: list[CitationDelta] = list(reply.citations)
    yield LogprobsDelta(reply.logprobs)  # they wait for the first text
    for part in reply.message.parts:
        match part:
            case Text(text):
                yield TextDelta(text, phase=part.phase)
                yield from citations
                citations = []
            case Reasoning(text, signature, encrypted):
                if text:
                    yield ReasoningDelta(text)
                if signature or encrypted:
                    yield ReasoningSeal(signature, encrypted)
            case ToolCall():
                yield ToolCallDelta(calls, part.arguments, part.id, part.name, part.signature, part.kind)
                calls += 1
            case Image() | Opaque():
                yield WholePart(part)
            case _:
                pass
    yield UsageUpdate(reply.usage)
    yield Finished(reply.finish_reason)


def _unfilled(item: Json) -> Json:
    """An item as it is announced: its kind and names, nothing of its content."""
    begun = {"status": "in_progress"} if "status" in item else {}
    empty: Json = {"content": [], "summary": [], "arguments": "", "input": "", "result": None}
    return {name: empty.get(name, value) for name, value in item.items()} | begun


def _usage(usage: Usage) -> Json:
    return {
        "input_tokens": usage.input_tokens or 0,
        "input_tokens_details": {"cached_tokens": usage.cached_input_tokens or 0},
        "output_tokens": usage.output_tokens or 0,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens or 0},
        "total_tokens": usage.total_tokens or 0,
    }
