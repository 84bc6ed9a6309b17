"""The exam, first part: the primary refuses, fails or is unreachable before it has said anything."""

import itertools

import pytest
import trio
from exam_stage import GOOD, RESCUE, Stage

from cortex_trio import (
    AllWorkersFailed,
    FailureKind,
    FinishReason,
    NoWorkersAvailable,
    ProviderError,
    Usage,
)
from cortex_trio.simulator import Behaviour

# ------------------------------------------------------------------ S01, S02, S18, S30: rate limits


async def test_s01_a_rate_limit_is_waited_out_and_the_primary_never_asked_earlier_than_told(
    stage: Stage,
) -> None:
    hint = 2 * stage.second
    primary = stage.primary(Behaviour(error=FailureKind.RATE_LIMIT, retry_after=hint), GOOD)
    async with stage.gateway() as cortex:
        reply = await cortex.complete("Hi")
    assert reply.text == GOOD.text
    refused, served = primary.requests
    assert hint <= served.when - refused.when <= 1.1 * hint + 0.05 + stage.slack
    assert [attempt.failure and attempt.failure.kind for attempt in reply.attempts] == [
        FailureKind.RATE_LIMIT,
        None,
    ]


async def test_s01_with_a_fallback_the_answer_comes_at_once_and_the_primary_still_gets_its_rest(
    virtual: Stage,
) -> None:
    primary = virtual.primary(Behaviour(error=FailureKind.RATE_LIMIT, retry_after=2), GOOD)
    virtual.fallback()
    async with virtual.gateway() as cortex:
        start = trio.current_time()
        assert (await cortex.complete("Hi")).worker == "fallback"
        assert trio.current_time() - start < 0.1
        for _ in range(4):
            await trio.sleep(0.4)
            assert (await cortex.complete("Hi")).worker == "fallback"
        assert len(primary.requests) == 1
        await trio.sleep(1)
        assert (await cortex.complete("Hi")).worker == "primary"


async def test_s02_a_rate_limit_for_ever_is_served_by_the_fallback_while_the_key_rests_for_the_hint(
    virtual: Stage,
) -> None:
    primary = virtual.primary(Behaviour(error=FailureKind.RATE_LIMIT, retry_after=60))
    fallback = virtual.fallback()
    async with virtual.gateway() as cortex:
        for minute in range(3):
            assert (await cortex.complete("Hi")).text == RESCUE.text
            assert len(primary.requests) == minute + 1
            status = (await cortex.health_status()).workers["primary"]
            assert (status.status, status.reason) == ("rate_limited", FailureKind.RATE_LIMIT)
            for _ in range(5):
                await trio.sleep(11)
                await cortex.complete("Hi")
            await trio.sleep(6)
    asked = [request.when for request in primary.requests]
    assert all(later - earlier >= 60 for earlier, later in itertools.pairwise(asked))
    assert len(fallback.requests) == 18


async def test_s02_a_rate_limit_without_a_hint_is_retried_ever_less_often(virtual: Stage) -> None:
    refusal = Behaviour(status=429, error_body='{"error": {"message": "Too many requests."}}')
    primary = virtual.primary(refusal)
    virtual.fallback()
    async with virtual.gateway() as cortex:
        for _ in range(45):
            assert (await cortex.complete("Hi")).worker == "fallback"
            await trio.sleep(5)
    asked = [round(request.when - primary.requests[0].when) for request in primary.requests]
    assert asked == [0, 10, 40, 100, 220]


async def test_s02_a_guess_of_ours_is_not_obeyed_when_nobody_else_is_left(virtual: Stage) -> None:
    virtual.primary(Behaviour(status=429, error_body='{"error": {"message": "Too many requests."}}'), GOOD)
    async with virtual.gateway() as cortex:
        with pytest.raises(ProviderError):
            await cortex.complete("Hi")
        assert (await cortex.complete("Hi")).text == GOOD.text


FORMS = {
    "whole seconds": Behaviour(error=FailureKind.RATE_LIMIT, retry_after="2"),
    "a float": Behaviour(error=FailureKind.RATE_LIMIT, retry_after="2.0"),
    "milliseconds": Behaviour(error=FailureKind.RATE_LIMIT, headers={"retry-after-ms": "2000"}),
    "an HTTP date": Behaviour(
        error=FailureKind.RATE_LIMIT,
        headers={
            "date": "Thu, 01 Jan 2026 00:00:00 GMT",
            "retry-after": "Thu, 01 Jan 2026 00:00:02 GMT",
        },
    ),
    "words in the body": Behaviour(
        status=429, error_body='{"error": {"message": "Rate limit reached. Please try again in 2s."}}'
    ),
    "Google's RetryInfo": Behaviour(
        status=429,
        error_body='{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "Resource exhausted.",'
        ' "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "2s"}]}}',
    ),
}


@pytest.mark.parametrize("form", FORMS)
async def test_s18_whatever_form_a_hint_has_it_is_honoured_alike(virtual: Stage, form: str) -> None:
    # Groq's own rate limit names a wait of its own in the header, which would come first.
    primary = virtual.primary(FORMS[form], GOOD)
    async with virtual.gateway() as cortex:
        reply = await cortex.complete("Hi")
    assert reply.text == GOOD.text
    first = reply.attempts[0].failure
    assert first is not None
    assert (first.kind, first.retry_after) == (FailureKind.RATE_LIMIT, 2.0)
    refused, served = primary.requests
    assert 2.0 <= served.when - refused.when <= 2.3


async def test_s30_when_all_keys_rest_the_caller_hears_at_once_when_the_first_one_is_back(
    virtual: Stage,
) -> None:
    primary = virtual.primary(Behaviour(error=FailureKind.RATE_LIMIT, retry_after=500))
    fallback = virtual.fallback(Behaviour(error=FailureKind.RATE_LIMIT, retry_after=300))
    async with virtual.gateway() as cortex:
        with pytest.raises(AllWorkersFailed) as failed:
            await cortex.complete("Hi")
        assert failed.value.retry_after == pytest.approx(300, abs=1)
        assert failed.value.primary.failure.kind is FailureKind.RATE_LIMIT
        before = trio.current_time()
        with pytest.raises(NoWorkersAvailable) as nobody:
            await cortex.complete("Hi")
        assert trio.current_time() - before < 0.01
        assert nobody.value.retry_after == pytest.approx(300, abs=1)
        assert "primary" in str(nobody.value)
        assert "fallback" in str(nobody.value)
        assert len(primary.requests) == len(fallback.requests) == 1
        health = await cortex.health_status()
        assert (health.system_health, health.available_workers) == ("unhealthy", 0)
        await trio.sleep(301)
        fallback.behave(RESCUE)
        assert (await cortex.complete("Hi")).worker == "fallback"


# ------------------------------------------------------------------ S03, S04, S05: it is broken


async def test_s03_one_500_is_retried_once(stage: Stage) -> None:
    primary = stage.primary(Behaviour(error=FailureKind.SERVER), GOOD)
    stage.fallback()
    async with stage.gateway() as cortex:
        reply = await cortex.complete("Hi")
    assert (reply.text, reply.worker) == (GOOD.text, "primary")
    assert len(primary.requests) == 2


async def test_s04_a_503_for_ever_opens_the_breaker_and_the_fallback_serves(stage: Stage) -> None:
    primary = stage.primary(Behaviour(status=503))
    fallback = stage.fallback()
    async with stage.gateway() as cortex:
        for _ in range(10):
            assert (await cortex.complete("Hi")).worker == "fallback"
        status = (await cortex.health_status()).workers["primary"]
        assert status.status == "unavailable"
        assert status.reopens_in is not None
        assert 0 < status.reopens_in <= 10
    assert len(primary.requests) <= 4
    assert len(fallback.requests) == 10


async def test_s04_an_open_breaker_lets_one_trial_through_at_a_time_and_ever_less_often(
    virtual: Stage,
) -> None:
    primary = virtual.primary(Behaviour(status=503))
    virtual.fallback()
    async with virtual.gateway() as cortex:
        for _ in range(100):
            assert (await cortex.complete("Hi")).worker == "fallback"
            await trio.sleep(3)
    trials = [request.when for request in primary.requests][3:]
    gaps = [later - earlier for earlier, later in itertools.pairwise(trials)]
    assert len(trials) <= 10  # 5, 10, 20, 40, 60, 60 … seconds apart
    assert gaps == sorted(gaps)
    assert max(gaps) <= 64


@pytest.mark.parametrize(
    "broken",
    [
        Behaviour(refuse=True),
        Behaviour(reset_after=0),
        Behaviour(cut_mid_chunk=0),
    ],
    ids=["refused", "reset after the headers", "closed in the middle of a chunk"],
)
async def test_s05_a_connection_that_breaks_is_answered_by_the_fallback(
    stage: Stage, broken: Behaviour
) -> None:
    primary = stage.primary(broken)
    stage.fallback()
    async with stage.gateway() as cortex:
        async with cortex.chat("Hi") as answer:
            pieces = [piece async for piece in answer.text()]
    assert "".join(pieces) == RESCUE.text
    assert answer.worker == "fallback"
    assert len(primary.requests) <= 2
    failures = [attempt.failure.kind for attempt in answer.attempts if attempt.failure]
    assert set(failures) == {FailureKind.CONNECTION}


# ------------------------------------------------------------------ S12, S13: it is right to refuse


async def test_s12_a_prompt_that_is_too_long_is_only_taken_to_a_larger_window(stage: Stage) -> None:
    primary = stage.primary(Behaviour(error=FailureKind.CONTEXT_LENGTH), context_window=8_000)
    same = stage.add("same", context_window=8_000)
    smaller = stage.add("smaller", context_window=4_000)
    larger = stage.add("larger", RESCUE, context_window=32_000)
    async with stage.gateway() as cortex:
        reply = await cortex.complete("Hi")
    assert (reply.worker, reply.text) == ("larger", RESCUE.text)
    asked = [len(provider.requests) for provider in (primary, same, smaller, larger)]
    assert asked == [1, 0, 0, 1]


async def test_s12_without_a_larger_window_the_refusal_is_the_answer(virtual: Stage) -> None:
    primary = virtual.primary(Behaviour(error=FailureKind.CONTEXT_LENGTH), context_window=8_000)
    same = virtual.fallback(context_window=8_000)
    async with virtual.gateway() as cortex:
        with pytest.raises(ProviderError) as refused:
            await cortex.complete("Hi")
        assert refused.value.failure.kind is FailureKind.CONTEXT_LENGTH
        assert (await cortex.health_status()).system_health == "healthy"
    assert len(primary.requests) == 1
    assert not same.requests


async def test_s13_a_refusal_by_policy_propagates_and_is_not_routed_around(stage: Stage) -> None:
    primary = stage.primary(Behaviour(error=FailureKind.CONTENT_POLICY))
    fallback = stage.fallback()
    async with stage.gateway() as cortex:
        with pytest.raises(ProviderError) as refused:
            await cortex.complete("Hi")
        assert (await cortex.health_status()).system_health == "healthy"
    assert refused.value.failure.kind is FailureKind.CONTENT_POLICY
    assert refused.value.worker == "primary"
    assert len(refused.value.attempts) == len(primary.requests) == 1
    assert not fallback.requests


async def test_s13_a_malformed_request_is_raised_at_once_and_counts_against_nobody(virtual: Stage) -> None:
    primary = virtual.primary(Behaviour(error=FailureKind.BAD_REQUEST))
    fallback = virtual.fallback()
    async with virtual.gateway() as cortex:
        for _ in range(6):
            with pytest.raises(ProviderError) as refused:
                await cortex.complete("Hi")
            assert refused.value.failure.kind is FailureKind.BAD_REQUEST
        assert (await cortex.health_status()).system_health == "healthy"
    assert len(primary.requests) == 6
    assert not fallback.requests


# ------------------------------------------------------------------ S16: who served


async def test_s16_the_reply_names_who_served_with_which_model_and_what_it_used(stage: Stage) -> None:
    stage.primary(Behaviour(status=503))
    used = Usage(input_tokens=11, output_tokens=7)
    fallback = stage.fallback(Behaviour(text="Rescued.", usage=used))
    async with stage.gateway() as cortex:
        reply = await cortex.complete("Hi")
        async with cortex.chat("Hi") as answer:
            assert [piece async for piece in answer.text()] == ["Rescued."]
    for served in (reply, answer):
        assert (served.worker, served.provider) == ("fallback", stage.other)
        assert served.model == fallback.models[0]
        assert (served.usage.input_tokens, served.usage.output_tokens) == (11, 7)
    assert reply.finish_reason is FinishReason.STOP
    first, last = reply.attempts
    assert (first.worker, first.failure and first.failure.kind) == ("primary", FailureKind.OVERLOADED)
    assert (last.worker, last.failure, last.usage) == ("fallback", None, reply.usage)
    assert [attempt.number for attempt in reply.attempts] == [1, 2]
