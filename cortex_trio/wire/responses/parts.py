"""What of an item's parts was said in pieces, and what its end adds to that.

Servers number the parts of their deltas otherwise than they list them at the end (Bedrock Mantle and vLLM count on
from the reasoning), so parts are matched by their text, and by their numbers only where that leaves a choice. What
was said is never said again. Knows no events.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..payload import require_open


class SaidParts:
    """The texts of the parts of one item, as far as they came in pieces."""

    def __init__(self) -> None:
        self._pieces: dict[int, list[str]] = {}  # by the number that the deltas use

    @property
    def any(self) -> bool:
        return bool(self._pieces)

    @property
    def text(self) -> str:
        return "".join(piece for pieces in self._pieces.values() for piece in pieces)

    def say(self, number: int, text: str) -> None:
        """Raises Malformed for more parts than any item has."""
        self._pieces.setdefault(number, []).append(text)
        require_open(len(self._pieces), "content parts")

    def missing(self, texts: Sequence[str]) -> list[str]:
        """What was not said of each of `texts`, the parts of the item at its end."""
        said = {number: "".join(pieces) for number, pieces in self._pieces.items()}
        everything = "".join(said.values())
        if "".join(texts).startswith(everything):
            return _without_beginning(texts, len(everything))
        missing = list(texts)
        free = set(range(len(texts)))
        for matches in (_same_number, _same_text, _next_one):
            for number, text in [*said.items()]:
                place = next((at for at in sorted(free) if matches(number, text, at, texts[at])), None)
                if place is not None:
                    free.discard(place)
                    del said[number]
                    whole = texts[place]
                    missing[place] = whole[len(text) :] if whole.startswith(text) else ""
        return missing


def _without_beginning(texts: Sequence[str], length: int) -> list[str]:
    left = []
    for text in texts:
        left.append(text[length:])
        length = max(0, length - len(text))
    return left


def _same_number(number: int, said: str, place: int, text: str) -> bool:
    return number == place and text.startswith(said)


def _same_text(number: int, said: str, place: int, text: str) -> bool:
    return bool(said) and text.startswith(said)


def _next_one(number: int, said: str, place: int, text: str) -> bool:
    """The end tells a part otherwise than its pieces did: the pieces are what counts, for they were handed on."""
    return bool(said)
