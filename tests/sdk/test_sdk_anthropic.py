"""Anthropic's own client."""

import json
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from sdk_stage import ARGUMENTS, CALLS, COUNTED, KEY, SAYS, SCHEMA, TEXT, in_thread, sdk

from cortex_trio.events import FinishReason
from cortex_trio.failures import FailureKind
from cortex_trio.messages import Opaque
from cortex_trio.simulator import Behaviour, SimulatedProvider, Simulator

anthropic = sdk("anthropic")

ASK: dict[str, Any] = {"model": "m-1", "max_tokens": 100, "messages": [{"role": "user", "content": "Hi"}]}
TOOL = {"name": "weather", "description": "Tells the weather", "input_schema": SCHEMA}


async def with_client(provider: SimulatedProvider, job: Callable[[Any], Any]) -> Any:
    def run() -> Any:
        with anthropic.Anthropic(api_key=KEY, base_url=provider.url, max_retries=0) as client:
            return job(client)

    return await in_thread(run)


def streamed(client: Any, **options: Any) -> Any:
    """The message its own accumulator makes of the stream."""
    with client.messages.stream(**ASK, **options) as stream:
        for _ in stream:
            pass
        return stream.get_final_message()


async def test_it_streams_text_and_usage(sim: Simulator) -> None:
    message = await with_client(sim.add("anthropic", SAYS), streamed)
    assert [block.text for block in message.content] == [TEXT]
    assert message.stop_reason == "end_turn"
    assert COUNTED.input_tokens is not None
    assert message.usage.input_tokens + message.usage.cache_read_input_tokens == COUNTED.input_tokens
    assert message.usage.output_tokens == COUNTED.output_tokens


async def test_it_streams_thinking_with_its_signature(sim: Simulator) -> None:
    behaviour = attrs.evolve(SAYS, reasoning="Two and two.")
    thinking, text = (await with_client(sim.add("anthropic", behaviour), streamed)).content
    assert (thinking.type, thinking.thinking, text.text) == ("thinking", "Two and two.", TEXT)
    assert thinking.signature


async def test_it_streams_a_tool_call(sim: Simulator) -> None:
    provider = sim.add("anthropic", CALLS)
    message = await with_client(provider, lambda client: streamed(client, tools=[TOOL]))
    [call] = [block for block in message.content if block.type == "tool_use"]
    assert (call.name, call.input) == ("weather", ARGUMENTS)
    assert message.stop_reason == "tool_use"


async def test_it_reads_a_whole_answer(sim: Simulator) -> None:
    provider = sim.add("anthropic", SAYS)
    message = await with_client(provider, lambda client: client.messages.create(**ASK))
    assert [block.text for block in message.content] == [TEXT]


@pytest.mark.parametrize(
    ("kind", "exception"),
    [
        (FailureKind.BAD_REQUEST, "BadRequestError"),
        (FailureKind.CREDENTIAL, "AuthenticationError"),
        (FailureKind.PERMISSION, "PermissionDeniedError"),
        (FailureKind.MODEL_NOT_FOUND, "NotFoundError"),
        (FailureKind.RATE_LIMIT, "RateLimitError"),
        (FailureKind.SERVER, "InternalServerError"),
        (FailureKind.OVERLOADED, "InternalServerError"),
    ],
)
async def test_an_error_is_the_exception_it_has_for_it(
    sim: Simulator, kind: FailureKind, exception: str
) -> None:
    provider = sim.add("anthropic", Behaviour(error=kind))
    with pytest.raises(getattr(anthropic, exception)) as caught:
        await with_client(provider, lambda client: client.messages.create(**ASK))
    assert caught.value.body["type"] == "error"
    assert caught.value.body["error"]["message"]


async def test_an_error_event_inside_a_stream_is_raised_out_of_it(sim: Simulator) -> None:
    provider = sim.add("anthropic", Behaviour(text="a b c", error=FailureKind.OVERLOADED, error_after=2))
    with pytest.raises(anthropic.APIStatusError, match="Overloaded"):
        await with_client(provider, streamed)


async def test_it_lists_models(sim: Simulator) -> None:
    provider = sim.add("anthropic", models=["m-1", "m-2"])
    listed = await with_client(provider, lambda client: [model.id for model in client.models.list()])
    assert listed == ["m-1", "m-2"]


async def test_it_describes_a_model_and_counts_tokens(sim: Simulator) -> None:
    provider = sim.add("anthropic", models=["m-1"])
    model = await with_client(provider, lambda client: client.models.retrieve("m-1"))
    assert (model.id, model.max_tokens) == ("m-1", 128_000)
    messages = [{"role": "user", "content": "one two three"}]
    counted = await with_client(
        provider, lambda client: client.messages.count_tokens(model="m-1", messages=messages)
    )
    assert counted.input_tokens == 3


SEARCH: dict[str, Any] = {
    "type": "server_tool_use",
    "id": "srvtoolu_1",
    "name": "web_search",
    "input": {"query": "Grüße"},
}
FOUND: dict[str, Any] = {
    "type": "web_search_tool_result",
    "tool_use_id": "srvtoolu_1",
    "content": [
        {
            "type": "web_search_result",
            "title": "A page",
            "url": "https://example.org/",
            "encrypted_content": "E=",
            "page_age": None,
        }
    ],
}
WEB_SEARCH = {"type": "web_search_20250305", "name": "web_search"}


async def test_it_sends_a_paused_turn_back_and_goes_on(sim: Simulator) -> None:
    parts = [Opaque(block["type"], json.dumps(block)) for block in (SEARCH, FOUND)]
    paused = Behaviour(text="", parts=parts[:1], finish=FinishReason.PAUSE)
    provider = sim.add("anthropic", paused, attrs.evolve(SAYS, parts=parts[1:]))
    first = await with_client(provider, lambda client: streamed(client, tools=[WEB_SEARCH]))
    [called] = first.content
    assert (first.stop_reason, called.type, called.input) == (
        "pause_turn",
        "server_tool_use",
        SEARCH["input"],
    )
    again = [*ASK["messages"], {"role": "assistant", "content": first.content}]
    second = await with_client(
        provider,
        lambda client: client.messages.create(**{**ASK, "messages": again, "tools": [WEB_SEARCH]}),
    )
    found, said = second.content
    assert (found.content[0].url, said.text) == ("https://example.org/", TEXT)
