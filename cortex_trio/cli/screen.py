"""What a terminal is told: coloured lines, text that streams, tables. Knows nothing of gateways.

Colours are for people: off without a terminal, with NO_COLOR (https://no-color.org) and with --no-color.
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
    """One line of a table; `colour` is for the whole of it."""

    cells: Sequence[str]
    colour: Colour = Colour.PLAIN


@final
class Screen:
    """One output. A line that comes while text is streaming gets a line of its own, and the text goes on below."""

    def __init__(self, out: TextIO, *, colours: bool) -> None:
        self._out = out
        self._colours = colours
        self._streaming = False

    @classmethod
    def on(cls, out: TextIO, *, no_color: bool) -> Screen:
        """The screen of an output, with colours where they are wanted."""
        wanted = out.isatty() and not no_color and not environment().get("NO_COLOR")
        return cls(out, colours=wanted)

    def line(self, text: str = "", colour: Colour = Colour.PLAIN) -> None:
        """Print one line, after ending the one that is streaming."""
        self.end()
        self._write(self._painted(text, colour) + "\n")

    def piece(self, text: str, colour: Colour = Colour.PLAIN, *, indent: str = "") -> None:
        """Print a piece of streaming text as soon as it comes; `indent` begins a new line of it."""
        if not self._streaming and indent:
            text = indent + text.lstrip()
        self._streaming = not text.endswith("\n")
        self._write(self._painted(text, colour))

    def end(self) -> None:
        """End the line that is streaming, if there is one."""
        if self._streaming:
            self._streaming = False
            self._write("\n")

    def table(self, heads: Sequence[str], rows: Sequence[Row], *, indent: str = "") -> None:
        """Print rows in columns as wide as they need to be."""
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
