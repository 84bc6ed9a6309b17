"""One line on a terminal that is written again and again: how far a long command is."""

from __future__ import annotations

from typing import TextIO, final

from ..gateway.settings.config import environment
from .screen import ASCII_SIGNS, is_ascii

BAR = 30
"""Characters of a bar."""


@final
class ProgressLine:
    """Shows progress if `out` is a terminal that can clear a line; otherwise it writes nothing."""

    def __init__(self, out: TextIO) -> None:
        self._out = out if out.isatty() and environment().get("TERM") != "dumb" else None
        self._ascii = is_ascii(out)

    def show(self, text: str) -> None:
        """Replace the line."""
        if self._out is not None:
            text = text.translate(ASCII_SIGNS) if self._ascii else text
            self._out.write(f"\r\x1b[2K{text}")
            self._out.flush()

    def clear(self) -> None:
        """Leave an empty line, for other output."""
        self.show("")


def bar(done: int, total: int) -> str:
    """Return a bar that is filled as far as the work is done."""
    filled = BAR * done // total
    return f"{'█' * filled}{'░' * (BAR - filled)}"
