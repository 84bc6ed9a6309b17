"""How values appear in error texts: no API keys, no control characters, a bounded length. Pure.

printable   control characters escaped: a terminal must not obey an error text
masked      what has the prefix of an API key, or follows "Bearer", hidden
shown       a value that may be a key pasted into the wrong field, as a short repr
named       the same for a name that becomes part of a path
listed      names, the first ten of them
closest     the allowed name that was probably meant
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable
from itertools import islice

LONGEST_SHOWN = 80
LONGEST_NAME = 60
MOST_LISTED = 10

_PREFIXES = (
    r"sk-|sk_|pk-|gsk_|csk-|xai-|AIza|AQ\.|pplx-|hf_|r8_|fw_|nvapi-|gh[opsu]_|github_pat_|ABSK|eyJ|Bearer\s+"
)
"""Of OpenAI, Anthropic, OpenRouter, DeepSeek, Groq, Cerebras, xAI, Google, Perplexity, Hugging Face, Replicate,
Fireworks, NVIDIA, GitHub and Bedrock keys, and of JSON web tokens."""
_PREFIXED = re.compile(rf"(?<![A-Za-z0-9])({_PREFIXES})([\w.+/=-]{{6,}})")
_LONG_WORD = re.compile(r"[\w+=-]{20,}")
"""Keys without a prefix (Azure, Cohere, Mistral, Together) are one run of 32 to 84 characters."""
_KEPT = 4
"""Characters kept of a masked word: enough to find it in a file, too little to use it."""


def printable(text: str) -> str:
    """Return `text` with each control character (ESC, line breaks, direction marks) as an escape: `\\x1b`."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text
    )


def masked(text: str) -> str:
    """Return `text` with `***` instead of what follows a provider's key prefix. Masking twice changes nothing."""
    return _PREFIXED.sub(r"\1***", text)


def looks_like_key(text: str) -> bool:
    """Does `text` begin like an API key, and is it as long and as irregular as one?"""
    found = _PREFIXED.match(text)
    return found is not None and len(found[2]) >= 16 and any(char.isdigit() for char in found[2])


def shown(value: object, limit: int = LONGEST_SHOWN) -> str:
    """Return a repr of `value` for an error text, at most `limit` characters, with all that may be a key masked."""
    try:
        text = repr(value)
    except Exception:  # of a value of the caller's, or an int of too many digits
        return f"a value of type {type(value).__name__}"
    text = printable(_without_long_words(masked(text)))
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def named(name: object, limit: int = LONGEST_NAME) -> str:
    """Return `name` as part of a path in an error text: as `shown`, without quotes."""
    text = printable(_without_long_words(masked(str(name))))
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def listed(names: Iterable[object], most: int = MOST_LISTED) -> str:
    """Return the first `most` names, then how many more there are; "none" if there are none."""
    left = iter(names)
    first = [named(name) for name in islice(left, most)]
    more = sum(1 for _ in left)
    if not first:
        return "none"
    return ", ".join(first) + (f" and {more} more" if more else "")


def closest(name: str, allowed: Collection[str]) -> str | None:
    """Return the allowed name that is most like `name`, whatever its capitals; None if none is."""
    known = {candidate.casefold(): candidate for candidate in allowed}
    found = difflib.get_close_matches(name.casefold()[:LONGEST_NAME], known, n=1, cutoff=0.6)
    return known[found[0]] if found else None


def _without_long_words(text: str) -> str:
    return _LONG_WORD.sub(lambda found: _mask_if_irregular(found[0]), text)


def _mask_if_irregular(word: str) -> str:
    """Words are of one case and without digits; of random letters and digits nearly all are not."""
    has_digit = any(char.isdigit() for char in word)
    mixed = any(char.islower() for char in word) and any(char.isupper() for char in word)
    is_random = any(char.isalpha() for char in word) and (has_digit or mixed)
    return f"{word[:_KEPT]}***" if is_random else word
