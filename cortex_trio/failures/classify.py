"""Classify an error: by the provider's code, then by its message, then by the HTTP status. Knows no provider.

The status alone is often wrong: a wrong API key is a 400 with Gemini and xAI, used-up credit a 400 with Anthropic and a
429 with xAI, and errors arrive inside streams with status 200. Status and headers count with any body: a web page, a
body that was cut, or none. The tables are data: `signals` holds codes and statuses, `phrases` holds messages.

The rules that are not in the tables:

* A quota with a retry-after of five minutes or less is a rate limit, unless a code proves the quota.
* A 404 is about the model only if its message says so. Wrong paths, web pages and empty bodies are not.
* A web page is classified by its status. A 401 page is a login in front of the server, which does not accept the API
  key; a 403 or 5xx page comes from a proxy in front of it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from datetime import datetime
from http import HTTPStatus

import attrs

from . import signals, wording
from .body import Code, ErrorBody, load_json, read_body
from .kinds import Failure, FailureKind, Phase
from .redact import holds, scrub
from .retry_after import retry_after

__all__ = ["classify", "classify_payload", "holds", "scrub"]

K = FailureKind

SHORT_HINT_SECONDS = 300.0
"""A quota that is reset so soon is a rate limit (Ollama and Groq write "usage limit" and "per day" for both)."""

PAGE_LIMIT = 2000
"""Characters of a web page that are read."""

_EXACT = signals.table(signals.EXACT)
_PARTS = signals.table(signals.PARTS)
_VAGUE = signals.table(signals.VAGUE)
_VAGUE_PARTS = signals.table(signals.VAGUE_PARTS)
_WITHOUT_STATUS = signals.table(signals.WITHOUT_STATUS)
_WRAPPING_STATUSES, _LOAD_STATUSES = (400, 500, 502), (429, 529)
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
    """Classify an HTTP response with an error status. Never raises.

    Args:
        status: The HTTP status, not a 2xx.
        headers: The headers, with names in lower case; repeated ones are joined by ", ".
        body: The body, decompressed; it may be cut at any byte.
        phase: The phase of the request in which it failed.
        now: The aware wall-clock time, for a retry-after that is a date.
        secrets: The API keys in use, which are removed from the texts.
    """
    text = body.decode("utf-8", "replace").strip()
    payload = load_json(text)
    hint = retry_after(headers, text if payload is None else payload, now)
    if payload is None and (_PAGE.match(text) or "<html" in text[:500].lower()):
        failure = Failure(
            _of_page(status), scrub(_page_text(text) or _status_phrase(status), secrets), status
        )
    else:
        error = _with_type(read_body(text if payload is None else payload), headers)
        failure = _failure(status, error, hint, secrets)
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
    """Classify a decoded error, such as one inside a stream with status 200. Never raises.

    Args:
        payload: Any JSON value.
        status: The HTTP status, if it is an error status. None: the first one that the body names counts.
        phase: The phase of the request in which it failed.
        secrets: The API keys in use, which are removed from the texts.
    """
    error = read_body(payload)
    status = status or next(iter(error.statuses), None)
    return attrs.evolve(_failure(status, error, retry_after({}, payload), secrets), phase=phase)


def _failure(status: int | None, error: ErrorBody, hint: float | None, secrets: Collection[str]) -> Failure:
    kind, code = _kind_of(status, error, hint)
    return Failure(
        kind,
        scrub(error.message, secrets) or _status_phrase(status),
        status,
        code=scrub(code, secrets) if code else None,
        # Google's RetryInfo is about the quota of a minute, and too early when that of the day is used up.
        retry_after=None if code == "quota:per_day" else hint,
    )


def _kind_of(status: int | None, error: ErrorBody, hint: float | None) -> tuple[FailureKind, str | None]:
    """Decide the kind. The order: exact code, message, vague code, status."""
    first = error.codes[0].shown if error.codes else None
    whole = "\n".join(
        [wording.readable(error.text, with_quotations=True), *(code.shown for code in error.codes)]
    )
    if kind_before := wording.kind_before_codes(status, whole):
        return kind_before, first
    if exact := _of_codes(error.codes, _EXACT, _PARTS):
        return exact
    text = wording.readable(error.text)
    if status == HTTPStatus.PAYMENT_REQUIRED:
        kind, code = K.QUOTA, first
    elif proved := wording.kind_of(status, text, whole, error.param):
        kind, code = proved, first
    else:
        kind, code = _of_codes(error.codes, _VAGUE, _VAGUE_PARTS) or (_of_status(status, error, text), first)
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


def _of_status(status: int | None, error: ErrorBody, text: str) -> FailureKind:
    if status is None:
        return next((_WITHOUT_STATUS[c.key] for c in error.codes if c.key in _WITHOUT_STATUS), K.SERVER)
    if status == HTTPStatus.NOT_FOUND:
        is_about_model = error.param == "model" or wording.ABOUT_MODEL.search(wording.without_paths(text))
        return K.MODEL_NOT_FOUND if is_about_model else K.UNKNOWN
    if status in _WRAPPING_STATUSES and (
        inner := next((s for s in error.statuses if s in _LOAD_STATUSES), None)
    ):
        status = inner  # a gateway wrapped a 429 or 529 of the provider behind it
    if status == HTTPStatus.BAD_REQUEST and any(500 <= inner < 600 for inner in error.statuses):
        return K.SERVER  # a gateway wrapped a 5xx
    return signals.STATUSES.get(status, K.SERVER if status >= 500 else K.UNKNOWN)


def _of_page(status: int) -> FailureKind:
    if status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
        return K.UNKNOWN
    if status == HTTPStatus.FORBIDDEN or (status >= 500 and status not in signals.STATUSES):
        return K.EDGE
    return signals.STATUSES.get(status, K.UNKNOWN)


def _with_type(error: ErrorBody, headers: Mapping[str, str]) -> ErrorBody:
    """Add the error type that AWS sends in a header: `ValidationException:http://internal.amazon.com/…`."""
    name = headers.get("x-amzn-errortype", "").partition(":")[0]
    return attrs.evolve(error, codes=(*error.codes, *read_body({"code": name}).codes)) if name else error


def _page_text(page: str) -> str:
    """Return the text of a web page, without tags, styles and scripts."""
    texts: list[str] = []
    for piece in page[:PAGE_LIMIT].split("<"):
        tag, _, text = piece.partition(">")
        if not tag.lower().startswith(("style", "script")):
            texts.append(text)
    return " ".join(" ".join(texts).split())


def _status_phrase(status: int | None) -> str:
    try:
        return HTTPStatus(status or 0).phrase
    except ValueError:
        return "no message"
