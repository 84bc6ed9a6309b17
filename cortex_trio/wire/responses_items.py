"""The output items of a Responses answer, one class for each kind: what its start, its pieces and its end mean.

Items may come in pieces (a stream) or whole in their end (an answer that was not streamed, or a server that skips
the pieces), so whatever no piece said is read there. Knows no stream around it.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from ..events import (
    CitationDelta,
    ReasoningDelta,
    ReasoningSeal,
    TextDelta,
    ToolCallDelta,
    WholePart,
    WireEvent,
)
from ..messages import Image
from .payload import (
    Malformed,
    arguments_text,
    as_count,
    as_list,
    as_object,
    as_text,
    opaque,
    require_open,
    text_events,
)

Json = Mapping[str, Any]

BETWEEN_PARTS = "\n\n"
"""What stands between two parts of one summary; the wire sends none, and `responses_encode` takes it off again."""


class Item:
    """A kind with no form of ours, such as a search the server ran itself: kept whole, for its provider."""

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


class MessageItem(Item):
    """What the model says, or why it says nothing: refusals are text of their own kind.

    `before`: characters the answer had said when this began, for a citation counts from the start of its part.
    """

    def __init__(self, before: int) -> None:
        self.refused = False
        self.length = 0
        self._before = before
        self._begins: dict[int, int] = {}  # where the content parts of which something came begin
        self._cited: dict[int, int] = {}  # citations that came, by content part

    def grow(self, kind: str, payload: Json) -> list[WireEvent]:
        part = _part(payload, "content_index")
        match kind:
            case "response.output_text.delta" | "response.refusal.delta":
                self.refused = self.refused or kind == "response.refusal.delta"
                return self._say(part, payload.get("delta"), "delta")
            case "response.output_text.annotation.added":
                self._cited[part] = self._cited.get(part, 0) + 1
                require_open(len(self._cited), "content parts")
                return self._cite(part, [payload.get("annotation")])
            case _:
                return []

    def close(self, item: Json) -> list[WireEvent]:
        events: list[WireEvent] = []
        for index, content in enumerate(as_list(item.get("content"), "content")):
            part = as_object(content, "a content part")
            refusal = part.get("type") == "refusal"
            self.refused = self.refused or refusal
            if index not in self._begins:
                events += self._say(index, part.get("refusal" if refusal else "text"), "a content part")
            annotations = as_list(part.get("annotations"), "annotations")
            events += self._cite(index, annotations[self._cited.get(index, 0) :])
        return events

    def _say(self, part: int, text: object, what: str) -> list[WireEvent]:
        events = text_events(TextDelta, text, what)
        self._begins.setdefault(part, self._before + self.length)
        require_open(len(self._begins), "content parts")
        self.length += len(as_text(text, what))
        return events

    def _cite(self, part: int, annotations: list[Any]) -> list[WireEvent]:
        return _citations(annotations, self._begins.get(part, self._before + self.length))


class ReasoningItem(Item):
    """A summary of the thoughts in one part or several, in an open model the thoughts themselves; and all of them
    encrypted, which is what goes back.

    Each part is one block of reasoning, closed by the item's id, so that they go back as the parts they were.
    """

    def __init__(self) -> None:
        self._id = ""
        self._last: tuple[str, int] | None = None  # the part that is growing
        self._said: set[tuple[str, int]] = set()

    def open(self, item: Json) -> list[WireEvent]:
        self._id = as_text(item.get("id"), "id")
        return []

    def grow(self, kind: str, payload: Json) -> list[WireEvent]:
        match kind:
            case "response.reasoning_summary_text.delta":
                return self._say("summary", _part(payload, "summary_index"), payload.get("delta"))
            case "response.reasoning_text.delta":
                return self._say("content", _part(payload, "content_index"), payload.get("delta"))
            case _:
                return []

    def close(self, item: Json) -> list[WireEvent]:
        self._id = as_text(item.get("id"), "id") or self._id
        events: list[WireEvent] = []
        came = {field for field, _ in self._said}  # in pieces; the other form would only repeat it
        for field in ("summary", "content") if not came else sorted(came):
            for index, part in enumerate(as_list(item.get(field), field)):
                if (field, index) not in self._said:
                    events += self._say(field, index, as_object(part, "a part of the reasoning").get("text"))
        if encrypted := as_text(item.get("encrypted_content"), "encrypted_content"):
            events.append(ReasoningSeal(self._id or None, encrypted))
        return events

    def _say(self, field: str, index: int, delta: object) -> list[WireEvent]:
        text = as_text(delta, "delta")
        if not text:
            return []
        events: list[WireEvent] = []
        part = field, index
        if self._last not in (None, part):
            events += [ReasoningSeal(self._id)] if self._id else []
            text = BETWEEN_PARTS + text
        self._last = part
        self._said.add(part)
        require_open(len(self._said), "parts of the reasoning")
        return [*events, ReasoningDelta(text)]


class FunctionCallItem(Item):
    """The answer's call number `index`. Results name it by `call_id`; the item's own id is of no use to anybody."""

    def __init__(self, index: int) -> None:
        self._index = index
        self._came = False  # anything of the arguments

    def open(self, item: Json) -> list[WireEvent]:
        call_id = as_text(item.get("call_id"), "call_id") or as_text(item.get("id"), "id")
        name = as_text(item.get("name"), "name")
        if not name:
            raise Malformed("a function_call without a name")
        arguments = _arguments(item)
        self._came = bool(arguments)
        return [ToolCallDelta(self._index, arguments, call_id or f"call_{self._index}", name)]

    def grow(self, kind: str, payload: Json) -> list[WireEvent]:
        if kind != "response.function_call_arguments.delta":
            return []
        fragment = as_text(payload.get("delta"), "delta")
        self._came = self._came or bool(fragment)
        return [ToolCallDelta(self._index, fragment)] if fragment else []

    def close(self, item: Json) -> list[WireEvent]:
        arguments = "" if self._came else _arguments(item)
        return [ToolCallDelta(self._index, arguments)] if arguments else []


class ImageItem(Item):
    """An image the server made. What else the item says is the image's signature: with it, it goes back as an item."""

    def close(self, item: Json) -> list[WireEvent]:
        kind = as_text(item.get("output_format"), "output_format") or "png"
        rest = {name: value for name, value in item.items() if name != "result"}
        try:
            made = base64.b64decode(as_text(item.get("result"), "result"), validate=True)
        except ValueError:
            raise Malformed("an image that is no base64") from None
        if not made:
            return super().close(item)
        return [WholePart(Image(data=made, media_type=f"image/{kind}", signature=opaque("image", rest).data))]


KINDS: Mapping[str, type[Item]] = {
    "reasoning": ReasoningItem,
    "image_generation_call": ImageItem,
}
"""Kinds that need nothing but their content; a FunctionCallItem is told its number, a MessageItem where it begins."""

DELTAS = (
    "response.output_text.delta",
    "response.output_text.annotation.added",
    "response.refusal.delta",
    "response.reasoning_summary_text.delta",
    "response.reasoning_text.delta",
    "response.function_call_arguments.delta",
)
"""The event types that make an item grow. Their `.done` twins repeat what came, and are skipped."""


def _part(payload: Json, name: str) -> int:
    """Which part of its item an event is about; the first where a server with one part leaves that out."""
    return as_count(payload.get(name)) or 0


def _arguments(item: Json) -> str:
    arguments = item.get("arguments")
    if isinstance(arguments, str):
        return arguments
    return "" if arguments is None else arguments_text(arguments)


def _citations(annotations: list[Any], begin: int) -> list[WireEvent]:
    """Pages and files an answer rests on. A page is cited by a range of the text, a file at one place of it.

    `begin`: characters of the answer before the text that the ranges count in.
    """
    events: list[WireEvent] = []
    for item in annotations:
        annotation = as_object(item, "an annotation")
        names = (annotation.get(field) for field in ("url", "filename", "file_id"))
        if source := next((name for name in names if isinstance(name, str) and name), None):
            places = (as_count(annotation.get(field)) for field in ("start_index", "end_index"))
            start, end = (None if place is None else begin + place for place in places)
            events.append(CitationDelta(start, end, "", (source,)))
    return events
