"""S31 and S32 require no more than the openai SDK does with its defaults: the same scripts serve it."""

from functools import partial
from typing import Any

import pytest
import trio

from cortex_trio.lab.exam.setup import GOOD
from cortex_trio.lab.exam.shared_limit import ONE_SECOND, OneSecond
from cortex_trio.lab.exam.single_worker import TWICE
from cortex_trio.lab.world.bare_client import Response, response_of
from cortex_trio.simulator import SimulatedProvider, Simulator, open_simulator

openai = pytest.importorskip("openai")

BEYOND = {"425", "cut before the first content"}
"""Required of a gateway and not of this SDK: it does not retry 425, and takes a body that is cut in an orderly way for
complete."""


def ask(provider: SimulatedProvider) -> str:
    with openai.OpenAI(api_key="sk-sim-one", base_url=provider.url) as client:
        answer: Any = client.chat.completions.create(
            model=provider.models[0], messages=[{"role": "user", "content": "Hi"}]
        )
    return str(answer.choices[0].message.content)


async def ask_all(sim: Simulator) -> dict[str, str]:
    """Each in its own thread, all at the same time: the SDK pauses in real time."""
    answers: dict[str, str] = {}

    async def one(provider: SimulatedProvider) -> None:
        answers[provider.name] = await trio.to_thread.run_sync(partial(ask, provider))

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            for provider in sim.providers.values():
                nursery.start_soon(one, provider)
    return answers


@pytest.mark.slow
async def test_the_sdk_retries_a_fault_that_happens_twice() -> None:
    async with open_simulator(sockets=True) as sim:
        for name, fault in TWICE.items():
            if name not in BEYOND:
                sim.add(name, fault, fault, GOOD, provider="openai")
        answers = await ask_all(sim)
    assert answers == dict.fromkeys(TWICE.keys() - BEYOND, GOOD.text)


@pytest.mark.slow
async def test_the_sdk_waits_for_a_limit_of_a_second() -> None:
    async with open_simulator(sockets=True) as sim:
        for name, refusal in ONE_SECOND.items():
            sim.add(name, OneSecond(refusal, 1.0).answer, provider="openai")
        answers = await ask_all(sim)
    assert answers == dict.fromkeys(ONE_SECOND, GOOD.text)


@pytest.mark.parametrize("name", [name for name in TWICE if name not in BEYOND])
def test_the_bare_client_of_the_worlds_retries_the_same(name: str) -> None:
    assert response_of(TWICE[name]) is Response.RETRY
