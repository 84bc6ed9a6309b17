"""Elements out of a JSON array while it is still being written. Parses nothing, knows no provider.

An element is returned as soon as its last byte is there: an object at its closing brace, a bare number or
word at the comma after it. Only strings and nesting are followed, so a broken element comes out as it
is and fails where it is parsed. All marks are ASCII: no code point is ever cut.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from .codec import EVENT_LIMIT
from .framing import TooLarge

_STRUCTURE = re.compile(rb'["\[\]{},]')
_IN_STRING = re.compile(rb'["\\]')


class JsonArrayReader:
    """Feed it the bytes of one array in any slices, from its `[` on; it returns the elements in order.

    `complete` is True once the closing bracket was seen; bytes after it are ignored.
    """

    def __init__(self, *, limit: int = EVENT_LIMIT) -> None:
        self.complete = False
        self._limit = limit
        self._element = bytearray()  # the element that is growing, without the blanks before it
        self._depth = 0  # 1: between the elements
        self._in_string = False
        self._escaped = False  # the next byte belongs to the backslash before it

    @property
    def inside(self) -> bool:
        """An element has begun and not ended."""
        return bool(self._element)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The elements that `data` completes. Iterate at once and to the end: reading happens on the way.

        Raises TooLarge, after the elements before it, when one outgrows the limit; the array is lost then.
        """
        kept = position = 0  # bytes before `kept` are returned, bytes before `position` are looked at
        while position < len(data) and not self.complete:
            if self._escaped:
                self._escaped = False
                position += 1
                continue
            mark = (_IN_STRING if self._in_string else _STRUCTURE).search(data, position)
            if mark is None:
                break
            position = mark.end()
            match mark[0], self._depth:
                case b'"', _:
                    self._in_string = not self._in_string
                case b"\\", _:
                    self._escaped = True
                case b"[", 0:
                    self._depth, kept = 1, position
                case b"[" | b"{", _:
                    self._depth += 1
                case b"]" | b"}", 2:
                    self._depth = 1
                    yield self._take(data[kept:position])
                    kept = position
                case b"," | b"]", 1:
                    self.complete = mark[0] == b"]"
                    if element := self._take(data[kept : position - 1]):
                        yield element
                    kept = position
                case b"]" | b"}", depth if depth > 2:
                    self._depth -= 1
        if not self.complete:
            self._keep(data[kept:])

    def finish(self) -> bool:
        """The body ended. True: after the closing bracket, so nothing is missing."""
        return self.complete

    def _take(self, end: bytes) -> bytes:
        self._keep(end)
        element = bytes(self._element).rstrip()
        self._element = bytearray()
        return element

    def _keep(self, data: bytes) -> None:
        self._element += data if self._element else data.lstrip()
        if len(self._element) > self._limit:
            self._element = bytearray()
            raise TooLarge(self._limit)
