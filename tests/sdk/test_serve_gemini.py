"""Google's own client before the endpoint, in a thread: its own provider behind it, and another one."""

from collections.abc import Callable
from typing import Any

import pytest
from sdk_stage import ARGUMENTS, CALLS, SAYS, SCHEMA, TEXT, in_thread, raised_by, sdk

from cortex_trio.failures import FailureKind
from cortex_trio.server.serving import open_server
from cortex_trio.simulator import Behaviour, Simulator, open_gateway

genai = sdk("google.genai")

every_provider = pytest.mark.parametrize("kind", ["gemini", "openai"])
ASK: dict[str, Any] = {"model": "auto", "contents": "Hi"}
TOOLS = [{"function_declarations": [{"name": "weather", "parameters_json_schema": SCHEMA}]}]


async def with_client(sim: Simulator, job: Callable[[Any], Any], **settings: Any) -> Any:
    async with open_gateway(sim, **settings) as cortex, open_server(cortex, grace=0.1) as server:

        def run() -> Any:
            with genai.Client(
                api_key="any-0001", http_options={"base_url": server.url, "client_args": {"verify": False}}
            ) as client:
                return job(client)

        return await in_thread(run)


@every_provider
async def test_it_streams_text(sim: Simulator, kind: str) -> None:
    sim.add(kind, SAYS)

    def ask(client: Any) -> tuple[str, Any]:
        chunks = list(client.models.generate_content_stream(**ASK))
        return "".join(chunk.text or "" for chunk in chunks), chunks[-1]

    text, last = await with_client(sim, ask)
    assert (text, last.candidates[0].finish_reason.name) == (TEXT, "STOP")
    assert last.usage_metadata.candidates_token_count == 13


@every_provider
async def test_it_reads_a_whole_answer(sim: Simulator, kind: str) -> None:
    sim.add(kind, SAYS)
    config = {"system_instruction": "Be brief.", "temperature": 0.5, "max_output_tokens": 100}
    answer = await with_client(sim, lambda client: client.models.generate_content(**ASK, config=config))
    assert answer.text == TEXT


@every_provider
async def test_it_calls_tools(sim: Simulator, kind: str) -> None:
    sim.add(kind, CALLS)
    answer = await with_client(
        sim, lambda client: client.models.generate_content(**ASK, config={"tools": TOOLS})
    )
    [call] = answer.function_calls
    assert (call.name, call.args) == ("weather", ARGUMENTS)


@pytest.mark.parametrize("kind", ["gemini", "anthropic"])
@pytest.mark.parametrize("stream", [True, False])
async def test_an_error_is_its_own_exception(sim: Simulator, kind: str, stream: bool) -> None:
    sim.add(kind, Behaviour(error=FailureKind.RATE_LIMIT))

    def ask(client: Any) -> Any:
        if stream:
            return list(client.models.generate_content_stream(**ASK))
        return client.models.generate_content(**ASK)

    job = raised_by(ask, genai.errors.ClientError)
    error = await with_client(sim, job, max_wait=0, max_attempts=1)
    assert (error.code, error.status) == (429, "RESOURCE_EXHAUSTED")


@every_provider
async def test_a_cut_stream_raises(sim: Simulator, kind: str) -> None:
    sim.add(kind, Behaviour(text="one two three", cut_after=2))

    pieces: list[str] = []

    def ask(client: Any) -> None:
        pieces.extend(chunk.text or "" for chunk in client.models.generate_content_stream(**ASK))

    errors = genai.errors.APIError, genai.errors.UnknownApiResponseError
    await with_client(sim, raised_by(ask, *errors))
    assert pieces[0] == "one"


async def test_models(sim: Simulator) -> None:
    sim.add("openai", models=["a", "b"])

    def ask(client: Any) -> tuple[list[str], str]:
        return [model.name for model in client.models.list()], client.models.get(model="b").name

    assert await with_client(sim, ask) == (["models/a", "models/b"], "models/b")
