"""What an error proves: the provider's code or type first, then its message, then the HTTP status.

Status alone is wrong often: a bad key is a 400 on Gemini and xAI, exhausted credit a 400 on Anthropic and a 429 on xAI,
and errors arrive inside streams whose status was 200. But a status and its headers count whatever the body is: a web
page, cut, or nothing at all. The tables are data: `signals` holds codes and statuses, `phrases` the messages.

What the tables do not say is decided here:

* A quota with a short hint is a rate limit: it ends in minutes. Codes that speak of money are believed all the same.
* A 404 is about the model only if it says so: a wrong path, a web page and an empty body say nothing about a model.
* A web page is read by its status. A 401 page is a login in front of the server, so the key is not accepted there;
  a 403 or 5xx page comes from an edge in front of it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from datetime import datetime
from http import HTTPStatus

import attrs

from . import signals, wording
from .body import Code, Said, load, read
from .kinds import Failure, FailureKind, Phase
from .redact import holds, scrub
from .retry_after import retry_after

__all__ = ["classify", "classify_payload", "holds", "scrub"]

K = FailureKind

SHORT_HINT_SECONDS = 300.0
"""A quota that is back within minutes is a rate limit (Ollama and Groq say "usage limit" and "per day" of both)."""

PAGE_LIMIT = 2000
"""Characters of a web page that are looked at."""

_EXACT = signals.table(signals.EXACT)
_PARTS = signals.table(signals.PARTS)
_VAGUE = signals.table(signals.VAGUE)
_VAGUE_PARTS = signals.table(signals.VAGUE_PARTS)
_WITHOUT_STATUS = signals.table(signals.WITHOUT_STATUS)
_WRAPPING, _OF_LOAD = (400, 500, 502), (429, 529)
_PAGE = re.compile(r"<(?:!doctype|!--|html|head|body|title|center|h1|\?xml)\b", re.IGNORECASE)


def classify(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    phase: Phase = "headers",
    now: datetime | None = None,
    secrets: Collection[str] = (),
) -> Failure:
    """Return what an answer that is not a 2xx proves. Never raises.

    Args:
        status: The HTTP status.
        headers: Names in lower case, one value a name: repeated headers are joined by ", ".
        body: The body, unpacked; it may be cut short at any byte.
        phase: Where the request was when it failed.
        now: The aware wall-clock time, for hints that are dates.
        secrets: API keys that must not be seen in the failure.
    """
    text = body.decode("utf-8", "replace").strip()
    payload = load(text)
    hint = retry_after(headers, text if payload is None else payload, now)
    if payload is None and (_PAGE.match(text) or "<html" in text[:500].lower()):
        failure = Failure(_of_page(status), scrub(_words(text) or _reason(status), secrets), status)
    else:
        said = _with_type(read(text if payload is None else payload), headers)
        failure = _failure(status, said, hint, secrets)
    return attrs.evolve(
        failure,
        status=status,
        phase=phase,
        retry_after=hint if failure.code != "quota:per_day" else None,
        request_id=scrub(headers.get("x-request-id") or headers.get("request-id") or "", secrets) or None,
        should_retry={"true": True, "false": False}.get(headers.get("x-should-retry", "")),
    )


def classify_payload(
    payload: object, *, status: int | None = None, phase: Phase = "stream", secrets: Collection[str] = ()
) -> Failure:
    """Return what a decoded JSON error proves; also for one that arrived inside a 200 stream. Never raises.

    Args:
        payload: Any JSON value.
        status: The HTTP status if it was an error; without it, one that the body names counts.
        phase: Where the request was when it failed.
        secrets: API keys that must not be seen in the failure.
    """
    said = read(payload)
    status = status or next(iter(said.statuses), None)
    return attrs.evolve(_failure(status, said, retry_after({}, payload), secrets), phase=phase)


def _failure(status: int | None, said: Said, hint: float | None, secrets: Collection[str]) -> Failure:
    kind, code = _kind_of(status, said, hint)
    return Failure(
        kind,
        scrub(said.message, secrets) or _reason(status),
        status,
        code=scrub(code, secrets) if code else None,
        # A spent day's quota: Google's RetryInfo speaks of the minute's bucket and is too early all day.
        retry_after=None if code == "quota:per_day" else hint,
    )


def _kind_of(status: int | None, said: Said, hint: float | None) -> tuple[FailureKind, str | None]:
    """The order of proof in one place: exact code, message, vague code, status."""
    first = said.codes[0].shown if said.codes else None
    whole = "\n".join([wording.readable(said.text, repeated=True), *(code.shown for code in said.codes)])
    if kind_before := wording.before_codes(status, whole):
        return kind_before, first
    if exact := _of_codes(said.codes, _EXACT, _PARTS):
        return exact
    text = wording.readable(said.text)
    if status == HTTPStatus.PAYMENT_REQUIRED:
        kind, code = K.QUOTA, first
    elif proved := wording.matching(status, text, whole, said.param):
        kind, code = proved, first
    else:
        kind, code = _of_codes(said.codes, _VAGUE, _VAGUE_PARTS) or (_of_status(status, said, text), first)
    if kind is K.QUOTA and hint is not None and hint <= SHORT_HINT_SECONDS:
        kind = K.RATE_LIMIT
    return kind, code


def _of_codes(
    codes: tuple[Code, ...], exact: Mapping[str, FailureKind], parts: Mapping[str, FailureKind]
) -> tuple[FailureKind, str] | None:
    for code in codes:
        if code.key in exact:
            return exact[code.key], code.shown
    for code in codes:
        for part, kind in parts.items():
            if part in code.key:
                return kind, code.shown
    return None


def _of_status(status: int | None, said: Said, text: str) -> FailureKind:
    if status is None:
        return next((_WITHOUT_STATUS[c.key] for c in said.codes if c.key in _WITHOUT_STATUS), K.SERVER)
    if status == HTTPStatus.NOT_FOUND:
        is_about_model = said.param == "model" or wording.ABOUT_MODEL.search(wording.without_paths(text))
        return K.MODEL_NOT_FOUND if is_about_model else K.UNKNOWN
    if status in _WRAPPING and (inner := next((s for s in said.statuses if s in _OF_LOAD), None)):
        status = inner  # what a gateway calls a 400 or 500 was a matter of load where it came from
    if status == HTTPStatus.BAD_REQUEST and any(500 <= inner < 600 for inner in said.statuses):
        return K.SERVER  # … or broke down there
    return signals.STATUSES.get(status, K.SERVER if status >= 500 else K.UNKNOWN)


def _of_page(status: int) -> FailureKind:
    if status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
        return K.UNKNOWN
    if status == HTTPStatus.FORBIDDEN or (status >= 500 and status not in signals.STATUSES):
        return K.EDGE
    return signals.STATUSES.get(status, K.UNKNOWN)


def _with_type(said: Said, headers: Mapping[str, str]) -> Said:
    """AWS names the error's type in a header: `ValidationException:http://internal.amazon.com/…`."""
    name = headers.get("x-amzn-errortype", "").partition(":")[0]
    return attrs.evolve(said, codes=(*said.codes, *read({"code": name}).codes)) if name else said


def _words(page: str) -> str:
    """What a web page says, without tags, styles and scripts."""
    words: list[str] = []
    for piece in page[:PAGE_LIMIT].split("<"):
        tag, _, text = piece.partition(">")
        if not tag.lower().startswith(("style", "script")):
            words.append(text)
    return " ".join(" ".join(words).split())


def _reason(status: int | None) -> str:
    try:
        return HTTPStatus(status or 0).phrase
    except ValueError:
        return "no message"
