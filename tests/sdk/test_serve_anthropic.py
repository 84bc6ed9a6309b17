"""Anthropic's own client before the endpoint: its own provider behind it, and another one."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from sdk_stage import ARGUMENTS, CALLS, SAYS, SCHEMA, TEXT, in_thread, raised_by, sdk

from cortex_trio.failures import FailureKind
from cortex_trio.server.serving import open_server
from cortex_trio.simulator import Behaviour, Simulator, open_gateway

anthropic = sdk("anthropic")

ASK: dict[str, Any] = {"model": "auto", "max_tokens": 100, "messages": [{"role": "user", "content": "Hi"}]}
every_provider = pytest.mark.parametrize("kind", ["anthropic", "openai"])
TOOL = {"name": "weather", "description": "Weather of a city", "input_schema": SCHEMA}


@asynccontextmanager
async def asking(sim: Simulator, **settings: Any) -> AsyncIterator[Callable[[Callable[[Any], Any]], Any]]:
    """Yields a function that runs a job with a client of the endpoint."""
    async with open_gateway(sim, **settings) as cortex, open_server(cortex, grace=0.1) as server:

        async def run(job: Callable[[Any], Any]) -> Any:
            def in_its_thread() -> Any:
                with anthropic.Anthropic(api_key="sk-any-0001", base_url=server.url, max_retries=0) as client:
                    return job(client)

            return await in_thread(in_its_thread)

        yield run


async def with_client(sim: Simulator, job: Callable[[Any], Any], **settings: Any) -> Any:
    async with asking(sim, **settings) as run:
        return await run(job)


def streamed(client: Any, **options: Any) -> Any:
    with client.messages.stream(**ASK, **options) as stream:
        return "".join(stream.text_stream), stream.get_final_message()


@every_provider
async def test_it_streams_text_and_usage(sim: Simulator, kind: str) -> None:
    sim.add(kind, SAYS)
    text, final = await with_client(sim, streamed)
    assert (text, final.content[0].text, final.stop_reason) == (TEXT, TEXT, "end_turn")
    assert final.usage.output_tokens == 13


@every_provider
async def test_it_streams_a_tool_call(sim: Simulator, kind: str) -> None:
    sim.add(kind, CALLS)
    _, final = await with_client(sim, lambda client: streamed(client, tools=[TOOL]))
    [call] = [block for block in final.content if block.type == "tool_use"]
    assert (call.name, call.input, final.stop_reason) == ("weather", ARGUMENTS, "tool_use")


@every_provider
async def test_it_reads_a_whole_answer_to_a_tool_result(sim: Simulator, kind: str) -> None:
    provider = sim.add(kind, SAYS)
    use = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Rome"}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "sunny"}]}
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}]},
        {"role": "assistant", "content": [use]},
        {"role": "user", "content": [result]},
    ]
    answer = await with_client(
        sim,
        lambda client: client.messages.create(
            model="auto", max_tokens=100, messages=messages, tools=[TOOL], system="Be brief."
        ),
    )
    assert answer.content[0].text == TEXT
    assert "sunny" in str(provider.requests[0].body)
    assert ("cache_control" in str(provider.requests[0].body)) == (kind == "anthropic")


async def test_betas_reach_the_provider(sim: Simulator) -> None:
    provider = sim.add("anthropic", SAYS)
    await with_client(sim, lambda client: client.beta.messages.create(**ASK, betas=["b-1", "b-2"]))
    assert provider.requests[0].headers["anthropic-beta"] == "b-1,b-2"


@pytest.mark.parametrize("kind", ["anthropic", "openai"])
async def test_it_counts_tokens(sim: Simulator, kind: str) -> None:
    sim.add(kind, SAYS)
    asked = {"model": "auto", "messages": ASK["messages"]}
    found = await with_client(sim, lambda client: client.messages.count_tokens(**asked))
    assert found.input_tokens >= 1


async def test_models(sim: Simulator) -> None:
    sim.add("openai", models=["a", "b"])

    def ask(client: Any) -> tuple[list[str], str]:
        return [model.id for model in client.models.list()], client.models.retrieve("b").id

    assert await with_client(sim, ask) == (["a", "b"], "b")


@pytest.mark.parametrize(
    ("failure", "name"),
    [
        (FailureKind.RATE_LIMIT, "RateLimitError"),
        (FailureKind.CREDENTIAL, "AuthenticationError"),
        (FailureKind.CONTEXT_LENGTH, "BadRequestError"),
        (FailureKind.OVERLOADED, "OverloadedError"),
    ],
)
@pytest.mark.parametrize("kind", ["openai", "anthropic"])
@pytest.mark.parametrize("stream", [True, False])
async def test_an_error_is_its_own_exception(
    sim: Simulator, kind: str, failure: FailureKind, name: str, stream: bool
) -> None:
    sim.add(kind, Behaviour(error=failure))
    expected = getattr(anthropic, name, anthropic.InternalServerError)

    def ask(client: Any) -> Any:
        with pytest.raises(expected) as caught:
            client.messages.create(**ASK, stream=stream)
        return caught.value

    assert kind in (await with_client(sim, ask, max_wait=0, max_attempts=1)).message


@every_provider
async def test_a_cut_stream_raises(sim: Simulator, kind: str) -> None:
    sim.add(kind, Behaviour(text="one two three", cut_after=2))

    pieces: list[str] = []

    def ask(client: Any) -> None:
        with client.messages.stream(**ASK) as stream:
            pieces.extend(stream.text_stream)

    await with_client(sim, raised_by(ask, anthropic.APIError))
    assert pieces[0] == "one"


async def test_a_client_that_leaves_a_stream_frees_the_provider(sim: Simulator) -> None:
    provider = sim.add("anthropic", Behaviour(text="one two three", stall_after=1))

    def ask(client: Any) -> None:
        with client.messages.stream(**ASK) as stream:
            for _ in stream.text_stream:
                return

    async with asking(sim) as run:
        await run(ask)
        with trio.fail_after(2):
            while provider.open_connections:  # noqa: ASYNC110 - no event says it
                await trio.sleep(0.005)
