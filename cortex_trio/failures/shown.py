"""Values in error texts: without API keys and control characters, and cut to a length. Pure.

printable   escapes control characters, which a terminal would act upon
masked      hides what follows the prefix of an API key, or "Bearer"
shown       a short repr of a value, which may be an API key in the wrong field
named       the same for a name that becomes part of a path
listed      the first ten names of a list
closest     the allowed name that was probably meant
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable
from itertools import islice

LONGEST_SHOWN = 80
LONGEST_NAME = 60
"""Characters of a value and of a name."""

MOST_LISTED = 10
"""Names in a list."""

_PREFIXES = (
    r"sk-|sk_|pk-|gsk_|csk-|xai-|AIza|AQ\.|pplx-|hf_|r8_|fw_|nvapi-|gh[opsu]_|github_pat_|ABSK|eyJ|Bearer\s+"
)
"""Of OpenAI, Anthropic, OpenRouter, DeepSeek, Groq, Cerebras, xAI, Google, Perplexity, Hugging Face, Replicate,
Fireworks, NVIDIA, GitHub and Bedrock keys, and of JSON web tokens."""
_PREFIXED = re.compile(rf"(?<![A-Za-z0-9])({_PREFIXES})([\w.+/=-]{{6,}})")
_LONG_WORD = re.compile(r"[\w+=-]{20,}")
"""Keys without a prefix (Azure, Cohere, Mistral, Together) are one run of 32 to 84 characters."""

_KEPT = 4
"""Characters kept of a masked word: enough to find it in a file, too few to use it."""


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
    """Return whether `text` begins like an API key, and is as long and as irregular as one."""
    found = _PREFIXED.match(text)
    return found is not None and len(found[2]) >= 16 and any(char.isdigit() for char in found[2])


def shown(value: object, limit: int = LONGEST_SHOWN) -> str:
    """Return a repr of `value` for an error text, at most `limit` characters long, with texts like API keys masked."""
    try:
        text = repr(value)
    except Exception:  # from a `__repr__` of the caller, or for an int with too many digits
        return f"a value of type {type(value).__name__}"
    text = printable(_without_long_words(masked(text)))
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def named(name: object, limit: int = LONGEST_NAME) -> str:
    """Return `name` as part of a path in an error text: like `shown`, cut to `limit` characters, not in quotes."""
    text = printable(_without_long_words(masked(str(name))))
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def listed(names: Iterable[object], most: int = MOST_LISTED) -> str:
    """Return the first `most` of `names`, and how many more there are; "none" if there are none."""
    left = iter(names)
    first = [named(name) for name in islice(left, most)]
    more = sum(1 for _ in left)
    if not first:
        return "none"
    return ", ".join(first) + (f" and {more} more" if more else "")


def closest(name: str, allowed: Collection[str]) -> str | None:
    """Return the one of `allowed` that is most like `name`, compared without case; None if none is like it."""
    known = {candidate.casefold(): candidate for candidate in allowed}
    found = difflib.get_close_matches(name.casefold()[:LONGEST_NAME], known, n=1, cutoff=0.6)
    return known[found[0]] if found else None


def _without_long_words(text: str) -> str:
    return _LONG_WORD.sub(lambda found: _mask_if_irregular(found[0]), text)


def _mask_if_irregular(word: str) -> str:
    """Mask a word that mixes cases, or letters and digits: ordinary words do neither, random keys nearly always do."""
    has_digit = any(char.isdigit() for char in word)
    mixed = any(char.islower() for char in word) and any(char.isupper() for char in word)
    is_random = any(char.isalpha() for char in word) and (has_digit or mixed)
    return f"{word[:_KEPT]}***" if is_random else word
