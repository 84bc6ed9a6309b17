"""Rate limits in the headers of a response: one parser for the forms of all providers.

    x-ratelimit-{limit,remaining,reset}[-<bucket>]           OpenAI, Groq, xAI, OpenRouter; without "x-" too
    anthropic-ratelimit-<bucket>-{limit,remaining,reset}     Anthropic

The headers do not say how long the window of a bucket is (Groq counts requests by the day, tokens by the minute). A
negative number, or text that is no number, counts as not reported.

Sources: OpenAI, Groq and Anthropic rate-limit guides.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import datetime

import attrs

from .retry_after import date_of, reset_after

_HEADER = re.compile(
    r"(?:x-)?ratelimit-(?P<what>limit|remaining|reset)(?:-(?P<bucket>[a-z-]+))?"
    r"|anthropic-ratelimit-(?P<its_bucket>[a-z-]+)-(?P<its_what>limit|remaining|reset)"
)


@attrs.frozen
class Bucket:
    """One rate limit, such as that of requests or of tokens."""

    limit: int | None = None
    """The size of the bucket, in requests or tokens. None: not reported."""

    remaining: int | None = None
    """How much of it is left. None: not reported."""

    reset_after: float | None = None
    """Seconds until the bucket is full again. None: not reported, as by xAI."""


def rate_limits(headers: Mapping[str, str], now: datetime | None = None) -> Mapping[str, Bucket]:
    """Return the buckets by name: "requests", "tokens", "input_tokens", "input_images" …

    Args:
        headers: The headers of a response, with names in lower case.
        now: The aware wall-clock time, for a reset that is a date when there is no `Date` header.
    """
    now = date_of(headers) or now
    found: dict[str, dict[str, float]] = {}
    for name, text in headers.items():
        header = _HEADER.fullmatch(name)
        if header is None:
            continue
        what = header["what"] or header["its_what"]
        value = reset_after(text, now) if what == "reset" else _count(text)
        if value is not None:
            bucket = (header["bucket"] or header["its_bucket"] or "requests").replace("-", "_")
            found.setdefault(bucket, {})[what] = value
    return {name: _bucket(values) for name, values in found.items()}


def _bucket(values: Mapping[str, float]) -> Bucket:
    limit, remaining = values.get("limit"), values.get("remaining")
    return Bucket(
        None if limit is None else int(limit),
        None if remaining is None else int(remaining),
        values.get("reset"),
    )


def _count(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None
