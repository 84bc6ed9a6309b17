"""OpenAI's own client before the endpoint: its own provider behind it, and another one."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from sdk_stage import (
    ARGUMENTS,
    CALLS,
    COUNTED,
    FUNCTION,
    SAYS,
    SCHEMA,
    TEXT,
    in_thread,
    plain_http,
    raised_by,
    sdk,
)

from cortex_trio.failures import FailureKind
from cortex_trio.server.serving import open_server
from cortex_trio.simulator import Behaviour, Simulator, open_gateway

openai = sdk("openai")

BEHIND = ["openai", "anthropic"]
ASK: dict[str, Any] = {"model": "auto", "messages": [{"role": "user", "content": "Hi"}]}
every_provider = pytest.mark.parametrize("kind", BEHIND)
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5E"
    "rkJggg=="
)


@asynccontextmanager
async def asking(sim: Simulator, **settings: Any) -> AsyncIterator[Callable[[Callable[[Any], Any]], Any]]:
    """Yields a function that runs a job with a client of the endpoint."""
    async with open_gateway(sim, **settings) as cortex, open_server(cortex, grace=0.1) as server:

        async def run(job: Callable[[Any], Any]) -> Any:
            def in_its_thread() -> Any:
                with openai.OpenAI(
                    api_key="sk-any-0001",
                    base_url=f"{server.url}/v1",
                    max_retries=0,
                    http_client=plain_http(),
                ) as client:
                    return job(client)

            return await in_thread(in_its_thread)

        yield run


async def with_client(sim: Simulator, job: Callable[[Any], Any], **settings: Any) -> Any:
    async with asking(sim, **settings) as run:
        return await run(job)


def streamed(client: Any, **options: Any) -> Any:
    with client.chat.completions.stream(**{**ASK, **options}) as stream:
        for _ in stream:
            pass
        return stream.get_final_completion()


# ------------------------------------------------------------------ addresses


@pytest.mark.parametrize("path", ["", "/", "/v1/", "/v1/v1"])
async def test_a_base_url_may_have_too_little_or_too_much(sim: Simulator, path: str) -> None:
    sim.add("openai", SAYS)
    async with open_gateway(sim) as cortex, open_server(cortex, grace=0.1) as server:

        def ask() -> Any:
            url = f"{server.url}{path}"
            with openai.OpenAI(api_key="sk-any-0001", base_url=url, http_client=plain_http()) as client:
                return client.chat.completions.create(**ASK)

        found = await in_thread(ask)
    assert found.choices[0].message.content == TEXT


async def test_the_client_for_azure_names_the_model_and_the_key_as_azure_does(sim: Simulator) -> None:
    sim.add("openai", SAYS, models=["m-1"])
    async with open_gateway(sim) as cortex, open_server(cortex, grace=0.1, keys=["sk-own-0001"]) as server:

        def ask() -> Any:
            with openai.AzureOpenAI(
                azure_endpoint=server.url,
                azure_deployment="m-1",
                api_key="sk-own-0001",
                api_version="2024-06-01",
                max_retries=0,
                http_client=plain_http(),
            ) as client:
                chat = client.chat.completions.create(**{**ASK, "model": "another"})
                return chat, client.embeddings.create(model="another", input=[1, 2, 3])

        chat, embedded = await in_thread(ask)
    assert (chat.choices[0].message.content, chat.model) == (TEXT, "m-1")
    assert len(embedded.data[0].embedding) > 1


# ------------------------------------------------------------------ chat completions


@every_provider
async def test_chat_streams_text_and_usage(sim: Simulator, kind: str) -> None:
    sim.add(kind, SAYS)
    final = await with_client(sim, lambda client: streamed(client, stream_options={"include_usage": True}))
    assert (final.choices[0].message.content, final.choices[0].finish_reason) == (TEXT, "stop")
    assert (final.usage.prompt_tokens, final.usage.completion_tokens) == (21, 13)


@every_provider
async def test_chat_calls_tools(sim: Simulator, kind: str) -> None:
    sim.add(kind, CALLS)
    final = await with_client(sim, lambda client: streamed(client, tools=[FUNCTION]))
    [call] = final.choices[0].message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("weather", ARGUMENTS)
    assert final.choices[0].finish_reason == "tool_calls"


@every_provider
async def test_chat_reads_a_whole_answer_to_an_image_and_a_tool_result(sim: Simulator, kind: str) -> None:
    provider = sim.add(kind, SAYS)
    picture = {"type": "image_url", "image_url": {"url": PIXEL}}
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "What is this?"}, picture]},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
    ]
    answer = await with_client(
        sim, lambda client: client.chat.completions.create(model="", messages=messages, tools=[FUNCTION])
    )
    assert answer.choices[0].message.content == TEXT
    assert answer.usage.total_tokens == COUNTED.total_tokens
    assert "iVBORw0KGgo" in json.dumps(provider.requests[0].body)
    assert answer.model == provider.models[0]


@pytest.mark.parametrize(
    ("failure", "name"),
    [
        (FailureKind.RATE_LIMIT, "RateLimitError"),
        (FailureKind.CREDENTIAL, "AuthenticationError"),
        (FailureKind.CONTEXT_LENGTH, "BadRequestError"),
        (FailureKind.SERVER, "InternalServerError"),
    ],
)
@pytest.mark.parametrize("kind", ["openai", "anthropic"])
@pytest.mark.parametrize("stream", [True, False])
async def test_an_error_is_its_own_exception(
    sim: Simulator, kind: str, failure: FailureKind, name: str, stream: bool
) -> None:
    sim.add(kind, Behaviour(error=failure))

    def ask(client: Any) -> Any:
        with pytest.raises(getattr(openai, name)) as caught:
            client.chat.completions.create(**ASK, stream=stream)
        return caught.value

    error = await with_client(sim, ask, max_wait=0, max_attempts=1)
    assert error.request_id
    assert kind in error.message


async def test_an_unknown_model_is_not_found(sim: Simulator) -> None:
    sim.add("openai")

    def ask(client: Any) -> Any:
        with pytest.raises(openai.NotFoundError) as caught:
            client.chat.completions.create(**{**ASK, "model": "other-1"})
        return caught.value.code

    assert await with_client(sim, ask) == "model_not_found"


@every_provider
async def test_a_cut_stream_raises(sim: Simulator, kind: str) -> None:
    sim.add(kind, Behaviour(text="one two three", cut_after=2))
    pieces: list[str] = []

    def ask(client: Any) -> None:
        chunks = client.chat.completions.create(**ASK, stream=True)
        pieces.extend(chunk.choices[0].delta.content or "" for chunk in chunks)

    await with_client(sim, raised_by(ask, openai.APIError))
    assert "".join(pieces).startswith("one")


@pytest.mark.parametrize("kind", ["openai_responses", "anthropic"])
async def test_a_cut_response_says_so_or_raises(sim: Simulator, kind: str) -> None:
    """Its client raises at an error event; without one it would end with the state of the response."""
    sim.add(kind, Behaviour(text="one two three", cut_after=2))
    events: list[Any] = []

    def ask(client: Any) -> None:
        for event in client.responses.create(model="auto", input="Hi", stream=True):
            events.append(event)  # noqa: PERF402 - what came before an error counts

    def ask_and_look(client: Any) -> None:
        try:
            ask(client)
        except openai.APIError:
            return
        assert events[-1].type in ("error", "response.failed")

    await with_client(sim, ask_and_look)
    assert events[0].type == "response.created"
    assert not any(event.type == "response.completed" for event in events)


async def test_a_client_that_leaves_a_stream_frees_the_provider(sim: Simulator) -> None:
    provider = sim.add("openai", Behaviour(text="one two three", stall_after=1))

    def ask(client: Any) -> None:
        stream = client.chat.completions.create(**ASK, stream=True)
        for chunk in stream:
            if chunk.choices and chunk.choices[0].delta.content:
                stream.close()
                return

    async with asking(sim) as run:
        await run(ask)
        with trio.fail_after(2):
            while provider.open_connections:  # noqa: ASYNC110 - no event says it
                await trio.sleep(0.005)


async def test_a_time_out_of_the_client(sim: Simulator) -> None:
    provider = sim.add("openai", Behaviour(silent=True))

    def ask(client: Any) -> None:
        with pytest.raises((openai.APITimeoutError, openai.InternalServerError)):
            client.with_options(timeout=0.3).chat.completions.create(**ASK)

    async with asking(sim) as run:
        await run(ask)
        with trio.fail_after(2):
            while provider.open_connections:  # noqa: ASYNC110 - no event says it
                await trio.sleep(0.005)


# ------------------------------------------------------------------ responses, embeddings, models


@pytest.mark.parametrize("kind", ["openai_responses", "anthropic"])
async def test_responses_stream(sim: Simulator, kind: str) -> None:
    sim.add(kind, SAYS)

    def ask(client: Any) -> Any:
        with client.responses.stream(model="auto", input="Hi", instructions="Be brief.") as stream:
            deltas = [event.delta for event in stream if event.type == "response.output_text.delta"]
            return "".join(deltas), stream.get_final_response()

    text, final = await with_client(sim, ask)
    assert (text, final.output_text, final.status) == (TEXT, TEXT, "completed")
    assert final.usage.total_tokens == COUNTED.total_tokens


@pytest.mark.parametrize("kind", ["openai_responses", "anthropic"])
async def test_responses_call_tools(sim: Simulator, kind: str) -> None:
    sim.add(kind, CALLS)
    tool = {"type": "function", "name": "weather", "parameters": SCHEMA, "strict": False}
    final = await with_client(sim, lambda client: client.responses.create(model="", input="Hi", tools=[tool]))
    [call] = [item for item in final.output if item.type == "function_call"]
    assert (call.name, json.loads(call.arguments)) == ("weather", ARGUMENTS)


async def test_embeddings(sim: Simulator) -> None:
    provider = sim.add("openai")
    found = await with_client(
        sim, lambda client: client.embeddings.create(model="auto", input=["a", "b"], dimensions=3)
    )
    assert [len(entry.embedding) for entry in found.data] == [3, 3]
    assert provider.requests[0].body["input"] == ["a", "b"]


async def test_models(sim: Simulator) -> None:
    sim.add("openai", models=["a", "b/c"])

    def ask(client: Any) -> tuple[list[str], str]:
        return [model.id for model in client.models.list()], client.models.retrieve("b/c").id

    assert await with_client(sim, ask) == (["a", "b/c"], "b/c")
