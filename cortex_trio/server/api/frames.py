"""One streamed answer as the bytes that its client gets: frames of the provider, or rendered events. Waits for nothing.

A renderer follows the frames of a provider where it may have to go on in their place: after an interruption, and in
Gemini's array, whose last element says whether there was one before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import attrs

from ...events import Continued, Finished, Forwarded, Restarted, StreamEvent
from ...failures import FailureKind
from ...wire.gemini.parse import StreamForm
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
        return self._renderer.fail(self._ingress.in_stream(kind), message=message)

    def _of(self, event: StreamEvent | Forwarded) -> bytes:
        match event:
            case Forwarded(data):
                self._is_native = True
                return data if self._array is None else self._array.elements(data)
            case Restarted():
                return self._restarted()
            case Continued():
                self._is_native = False
                return b""
            case _ if self._is_native:
                if self._follows:
                    self._rendered(event)
                return b"]" if self._array is not None and isinstance(event, Finished) else b""
            case _:
                return self._rendered(event)

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
