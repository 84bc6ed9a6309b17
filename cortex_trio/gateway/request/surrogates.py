"""Joins the halves of a character that a provider has cut in two. Knows no dialect.

JSON may name a character above U+FFFF by two escapes, a surrogate pair. A server that cuts its text between them sends
each half in an event of its own. Python keeps a half, but cannot print it, and no UTF-8 can hold it.
"""

from __future__ import annotations

import re
from typing import Any, TypeGuard, final

import attrs

from ...events import CONTENT, Finished, ReasoningDelta, TextDelta, WireEvent

_HALF = re.compile("[\ud800-\udfff]")
_FIRST_HALF = re.compile("[\ud800-\udbff]\\Z")


@final
class SurrogatePairs:
    """Holds the first half of a character until the next text of its kind, so every text that passes is legal.

    A half without the other becomes U+FFFD, as in any decoder.
    """

    def __init__(self) -> None:
        self._held: TextDelta | ReasoningDelta | None = None  # its text is the first half and nothing else

    def joined(self, events: list[WireEvent]) -> list[WireEvent]:
        """Return the events with whole characters; usually they are the same list."""
        if self._held is None and not any(_has_half(event) for event in events):
            return events
        return [whole for event in events for whole in self._whole(event)]

    def _whole(self, event: WireEvent) -> list[WireEvent]:
        held = self._held
        if not isinstance(event, TextDelta | ReasoningDelta):
            if held is None or not isinstance(event, (*CONTENT, Finished)):
                return [event]
            self._held = None
            return [attrs.evolve(held, text=_legal(held.text)), event]
        self._held = None
        before: list[WireEvent] = []
        text = event.text
        if held is not None and type(held) is type(event):
            text = held.text + text
        elif held is not None:
            before = [attrs.evolve(held, text=_legal(held.text))]
        if _FIRST_HALF.search(text):
            self._held = attrs.evolve(event, text=text[-1])
            text = text[:-1]
        return [*before, attrs.evolve(event, text=_legal(text))] if text else before


def _has_half(event: WireEvent) -> bool:
    return _is_text(event) and not event.text.isascii() and _HALF.search(event.text) is not None


def _is_text(event: Any) -> TypeGuard[TextDelta | ReasoningDelta]:
    return type(event) is TextDelta or type(event) is ReasoningDelta


def _legal(text: str) -> str:
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
