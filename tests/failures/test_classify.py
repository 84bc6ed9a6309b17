"""What each provider's errors prove: its own bodies, recorded or written after its error reference."""

import json
import timeit
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cortex_trio.failures import Failure, FailureKind, classify, classify_payload
from cortex_trio.failures.kinds import CODE_LIMIT, MESSAGE_LIMIT, READ_LIMIT

K = FailureKind
NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)

Recorded = Callable[[str], Failure]


@pytest.fixture(scope="session")
def recorded(shared_dir: Path) -> Recorded:
    """Classify a recorded (or constructed) error answer by its path."""

    def load(path: str) -> Failure:
        file = shared_dir / "wire" / path
        meta = json.loads(file.with_suffix(".meta.json").read_text())
        headers = {name.lower(): value for name, value in (meta.get("response_headers") or {}).items()}
        return classify(meta["status"], headers, file.read_bytes(), now=NOW)

    return load


RECORDED: dict[str, tuple[FailureKind, float | None]] = {
    "recordings/anthropic/error_400_prompt_too_long.json": (K.CONTEXT_LENGTH, None),
    "recordings/cohere/error_400_too_many_tokens.json": (K.CONTEXT_LENGTH, None),
    "recordings/ollama/openai_compat_error_400_prompt_too_long.json": (K.CONTEXT_LENGTH, None),
    # one request that is larger than the whole bucket: waiting never helps
    "constructed/groq/error_413_request_too_large_tpm.json": (K.CONTEXT_LENGTH, 16.24),
    "recordings/openai/error_400_empty_messages.json": (K.BAD_REQUEST, None),
    "recordings/openai/error_400_invalid_image_url.json": (K.BAD_REQUEST, None),
    "constructed/anthropic/error_413_request_too_large.json": (K.BAD_REQUEST, None),
    "constructed/ollama/error_400_no_tools_support.json": (K.BAD_REQUEST, None),
    "constructed/ollama/error_400_no_thinking_support.json": (K.BAD_REQUEST, None),
    "constructed/xai/error_422_plain_text.txt": (K.BAD_REQUEST, None),
    "recordings/openai/error_401_invalid_api_key.json": (K.CREDENTIAL, None),
    "recordings/anthropic/error_401_invalid_x_api_key.json": (K.CREDENTIAL, None),
    "recordings/groq/error_401_invalid_api_key.json": (K.CREDENTIAL, None),
    "recordings/gemini/error_400_api_key_invalid.json": (K.CREDENTIAL, None),
    "recordings/gemini/error_400_api_key_invalid_stream_sse.json": (K.CREDENTIAL, None),
    "recordings/xai/error_400_incorrect_api_key.json": (K.CREDENTIAL, None),
    "constructed/xai/error_401_missing_auth.json": (K.CREDENTIAL, None),
    "recordings/ollama/openai_compat_error_401.json": (K.CREDENTIAL, None),
    "constructed/ollama/error_401_cloud_signin.json": (K.CREDENTIAL, None),
    "recordings/openai/error_403_not_allowed_to_sample.json": (K.PERMISSION, None),
    "constructed/anthropic/error_403_permission.json": (K.PERMISSION, None),
    "recordings/gemini/error_403_unregistered_caller.json": (K.PERMISSION, None),
    "constructed/gemini/error_403_api_not_enabled.json": (K.PERMISSION, None),
    "constructed/xai/error_403_no_permission.json": (K.PERMISSION, None),
    "recordings/openai/error_429_insufficient_quota.json": (K.QUOTA, None),
    "constructed/openai/error_429_insufficient_quota_with_headers.json": (K.QUOTA, None),
    "constructed/anthropic/error_400_credit_balance_too_low.json": (K.QUOTA, None),
    "constructed/anthropic/error_402_billing.json": (K.QUOTA, None),
    "constructed/cohere/error_402_billing_limit.json": (K.QUOTA, None),
    "constructed/gemini/error_402_prepay_depleted.json": (K.QUOTA, None),
    # its RetryInfo speaks of the minute's bucket: believing it would wake us in vain all day
    "constructed/gemini/error_429_daily_free_tier.json": (K.QUOTA, None),
    "constructed/groq/error_429_rate_limit_tokens_per_day.json": (K.QUOTA, 1253.0),
    "constructed/ollama/error_429_cloud.json": (K.QUOTA, None),
    "constructed/xai/error_429_credits_exhausted.json": (K.QUOTA, None),
    "constructed/openai/error_429_rate_limit_requests.json": (K.RATE_LIMIT, 0.12),
    "constructed/openai/error_429_rate_limit_tokens.json": (K.RATE_LIMIT, 57.54),
    "constructed/anthropic/error_429_rate_limit_input_tokens.json": (K.RATE_LIMIT, 37.0),
    "constructed/anthropic/error_429_rate_limit_account.json": (K.RATE_LIMIT, 12.0),
    "constructed/cohere/error_429_per_minute.json": (K.RATE_LIMIT, None),
    "constructed/cohere/error_429_trial_key.json": (K.RATE_LIMIT, None),
    "recordings/gemini/error_429_resource_exhausted_plain.json": (K.RATE_LIMIT, None),
    "recordings/gemini/error_429_rate_limit_errorinfo.json": (K.RATE_LIMIT, None),
    "constructed/gemini/error_429_array_wrapped.json": (K.RATE_LIMIT, None),
    "constructed/groq/error_429_rate_limit_tokens_per_minute.json": (K.RATE_LIMIT, 17.0),
    "constructed/xai/error_429_rate_limit_tokens.json": (K.RATE_LIMIT, None),
    "recordings/extras/openrouter_error_429_epoch_ms_reset.json": (K.RATE_LIMIT, 6.0),
    "constructed/anthropic/error_529_overloaded.json": (K.OVERLOADED, None),
    "constructed/anthropic/error_529_overloaded_with_details.json": (K.OVERLOADED, None),
    "constructed/openai/error_503_overloaded.json": (K.OVERLOADED, 5.0),
    "constructed/gemini/error_503_unavailable.json": (K.OVERLOADED, None),
    "constructed/groq/error_498_flex_capacity.json": (K.OVERLOADED, None),
    "constructed/ollama/error_503_server_busy.json": (K.OVERLOADED, None),
    "recordings/openai/error_500_server_error.json": (K.SERVER, None),
    "constructed/anthropic/error_500_api_error.json": (K.SERVER, None),
    "constructed/anthropic/error_504_timeout.json": (K.SERVER, None),
    "constructed/cohere/error_500_internal.json": (K.SERVER, None),
    "constructed/cohere/error_503_unavailable.json": (K.SERVER, None),
    "constructed/gemini/error_500_internal.json": (K.SERVER, None),
    "constructed/gemini/error_504_deadline.json": (K.SERVER, None),
    "constructed/groq/error_503_service_unavailable.json": (K.SERVER, None),
    "constructed/ollama/error_500_runner.json": (K.SERVER, None),
    "constructed/ollama/error_502_cloud.json": (K.SERVER, None),
    "recordings/anthropic/error_404_model_not_found.json": (K.MODEL_NOT_FOUND, None),
    "recordings/cohere/error_404_model_not_found.json": (K.MODEL_NOT_FOUND, None),
    "recordings/cohere/error_404_model_removed.json": (K.MODEL_NOT_FOUND, None),
    "recordings/gemini/error_404_model_not_found.json": (K.MODEL_NOT_FOUND, None),
    "recordings/groq/error_404_model_not_found.json": (K.MODEL_NOT_FOUND, None),
    "recordings/groq/error_400_model_decommissioned.json": (K.MODEL_NOT_FOUND, None),
    "recordings/xai/error_400_unknown_model.json": (K.MODEL_NOT_FOUND, None),
    "recordings/xai/error_404_model_deprecated.json": (K.MODEL_NOT_FOUND, None),
    "constructed/openai/error_502_cloudflare_html.html": (K.EDGE, None),
}


@pytest.mark.parametrize("path", RECORDED)
def test_a_recorded_error_is_of_its_kind_and_says_when_to_come_back(recorded: Recorded, path: str) -> None:
    failure = recorded(path)
    kind, retry_after = RECORDED[path]
    assert failure.kind is kind
    assert failure.retry_after == (None if retry_after is None else pytest.approx(retry_after))
    assert failure.message
    assert failure.phase == "headers"


def test_every_recorded_error_answer_is_in_the_table(shared_dir: Path) -> None:
    found = {
        str(file.relative_to(shared_dir / "wire"))
        for file in (shared_dir / "wire").glob("*/*/*error_[1-5]*")
        if not file.name.endswith(".meta.json")
    }
    assert found == set(RECORDED)


def openai(message: str, code: str | None = None, type: str = "invalid_request_error") -> bytes:
    return json.dumps({"error": {"message": message, "type": type, "param": None, "code": code}}).encode()


def google(code: int, status: str, message: str, *details: dict[str, Any]) -> bytes:
    error = {"code": code, "status": status, "message": message, "details": [*details]}
    return json.dumps({"error": error}).encode()


def quota_failure(quota_id: str) -> dict[str, Any]:
    kind = "type.googleapis.com/google.rpc.QuotaFailure"
    return {"@type": kind, "violations": [{"quotaId": quota_id}]}


HTML = b"<!DOCTYPE html>\n<html><head><title>Attention Required! | Cloudflare</title></head></html>"

WRITTEN: list[tuple[str, int, bytes, FailureKind]] = [
    (
        "OpenAI, too long",
        400,
        openai("This model's maximum context length is 128000 tokens.", "context_length_exceeded"),
        K.CONTEXT_LENGTH,
    ),
    (
        "xAI, too long",
        400,
        b'{"code":"invalid-argument","error":"This model\'s maximum prompt length is 131072 but the request '
        b'contains 200000 tokens. The context window was exceeded."}',
        K.CONTEXT_LENGTH,
    ),
    (
        "Gemini, too long",
        400,
        google(
            400,
            "INVALID_ARGUMENT",
            "The input token count (2000000) exceeds the maximum number of tokens allowed (1048576).",
        ),
        K.CONTEXT_LENGTH,
    ),
    (
        "OpenAI, moderation",
        400,
        openai("Your request was rejected as a result of our safety system.", "content_policy_violation"),
        K.CONTENT_POLICY,
    ),
    (
        "Azure, filter",
        400,
        openai("The response was filtered due to the prompt.", "content_filter"),
        K.CONTENT_POLICY,
    ),
    (
        "xAI, guidelines",
        403,
        b'{"code":"The caller does not have permission to execute the specified operation",'
        b'"error":"Content violates usage guidelines. Failed check: SAFETY_CHECK_TYPE_BIO"}',
        K.CONTENT_POLICY,
    ),
    ("conflict", 409, openai("Another request is being processed."), K.UNKNOWN),
    ("media type", 415, openai("Unsupported media type"), K.BAD_REQUEST),
    ("too large", 413, openai("Request body too large"), K.BAD_REQUEST),
    (
        "Gemini, bad argument",
        400,
        google(400, "INVALID_ARGUMENT", "Invalid JSON payload received. Unknown name."),
        K.BAD_REQUEST,
    ),
    ("Cohere, invalid token", 498, b'{"message":"invalid api token"}', K.CREDENTIAL),
    ("a bare 401", 401, b"", K.CREDENTIAL),
    (
        "OpenAI, restricted key",
        401,
        openai("You have insufficient permissions for this operation. Missing scopes: api.model.read."),
        K.PERMISSION,
    ),
    ("a bare 402", 402, b"", K.QUOTA),
    (
        "OpenAI, hard limit",
        400,
        openai("Billing hard limit has been reached", "billing_hard_limit_reached"),
        K.QUOTA,
    ),
    (
        "Groq, blocked",
        400,
        openai("API access blocked: spend limit reached", "blocked_api_access"),
        K.QUOTA,
    ),
    (
        "Anthropic, spend limit",
        400,
        b'{"type":"error","error":{"type":"invalid_request_error","message":"You have reached your specified '
        b'API usage limits. You will regain access on 2026-12-01."}}',
        K.QUOTA,
    ),
    (
        "Cohere, monthly trial",
        429,
        b'{"message":"You are using a Trial key, which is limited to 1000 API calls / month."}',
        K.QUOTA,
    ),
    (
        "Gemini, per minute",
        429,
        google(
            429,
            "RESOURCE_EXHAUSTED",
            "You exceeded your current quota, please check your plan and billing details.",
            quota_failure("GenerateRequestsPerMinutePerProjectPerModel-FreeTier"),
        ),
        K.RATE_LIMIT,
    ),
    ("a bare 429", 429, b"", K.RATE_LIMIT),
    ("a bare 529", 529, b"", K.OVERLOADED),
    ("a proxy's 503", 503, b"upstream connect error or disconnect/reset before headers", K.SERVER),
    ("a bare 500", 500, b"", K.SERVER),
    ("Cloudflare's own 520", 520, b"error code: 520", K.SERVER),
    ("a request timeout", 408, b"", K.SERVER),
    ("gone", 410, b"", K.MODEL_NOT_FOUND),
    (
        "Ollama, not pulled",
        404,
        b'{"error":"model \\"llama9\\" not found, try pulling it first"}',
        K.MODEL_NOT_FOUND,
    ),
    (
        "OpenAI, no access to the model",
        403,
        openai("Project `proj_x` does not have access to model `gpt-9`", "model_not_found"),
        K.MODEL_NOT_FOUND,
    ),
    (
        "OpenAI, country",
        403,
        openai(
            "Country, region, or territory not supported",
            "unsupported_country_region_territory",
            "request_forbidden",
        ),
        K.REGION,
    ),
    (
        "Gemini, location",
        400,
        google(400, "FAILED_PRECONDITION", "User location is not supported for the API use."),
        K.REGION,
    ),
    ("a challenge page", 403, HTML, K.EDGE),
    ("a page for a 503", 503, HTML, K.EDGE),
    ("a page for a 404", 404, HTML, K.UNKNOWN),
    ("a redirect", 302, b"", K.UNKNOWN),
]


@pytest.mark.parametrize(
    ("status", "body", "kind"), [row[1:] for row in WRITTEN], ids=[row[0] for row in WRITTEN]
)
def test_a_written_error_is_of_its_kind(status: int, body: bytes, kind: FailureKind) -> None:
    assert classify(status, {}, body).kind is kind


def test_every_kind_an_answer_can_prove_has_an_example_here() -> None:
    shown = {kind for kind, _ in RECORDED.values()} | {row[3] for row in WRITTEN}
    not_from_an_answer = {
        K.CONNECTION,
        K.STALLED,
        K.PROTOCOL,
        K.TRUNCATED,
        K.EMPTY,
        K.CRASHED,
        K.CANCELLED,
    }
    assert shown == set(K) - not_from_an_answer


BAD_PARAMETERS = [
    "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
    "This model does not support assistant message prefill. The conversation must end with a user message.",
    "`temperature` is deprecated for this model.",
    "tools.0.custom.name: String should match pattern '^[a-zA-Z0-9_-]{1,128}$'",
    "For this model, `thinking.type: enabled` is deprecated; use `adaptive`.",
    "The model produced invalid content and `response_format` json_object is no longer accepted with tools.",
]


@pytest.mark.parametrize("message", BAD_PARAMETERS)
def test_a_parameter_the_model_does_not_take_is_not_a_model_that_is_missing(message: str) -> None:
    """MODEL_NOT_FOUND takes the model off the worker until the next configuration: too much for one caller's 400."""
    assert classify(400, {}, openai(message)).kind is K.BAD_REQUEST


# ------------------------------------------------------------------ inside a 200 stream

IN_STREAM: list[tuple[str, Any, FailureKind]] = [
    (
        "Anthropic",
        {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
        K.OVERLOADED,
    ),
    ("Anthropic", {"type": "error", "error": {"type": "api_error", "message": "Internal"}}, K.SERVER),
    (
        "Groq",
        {
            "error": {
                "message": "tool call validation failed",
                "type": "invalid_request_error",
                "status_code": 400,
            }
        },
        K.PROTOCOL,  # the model's tool call was wrong, not the request: the next worker may do better
    ),
    (
        "OpenAI",
        {"error": {"type": "tokens", "code": "rate_limit_exceeded", "message": "Rate limit reached"}},
        K.RATE_LIMIT,
    ),
    (
        "OpenAI",
        {"type": "error", "code": "insufficient_quota", "message": "You exceeded your current quota"},
        K.QUOTA,
    ),
    (
        "OpenAI Responses",
        {"status": "failed", "error": {"code": "invalid_image_format", "message": "Unsupported format"}},
        K.BAD_REQUEST,
    ),
    (
        "OpenAI Responses",
        {"status": "failed", "error": {"code": "image_content_policy_violation", "message": "Rejected"}},
        K.CONTENT_POLICY,
    ),
    ("Gemini", {"error": {"code": 503, "status": "UNAVAILABLE", "message": "overloaded"}}, K.OVERLOADED),
    ("Gemini", [{"error": {"code": 500, "status": "INTERNAL", "message": "An internal error"}}], K.SERVER),
    ("Ollama", {"error": "an error was encountered while running the model"}, K.SERVER),
    ("OpenRouter", {"error": {"code": 502, "message": "Upstream error from Venice"}}, K.SERVER),
    ("a vague one", {"error": {"type": "not_found_error", "message": "nope"}}, K.MODEL_NOT_FOUND),
]


@pytest.mark.parametrize(
    ("payload", "kind"), [row[1:] for row in IN_STREAM], ids=[row[0] for row in IN_STREAM]
)
def test_an_error_inside_a_stream_is_of_the_same_kind_as_its_status_would_be(
    payload: object, kind: FailureKind
) -> None:
    failure = classify_payload(payload)
    assert (failure.kind, failure.phase) == (kind, "stream")


# ------------------------------------------------------------------ what goes with it


def test_the_providers_own_verdict_on_a_retry_is_kept() -> None:
    said = [classify(500, {"x-should-retry": word}, b"").should_retry for word in ("true", "false", "maybe")]
    assert said == [True, False, None]
    assert classify(500, {}, b"").should_retry is None


@pytest.mark.parametrize("header", ["x-request-id", "request-id"])
def test_the_request_id_is_kept(header: str) -> None:
    assert classify(500, {header: "req_7"}, b"").request_id == "req_7"


def test_an_array_around_an_error_hides_neither_its_kind_nor_its_hint() -> None:
    """Gemini's array stream wraps its errors."""
    info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.4s"}
    body = b"[" + google(429, "RESOURCE_EXHAUSTED", "slow down", info) + b"]"
    failure = classify(429, {}, body)
    assert (failure.kind, failure.retry_after) == (K.RATE_LIMIT, 34.4)


def test_a_long_message_is_cut_and_stays_on_one_line() -> None:
    failure = classify(500, {}, openai("first\n\nsecond " + "x" * 1000))
    assert failure.message.startswith("first second x")
    assert len(failure.message) == MESSAGE_LIMIT
    assert failure.message.endswith("…")


def test_a_code_is_a_word_however_long_a_server_makes_it() -> None:
    code = classify_payload({"error": {"code": "x" * 1_000_000, "message": "no"}}).code
    assert code == "x" * CODE_LIMIT


def test_a_body_that_was_cut_in_the_middle_still_gives_a_kind_and_a_message() -> None:
    failure = classify(401, {}, openai("Incorrect API key provided", "invalid_api_key")[:40])
    assert failure.kind is K.CREDENTIAL
    assert "Incorrect API" in failure.message


def test_the_message_of_a_web_page_is_its_text_without_tags() -> None:
    failure = classify(502, {}, b"<html><body><h1>502 Bad Gateway</h1></body></html>")
    assert failure.message == "502 Bad Gateway"


def test_a_failure_reads_as_one_line() -> None:
    assert str(Failure(K.SERVER, "oops", 500)) == "server (HTTP 500): oops"
    assert str(Failure(K.CRASHED)) == "crashed"


# ------------------------------------------------------------------ anything at all

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from(
    [
        "error",
        "message",
        "code",
        "type",
        "status",
        "status_code",
        "details",
        "reason",
        "violations",
        "quotaId",
        "retryDelay",
        "error_type",
    ]
)
error_shaped: st.SearchStrategy[Any] = st.recursive(
    json_values,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
)
header_names = st.sampled_from(
    [
        "retry-after",
        "retry-after-ms",
        "date",
        "x-should-retry",
        "x-request-id",
        "x-ratelimit-remaining",
        "x-ratelimit-reset",
        "anthropic-ratelimit-requests-remaining",
        "anthropic-ratelimit-requests-reset",
    ]
)
header_values = st.one_of(
    st.text(max_size=30),
    st.sampled_from(["0", "-1", "nan", "inf", "1e400", "99999999999999999999", "1d99999999999h"]),
    st.sampled_from(["Mon, 01 Jan 2020 00:00:00 +99999999999", "0001-01-01T00:00:00+23:59", "١٢"]),
    st.integers().map(str),
    st.datetimes().map(lambda moment: moment.isoformat() + "Z"),
    st.datetimes().map(lambda moment: moment.strftime("%a, %d %b %Y %H:%M:%S GMT")),
)


@given(
    status=st.integers(100, 999),
    headers=st.dictionaries(header_names, header_values, max_size=5),
    body=st.binary(max_size=200) | error_shaped.map(lambda value: json.dumps(value).encode()),
)
def test_no_answer_whatever_makes_the_classifier_raise(
    status: int, headers: dict[str, str], body: bytes
) -> None:
    failure = classify(status, headers, body, now=NOW)
    assert failure.kind in K
    assert len(failure.message) <= MESSAGE_LIMIT
    assert failure.retry_after is None or 0 <= failure.retry_after < float("inf")
    assert attrs.evolve(failure, phase="body").phase == "body"


@given(error_shaped)
def test_no_payload_whatever_makes_the_classifier_raise(payload: Any) -> None:
    failure = classify_payload(payload)
    assert failure.retry_after is None or 0 <= failure.retry_after < float("inf")


def test_a_body_nested_beyond_reason_is_only_text() -> None:
    assert classify(500, {}, b"[" * 100_000).kind is K.SERVER


@pytest.mark.slow
@pytest.mark.parametrize("run", ["9", "9,", "a", "a-", "a.", "://a", "1 ", '"', "a "])
def test_the_time_a_message_costs_grows_with_its_length_and_no_faster(run: str) -> None:
    """Four times the length is four times the time; a pattern that begins again at every character takes sixteen."""

    def seconds(length: int) -> float:
        body = (run * length)[:length].encode()
        return min(timeit.repeat(lambda: classify(400, {}, body), number=3, repeat=5))

    seconds(READ_LIMIT)  # the patterns are compiled
    assert seconds(READ_LIMIT) < 10 * seconds(READ_LIMIT // 4)
