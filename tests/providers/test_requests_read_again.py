"""Requests at random and requests that were recorded: read by the server side, they are encoded as they were."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from conversation import MODELS_OF, TOOLS, Model, Talk
from recorded_requests import with_whole_images
from test_options import random_request
from test_recorded_requests import FOLDERS, is_chat

from cortex_trio.failures import InvalidRequest
from cortex_trio.messages import ChatRequest
from cortex_trio.providers import PROVIDERS
from cortex_trio.simulator.request import SimRequest
from cortex_trio.simulator.servers import SERVERS
from cortex_trio.wire.codec import HttpRequest

NAMES = sorted(PROVIDERS)


def read(model: Model, http: HttpRequest) -> ChatRequest:
    return read_as(model.name, model.received(http))


def read_as(name: str, request: SimRequest) -> ChatRequest:
    return SERVERS[name].dialect_for(request).chat_request(request.received(), origin=None)


def assert_stable(model: Model, request: ChatRequest) -> None:
    first = model.encode(request)
    second = model.encode(read(model, first))
    assert spelled(json.loads(second.body or b"")) == spelled(json.loads(first.body or b""))
    assert (second.path, second.headers) == (first.path, first.headers)


def spelled(value: Any) -> Any:
    """One text as content may be a string or a list of one part: they mean the same."""
    match value:
        case [{"type": "text" | "input_text", "text": str(text)}]:
            return text
        case list():
            return [spelled(item) for item in value]
        case dict():
            return {name: spelled(item) for name, item in value.items()}
        case _:
            return value


@pytest.mark.parametrize("name", NAMES)
def test_random_options_are_read_as_they_were_encoded(name: str) -> None:
    chance = random.Random(name)
    for _ in range(300):
        model, request = chance.choice(MODELS_OF[name]), random_request(chance)
        try:
            model.encode(request)
        except InvalidRequest:
            continue
        assert_stable(model, request)


@pytest.mark.parametrize("name", NAMES)
def test_random_conversations_are_read_as_they_were_encoded(name: str) -> None:
    chance = random.Random(name)
    for _ in range(10):
        talk = Talk(chance, url_images=name != "ollama")
        for _ in range(6):
            model = chance.choice(MODELS_OF[name])
            if not talk.waits_for_the_model:
                talk.ask()
            request = ChatRequest(messages=tuple(talk.messages), tools=TOOLS)
            assert_stable(model, request)
            talk.hear(model.answer(model.accept(model.encode(request)), talk.script(name)))


def test_every_recorded_chat_request_is_read_and_encoded_again(shared_dir: Path) -> None:
    compared, wrong = 0, []
    for folder, provider in FOLDERS.items():
        for meta_file in sorted((shared_dir / "wire/recordings" / folder).glob("*.meta.json")):
            body = json.loads(meta_file.read_text()).get("request_body")
            if not is_chat(meta_file.name.removesuffix(".meta.json"), body):
                continue
            name = f"{provider}_responses" if "input" in body else provider
            model = Model(name, body.get("model", "m"))
            compared += 1
            body = with_whole_images(body)
            path = model.encode(ChatRequest(messages=(), stream=bool(body.get("stream")))).path
            http = HttpRequest("POST", path, json.dumps(body).encode())
            try:
                assert_stable(model, read(model, http))
            except Exception as error:  # all of them are listed, not the first
                wrong.append(f"{folder}/{meta_file.name}: {error!r:.600}")
    assert not wrong, "\n".join(wrong)
    assert compared > 95
