"""Cuts a byte stream into lines, however the network sliced it. Knows neither SSE nor JSON.

Each byte is looked at once: only new bytes are searched for a line end, and an unfinished line waits in
one bytearray. How long a line may grow is the caller's rule; `pending` tells it how much waits.
"""

from __future__ import annotations


class TooLarge(Exception):
    """A line or an event outgrew its limit. What was kept of it is already released."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"more than {limit:,} bytes without an end")
        self.limit = limit


class LineSplitter:
    """Splits at LF. Lines come without it, as bytes: cutting at an ASCII byte never cuts a code point."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = bytearray()

    @property
    def pending(self) -> int:
        """Bytes of the line that has not ended yet."""
        return len(self._rest)

    @property
    def last_byte(self) -> bytes:
        """Of the line that has not ended yet, white space apart; empty if there is none."""
        return bytes(self._rest[-16:].rstrip()[-1:])

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that `data` completes."""
        lines = data.split(b"\n")
        rest = lines.pop()
        if self._rest and lines:
            lines[0] = bytes(self._rest) + lines[0]
            self._rest = bytearray()
        if rest:
            self._rest += rest
        return lines

    def take(self) -> bytes:
        """Return what waits for its line end, and forget it."""
        rest = bytes(self._rest)
        self._rest = bytearray()
        return rest
