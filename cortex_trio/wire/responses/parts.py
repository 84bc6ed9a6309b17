"""The parts of an item that came in deltas, and what the end of the item adds to them.

Some servers number the parts of their deltas in another way than they list them at the end (Bedrock Mantle and vLLM
count on from the reasoning). So parts are matched by number and text, then by text, then in order. Text that was
emitted is never emitted again. Knows no events.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..payload import require_open


class StreamedParts:
    """The texts of the parts of one item, as far as they came in deltas."""

    def __init__(self) -> None:
        self._pieces: dict[int, list[str]] = {}  # by the number that the deltas use

    @property
    def any(self) -> bool:
        return bool(self._pieces)

    @property
    def text(self) -> str:
        return "".join(piece for pieces in self._pieces.values() for piece in pieces)

    def add(self, number: int, text: str) -> None:
        """Raises Malformed for more parts than any item has."""
        self._pieces.setdefault(number, []).append(text)
        require_open(len(self._pieces), "content parts")

    def missing(self, texts: Sequence[str]) -> list[str]:
        """Return what is new in each of `texts`, the parts of the item at its end."""
        streamed = {number: "".join(pieces) for number, pieces in self._pieces.items()}
        everything = "".join(streamed.values())
        if "".join(texts).startswith(everything):
            return _without_beginning(texts, len(everything))
        missing = list(texts)
        free = set(range(len(texts)))
        for matches in (_same_number, _same_text, _next_one):
            for number, text in [*streamed.items()]:
                place = next((at for at in sorted(free) if matches(number, text, at, texts[at])), None)
                if place is not None:
                    free.discard(place)
                    del streamed[number]
                    whole = texts[place]
                    missing[place] = whole[len(text) :] if whole.startswith(text) else ""
        return missing


def _without_beginning(texts: Sequence[str], length: int) -> list[str]:
    left = []
    for text in texts:
        left.append(text[length:])
        length = max(0, length - len(text))
    return left


def _same_number(number: int, streamed: str, place: int, text: str) -> bool:
    return number == place and text.startswith(streamed)


def _same_text(number: int, streamed: str, place: int, text: str) -> bool:
    return bool(streamed) and text.startswith(streamed)


def _next_one(number: int, streamed: str, place: int, text: str) -> bool:
    """The end has another text than the deltas had: the deltas count, for they were emitted."""
    return bool(streamed)
