"""Remove API keys and repeated requests from texts, because error bodies repeat both. Knows no provider."""

from __future__ import annotations

import re
import string
from collections.abc import Collection, Iterable

SHORTEST_PIECE = 12
"""The shortest piece of a key that is hidden, in characters. Our own masks show at most 11."""
_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)  # unlike lower(), keeps every length
_KEY_SHAPED = re.compile(r"\b(?:sk-|gsk_|xai-|AIza|Bearer\s+)[\w.*-]{6,}")


def scrub(text: str, secrets: Collection[str] = ()) -> str:
    """Return `text` with `***` for each of the secrets, for pieces of them, and for all that looks like an API key.

    Args:
        text: Any text, such as the message of an error body.
        secrets: The API keys in use. Empty strings are skipped.
    """
    for secret in filter(None, secrets):
        text = _hide(text, secret)
    return _KEY_SHAPED.sub("***", text)


SHORTEST_REPETITION = 20
"""Characters. An error and a request share so many in a row only if the error repeats the request."""

REQUEST_LIMIT = 256 * 1024
"""Characters of a request that are compared: errors repeat its beginning."""


def without_repetition(text: str, request: Iterable[str]) -> str:
    """Return `text` with "[…]" for what it repeats of the request: prompts belong in no log, event or error.

    Args:
        text: The message of an error. Runs of blanks are compared as one blank, as `Failure.message` has them.
        request: The texts of the request.
    """
    if len(text) < SHORTEST_REPETITION:
        return text
    sent = " ".join(" ".join(piece[:REQUEST_LIMIT].split()) for piece in request)[:REQUEST_LIMIT]
    if len(sent) < SHORTEST_REPETITION:
        return text
    kept: list[str] = []
    at = 0
    while at < len(text):
        end = at + SHORTEST_REPETITION
        if len(text) < end or text[at:end] not in sent:
            kept.append(text[at])
            at += 1
            continue
        while end < len(text) and text[at : end + 1] in sent:
            end += 1
        kept.append("[…]")
        at = end
    return "".join(kept)


def _hide(text: str, secret: str) -> str:
    """Hide `secret` and pieces of it, in any case: bodies are cut, and codes are kept in lower case."""
    low = text.translate(_LOWER)
    if not _may_hold(low, secret):
        return text
    pieces, size = _pieces(secret)
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
    """Return whether `text` holds `secret`, or a piece of it that `scrub` would hide.

    Args:
        text: Any text.
        secret: An API key.
    """
    low = text.translate(_LOWER)
    return any(piece in low for piece in _pieces(secret)[0])


def _may_hold(low: str, secret: str) -> bool:
    """Return False if `low` certainly holds no piece of `secret`. Each piece holds one whole block of half its length.

    The ids of requests are scrubbed after every attempt, and all pieces together cost ten times as much.
    """
    half = (min(SHORTEST_PIECE, len(secret)) + 1) // 2
    key = secret.translate(_LOWER)
    return any(key[at : at + half] in low for at in range(0, len(key) - half + 1, half))


def _pieces(secret: str) -> tuple[set[str], int]:
    """Return the shortest pieces by which a secret is recognised, and their length."""
    size = min(SHORTEST_PIECE, len(secret))
    key = secret.translate(_LOWER)
    return {key[at : at + size] for at in range(len(key) - size + 1)}, size
