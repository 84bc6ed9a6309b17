"""Content is not what a limit is for: an image of 20 MB in one event and an answer of 64 MiB on one line are read."""

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hearing import heard

from cortex_trio.events import Finished, TextDelta, WholePart, WireEvent
from cortex_trio.gateway.request.non_streaming import NonStreamingFallback
from cortex_trio.messages import Image
from cortex_trio.providers import PROVIDERS
from cortex_trio.wire.codec import Dialect

IMAGE_BYTES = 20_000_000
TEXT_CHARACTERS = 64 * 1024 * 1024


def sse(*payloads: Any) -> bytes:
    return b"".join(b"data: " + json.dumps(payload).encode() + b"\n\n" for payload in payloads)


def arriving(body: bytes) -> Iterator[bytes]:
    """As the network hands it over."""
    return (body[at : at + 65_536] for at in range(0, len(body), 65_536))


def gemini(image: str) -> dict[str, Any]:
    parts = [{"inlineData": {"mimeType": "image/png", "data": image}}]
    return {"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}]}


def chat(image: str) -> dict[str, Any]:
    shown = {"images": [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image}"}}]}
    return {"choices": [{"index": 0, "delta": shown, "finish_reason": "stop"}]}


def responses(image: str) -> list[dict[str, Any]]:
    made = {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": image}
    return [
        {"type": "response.output_item.done", "output_index": 0, "item": made},
        {"type": "response.completed", "response": {"status": "completed", "output": [made]}},
    ]


IMAGES: dict[str, tuple[str, Callable[[str], bytes]]] = {
    "gemini": ("gemini", lambda image: sse(gemini(image))),
    "gemini, an array": ("gemini", lambda image: json.dumps([gemini(image)]).encode()),
    "chat completions": ("openai_compatible", lambda image: sse(chat(image))),
    "responses": ("openai_responses", lambda image: sse(*responses(image))),
}


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.slow
def test_an_image_of_20_mb_may_come_in_one_event(name: str) -> None:
    provider, answer = IMAGES[name]
    image = bytes(IMAGE_BYTES)
    body = answer(base64.b64encode(image).decode())
    [shown, end] = heard(PROVIDERS[provider].dialect, arriving(body))
    assert isinstance(end, Finished)
    assert isinstance(shown, WholePart)
    assert isinstance(shown.part, Image)
    assert shown.part.data == image


def said(text: str) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": text}]}


WHOLE: dict[str, Callable[[str], dict[str, Any]]] = {
    "openai": lambda text: {"choices": [{"message": {"content": text}, "finish_reason": "stop"}]},
    "openai_responses": lambda text: {"status": "completed", "output": [{"type": "message", **said(text)}]},
    "anthropic": lambda text: {**said(text), "stop_reason": "end_turn"},
    "gemini": lambda text: {"candidates": [{"content": {"parts": [{"text": text}]}, "finishReason": "STOP"}]},
    "cohere": lambda text: {"message": said(text), "finish_reason": "COMPLETE"},
    "ollama": lambda text: {"message": {"content": text}, "done": True, "done_reason": "stop"},
}


@pytest.fixture(scope="module")
def text() -> str:
    return "x" * TEXT_CHARACTERS


def held(dialect: Dialect, body: bytes) -> list[WireEvent]:
    decoder = NonStreamingFallback(dialect, dialect.decoder())
    return [event for data in arriving(body) for event in decoder.feed(data)] + decoder.finish()


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.slow
def test_a_whole_answer_may_have_64_mib_of_text(name: str, text: str) -> None:
    said, end = held(PROVIDERS[name].dialect, json.dumps(WHOLE[name](text)).encode())
    assert isinstance(end, Finished)
    assert said == TextDelta(text)


@pytest.mark.slow
def test_a_line_may_have_64_mib_of_text(text: str) -> None:
    body = json.dumps(WHOLE["ollama"](text)).encode() + b"\n"
    assert heard(PROVIDERS["ollama"].dialect, arriving(body))[0] == TextDelta(text)


@pytest.mark.slow
def test_an_event_may_have_64_mib_of_text(text: str) -> None:
    event = {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": "stop"}]}
    assert heard(PROVIDERS["openai"].dialect, arriving(sse(event)))[0] == TextDelta(text)
