"""Take API keys out of texts: error bodies echo them whole, masked or cut. Knows no provider."""

from __future__ import annotations

import re
import string
from collections.abc import Collection, Iterable

SHORTEST_PIECE = 12
"""Characters of a key that are worth hiding by themselves; our own masks show 11."""
_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)  # unlike lower(), keeps every length
_KEY_SHAPED = re.compile(r"\b(?:sk-|gsk_|xai-|AIza|Bearer\s+)[\w.*-]{6,}")


def scrub(text: str, secrets: Collection[str] = ()) -> str:
    """Return `text` without the given secrets and without anything that looks like a key: error bodies echo them."""
    for secret in filter(None, secrets):
        text = _hide(text, secret)
    return _KEY_SHAPED.sub("***", text)


REPEATED = 20
"""Characters in a row that an error and a request share only if one repeats the other."""
MOST_READ = 256 * 1024
"""Characters of a request that are looked through: errors quote its beginning."""


def without_repetition(text: str, said: Iterable[str]) -> str:
    """Return `text` without what it repeats of `said`: a prompt belongs into no log, event or error.

    Blanks are compared as one blank, as `Failure.message` has them.
    """
    if len(text) < REPEATED:
        return text
    read = " ".join(" ".join(piece[:MOST_READ].split()) for piece in said)[:MOST_READ]
    if len(read) < REPEATED:
        return text
    kept: list[str] = []
    at = 0
    while at < len(text):
        end = at + REPEATED
        if len(text) < end or text[at:end] not in read:
            kept.append(text[at])
            at += 1
            continue
        while end < len(text) and text[at : end + 1] in read:
            end += 1
        kept.append("[…]")
        at = end
    return "".join(kept)


def _hide(text: str, secret: str) -> str:
    """`text` without `secret` or pieces of it, in capitals or not: bodies are cut, codes kept in lower case."""
    pieces, size = _pieces(secret)
    low = text.translate(_LOWER)
    kept: list[str] = []
    at = 0
    while at < len(text):
        end = at
        while low[end : end + size] in pieces:
            end += 1
        kept.append("***" if end > at else text[at])
        at = end + size - 1 if end > at else at + 1
    return "".join(kept)


def holds(text: str, secret: str) -> bool:
    """Is `secret`, or a piece of it that `scrub` would hide, in `text`?"""
    low = text.translate(_LOWER)
    return any(piece in low for piece in _pieces(secret)[0])


def _pieces(secret: str) -> tuple[set[str], int]:
    """The shortest pieces by which a secret is recognised, and their length."""
    size = min(SHORTEST_PIECE, len(secret))
    key = secret.translate(_LOWER)
    return {key[at : at + size] for at in range(len(key) - size + 1)}, size
