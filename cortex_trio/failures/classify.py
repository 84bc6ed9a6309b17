"""What an error proves: the provider's code or type first, then its message, then the HTTP status.

Status alone is wrong often: a bad key is a 400 on Gemini and xAI, exhausted credit a 400 on Anthropic and
a 429 on xAI, and errors arrive inside streams whose status was 200. One table serves all providers: their
codes do not contradict each other. Sources: each provider's error reference and error bodies as recorded.
"""

from __future__ import annotations

import json
import re
import string
from collections.abc import Collection, Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any

import attrs

from .kinds import Failure, FailureKind, Phase
from .retry_after import retry_after

K = FailureKind

CODES: Mapping[str, FailureKind] = {
    "insufficient_quota": K.QUOTA,
    "billing_hard_limit_reached": K.QUOTA,
    "billing_not_active": K.QUOTA,
    "billing_error": K.QUOTA,
    "blocked_api_access": K.QUOTA,  # Groq: spend limit reached
    "quota:per_day": K.QUOTA,  # Google QuotaFailure, see _google_codes
    "quota:per_minute": K.RATE_LIMIT,
    "context_length_exceeded": K.CONTEXT_LENGTH,
    "too_many_tokens": K.CONTEXT_LENGTH,
    "model_not_found": K.MODEL_NOT_FOUND,
    "model_decommissioned": K.MODEL_NOT_FOUND,
    "invalid_api_key": K.CREDENTIAL,
    "api_key_invalid": K.CREDENTIAL,
    "authentication_error": K.CREDENTIAL,
    "unauthenticated": K.CREDENTIAL,
    "permission_error": K.PERMISSION,
    "overloaded_error": K.OVERLOADED,
    "capacity_exceeded": K.OVERLOADED,  # Groq flex tier, status 498
    "unavailable": K.OVERLOADED,
    "content_filter": K.CONTENT_POLICY,
    "content_policy_violation": K.CONTENT_POLICY,
    "image_content_policy_violation": K.CONTENT_POLICY,
    "unsupported_country_region_territory": K.REGION,
    "request_too_large": K.BAD_REQUEST,
}

PHRASES: tuple[tuple[FailureKind, re.Pattern[str]], ...] = tuple(
    (kind, re.compile(pattern, re.IGNORECASE))
    for kind, pattern in (
        (
            K.CONTEXT_LENGTH,
            r"prompt (is )?too long|context (window|length)|maximum number of tokens|too many tokens: size"
            r"|request too large for model",
        ),
        (
            K.QUOTA,
            r"credit balance|prepaid credit|all available credits|spend(ing)? limit|maximum billing|usage limit"
            r"|(tokens|requests) per day|api calls / month|api usage limits",
        ),
        (K.REGION, r"(country|region|territory|location)\b.{0,40}\bnot (supported|available)"),
        (K.PERMISSION, r"missing scopes|insufficient permissions"),
        (K.CREDENTIAL, r"(incorrect|invalid) (x-)?api[ -]key|api key not valid|invalid api token"),
        (
            K.CONTENT_POLICY,
            r"usage guidelines|content (management |filtering )?policy|safety system|usage polic",
        ),
        (
            K.MODEL_NOT_FOUND,
            # The model itself is the subject: "for this model, `temperature` is deprecated" is a bad request.
            r"^model: |\bmodels?[\s/:'\"`]{1,3}([\w./:@-]+[\s'\"`]{1,3})?((is|was|has been) )?"
            r"(not found|does not exist|decommissioned|deprecated|removed|no longer (available|accessible|supported))",
        ),
        (K.OVERLOADED, r"overloaded|server busy|over capacity"),
    )
)

RATE_LIMIT_CODES = {
    "some resource has been exhausted",  # xAI spells gRPC statuses out
    "rate_limit_exceeded",
    "rate_limit_error",
    "resource_exhausted",
    "tokens",
    "requests",
}
"""Looked at after the phrases: the same codes also announce a spent daily quota or a prompt over the limit."""

VAGUE_CODES: Mapping[str, FailureKind] = {
    "invalid_request_error": K.BAD_REQUEST,
    "invalid_argument": K.BAD_REQUEST,
    "not_found_error": K.MODEL_NOT_FOUND,
    # What OpenAI's Responses API says of a prompt after it has begun to answer with 200.
    "invalid_prompt": K.BAD_REQUEST,
    "invalid_image": K.BAD_REQUEST,
    "invalid_image_format": K.BAD_REQUEST,
    "invalid_image_mode": K.BAD_REQUEST,
    "invalid_image_url": K.BAD_REQUEST,
    "invalid_base64_image": K.BAD_REQUEST,
    "image_too_large": K.BAD_REQUEST,
    "image_too_small": K.BAD_REQUEST,
    "image_parse_error": K.BAD_REQUEST,
    "image_file_too_large": K.BAD_REQUEST,
    "image_file_not_found": K.BAD_REQUEST,
    "empty_image_file": K.BAD_REQUEST,
    "unsupported_image_media_type": K.BAD_REQUEST,
}
"""Looked at only where there is no status (inside a stream): beside one they say less than it does."""

STATUSES: Mapping[int, FailureKind] = {
    401: K.CREDENTIAL,
    402: K.QUOTA,
    403: K.PERMISSION,
    404: K.MODEL_NOT_FOUND,
    408: K.SERVER,
    410: K.MODEL_NOT_FOUND,
    429: K.RATE_LIMIT,
    498: K.CREDENTIAL,  # Cohere "invalid token"; Groq's 498 carries capacity_exceeded
    499: K.SERVER,
    500: K.SERVER,
    502: K.SERVER,
    503: K.SERVER,  # one that says "overloaded" or "busy" is caught by its phrase
    504: K.SERVER,
    529: K.OVERLOADED,
}

READ_LIMIT = 4096
"""Characters of a message that are looked at: a provider says what is wrong at once."""

CODE_LIMIT = 100
"""Characters kept of a code: codes travel into logs, whatever a server calls one."""

SHORTEST_PIECE = 12
"""Characters of a key that are worth hiding by themselves; our own masks show 11."""
_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)  # unlike lower(), keeps every length
_KEY_SHAPED = re.compile(r"\b(?:sk-|gsk_|xai-|AIza|Bearer\s+)[\w.*-]{6,}")


def scrub(text: str, secrets: Collection[str] = ()) -> str:
    """Return `text` without the given secrets and without anything that looks like a key: error bodies echo them."""
    for secret in filter(None, secrets):
        text = _hide(text, secret)
    return _KEY_SHAPED.sub("***", text)


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


def classify(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    phase: Phase = "headers",
    now: datetime | None = None,
    secrets: Collection[str] = (),
) -> Failure:
    """Return what an answer that is not a 2xx proves. `headers` have lower-case names; `body` may be cut short."""
    text = body.decode("utf-8", "replace").strip()
    payload = _json(text)
    if payload is None:
        failure = Failure(_of_text(status, text), scrub(_words(text) or _phrase(status), secrets), status)
    else:
        failure = attrs.evolve(classify_payload(payload, status=status, secrets=secrets), status=status)
    return attrs.evolve(
        failure,
        phase=phase,
        # A spent day's quota: Google's RetryInfo speaks of the minute's bucket and would wake us in vain.
        retry_after=None if failure.code == "quota:per_day" else retry_after(headers, payload, now),
        request_id=scrub(headers.get("x-request-id") or headers.get("request-id") or "", secrets) or None,
        should_retry={"true": True, "false": False}.get(headers.get("x-should-retry", "")),
    )


def classify_payload(
    payload: object, *, status: int | None = None, phase: Phase = "stream", secrets: Collection[str] = ()
) -> Failure:
    """Return what a decoded JSON error proves; also for one that arrived inside a 200 stream."""
    message, codes = _extract(payload)
    status = status or next((int(code) for code in codes if _is_status(code)), None)
    words = [code for code in codes if not _is_status(code)]
    kind, code = _kind_of(status, words, message)
    return Failure(
        kind,
        scrub(message, secrets) or _phrase(status),
        status,
        code=scrub(code, secrets) if code else None,
        retry_after=None if code == "quota:per_day" else retry_after({}, payload),
        phase=phase,
    )


def _kind_of(status: int | None, codes: list[str], message: str) -> tuple[FailureKind, str | None]:
    """The rule of the house in one place: code, phrase, the ambiguous rate-limit codes, status."""
    first = codes[0] if codes else None
    for code in codes:
        if code in CODES:
            return CODES[code], code
    if status == HTTPStatus.PAYMENT_REQUIRED:
        return K.QUOTA, first
    for kind, pattern in PHRASES:
        if pattern.search(message):
            return kind, first
    for code in codes:
        if code in RATE_LIMIT_CODES:
            return K.RATE_LIMIT, code
    if status is None:
        return next((VAGUE_CODES[code] for code in codes if code in VAGUE_CODES), K.SERVER), first
    return _of_status(status), first


def _of_status(status: int) -> FailureKind:
    if status in STATUSES:
        return STATUSES[status]
    if 400 <= status < 500:
        return K.BAD_REQUEST
    return K.SERVER if status >= 500 else K.UNKNOWN


def _is_status(code: str) -> bool:
    return len(code) == 3 and code.isascii() and code.isdigit()


def _of_text(status: int, text: str) -> FailureKind:
    if "<html" in text[:500].lower() or "<!doctype" in text[:500].lower():
        return K.EDGE if status == 403 or status >= 500 else K.UNKNOWN
    return _kind_of(status, [], text)[0]


def _extract(payload: object) -> tuple[str, list[str]]:
    """The message and every code, lower-case, most specific first, of any provider's error body."""
    if isinstance(payload, list) and payload:
        payload = payload[0]  # Gemini's array stream wraps its errors
    if not isinstance(payload, Mapping):
        return str(payload)[:500], []
    error = payload.get("error", payload)
    if isinstance(error, Mapping):
        message = error.get("message", payload.get("message"))
        codes: list[Any] = [*_google_codes(error.get("details"))]
        codes += [error.get(name) for name in ("code", "type", "status", "status_code")]
        codes += [payload.get("error_type")]
    else:  # xAI and Ollama: a string; xAI's `code` beside it
        message, codes = error, [payload.get("code"), payload.get("error_type")]
    words = [str(code)[:CODE_LIMIT].lower() for code in codes if code not in (None, "error")]
    return str(message or "")[:READ_LIMIT], words


def _google_codes(details: Any) -> list[str]:
    """ErrorInfo reasons, and QuotaFailure ids reduced to the length of their window."""
    codes: list[str] = []
    for detail in details if isinstance(details, list) else ():
        if not isinstance(detail, Mapping):
            continue
        violations = detail.get("violations")
        for violation in violations if isinstance(violations, list) else ():
            quota = str(violation.get("quotaId", "")) if isinstance(violation, Mapping) else ""
            codes += ["quota:per_day"] * ("PerDay" in quota) + ["quota:per_minute"] * ("PerMinute" in quota)
        if isinstance(reason := detail.get("reason"), str):
            codes.append(reason)
    return codes


def _json(text: str) -> object:
    if not text.startswith(("{", "[")):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _words(text: str) -> str:
    return re.sub(r"<[^>]*>", " ", text[:2000]).strip()


def _phrase(status: int | None) -> str:
    try:
        return HTTPStatus(status or 0).phrase
    except ValueError:
        return "no message"
