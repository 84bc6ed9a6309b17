"""Output on a terminal: coloured lines, streamed text, tables. Knows nothing of gateways.

Colours are off without a terminal, with NO_COLOR (https://no-color.org) and with --no-color.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import TextIO, final

import attrs

from ..gateway.settings.config import environment


class Colour(Enum):
    """ANSI SGR codes (ECMA-48)."""

    PLAIN = ""
    BOLD = "1"
    DIM = "2"
    RED = "31"
    GREEN = "32"
    YELLOW = "33"
    CYAN = "36"


@attrs.frozen
class Row:
    """One line of a table; `colour` applies to all its cells."""

    cells: Sequence[str]
    colour: Colour = Colour.PLAIN


@final
class Screen:
    """One output stream. A line that is printed while text streams ends the line of that text, which goes on below."""

    def __init__(self, out: TextIO, *, colours: bool) -> None:
        self._out = out
        self._colours = colours
        self._streaming = False

    @classmethod
    def on(cls, out: TextIO, *, no_color: bool) -> Screen:
        """Return a screen for `out`, with colours if `out` is a terminal and nothing turns them off."""
        wanted = out.isatty() and not no_color and not environment().get("NO_COLOR")
        return cls(out, colours=wanted)

    def line(self, text: str = "", colour: Colour = Colour.PLAIN) -> None:
        """Print one line. A line of streamed text that is open is ended first."""
        self.end()
        self._write(self._painted(text, colour) + "\n")

    def piece(self, text: str, colour: Colour = Colour.PLAIN, *, indent: str = "") -> None:
        """Print a piece of streamed text at once; `indent` is printed where a new line begins."""
        if not self._streaming and indent:
            text = indent + text.lstrip()
        self._streaming = not text.endswith("\n")
        self._write(self._painted(text, colour))

    def end(self) -> None:
        """End the line of streamed text, if one is open."""
        if self._streaming:
            self._streaming = False
            self._write("\n")

    def table(self, heads: Sequence[str], rows: Sequence[Row], *, indent: str = "") -> None:
        """Print rows in columns, each as wide as its widest cell."""
        lines = [Row(heads, Colour.DIM), *rows]
        widths = [max(len(row.cells[column]) for row in lines) for column in range(len(heads))]
        for row in lines:
            cells = (f"{cell:<{width}}" for cell, width in zip(row.cells, widths, strict=True))
            self.line(f"{indent}{'  '.join(cells)}".rstrip(), row.colour)

    def _painted(self, text: str, colour: Colour) -> str:
        if not self._colours or colour is Colour.PLAIN or not text:
            return text
        return f"\x1b[{colour.value}m{text}\x1b[0m"

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()
