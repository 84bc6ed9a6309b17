"""What Gemini says of the sources of its answer, as citations: pages it searched or was shown, and texts it recited.

    citationMetadata    {"citationSources": [{"startIndex", "endIndex", "uri"?}]}        ("citations" on Vertex)
    groundingMetadata   {"groundingChunks": [{"web": {"uri", "title"}} …],
                         "groundingSupports": [{"segment": {"startIndex", "endIndex", "text"},
                                                "groundingChunkIndices": [0, 2]}]}
    urlContextMetadata  {"urlMetadata": [{"retrievedUrl"}]}

Each may come again with every response of a stream, complete or not; a citation is told once. Indices count bytes
of UTF-8. Facts: Generative Language API reference, Candidate.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from ..events import CitationDelta
from .payload import as_count, as_list, as_object, as_text

Json = Mapping[str, Any]


@attrs.define
class Sources:
    """Shown the text and the candidates of one answer, it tells what each candidate adds."""

    _pieces: list[str] = attrs.field(
        factory=list, init=False
    )  # the text so far, which the indices point into
    _told: set[CitationDelta] = attrs.field(factory=set, init=False)

    def said(self, text: str) -> None:
        self._pieces.append(text)

    def of(self, candidate: Json) -> Iterator[CitationDelta]:
        """The citations in `candidate` that were not told before. Raises Malformed."""
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
        text = self._text()
        for item in as_list(metadata.get("citationSources") or metadata.get("citations"), "citationSources"):
            source = as_object(item, "a citation source")
            yield _citation(source, text, _named(source, "uri", "title"))

    def _grounded(self, metadata: Json) -> Iterator[CitationDelta]:
        """What no support speaks of was found all the same."""
        text = self._text()
        pages = [_page(chunk) for chunk in as_list(metadata.get("groundingChunks"), "groundingChunks")]
        supports = as_list(metadata.get("groundingSupports"), "groundingSupports")
        for item in supports:
            support = as_object(item, "a grounding support")
            places = as_list(support.get("groundingChunkIndices"), "groundingChunkIndices")
            counts = [place for place in map(as_count, places) if place is not None and place < len(pages)]
            sources = tuple(source for place in counts for source in pages[place])
            yield _citation(as_object(support.get("segment") or {}, "a segment"), text, sources)
        if pages and not supports:
            yield CitationDelta(None, None, "", tuple(source for page in pages for source in page))

    def _visited(self, metadata: Json) -> Iterator[CitationDelta]:
        for item in as_list(metadata.get("urlMetadata"), "urlMetadata"):
            if sources := _named(as_object(item, "url metadata"), "retrievedUrl"):
                yield CitationDelta(None, None, "", sources)

    def _text(self) -> bytes:
        self._pieces[:] = ["".join(self._pieces)]
        return self._pieces[0].encode("utf-8", "replace")


def _citation(segment: Json, text: bytes, sources: Sequence[str]) -> CitationDelta:
    """`segment` in characters; without a place where its text is not found there, as after other parts."""
    quoted = as_text(segment.get("text"), "a segment's text")
    end = as_count(segment.get("endIndex"))
    if end is None:
        return CitationDelta(None, None, quoted, sources)
    start = as_count(segment.get("startIndex")) or 0  # a count of 0 is left out on this wire
    cited = text[start:end].decode("utf-8", "replace")
    if not cited or quoted not in ("", cited):
        return CitationDelta(None, None, quoted, sources)
    before = len(text[:start].decode("utf-8", "replace"))
    return CitationDelta(before, before + len(cited), cited, sources)


def _page(chunk: object) -> Sequence[str]:
    """Where a chunk comes from: the web, a file of the caller's, a map; each kind under its own name."""
    kinds = as_object(chunk, "a grounding chunk").values()
    return next(
        (named for kind in kinds if isinstance(kind, dict) and (named := _named(kind, "uri", "title"))), ()
    )


def _named(source: Json, *names: str) -> tuple[str, ...]:
    """The first of `names` it has, as the one source; none if it has none."""
    return next(((text,) for name in names if (text := as_text(source.get(name), name))), ())
