"""Output on a terminal: coloured lines, streamed text, tables. Knows nothing of gateways.

Colours are off without a terminal, on a dumb one, with NO_COLOR (https://no-color.org) and with --no-color. Lines are
broken at words on a terminal only: a pipe gets whole lines. `LC_ALL=C` and `LANG=C` get ASCII.
"""

from __future__ import annotations

import os
import sys
import textwrap
import unicodedata
from collections.abc import Sequence
from enum import Enum
from typing import TextIO, final

import attrs

from ..gateway.settings.config import environment
from .wrapping import WordWrap, broken, narrowed

STANDARD_OUTPUT = "standard output"
ASCII_SIGNS = str.maketrans(
    {
        "✓": "+",
        "✗": "x",
        "·": "-",
        "…": "...",
        "→": "->",
        "█": "#",
        "░": ".",
        "•": "*",
        "–": "-",
        "—": "-",
        "“": '"',
        "”": '"',
        "‘": "'",
        "’": "'",
        "\u00a0": " ",
        "├": "|",
        "└": "`",
        "│": "|",
        "─": "-",
    }
)


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
    """One output stream. A line that is printed while text streams ends the line of that text, which goes on below.

    Standard error is for facts only: when it cannot be written, they are dropped, and the command goes on.
    """

    def __init__(
        self, out: TextIO, *, colours: bool, width: int | None = None, ascii_only: bool = False
    ) -> None:
        """
        Args:
            out: The stream.
            colours: Whether colours are written.
            width: The columns of the terminal. None: lines are not broken.
            ascii_only: Whether signs of our own are written in ASCII.
        """
        self.is_terminal = width is not None
        self.width = width
        self._out = out
        self._colours = colours
        self._ascii = ascii_only
        self._wrap = None if width is None else WordWrap(width)
        self._wrapped = (Colour.PLAIN, "")  # colour and indent of the word that `_wrap` holds
        self._streaming = False

    @classmethod
    def on(cls, out: TextIO, *, no_color: bool) -> Screen:
        """Return a screen for `out`, with colours if `out` is a terminal and nothing turns them off."""
        variables = environment()
        terminal = out.isatty()
        dumb = variables.get("TERM") == "dumb"
        colours = terminal and not dumb and not no_color and not variables.get("NO_COLOR")
        width = _columns(out) if terminal else None
        return cls(out, colours=colours, width=width, ascii_only=is_ascii(out))

    def line(self, text: str = "", colour: Colour = Colour.PLAIN) -> None:
        """Print one line. A line of streamed text that is open is ended first."""
        self.end()
        text = self._signs(text)
        for part in broken(text, self.width):
            self._write(self._painted(part, colour) + "\n")

    def piece(self, text: str, colour: Colour = Colour.PLAIN, *, indent: str = "") -> None:
        """Print a piece of streamed text at once; `indent` is printed where a new line begins.

        On a terminal a word is printed when it is whole, so that it is in one line.
        """
        if not self._streaming and indent:
            text = indent + text.lstrip()
        if not text:
            return
        self._streaming = not text.endswith("\n")
        if self._wrap is not None:
            text = self._wrap.feed(self._in_ascii(text), indent)
            self._wrapped = (colour, indent)
        self._write(self._painted(text, colour))

    def end(self) -> None:
        """End the line of streamed text, if one is open."""
        if self._wrap is not None:
            colour, indent = self._wrapped
            self._write(self._painted(self._wrap.finish(indent), colour))
        if self._streaming:
            self._streaming = False
            self._write("\n")

    def raw(self, text: str) -> None:
        """Print text as it is, such as JSON that another program reads."""
        self.end()
        self._write(text)

    def table(
        self, heads: Sequence[str], rows: Sequence[Row], *, indent: str = "", optional: Sequence[str] = ()
    ) -> None:
        """Print rows in columns, each as wide as its widest cell.

        Args:
            heads: The names of the columns.
            rows: One cell for each column.
            indent: Printed in front of each line.
            optional: Names of columns that are left out, the first one first, while the terminal is too narrow. If
                it is still too narrow, cells are broken, at words where that is possible.
        """
        lines = [Row([self._signs(cell) for cell in row.cells], row.colour) for row in (Row(heads), *rows)]
        lines[0] = Row(lines[0].cells, Colour.DIM)
        available = None if self.width is None else self.width - len(indent)
        for name in optional:
            if available is None or sum(_widths(lines)) + 2 * (len(lines[0].cells) - 1) <= available:
                break
            column = lines[0].cells.index(name)
            lines = [Row([*row.cells[:column], *row.cells[column + 1 :]], row.colour) for row in lines]
        widths = _widths(lines)
        if available is not None:
            words = [
                max(max(map(len, row.cells[column].split()), default=0) for row in lines)
                for column in range(len(widths))
            ]
            widths = narrowed(widths, available - 2 * (len(widths) - 1), words)
        for row in lines:
            self._print_row(row, widths, indent)

    def _print_row(self, row: Row, widths: Sequence[int], indent: str) -> None:
        cells = [
            textwrap.wrap(cell, width) or [""] if len(cell) > width else [cell]
            for cell, width in zip(row.cells, widths, strict=True)
        ]
        self.end()
        for place in range(max(len(cell) for cell in cells)):
            parts = (cell[place] if place < len(cell) else "" for cell in cells)
            padded = (f"{part:<{width}}" for part, width in zip(parts, widths, strict=True))
            self._write(self._painted(f"{indent}{'  '.join(padded)}".rstrip(), row.colour) + "\n")

    def _signs(self, text: str) -> str:
        return text.translate(ASCII_SIGNS) if self._ascii else text

    def _in_ascii(self, text: str) -> str:
        """Return the text of an answer for an ASCII terminal; accents are dropped, and other characters become "?"."""
        if not self._ascii or text.isascii():
            return text
        plain = unicodedata.normalize("NFKD", text.translate(ASCII_SIGNS))
        kept = "".join(char for char in plain if not unicodedata.combining(char))
        return kept.encode("ascii", "replace").decode("ascii")

    def _painted(self, text: str, colour: Colour) -> str:
        if not self._colours or colour is Colour.PLAIN or not text:
            return text
        return f"\x1b[{colour.value}m{text}\x1b[0m"

    def _write(self, text: str) -> None:
        if not text:
            return
        try:
            self._out.write(text)
            self._out.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            if self._out is not sys.stderr:
                raise OSError(error.errno, error.strerror, STANDARD_OUTPUT) from None


def is_ascii(out: TextIO) -> bool:
    """Return whether only ASCII may be written to `out`: its encoding or the locale of the user says so.

    Python writes UTF-8 in the C locale (PEP 538 and 540), so the variables are read that the user has set.
    """
    variables = environment()
    locale = variables.get("LC_ALL") or variables.get("LANG") or ""
    if locale.upper() in ("C", "POSIX"):
        return True
    try:
        "✓".encode(getattr(out, "encoding", None) or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return True
    return False


def counted(number: int, thing: str) -> str:
    """Return a number with its noun: "1 worker", "2 workers"."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def _widths(lines: Sequence[Row]) -> list[int]:
    return [max(len(row.cells[column]) for row in lines) for column in range(len(lines[0].cells))]


def _columns(out: TextIO) -> int:
    variables = environment()
    if (text := variables.get("COLUMNS", "")).isdigit() and int(text) > 0:
        return int(text)
    try:
        return os.get_terminal_size(out.fileno()).columns or 80
    except (OSError, ValueError):
        return 80
