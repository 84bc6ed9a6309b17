"""The time after which a provider allows another request, in seconds: one parser for all forms.

The first source that names a time counts: `retry-after-ms`, `x-ms-retry-after-ms`, `retry-after`, the body (a field,
then a sentence), the reset header of an empty bucket, and last a reset header without any `remaining` header beside it.
NaN, infinities and negative numbers count as no time; more than a month is cut to a month.

A header that came twice is joined, as in "20, 30". The largest value counts, so that no request is too early.

Sources: RFC 9110 §10.2.3, draft-ietf-httpapi-ratelimit-headers, OpenAI, Azure, Groq and Anthropic rate-limit guides,
google.rpc.RetryInfo, OpenRouter's `metadata.headers`, Hugging Face's `estimated_time`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from .body import layers
from .kinds import READ_LIMIT

_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_TERM = re.compile(r"(\d+(?:\.\d+)?)(ms|us|µs|ns|d|h|m|s)")
_NUMBER = re.compile(r"\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+")
_WORD_UNITS = r"(?:milliseconds?|seconds?|secs?|minutes?|mins?|hours?|hrs?|days?|ms|us|µs|ns|d|h|m|s)(?![\w])"
_TERM_IN_TEXT = rf"\d{{1,9}}(?:\.\d{{1,12}})?(?: ?{_WORD_UNITS}|(?:ms|us|µs|ns|d|h|m|s)(?=\d))"
_IN_TEXT = re.compile(
    rf"(?:try again|retry|retrying|wait|resets?|available again)\b[^.\d\n]{{0,30}}?"
    rf"((?:{_TERM_IN_TEXT}(?:,? (?:and )?|(?=\d)|(?!\d)))+)"
    r"|retry[ _-]after:? {0,2}(\d{1,9}(?:\.\d{1,9})?)(?=\.?\s*$|[.,;)\"'\n]\s?(?!\d))",
    re.IGNORECASE,
)
_TERMS = re.compile(r"(\d+(?:\.\d+)?) ?([a-zµ]+)", re.IGNORECASE)
_WEEKDAY = re.compile(r"\s*(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*\s*$", re.IGNORECASE)
_BUDGET_ITEM = re.compile(r"(?:^|;)\s*(r|t|remaining|reset)\s*=\s*(\d{1,12})", re.IGNORECASE)

_EPOCH = 1e9
"""Seconds. A longer "duration", of 30 years, is a Unix time; one of 30,000 years is a Unix time in milliseconds."""

LONGEST_DURATION = 40
"""Characters; "1d23h59m59.999999999s" has 21. The patterns take time in the square of the digits of a number."""

LONGEST_VALUE = 200
"""Characters of a header: a date has 29, and a header that came twice has two dates."""

LONGEST_SECONDS = 31 * 86_400.0
"""A month, the longest window of a quota: a header that names years must not exclude a worker for ever."""

FIELDS: Mapping[str, float] = {
    "retryafterms": 1e-3,
    "retryaftermilliseconds": 1e-3,
    "retryafter": 1.0,
    "retryafterseconds": 1.0,
    "retrydelay": 1.0,  # google.rpc.RetryInfo: "34.4s", or {"seconds": 34, "nanos": 400000000}
    "resetsinseconds": 1.0,  # ChatGPT backend
    "resetsat": 1.0,
    "estimatedtime": 1.0,  # Hugging Face: a model that is loading
}
"""Fields of error bodies, in lower case and without punctuation, and their unit in seconds."""


def parse_duration(text: str) -> float | None:
    """Return the seconds of a Go duration ("6m0s", "120ms", "1d2h") or of a plain number; None for any other text.

    Args:
        text: The text; more than 40 characters are no duration.
    """
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
    """Return the seconds after which another request is allowed; None if no (valid) time is named.

    Args:
        headers: The headers of the response, with names in lower case; repeated ones are joined by ", ".
        payload: The decoded error body, or its text.
        now: The aware wall-clock time, for dates when there is no `Date` header, which corrects their skew.
    """
    now = date_of(headers) or now
    seconds = _first(
        hint
        for source in (
            _from_retry_headers(headers, now),
            _from_body(payload, now),
            _from_resets(headers, now),
        )
        for hint in source
    )
    return None if seconds is None else min(seconds, LONGEST_SECONDS)


def reset_after(value: str, now: datetime | None) -> float | None:
    """Return the seconds until a reset; None if the text names no time.

    Args:
        value: A duration, an RFC 3339 time, or a Unix time in seconds or milliseconds.
        now: The aware wall-clock time. Without it, only a duration can be read.
    """
    seconds = parse_duration(value)
    return _until(_rfc3339(value), now) if seconds is None else _since_epoch(seconds, now)


def empty_bucket_reset(headers: Mapping[str, str], now: datetime | None) -> float | None:
    """Return the seconds until all empty buckets are reset; None if none is empty, or none has a reset time.

    A bucket is empty if its `remaining` is 0. Reads `x-ratelimit-{remaining,reset}[-bucket]`,
    `anthropic-ratelimit-<bucket>-{remaining,reset}`,
    `anthropic-ratelimit-unified-{status,reset}` of a subscription, `ratelimit-{remaining,reset}` and the IETF's
    `ratelimit` ("r" and "t").

    Args:
        headers: The headers of the response, with names in lower case.
        now: The aware wall-clock time, for dates when there is no `Date` header.
    """
    empty = [headers[name] for name in headers if _is_empty(name, headers)]
    resets = [
        headers[reset]
        for name in headers
        if _is_empty(name, headers) and (reset := name.replace("remaining", "reset")) in headers
    ]
    budget = headers.get("ratelimit")
    if not empty and budget is None and "anthropic-ratelimit-unified-status" not in headers:
        return None  # the common case: the date is not parsed
    now = date_of(headers) or now
    if headers.get("anthropic-ratelimit-unified-status", "").strip().lower() == "rejected":
        resets += [headers[name] for name in ("anthropic-ratelimit-unified-reset",) if name in headers]
    waits = [reset_after(text, now) for text in resets] + [*_spent_budgets(budget or "")]
    return max((wait for wait in waits if wait is not None), default=None)


def date_of(headers: Mapping[str, str]) -> datetime | None:
    """Return the time of the server's clock, to which its dates relate; None without a valid `Date` header.

    Args:
        headers: The headers of the response, with names in lower case.
    """
    return _http_date(headers.get("date", ""))


# ------------------------------------------------------------------ headers


def _from_retry_headers(headers: Mapping[str, str], now: datetime | None) -> Iterator[float | None]:
    for name, unit in (("retry-after-ms", 1e-3), ("x-ms-retry-after-ms", 1e-3), ("retry-after", 1.0)):
        if name in headers:
            yield max((wait for wait in _values(headers[name], unit, now) if wait is not None), default=None)


def _from_resets(headers: Mapping[str, str], now: datetime | None) -> Iterator[float | None]:
    yield empty_bucket_reset(headers, now)
    if not any("remaining" in name for name in headers):
        # Such headers come only when a limit is reached. The first bucket that is reset is worth a request.
        lone = [
            reset_after(text, now)
            for name, text in headers.items()
            if "ratelimit" in name and "reset" in name and not _is_allowed(name, headers)
        ]
        yield min((wait for wait in lone if wait is not None), default=None)


def _is_empty(name: str, headers: Mapping[str, str]) -> bool:
    if "ratelimit" not in name or "remaining" not in name:
        return False
    text = headers[name].strip()
    return bool(text) and text.strip("0.") == "" and text[0] == "0"


def _is_allowed(name: str, headers: Mapping[str, str]) -> bool:
    """Anthropic sends the unified window with every response of a subscription, not only at its limit."""
    return "unified" in name and headers.get("anthropic-ratelimit-unified-status", "rejected") != "rejected"


def _spent_budgets(value: str) -> Iterator[float]:
    """The resets in `"default";r=0;t=30, "burst";r=5;t=1`, or in the draft's older `limit=9, remaining=0, reset=5`."""
    value = value[:LONGEST_VALUE]
    items = value.split(",") if ";" in value else [value.replace(",", ";")]
    for item in items:
        fields = {name.lower()[:1] + name.lower()[2:3]: number for name, number in _BUDGET_ITEM.findall(item)}
        remaining, reset = fields.get("r", fields.get("rm")), fields.get("t", fields.get("rs"))
        if remaining is not None and reset is not None and float(remaining) == 0:
            yield float(reset)


def _values(text: str, unit: float, now: datetime | None) -> Iterator[float | None]:
    """Return the values of a header that may have been joined. A comma after a weekday belongs to a date."""
    text = text[:LONGEST_VALUE]
    parts: list[str] = []
    for part in text.split(","):
        if parts and _WEEKDAY.fullmatch(parts[-1]):
            parts[-1] += "," + part
        else:
            parts.append(part)
    return (_delay_or_date(part.strip(), unit, now) for part in parts)


def _delay_or_date(text: str, unit: float, now: datetime | None) -> float | None:
    """Read seconds, a duration, an HTTP-date, an RFC 3339 time or a Unix time; `unit` is that of a plain number."""
    if len(text) <= LONGEST_DURATION and _NUMBER.fullmatch(text):
        number = _sane(float(text))
        if number is None:
            return None
        return number * unit if number < _EPOCH else _since_epoch(number, now)
    if (seconds := parse_duration(text)) is not None:
        return seconds
    if (seconds := _written_time(text)) is not None:
        return seconds
    return _until(_rfc3339(text) or _http_date(text), now)


# ------------------------------------------------------------------ bodies


def _from_body(payload: object, now: datetime | None) -> Iterator[float | None]:
    found = layers(payload)
    for layer in found:
        for name, value in layer.fields.items():
            unit = FIELDS.get(re.sub(r"[^a-z]", "", name[:LONGEST_DURATION].lower()))
            if unit is not None:
                yield _from_field(value, unit, now)
    for layer in found:
        inner = layer.fields.get("headers")
        if isinstance(inner, Mapping):  # OpenRouter: the headers of the provider behind it
            texts = {str(name).lower(): str(value) for name, value in inner.items()}
            yield from _from_retry_headers(texts, now)
            yield from _from_resets(texts, now)
    for layer in found:
        for value in layer.fields.values():
            if isinstance(value, str):
                yield _in_text(value)


def _from_field(value: object, unit: float, now: datetime | None) -> float | None:
    if isinstance(value, Mapping):
        seconds, nanos = value.get("seconds", 0), value.get("nanos", 0)
        text = f"{seconds}" if not nanos else f"{seconds}.{str(nanos).zfill(9)}"
        return _delay_or_date(text, unit, now)
    if isinstance(value, (int, float, str)) and not isinstance(value, bool):
        try:
            return _delay_or_date(str(value).strip()[:LONGEST_VALUE], unit, now)
        except ValueError:  # an int with more digits than Python prints
            return None
    return None


def _in_text(message: str) -> float | None:
    """Read "Please try again in 6m0s", "retry after 30 seconds", "wait 12 seconds"; None without such a hint."""
    found = _IN_TEXT.search(message[:READ_LIMIT])
    if found is None:
        return None
    return _sane(float(found[2])) if found[2] else _written_time(found[1])


def _written_time(text: str) -> float | None:
    """Return the seconds of "1 hour and 5 minutes", "2h 30m", "21.5s"; None if a part of it is no time."""
    if len(text) > LONGEST_DURATION or _TERMS.sub("", text).replace("and", "").strip(" ,."):
        return None
    total: float | None = None
    for number, word in _TERMS.findall(text):
        word = word.lower()
        unit = _UNITS.get(word) or _UNITS.get("ms" if word.startswith("mill") else word[:1])
        if unit is None or (word not in _UNITS and not re.fullmatch(_WORD_UNITS, word)):
            return None
        total = (total or 0.0) + float(number) * unit
    return None if total is None else _sane(total)


# ------------------------------------------------------------------ points in time


def _since_epoch(seconds: float, now: datetime | None) -> float | None:
    if seconds < _EPOCH:
        return seconds
    epoch = seconds / 1000 if seconds > _EPOCH * 1000 else seconds
    return max(0.0, epoch - now.timestamp()) if now else None


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
        return _aware(parsedate_to_datetime(value[:LONGEST_VALUE]))
    except (ValueError, TypeError, OverflowError):
        return None


def _rfc3339(value: Any) -> datetime | None:
    try:
        return _aware(datetime.fromisoformat(value.strip()))
    except ValueError:
        return None


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
