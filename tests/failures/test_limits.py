"""What is left before a provider limits us, read from the headers every answer carries."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cortex_trio.failures.limits import Bucket, rate_limits

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "buckets"),
    [
        (
            {
                "x-ratelimit-limit-requests": "10000",
                "x-ratelimit-remaining-requests": "9999",
                "x-ratelimit-reset-requests": "8.64s",
                "x-ratelimit-limit-tokens": "200000",
                "x-ratelimit-remaining-tokens": "199968",
                "x-ratelimit-reset-tokens": "120ms",
            },
            {"requests": Bucket(10000, 9999, 8.64), "tokens": Bucket(200000, 199968, 0.12)},
        ),
        (
            {
                "anthropic-ratelimit-requests-limit": "50",
                "anthropic-ratelimit-requests-remaining": "48",
                "anthropic-ratelimit-requests-reset": "2026-01-01T12:00:30Z",
                "anthropic-ratelimit-input-tokens-limit": "30000",
                "anthropic-ratelimit-input-tokens-remaining": "0",
                "anthropic-ratelimit-input-tokens-reset": "2026-01-01T11:59:00Z",
            },
            {"requests": Bucket(50, 48, 30.0), "input_tokens": Bucket(30000, 0, 0.0)},
        ),
        (
            {"x-ratelimit-limit": "20", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "1767268860000"},
            {"requests": Bucket(20, 0, 60.0)},
        ),
        (
            {"x-ratelimit-limit-requests": "480", "x-ratelimit-remaining-requests": "479"},
            {"requests": Bucket(480, 479)},
        ),
        ({"x-ratelimit-remaining-input-images": "49999"}, {"input_images": Bucket(remaining=49999)}),
        (
            {"ratelimit-limit": "60", "ratelimit-remaining": "59", "ratelimit-reset": "12"},
            {"requests": Bucket(60, 59, 12.0)},
        ),
    ],
    ids=["OpenAI and Groq", "Anthropic", "OpenRouter", "xAI", "one of a bucket", "IETF draft"],
)
def test_every_spelling_gives_the_same_values(headers: dict[str, str], buckets: dict[str, Bucket]) -> None:
    assert rate_limits(headers, NOW) == buckets


@pytest.mark.parametrize("value", ["-1", "", "unlimited", "1e999", "nan", "9" * 400, "1.5.2"])
def test_what_is_no_number_is_not_known(value: str) -> None:
    headers = {f"x-ratelimit-{what}-tokens": value for what in ("limit", "remaining", "reset")}
    assert rate_limits(headers, NOW) == {}


def test_a_fraction_of_a_token_is_no_token() -> None:
    assert rate_limits({"x-ratelimit-remaining-tokens": "10.9"}, NOW) == {"tokens": Bucket(remaining=10)}


def test_the_servers_own_clock_decides_when_it_says_the_time() -> None:
    headers = {
        "anthropic-ratelimit-tokens-reset": "2026-01-01T13:00:05Z",
        "date": "Thu, 01 Jan 2026 13:00:00 GMT",
    }
    assert rate_limits(headers, NOW) == {"tokens": Bucket(reset_after=5.0)}


def test_other_headers_say_nothing() -> None:
    assert rate_limits({"content-type": "text/plain", "ratelimit": "?", "x-ratelimit-used": "1"}, NOW) == {}


def test_recorded_headers_are_understood(shared_dir: Path) -> None:
    """Those of OpenAI, Groq and Anthropic tell of at least two buckets, none of them below zero or above its limit."""
    seen = 0
    for meta in sorted((shared_dir / "wire/recordings").glob("*/*.meta.json")):
        headers = json.loads(meta.read_text()).get("response_headers") or {}
        lower = {name.lower(): str(value) for name, value in headers.items()}
        reported = {name for name in lower if "ratelimit" in name and "XXX" not in lower[name]}
        buckets = rate_limits(lower, NOW)
        assert bool(buckets) == bool(reported), meta.name
        seen += len(buckets) >= 2
        for bucket in buckets.values():
            assert bucket.limit is None or bucket.remaining is None or 0 <= bucket.remaining <= bucket.limit
    assert seen > 20
