"""Decodes the output items of an answer, one class for each kind: its start, its deltas and its end.

Items come in deltas (a stream) or whole in their end (an answer that is not streamed, or a server that sends no
deltas). So the end is read for all that no delta had. Knows no stream around it.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any, get_args

from ...events import (
    CitationDelta,
    ReasoningDelta,
    ReasoningSeal,
    TextDelta,
    TokenLogprob,
    WholePart,
    WireEvent,
)
from ...messages import Image, Phase
from ..logprobs import logprob_events, read_tokens
from ..payload import Malformed, as_count, as_list, as_object, as_text, opaque, require_open
from .parts import StreamedParts

Json = Mapping[str, Any]

PHASES: tuple[Phase, ...] = get_args(Phase)

BETWEEN_PARTS = "\n\n"
"""Put between two parts of one summary, where the API has nothing; `encode` and `render` remove it again."""


class Item:
    """A kind without a value of ours, such as a search the server ran itself: kept whole, for its provider."""

    def open(self, item: Json) -> list[WireEvent]:
        """`response.output_item.added`."""
        return []

    def grow(self, kind: str, payload: Json) -> list[WireEvent]:
        """A delta of the event type `kind`; those the item does not know are skipped."""
        return []

    def close(self, item: Json) -> list[WireEvent]:
        """`response.output_item.done`, or the end of the answer; `item` is all of it."""
        kind = as_text(item.get("type"), "an item's type")
        if not kind:
            raise Malformed("an item without a type")
        return [WholePart(opaque(kind, item))]

    def grow_on(self, kind: str, payload: Json) -> list[WireEvent]:
        """Return the events of a delta after the item's end: for most kinds it only repeats something."""
        return []

    def complete(self, item: Json) -> list[WireEvent]:
        """Return what the last event of the stream adds to an item that has ended."""
        return []


class MessageItem(Item):
    """A message of the model: text, or a refusal, which is text of a kind of its own.

    `before`: characters of text in the answer before this message: a citation counts from the start of its part.

    Some gateways end a message after its first delta and go on, so deltas after the end count as well, unless they
    repeat text that the end had before its deltas.

    A commentary is no part of the answer's text: it does not count, and its citations have no place.
    """

    def __init__(self, before: int) -> None:
        self.refused = False
        self.length = 0
        self._phase: Phase | None = None
        self._before = before
        self._streamed = StreamedParts()
        self._begins: dict[int, int] = {}  # where the content parts of which something came begin
        self._cited: dict[int, int] = {}  # citations that came, by content part
        self._ahead = ""  # text of the end that no delta has repeated yet
        self._logprobs = 0  # tokens whose log probabilities came

    def open(self, item: Json) -> list[WireEvent]:
        phase = item.get("phase")
        if phase in PHASES:
            self._phase = phase
        return []

    def grow(self, kind: str, payload: Json) -> list[WireEvent]:
        part = _part(payload, "content_index")
        match kind:
            case "response.output_text.delta" | "response.refusal.delta":
                self.refused = self.refused or kind == "response.refusal.delta"
                events = self._add(part, as_text(payload.get("delta"), "delta"))
                if logprobs := payload.get("logprobs"):
                    events = [*self._add_logprobs(read_tokens(logprobs)), *events]
                return events
            case "response.output_text.annotation.added":
                self._cited[part] = self._cited.get(part, 0) + 1
                require_open(len(self._cited), "content parts")
                begin = self._begins.get(part, self._before + self.length)
                return self._citations([payload.get("annotation")], begin)
            case _:
                return []

    def _citations(self, annotations: list[Any], begin: int) -> list[WireEvent]:
        return _citations(annotations, None if self._phase == "commentary" else begin)

    def close(self, item: Json) -> list[WireEvent]:
        if not self._streamed.any:
            self.open(item)
        parts = _parts(item)
        texts = [_text_of(part) for part in parts]
        self.refused = self.refused or any(part.get("type") == "refusal" for part in parts)
        missing = self._streamed.missing(texts)
        self._ahead = "".join(missing)
        cited = self._cited_before([len(as_list(part.get("annotations"), "annotations")) for part in parts])
        events = self._missing_logprobs(parts)
        begin = self._before
        for place, part in enumerate(parts):
            events += self._add(place, missing[place])
            annotations = as_list(part.get("annotations"), "annotations")
            events += self._citations(annotations[cited[place] :], begin)
            begin += len(texts[place])
        return events

    def grow_on(self, kind: str, payload: Json) -> list[WireEvent]:
        if kind == "response.output_text.annotation.added":
            return []
        text = as_text(payload.get("delta"), "delta")
        if self._ahead and not text.startswith(self._ahead):
            self._ahead = self._ahead.removeprefix(text)
            return []
        text, self._ahead = text[len(self._ahead) :], ""
        return self._add(_part(payload, "content_index"), text)

    def complete(self, item: Json) -> list[WireEvent]:
        parts = _parts(item)
        texts = [_text_of(part) for part in parts]
        whole, said = "".join(texts), self._streamed.text
        events = self._missing_logprobs(parts)
        return [*events, *self._add(len(texts) - 1, whole[len(said) :])] if whole.startswith(said) else events

    def _add_logprobs(self, tokens: Iterable[TokenLogprob]) -> list[WireEvent]:
        found = tuple(tokens)
        self._logprobs += len(found)
        return logprob_events(found)

    def _missing_logprobs(self, parts: list[dict[str, Any]]) -> list[WireEvent]:
        """The end repeats the log probabilities of the deltas, or is the first to have them."""
        tokens = (token for part in parts for token in read_tokens(part.get("logprobs")))
        return self._add_logprobs(islice(tokens, self._logprobs, None))

    def _add(self, part: int, text: str) -> list[WireEvent]:
        if not text:
            return []
        self._begins.setdefault(part, self._before + self.length)
        self._streamed.add(part, text)
        self.length += 0 if self._phase == "commentary" else len(text)
        return [TextDelta(text, phase=self._phase)]

    def _cited_before(self, counts: list[int]) -> list[int]:
        """Return how many citations of each part came before: by its number, or in order where the numbers differ."""
        if all(number < len(counts) for number in self._cited):
            return [self._cited.get(place, 0) for place in range(len(counts))]
        left, found = sum(self._cited.values()), []
        for count in counts:
            found.append(min(left, count))
            left -= found[-1]
        return found


class ReasoningItem(Item):
    """Reasoning: a summary in one part or several, or the reasoning itself (open models); and its encrypted form,
    which goes back.

    Each part is one block of reasoning, sealed with the id of the item, so that they go back as the same parts.
    """

    def __init__(self) -> None:
        self._id = ""
        self._last: tuple[str, int] | None = None  # the part that is growing
        self._streamed = {"summary": StreamedParts(), "content": StreamedParts()}

    def open(self, item: Json) -> list[WireEvent]:
        self._id = as_text(item.get("id"), "id")
        return []

    def grow(self, kind: str, payload: Json) -> list[WireEvent]:
        match kind:
            case "response.reasoning_summary_text.delta" | "response.reasoning_summary.delta":
                return self._add("summary", _part(payload, "summary_index"), payload.get("delta"))
            case "response.reasoning_text.delta" | "response.reasoning.delta":
                return self._add("content", _part(payload, "content_index"), payload.get("delta"))
            case _:
                return []

    def close(self, item: Json) -> list[WireEvent]:
        self._id = as_text(item.get("id"), "id") or self._id
        events: list[WireEvent] = []
        # One form of the reasoning came in deltas; the other would only repeat it.
        came = [field for field, parts in self._streamed.items() if parts.any]
        for field in came or self._streamed:
            parts = [as_object(part, "a part of the reasoning") for part in as_list(item.get(field), field)]
            texts = [as_text(part.get("text"), "a part of the reasoning") for part in parts]
            for place, missing in enumerate(self._streamed[field].missing(texts)):
                events += self._add(field, place, missing)
        if encrypted := as_text(item.get("encrypted_content"), "encrypted_content"):
            events.append(ReasoningSeal(self._id or None, encrypted))
        return events

    def _add(self, field: str, index: int, delta: object) -> list[WireEvent]:
        text = as_text(delta, "delta")
        if not text:
            return []
        events: list[WireEvent] = []
        self._streamed[field].add(index, text)
        part = field, index
        if self._last not in (None, part):
            events += [ReasoningSeal(self._id)] if self._id else []
            text = BETWEEN_PARTS + text
        self._last = part
        return [*events, ReasoningDelta(text)]


class ImageItem(Item):
    """An image the server made. The other fields of the item are its signature: with it, it goes back as an item."""

    def close(self, item: Json) -> list[WireEvent]:
        kind = as_text(item.get("output_format"), "output_format") or "png"
        others = {name: value for name, value in item.items() if name != "result"}
        try:
            made = base64.b64decode(as_text(item.get("result"), "result"), validate=True)
        except ValueError:
            raise Malformed("an image that is not base64") from None
        if not made:
            return super().close(item)
        return [
            WholePart(Image(data=made, media_type=f"image/{kind}", signature=opaque("image", others).data))
        ]


KINDS: Mapping[str, type[Item]] = {
    "reasoning": ReasoningItem,
    "image_generation_call": ImageItem,
}
"""Kinds that need nothing but their content; a call takes its number, a MessageItem where it begins."""

DELTAS: Mapping[str, str] = {
    "response.output_text.delta": "message",
    "response.output_text.annotation.added": "message",
    "response.refusal.delta": "message",
    "response.reasoning_summary_text.delta": "reasoning",
    "response.reasoning_summary.delta": "reasoning",  # servers that follow an early draft, as the next
    "response.reasoning_text.delta": "reasoning",
    "response.reasoning.delta": "reasoning",
    "response.function_call_arguments.delta": "function_call",
    "response.custom_tool_call_input.delta": "custom_tool_call",
}
"""The event types that make an item grow, and the kind of that item. Their `.done` events repeat what came, and are
skipped."""


def _part(payload: Json, name: str) -> int:
    """Which part of its item an event is about; the first where a server with one part leaves that out."""
    return as_count(payload.get(name)) or 0


def _parts(item: Json) -> list[dict[str, Any]]:
    """The content parts of a message, whose content may be its text."""
    content = item.get("content")
    content = [{"text": content}] if isinstance(content, str) else as_list(content, "content")
    return [as_object(part, "a content part") for part in content]


def _text_of(part: Json) -> str:
    return as_text(part.get("refusal" if part.get("type") == "refusal" else "text"), "a content part")


def _citations(annotations: list[Any], begin: int | None) -> list[WireEvent]:
    """Pages and files an answer rests on. A page is cited by a range of the text, a file at one place of it.

    `begin`: characters of the answer before the text that the ranges count in; None: that text is no part of it.
    """
    events: list[WireEvent] = []
    for item in annotations:
        annotation = as_object(item, "an annotation")
        names = (annotation.get(field) for field in ("url", "filename", "file_id"))
        if source := next((name for name in names if isinstance(name, str) and name), None):
            places = (as_count(annotation.get(field)) for field in ("start_index", "end_index"))
            start, end = (None if place is None or begin is None else begin + place for place in places)
            events.append(CitationDelta(start, end, "", (source,)))
    return events
