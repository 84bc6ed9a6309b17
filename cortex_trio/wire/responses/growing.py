"""The output items of a response while they are rendered: what is sent when they begin, grow and end.

Each step gives (kind, event, fields) without the place of the item, which the renderer knows.
"""

from __future__ import annotations

import base64
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from ...events import CitationDelta, ReasoningDelta, TextDelta, TokenLogprob
from ...messages import Image, Opaque, Phase
from ..logprobs import render_tokens
from ..server import FrameKind
from .items import BETWEEN_PARTS

Json = dict[str, Any]
Piece = tuple[FrameKind, str, Json]


class Growing(ABC):
    """One item."""

    def __init__(self, item_id: str) -> None:
        self.id = item_id

    @abstractmethod
    def item(self) -> Json:
        """Return the item as far as it has grown."""

    def begin(self) -> Iterator[Piece]:
        return iter(())

    @abstractmethod
    def add(self, event: TextDelta | CitationDelta | ReasoningDelta) -> Iterator[Piece]: ...

    @abstractmethod
    def end(self) -> Iterator[Piece]: ...


class GrowingMessage(Growing):
    """A message with one content part: a text or a refusal."""

    def __init__(self, item_id: str, *, refused: bool, phase: Phase | None = None) -> None:
        super().__init__(item_id)
        self.phase = phase
        self._what, self._field = ("refusal", "refusal") if refused else ("output_text", "text")
        self._refused = refused
        self._pieces: list[str] = []
        self._annotations: list[Json] = []
        self._logprobs: list[Json] = []
        self._sent_logprobs = 0  # how many of them deltas have had

    def note_logprobs(self, tokens: Sequence[TokenLogprob]) -> None:
        """Add log probabilities of the text that follows: the next delta has them."""
        self._logprobs += render_tokens(tokens)

    def item(self) -> Json:
        own: Json = {"id": self.id, "type": "message", "status": "completed"}
        phase = {"phase": self.phase} if self.phase else {}
        return {**own, "content": [self._part()], **phase, "role": "assistant"}

    def _part(self) -> Json:
        text = "".join(self._pieces)
        if self._refused:
            return {"type": "refusal", "refusal": text}
        annotations = list(self._annotations)
        logprobs = list(self._logprobs)
        return {"type": "output_text", "annotations": annotations, "logprobs": logprobs, "text": text}

    def begin(self) -> Iterator[Piece]:
        yield FrameKind.OPENING, "content_part.added", {"content_index": 0, "part": self._part()}

    def add(self, event: TextDelta | CitationDelta | ReasoningDelta) -> Iterator[Piece]:
        if isinstance(event, CitationDelta):
            if self._refused:
                return
            annotation = _annotation(event)
            number = len(self._annotations)
            self._annotations.append(annotation)
            fields = {"content_index": 0, "annotation_index": number, "annotation": annotation}
            yield FrameKind.CONTENT, "output_text.annotation.added", fields
        else:
            self._pieces.append(event.text)
            fields = {"content_index": 0, "delta": event.text}
            if not self._refused:
                fields["logprobs"] = self._logprobs[self._sent_logprobs :]
                self._sent_logprobs = len(self._logprobs)
            yield FrameKind.CONTENT, f"{self._what}.delta", fields

    def end(self) -> Iterator[Piece]:
        part = self._part()
        done = {"content_index": 0, self._field: part[self._field]}
        if not self._refused:
            done["logprobs"] = part["logprobs"]
        yield FrameKind.OPENING, f"{self._what}.done", done
        yield FrameKind.OPENING, "content_part.done", {"content_index": 0, "part": part}


class GrowingReasoning(Growing):
    """Reasoning with its summary, in parts where an empty line divides the text.

    The API says that line by beginning a new part, so it is not in the text of either. A second empty line is.
    """

    def __init__(self, item_id: str, encrypted: str | None, *, shown: bool) -> None:
        super().__init__(item_id)
        self.encrypted = encrypted
        self._shown = shown
        self._parts: list[list[str]] = []
        self._between = False  # an empty line came, and nothing after it

    def item(self) -> Json:
        item: Json = {
            "id": self.id,
            "type": "reasoning",
            "summary": [_summary("".join(pieces)) for pieces in self._parts],
        }
        return {**item, "encrypted_content": self.encrypted} if self.encrypted else item

    def add(self, event: TextDelta | CitationDelta | ReasoningDelta) -> Iterator[Piece]:
        if isinstance(event, CitationDelta) or not self._shown:
            return
        for place, text in enumerate(event.text.split(BETWEEN_PARTS)):
            if place:
                yield from self._line()
            if text:
                yield from self._grow(text)

    def _line(self) -> Iterator[Piece]:
        if self._parts and not self._between:
            self._between = True
        else:
            yield from self._grow(BETWEEN_PARTS)

    def _grow(self, text: str) -> Iterator[Piece]:
        if self._between:
            yield from self._end_part()
        if self._between or not self._parts:
            self._between = False
            self._parts.append([])
            yield FrameKind.OPENING, "reasoning_summary_part.added", {**self._at(), "part": _summary("")}
        self._parts[-1].append(text)
        yield FrameKind.CONTENT, "reasoning_summary_text.delta", {**self._at(), "delta": text}

    def end(self) -> Iterator[Piece]:
        if self._between:
            self._between = False
            yield from self._grow(BETWEEN_PARTS)
        if self._parts:
            yield from self._end_part()

    def _end_part(self) -> Iterator[Piece]:
        text = "".join(self._parts[-1])
        yield FrameKind.OPENING, "reasoning_summary_text.done", {**self._at(), "text": text}
        yield FrameKind.OPENING, "reasoning_summary_part.done", {**self._at(), "part": _summary(text)}

    def _at(self) -> Json:
        return {"summary_index": len(self._parts) - 1}


def _summary(text: str) -> Json:
    return {"type": "summary_text", "text": text}


def _annotation(citation: CitationDelta) -> Json:
    source = citation.sources[0] if citation.sources else ""
    where = {"start_index": citation.start, "end_index": citation.end}
    return {"type": "url_citation", **where, "title": citation.text, "url": source}


def opaque_item(part: Opaque, suffix: str) -> Json:
    """Return what a tool of the server's own did, as it came; `suffix` makes an id where it has none."""
    return {"id": f"own_{suffix}", "type": part.type, **part.parsed()}


def image_item(image: Image, suffix: str) -> Json:
    """Return an image the model made; its signature is the item it came in, where it came in one."""
    kind = (image.media_type or "image/png").removeprefix("image/")
    own: Json = {"id": f"ig_{suffix}", "type": "image_generation_call", "status": "completed"}
    if image.signature:
        with suppress(ValueError):  # the signature of another API
            own |= Opaque("image_generation_call", image.signature).parsed()
    return {**own, "output_format": kind, "result": base64.b64encode(image.data or b"").decode()}
