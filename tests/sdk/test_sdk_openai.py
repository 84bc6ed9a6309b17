"""OpenAI's own client, before the three simulated providers that people point it at."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from sdk_stage import ARGUMENTS, CALLS, COUNTED, FUNCTION, KEY, SAYS, TEXT, in_thread, sdk

from cortex_trio.failures import FailureKind
from cortex_trio.simulator import Behaviour, SimulatedProvider, Simulator

openai = sdk("openai")

SPOKEN_TO = ["openai", "openai_compatible", "xai"]
ASK: dict[str, Any] = {"model": "m-1", "messages": [{"role": "user", "content": "Hi"}]}


async def with_client(provider: SimulatedProvider, job: Callable[[Any], Any]) -> Any:
    def run() -> Any:
        with openai.OpenAI(api_key=KEY, base_url=provider.url, max_retries=0) as client:
            return job(client)

    return await in_thread(run)


def streamed(client: Any, **options: Any) -> tuple[str, list[Any], Any, str | None]:
    """Text, tool calls put together, usage and finish reason of a streamed answer."""
    with client.chat.completions.stream(**ASK, **options) as stream:
        for _ in stream:
            pass
        final = stream.get_final_completion()
    choice = final.choices[0]
    calls = [call.function for call in choice.message.tool_calls or ()]
    return choice.message.content or "", calls, final.usage, choice.finish_reason


@pytest.mark.parametrize("kind", SPOKEN_TO)
async def test_it_streams_text_and_usage(sim: Simulator, kind: str) -> None:
    provider = sim.add(kind, SAYS)
    options = {"stream_options": {"include_usage": True}}
    text, _, usage, finish = await with_client(provider, lambda client: streamed(client, **options))
    assert (text, finish) == (TEXT, "stop")
    assert (usage.prompt_tokens, usage.total_tokens) == (COUNTED.input_tokens, COUNTED.total_tokens)


@pytest.mark.parametrize("kind", SPOKEN_TO)
async def test_it_streams_a_tool_call(sim: Simulator, kind: str) -> None:
    provider = sim.add(kind, CALLS)
    _, [function], _, finish = await with_client(provider, lambda client: streamed(client, tools=[FUNCTION]))
    assert (function.name, json.loads(function.arguments)) == ("weather", ARGUMENTS)
    assert finish == "tool_calls"


@pytest.mark.parametrize("kind", SPOKEN_TO)
async def test_it_reads_a_whole_answer(sim: Simulator, kind: str) -> None:
    provider = sim.add(kind, SAYS)
    answer = await with_client(provider, lambda client: client.chat.completions.create(**ASK))
    assert answer.choices[0].message.content == TEXT
    assert answer.usage.total_tokens == COUNTED.total_tokens


@pytest.mark.parametrize("kind", SPOKEN_TO)
async def test_it_reads_log_probabilities(sim: Simulator, kind: str) -> None:
    asked = {"logprobs": True, "top_logprobs": 2}

    def read(client: Any) -> list[list[Any]]:
        chunks = client.chat.completions.create(**ASK, **asked, stream=True)
        choices = [choice for chunk in chunks for choice in chunk.choices]
        whole = client.chat.completions.create(**ASK, **asked).choices[0].logprobs.content
        return [[token for choice in choices if choice.logprobs for token in choice.logprobs.content], whole]

    streamed, whole = await with_client(sim.add(kind, SAYS), read)
    assert streamed == whole
    assert "".join(token.token for token in whole) == TEXT
    assert all(token.logprob == token.top_logprobs[0].logprob <= 0 for token in whole)
    assert b"".join(bytes(token.bytes) for token in whole).decode() == TEXT


@pytest.mark.parametrize(
    ("kind", "exception"),
    [
        (FailureKind.BAD_REQUEST, "BadRequestError"),
        (FailureKind.CREDENTIAL, "AuthenticationError"),
        (FailureKind.PERMISSION, "PermissionDeniedError"),
        (FailureKind.MODEL_NOT_FOUND, "NotFoundError"),
        (FailureKind.RATE_LIMIT, "RateLimitError"),
        (FailureKind.QUOTA, "RateLimitError"),
        (FailureKind.SERVER, "InternalServerError"),
        (FailureKind.OVERLOADED, "InternalServerError"),
    ],
)
async def test_an_error_is_the_exception_it_has_for_it(
    sim: Simulator, kind: FailureKind, exception: str
) -> None:
    provider = sim.add("openai", Behaviour(error=kind))
    with pytest.raises(getattr(openai, exception)) as caught:
        await with_client(provider, lambda client: client.chat.completions.create(**ASK))
    assert caught.value.body["message"]
    if kind is FailureKind.QUOTA:
        assert caught.value.code == "insufficient_quota"


async def test_an_error_inside_a_stream_is_raised_out_of_it(sim: Simulator) -> None:
    provider = sim.add("openai", Behaviour(text="a b c", error=FailureKind.SERVER, error_after=2))
    came: list[str] = []

    def read(client: Any) -> None:
        for chunk in client.chat.completions.create(**ASK, stream=True):
            came.extend(choice.delta.content or "" for choice in chunk.choices)

    with pytest.raises(openai.APIError):
        await with_client(provider, read)
    assert "".join(came) == "a b"


@pytest.mark.parametrize("kind", ["openai", "openai_compatible"])
async def test_it_reads_embeddings_in_the_encoding_it_prefers(sim: Simulator, kind: str) -> None:
    provider = sim.add(kind)
    reply = await with_client(
        provider,
        lambda client: client.embeddings.create(model="e-1", input=["cat", "dog", "cat"], dimensions=4),
    )
    vectors = [item.embedding for item in reply.data]
    assert [len(vector) for vector in vectors] == [4, 4, 4]
    assert vectors[0] == vectors[2] != vectors[1]


@pytest.mark.parametrize("kind", SPOKEN_TO)
async def test_it_lists_models(sim: Simulator, kind: str) -> None:
    provider = sim.add(kind, models=["m-1", "m-2"])
    assert await with_client(provider, lambda client: [model.id for model in client.models.list()]) == [
        "m-1",
        "m-2",
    ]


async def test_it_describes_a_model(sim: Simulator) -> None:
    provider = sim.add("openai", models=["m-1"])
    model = await with_client(provider, lambda client: client.models.retrieve("m-1"))
    assert (model.id, model.object) == ("m-1", "model")
    with pytest.raises(openai.NotFoundError):
        await with_client(provider, lambda client: client.models.retrieve("nobody"))
