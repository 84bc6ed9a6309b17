"""Groq's own client."""

import json
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from sdk_stage import ARGUMENTS, CALLS, COUNTED, FUNCTION, KEY, SAYS, TEXT, in_thread, sdk

from cortex_trio.events import CitationDelta
from cortex_trio.failures import FailureKind
from cortex_trio.simulator import Behaviour, SimulatedProvider, Simulator

groq = sdk("groq")

ASK: dict[str, Any] = {"model": "m-1", "messages": [{"role": "user", "content": "Hi"}]}


async def with_client(provider: SimulatedProvider, job: Callable[[Any], Any]) -> Any:
    base_url = provider.url.removesuffix("/openai/v1")  # which this client adds by itself

    def run() -> Any:
        with groq.Groq(api_key=KEY, base_url=base_url, max_retries=0) as client:
            return job(client)

    return await in_thread(run)


def chunks(client: Any, **options: Any) -> list[Any]:
    return list(client.chat.completions.create(**ASK, stream=True, **options))


def text_of(chunks: list[Any], field: str = "content") -> str:
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    return "".join(getattr(delta, field, None) or "" for delta in deltas)


async def test_it_streams_text_and_usage(sim: Simulator) -> None:
    got = await with_client(sim.add("groq", SAYS), chunks)
    assert text_of(got) == TEXT
    assert [chunk.choices[0].finish_reason for chunk in got if chunk.choices][-1] == "stop"
    usages = [chunk.x_groq.usage for chunk in got if chunk.x_groq and chunk.x_groq.usage]
    assert usages[-1].total_tokens == COUNTED.total_tokens


async def test_it_streams_reasoning_apart_from_text(sim: Simulator) -> None:
    got = await with_client(sim.add("groq", attrs.evolve(SAYS, reasoning="Two and two.")), chunks)
    assert (text_of(got, "reasoning"), text_of(got)) == ("Two and two.", TEXT)


async def test_it_streams_a_tool_call(sim: Simulator) -> None:
    got = await with_client(sim.add("groq", CALLS), lambda client: chunks(client, tools=[FUNCTION]))
    [call] = [call for chunk in got for call in (chunk.choices[0].delta.tool_calls or ())]
    assert (call.function.name, json.loads(call.function.arguments)) == ("weather", ARGUMENTS)


async def test_it_reads_a_whole_answer(sim: Simulator) -> None:
    answer = await with_client(sim.add("groq", SAYS), lambda client: client.chat.completions.create(**ASK))
    assert answer.choices[0].message.content == TEXT
    assert answer.usage.total_tokens == COUNTED.total_tokens


@pytest.mark.parametrize(
    ("kind", "exception"),
    [
        (FailureKind.BAD_REQUEST, "BadRequestError"),
        (FailureKind.CREDENTIAL, "AuthenticationError"),
        (FailureKind.PERMISSION, "PermissionDeniedError"),
        (FailureKind.MODEL_NOT_FOUND, "NotFoundError"),
        (FailureKind.RATE_LIMIT, "RateLimitError"),
        (FailureKind.SERVER, "InternalServerError"),
    ],
)
async def test_an_error_is_the_exception_it_has_for_it(
    sim: Simulator, kind: FailureKind, exception: str
) -> None:
    provider = sim.add("groq", Behaviour(error=kind))
    with pytest.raises(getattr(groq, exception)) as caught:
        await with_client(provider, lambda client: client.chat.completions.create(**ASK))
    assert caught.value.body["error"]["message"]


async def test_an_error_event_inside_a_stream_is_raised_out_of_it(sim: Simulator) -> None:
    provider = sim.add("groq", Behaviour(text="a b c", error=FailureKind.SERVER, error_after=2))
    with pytest.raises(groq.APIError):
        await with_client(provider, chunks)


async def test_it_lists_models(sim: Simulator) -> None:
    provider = sim.add("groq", models=["m-1", "m-2"])
    listed = await with_client(provider, lambda client: client.models.list())
    assert [model.id for model in listed.data] == ["m-1", "m-2"]


async def test_it_describes_a_model_whose_name_has_a_slash(sim: Simulator) -> None:
    provider = sim.add("groq", models=["openai/gpt-oss-20b"])
    model = await with_client(provider, lambda client: client.models.retrieve("openai/gpt-oss-20b"))
    assert model.id == "openai/gpt-oss-20b"


async def test_it_reads_which_documents_are_cited(sim: Simulator) -> None:
    cited = attrs.evolve(SAYS, citations=(CitationDelta(0, 5, "Grüße", ("doc:0",)),))
    last = [
        chunk
        for chunk in await with_client(sim.add("groq", cited), chunks)
        if chunk.choices[0].delta.annotations
    ]
    [annotation] = last[0].choices[0].delta.annotations
    assert (annotation.document_citation.document_id, annotation.document_citation.end_index) == ("doc:0", 5)
