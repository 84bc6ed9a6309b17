"""One streamed answer as the bytes that its client gets: frames of the provider, or rendered events. Waits for nothing.

A renderer follows the frames of a provider where it may have to go on in their place: after an interruption, and in
Gemini's array, whose last element says whether there was one before. Events of a response have numbers, so what follows
the frames of a provider goes on with theirs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import final

import attrs

from ...events import Continued, Finished, Forwarded, Restarted, StreamEvent
from ...failures import FailureKind
from ...wire.gemini.parse import StreamForm
from ...wire.responses.render import ResponsesRenderer
from ...wire.server import ParsedRequest
from ...wire.sse import SseReader
from .ingress import Ingress


@final
class AnswerFrames:
    """The body of one streamed response, piece by piece.

    Args:
        ingress: The API of the client.
        parsed: The request, with the model that answers.
        may_continue: Another worker may go on with an answer whose frames were passed on.
    """

    def __init__(self, ingress: Ingress, parsed: ParsedRequest, *, may_continue: bool) -> None:
        self._ingress = ingress
        self._parsed = parsed
        self._array = _GeminiArray() if _is_array(ingress, parsed) else None
        self._follows = may_continue or self._array is not None
        self._begin(parsed)
        self._restarts = 0

    def _begin(self, parsed: ParsedRequest) -> None:
        self._renderer = self._ingress.server.renderer(parsed)
        self._has_opened = False
        self._is_native = False  # the frames of the provider are passed on
        self._passed = _PassedEvents() if isinstance(self._renderer, ResponsesRenderer) else None

    @property
    def can_restart(self) -> bool:
        """Whether a second answer may follow the first in the same body."""
        return self._array is None

    def keepalive(self) -> bytes:
        """Return bytes that mean nothing."""
        return self._ingress.server.keepalive(self._parsed)

    def of(self, events: Sequence[StreamEvent | Forwarded]) -> bytes:
        """Return what the client gets for some events."""
        return b"".join([self._of(event) for event in events])

    def fail(self, kind: FailureKind, message: str) -> bytes:
        """Return the end of a body that broke off: an error event."""
        self._resume()
        return self._renderer.fail(self._ingress.in_stream(kind), message=message)

    def _of(self, event: StreamEvent | Forwarded) -> bytes:
        match event:
            case Forwarded(data):
                self._is_native = True
                if self._passed is not None:
                    self._passed.note(data)
                return data if self._array is None else self._array.elements(data)
            case Restarted():
                return self._restarted()
            case Continued():
                self._resume()
                return b""
            case _ if self._is_native:
                if self._follows:
                    self._rendered(event)
                return b"]" if self._array is not None and isinstance(event, Finished) else b""
            case _:
                return self._rendered(event)

    def _resume(self) -> None:
        """Render from here on, after the frames of the provider if there were some."""
        self._is_native = False
        if self._passed is not None and isinstance(self._renderer, ResponsesRenderer):
            self._passed.resume(self._renderer)

    def _rendered(self, event: StreamEvent) -> bytes:
        opening = b"" if self._has_opened else b"".join([frame.data for frame in self._renderer.begin()])
        self._has_opened = True
        return opening + b"".join([frame.data for frame in self._renderer.render(event)])

    def _restarted(self) -> bytes:
        """Begin the answer anew, with another id. A comment says so for readers of the raw stream."""
        self._restarts += 1
        identity = self._parsed.identity
        anew = attrs.evolve(identity, id=f"{identity.id}r{self._restarts}")
        self._begin(attrs.evolve(self._parsed, identity=anew))
        return b": the answer begins anew\n\n"


def _is_array(ingress: Ingress, parsed: ParsedRequest) -> bool:
    return ingress.is_gemini and not (isinstance(parsed.form, StreamForm) and parsed.form.sse)


_NUMBER = re.compile(rb'"sequence_number"\s*:\s*(\d{1,15})')
_ID = re.compile(rb'"id"\s*:\s*"(resp_[^"\\]+)"')
"""Inside a JSON text the quotes are escaped, so neither is found in what a model has written."""


@final
class _PassedEvents:
    """The events of a response that were passed on: its id and their last number. They are not parsed."""

    def __init__(self) -> None:
        self._response_id = ""
        self._last = b""

    def note(self, frames: bytes) -> None:
        if b'"sequence_number"' not in frames:
            return
        if not self._last and (found := _ID.search(frames)):
            self._response_id = found[1].decode("utf-8", "replace")
        self._last = frames

    def resume(self, renderer: ResponsesRenderer) -> None:
        numbers = _NUMBER.findall(self._last)
        if numbers:
            renderer.resume(self._response_id, int(numbers[-1]))
            self._last = b""


@final
class _GeminiArray:
    """Server-sent events of Gemini as elements of its JSON array. What is in an element stays as it came."""

    def __init__(self) -> None:
        self._reader = SseReader()
        self._has_begun = False

    def elements(self, frames: bytes) -> bytes:
        pieces: list[bytes] = []
        for event in self._reader.feed(frames):
            pieces += [b",\n" if self._has_begun else b"[", event.data.encode("utf-8", "replace")]
            self._has_begun = True
        return b"".join(pieces)
