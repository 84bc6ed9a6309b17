"""Decodes the content blocks of an answer, one class for each kind: its start, its deltas and its end.

Blocks come in deltas (a stream) or whole in their start (an answer that is not streamed), so every field is read in
both places. Knows no stream around it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...events import (
    CitationDelta,
    ReasoningDelta,
    ReasoningSeal,
    TextDelta,
    ToolCallDelta,
    WholePart,
    WireEvent,
)
from ..codec import EVENT_LIMIT, compact
from ..payload import (
    Malformed,
    arguments_text,
    as_count,
    as_list,
    as_object,
    as_text,
    load_object,
    opaque,
    text_events,
)
from .values import CITATIONS

Json = Mapping[str, Any]


class Block:
    """A block without content, such as one without a type; the base of all others."""

    def open(self, content: Json) -> list[WireEvent]:
        """`content_block_start`."""
        return []

    def grow(self, delta: Json) -> list[WireEvent]:
        """`content_block_delta`; deltas the kind does not know are skipped."""
        return []

    def close(self) -> list[WireEvent]:
        """`content_block_stop`, or the end of the message."""
        return []


class TextBlock(Block):
    """A text. Citations with an `encrypted_index` must go back on it: they are one opaque part, at its end."""

    def __init__(self) -> None:
        self._characters = 0
        self._citations: list[Json] = []
        self._size = 0

    def open(self, content: Json) -> list[WireEvent]:
        events = [self._cite(citation) for citation in as_list(content.get("citations"), "citations")]
        return [*events, *self._text(content.get("text"), "text")]

    def grow(self, delta: Json) -> list[WireEvent]:
        match delta.get("type"):
            case "text_delta":
                return self._text(delta.get("text"), "text_delta.text")
            case "citations_delta":
                return [self._cite(delta.get("citation"))]
            case _:
                return []

    def close(self) -> list[WireEvent]:
        if not self._citations or not self._characters:
            return []
        cited = {"characters": self._characters, "citations": self._citations}
        return [WholePart(opaque(CITATIONS, cited))]

    def _text(self, value: object, what: str) -> list[WireEvent]:
        self._characters += len(value) if isinstance(value, str) else 0
        return text_events(TextDelta, value, what)

    def _cite(self, value: object) -> CitationDelta:
        event = _citation(value)
        citation = as_object(value, "a citation")
        if isinstance(index := citation.get("encrypted_index"), str) and index:
            self._citations.append(citation)
            self._size += len(index) + len(event.text)
            if self._size > EVENT_LIMIT:
                raise Malformed(f"citations of more than {EVENT_LIMIT:,} characters")
        return event


class ThinkingBlock(Block):
    """Sealed at its end: the signature comes last, and the thinking itself may be left out."""

    def __init__(self) -> None:
        self._signature = ""

    def open(self, content: Json) -> list[WireEvent]:
        self._signature = as_text(content.get("signature"), "signature")
        return text_events(ReasoningDelta, content.get("thinking"), "thinking")

    def grow(self, delta: Json) -> list[WireEvent]:
        match delta.get("type"):
            case "thinking_delta":
                return text_events(ReasoningDelta, delta.get("thinking"), "thinking_delta.thinking")
            case "signature_delta":
                self._signature = as_text(delta.get("signature"), "signature_delta.signature")
        return []

    def close(self) -> list[WireEvent]:
        return [ReasoningSeal(signature=self._signature)] if self._signature else []


class RedactedThinkingBlock(Block):
    """Encrypted reasoning, which comes whole in the start."""

    def open(self, content: Json) -> list[WireEvent]:
        data = as_text(content.get("data"), "redacted_thinking.data")
        return [ReasoningSeal(encrypted=data)] if data else []


class ToolUseBlock(Block):
    """The answer's call number `index`.

    `input` begins as an empty object and then comes as text. Where no text comes, `input` is complete.
    """

    def __init__(self, index: int) -> None:
        self.id = ""
        self._index = index
        self._input: object = None
        self._came_as_text = False

    def open(self, content: Json) -> list[WireEvent]:
        self._input = content.get("input")
        self.id = as_text(content.get("id"), "tool_use.id")
        name = as_text(content.get("name"), "tool_use.name")
        if not name:
            raise Malformed("a tool_use block without a name")
        caller = content.get("caller")
        by_code = isinstance(caller, dict) and caller.get("type") != "direct"
        called_by = compact(caller) if by_code else None  # must go back with the call
        return [ToolCallDelta(self._index, "", self.id or f"call_{self._index}", name, called_by)]

    def grow(self, delta: Json) -> list[WireEvent]:
        if delta.get("type") != "input_json_delta":
            return []
        fragment = as_text(delta.get("partial_json"), "input_json_delta.partial_json")
        if not fragment:
            return []
        self._came_as_text = True
        return [ToolCallDelta(self._index, fragment)]

    def close(self) -> list[WireEvent]:
        return [] if self._came_as_text else [ToolCallDelta(self._index, arguments_text(self._input))]


class OpaqueBlock(Block):
    """A call of the server's own tool or its result, or a kind unknown to us: one part, at its end.

    It comes whole, except for the `input` of a call and the content of a compaction. A block with other deltas, or a
    call whose input was cut, cannot go back as it was: those are skipped.
    """

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._content: dict[str, Any] = {}
        self._input: list[str] = []
        self._size = 0
        self._understood = True

    def open(self, content: Json) -> list[WireEvent]:
        self._content = dict(content)
        return []

    def grow(self, delta: Json) -> list[WireEvent]:
        match delta:
            case {"type": "input_json_delta", "partial_json": fragment}:
                self._input.append(as_text(fragment, "input_json_delta.partial_json"))
                self._size += len(self._input[-1])
                if self._size > EVENT_LIMIT:
                    raise Malformed(f"a server tool's input of more than {EVENT_LIMIT:,} characters")
            case {"type": "compaction_delta", **fields}:
                self._content.update(fields)
            case _:
                self._understood = False
        return []

    def close(self) -> list[WireEvent]:
        given = "".join(self._input)
        try:
            whole = {**self._content, "input": load_object(given)} if given else self._content
        except Malformed:
            return []
        return [WholePart(opaque(self._kind, whole))] if self._understood else []


BLOCKS: Mapping[str, type[Block]] = {
    "text": TextBlock,
    "thinking": ThinkingBlock,
    "redacted_thinking": RedactedThinkingBlock,
}
"""Kinds that need nothing but their content; a ToolUseBlock takes its number, an OpaqueBlock its kind."""


UNANNOUNCED: Mapping[str, str] = {
    "text_delta": "text",
    "thinking_delta": "thinking",
    "signature_delta": "thinking",
}
"""Deltas that imply the kind of their block, for gateways that leave out its start. A call has its name there."""


def _citation(value: object) -> CitationDelta:
    """`start` and `end` are characters of the cited document; pages, blocks and search results have none."""
    citation = as_object(value, "a citation")
    in_characters = citation.get("type") == "char_location"
    names = (citation.get(field) for field in ("url", "source", "document_title", "title"))
    source = next((name for name in names if isinstance(name, str) and name), None)
    return CitationDelta(
        as_count(citation.get("start_char_index")) if in_characters else None,
        as_count(citation.get("end_char_index")) if in_characters else None,
        as_text(citation.get("cited_text"), "cited_text"),
        (source or f"document {as_count(citation.get('document_index')) or 0}",),
    )
