"""What a call costs, from the tokens on the wire to the reply, the events and the snapshot."""

from typing import Any

import attrs
import pytest
from at_rest import gateway

from cortex_trio import CallEnded, Cortex, Price, StreamInterrupted, Usage
from cortex_trio.failures import FailureKind
from cortex_trio.simulator import Behaviour, Simulator, open_simulator

PRICES = {"dear": Price(10_000.0, 20_000.0), "cheap": Price(1000.0, 2000.0)}


def add_two(sim: Simulator, first: Behaviour, second: Behaviour) -> None:
    sim.add("first", first, provider="anthropic", models=["dear"])
    sim.add("second", second, provider="openai", models=["cheap"])


async def test_each_attempt_has_the_price_of_its_own_worker(autojump_clock: object) -> None:
    """Anthropic's API reports the tokens of the request at the start, so an answer that is cut has a cost."""
    cut = Behaviour(text="a b c d", usage=Usage(100, 50), cut_after=2)
    ended: list[object] = []
    async with open_simulator() as sim:
        add_two(sim, cut, Behaviour(text="whole", usage=Usage(100, 50)))
        async with gateway(sim, prices=PRICES, on_event=ended.append) as cortex:
            reply = await cortex.complete("Hi")
            totals = cortex.snapshot().totals
    *failed, served = reply.attempts
    assert (served.worker, served.cost) == ("second", pytest.approx(0.2))
    assert failed
    for attempt in failed:
        assert attempt.usage is not None
        assert attempt.cost == PRICES["dear"].cost(attempt.usage)
        assert attempt.cost is not None
        assert attempt.cost >= 1.0
    assert reply.cost == pytest.approx(sum(attempt.cost or 0.0 for attempt in reply.attempts))
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (100, 50)
    [end] = [event for event in ended if isinstance(event, CallEnded)]
    assert end.cost == reply.cost == totals.cost


async def test_an_attempt_that_reported_nothing_costs_nothing_that_is_known(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        add_two(sim, Behaviour(error=FailureKind.OVERLOADED), Behaviour(usage=Usage(100, 50)))
        async with gateway(sim, prices=PRICES) as cortex:
            reply = await cortex.complete("Hi")
    assert reply.attempts[0].cost is None
    assert reply.cost == pytest.approx(0.2)


async def test_an_unknown_price_makes_the_cost_unknown(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        add_two(sim, Behaviour(text="x", usage=Usage(10, 5), cut_after=1), Behaviour(usage=Usage(100, 50)))
        async with gateway(sim, prices={"cheap": PRICES["cheap"]}) as cortex:
            reply = await cortex.complete("Hi")
            totals = cortex.snapshot().totals
    assert reply.attempts[0].usage is not None
    assert reply.attempts[0].cost is None
    assert reply.attempts[-1].cost == pytest.approx(0.2)
    assert reply.cost is None
    assert totals.cost == pytest.approx(0.2)  # of what is known


async def test_no_price_at_all_is_none_and_not_0(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("ollama", models=["our-model"])
        async with gateway(sim) as cortex:
            reply = await cortex.complete("Hi")
            assert cortex.snapshot().totals.cost is None
    assert (reply.cost, reply.attempts[0].cost) == (None, None)
    assert reply.usage.input_tokens


async def test_the_list_knows_the_default_models(autojump_clock: object) -> None:
    pytest.importorskip("genai_prices")
    async with open_simulator() as sim:
        for name in ("openai", "anthropic", "gemini", "groq", "cohere"):
            sim.add(name, Behaviour(usage=Usage(1000, 100)))
        async with gateway(sim) as cortex:
            for name in sim.providers:
                reply = await cortex.complete("Hi", provider=name)
                assert (reply.cost or 0) > 0, name


@pytest.mark.parametrize("provider", ["anthropic", "openai"])
async def test_cached_and_written_tokens_arrive_with_their_prices(
    autojump_clock: object, provider: str
) -> None:
    usage = Usage(1000, 100, cached_input_tokens=500, reasoning_tokens=50)
    async with open_simulator() as sim:
        sim.add(provider, Behaviour(usage=usage), models=["m-1"])
        async with gateway(sim, prices={"m-1": Price(1000.0, 0.0, cached_input=100.0)}) as cortex:
            reply = await cortex.complete("Hi")
    assert reply.cost == pytest.approx(0.55)


async def test_a_partial_answer_has_the_cost_so_far(autojump_clock: object) -> None:
    cut = Behaviour(text="a b c d", usage=Usage(100, 50), cut_after=2)
    async with open_simulator() as sim:
        sim.add("first", cut, provider="anthropic", models=["dear"])
        async with gateway(sim, prices=PRICES) as cortex:
            with pytest.raises(StreamInterrupted) as caught:
                async with cortex.chat("Hi") as answer:
                    await answer.collect()
    assert (caught.value.partial.cost or 0) >= 1.0
    assert caught.value.partial.cost == caught.value.attempts[0].cost


async def test_a_continued_answer_costs_both_attempts(autojump_clock: object) -> None:
    cut = Behaviour(text="a b c d", usage=Usage(100, 50), cut_after=2)
    async with open_simulator() as sim:
        add_two(sim, cut, Behaviour(text="c d", usage=Usage(100, 50)))
        async with gateway(sim, prices=PRICES) as cortex:
            async with cortex.chat("Hi", on_interrupt="continue") as answer:
                reply = await answer.collect()
    assert reply.cost == pytest.approx(sum(attempt.cost or 0.0 for attempt in reply.attempts))
    assert (reply.cost or 0) >= 1.2
    assert answer.cost == reply.cost


async def test_a_reload_changes_the_prices(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        provider = sim.add("openai", Behaviour(usage=Usage(1000, 0)), models=["m-1"])
        async with gateway(sim, prices={"m-1": Price(1000.0, 0)}) as cortex:
            assert (await cortex.complete("Hi")).cost == pytest.approx(1.0)
            await reload_prices(cortex, provider, {"m-1": Price(3000.0, 0)})
            assert (await cortex.complete("Hi")).cost == pytest.approx(3.0)


async def reload_prices(cortex: Cortex, provider: Any, prices: dict[str, Price]) -> None:
    from cortex_trio import Config

    workers = {"openai": attrs.evolve(provider.worker(), priority=0)}
    await cortex.reload(Config(workers=workers, health_check_interval=0, prices=prices))
