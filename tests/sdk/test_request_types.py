"""The request types of the providers' own clients accept what the dialects encode, field by field."""

import functools
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from asked import requests

from cortex_trio.events import ReplyBuilder
from cortex_trio.messages import ChatRequest, ToolResult, tool, user
from cortex_trio.providers import PROVIDERS
from cortex_trio.wire.anthropic_messages.decode import decode_message
from cortex_trio.wire.codec import Unsupported

pydantic = pytest.importorskip("pydantic")

Json = dict[str, Any]


def encoded(name: str) -> Iterator[tuple[str, Json]]:
    """All requests that the dialect can express, as they are sent to the provider's default model."""
    provider = PROVIDERS[name]
    for what, request in requests():
        try:
            http = provider.dialect.encode(request, name, provider.default_models[0])
        except Unsupported:
            continue
        yield what, json.loads(http.body or b"")


def assert_accepted(name: str, validate: Callable[[Json], object], at_least: int) -> None:
    """Each body is accepted, and no field of it is unknown: the types drop those without an error."""
    count = 0
    for what, body in encoded(name):
        assert plain(validate(body)) == plain(body), what
        count += 1
    assert count >= at_least


def plain(value: Any) -> Any:
    """A value of any type as JSON has it. Iterables of a type are checked only when they are read."""
    match value:
        case str() | int() | float() | bool() | None:
            return value
        case pydantic.BaseModel():
            return plain(value.model_dump(mode="json", by_alias=True, exclude_unset=True))
        case Mapping():
            return {name: plain(item) for name, item in value.items()}
        case _:
            return [plain(item) for item in value]


@pytest.mark.slow
def test_anthropic_accepts_every_request() -> None:
    anthropic = pytest.importorskip("anthropic.types")
    types = pytest.importorskip("anthropic.types.message_create_params")
    adapters = {
        True: pydantic.TypeAdapter(types.MessageCreateParamsStreaming),
        False: pydantic.TypeAdapter(types.MessageCreateParamsNonStreaming),
    }

    messages = pydantic.TypeAdapter(anthropic.MessageParam)

    @functools.cache  # most messages are in many requests
    def message(text: str) -> Any:
        return plain(messages.validate_python(json.loads(text)))

    def validate(body: Json) -> Json:
        """This client no longer types what its newest models refuse; the API takes it for all others."""
        sampling = {name: body[name] for name in ("temperature", "top_p") if name in body}
        options = plain(adapters[body["stream"]].validate_python({**body, "messages": ()}))
        said = [message(json.dumps(one)) for one in body["messages"]]
        return {**options, **sampling, "messages": said}

    assert_accepted("anthropic", validate, at_least=100)


def test_anthropic_accepts_what_goes_back_of_its_own_tools() -> None:
    types = pytest.importorskip("anthropic.types.beta.message_create_params")
    adapter = pydantic.TypeAdapter(types.MessageCreateParams)
    code = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "code_execution", "input": {"code": "f()"}}
    caller = {"type": "code_execution_20250825", "tool_id": "srvtoolu_1"}
    call = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}, "caller": caller}
    citation = {
        "type": "web_search_result_location",
        "url": "https://example.org",
        "title": "E",
        "encrypted_index": "Eo8B",
        "cited_text": "It rains.",
    }
    said = {"type": "text", "text": "It rains", "citations": [citation]}
    compaction = {"type": "compaction", "content": "They spoke of rain."}
    message = {"content": [compaction, said, code, call], "stop_reason": "tool_use", "container": {"id": "c"}}
    built = ReplyBuilder("anthropic/m")
    built.add_all(decode_message(json.dumps(message).encode()))
    request = ChatRequest(messages=(user("Hi"), built.message(), tool(ToolResult("toolu_1", "rain"))))
    body = json.loads(PROVIDERS["anthropic"].dialect.encode(request, "anthropic", "m").body or b"")
    assert plain(adapter.validate_python(body)) == body
    assert body["messages"][1]["content"] == message["content"]
    assert body["container"] == "c"


@pytest.mark.slow
def test_gemini_accepts_every_request() -> None:
    types = pytest.importorskip("google.genai.types")

    def validate(body: Json) -> Json:
        """The fields of generationConfig and of the body are one configuration in this client."""
        contents = [types.Content.model_validate_json(json.dumps(item)) for item in body["contents"]]
        rest = {name: value for name, value in body.items() if name not in ("contents", "generationConfig")}
        made = {"contents": plain(contents)}
        for name, part in (("generationConfig", body.get("generationConfig", {})), (None, rest)):
            config = plain(types.GenerateContentConfig.model_validate_json(json.dumps(part)))
            made |= {name: config} if name and config else config if name is None else {}
        return made

    assert_accepted("gemini", validate, at_least=100)


def test_cohere_accepts_every_request() -> None:
    cohere = pytest.importorskip("cohere")
    fields = {
        "messages": list[cohere.ChatMessageV2],
        "tools": list[cohere.ToolV2],
        "documents": list[cohere.Document],
        "response_format": cohere.JsonObjectResponseFormatV2,
        "thinking": cohere.Thinking,
    }
    adapters = {name: pydantic.TypeAdapter(kind) for name, kind in fields.items()}

    def validate(body: Json) -> Json:
        return {
            name: adapters[name].validate_python(value) if name in adapters else value
            for name, value in body.items()
        }

    assert_accepted("cohere", validate, at_least=40)


def test_ollama_accepts_every_request() -> None:
    types = pytest.importorskip("ollama._types")
    for what, body in encoded("ollama"):
        assert types.ChatRequest.model_validate(body).model == body["model"], what


def test_there_are_enough_requests() -> None:
    assert sum(1 for name in ("anthropic", "gemini", "cohere", "ollama") for _ in encoded(name)) >= 200
