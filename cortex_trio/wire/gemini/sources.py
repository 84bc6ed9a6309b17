"""Decodes the sources of an answer as citations: pages it searched or was shown, and texts it recited.

    citationMetadata    {"citationSources": [{"startIndex", "endIndex", "uri"?}]}        ("citations" on Vertex)
    groundingMetadata   {"groundingChunks": [{"web": {"uri", "title"}} …],
                         "groundingSupports": [{"segment": {"startIndex", "endIndex", "text"},
                                                "groundingChunkIndices": [0, 2]}]}
    urlContextMetadata  {"urlMetadata": [{"retrievedUrl"}]}

Each may come again with every response of a stream, complete or not; a citation is emitted once. Indices count bytes
of UTF-8; they become characters at the cost of what came over the wire, however long the text is by then.
Facts: Generative Language API reference, Candidate.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from ...events import CitationDelta
from ..payload import as_count, as_list, as_object, as_text

Json = Mapping[str, Any]

STRIDE = 4096
"""Bytes between two places of the text whose number of characters is remembered."""

INNER_BYTES = bytes(range(0x80, 0xC0))
"""Of UTF-8: all bytes of a character but its first."""


@attrs.define
class Sources:
    """Follows the text and the candidates of one answer, and finds the citations that each candidate adds."""

    _text: bytearray = attrs.field(factory=bytearray, init=False)  # so far; the indices point into it
    _marks: list[int] = attrs.field(factory=lambda: [0], init=False)  # characters before each STRIDE
    _told: set[CitationDelta] = attrs.field(factory=set, init=False)

    def add_text(self, text: str) -> None:
        self._text += text.encode("utf-8", "replace")

    def of(self, candidate: Json) -> Iterator[CitationDelta]:
        """The citations in `candidate` that were not emitted before. Raises Malformed."""
        for name, read in (
            ("citationMetadata", self._recited),
            ("groundingMetadata", self._grounded),
            ("urlContextMetadata", self._visited),
        ):
            if metadata := candidate.get(name):
                for citation in read(as_object(metadata, name)):
                    if citation not in self._told:
                        self._told.add(citation)
                        yield citation

    def _recited(self, metadata: Json) -> Iterator[CitationDelta]:
        for item in as_list(metadata.get("citationSources") or metadata.get("citations"), "citationSources"):
            source = as_object(item, "a citation source")
            yield self._citation(source, _named(source, "uri", "title"))

    def _grounded(self, metadata: Json) -> Iterator[CitationDelta]:
        """The pages that no support names: they were found all the same."""
        pages = [_page(chunk) for chunk in as_list(metadata.get("groundingChunks"), "groundingChunks")]
        supports = as_list(metadata.get("groundingSupports"), "groundingSupports")
        for item in supports:
            support = as_object(item, "a grounding support")
            places = as_list(support.get("groundingChunkIndices"), "groundingChunkIndices")
            counts = [place for place in map(as_count, places) if place is not None and place < len(pages)]
            sources = tuple(source for place in counts for source in pages[place])
            yield self._citation(as_object(support.get("segment") or {}, "a segment"), sources)
        if pages and not supports:
            yield CitationDelta(None, None, "", tuple(source for page in pages for source in page))

    def _visited(self, metadata: Json) -> Iterator[CitationDelta]:
        for item in as_list(metadata.get("urlMetadata"), "urlMetadata"):
            if sources := _named(as_object(item, "url metadata"), "retrievedUrl"):
                yield CitationDelta(None, None, "", sources)

    def _citation(self, segment: Json, sources: Sequence[str]) -> CitationDelta:
        """`segment` in characters; without a place where its text is not found there, as after other parts."""
        quoted = as_text(segment.get("text"), "a segment's text")
        start = as_count(segment.get("startIndex")) or 0  # a count of 0 is left out in this API
        end = min(as_count(segment.get("endIndex")) or 0, len(self._text))
        if start >= end or (quoted and not self._is_at(start, end, quoted.encode("utf-8", "replace"))):
            return CitationDelta(None, None, quoted, sources)
        return CitationDelta(self._characters(start), self._characters(end), quoted, sources)

    def _is_at(self, start: int, end: int, quoted: bytes) -> bool:
        return end - start == len(quoted) and self._text[start:end] == quoted

    def _characters(self, place: int) -> int:
        """How many characters end before byte `place`; nothing but the bytes since the last mark is looked at."""
        mark = place // STRIDE
        for begin in range((len(self._marks) - 1) * STRIDE, mark * STRIDE, STRIDE):
            self._marks.append(self._marks[-1] + _count(self._text[begin : begin + STRIDE]))
        return self._marks[mark] + _count(self._text[mark * STRIDE : place])


def _count(text: bytearray) -> int:
    return len(text.translate(None, INNER_BYTES))


def _page(chunk: object) -> Sequence[str]:
    """Where a chunk comes from: the web, a file of the caller's, a map; each kind under its own name."""
    kinds = as_object(chunk, "a grounding chunk").values()
    return next(
        (named for kind in kinds if isinstance(kind, dict) and (named := _named(kind, "uri", "title"))), ()
    )


def _named(source: Json, *names: str) -> tuple[str, ...]:
    """The first of `names` it has, as the one source; none if it has none."""
    return next(((text,) for name in names if (text := as_text(source.get(name), name))), ())
