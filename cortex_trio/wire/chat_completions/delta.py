"""Decodes one delta of a chat completion: content, refusals, reasoning, tool calls, images, citations.

    delta = { content?, refusal?, reasoning? | reasoning_content? | reasoning_details? …, tool_calls?, images?,
              function_call?, audio?, annotations?, executed_tools? }

Any field may be missing, null or empty. The `message` of an answer that is not streamed has the same fields and is
read as its only delta. Knows no framing and no end of stream.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...events import CitationDelta, ReasoningDelta, TextDelta, WholePart, WireEvent
from ...failures import InvalidRequest
from ...intake import image_from
from ..content import THOUGHTS, is_part, object_text, thoughts
from ..payload import Malformed, as_count, as_list, as_object, as_text
from .calls import ToolCalls
from .message_fields import MessageFields

Json = dict[str, Any]

REASONING_FIELDS = (
    "reasoning",  # Groq, OpenRouter, newer vLLM
    "reasoning_content",  # xAI, DeepSeek, llama.cpp, older vLLM
    "reasoning_text",  # GitHub Copilot
    "thinking",  # Ollama's compatible endpoint, gateways in front of Anthropic
    "reasoning_details",  # OpenRouter
    "thinking_blocks",  # LiteLLM
)
"""A server that sends two of them repeats itself: the first that is not empty counts."""


class DeltaReader:
    """Reads the deltas of one choice. Raises Malformed where a field has another type than it can have."""

    def __init__(self) -> None:
        self.refused = False
        self.has_content = False  # text, or an image
        self.calls = ToolCalls()
        self._fields = MessageFields()
        self._pages: set[str] = set()  # found by searches of the server's own

    @property
    def is_answer(self) -> bool:
        """Whether what came is complete as an answer: text, or calls none of which is cut."""
        return (self.has_content or self.calls.any) and self.calls.all_whole

    def read(self, delta: Json, events: list[WireEvent], *, whole: bool = False) -> None:
        """Take one delta. `whole`: it is the message of an answer that was not streamed."""
        content = delta.get("content")
        if len(delta) == 1 and type(content) is str:  # nearly every delta there is
            if content:
                self._add_text(content, events)
            return
        self._read_reasoning(delta, events)
        self._fields.read(delta)
        if content:
            self._read_content(content, events)
        if refusal := delta.get("refusal"):
            self._add_text(as_text(refusal, "refusal"), events)
            self.refused = True
        # Speech comes in place of content: its transcript is the text.
        if isinstance(audio := delta.get("audio"), dict) and (transcript := audio.get("transcript")):
            self._add_text(as_text(transcript, "transcript"), events)
        calls = as_list(delta.get("tool_calls"), "tool_calls")
        if not calls and (function := delta.get("function_call")):  # the form of 2023, of one call
            calls = [{"index": 0, "function": function}]
        if calls:
            read = self.calls.read_whole if whole else self.calls.read
            read(calls, events)
        for image in as_list(delta.get("images"), "images"):
            self._add_image(as_object(image, "an image"), events)
        for annotation in as_list(delta.get("annotations"), "annotations"):
            events += _annotation(as_object(annotation, "an annotation"))
        for tool in as_list(delta.get("executed_tools"), "executed_tools"):
            self._read_search(as_object(tool, "an executed tool"), events)

    def close(self, events: list[WireEvent]) -> None:
        """Add what is complete only at the end of the answer: its last calls, its speech, what goes back with it."""
        self.calls.close(events)
        events += self._fields.close()

    def read_pages(self, pages: object, events: list[WireEvent]) -> None:
        """Add the pages that support the answer as a whole, each of them once; what is not an address is skipped."""
        urls = pages if isinstance(pages, list) else []
        new = tuple(
            dict.fromkeys(url for url in urls if url and isinstance(url, str) and url not in self._pages)
        )
        if new:
            self._pages.update(new)
            events.append(CitationDelta(None, None, "", new))

    def _add_text(self, text: str, events: list[WireEvent]) -> None:
        if not text:
            return
        self.has_content = True
        if self.calls.holding:  # what came first is emitted first
            self.calls.release(events)
        events.append(TextDelta(text))

    def _add_reasoning(self, value: object, events: list[WireEvent]) -> bool:
        pieces = list(thoughts(value))
        if pieces and self.calls.holding:
            self.calls.release(events)
        events += map(ReasoningDelta, pieces)
        return bool(pieces)

    def _add_image(self, image: Json, events: list[WireEvent]) -> None:
        self.has_content = True
        events.append(_image(image))

    def _read_reasoning(self, delta: Json, events: list[WireEvent]) -> None:
        for name in REASONING_FIELDS:
            if (value := delta.get(name)) and self._add_reasoning(value, events):
                return

    def _read_content(self, content: object, events: list[WireEvent]) -> None:
        match content:
            case str():
                self._add_text(content, events)
            case dict() if not is_part(content):
                self._add_text(object_text(content, "content"), events)
            case dict():
                self._read_part(content, events)
            case _:
                for item in as_list(content, "content"):
                    if isinstance(item, str):
                        self._add_text(item, events)
                    else:
                        self._read_part(as_object(item, "a content part"), events)

    def _read_part(self, part: Json, events: list[WireEvent]) -> None:
        """Parts of a kind unknown to us are skipped, but for the text they may hold."""
        kind = part.get("type")
        if kind in THOUGHTS if isinstance(kind, str) else "thinking" in part:
            self._add_reasoning(part, events)
        elif kind == "image_url":
            self._add_image(part, events)
        elif text := as_text(part.get("refusal" if kind == "refusal" else "text"), "a content part"):
            self.refused = self.refused or kind == "refusal"
            self._add_text(text, events)

    def _read_search(self, tool: Json, events: list[WireEvent]) -> None:
        """Add the pages that a tool of Groq's found; a stream repeats them with every mention of the tool."""
        found = as_object(tool.get("search_results") or {}, "search_results")
        results = (as_object(item, "a search result") for item in as_list(found.get("results"), "results"))
        self.read_pages([result.get("url") for result in results], events)


def has_only_reasoning(delta: object) -> bool:
    """Whether a delta has reasoning and no text."""
    return (
        isinstance(delta, dict)
        and not delta.get("content")
        and any(delta.get(name) for name in REASONING_FIELDS)
    )


CITATIONS = {"url_citation": "url", "document_citation": "document_id"}
"""Kinds of annotations, and the field with their source: searches of OpenAI and OpenRouter, documents of Groq."""


def _annotation(annotation: Json) -> Iterator[WireEvent]:
    """Kinds unknown to us are skipped."""
    for kind, name in CITATIONS.items():
        citation = annotation.get(kind)
        if isinstance(citation, dict) and isinstance(source := citation.get(name), str):
            start, end = as_count(citation.get("start_index")), as_count(citation.get("end_index"))
            yield CitationDelta(start, end, "", (source,))


def _image(item: Json) -> WholePart:
    """An image the model made, as OpenRouter sends it: an `image_url`, nearly always with a data URL."""
    url = as_text(as_object(item.get("image_url"), "image_url").get("url"), "image_url.url")
    if not url:
        raise Malformed("an image without a url")
    try:
        return WholePart(image_from(url, "image_url"))
    except InvalidRequest as error:
        raise Malformed(str(error)) from None
