"""Newline-delimited JSON: one value per line, blank lines ignored, the last LF optional. Parses nothing."""

from __future__ import annotations

from collections.abc import Iterator

from .codec import EVENT_LIMIT
from .framing import LineSplitter, TooLarge


class NdjsonReader:
    """Feed it bytes in any slices; it returns the lines that are not blank, stripped of white space."""

    def __init__(self, *, limit: int = EVENT_LIMIT) -> None:
        self._limit = limit
        self._lines = LineSplitter()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The lines that `data` completes. Iterate at once and to the end: reading happens on the way.

        Raises TooLarge, after the lines before it, when one outgrows the limit; the stream is lost then.
        """
        for line in self._lines.feed(data):
            if len(line) > self._limit:
                self._give_up()
            if line := line.strip():
                yield line
        if self._lines.pending > self._limit:
            self._give_up()

    def finish(self) -> bytes | None:
        """Return a last line without its LF when the stream ends, b"" if there is none. It may be complete or cut."""
        return self._lines.take().strip() or None

    def _give_up(self) -> None:
        self._lines.take()
        raise TooLarge(self._limit)
