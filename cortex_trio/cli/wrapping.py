"""Breaks text at words to the width of a terminal: streamed text, whole lines, columns of a table. Pure."""

from __future__ import annotations

import re
import textwrap
import unicodedata
from collections.abc import Sequence
from typing import final

NARROWEST_CELL = 8
"""Characters that a column keeps when a table is too wide."""


@final
class WordWrap:
    """Breaks a text that arrives in pieces. A word that may go on is held until the next piece, or until `finish`."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._column = 0
        self._held = ""

    def feed(self, piece: str, indent: str = "") -> str:
        """Return what can be printed now; `indent` is put in front of each line that begins here."""
        text = self._held + piece
        whole = len(text) if text[-1:].isspace() else len(text) - len(re.split(r"\s", text)[-1])
        if columns(text[whole:]) >= self._width:
            whole = len(text)  # no line is long enough for it, so that waiting is of no use
        self._held = text[whole:]
        return self._broken(text[:whole], indent)

    def finish(self, indent: str = "") -> str:
        """Return the word that was held. The next piece begins a line."""
        text, self._held = self._held, ""
        made = self._broken(text, indent)
        self._column = 0
        return made

    def _broken(self, text: str, indent: str) -> str:
        made: list[str] = []
        for part in re.findall(r"\n|[^\S\n]+|\S+", text):
            needed = columns(part)
            if part == "\n":
                self._column = 0
            elif self._column + needed <= self._width or not self._column:
                self._column += needed
            elif part.isspace():
                continue  # a blank at the end of a line
            else:
                made.append(f"\n{indent}")
                self._column = len(indent) + needed
            made.append(part)
        return "".join(made)


def columns(text: str) -> int:
    """Return how many columns of a terminal `text` takes: wide characters take two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )


def broken(text: str, width: int | None) -> list[str]:
    """Return `text` as lines of at most `width` characters, with the indent of the first. None: as one line."""
    if width is None or len(text) <= width:
        return [text]
    indent = text[: len(text) - len(text.lstrip())]
    return textwrap.wrap(
        text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    ) or [text]


def narrowed(widths: Sequence[int], available: int, words: Sequence[int]) -> list[int]:
    """Return the widths of columns that together take at most `available` characters, if that is possible.

    The widest column is narrowed first, and no column below `NARROWEST_CELL` characters. As long as it is enough, no
    column becomes narrower than its longest word.

    Args:
        widths: The width of the widest cell of each column.
        available: What there is for all columns.
        words: The length of the longest word of each column.
    """
    made = list(widths)
    for least in ([max(word, NARROWEST_CELL) for word in words], [NARROWEST_CELL] * len(made)):
        while sum(made) > available:
            wide = [place for place, width in enumerate(made) if width > least[place]]
            if not wide:
                break
            made[max(wide, key=lambda place: made[place])] -= 1
    return made
