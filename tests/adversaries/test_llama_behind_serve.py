"""llama.cpp's server behind `cortex-trio serve`, killed, frozen and started again: see `llama_process`."""

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, final

import attrs
import httpx
import pytest
import trio
from cli_process import PATIENCE_SECONDS, environment, simulated
from counting_model import (
    FROM_THE_START,
    LAST,
    NEAR_THE_END,
    TEN,
    TOO_LONG,
    count,
    is_cut,
)
from llama_process import Llama, running
from serve_process import serving, until

from cortex_trio.simulator import Behaviour
from cortex_trio.wire.sse import SseReader

pytestmark = pytest.mark.slow

RESCUE = "The fallback's answer."


@final
@attrs.frozen
class Api:
    """How a client asks through one API, and what it reads."""

    path: str
    question: str
    more: Mapping[str, Any]
    whole: Callable[[Any], str]
    """The text of a whole answer."""
    delta: Callable[[Any], str]
    """The text of one event."""
    last: str
    """What a stream that is whole ends with."""
    error: str
    """What is in the event of an error."""


APIS = {
    "chat": Api(
        "/v1/chat/completions",
        "messages",
        {},
        lambda body: body["choices"][0]["message"]["content"],
        lambda event: "".join(choice["delta"].get("content") or "" for choice in event.get("choices", ())),
        "[DONE]",
        '"error":',
    ),
    "messages": Api(
        "/v1/messages",
        "messages",
        {"max_tokens": 2 * LAST},
        lambda body: body["content"][0]["text"],
        lambda event: event["delta"].get("text", "") if event["type"] == "content_block_delta" else "",
        '"message_stop"',
        '"type":"error"',
    ),
    "responses": Api(
        "/v1/responses",
        "input",
        {},
        lambda body: body["output"][0]["content"][0]["text"],
        lambda event: event["delta"] if event["type"] == "response.output_text.delta" else "",
        '"response.completed"',
        '"response.failed"',
    ),
}
LANES = {
    "chat-native": ("chat", "openai_compatible"),
    "messages-native": ("messages", "anthropic"),
    "responses-native": ("responses", "openai_responses"),
    "messages-translated": ("messages", "openai_compatible"),
    "responses-translated": ("responses", "openai_compatible"),
}
every_lane = pytest.mark.parametrize(("name", "provider"), LANES.values(), ids=LANES)


@final
@attrs.frozen
class Said:
    """What a client got out of a stream."""

    text: str
    events: Sequence[str]


@final
@attrs.frozen
class Client:
    """A client of `cortex-trio serve` that speaks one API."""

    http: httpx.AsyncClient
    api: Api

    def request(self, text: str, *, stream: bool = False, how: str = "raise") -> httpx.Request:
        messages = [{"role": "user", "content": text}]
        body = {"model": "auto", self.api.question: messages, "stream": stream, **self.api.more}
        return self.http.build_request(
            "POST", self.api.path, json=body, headers={"x-cortex-on-interrupt": how}
        )

    async def ask(self, text: str) -> httpx.Response:
        return await self.http.send(self.request(text))

    async def listen(self, text: str, llama_to_kill: Llama | None = None, *, how: str = "raise") -> Said:
        """Ask for a stream and read it to its end; kill the server behind the first text."""
        said, events, reader = "", list[str](), SseReader()
        response = await self.http.send(self.request(text, stream=True, how=how), stream=True)
        try:
            assert response.status_code == 200
            async for data in response.aiter_raw():
                for event in reader.feed(data):
                    events.append(event.data)
                    said += self.api.delta(json.loads(event.data)) if event.data != "[DONE]" else ""
                    if said and llama_to_kill is not None and llama_to_kill.process.poll() is None:
                        await llama_to_kill.kill()
        finally:
            await response.aclose()
        return Said(said, events)


@asynccontextmanager
async def served(tmp_path: Path, api: Api, **workers: Mapping[str, Any]) -> AsyncIterator[Client]:
    """Serve with these workers, the first one first, and yield a client."""
    path = tmp_path / "gateway.json"
    in_order = {name: {**entry, "priority": place} for place, (name, entry) in enumerate(workers.items())}
    path.write_text(json.dumps({**in_order, "$settings": {"health_check_interval": 100}}))
    async with serving(tmp_path, "--config", str(path), env=environment()) as server:
        patience = httpx.Timeout(PATIENCE_SECONDS)
        async with httpx.AsyncClient(base_url=server.url, timeout=patience, trust_env=False) as http:
            with trio.fail_after(PATIENCE_SECONDS):
                yield Client(http, api)
        assert await server.stop() == 0
        assert "Traceback" not in server.err.read_text()


@asynccontextmanager
async def rescue() -> AsyncIterator[Mapping[str, Any]]:
    """A simulated provider that answers when llama.cpp does not; yields its entry in a configuration."""
    async with simulated(openai=Behaviour(text=RESCUE)) as sim:
        provider = sim.providers["openai"]
        keys, models = ["sk-of-openai-0001"], list(provider.models)
        yield {"provider": "openai", "base_url": provider.url, "api_keys": keys, "models": models}


@every_lane
async def test_clients_of_the_server_get_its_answers_whole(
    llama: Llama, tmp_path: Path, name: str, provider: str
) -> None:
    async with served(tmp_path, APIS[name], llama=llama.entry(provider)) as client:
        answer = await client.ask(NEAR_THE_END)
        assert answer.status_code == 200
        assert client.api.whole(answer.json()) == TEN
        said = await client.listen(NEAR_THE_END)
        assert said.text == TEN
        assert client.api.last in said.events[-1]
        refused = await client.ask(TOO_LONG)
        assert refused.status_code == 400
        assert "context" in refused.text


@every_lane
async def test_while_it_computes_it_is_killed_and_the_fallback_answers(
    llama: Llama, tmp_path: Path, name: str, provider: str
) -> None:
    async with (
        rescue() as entry,
        served(tmp_path, APIS[name], llama=llama.entry(provider), rescue=entry) as client,
    ):
        async with trio.open_nursery() as nursery:
            answers = list[httpx.Response]()

            async def ask() -> None:
                answers.append(await client.ask(FROM_THE_START))

            nursery.start_soon(ask)
            await until(llama.is_computing)
            await llama.kill()
        assert answers[0].status_code == 200
        assert client.api.whole(answers[0].json()) == RESCUE
        assert answers[0].headers["x-cortex-worker"] == "rescue"
        assert answers[0].headers["x-cortex-attempts"] == "2"


async def test_when_it_hangs_the_fallback_answers_and_it_is_used_again(llama: Llama, tmp_path: Path) -> None:
    worker = llama.entry(timeout=500)
    async with rescue() as entry, served(tmp_path, APIS["chat"], llama=worker, rescue=entry) as client:
        await llama.freeze()
        said = await client.listen(NEAR_THE_END)
        assert said.text == RESCUE
        llama.thaw()
        await until(lambda: is_answered_by(client, "llama"))


@every_lane
async def test_a_stream_that_was_killed_ends_with_an_error(
    llama: Llama, tmp_path: Path, name: str, provider: str
) -> None:
    async with (
        rescue() as entry,
        served(tmp_path, APIS[name], llama=llama.entry(provider), rescue=entry) as client,
    ):
        said = await client.listen(FROM_THE_START, llama)
        assert is_cut(said.text)
        assert client.api.error in said.events[-1]
        assert not any(client.api.last in event for event in said.events)


@every_lane
async def test_the_client_may_have_another_one_continue_it(
    llama: Llama, llama_program: str, llama_model: Path, tmp_path: Path, name: str, provider: str
) -> None:
    async with running(llama_program, llama_model) as other:
        workers = {"llama": llama.entry(provider), "other": other.entry()}
        async with served(tmp_path, APIS[name], **workers) as client:
            said = await client.listen(FROM_THE_START, llama, how="continue")
            assert said.text == count(1)
            assert client.api.last in said.events[-1]


async def test_it_stops_computing_when_the_client_leaves(llama: Llama, tmp_path: Path) -> None:
    async with served(tmp_path, APIS["chat"], llama=llama.entry()) as client:
        request = client.request(FROM_THE_START, stream=True)
        head = b"".join(b"%b: %b\r\n" % field for field in request.headers.raw)
        connection = await trio.open_tcp_stream(request.url.host, request.url.port or 0)
        await connection.send_all(
            b"POST %b HTTP/1.1\r\n%b\r\n%b" % (request.url.raw_path, head, request.content)
        )
        while b"delta" not in await connection.receive_some():
            pass
        await connection.aclose()
        await until(llama.is_idle)
        assert 0 < max(slot.get("n_prompt_tokens", 0) for slot in await llama.slots()) < LAST


async def test_killed_and_started_again_on_its_port_it_is_used_again(llama: Llama, tmp_path: Path) -> None:
    async with rescue() as entry, served(tmp_path, APIS["chat"], llama=llama.entry(), rescue=entry) as client:
        assert await is_answered_by(client, "llama")
        await llama.kill()
        for _ in range(5):  # the breaker opens after three
            assert await is_answered_by(client, "rescue")
        await llama.start_again()
        # It first says 503 to everything while it loads its model: these calls, too, are answered whole.
        await until(lambda: is_answered_by(client, "llama"))


async def is_answered_by(client: Client, worker: str) -> bool:
    """Ask, check that the answer is whole, and return whether this worker gave it."""
    answer = await client.ask(NEAR_THE_END)
    by = answer.headers["x-cortex-worker"]
    assert (answer.status_code, client.api.whole(answer.json())) == (200, TEN if by == "llama" else RESCUE)
    return bool(by == worker)
