"""Reads server-sent events from bytes, by the WHATWG grammar. Knows no provider and no JSON.

Lines end with LF, CR or CRLF and with nothing else: `str.splitlines()` would also cut at U+2028, NEL, FF …,
all of which may stand raw inside JSON text. `[DONE]` is ordinary data here.
https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from types import MethodType
from weakref import WeakMethod

import attrs

from .codec import EVENT_LIMIT
from .framing import LineSplitter, TooLarge

BOM = b"\xef\xbb\xbf"


@attrs.frozen
class SseEvent:
    """One dispatched event. `id` and `retry` (milliseconds) are the last ones the stream has set."""

    event: str
    data: str
    id: str = ""
    retry: int | None = None


class SseReader:
    """Reads one stream. The slicing of the bytes makes no difference.

    Args:
        limit: Bytes of one event. A longer one ends the stream with TooLarge.
        on_unknown_line: Called with every line that is not a known field, a comment or blank. The grammar ignores
            such lines, but Gemini writes errors into them, as bare JSON.
    """

    def __init__(
        self, *, limit: int = EVENT_LIMIT, on_unknown_line: Callable[[str], None] | None = None
    ) -> None:
        self._limit = limit
        # Usually a method of the reader's owner. It is held weakly: a cycle would leave every decoder to the garbage
        # collector (measured: a tenth of the CPU of a short request).
        called = on_unknown_line
        self._on_unknown_line = WeakMethod(called) if isinstance(called, MethodType) else lambda: called
        self._lines = LineSplitter()
        self._at_start = True  # until the first line ended: it may begin with a BOM
        self._after_cr = False  # an LF coming next belongs to the CR that already ended its line
        self._data: list[bytes] = []
        self._size = 0  # bytes of the data lines kept for the event that is growing
        self._event = ""
        self._id = ""
        self._retry: int | None = None

    def feed(self, data: bytes) -> Iterable[SseEvent]:
        """Return the events that `data` completes. Iterate at once and to the end: that is what reads them.

        Raises:
            TooLarge: An event is longer than the limit. The events before it are returned first.
        """
        if self._is_one_plain_event(data):
            self._at_start = False
            return (SseEvent("message", data[6:-2].decode("utf-8", "replace"), self._id, self._retry),)
        return self._read(data)

    def _is_one_plain_event(self, data: bytes) -> bool:
        """Whether `data` is exactly one event with one data line, as most reads from the network are.

        A short cut only: the general path gives the same event at twice the cost.
        """
        return (
            data.startswith(b"data: ")
            and data.endswith(b"\n\n")
            and data.count(b"\n") == 2
            and b"\r" not in data
            and len(data) <= self._limit
            and not (self._lines.pending or self._data or self._event or self._after_cr)
        )

    def _read(self, data: bytes) -> Iterator[SseEvent]:
        if self._after_cr or b"\r" in data:
            data = self._only_line_feeds(data)
        for line in self._lines.feed(data):
            if self._size + len(line) > self._limit:
                self._give_up()
            if self._at_start:
                self._at_start = False
                line = line.removeprefix(BOM)
            if line.startswith(b"data: "):
                self._data.append(line[6:])
                self._size += len(line) + 1
            elif line:
                self._read_field(line)
            elif self._data:
                yield self._dispatch()
            else:
                self._event = ""
        if self._size + self._lines.pending > self._limit:
            self._give_up()

    def unended(self) -> Iterable[SseEvent]:
        """Return the event that lacks only its blank line when the stream ends. The caller checks that it is complete.

        An event that does not end as JSON or [DONE] was cut. It may be large, so it is not put together.
        """
        tail = self._lines.last_byte or (self._data[-1][-16:].rstrip()[-1:] if self._data else b"")
        if tail in (b"}", b"]"):
            return self.feed(b"\n\n")
        self.finish()
        return ()

    def finish(self) -> bool:
        """End the stream. Return True if it ended inside an event; the grammar discards that event."""
        last_line = self._lines.take()
        if last_line:
            self._read_field(last_line.removeprefix(BOM) if self._at_start else last_line)
        incomplete = bool(last_line or self._data or self._event)
        self._data, self._size, self._event = [], 0, ""
        return incomplete

    def _only_line_feeds(self, data: bytes) -> bytes:
        """Turn CR and CRLF into LF. A CR at the end of `data` ends its line at once, so that no line waits."""
        if self._after_cr and data:
            self._after_cr = False
            data = data.removeprefix(b"\n")
        if data.endswith(b"\r"):
            self._after_cr = True
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _dispatch(self) -> SseEvent:
        # Whole lines can be decoded one by one: no line end is part of a longer code point.
        text = (self._data[0] if len(self._data) == 1 else b"\n".join(self._data)).decode("utf-8", "replace")
        event = SseEvent(self._event or "message", text, self._id, self._retry)
        self._data, self._size, self._event = [], 0, ""
        return event

    def _read_field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        match name:
            case b"":
                pass  # a comment
            case b"data":
                self._data.append(value)
                self._size += len(line) + 1
            case b"event":
                self._event = value.decode("utf-8", "replace")
            case b"id":
                if b"\0" not in value:
                    self._id = value.decode("utf-8", "replace")
            case b"retry":
                if value.isdigit() and len(value) < 10:  # a longer one is not a time to wait
                    self._retry = int(value)
            case _:
                if on_unknown_line := self._on_unknown_line():
                    on_unknown_line(line.decode("utf-8", "replace"))

    def _give_up(self) -> None:
        self._lines.take()
        self._data, self._size = [], 0
        raise TooLarge(self._limit)
