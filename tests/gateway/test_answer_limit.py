"""No answer is held without a limit, however it is read."""

import pytest
import trio
from at_rest import gateway

from cortex_trio import AllWorkersFailed, Cortex, FailureKind, ProviderError, StreamInterrupted
from cortex_trio.simulator import Behaviour, open_simulator

LIMIT = 100_000
ENDLESS = Behaviour(text="word " * 200_000)
GOOD = Behaviour(text="An answer.")
MESSAGE = "an answer of more than 100,000 bytes; max_answer_bytes allows no more"


async def complete(cortex: Cortex) -> str:
    return (await cortex.complete("Hi")).text


async def buffer(cortex: Cortex) -> str:
    async with cortex.chat("Hi", on_interrupt="buffer") as answer:
        return "".join([piece async for piece in answer.text()])


async def collect(cortex: Cortex) -> str:
    async with cortex.chat("Hi", on_interrupt="restart") as answer:
        return (await answer.collect()).text


@pytest.mark.parametrize("ask", [complete, buffer, collect])
async def test_an_answer_beyond_the_limit_is_left_and_the_next_worker_asked(
    ask: object, autojump_clock: object
) -> None:
    async with open_simulator() as sim:
        endless = sim.add("openai", ENDLESS)
        sim.add("anthropic", GOOD)
        async with gateway(sim, max_answer_bytes=LIMIT) as cortex:
            assert await ask(cortex) == "An answer."  # type: ignore[operator]
            await trio.testing.wait_all_tasks_blocked()
            assert endless.open_connections == 0, "it is not read to its end"


@pytest.mark.parametrize("ask", [complete, buffer])
async def test_if_no_worker_sends_less_the_error_names_the_limit(ask: object, autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("openai", ENDLESS)
        async with gateway(sim, max_answer_bytes=LIMIT) as cortex:
            with pytest.raises((ProviderError, AllWorkersFailed)) as caught:
                await ask(cortex)  # type: ignore[operator]
        failure = getattr(caught.value, "primary", caught.value).failure
        assert (failure.kind, failure.message) == (FailureKind.PROTOCOL, MESSAGE)


async def test_what_was_read_until_then_is_the_partial_answer(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("openai", ENDLESS)
        async with gateway(sim, max_answer_bytes=LIMIT) as cortex:
            async with cortex.chat("Hi") as answer:
                with pytest.raises(StreamInterrupted, match="max_answer_bytes") as caught:
                    await answer.collect()
        assert 0 < len(caught.value.partial.text) <= LIMIT
        assert caught.value.partial.text.startswith("word word ")


async def test_an_answer_within_the_limit_is_whole(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(text="word " * 100))
        async with gateway(sim, max_answer_bytes=LIMIT) as cortex:
            assert await complete(cortex) == "word " * 100


async def test_embeddings_have_a_limit_of_their_own(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("openai")
        async with gateway(sim, max_answer_bytes=1_000) as cortex:
            assert len(await cortex.embed(["a text"] * 200)) == 200
