"""Decodes a streamed answer in named server-sent events; a dialect reads one event at a time.

Knows no provider. The first failure, or the finish, is the last event; after it nothing is held.
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
from .unframed_errors import UnframedErrors


class SseDecoder(ABC):
    """The codec.Decoder of one streamed answer."""

    def __init__(self) -> None:
        self.done = False
        self._unframed = UnframedErrors()
        self._unframed_failure: Failure | None = None
        self._reader = SseReader(on_unknown_line=self._on_unknown_line)

    @abstractmethod
    def _read(self, event: SseEvent) -> list[WireEvent]:
        """Return the events that one server-sent event means. Raises Malformed."""

    @abstractmethod
    def _end(self) -> list[WireEvent]:
        """The stream ended without a last event: return the events of its end."""

    def _let_go(self) -> None:
        """Release everything that is held: the answer has ended."""
        self.done = True
        self._reader = SseReader()

    def feed(self, data: bytes) -> list[WireEvent]:
        if self.done:
            return []
        events: list[WireEvent] = []
        try:
            for event in self._reader.feed(data):
                events += [self._unframed_failure] if self._unframed_failure else self._read(event)
                if events and isinstance(events[-1], Finished | Failure):
                    self._let_go()
                    return events
            if self._unframed_failure:
                events.append(self._unframed_failure)
                self._let_go()
        except (TooLarge, Malformed) as error:
            events.append(malformed(str(error)))
            self._let_go()
        return events

    def finish(self) -> list[WireEvent]:
        if self.done:
            return []
        # An event without its blank line is complete if its JSON is.
        events = self._feed_last()
        if self.done:
            return events
        failure = self._unframed_failure or self._unframed.end()
        events += [failure] if failure else self._end()
        self._let_go()
        return events

    def _feed_last(self) -> list[WireEvent]:
        events: list[WireEvent] = []
        for event in self._reader.unended():
            if is_json(event.data) and not self._unframed_failure:
                with suppress(Malformed):  # it was the last in any case
                    events += self._read(event)
        if events and isinstance(events[-1], Finished | Failure):
            self._let_go()
        return events

    def _on_unknown_line(self, line: str) -> None:
        """Keep the first error: what follows it follows the end."""
        self._unframed_failure = self._unframed_failure or self._unframed.add(line)
