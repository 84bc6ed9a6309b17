"""A budget limits all calls inside a block, in whatever task they are made."""

import copy
import pickle
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from at_rest import gateway

import cortex_trio
from cortex_trio import (
    BudgetExceeded,
    Cortex,
    CortexError,
    InvalidRequest,
    Price,
    ProviderError,
    Usage,
    budget,
)
from cortex_trio.failures import FailureKind
from cortex_trio.simulator import Behaviour, Simulator, open_simulator
from cortex_trio.telemetry import CallStarted

ANSWER = Behaviour(text="a b c", usage=Usage(1000, 500))
"""Costs 2 dollars at PRICE."""
PRICE = Price(1000.0, 2000.0)
PRICES = {"m-1": PRICE}


@asynccontextmanager
async def one_worker(behaviour: Any = ANSWER, **settings: Any) -> AsyncIterator[tuple[Simulator, Cortex]]:
    async with open_simulator() as sim:
        sim.add("openai", behaviour, models=["m-1"])
        async with gateway(sim, prices=PRICES, **settings) as cortex:
            yield sim, cortex


async def test_the_call_that_begins_behind_the_limit_is_refused_before_anything_is_sent(
    autojump_clock: object,
) -> None:
    started: list[object] = []
    async with one_worker(on_event=started.append) as (sim, cortex):
        async with cortex.budget(usd=3.0) as spending:
            await cortex.complete("Hi")
            assert (spending.spent, spending.remaining, spending.tokens) == (2.0, 1.0, 1500)
            await cortex.complete("Hi")
            with pytest.raises(BudgetExceeded) as caught:
                await cortex.complete("Hi")
            with pytest.raises(BudgetExceeded):
                async with cortex.chat("Hi"):
                    raise AssertionError("it was opened")
            with pytest.raises(BudgetExceeded):
                await cortex.embed("Hi", model="m-1")
            assert (spending.spent, spending.remaining, spending.tokens) == (4.0, 0.0, 3000)
        assert len(sim["openai"].requests) == 2
        assert (await cortex.complete("Hi")).text == "a b c"  # the block is over
    assert (caught.value.spent, caught.value.limit, caught.value.unit) == (4.0, 3.0, "usd")
    assert isinstance(caught.value, CortexError)
    assert str(caught.value) == "the budget of $3.00 is used up ($4.00 so far); nothing was sent"
    assert sum(isinstance(event, CallStarted) for event in started) == 3


async def test_a_budget_of_tokens_needs_no_price(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("ollama", Behaviour(usage=Usage(600, 400)))
        async with gateway(sim) as cortex, budget(tokens=1500) as spending:
            await cortex.complete("Hi")
            assert spending.remaining_tokens == 500
            await cortex.complete("Hi")
            with pytest.raises(BudgetExceeded, match="1,500 tokens is used up") as caught:
                await cortex.complete("Hi")
            assert (spending.spent, spending.remaining, spending.unpriced) == (0.0, None, 2)
    assert (caught.value.spent, caught.value.limit, caught.value.unit) == (2000, 1500, "tokens")


@pytest.mark.parametrize("limits", [{"usd": 0}, {"tokens": 0}, {"usd": 0.0, "tokens": 5}])
async def test_a_budget_of_nothing_allows_no_call(autojump_clock: object, limits: Any) -> None:
    async with one_worker() as (sim, cortex):
        async with budget(**limits):
            with pytest.raises(BudgetExceeded):
                await cortex.complete("Hi")
        assert sim["openai"].requests == []


async def test_without_a_limit_it_only_counts(autojump_clock: object) -> None:
    async with one_worker() as (_, cortex):
        async with budget() as spending:
            for _ in range(3):
                await cortex.complete("Hi")
    assert (spending.spent, spending.tokens, spending.remaining, spending.remaining_tokens) == (
        6,
        4500,
        None,
        None,
    )


async def test_calls_in_child_tasks_count(autojump_clock: object) -> None:
    async with one_worker() as (_, cortex):
        async with budget(usd=100.0) as spending, trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(cortex.complete, "Hi")
        assert spending.spent == 10.0


async def test_a_task_that_was_started_inside_counts_in_a_nursery_outside_too(autojump_clock: object) -> None:
    async with one_worker() as (_, cortex), trio.open_nursery() as nursery:
        async with budget(usd=1.0) as spending:
            nursery.start_soon(cortex.complete, "Hi")
        await cortex.complete("Hi")  # outside
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert spending.spent == 2.0


async def test_tasks_side_by_side_have_budgets_of_their_own(autojump_clock: object) -> None:
    refused: list[str] = []

    async def spend(name: str, usd: float) -> None:
        async with budget(usd=usd):
            try:
                for _ in range(3):
                    await cortex.complete("Hi")
            except BudgetExceeded:
                refused.append(name)

    async with one_worker() as (sim, cortex):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(spend, "small", 1.0)
            nursery.start_soon(spend, "large", 100.0)
        assert refused == ["small"]
        assert len(sim["openai"].requests) == 4


async def test_nested_budgets_all_count_and_each_can_refuse(autojump_clock: object) -> None:
    async with one_worker() as (_, cortex):
        async with budget(usd=5.0) as outer:
            async with budget(usd=1.0) as inner:
                await cortex.complete("Hi")
                with pytest.raises(BudgetExceeded) as caught:
                    await cortex.complete("Hi")
                assert caught.value.limit == 1.0
            async with budget(usd=100.0) as large:
                await cortex.complete("Hi")
                await cortex.complete("Hi")
                with pytest.raises(BudgetExceeded) as caught:
                    await cortex.complete("Hi")
                assert caught.value.limit == 5.0
    assert (outer.spent, inner.spent, large.spent) == (6.0, 2.0, 4.0)


async def test_a_stream_counts_when_its_attempt_is_over_also_behind_the_block(autojump_clock: object) -> None:
    async with one_worker() as (_, cortex):
        async with budget(usd=10.0) as spending:
            stream = cortex.chat("Hi")
            answer = await stream.__aenter__()
        await answer.collect()
        assert answer.cost == 2.0
        await stream.__aexit__(None, None, None)
        assert spending.spent == 2.0


async def test_a_failed_attempt_counts_with_what_it_reported(autojump_clock: object) -> None:
    cut = Behaviour(text="a b c d", usage=Usage(1000, 500), cut_after=2)
    async with open_simulator() as sim:
        sim.add("anthropic", cut, models=["m-1"])  # this API reports the tokens of the request first
        sim.add("openai", ANSWER, models=["m-1"])
        async with gateway(sim, prices=PRICES, max_attempts=3) as cortex, budget(usd=100.0) as spending:
            reply = await cortex.complete("Hi")
    failed = [attempt for attempt in reply.attempts if attempt.failure]
    assert failed
    assert all((attempt.cost or 0) > 0 for attempt in failed)
    assert (
        reply.cost
        == pytest.approx(sum(attempt.cost or 0 for attempt in reply.attempts))
        == spending.spent
        > 2.0
    )


async def test_both_attempts_of_a_hedged_call_count(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add(
            "slow", Behaviour(first_token_after=20.0, usage=Usage(1000, 0)), provider="openai", models=["m-1"]
        )
        sim.add("quick", ANSWER, provider="openai", models=["m-1"])
        async with gateway(sim, prices=PRICES) as cortex, budget(usd=100.0) as spending:
            reply = await cortex.complete("Hi", hedge_after=1.0)
    assert len(reply.attempts) == 2
    assert spending.spent == reply.cost == 2.0  # the slow one has reported nothing


async def test_a_call_that_was_cancelled_counts_with_what_it_reported(autojump_clock: object) -> None:
    slow = Behaviour(text="a b c d", usage=Usage(1000, 500), tokens_per_second=1.0)
    async with open_simulator() as sim:
        sim.add("anthropic", slow, models=["m-1"])
        async with gateway(sim, prices=PRICES) as cortex, budget(usd=100.0) as spending:
            with trio.move_on_after(2.5):
                await cortex.complete("Hi")
    assert 1.0 <= spending.spent < 2.0


async def test_leaving_by_cancellation_or_an_error_ends_the_budget(autojump_clock: object) -> None:
    async with one_worker() as (_, cortex):
        with trio.CancelScope() as scope:
            async with budget(usd=0):
                scope.cancel()
                await trio.sleep_forever()
        with pytest.raises(KeyError):
            async with budget(usd=0):
                raise KeyError
        assert (await cortex.complete("Hi")).cost == 2.0


async def test_all_requests_of_embeddings_count(autojump_clock: object) -> None:
    body = b'{"data":[{"index":0,"embedding":[1.0]}],"usage":{"prompt_tokens":1000}}'
    async with open_simulator() as sim:
        provider = sim.add("openai", Behaviour(body=body), models=["m-1"])
        workers = {"openai": provider.worker(embed_batch=1)}
        async with gateway(sim, workers=workers, prices=PRICES) as cortex, budget(usd=39.5) as spending:
            result = await cortex.embed(["a"] * 40, model="m-1")
            with pytest.raises(BudgetExceeded):
                await cortex.embed("a", model="m-1")
    assert result.cost == pytest.approx(40.0)
    assert spending.spent == pytest.approx(40.0)
    assert spending.tokens == 40_000 == result.usage.input_tokens


async def test_a_call_without_an_answer_costs_nothing_that_is_known(autojump_clock: object) -> None:
    async with one_worker(Behaviour(error=FailureKind.BAD_REQUEST)) as (_, cortex):
        async with budget(usd=1.0) as spending:
            with pytest.raises(ProviderError) as caught:
                await cortex.complete("Hi")
            assert caught.value.attempts[0].cost is None
    assert (spending.spent, spending.tokens, spending.unpriced) == (0.0, 0, 0)


@pytest.mark.parametrize("usd", [-1, -0.01, float("nan"), float("inf"), 10**400, True, "1"])
def test_a_wrong_limit_of_dollars_is_refused(usd: Any) -> None:
    with pytest.raises(InvalidRequest, match=r"^usd: a number of US dollars from 0"):
        budget(usd=usd)


@pytest.mark.parametrize("tokens", [-1, 1.5, float("nan"), True, "1", 10**400])
def test_a_wrong_limit_of_tokens_is_refused(tokens: Any) -> None:
    with pytest.raises(InvalidRequest, match=r"^tokens: a whole number from 0"):
        budget(tokens=tokens)


def test_the_error_can_be_copied_and_pickled() -> None:
    error = BudgetExceeded(2.0, 1.0)
    for made in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert (made.spent, made.limit, made.unit, str(made)) == (2.0, 1.0, "usd", str(error))
    assert str(BudgetExceeded(0.000012, 0.00001)) == (
        "the budget of $0.00001 is used up ($0.000012 so far); nothing was sent"
    )


async def test_a_budget_shows_itself(autojump_clock: object) -> None:
    async with one_worker() as (_, cortex):
        async with cortex_trio.budget(usd=5, tokens=9000) as spending:
            await cortex.complete("Hi")
            assert repr(spending) == "<Budget of $5.00 and 9,000 tokens: $2.00 and 1,500 tokens used>"
            with pytest.raises(AttributeError):
                spending.usd_limit = 10.0  # type: ignore[misc]
        async with budget() as counting:
            assert repr(counting) == "<Budget of any size: $0.00 and 0 tokens used>"
