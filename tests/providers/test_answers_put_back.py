"""Recorded answers, put back as history, keep all that must go back: signatures, indexes, calls, blocks, texts.

What must go back is read off the recorded bytes by field name, without the dialects.
"""

import base64
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conversation import Model

from cortex_trio.events import ReplyBuilder
from cortex_trio.messages import ChatRequest, Message, ToolCall, ToolResult, tool, user
from cortex_trio.providers import PROVIDERS

Json = Any

DIALECTS = {"anthropic": "anthropic", "gemini": "gemini", "cohere": "cohere", "ollama": "ollama"}
"""Our provider for the name that a dialect has in the corpus; its folder has the same name."""

OPAQUE_FIELDS = {
    "signature",  # of Anthropic's thinking
    "encrypted_index",
    "encrypted_content",
    "thoughtSignature",
    "thought_signature",
}


def recorded(shared: Path) -> Iterator[tuple[str, str, bytes, bool]]:
    """Where an answer is from, its provider, its body, and whether it is a stream."""
    for folder in ("recordings", "constructed"):
        for name in DIALECTS.values():
            for path in sorted((shared / "wire" / folder / name).iterdir()):
                if path.name.endswith((".sse", ".ndjson", ".json")) and not path.name.endswith(".meta.json"):
                    streams = path.suffix != ".json" or path.name.startswith("stream_json_array")
                    yield f"{folder}/{name}/{path.name}", name, path.read_bytes(), streams
    with gzip.open(shared / "wire" / "corpus" / "answers.jsonl.gz", "rt", encoding="utf-8") as lines:
        for place, line in enumerate(lines):
            answer = json.loads(line)
            if answer["dialect"] in DIALECTS:
                body = base64.b64decode(answer["body"])
                yield f"corpus {place}", DIALECTS[answer["dialect"]], body, answer["kind"] == "stream"


def heard(name: str, body: bytes, streams: bool) -> Message | None:
    """The message of a whole answer; None for an error, a list or an answer that was cut."""
    model = Model(name, PROVIDERS[name].default_models[0])
    built = ReplyBuilder(model.origin)
    dialect = PROVIDERS[name].dialect
    if streams:
        decoder = dialect.decoder()
        events = [*decoder.feed(body), *decoder.finish()]
    else:
        events = dialect.decode_reply(body)
    built.add_all(events)
    return built.message() if built.finish is not None and built.message().parts else None


def sent_back(name: str, message: Message) -> Json:
    """The part of the next request that holds the answer, which the server side accepts."""
    model = Model(name, PROVIDERS[name].default_models[0])
    calls = [part for part in message.parts if isinstance(part, ToolCall)]
    results = [tool(*(ToolResult(call.id, "ok", call.name) for call in calls))] if calls else []
    http = model.encode(ChatRequest(messages=(user("Hi"), message, *results, user("Go on"))))
    model.accept(http)
    return json.loads(http.body or b"")


def payloads(body: bytes) -> Iterator[Json]:
    try:
        yield json.loads(body)
        return
    except ValueError:
        pass
    for line in body.split(b"\n"):
        text = line.strip().removeprefix(b"data:")
        try:
            yield json.loads(text)
        except ValueError:
            continue


def opaque_values(value: Json) -> Iterator[str]:
    """Every value under one of OPAQUE_FIELDS, of the first candidate."""
    match value:
        case {"candidates": [one, *_]}:
            yield from opaque_values(one)
        case {"type": "redacted_thinking", "data": str(data)}:
            yield data
        case dict():
            for name, inner in value.items():
                if name in OPAQUE_FIELDS and isinstance(inner, str):
                    yield from [inner] if inner else []
                else:
                    yield from opaque_values(inner)
        case list():
            for inner in value:
                yield from opaque_values(inner)
        case _:
            pass


def strings(value: Json) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for inner in value.values():
                yield from strings(inner)
        case list():
            for inner in value:
                yield from strings(inner)
        case _:
            pass


def texts(value: Json) -> Iterator[str]:
    """The texts of a request, in order."""
    match value:
        case {"text": str(text)} | {"content": str(text)}:
            yield text
        case dict():
            for inner in value.values():
                yield from texts(inner)
        case list():
            for inner in value:
                yield from texts(inner)
        case _:
            pass


def calls_in(name: str, body: Json) -> list[tuple[str, Json]]:
    """Names and arguments of the calls in a request."""
    match name:
        case "anthropic":
            blocks = [
                block for turn in body["messages"] for block in turn["content"] if isinstance(block, dict)
            ]
            return [(block["name"], block["input"]) for block in blocks if block["type"] == "tool_use"]
        case "gemini":
            parts = [part for content in body["contents"] for part in content["parts"]]
            return [
                (part["functionCall"]["name"], part["functionCall"]["args"])
                for part in parts
                if "functionCall" in part
            ]
        case _:
            made = [
                call["function"] for message in body["messages"] for call in message.get("tool_calls", ())
            ]
            read = json.loads if name == "cohere" else dict
            return [(function["name"], read(function["arguments"])) for function in made]


def test_recorded_answers_put_back_lose_nothing_that_must_go_back(shared_dir: Path) -> None:
    counted: dict[str, int] = dict.fromkeys(DIALECTS.values(), 0)
    opaque = 0
    for where, name, body, streams in recorded(shared_dir):
        message = heard(name, body, streams)
        if message is None:
            continue
        again = sent_back(name, message)
        found = set(strings(again))
        wanted = {value for payload in payloads(body) for value in opaque_values(payload)}
        assert wanted <= found, where
        calls = [part for part in message.parts if isinstance(part, ToolCall)]
        assert calls_in(name, again) == [(call.name, call.parsed()) for call in calls], where
        assert "".join(message.text.split()) in "".join("".join(texts(again)).split()), where
        counted[name] += 1
        opaque += len(wanted)
    assert all(count >= 8 for count in counted.values()), counted
    assert opaque >= 40


@pytest.mark.parametrize("name", DIALECTS.values())
def test_a_history_of_another_model_goes_too(shared_dir: Path, name: str) -> None:
    """The same answers, sent to each other provider: nothing is refused, and nothing that is opaque goes."""
    others = [other for other in DIALECTS.values() if other != name]
    for where, provider, body, streams in recorded(shared_dir):
        if provider != name or (message := heard(name, body, streams)) is None:
            continue
        wanted = {value for payload in payloads(body) for value in opaque_values(payload)}
        for other in others:
            found = set(strings(sent_back(other, message)))
            assert not wanted & found, (where, other)
