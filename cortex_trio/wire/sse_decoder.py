"""A streamed answer in named server-sent events, of which a dialect has only to say what one of them means.

Knows no provider. The first failure, or the end, is the last event; from then on nothing is held.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import suppress

from ..events import Finished, WireEvent
from ..failures import Failure
from .codec import malformed
from .framing import TooLarge
from .payload import Malformed, is_json
from .sse import SseEvent, SseReader
from .stray import StrayErrors


class SseDecoder(ABC):
    """The codec.Decoder of one streamed answer."""

    def __init__(self) -> None:
        self.done = False
        self._stray = StrayErrors()
        self._stray_failure: Failure | None = None
        self._reader = SseReader(on_stray=self._on_stray)

    @abstractmethod
    def _read(self, event: SseEvent) -> list[WireEvent]:
        """What one event means. Raises Malformed."""

    @abstractmethod
    def _end(self) -> list[WireEvent]:
        """The stream ended, and no event had said so."""

    def _let_go(self) -> None:
        """It is over: hold nothing any more."""
        self.done = True
        self._reader = SseReader()

    def feed(self, data: bytes) -> list[WireEvent]:
        if self.done:
            return []
        events: list[WireEvent] = []
        try:
            for event in self._reader.feed(data):
                events += [self._stray_failure] if self._stray_failure else self._read(event)
                if events and isinstance(events[-1], Finished | Failure):
                    self._let_go()
                    return events
            if self._stray_failure:
                events.append(self._stray_failure)
                self._let_go()
        except (TooLarge, Malformed) as error:
            events.append(malformed(str(error)))
            self._let_go()
        return events

    def finish(self) -> list[WireEvent]:
        if self.done:
            return []
        # An event that lost only its blank line is whole if its JSON is; and a stray last line is handed over.
        events = self._feed_last()
        if self.done:
            return events
        failure = self._stray_failure or self._stray.end()
        events += [failure] if failure else self._end()
        self._let_go()
        return events

    def _feed_last(self) -> list[WireEvent]:
        events: list[WireEvent] = []
        for event in self._reader.unended():
            if is_json(event.data) and not self._stray_failure:
                with suppress(Malformed):  # it was the last in any case
                    events += self._read(event)
        if events and isinstance(events[-1], Finished | Failure):
            self._let_go()
        return events

    def _on_stray(self, line: str) -> None:
        """Only the first of them counts: what follows an error follows the end."""
        self._stray_failure = self._stray_failure or self._stray.add(line)
