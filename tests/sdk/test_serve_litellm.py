"""LiteLLM as a client of the endpoint: in each API that it speaks, streamed and whole, with a failover behind it."""

import json
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from sdk_stage import ARGUMENTS, CALLS, FUNCTION, SAYS, TEXT, in_thread, raised_by, sdk

from cortex_trio.server.serving import open_server
from cortex_trio.simulator import Behaviour, Simulator, open_gateway

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # those of its own dependencies
    litellm = pytest.importorskip("litellm")

openai = sdk("openai")

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # the warnings of its dependencies

KEY = "sk-any-0001"
HI = [{"role": "user", "content": "Hi"}]
APIS = {"openai/fast": "/v1", "anthropic/fast": ""}
"""The prefix of a model names the API, and the base URL differs by API."""

every_api = pytest.mark.parametrize("model", APIS)
every_provider = pytest.mark.parametrize("kind", ["openai", "anthropic", "gemini"])


async def with_litellm(sim: Simulator, model: str, job: Callable[..., Any], **options: Any) -> Any:
    aliases = {"fast": [f"{name}/m-1" for name in sim.providers]}
    async with (
        open_gateway(sim, aliases=aliases) as cortex,
        open_server(cortex, keys=[KEY], grace=0.1) as server,
    ):
        base = {"api_base": server.url + APIS[model], "api_key": KEY, "num_retries": 0, "timeout": 20}
        return await in_thread(lambda: job(model=model, **base, **options))


def failing(job: Callable[[Any], object]) -> Callable[..., Any]:
    """Return a job that returns the error of LiteLLM that `job` raises."""
    run = raised_by(job, openai.OpenAIError)  # each of LiteLLM's is one of these
    return lambda **options: run(options)


@every_api
@every_provider
async def test_an_answer(sim: Simulator, model: str, kind: str) -> None:
    sim.add("down", Behaviour(status=503), provider="openai", models=["m-1"])
    sim.add(kind, SAYS, models=["m-1"])
    answer = await with_litellm(sim, model, litellm.completion, messages=HI, max_tokens=50)
    assert answer.choices[0].message.content == TEXT
    assert answer.usage.total_tokens > 0


@every_api
@every_provider
async def test_a_stream(sim: Simulator, model: str, kind: str) -> None:
    sim.add("down", Behaviour(status=503), provider="openai", models=["m-1"])
    sim.add(kind, SAYS, models=["m-1"])

    def read(**options: Any) -> str:
        chunks = litellm.completion(stream=True, **options)
        return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)

    assert await with_litellm(sim, model, read, messages=HI, max_tokens=50) == TEXT


@every_api
async def test_a_stream_that_breaks_off_raises(sim: Simulator, model: str) -> None:
    sim.add("openai", Behaviour(text="one two three four", cut_after=2), models=["m-1"])

    def read(options: Any) -> list[Any]:
        return list(litellm.completion(stream=True, **options))

    await with_litellm(sim, model, failing(read), messages=HI, max_tokens=50)


@every_api
@every_provider
async def test_a_tool_is_called(sim: Simulator, model: str, kind: str) -> None:
    sim.add(kind, CALLS, models=["m-1"])
    asked = {"messages": HI, "tools": [FUNCTION], "max_tokens": 50}
    answer = await with_litellm(sim, model, litellm.completion, **asked)
    [call] = answer.choices[0].message.tool_calls
    assert call.function.name == "weather"
    assert json.loads(call.function.arguments) == ARGUMENTS


@every_api
@pytest.mark.parametrize(
    ("status", "expected"), [(400, "BadRequestError"), (429, "RateLimitError"), (404, "NotFoundError")]
)
async def test_an_error(sim: Simulator, model: str, status: int, expected: str) -> None:
    sim.add("openai", Behaviour(status=status, retry_after=60), models=["m-1"])
    error = await with_litellm(
        sim, model, failing(lambda options: litellm.completion(**options)), messages=HI, max_tokens=50
    )
    assert type(error).__name__ == expected
