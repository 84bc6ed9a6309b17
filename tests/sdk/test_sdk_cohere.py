"""Cohere's own client, its version 2."""

import json
from collections.abc import Callable
from typing import Any

import attrs
import httpx
import pytest
from sdk_stage import ARGUMENTS, CALLS, COUNTED, FUNCTION, KEY, SAYS, TEXT, in_thread, sdk

from cortex_trio.events import CitationDelta
from cortex_trio.failures import FailureKind
from cortex_trio.simulator import Behaviour, SimulatedProvider, Simulator

cohere = sdk("cohere")

ASK: dict[str, Any] = {"model": "m-1", "messages": [{"role": "user", "content": "Hi"}]}
ONCE: dict[str, Any] = {"request_options": {"max_retries": 0}}


async def with_client(provider: SimulatedProvider, job: Callable[[Any], Any]) -> Any:
    def run() -> Any:
        with httpx.Client() as http:
            return job(cohere.ClientV2(api_key=KEY, base_url=provider.url, httpx_client=http))

    return await in_thread(run)


def streamed(client: Any, **options: Any) -> list[Any]:
    return list(client.chat_stream(**ASK, **options))


def of_type(events: list[Any], name: str) -> list[Any]:
    return [event for event in events if event.type == name]


async def test_it_streams_text_and_usage(sim: Simulator) -> None:
    events = await with_client(sim.add("cohere", SAYS), streamed)
    deltas = of_type(events, "content-delta")
    assert "".join(event.delta.message.content.text for event in deltas) == TEXT
    [end] = of_type(events, "message-end")
    assert end.delta.finish_reason == "COMPLETE"
    assert end.delta.usage.tokens.output_tokens == COUNTED.output_tokens


async def test_it_streams_a_tool_call(sim: Simulator) -> None:
    events = await with_client(sim.add("cohere", CALLS), lambda client: streamed(client, tools=[FUNCTION]))
    [start] = of_type(events, "tool-call-start")
    deltas = of_type(events, "tool-call-delta")
    arguments = "".join(event.delta.message.tool_calls.function.arguments for event in deltas)
    assert start.delta.message.tool_calls.function.name == "weather"
    assert json.loads(arguments) == ARGUMENTS


async def test_it_streams_citations(sim: Simulator) -> None:
    cited = attrs.evolve(SAYS, citations=(CitationDelta(0, 5, "Grüße", ("doc:0",)),))
    events = await with_client(sim.add("cohere", cited), streamed)
    [citation] = [event.delta.message.citations for event in of_type(events, "citation-start")]
    assert (citation.start, citation.end, citation.text) == (0, 5, "Grüße")


async def test_it_reads_log_probabilities(sim: Simulator) -> None:
    provider = sim.add("cohere", SAYS)
    answer = await with_client(provider, lambda client: client.chat(**ASK, logprobs=True))
    pieces = await with_client(
        provider, lambda client: of_type(streamed(client, logprobs=True), "content-delta")
    )
    assert "".join(piece.text for piece in answer.logprobs) == TEXT
    assert [piece.logprobs.logprobs for piece in pieces] == [piece.logprobs for piece in answer.logprobs]


async def test_it_reads_a_whole_answer(sim: Simulator) -> None:
    answer = await with_client(sim.add("cohere", SAYS), lambda client: client.chat(**ASK))
    assert [part.text for part in answer.message.content] == [TEXT]
    assert answer.usage.tokens.input_tokens == COUNTED.input_tokens


@pytest.mark.parametrize(
    ("kind", "exception"),
    [
        (FailureKind.BAD_REQUEST, "BadRequestError"),
        (FailureKind.CREDENTIAL, "UnauthorizedError"),
        (FailureKind.MODEL_NOT_FOUND, "NotFoundError"),
        (FailureKind.RATE_LIMIT, "TooManyRequestsError"),
        (FailureKind.SERVER, "InternalServerError"),
        (FailureKind.OVERLOADED, "ServiceUnavailableError"),
    ],
)
async def test_an_error_is_the_exception_it_has_for_it(
    sim: Simulator, kind: FailureKind, exception: str
) -> None:
    provider = sim.add("cohere", Behaviour(error=kind))
    with pytest.raises(getattr(cohere, exception)) as caught:
        await with_client(provider, lambda client: client.chat(**ASK, **ONCE))
    assert caught.value.body["message"]


async def test_it_reads_embeddings(sim: Simulator) -> None:
    reply = await with_client(
        sim.add("cohere"),
        lambda client: client.embed(
            model="e-1",
            texts=["cat", "dog", "cat"],
            input_type="search_document",
            embedding_types=["float"],
        ),
    )
    vectors = reply.embeddings.float_
    assert len(vectors) == 3
    assert vectors[0] == vectors[2] != vectors[1]


async def test_it_lists_models(sim: Simulator) -> None:
    provider = sim.add("cohere", models=["m-1", "m-2"])
    listed = await with_client(provider, lambda client: client.models.list())
    assert [model.name for model in listed.models] == ["m-1", "m-2"]


async def test_it_describes_a_model(sim: Simulator) -> None:
    provider = sim.add("cohere", models=["m-1"])
    model = await with_client(provider, lambda client: client.models.get("m-1"))
    assert (model.name, model.endpoints) == ("m-1", ["chat"])
