"""S31 and S32 ask no more than the openai SDK does with its defaults: it is served by the very same scripts."""

from functools import partial
from typing import Any

import pytest
import trio

from cortex_trio.lab.exam.alone import TWICE
from cortex_trio.lab.exam.limits import ONE_SECOND, OneSecond
from cortex_trio.lab.exam.stage import GOOD
from cortex_trio.lab.world.bare_client import Response, response_of
from cortex_trio.simulator import SimulatedProvider, Simulator, open_simulator

openai = pytest.importorskip("openai")

BEYOND = {"425", "cut before the first content"}
"""What is asked of a gateway and not of this SDK: 425 is none of its statuses, and a whole answer that is cut in good
order is its own content for it."""


def ask(provider: SimulatedProvider) -> str:
    with openai.OpenAI(api_key="sk-sim-one", base_url=provider.url) as client:
        answer: Any = client.chat.completions.create(
            model=provider.models[0], messages=[{"role": "user", "content": "Hi"}]
        )
    return str(answer.choices[0].message.content)


async def ask_all(sim: Simulator) -> dict[str, str]:
    """Each in a thread of its own, all at once: the SDK's pauses are real time."""
    answers: dict[str, str] = {}

    async def one(provider: SimulatedProvider) -> None:
        answers[provider.name] = await trio.to_thread.run_sync(partial(ask, provider))

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            for provider in sim.providers.values():
                nursery.start_soon(one, provider)
    return answers


async def test_what_happens_twice_is_asked_again() -> None:
    async with open_simulator(sockets=True) as sim:
        for name, trouble in TWICE.items():
            if name not in BEYOND:
                sim.add(name, trouble, trouble, GOOD, provider="openai")
        answers = await ask_all(sim)
    assert answers == dict.fromkeys(TWICE.keys() - BEYOND, GOOD.text)


async def test_a_limit_of_a_second_is_waited_for() -> None:
    async with open_simulator(sockets=True) as sim:
        for name, refusal in ONE_SECOND.items():
            sim.add(name, OneSecond(refusal, 1.0).answer, provider="openai")
        answers = await ask_all(sim)
    assert answers == dict.fromkeys(ONE_SECOND, GOOD.text)


@pytest.mark.parametrize("name", [name for name in TWICE if name not in BEYOND])
def test_the_bare_client_of_the_worlds_asks_the_same_again(name: str) -> None:
    assert response_of(TWICE[name]) is Response.RETRY
