"""Find the sentences of `phrases` in a message. Knows how messages are written, not what they prove."""

from __future__ import annotations

import functools
import re

from .kinds import FailureKind
from .phrases import BEFORE_CODES, IN_STREAM, PHRASES, Phrase

K = FailureKind

ABOUT_MODEL = re.compile(r"(?<![\w/.-])(?:models?|deployments?|fine-?tun\w*)(?![\w/.-])|模型")
"""A message that is about a model: a 404 with it is MODEL_NOT_FOUND."""

_QUOTES = str.maketrans({"‘": "'", "’": "'", "“": '"', "”": '"', "«": '"', "»": '"', "`": "`"})
_QUOTED = re.compile(r'"([^"\n]*)"|`([^`\n]*)`|(?<!\w)\'([^\'\n]*)\'(?!\w)')
_ADDRESS = re.compile(r"\b[a-z][a-z+.-]{1,20}://[^\s\"'`<>]+")
_FILE_END = (
    r"\.(?:pdf|txt|md|csv|tsv|jsonl?|ya?ml|xml|docx?|xlsx?|pptx?|zip"
    r"|png|jpe?g|gif|webp|bmp|svg|mp[34]|wav|m4a|ogg|webm)"
)
_FILE = re.compile(rf"(?<![\w-])[\w-]++{_FILE_END}\b")
_NAMES_FILE = re.compile(rf"{_FILE_END}$")
_MESSAGE_FIELD = re.compile(r"(?:message|msg|detail|error|reason|raw)[\"'\\]{0,3}\s?[:=]\s?$")
_SENTENCE_END = re.compile(r"[.!?;](?:\s+|$)|\n+|[。！？；]")

QUOTED_WORDS = 4
"""A quotation of at least so many words is part of the request: names and values have fewer."""


def readable(text: str, *, with_quotations: bool = False) -> str:
    """Return a message as the patterns expect it: lower case, one sentence per line, no quotation marks.

    Args:
        text: The message.
        with_quotations: Whether to keep long quotations, addresses and file names. They are part of the request and may
            hold any words.
    """
    text = text.lower().translate(_QUOTES)
    if with_quotations:
        text = _QUOTED.sub(_inner, text)
    else:
        text = _ADDRESS.sub("…", text)
        text = _QUOTED.sub(_unquoted, text)
        text = _FILE.sub("…", text)
    lines = _SENTENCE_END.split(text)
    return "\n".join(" ".join(line.split()) for line in lines if line)


def without_paths(text: str) -> str:
    """Return a readable message without paths: "no route for /v1/models" is not about a model.

    Args:
        text: The message, made `readable`.
    """
    return " ".join(word for word in text.split() if "/" not in word)


def kind_of(status: int | None, text: str, whole: str, param: str | None) -> FailureKind | None:
    """Return the kind of the first phrase that matches a message; None if none does.

    Args:
        status: The HTTP status, None for an error inside a 200 stream.
        text: The message, made `readable`.
        whole: The same with quotations and with the codes. `Phrase.unless` is matched with it.
        param: The field of the request that the provider names. An error about another field than the model is not
            about the model or the API key, whatever words it holds.
    """
    for phrase in PHRASES:
        if (status or IN_STREAM) not in phrase.statuses or (param and not _may_be(phrase.kind, param)):
            continue
        pattern, unless = _compiled(phrase)
        if pattern.search(text) and not (unless and unless.search(whole)):
            return phrase.kind
    return None


def kind_before_codes(status: int | None, whole: str) -> FailureKind | None:
    """Return the kind of a sentence that counts more than any code; None if there is none.

    Args:
        status: The HTTP status, None for an error inside a 200 stream.
        whole: The message, made `readable`, with quotations and with the codes.
    """
    for phrase in BEFORE_CODES:
        if (status or IN_STREAM) in phrase.statuses and _compiled(phrase)[0].search(whole):
            return phrase.kind
    return None


def _may_be(kind: FailureKind, param: str) -> bool:
    if kind in (K.MODEL_NOT_FOUND, K.CREDENTIAL, K.REGION):
        return param == "model" or "key" in param or "auth" in param
    return kind is not K.QUOTA or param in ("model", "quota")


@functools.cache
def _compiled(phrase: Phrase) -> tuple[re.Pattern[str], re.Pattern[str] | None]:
    """Compile the patterns of a phrase when they are first needed: most programs see few errors."""
    either = "|".join(f"(?:{pattern})" for pattern in phrase.patterns)
    unless = "|".join(f"(?:{pattern})" for pattern in phrase.unless)
    return re.compile(either, re.MULTILINE), re.compile(unless) if unless else None


def _inner(quoted: re.Match[str]) -> str:
    return quoted[1] or quoted[2] or quoted[3] or ""


def _unquoted(quoted: re.Match[str]) -> str:
    inner = _inner(quoted)
    is_long = inner.count(" ") >= QUOTED_WORDS - 1
    is_all = len(quoted[0]) >= len(quoted.string.strip()) - 1
    before = quoted.string[: quoted.start()]
    is_error = "error" in before and _MESSAGE_FIELD.search(
        before, max(0, len(before) - 16)
    )  # {'error': {'message': '…'}}
    if (is_long and not is_all and not is_error) or _NAMES_FILE.search(inner):
        return "…"
    return inner
