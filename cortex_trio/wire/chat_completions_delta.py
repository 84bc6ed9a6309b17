"""What one delta of a chat completion holds, as events: content, refusals, reasoning, tool calls, citations, usage.

    delta = { content?, refusal?, reasoning? | reasoning_content? | reasoning_details?, tool_calls?, images?,
              audio?, annotations?, executed_tools? }

Any field may be missing, null or empty; then it says nothing. The `message` of a whole answer has the same fields
and is read as its only delta. Knows no framing and no end of stream.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..events import (
    CitationDelta,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    Usage,
    WholePart,
    WireEvent,
)
from ..failures import InvalidRequest
from ..intake import image_from
from .payload import (
    Malformed,
    arguments_text,
    as_count,
    as_list,
    as_object,
    as_text,
    require_open,
    text_events,
)

Json = dict[str, Any]

REASONING_FIELDS = ("reasoning", "reasoning_content")
"""Groq and OpenRouter; xAI, DeepSeek, llama.cpp and vLLM. A server that sends both repeats itself."""


class DeltaReader:
    """Reads the deltas of one choice. Raises Malformed where a field has another type than it can have."""

    def __init__(self) -> None:
        self.refused = False
        self._ids: list[str] = []  # of the tool calls, in order of appearance; the place is our index
        self._at: dict[int, int] = {}  # the wire's index of a call → ours
        self._pages: set[str] = set()  # found by searches of the server's own

    @property
    def has_calls(self) -> bool:
        return bool(self._ids)

    def read(self, delta: Json, events: list[WireEvent]) -> None:
        content = delta.get("content")
        if len(delta) == 1 and type(content) is str:  # nearly every delta there is
            if content:
                events.append(TextDelta(content))
            return
        self._read_reasoning(delta, events)
        if content:
            self._read_content(content, events)
        if refusal := delta.get("refusal"):
            events.append(TextDelta(as_text(refusal, "refusal")))
            self.refused = True
        if isinstance(
            audio := delta.get("audio"), dict
        ):  # speech stands in place of content: what it says is the text
            events += text_events(TextDelta, audio.get("transcript"), "transcript")
        for call in as_list(delta.get("tool_calls"), "tool_calls"):
            self._read_call(as_object(call, "a tool call"), events)
        events += [_image(as_object(image, "an image")) for image in as_list(delta.get("images"), "images")]
        for annotation in as_list(delta.get("annotations"), "annotations"):
            events += _annotation(as_object(annotation, "an annotation"))
        for tool in as_list(delta.get("executed_tools"), "executed_tools"):
            self._read_search(as_object(tool, "an executed tool"), events)

    def read_pages(self, pages: object, events: list[WireEvent]) -> None:
        """Pages the answer as a whole rests on: told once, and passed over where they are no addresses."""
        urls = pages if isinstance(pages, list) else []
        new = tuple(
            dict.fromkeys(url for url in urls if url and isinstance(url, str) and url not in self._pages)
        )
        if new:
            self._pages.update(new)
            events.append(CitationDelta(None, None, "", new))

    def _read_reasoning(self, delta: Json, events: list[WireEvent]) -> None:
        for name in REASONING_FIELDS:
            if reasoning := delta.get(name):
                events.append(ReasoningDelta(as_text(reasoning, name)))
                return
        for item in as_list(delta.get("reasoning_details"), "reasoning_details"):
            detail = as_object(item, "a reasoning detail")
            if text := detail.get("text") or detail.get("summary"):
                events.append(ReasoningDelta(as_text(text, "a reasoning detail")))

    def _read_content(self, content: object, events: list[WireEvent]) -> None:
        if isinstance(content, str):
            events.append(TextDelta(content))
            return
        for item in as_list(content, "content"):  # Mistral's reasoning models send parts
            part = as_object(item, "a content part")
            thoughts = (as_object(item, "a thought") for item in as_list(part.get("thinking"), "thinking"))
            texts = (as_text(thought.get("text"), "a thought") for thought in thoughts)
            events.extend(ReasoningDelta(text) for text in texts if text)
            if text := as_text(part.get("text"), "a content part"):
                events.append(TextDelta(text))

    def _read_call(self, call: Json, events: list[WireEvent]) -> None:
        function = as_object(call.get("function") or {}, "function")
        arguments = function.get("arguments")
        if not isinstance(arguments, str):  # an object comes from servers that wrap another wire
            arguments = "" if arguments is None else arguments_text(arguments)
        call_id, name = as_text(call.get("id"), "a call's id"), as_text(function.get("name"), "a call's name")
        index = call.get("index")
        at = self._find_call(index, call_id, name)
        if at is not None:
            if arguments:
                events.append(ToolCallDelta(at, arguments))
            return
        at = len(self._ids)
        require_open(at + 1, "tool calls")
        self._ids.append(call_id or f"call_{at}")
        if isinstance(index, int):
            self._at[index] = at
        events.append(ToolCallDelta(at, arguments, self._ids[at], name))

    def _find_call(self, index: object, call_id: str, name: str) -> int | None:
        """Which call a delta goes on with; None: it opens a new one.

        The index says it, unless a proxy uses one index for all calls: a name with another id opens a call.
        Where the index is missing, another id does, or a name without any id; the rest belongs to the last call.
        """
        if isinstance(index, int):
            at = self._at.get(index)
            reused = at is not None and bool(name and call_id) and call_id != self._ids[at]
            return None if reused else at
        if not self._ids:
            return None
        opens = call_id != self._ids[-1] if call_id else bool(name)
        return None if opens else len(self._ids) - 1

    def _read_search(self, tool: Json, events: list[WireEvent]) -> None:
        """The pages a tool of Groq's found; a stream tells them as often as it tells of the tool."""
        found = as_object(tool.get("search_results") or {}, "search_results")
        results = (as_object(item, "a search result") for item in as_list(found.get("results"), "results"))
        self.read_pages([result.get("url") for result in results], events)


CITATIONS = {"url_citation": "url", "document_citation": "document_id"}
"""Kinds of annotations, and what names their source: searches of OpenAI and OpenRouter, documents given to Groq."""


def _annotation(annotation: Json) -> Iterator[WireEvent]:
    """Kinds unknown to us are skipped."""
    for kind, name in CITATIONS.items():
        citation = annotation.get(kind)
        if isinstance(citation, dict) and isinstance(source := citation.get(name), str):
            start, end = as_count(citation.get("start_index")), as_count(citation.get("end_index"))
            yield CitationDelta(start, end, "", (source,))


def _image(item: Json) -> WholePart:
    """An image the model made, as OpenRouter hands it on: an `image_url`, nearly always with a data URL."""
    url = as_text(as_object(item.get("image_url"), "image_url").get("url"), "image_url.url")
    if not url:
        raise Malformed("an image without a url")
    try:
        return WholePart(image_from(url, "image_url"))
    except InvalidRequest as error:
        raise Malformed(str(error)) from None


def read_usage(usage: Json, *, excludes_reasoning: bool) -> Usage:
    """The token counts of a chunk. `excludes_reasoning`: xAI's completion_tokens are without reasoning_tokens."""
    read = as_object(usage.get("prompt_tokens_details") or {}, "prompt_tokens_details")
    written = as_object(usage.get("completion_tokens_details") or {}, "completion_tokens_details")
    prompt, completion = as_count(usage.get("prompt_tokens")), as_count(usage.get("completion_tokens"))
    total, reasoning = as_count(usage.get("total_tokens")), as_count(written.get("reasoning_tokens"))
    if excludes_reasoning and reasoning and completion is not None:
        included = (
            prompt is not None and total == prompt + completion
        )  # should xAI come to count as others do
        completion += 0 if included else reasoning
    return Usage(
        input_tokens=prompt,
        output_tokens=completion,
        total_tokens=total,
        cached_input_tokens=as_count(read.get("cached_tokens")),
        cache_write_tokens=as_count(read.get("cache_write_tokens")),
        reasoning_tokens=reasoning,
    )
