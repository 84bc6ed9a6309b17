"""How long a provider asks us to stay away: one parser for all its spellings, in seconds.

Order of trust: `retry-after-ms`, `retry-after`, a hint in the body, then the reset headers of a bucket
that is empty. NaN, infinities and negatives are nobody's honest answer and count as none.
Sources: RFC 9110 §10.2.3, OpenAI and Groq rate-limit guides, Anthropic API reference, google.rpc.RetryInfo.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_TERM = re.compile(r"(\d+(?:\.\d+)?)(ms|us|µs|ns|d|h|m|s)")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_IN_TEXT = re.compile(
    r"(?:try again|retry)(?: after)?(?: in)? ((?:\d+(?:\.\d+)?(?:ms|us|µs|ns|d|h|m|s))+)", re.IGNORECASE
)
_EPOCH = (
    1e9  # a "duration" of more than 30 years is a point in time; of more than 30,000, one in milliseconds
)

LONGEST_DURATION = 40
"""Characters; "1d23h59m59.999999999s" has 21. Looking for the end of a number takes the square of its digits."""

LONGEST_SECONDS = 31 * 86_400.0
"""Quotas are by the month at the longest; a header that names years must not take a worker out for good."""


def parse_duration(text: str) -> float | None:
    """Return the seconds of a Go duration ("6m0s", "120ms", "1d2h") or of a bare number; None if it is neither."""
    text = text.strip()
    if len(text) > LONGEST_DURATION:
        return None
    if _NUMBER.fullmatch(text):
        return _sane(float(text))
    terms = list(_TERM.finditer(text))
    if not terms or "".join(term.group() for term in terms) != text:
        return None
    return _sane(sum(float(term[1]) * _UNITS[term[2]] for term in terms))


def retry_after(
    headers: Mapping[str, str], payload: object = None, now: datetime | None = None
) -> float | None:
    """Return the seconds to stay away, or None if nothing (sensible) was said.

    `headers` have lower-case names; `payload` is the decoded error body; `now` is the aware wall-clock time
    used where an absolute date came without a `Date` header to correct its skew by.
    """
    now = date_of(headers) or now
    said = _first(
        [
            _scaled(headers.get("retry-after-ms"), 1e-3),
            _delay_or_date(headers.get("retry-after"), now),
            _from_body(payload),
            _from_empty_buckets(headers, now),
        ]
    )
    return None if said is None else min(said, LONGEST_SECONDS)


def reset_after(value: str, now: datetime | None) -> float | None:
    """Return the seconds until a reset: a duration, an RFC 3339 time, or an epoch in seconds or milliseconds."""
    seconds = parse_duration(value)
    if seconds is None:
        return _until(_rfc3339(value), now)
    if seconds < _EPOCH:
        return seconds
    epoch = seconds / 1000 if seconds > _EPOCH * 1000 else seconds
    return max(0.0, epoch - now.timestamp()) if now else None


def empty_bucket_reset(headers: Mapping[str, str], now: datetime | None) -> float | None:
    """Return the seconds until every bucket whose `remaining` is 0 is open again; None if none is empty.

    Reads `x-ratelimit-{remaining,reset}[-bucket]` and `anthropic-ratelimit-<bucket>-{remaining,reset}`.
    """
    return _from_empty_buckets(headers, now)


def date_of(headers: Mapping[str, str]) -> datetime | None:
    """Return when the server says it is: by its own clock its dates are meant."""
    return _http_date(headers.get("date", ""))


def _from_empty_buckets(headers: Mapping[str, str], now: datetime | None) -> float | None:
    resets = [
        headers[reset]
        for name, value in headers.items()
        if "ratelimit" in name and "remaining" in name and value.strip() == "0"
        if (reset := name.replace("remaining", "reset")) in headers
    ]
    if not resets:
        return None  # nearly every answer there is: its date is not parsed for nothing
    now = date_of(headers) or now
    waits = [reset_after(text, now) for text in resets]
    known = [wait for wait in waits if wait is not None]
    return max(known) if known else None


def _from_body(payload: object) -> float | None:
    if isinstance(payload, list) and payload:
        payload = payload[0]  # Gemini's array stream wraps its errors
    if not isinstance(payload, Mapping):
        return None
    error = payload.get("error", payload)
    if not isinstance(error, Mapping):
        return _in_text(error) or _in_text(payload.get("message"))
    return _first([_retry_info(error.get("details")), _in_text(error.get("message"))])


def _retry_info(details: object) -> float | None:
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, Mapping) and isinstance(delay := detail.get("retryDelay"), str):
            return parse_duration(delay)
    return None


def _in_text(message: Any) -> float | None:
    found = _IN_TEXT.search(message) if isinstance(message, str) else None
    return parse_duration(found[1]) if found else None


def _delay_or_date(value: str | None, now: datetime | None) -> float | None:
    seconds = _scaled(value, 1.0)
    return seconds if seconds is not None else _until(_http_date(value or ""), now)


def _scaled(value: str | None, unit: float) -> float | None:
    try:
        return _sane(float(value or "") * unit)
    except ValueError:
        return None


def _sane(seconds: float) -> float | None:
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def _first(candidates: Iterable[float | None]) -> float | None:
    return next((seconds for seconds in candidates if seconds is not None), None)


def _until(moment: datetime | None, now: datetime | None) -> float | None:
    if moment is None or now is None:
        return None
    return max(0.0, (moment - now) / timedelta(seconds=1))


def _http_date(value: str) -> datetime | None:
    try:
        return _aware(parsedate_to_datetime(value))
    except (ValueError, TypeError, OverflowError):
        return None


def _rfc3339(value: str) -> datetime | None:
    try:
        return _aware(datetime.fromisoformat(value.strip()))
    except ValueError:
        return None


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
