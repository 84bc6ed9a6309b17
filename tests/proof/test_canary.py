"""After every failure the API key is in no log, error, traceback local, event, value or URL."""

import json
import logging
import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import attrs
import pytest
import trio
from canary import MARK, Canary, marked_key

from cortex_trio import Config, ConfigError, Cortex, CortexError, WorkerConfig, open_cortex
from cortex_trio.failures import FailureKind
from cortex_trio.gateway.workers.keys import KeyManager
from cortex_trio.gateway.workers.worker import Worker
from cortex_trio.providers import PROVIDERS
from cortex_trio.simulator import (
    Behaviour,
    SimRequest,
    SimulatedProvider,
    Simulator,
    open_gateway,
    open_simulator,
)
from cortex_trio.telemetry import to_json

DIALECTS = (
    "openai",
    *(
        pytest.param(name, marks=pytest.mark.slow)
        for name in ("groq", "xai", "anthropic", "gemini", "cohere")
    ),
)
"""One in `check.sh`, all of them in continuous integration."""


@pytest.fixture
def canary() -> Iterator[Canary]:
    """Reads every logger at level DEBUG, those of httpx and httpcore included."""
    canary, root = Canary(), logging.getLogger()
    loggers = [root, *(logging.getLogger(name) for name in ("cortex_trio", "httpx", "httpcore"))]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
    root.addHandler(canary.logs)
    yield canary
    root.removeHandler(canary.logs)
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)
    assert canary.looked_at > 10, "the canary has looked at something"
    assert not canary.leaks, "\n".join(canary.leaks)


def a_provider(sim: Simulator, dialect: str, *script: Any, name: str | None = None) -> SimulatedProvider:
    provider = sim.add(name or dialect, *script, provider=dialect)
    provider.api_keys = (marked_key(f"{dialect}-1"), marked_key(f"{dialect}-2"))
    return provider


async def everything(canary: Canary, cortex: Cortex, **options: Any) -> None:
    """Make every kind of call and look at everything that the gateway returns."""
    for ask in (_complete, _stream, _embed):
        try:
            await ask(canary, cortex, **options)
        except CortexError as error:
            canary.look(ask.__name__, error)
    for worker in await cortex.list_workers():
        canary.look("worker", worker)
        try:
            canary.look("models", await cortex.models(worker=worker.name))
        except CortexError as error:
            canary.look("models", error)
    canary.look("health", await cortex.health_status())
    canary.look("check", await cortex.check_health())
    canary.look("tree", cortex.tree())
    canary.look("explain", cortex.explain("Hi"))
    canary.look("snapshot", cortex.snapshot())
    canary.check("JSON", to_json(cortex.snapshot()))
    seen = canary.look_inside("cortex", cortex)
    assert {"Cortex", "Runtime", "Config", "WorkerConfig", "ApiKey", "WorkerState", "KeyState"} <= seen


async def _complete(canary: Canary, cortex: Cortex, **options: Any) -> None:
    canary.look("reply", await cortex.complete("Hi", **options))


async def _stream(canary: Canary, cortex: Cortex, **options: Any) -> None:
    async with cortex.chat("Hi", on_interrupt="restart", **options) as answer:
        canary.look("stream", answer)
        async for event in answer:
            canary.look("event", event)
        canary.look("ledger", answer.attempts)


async def _embed(canary: Canary, cortex: Cortex, **options: Any) -> None:
    canary.look("vectors", await cortex.embed("Hi"))


def no_url_shows_a_key(sim: Simulator) -> bool:
    """The keys were sent, and not in a URL."""
    requests = [request for provider in sim.providers.values() for request in provider.requests]
    assert any(MARK in (request.key or "") for request in requests)
    return not any(MARK in f"{request.path} {request.query}" for request in requests)


# ------------------------------------------------------------------ responses of providers


def echoes(key: str) -> dict[str, Behaviour]:
    """Every place in which a provider may repeat a key."""
    said = f"Incorrect API key provided: {key}. Try again."
    error = {"error": {"message": said, "type": key, "code": key, "status": key, "param": key}, "code": key}
    anthropic = {"type": "error", "error": {"type": key, "message": said}, "request_id": key}
    google = [{"error": {"code": 400, "message": said, "details": [{"reason": key}]}}]
    named = {"id": key, "model": key, "choices": [{"delta": {"content": "a"}, "finish_reason": "stop"}]}
    names = "x-request-id request-id www-authenticate retry-after x-should-retry server"
    headers = dict.fromkeys(names.split(), key)
    sse = "text/event-stream"
    return {
        "a 401": Behaviour(status=401, error_body=json.dumps(error)),
        "a 400 of xAI's": Behaviour(status=400, error_body=json.dumps({"code": key, "error": said})),
        "a 400 of Google's": Behaviour(status=400, error_body=json.dumps(google)),
        "a 403 in Anthropic's shape": Behaviour(status=403, error_body=json.dumps(anthropic)),
        "a 429": Behaviour(status=429, error_body=json.dumps(error), retry_after=1),
        "a 500 in plain text": Behaviour(status=500, error_body=said, content_type="text/plain"),
        "a page of a proxy": Behaviour(
            status=502, error_body=f"<html>{said}</html>", content_type="text/html"
        ),
        "its beginning": Behaviour(status=401, error_body=said.replace(key, key[:30] + "...")),
        "its end": Behaviour(status=401, error_body=said.replace(key, "..." + key[8:])),
        "cut off": Behaviour(status=401, error_body=said[: said.index(key) + 26]),
        "in capitals and not": Behaviour(status=401, error_body=said.replace(key, key.lower())),
        "headers": Behaviour(status=401, headers=headers),
        "headers of a good answer": Behaviour(headers=headers),
        "a content type": Behaviour(body=b"?", content_type=key),
        "an encoding": Behaviour(headers={"content-encoding": key}),
        "a list of models": Behaviour(status=401, error_body=json.dumps(error)),
        "the names of a good answer": Behaviour(
            body=f"data: {json.dumps(named)}\n\n".encode(), content_type=sse
        ),
        "inside a stream": Behaviour(body=f"data: {json.dumps(error)}\n\n".encode(), content_type=sse),
        "inside Anthropic's": Behaviour(
            body=f"event: error\ndata: {json.dumps(anthropic)}\n\n".encode(), content_type=sse
        ),
        "inside NDJSON": Behaviour(
            body=json.dumps({"error": said}).encode() + b"\n", content_type="application/x-ndjson"
        ),
        "as the whole answer": Behaviour(body=json.dumps(error).encode()),
        "as malformed JSON": Behaviour(body=f'data: {{"{key}": {key}\n\n'.encode(), content_type=sse),
        "as no event at all": Behaviour(body=f"{key}\n\n{key}".encode(), content_type=sse),
        "as a page": Behaviour(body=f"<html>{said}</html>".encode(), content_type="text/html"),
        "as a list that is none": Behaviour(
            body=json.dumps({"data": [{"id": {key: key}}], "models": key}).encode()
        ),
    }


@pytest.mark.slow
@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("how", echoes(""))
async def test_a_key_that_a_provider_repeats(
    how: str, dialect: str, canary: Canary, autojump_clock: object
) -> None:
    def repeat(request: SimRequest) -> Behaviour:
        return echoes(request.key or "")[how]

    async with open_simulator() as sim:
        provider = a_provider(sim, dialect, repeat)
        provider.behave_health(repeat)
        a_provider(sim, "openai", Behaviour(status=503), name="another")
        async with open_gateway(
            sim, max_attempts=6, on_event=lambda event: canary.look("on_event", event)
        ) as cortex:
            await everything(canary, cortex)
        assert no_url_shows_a_key(sim)


# ------------------------------------------------------------------ faults of the network

BROKEN = {
    "served": Behaviour(),
    "refused": Behaviour(refuse=True),
    "slow to connect": Behaviour(connect_after=60),
    "silent": Behaviour(silent=True),
    "reset": Behaviour(reset_after=0),
    "reset in the middle": Behaviour(reset_after=2),
    "cut": Behaviour(cut_after=2),
    "cut in a chunk": Behaviour(cut_mid_chunk=2),
    "garbled": Behaviour(garble_after=1),
    "stalled": Behaviour(stall_after=2),
    "no end of headers": Behaviour(endless_headers=True),
    "empty": Behaviour(text=""),
    "closed on reuse": Behaviour(close_on_reuse=True),
    "an error in the stream": Behaviour(error=FailureKind.OVERLOADED, error_after=1),
}


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("fault", BROKEN)
async def test_a_fault_of_the_network(
    fault: str, dialect: str, canary: Canary, autojump_clock: object
) -> None:
    async with open_simulator() as sim:
        a_provider(sim, dialect, BROKEN[fault]).behave_health(BROKEN[fault])
        async with open_gateway(sim, on_event=lambda event: canary.look("on_event", event)) as cortex:
            await everything(canary, cortex, hedge_after=1.0)
            with trio.move_on_after(0):
                await everything(canary, cortex)


RAW = {
    "a bad status line": "HTTP/1.1 {key} {key}\r\n\r\n",
    "no HTTP": "{key}\r\n\r\n",
    "a cut head": "HTTP/1.1 200 OK\r\nx-echo: {key}",
    "a bad header": "HTTP/1.1 200 OK\r\n{key} {key}\x00: {key}\r\n\r\n",
    "a bad length": "HTTP/1.1 200 OK\r\ncontent-length: {key}\r\n\r\n",
    "a bad chunk": "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{key}\r\n{key}",
    "a bad reason": "HTTP/1.1 401 {key}\r\nx-request-id: {key}\r\ncontent-length: 0\r\n\r\n",
    "a redirect": "HTTP/1.1 302 Found\r\nlocation: http://{key}/?key={key}\r\ncontent-length: 0\r\n\r\n",
    "nothing at all": "",
}


@pytest.mark.parametrize("fault", RAW)
@pytest.mark.slow
async def test_a_malformed_http_response_that_repeats_the_key(fault: str, canary: Canary) -> None:
    key = marked_key("raw")

    async def answer(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some(65536)
            await stream.send_all(RAW[fault].format(key=key).encode("latin-1"))

    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, answer, 0, host="127.0.0.1"))
        port = listener.socket.getsockname()[1]
        worker = WorkerConfig(provider="openai", api_keys=[key], base_url=f"http://127.0.0.1:{port}/v1")
        config = Config(workers={"raw": worker}, health_check_interval=0, max_attempts=2)
        async with open_cortex(config, on_event=lambda event: canary.look("on_event", event)) as cortex:
            await everything(canary, cortex)
        nursery.cancel_scope.cancel()


# ------------------------------------------------------------------ bugs of this library


class _Broken:
    """A dialect with a bug in one method."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._correct = PROVIDERS["openai"].dialect

    @property
    def name(self) -> str:
        return "broken"

    def __getattr__(self, what: str) -> Any:
        if what != self._place:
            return getattr(self._correct, what)

        def bug(*_: object, **__: object) -> Any:
            raise RuntimeError("a bug")

        return bug


@pytest.mark.parametrize("place", ["encode", "decoder", "decode_models", "encode_embed", "decode_embed"])
async def test_a_bug_in_a_dialect(place: str, canary: Canary, autojump_clock: object) -> None:
    buggy = attrs.evolve(PROVIDERS["openai"], name="buggy", dialect=_Broken(place), health_lists_models=False)
    async with open_simulator() as sim:
        provider = a_provider(sim, "openai")
        workers = {"buggy": attrs.evolve(provider.worker(), provider=buggy)}
        async with open_gateway(
            sim, workers, on_event=lambda event: canary.look("on_event", event)
        ) as cortex:
            try:
                await everything(canary, cortex)
            except RuntimeError as error:
                canary.look("a bug that was raised", error)


async def test_actors_that_crash(canary: Canary, autojump_clock: object) -> None:
    async with open_simulator() as sim:
        a_provider(sim, "openai")
        async with open_gateway(sim, on_event=lambda event: canary.look("on_event", event)) as cortex:
            await everything(canary, cortex)
            cortex.actor("keys").cast(KeyManager.report, None)  # type: ignore[arg-type]
            cortex.actor("openai").cast(Worker.settle, None)  # type: ignore[arg-type]
            await trio.testing.wait_all_tasks_blocked()
            for actor in ("registry", "keys", "workers", "health", "openai"):
                await trio.sleep(10)
                cortex.actor(actor).kill()
                await everything(canary, cortex)


# ------------------------------------------------------------------ configuration


def wrong_configurations(key: str) -> dict[str, Callable[[], object]]:
    def environ(**variables: str) -> Callable[[], object]:
        return lambda: Config.from_env(variables)

    def mapping(settings: object) -> Callable[[], object]:
        return lambda: Config.from_mapping({"openai": settings})

    return {
        "half a JSON": environ(CORTEX_PROVIDERS=f'{{"openai": {{"api_keys": ["{key}"]'),
        "not an object": environ(CORTEX_PROVIDERS=json.dumps([key])),
        "a key with a line break": mapping({"api_keys": [f"{key}\n{key}"]}),
        "a key with a letter of its own": mapping({"api_keys": [f"{key}é"]}),
        "one key for all": mapping({"api_keys": key}),
        "a key of a key": mapping({"api_keys": [[key]]}),
        "a wrong field beside it": mapping({"api_keys": [key], "timeout": "soon"}),
        "an unknown field beside it": mapping({"api_keys": [key], "tomorrow": 1}),
        "a wrong priority": mapping({"api_keys": [key], "priority": -1}),
        "a wrong variable": environ(OPENAI_API_KEY=key, OPENAI_TIMEOUT="soon"),
        "a wrong strategy": environ(OPENAI_API_KEYS=f"{key},{key}2", WORKER_POOL_STRATEGY="best"),
        "a wrong address": lambda: WorkerConfig(provider="openai", api_keys=[key], base_url="ftp://x"),
        "a wrong provider": lambda: WorkerConfig(provider="unknown", api_keys=[key]),
        "not a string": lambda: WorkerConfig(provider="openai", api_keys=[key.encode()]),  # type: ignore[list-item]
    }


@pytest.mark.parametrize("wrong", wrong_configurations(""))
def test_a_wrong_configuration(wrong: str, canary: Canary) -> None:
    with pytest.raises(ConfigError) as caught:
        wrong_configurations(marked_key("config"))[wrong]()
    canary.look("config", caught.value)
    canary.looked_at += 10


async def test_a_wrong_configuration_of_a_running_gateway(canary: Canary, autojump_clock: object) -> None:
    key = marked_key("late")
    async with open_simulator() as sim:
        a_provider(sim, "openai")
        async with open_gateway(sim) as cortex:
            for attempt in (
                lambda: cortex.add_worker("openai", {"api_keys": [key]}),
                lambda: cortex.add_worker("anthropic", {"api_keys": [f"{key}\r\n"], "priority": "high"}),
                lambda: cortex.reload({"openai": {"api_keys": [key], "models": [""]}}),
            ):
                with pytest.raises(ConfigError) as caught:
                    await attempt()
                canary.look("config", caught.value)
            await everything(canary, cortex)


def test_the_canary_finds_a_key_everywhere() -> None:
    """In a log, in the text of an error, in a local variable of a frame, in a value."""
    canary, key = Canary(), marked_key("openai")
    record = logging.LogRecord("httpcore", logging.DEBUG, __file__, 1, "sent %s", (key,), None)
    canary.logs.handle(record)
    canary.look("value", {"authorization": key})
    try:
        os.fspath(key.encode)  # type: ignore[call-overload]
    except TypeError as error:
        error.args = (key,)
        canary.look("error", error)
    try:
        json.loads(key)
    except ValueError as error:
        canary.look("locals", error)
    assert {leak.split(":")[0] for leak in canary.leaks} == {"log httpcore", "value", "error", "locals"}
