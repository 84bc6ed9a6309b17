"""OpenAI's own client, asking the simulated OpenAI and xAI by the Responses API."""

import json
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from sdk_stage import ARGUMENTS, CALLS, COUNTED, FUNCTION, KEY, SAYS, TEXT, in_thread, sdk

from cortex_trio.failures import FailureKind
from cortex_trio.simulator import Behaviour, SimulatedProvider, Simulator

openai = sdk("openai")

SPOKEN_TO = ["openai_responses", "xai_responses"]
ASK: dict[str, Any] = {"model": "m-1", "input": "Hi"}
TOOL = {"type": "function", **FUNCTION["function"], "strict": False}  # type: ignore[dict-item]


async def with_client(provider: SimulatedProvider, job: Callable[[Any], Any]) -> Any:
    def run() -> Any:
        with openai.OpenAI(api_key=KEY, base_url=provider.url, max_retries=0) as client:
            return job(client)

    return await in_thread(run)


def streamed(client: Any, **options: Any) -> tuple[list[str], Any]:
    """The pieces of text as they came, and the response the client put together."""
    with client.responses.stream(**ASK, **options) as stream:
        pieces = [event.delta for event in stream if event.type == "response.output_text.delta"]
        return pieces, stream.get_final_response()


@pytest.mark.parametrize("kind", SPOKEN_TO)
async def test_it_streams_text_and_usage(sim: Simulator, kind: str) -> None:
    pieces, response = await with_client(sim.add(kind, SAYS), streamed)
    assert "".join(pieces) == response.output_text == TEXT
    assert response.status == "completed"
    assert response.usage.input_tokens == COUNTED.input_tokens
    assert response.usage.input_tokens_details.cached_tokens == COUNTED.cached_input_tokens


@pytest.mark.parametrize("kind", SPOKEN_TO)
async def test_it_reads_log_probabilities(sim: Simulator, kind: str) -> None:
    asked: dict[str, Any] = {"include": ["message.output_text.logprobs"], "top_logprobs": 2}

    def read(client: Any) -> tuple[list[Any], Any]:
        with client.responses.stream(**ASK, **asked) as stream:
            pieces = [event for event in stream if event.type == "response.output_text.delta"]
            return pieces, stream.get_final_response()

    pieces, response = await with_client(sim.add(kind, SAYS), read)
    [part] = response.output[0].content
    assert [piece.delta for piece in pieces] == [token.token for token in part.logprobs]
    assert [token.logprob for piece in pieces for token in piece.logprobs] == [
        token.logprob for token in part.logprobs
    ]
    assert all(len(token.top_logprobs) == 2 for token in part.logprobs)


@pytest.mark.parametrize("kind", SPOKEN_TO)
async def test_it_streams_a_tool_call(sim: Simulator, kind: str) -> None:
    provider = sim.add(kind, CALLS)
    _, response = await with_client(provider, lambda client: streamed(client, tools=[TOOL]))
    [call] = response.output
    assert (call.type, call.call_id, call.name) == ("function_call", "call_weather_1", "weather")
    assert json.loads(call.arguments) == ARGUMENTS


@pytest.mark.parametrize("kind", SPOKEN_TO)
async def test_it_carries_a_conversation_on_with_reasoning_and_results(sim: Simulator, kind: str) -> None:
    """What it was given it sends back as it is, and the simulated server takes it."""
    provider = sim.add(kind, attrs.evolve(CALLS, reasoning="Where? São Paulo."), SAYS)
    options = {"model": "m-1", "store": False, "include": ["reasoning.encrypted_content"], "tools": [TOOL]}

    def talk(client: Any) -> str:
        first = client.responses.create(input="Hi", **options)
        result = {"type": "function_call_output", "call_id": "call_weather_1", "output": "Sunny"}
        second = client.responses.create(input=[*first.output, result], **options)
        assert [item.type for item in first.output] == ["reasoning", "function_call"]
        return str(second.output_text)

    assert await with_client(provider, talk) == TEXT


@pytest.mark.parametrize("kind", SPOKEN_TO)
async def test_an_error_is_the_exception_it_has_for_it(sim: Simulator, kind: str) -> None:
    provider = sim.add(kind, Behaviour(error=FailureKind.RATE_LIMIT))
    with pytest.raises(openai.RateLimitError):
        await with_client(provider, lambda client: client.responses.create(**ASK))


async def test_an_error_inside_a_stream_is_raised_or_passed_on_by_its_shape(sim: Simulator) -> None:
    """The client raises one whose fields are in an inner `error`, and hands on a flat one as an event."""
    failing = Behaviour(text="a b c", error=FailureKind.SERVER, error_after=2)
    came: list[Any] = []

    def read(client: Any) -> None:
        came.clear()
        came.extend(client.responses.create(**ASK, stream=True))

    with pytest.raises(openai.APIError):
        await with_client(sim.add("openai_responses", failing), read)
    await with_client(sim.add("xai_responses", failing), read)
    assert [event.delta for event in came if event.type == "response.output_text.delta"] == ["a", " b"]
    assert (came[-1].type, came[-1].message) == ("error", "Internal server error")
