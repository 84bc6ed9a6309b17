"""Ollama's own client."""

from collections.abc import Callable
from typing import Any

import attrs
import pytest
from sdk_stage import ARGUMENTS, CALLS, COUNTED, FUNCTION, SAYS, TEXT, in_thread, sdk

from cortex_trio.failures import FailureKind
from cortex_trio.simulator import Behaviour, SimulatedProvider, Simulator

ollama = sdk("ollama")

ASK: dict[str, Any] = {"model": "m-1", "messages": [{"role": "user", "content": "Hi"}]}


async def with_client(provider: SimulatedProvider, job: Callable[[Any], Any]) -> Any:
    def run() -> Any:
        with ollama.Client(host=provider.url) as client:
            return job(client)

    return await in_thread(run)


def streamed(client: Any, **options: Any) -> list[Any]:
    return list(client.chat(**ASK, stream=True, **options))


async def test_it_streams_text_and_usage(sim: Simulator) -> None:
    parts = await with_client(sim.add("ollama", SAYS), streamed)
    assert "".join(part.message.content or "" for part in parts) == TEXT
    assert (parts[-1].done, parts[-1].done_reason) == (True, "stop")
    assert (parts[-1].prompt_eval_count, parts[-1].eval_count) == (21, 13)


async def test_it_streams_thinking(sim: Simulator) -> None:
    provider = sim.add("ollama", attrs.evolve(SAYS, reasoning="Two and two."))
    parts = await with_client(provider, lambda client: streamed(client, think=True))
    assert "".join(part.message.thinking or "" for part in parts) == "Two and two."


async def test_it_streams_a_tool_call(sim: Simulator) -> None:
    provider = sim.add("ollama", CALLS)
    parts = await with_client(provider, lambda client: streamed(client, tools=[FUNCTION]))
    [call] = [call for part in parts for call in (part.message.tool_calls or ())]
    assert (call.function.name, call.function.arguments) == ("weather", ARGUMENTS)


async def test_it_reads_log_probabilities(sim: Simulator) -> None:
    provider = sim.add("ollama", SAYS)
    asked: dict[str, Any] = {"logprobs": True, "top_logprobs": 2}
    parts = await with_client(provider, lambda client: streamed(client, **asked))
    whole = await with_client(provider, lambda client: client.chat(**ASK, **asked))
    assert [token for part in parts for token in part.logprobs or ()] == list(whole.logprobs)
    assert "".join(token.token for token in whole.logprobs) == TEXT
    assert all(token.top_logprobs[0].logprob == token.logprob for token in whole.logprobs)


async def test_it_reads_a_whole_answer(sim: Simulator) -> None:
    answer = await with_client(sim.add("ollama", SAYS), lambda client: client.chat(**ASK))
    assert answer.message.content == TEXT
    assert answer.eval_count == COUNTED.output_tokens


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (FailureKind.BAD_REQUEST, 400),
        (FailureKind.MODEL_NOT_FOUND, 404),
        (FailureKind.RATE_LIMIT, 429),
        (FailureKind.SERVER, 500),
        (FailureKind.OVERLOADED, 503),
    ],
)
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_an_error_is_the_exception_it_has_for_it(
    sim: Simulator, kind: FailureKind, status: int, stream: bool
) -> None:
    provider = sim.add("ollama", Behaviour(error=kind))
    with pytest.raises(ollama.ResponseError) as caught:
        await with_client(provider, streamed if stream else lambda client: client.chat(**ASK))
    assert caught.value.status_code == status
    assert caught.value.error


async def test_an_error_line_inside_a_stream_is_raised_out_of_it(sim: Simulator) -> None:
    provider = sim.add("ollama", Behaviour(text="a b c", error=FailureKind.SERVER, error_after=2))
    with pytest.raises(ollama.ResponseError, match="error was encountered"):
        await with_client(provider, streamed)


async def test_it_reads_embeddings(sim: Simulator) -> None:
    reply = await with_client(
        sim.add("ollama"), lambda client: client.embed(model="e-1", input=["cat", "dog", "cat"])
    )
    assert len(reply.embeddings) == 3
    assert reply.embeddings[0] == reply.embeddings[2] != reply.embeddings[1]


async def test_it_lists_models(sim: Simulator) -> None:
    provider = sim.add("ollama", models=["m-1", "m-2"])
    listed = await with_client(provider, lambda client: client.list())
    assert [model.model for model in listed.models] == ["m-1", "m-2"]


async def test_it_shows_a_model(sim: Simulator) -> None:
    provider = sim.add("ollama", models=["m-1"])
    model = await with_client(provider, lambda client: client.show("m-1"))
    assert model.details.format == "gguf"
