"""When a provider says "not before": every spelling, in headers and in bodies, and every way to get it wrong."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cortex_trio.failures import empty_bucket_reset, parse_duration, retry_after
from cortex_trio.failures.retry_after import LONGEST_SECONDS

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)


def vectors(shared_dir: Path, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(
        (shared_dir / "wire/vectors/durations_and_retry.json").read_text()
    )[name]
    assert found
    return found


def test_every_duration_of_the_vectors_is_read(shared_dir: Path) -> None:
    for case in vectors(shared_dir, "durations"):
        expected = case["seconds"] if case["seconds"] is None else pytest.approx(case["seconds"])
        assert parse_duration(case["text"]) == expected, case


def test_every_hint_of_the_vectors_is_read(shared_dir: Path) -> None:
    """A reset header counts where its bucket is empty, a hint in a body where it stands."""
    for case in vectors(shared_dir, "retry"):
        name, value = case["header"], case["value"]
        now = datetime.fromisoformat(case["now"]) if "now" in case else NOW
        if "now_epoch" in case:
            now = datetime.fromtimestamp(case["now_epoch"], UTC)
        headers, body = {name: value}, None
        if name.startswith("body:google.rpc.RetryInfo"):
            info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": value}
            headers, body = {}, {"error": {"code": 429, "details": [info]}}
        elif "reset" in name:
            headers[name.replace("reset", "remaining")] = "0"
        expected = case["seconds"] if case["seconds"] is None else pytest.approx(case["seconds"])
        assert retry_after(headers, body, now) == expected, case


@pytest.mark.parametrize(
    ("message", "seconds"),
    [
        ("Rate limit reached … Please try again in 6m0s. Visit https://…", 360.0),
        ("Please try again in 57.54s.", 57.54),
        ("Please try again in 120ms.", 0.12),
        ("Please retry in 34.4s.", 34.4),
        ("Please retry after 20s", 20.0),
        ("Please try again in a moment", None),
        ("Please try again later", None),
        ("try again in 5 fortnights", None),
    ],
)
def test_a_hint_in_the_words_of_a_body_is_read(message: str, seconds: float | None) -> None:
    for body in ({"error": {"message": message}}, {"error": message}, {"message": message}):
        assert retry_after({}, body) == seconds


def test_what_is_said_more_precisely_is_believed_first() -> None:
    headers = {
        "retry-after-ms": "1500",
        "retry-after": "2",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "4s",
    }
    body = {"error": {"message": "try again in 3s"}}
    found = []
    for name in ("retry-after-ms", "retry-after", None):
        found.append(retry_after(headers, body))
        headers.pop(name or "", None)
    found.append(retry_after(headers))
    assert found == [1.5, 2.0, 3.0, 4.0]


@pytest.mark.parametrize("nonsense", ["nan", "inf", "-inf", "-3", "soon", "", "1e999", "0x10"])
def test_a_hint_that_makes_no_sense_does_not_hide_one_that_does(nonsense: str) -> None:
    assert retry_after({"retry-after-ms": nonsense, "retry-after": "7"}) == 7.0
    assert retry_after({"retry-after": nonsense}, {"error": {"message": "try again in 8s"}}) == 8.0
    assert retry_after({"retry-after": nonsense}) is None


def test_a_date_is_read_by_the_servers_own_clock() -> None:
    """Ours may be wrong; the difference of the server's two dates is not."""
    headers = {"retry-after": "Sun, 22 Nov 2026 10:00:30 GMT", "date": "Sun, 22 Nov 2026 10:00:00 GMT"}
    for skew in (timedelta(0), timedelta(hours=-3), timedelta(days=400)):
        assert retry_after(headers, now=NOW + skew) == 30.0


def test_a_date_without_any_clock_to_read_it_by_is_no_hint() -> None:
    assert retry_after({"retry-after": "Sun, 22 Nov 2026 10:00:30 GMT"}) is None


def test_only_an_empty_bucket_has_to_be_waited_for() -> None:
    headers = {
        "x-ratelimit-remaining-requests": "12",
        "x-ratelimit-reset-requests": "6m0s",
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-tokens": "2s",
    }
    assert empty_bucket_reset(headers, NOW) == 2.0
    assert empty_bucket_reset({**headers, "x-ratelimit-remaining-requests": "0"}, NOW) == 360.0
    assert empty_bucket_reset({**headers, "x-ratelimit-remaining-tokens": "-1"}, NOW) is None
    assert empty_bucket_reset({"x-ratelimit-remaining-tokens": "0"}, NOW) is None


def test_anthropics_buckets_name_a_moment() -> None:
    headers = {
        "anthropic-ratelimit-input-tokens-remaining": "0",
        "anthropic-ratelimit-input-tokens-reset": "2026-11-22T10:00:12Z",
    }
    assert empty_bucket_reset(headers, NOW) == 12.0
    assert empty_bucket_reset(headers, NOW + timedelta(minutes=1)) == 0.0


@pytest.mark.parametrize(
    "reset", ["99999999999999999999999", "9" * 400, "1e18", "9999999999999", "253402300800", "-5", "tomorrow"]
)
def test_a_reset_in_an_impossible_year_is_no_reason_to_fall_over(reset: str) -> None:
    found = retry_after({"x-ratelimit-remaining": "0", "x-ratelimit-reset": reset}, now=NOW)
    assert found is None or 0 <= found < float("inf")


@pytest.mark.parametrize(
    "date",
    [
        "Mon, 01 Jan 2020 00:00:00 +99999999999999999999",
        "Mon, 99 Jan 2020 99:00:00 GMT",
        "Mon, 01 Foo 2020 00:00:00 GMT",
    ],
)
def test_an_impossible_date_is_no_hint(date: str) -> None:
    assert retry_after({"retry-after": date}, now=NOW) is None
    assert retry_after({"retry-after": "3", "date": date}, now=NOW) == 3.0


@given(st.floats(0, 1e6))
def test_seconds_survive_the_way_through_a_header(seconds: float) -> None:
    assert retry_after({"retry-after": repr(seconds)}) == seconds


@given(st.integers(0, 99), st.integers(0, 59), st.integers(0, 59))
def test_a_duration_is_the_sum_of_its_parts(hours: int, minutes: int, seconds: int) -> None:
    assert parse_duration(f"{hours}h{minutes}m{seconds}s") == hours * 3600 + minutes * 60 + seconds


def test_a_number_without_an_end_costs_no_time_and_is_no_duration() -> None:
    """Read digit by digit, each of these would take hours: the test would not come back."""
    endless = "1" * 1_000_000 + "x"
    assert parse_duration(endless) is None
    assert retry_after({"x-ratelimit-remaining": "0", "x-ratelimit-reset": endless}, now=NOW) is None
    assert retry_after({}, {"error": {"details": [{"retryDelay": endless}]}}) is None


@given(st.text(max_size=30))
def test_any_text_is_a_duration_or_none(text: str) -> None:
    found = parse_duration(text)
    assert found is None or 0 <= found < float("inf")


@given(
    remaining=st.sampled_from(["0", " 0 ", "1", "-1", ""]),
    reset=st.text("0123456789.dhmsu+-TZ:", max_size=40),
    said=st.text("0123456789.einfa-+ ", max_size=12),
)
def test_no_header_whatever_makes_the_parser_raise(remaining: str, reset: str, said: str) -> None:
    headers = {"x-ratelimit-remaining": remaining, "x-ratelimit-reset": reset, "retry-after": said}
    found = retry_after(headers, now=NOW)
    assert found is None or 0 <= found < float("inf")


# ------------------------------------------------------------------ other spellings

EPOCH = int(NOW.timestamp())


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("30s", 30.0),
        ("1m30s", 90.0),
        ("500ms", 0.5),
        ("45 seconds", 45.0),
        ("2 minutes", 120.0),
        ("2026-11-22T10:00:30Z", 30.0),
        ("2026-11-22T12:00:30+02:00", 30.0),
        (f"{EPOCH + 20}", 20.0),
        (f"{EPOCH * 1000 + 20_500}", 20.5),
        (f"{EPOCH - 20}", 0.0),
        ("20, 30", 30.0),
        ("30, 20", 30.0),
        ("nan, 20", 20.0),
        ("20, soon", 20.0),
        ("5, Sun, 22 Nov 2026 10:00:40 GMT", 40.0),
        ("Sun, 22 Nov 2026 10:00:30 GMT, Sun, 22 Nov 2026 10:00:40 GMT", 40.0),
        ("1e999", None),
        ("0x10", None),
        ("30 fortnights", None),
        ("30s later", None),
        ("9" * 500, None),
    ],
)
def test_a_retry_after_is_read_in_every_spelling_and_of_two_the_later_one_counts(
    value: str, seconds: float | None
) -> None:
    assert retry_after({"retry-after": value}, now=NOW) == seconds


@pytest.mark.parametrize(
    "value", ["4000000", f"{EPOCH * 2}", f"{EPOCH * 3000}", "9999h", "Fri, 01 Jan 2100 00:00:00 GMT"]
)
def test_a_hint_of_months_and_years_is_bounded(value: str) -> None:
    assert retry_after({"retry-after": value}, now=NOW) == LONGEST_SECONDS


def test_milliseconds_have_two_names_and_may_have_a_fraction() -> None:
    assert retry_after({"retry-after-ms": "1500.5"}) == 1.5005
    assert retry_after({"x-ms-retry-after-ms": "1500", "retry-after": "9"}) == 1.5
    assert retry_after({"retry-after-ms": "250", "x-ms-retry-after-ms": "1500"}) == 0.25


UNIFIED = {"anthropic-ratelimit-unified-reset": f"{EPOCH + 90}"}


def test_the_unified_window_counts_when_it_rejects() -> None:
    """It comes with every answer of a subscription, allowed or not."""
    name = "anthropic-ratelimit-unified-status"
    assert retry_after({**UNIFIED, name: "rejected"}, now=NOW) == 90.0
    assert retry_after(UNIFIED, now=NOW) == 90.0
    assert retry_after({**UNIFIED, name: "allowed"}, now=NOW) is None
    assert retry_after({**UNIFIED, name: "rejected", "retry-after": "7"}, now=NOW) == 7.0
    assert empty_bucket_reset({**UNIFIED, name: "rejected"}, NOW) == 90.0
    assert empty_bucket_reset({**UNIFIED, name: "allowed"}, NOW) is None
    assert empty_bucket_reset(UNIFIED, NOW) is None


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"ratelimit": '"default";r=0;t=30'}, 30.0),
        ({"ratelimit": "default;t=30;r=0"}, 30.0),
        ({"ratelimit": '"minute";r=4;t=30, "second";r=0;t=1'}, 1.0),
        ({"ratelimit": '"minute";r=0;t=30, "day";r=0;t=600'}, 600.0),
        ({"ratelimit": "limit=10, remaining=0, reset=5"}, 5.0),
        ({"ratelimit": '"default";r=1;t=30'}, None),
        ({"ratelimit": '"default";r=0'}, None),
        ({"ratelimit": "?"}, None),
        ({"ratelimit-remaining": "0", "ratelimit-reset": "30"}, 30.0),
        ({"ratelimit-remaining": "1", "ratelimit-reset": "30"}, None),
        ({"x-ratelimit-remaining-tokens-minute": "0.0", "x-ratelimit-reset-tokens-minute": "12.5"}, 12.5),
    ],
)
def test_budgets_are_read_as_the_ietf_drafts_write_them(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert empty_bucket_reset(headers, NOW) == seconds
    assert retry_after(headers, now=NOW) == seconds


def test_a_reset_beside_which_nothing_remains_to_be_counted_is_a_hint_of_last_resort() -> None:
    resets = {"x-ratelimit-reset-requests": "6m0s", "x-ratelimit-reset-tokens": "2s"}
    assert retry_after(resets, now=NOW) == 2.0
    assert retry_after({**resets, "x-ratelimit-remaining-tokens": "9"}, now=NOW) is None
    assert empty_bucket_reset(resets, NOW) is None


@pytest.mark.parametrize(
    ("message", "seconds"),
    [
        ("Please retry after 26 seconds.", 26.0),
        ("Please wait 52220 seconds before retrying.", 52220.0),
        ("please try again after 1 seconds", 1.0),
        ("Try again in about 2 minutes.", 120.0),
        ("try again in 1 hour and 5 minutes", 3900.0),
        ("You can retry your request in 7.5s, or upgrade", 7.5),
        ("Your limit resets in 3 hours", 10800.0),
        ("Retry after: 21 seconds.", 21.0),
        ("retry after 30", 30.0),
        ("retry after 3 attempts", None),
        ("try again later. Limit 5 s", None),
        ("it took 30 s, please retry", None),
        ("awaited 5 s", None),
    ],
)
def test_a_sentence_names_its_seconds_in_words_too(message: str, seconds: float | None) -> None:
    assert retry_after({}, {"error": {"message": message}}) == seconds
    assert retry_after({}, message) == seconds


@pytest.mark.parametrize(
    ("payload", "seconds"),
    [
        ({"retry_after": 20}, 20.0),
        ({"error": {"retry_after": "20s"}}, 20.0),
        ({"error": {"retryAfterMs": 1500}}, 1.5),
        ({"error": {"details": [{"retryDelay": {"seconds": 34, "nanos": 400_000_000}}]}}, 34.4),
        ({"error": {"resets_in_seconds": 120}}, 120.0),
        ({"error": "loading", "estimated_time": 20.5}, 20.5),
        ({"error": {"metadata": {"headers": {"Retry-After": "9"}}}}, 9.0),
        (
            {
                "error": {
                    "metadata": {
                        "headers": {
                            "X-RateLimit-Remaining": "0",
                            "X-RateLimit-Reset": f"{EPOCH * 1000 + 6000}",
                        }
                    }
                }
            },
            6.0,
        ),
        ({"error": {"metadata": {"raw": json.dumps({"error": {"message": "try again in 9s"}})}}}, 9.0),
        ({"error": {"metadata": {"raw": json.dumps([{"error": {"details": [{"retryDelay": "9s"}]}}])}}}, 9.0),
        ({"retry_after": -1}, None),
        ({"retry_after": True}, None),
        ({"retry_after": float("nan")}, None),
        ({"retry_after": float("inf")}, None),
        ({"retry_after": [1]}, None),
        ({"retry_after": {"seconds": "x"}}, None),
        ({"retry_after": None, "error": {"message": "retry in 4s"}}, 4.0),
    ],
)
def test_a_field_of_a_body_names_its_seconds(payload: object, seconds: float | None) -> None:
    found = retry_after({}, payload, NOW)
    assert found == (None if seconds is None else pytest.approx(seconds))


json_like = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text("0123456789.smh,: nae+-TZ", max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "error",
                    "metadata",
                    "headers",
                    "retry_after",
                    "retryDelay",
                    "seconds",
                    "nanos",
                    "message",
                    "details",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


@given(json_like, st.text("0123456789.smh,: naeSunGMT+-Z", max_size=40))
def test_no_body_and_no_header_makes_the_parser_raise_or_name_more_than_a_month(
    payload: Any, value: str
) -> None:
    for name in ("retry-after", "retry-after-ms", "ratelimit", "ratelimit-reset"):
        found = retry_after({name: value}, payload, NOW)
        assert found is None or 0 <= found <= LONGEST_SECONDS
