"""Finds the JSON values in a Gemini stream, whichever way it is framed. Does not read them.

    alt=sse      data: {…}CRLFCRLF, nothing else; the end of the body is the only terminator
    no alt       [{…}\\n,\\n{…}\\n], an array written while the answer is
    an error     may stand in an SSE stream without `data:`, pretty-printed over many lines

A server that was asked for one may send the other (proxies do), so the first byte that is not blank decides.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from ..json_array import JsonArrayReader
from ..payload import is_json
from ..sse import BOM, SseEvent, SseReader

BLANK = b" \t\r\n" + BOM


class Frames(Protocol):
    """Values of one framing. `complete`: nothing follows; `cut`: the last value is incomplete."""

    @property
    def complete(self) -> bool: ...

    @property
    def cut(self) -> bool: ...

    def feed(self, data: bytes) -> Iterator[str | bytes]:
        """Raises TooLarge, after the values before it."""
        ...

    def finish(self) -> Iterator[str | bytes]: ...


def frames_for(first: bytes) -> Frames:
    """`first` are the first bytes of the body that are not blank."""
    return ArrayFrames() if first.startswith(b"[") else SseFrames()


class ArrayFrames:
    def __init__(self) -> None:
        self._array = JsonArrayReader()

    @property
    def complete(self) -> bool:
        return self._array.complete

    @property
    def cut(self) -> bool:
        return self._array.inside

    def feed(self, data: bytes) -> Iterator[str | bytes]:
        return self._array.feed(data)

    def finish(self) -> Iterator[str | bytes]:
        return iter(())


class SseFrames:
    """Lines that are no SSE field are read as if they were the elements of an array: that finds their end."""

    complete = False

    def __init__(self) -> None:
        self.cut = False
        self._mid_line = False
        self._events = SseReader(on_unknown_line=self._on_unknown_line)
        self._strays = JsonArrayReader()
        self._found: list[bytes] = [*self._strays.feed(b"[")]

    def feed(self, data: bytes) -> Iterator[str | bytes]:
        if data:
            self._mid_line = not data.endswith((b"\n", b"\r"))
        for event in self._events.feed(data):
            yield from self._take_found()
            if _holds_value(event):
                yield event.data
        yield from self._take_found()

    def finish(self) -> Iterator[str | bytes]:
        """An event that lost only its blank line is complete if its JSON is."""
        unended = [event.data for event in self._events.feed(b"\n\n") if _holds_value(event)]
        whole: list[str | bytes] = [*self._take_found(), *filter(is_json, unended)]
        self.cut = self._strays.inside or (not whole and (self._mid_line or bool(unended)))
        yield from whole

    def _on_unknown_line(self, line: str) -> None:
        if self._strays.inside or line.lstrip().startswith(("{", "[")):
            self._found += self._strays.feed(line.encode() + b"\n")

    def _take_found(self) -> list[bytes]:
        found, self._found = self._found, []
        return found


def _holds_value(event: SseEvent) -> bool:
    """Proxies that end every stream as chat completions do send a `[DONE]`, which is not a value."""
    return bool(event.data) and not event.data.startswith("[DONE]")
