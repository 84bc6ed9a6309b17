"""Nothing grows without a bound, and no secret and no control character comes out."""

import logging
import pickle

import attrs
import httpx
import pytest
import trio
from raw_bytes import JSON, error, http, said
from raw_server import KEY, World, play

from cortex_trio import Attempt, Config, ConfigError, CortexError, WorkerConfig, open_cortex

SECRET = "sk-secret-0123456789-abcdef-0123456789"
PROMPT = "my private diary: on Monday I met a person whose name I will not write"


def said_by(problem: BaseException) -> str:
    """Everything an error says of itself and of its causes."""
    seen, left = [], [problem]
    while left:
        one = left.pop()
        seen += [str(one), repr(one), repr(getattr(one, "failure", "")), repr(getattr(one, "attempts", ""))]
        left += [cause for cause in (one.__cause__, one.__context__) if cause is not None]
        left += list(one.exceptions) if isinstance(one, BaseExceptionGroup) else []
    return "\n".join(seen)


@pytest.mark.slow
async def test_idle_connections_are_bounded(memory: World, autojump_clock: object) -> None:
    server = memory.server(then_chat=play(1.0, said()))
    async with memory.gateway() as cortex:
        async with trio.open_nursery() as nursery:
            for _ in range(300):
                nursery.start_soon(cortex.complete, "Hi")
        await trio.sleep(0.1)
        assert server.open_connections <= 64


async def test_the_bound_of_idle_connections_is_configured(memory: World, autojump_clock: object) -> None:
    server = memory.server(then_chat=play(1.0, said()))
    async with memory.gateway(max_idle_connections=5) as cortex:
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(cortex.complete, "Hi")
        await trio.sleep(0.1)
        assert server.open_connections <= 5


async def test_an_error_names_some_models_and_not_thousands(memory: World, autojump_clock: object) -> None:
    names = [f"publisher/model-with-a-long-name-{number}" for number in range(3_000)]
    server = memory.server()
    async with memory.gateway(server, worker={"models": names}) as cortex:
        with pytest.raises(CortexError) as caught:
            await cortex.complete("Hi", model="publisher/another")
        assert len(str(caught.value)) < 2_000
        assert "publisher/another" in str(caught.value)
        assert len(cortex.explain("Hi", model="publisher/another")) < 4_000


async def test_an_error_names_some_workers_and_not_hundreds(memory: World, autojump_clock: object) -> None:
    for _ in range(300):
        memory.server()
    async with memory.gateway() as cortex:
        with pytest.raises(CortexError) as caught:
            await cortex.complete("Hi", worker="another")
        assert len(str(caught.value)) < 2_000


HOSTILE = "\x1b[31mred\x1b[0m \x07\x00\x9b31m \u202eright to left \r\nx-forged: line"
CONTROLS = ["\x1b", "\x07", "\x00", "\x9b", "\u202e", "\r", "\n"]


@pytest.mark.parametrize("where", ["message", "code", "page", "header"])
@pytest.mark.parametrize("status", [400, 500])
async def test_no_control_character_of_a_server_is_shown(
    memory: World, where: str, status: int, caplog: pytest.LogCaptureFixture, autojump_clock: object
) -> None:
    body = error("odd", "server_error")
    headers: dict[str, str] = {}
    match where:
        case "message":
            body = error(HOSTILE)
        case "code":
            body = error("odd", HOSTILE, HOSTILE)
        case "page":
            body = f"<html>{HOSTILE}</html>".encode()
        case "header":
            headers = {"x-request-id": "a\x1b[31mb"}
    memory.server(then_chat=play(http(status, body, headers)))
    events: list[object] = []
    with caplog.at_level(logging.DEBUG):
        async with memory.gateway(on_event=events.append) as cortex:
            with pytest.raises(CortexError) as caught:
                await cortex.complete("Hi")
    failures = [event.failure for event in events if isinstance(event, Attempt)]
    texts = [str(caught.value), caplog.text.replace("\n", "")]
    texts += [str(value) for failure in failures if failure for value in attrs.astuple(failure)]
    for control in CONTROLS:
        assert not any(control in text for text in texts), control


# ------------------------------------------------------------------ secrets


@pytest.mark.parametrize(
    "settings",
    [
        {"provider": SECRET},
        {"provider": "openai", "api_keys": ["a"], "base_url": SECRET},
        {"provider": "openai", "api_keys": ["a"], "timeout": SECRET},
        {"provider": "openai", "api_keys": ["a"], "priority": SECRET},
        {"provider": "openai", "api_keys": ["a"], "headers": {"x": f"{SECRET}\n"}},
        {"provider": "openai", "api_keys": ["a"], "headers": {f"{SECRET} ": "x"}},
        {"provider": "openai", "api_keys": ["a"], "capabilities": [SECRET]},
        {"provider": "openai", "api_keys": ["a"], "capabilities": SECRET},
        {"provider": "openai", "api_keys": f"{SECRET}\n{SECRET}"},
        {SECRET: "openai"},
    ],
    ids=lambda settings: str(list(settings)[-1])[:12],
)
def test_a_key_in_the_wrong_field_is_not_repeated(settings: dict[str, object]) -> None:
    with pytest.raises((ConfigError, TypeError)) as caught:
        Config.from_mapping({"raw": settings})
    assert SECRET not in said_by(caught.value)
    assert SECRET[:20] not in said_by(caught.value)


@pytest.mark.parametrize(
    "options",
    [{"strategy": SECRET}, {"key_strategy": SECRET}, {"max_attempts": SECRET}, {"idle_timeout": SECRET}],
    ids=lambda options: next(iter(options)),
)
def test_a_key_in_a_field_of_the_gateway_is_not_repeated(options: dict[str, object]) -> None:
    worker = WorkerConfig(provider="openai", api_keys=["a-key-of-its-own"])  # type: ignore[arg-type]
    with pytest.raises(ConfigError) as caught:
        Config(workers={"raw": worker}, **options)  # type: ignore[arg-type]
    assert SECRET[:20] not in said_by(caught.value)


@pytest.mark.parametrize(
    "show", [repr, str, attrs.asdict, pickle.dumps], ids=["repr", "str", "asdict", "pickle"]
)
def test_the_values_of_headers_do_not_show(show: object) -> None:
    config = WorkerConfig(provider="ollama", headers={"authorization": f"Bearer {SECRET}"})
    try:
        shown = show(config)  # type: ignore[operator]
    except (TypeError, pickle.PicklingError) as problem:
        shown = str(problem)
    assert SECRET not in str(shown)


@pytest.mark.parametrize("over_httpx", [False, True])
@pytest.mark.parametrize("ask", ["models", "complete", "embed"])
async def test_a_key_that_a_server_repeats_is_not_shown(
    memory: World, over_httpx: bool, ask: str, autojump_clock: object
) -> None:
    refusal = play(http(401, error(f"Incorrect API key provided: {KEY}. {KEY.upper()}")))
    server = memory.server(then_chat=refusal, then_lists=refusal, then_embeds=refusal)

    class Wrapped(httpx.AsyncBaseTransport):
        def __init__(self, config: WorkerConfig) -> None:
            self.inner = memory.transport(config)

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            return await self.inner.handle_async_request(request)

        async def aclose(self) -> None:
            await self.inner.aclose()

    async with open_cortex(
        memory.config(server), http_transport=Wrapped if over_httpx else memory.transport
    ) as cortex:
        asking = {
            "models": lambda: cortex.models(worker=server.name),
            "complete": lambda: cortex.complete("Hi"),
            "embed": lambda: cortex.embed(["Hi"], model="m-1"),
        }
        with pytest.raises(CortexError) as caught:
            await asking[ask]()
    assert KEY.lower() not in said_by(caught.value).lower()


@pytest.mark.parametrize("status", [400, 422, 500])
async def test_a_prompt_that_an_error_repeats_is_not_in_the_ledger(
    memory: World, status: int, caplog: pytest.LogCaptureFixture, autojump_clock: object
) -> None:
    memory.server(then_chat=play(http(status, error(f"Invalid input: {PROMPT}"), kind=JSON)))
    events: list[object] = []
    with caplog.at_level(logging.DEBUG):
        async with memory.gateway(on_event=events.append) as cortex:
            with pytest.raises(CortexError):
                await cortex.complete(PROMPT)
    attempts = [event for event in events if isinstance(event, Attempt)]
    assert attempts
    assert PROMPT[:30] not in repr(events)
    assert PROMPT[:30] not in caplog.text
