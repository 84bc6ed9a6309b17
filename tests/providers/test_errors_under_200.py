"""A server that answers 200 and means an error: JSON where a stream was asked for, told by its own words."""

import json

import pytest
from at_rest import gateway

from cortex_trio import ProviderError
from cortex_trio.failures import FailureKind
from cortex_trio.providers import PROVIDERS
from cortex_trio.simulator import Behaviour, Simulator, open_simulator
from cortex_trio.simulator.request import identity_of
from cortex_trio.simulator.servers import SERVERS
from cortex_trio.wire.server import Operation, ParsedRequest

NAMED = (
    FailureKind.OVERLOADED,
    FailureKind.QUOTA,
    FailureKind.CONTEXT_LENGTH,
    FailureKind.MODEL_NOT_FOUND,
)
"""Kinds whose bodies say what they are, without the help of a status."""


def own_words(provider: str, kind: FailureKind) -> bytes:
    """The body this provider sends with an error of that kind."""
    request = ParsedRequest(operation=Operation.CHAT, identity=identity_of(1), model="m-1")
    return SERVERS[provider].dialects[-1].failure(kind, request).body


async def failure_of(sim: Simulator, provider: str, behaviour: Behaviour) -> FailureKind:
    sim.add(provider, behaviour)
    async with gateway(sim, max_attempts=1) as cortex:
        with pytest.raises(ProviderError) as caught:
            async with cortex.chat("Hi"):
                pytest.fail("an error was taken for an answer")
    return caught.value.failure.kind


@pytest.mark.parametrize("kind", NAMED, ids=lambda kind: kind.value)
@pytest.mark.parametrize("provider", sorted(PROVIDERS))
@pytest.mark.parametrize(
    "content_type", ["application/json", "application/json; charset=utf-8", "text/event-stream"]
)
async def test_a_json_error_under_200_is_the_error_in_its_body(
    autojump_clock: object, provider: str, kind: FailureKind, content_type: str
) -> None:
    async with open_simulator() as sim:
        behaviour = Behaviour(body=own_words(provider, kind), content_type=content_type)
        assert await failure_of(sim, provider, behaviour) is kind


@pytest.mark.parametrize("provider", sorted({*PROVIDERS} - {"ollama"}))  # whose framing is the line
async def test_a_pretty_printed_error_is_the_same_error(autojump_clock: object, provider: str) -> None:
    async with open_simulator() as sim:
        body = json.dumps(json.loads(own_words(provider, FailureKind.OVERLOADED)), indent=2).encode()
        behaviour = Behaviour(body=body, content_type="application/json")
        assert await failure_of(sim, provider, behaviour) is FailureKind.OVERLOADED


@pytest.mark.parametrize("provider", sorted(PROVIDERS))
async def test_json_that_is_neither_answer_nor_error_is_no_answer(
    autojump_clock: object, provider: str
) -> None:
    async with open_simulator() as sim:
        behaviour = Behaviour(body=b'{"unheard":"of"}', content_type="application/json")
        kind = await failure_of(sim, provider, behaviour)
        assert kind in (FailureKind.PROTOCOL, FailureKind.TRUNCATED, FailureKind.EMPTY)
