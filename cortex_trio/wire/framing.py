"""Splits a byte stream into lines. The slicing of the bytes makes no difference. Knows neither SSE nor JSON.

Each byte is searched once: a line without its end waits in one bytearray. The caller limits how long a line may grow;
`pending` is the length of the line that waits.
"""

from __future__ import annotations


class TooLarge(Exception):
    """A line or an event is longer than its limit. Its bytes are released already."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"more than {limit:,} bytes without an end")
        self.limit = limit


class LineSplitter:
    """Splits at LF, which is left out. Lines are bytes: splitting at an ASCII byte never cuts a code point."""

    __slots__ = ("_pending",)

    def __init__(self) -> None:
        self._pending = bytearray()

    @property
    def pending(self) -> int:
        """Bytes of the line that has not ended yet."""
        return len(self._pending)

    @property
    def last_byte(self) -> bytes:
        """Of the line that has not ended yet, white space apart; empty if there is none."""
        return bytes(self._pending[-16:].rstrip()[-1:])

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that `data` completes."""
        lines = data.split(b"\n")
        last = lines.pop()
        if self._pending and lines:
            lines[0] = bytes(self._pending) + lines[0]
            self._pending = bytearray()
        if last:
            self._pending += last
        return lines

    def take(self) -> bytes:
        """Return the line that waits for its end, and drop it."""
        line = bytes(self._pending)
        self._pending = bytearray()
        return line
