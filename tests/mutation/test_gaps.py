"""What no test looked at until a planted bug survived. Each is named after the promise that was not held."""

import itertools

import pytest
import trio
import trio.testing
from at_rest import gateway

from cortex_trio import FailureKind
from cortex_trio.gateway.workers.cooldowns import CHECK_SECONDS
from cortex_trio.simulator import Behaviour, open_simulator
from cortex_trio.wire.sse import SseReader


async def test_a_failed_check_ends_by_itself_and_its_worker_is_asked_first_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_simulator() as sim:
        sim.add("openai").behave_health(Behaviour(status=503))
        sim.add("anthropic")
        async with gateway(sim) as cortex:
            health = await cortex.check_health()
            assert health.workers["openai"].reason is FailureKind.OVERLOADED
            assert (await cortex.complete("Hi")).worker == "anthropic"
            await trio.sleep(CHECK_SECONDS - 1)
            assert (await cortex.complete("Hi")).worker == "anthropic"
            await trio.sleep(1)
            assert (await cortex.complete("Hi")).worker == "openai"


@pytest.mark.parametrize("line_end", [b"\n", b"\r", b"\r\n"], ids=repr)
def test_two_lines_of_one_event_are_one_event_wherever_they_are_cut(line_end: bytes) -> None:
    stream = line_end.join([b"data: a", b"data: b", b"", b"data: c", b"", b""])
    for cut, again in itertools.combinations(range(len(stream) + 1), 2):
        reader, events = SseReader(), []
        for piece in (stream[:cut], stream[cut:again], stream[again:]):
            events += [event.data for event in reader.feed(piece)]
        assert events == ["a\nb", "c"], (cut, again)


async def test_an_answer_that_breaks_in_the_piece_in_which_it_begins_is_failed_over_unseen() -> None:
    broken = Behaviour(text="one two three", one_block=True, error=FailureKind.OVERLOADED, error_after=2)
    async with open_simulator() as sim:
        sim.add("openai", broken)
        sim.add("anthropic", Behaviour(text="A whole answer."))
        async with gateway(sim) as cortex:
            async with cortex.chat("Hi") as answer:
                assert "".join([piece async for piece in answer.text()]) == "A whole answer."
