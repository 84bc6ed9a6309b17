"""Server-sent events out of bytes, as the WHATWG grammar has it. Knows no provider and no JSON.

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
    """Feed it bytes in any slices; it hands out events in order.

    `on_stray` is called with every line that is no known field, no comment and not blank: Gemini drops
    unframed JSON into the middle of a stream, which the grammar would ignore in silence.
    """

    def __init__(self, *, limit: int = EVENT_LIMIT, on_stray: Callable[[str], None] | None = None) -> None:
        self._limit = limit
        # Its owner's method, as a rule: held weakly, for a cycle would leave every answer's decoder to the garbage
        # collector (measured: a tenth of the CPU of a short request).
        self._on_stray = WeakMethod(on_stray) if isinstance(on_stray, MethodType) else lambda: on_stray
        self._lines = LineSplitter()
        self._at_start = True  # until the first line ended: it may begin with a BOM
        self._after_cr = False  # an LF coming next belongs to the CR that already ended its line
        self._data: list[bytes] = []
        self._size = 0  # bytes of the data lines kept for the event that is growing
        self._event = ""
        self._id = ""
        self._retry: int | None = None

    def feed(self, data: bytes) -> Iterable[SseEvent]:
        """The events that `data` completes. Iterate at once and to the end: reading happens on the way.

        Raises TooLarge, after the events before it, when an event outgrows the limit: the stream is lost.
        """
        if self._is_one_plain_event(data):
            self._at_start = False
            return (SseEvent("message", data[6:-2].decode("utf-8", "replace"), self._id, self._retry),)
        return self._read(data)

    def _is_one_plain_event(self, data: bytes) -> bool:
        """Whether `data` is `data: …\\n\\n` and no more, between events: what most reads off the network are.

        Not a second grammar: without this short cut the lines would say the same at twice the cost.
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
        """The stream ended: the event that lost only its blank line. Whether it is whole its data must say.

        What does not end as JSON or [DONE] does was cut, and is not put together only to find that out: it may be
        large.
        """
        tail = self._lines.last_byte or (self._data[-1][-16:].rstrip()[-1:] if self._data else b"")
        if tail in (b"}", b"]"):
            return self.feed(b"\n\n")
        self.finish()
        return ()

    def finish(self) -> bool:
        """The stream ended. True: inside an event, whose beginning is discarded (the grammar's rule)."""
        rest = self._lines.take()
        if rest:
            self._read_field(rest.removeprefix(BOM) if self._at_start else rest)
        incomplete = bool(rest or self._data or self._event)
        self._data, self._size, self._event = [], 0, ""
        return incomplete

    def _only_line_feeds(self, data: bytes) -> bytes:
        """CR and CRLF become LF. A CR at the end of `data` ends its line at once, so nothing is held back."""
        if self._after_cr and data:
            self._after_cr = False
            data = data.removeprefix(b"\n")
        if data.endswith(b"\r"):
            self._after_cr = True
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _dispatch(self) -> SseEvent:
        # Decoding whole lines equals decoding incrementally: no line end is part of a longer code point.
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
                if value.isdigit() and len(value) < 10:  # longer ones are no waiting time
                    self._retry = int(value)
            case _:
                if on_stray := self._on_stray():
                    on_stray(line.decode("utf-8", "replace"))

    def _give_up(self) -> None:
        self._lines.take()
        self._data, self._size = [], 0
        raise TooLarge(self._limit)
