"""What `encode` writes, the server side reads: the same request again, but for what the API cannot carry."""

import contextlib
import importlib
import json
import random
import re
from pathlib import Path
from typing import Any

import attrs
import pytest

from cortex_trio.messages import (
    ChatRequest,
    Document,
    Image,
    Message,
    Opaque,
    Reasoning,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    assistant,
    system,
    user,
)
from cortex_trio.providers import PROVIDERS
from cortex_trio.simulator.request import identity_of
from cortex_trio.simulator.servers import SERVERS
from cortex_trio.wire.codec import HttpRequest, Unsupported
from cortex_trio.wire.server import ReceivedRequest, Rejected, ServerDialect
from cortex_trio.wire.strict_schema import strict_schema

NAMES = sorted(PROVIDERS)
MODEL = "m-1"

PNG = Image(data=b"\x89PNG", media_type="image/png")
WEATHER = Tool("weather", "Shows it", {"type": "object", "properties": {"city": {"type": "string"}}})
NOW = Tool("now", "The time", {"type": "object", "properties": {}})
CALLS = (ToolCall("call_a", "weather", '{"city":"Rome"}'), ToolCall("call_b", "now", "{}"))
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}


def server_of(name: str) -> ServerDialect:
    dialect = PROVIDERS[name].dialect.name
    return next(one for one in SERVERS[name].dialects if one.name == dialect)


def received(name: str, http: HttpRequest) -> ReceivedRequest:
    path, _, query = http.path.partition("?")
    return ReceivedRequest(
        method=http.method,
        path=server_of(name).base_path + path,
        query=dict(pair.split("=") for pair in query.split("&") if pair),
        headers={**PROVIDERS[name].headers, **http.headers},
        body=json.loads(http.body or b"null"),
        identity=identity_of(1),
    )


def encode(name: str, request: ChatRequest) -> HttpRequest:
    return PROVIDERS[name].dialect.encode(request, name, MODEL)


def parse(name: str, http: HttpRequest, origin: str | None = None) -> ChatRequest:
    return server_of(name).chat_request(received(name, http), origin=origin)


def again(name: str, request: ChatRequest) -> ChatRequest:
    return parse(name, encode(name, request))


def assert_stable(name: str, request: ChatRequest) -> None:
    """What is read and encoded once more is the same body: nothing the API can carry was lost."""
    first = encode(name, request)
    second = encode(name, parse(name, first))
    assert json.loads(second.body or b"") == json.loads(first.body or b"")
    assert second == first


# ------------------------------------------------------------------ what each API can carry comes back equal


PLAIN = ChatRequest(messages=(system("Be brief."), user("Hi")))

CARRIED: dict[str, ChatRequest] = {
    "a conversation": ChatRequest(
        messages=(system("Be brief."), user("Hi"), assistant(Text("Hello.")), user("And?"))
    ),
    "not streamed": attrs.evolve(PLAIN, stream=False),
    "numbers": attrs.evolve(PLAIN, max_tokens=100, temperature=0.5, top_p=0.9),
    "extra_body": attrs.evolve(PLAIN, extra_body={"new_option": {"a": [1]}}),
    "an image": ChatRequest(messages=(user("Look", PNG),)),
    "calls and results": ChatRequest(
        messages=(
            user("The weather?"),
            assistant(*CALLS),
            Message("tool", (ToolResult("call_a", "Sunny"),)),
            Message("tool", (ToolResult("call_b", "12:00"),)),
            assistant(Text("Sunny.")),
            user("Thanks"),
        )
    ),
    "text before calls": ChatRequest(
        messages=(
            user("?"),
            assistant("I look.", CALLS[0]),
            Message("tool", (ToolResult("call_a", "Sunny"),)),
        )
    ),
    "tools": attrs.evolve(PLAIN, tools=(WEATHER, NOW)),
}


def normal(request: ChatRequest) -> ChatRequest:
    """One spelling for what means the same: content as parts, results of one step in one message, no names."""
    messages: list[Message] = []
    for message in request.messages:
        parts = tuple(
            attrs.evolve(part, name=None) if isinstance(part, ToolResult) else part for part in message.parts
        )
        holds_results = bool(parts) and all(isinstance(part, ToolResult) for part in parts)
        role = "tool" if holds_results else message.role
        if messages and role == messages[-1].role == "tool":
            messages[-1] = Message("tool", (*messages[-1].parts, *parts))
        else:
            messages.append(Message(role, parts))
    return attrs.evolve(request, messages=tuple(messages))


DEFAULTS: dict[str, dict[str, Any]] = {"anthropic": {"max_tokens": 4096}}
"""What `encode` adds, because the API demands it."""


def expected(name: str, request: ChatRequest) -> ChatRequest:
    added = {
        field: value for field, value in DEFAULTS.get(name, {}).items() if getattr(request, field) is None
    }
    if name in ("openai_responses", "xai_responses") and request.tools:
        # Left out, `strict` means different things there, so it is always said.
        added["tools"] = tuple(attrs.evolve(tool, strict=bool(tool.strict)) for tool in request.tools)
    if PROVIDERS[name].dialect.name in ("chat_completions", "responses"):
        added |= in_strict_form(attrs.evolve(request, **added))
    return normal(attrs.evolve(request, **added))


def in_strict_form(request: ChatRequest) -> dict[str, Any]:
    """What OpenAI's APIs get of the schemas: strict mode has a form of its own for them."""
    tools = tuple(
        attrs.evolve(tool, parameters=strict_schema(tool.parameters or {})) if tool.strict else tool
        for tool in request.tools or ()
    )
    schema = strict_schema(request.response_schema) if request.response_schema else None
    return {"tools": tools or None, "response_schema": schema}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("what", CARRIED)
def test_a_request_comes_back_equal(name: str, what: str) -> None:
    request = CARRIED[what]
    assert normal(again(name, request)) == expected(name, request)


ONLY = {
    "stop": ("openai", "anthropic", "groq", "gemini", "xai", "cohere", "ollama", "openai_compatible"),
    "response_schema": tuple(NAMES),
    "image url": tuple(name for name in NAMES if name != "ollama"),
    "choice required": tuple(name for name in NAMES if name != "ollama"),
    "choice by name": tuple(name for name in NAMES if name not in ("ollama", "cohere")),
    "effort": tuple(name for name in NAMES if name != "cohere"),
    "budget": ("anthropic", "gemini", "cohere"),
    "no reasoning": tuple(NAMES),
    "strict": tuple(NAMES),
    "failed result": ("anthropic", "gemini"),
    "documents": ("cohere",),
    "document parts": ("anthropic",),
    "images in results": ("anthropic", "openai_responses", "xai_responses", "ollama"),
    "a free-form call": (
        "openai",
        "openai_compatible",
        "openai_responses",
    ),  # elsewhere it is a function call
    "signed thinking": ("anthropic", "gemini"),
    "encrypted thinking": ("anthropic", "openai_responses", "xai_responses"),
    "thinking as text": ("cohere", "gemini", "ollama"),
    "encrypted reasoning": ("openai_responses", "xai_responses"),
    "an opaque part": ("anthropic", "openai_responses", "xai_responses"),
    "a signed call": ("gemini", "openai_compatible"),
}
"""Which providers' APIs carry what, beside what all of them carry."""

SPECIAL: dict[str, ChatRequest] = {
    "stop": attrs.evolve(PLAIN, stop=("END", "x")),
    "response_schema": attrs.evolve(PLAIN, response_schema=SCHEMA),
    "image url": ChatRequest(messages=(user("Look", Image(url="https://example.org/cat.png")),)),
    "choice required": attrs.evolve(PLAIN, tools=(WEATHER,), tool_choice="required"),
    "choice by name": attrs.evolve(PLAIN, tools=(WEATHER, NOW), tool_choice="now"),
    "effort": attrs.evolve(PLAIN, reasoning="low"),
    "budget": attrs.evolve(PLAIN, reasoning=2048, max_tokens=4096),
    "no reasoning": attrs.evolve(PLAIN, reasoning="none"),
    "strict": attrs.evolve(PLAIN, tools=(attrs.evolve(WEATHER, strict=True),)),
    "failed result": ChatRequest(
        messages=(
            user("?"),
            assistant(CALLS[1]),
            Message("tool", (ToolResult("call_b", "no clock", is_error=True),)),
        )
    ),
    "documents": attrs.evolve(
        PLAIN, documents=(Document("Read me.", "A title", "d-1"), Document("Me, too."))
    ),
    "document parts": ChatRequest(messages=(user(Document("Read me.", "A title"), "What is it?"),)),
    "images in results": ChatRequest(
        messages=(
            user("?"),
            assistant(CALLS[1]),
            Message("tool", (ToolResult("call_b", (Text("See"), PNG)),)),
        )
    ),
    "a free-form call": ChatRequest(
        messages=(
            user("?"),
            assistant(ToolCall("call_c", "patch", "*** begin", kind="custom")),
            Message("tool", (ToolResult("call_c", "done"),)),
        )
    ),
    "signed thinking": ChatRequest(messages=(user("?"), assistant(Reasoning("Hm.", "c2ln"), "4"), user("?"))),
    "encrypted thinking": ChatRequest(
        messages=(user("?"), assistant(Reasoning("", encrypted="c2VjcmV0"), "4"), user("?"))
    ),
    "thinking as text": ChatRequest(messages=(user("?"), assistant(Reasoning("Hm."), "4"), user("?"))),
    "encrypted reasoning": ChatRequest(
        messages=(
            user("?"),
            assistant(Reasoning("Hm.", "rs_1"), Reasoning("\n\nSo.", "rs_1", "gAAAAAB1"), "4"),
            user("?"),
        )
    ),
    "an opaque part": ChatRequest(
        messages=(
            user("?"),
            assistant(
                Opaque("web_search_call", '{"type":"web_search_call","id":"srvtoolu_1","action":{}}'), "4"
            ),
            user("?"),
        )
    ),
    "a signed call": ChatRequest(
        messages=(
            user("?"),
            assistant(ToolCall("call_b", "now", "{}", "c2ln")),
            Message("tool", (ToolResult("call_b", "12:00"),)),
        )
    ),
}

PAIRS = [(name, what) for what, names in ONLY.items() for name in names]


@pytest.mark.parametrize(("name", "what"), PAIRS)
def test_what_only_some_apis_carry_comes_back_equal(name: str, what: str) -> None:
    request = SPECIAL[what]
    assert normal(again(name, request)) == expected(name, request)


LOST = [(name, what) for what in SPECIAL for name in NAMES if name not in ONLY[what]]


@pytest.mark.parametrize(("name", "what"), LOST)
def test_what_an_api_cannot_carry_is_refused_or_changed_by_encode(name: str, what: str) -> None:
    """And what `encode` made of it is stable."""
    try:
        found = again(name, SPECIAL[what])
    except Unsupported:
        return
    assert normal(found) != expected(name, SPECIAL[what])
    assert_stable(name, SPECIAL[what])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("what", [*CARRIED, *SPECIAL])
def test_reading_and_encoding_again_gives_the_same_body(name: str, what: str) -> None:
    request = {**CARRIED, **SPECIAL}[what]
    try:
        encode(name, request)
    except Unsupported:
        return
    assert_stable(name, request)


# ------------------------------------------------------------------ whatever comes

ODD = (None, True, 0, -1, 1.5, "", "x", [], {}, [None], ["x"], {"type": "x"}, {"type": None}, {"x": {}})


def changed(chance: random.Random, value: Any) -> Any:
    """The value with one place replaced by something odd, or left out."""
    if isinstance(value, dict) and value and chance.random() < 0.85:
        name = chance.choice(sorted(value))
        if chance.random() < 0.1:
            return {key: inner for key, inner in value.items() if key != name}
        return {**value, name: changed(chance, value[name])}
    if isinstance(value, list) and value and chance.random() < 0.85:
        place = chance.randrange(len(value))
        return [*value[:place], changed(chance, value[place]), *value[place + 1 :]]
    return chance.choice(ODD)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.slow
def test_any_json_is_read_or_rejected(name: str) -> None:
    """Nothing else is raised; and what the dialect rejects, it rejects with a status and a body."""
    chance = random.Random(name)
    requests = [*CARRIED.values(), *SPECIAL.values()]
    server = server_of(name)
    rejections: list[Rejected] = []
    for _ in range(800):
        try:
            http = encode(name, chance.choice(requests))
        except Unsupported:
            continue
        request = received(name, http)
        body = request.body
        for _ in range(chance.choice((1, 1, 2))):
            body = changed(chance, body)
        request = attrs.evolve(request, body=body)
        for read in (server.parse, server.chat_request):
            try:
                read(request)
            except Rejected as rejected:
                rejections.append(rejected)
    assert len(rejections) > 100
    assert {rejected.response.status for rejected in rejections} <= {400, 404, 422}
    assert all(rejected.response.body for rejected in rejections)


@pytest.mark.parametrize("name", NAMES)
def test_reasoning_and_opaque_parts_are_bound_to_the_origin_that_is_given(name: str) -> None:
    for what in (
        "signed thinking",
        "thinking as text",
        "an opaque part",
        "a signed call",
        "encrypted reasoning",
    ):
        request = parse(name, encode(name, SPECIAL[what]), "p/m")
        for message in request.messages:
            for part in message.parts:
                if isinstance(part, Reasoning | Opaque):
                    assert part.origin == "p/m"
                if isinstance(part, ToolCall | Image):
                    assert part.origin == ("p/m" if part.signature else None)


def test_a_conversation_that_another_server_stores_is_rejected() -> None:
    request = received("openai_responses", encode("openai_responses", PLAIN))
    stored = attrs.evolve(request, body={**request.body, "previous_response_id": "resp_1"})
    with pytest.raises(Rejected) as rejected:
        server_of("openai_responses").chat_request(stored)
    assert b"previous_response_id" in rejected.value.response.body


@pytest.mark.parametrize(
    ("name", "part", "complaint"),
    [
        (
            "openai",
            {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}},
            b"messages[0].content[0].input_audio.data",
        ),
        ("openai", {"type": "file", "file": {"file_data": "?"}}, b"messages[0].content[0].file.file_data"),
        ("openai_responses", {"type": "input_image", "file_id": "f"}, b"input[0].content[0].type"),
        (
            "anthropic",
            {"type": "container_upload", "file_id": "file_1"},
            b"messages.0.content.0.type",
        ),
        (
            "anthropic",
            {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": ""}},
            b"messages.0.content.0.source.data",
        ),
    ],
)
def test_a_part_without_a_value_of_ours_is_rejected_with_its_place(
    name: str, part: dict[str, Any], complaint: bytes
) -> None:
    request = received(name, encode(name, ChatRequest(messages=(user("Hi"),))))
    field = "input" if name == "openai_responses" else "messages"
    body = {**request.body, field: [{"role": "user", "content": [part]}]}
    with pytest.raises(Rejected) as rejected:
        server_of(name).chat_request(attrs.evolve(request, body=body))
    assert complaint in rejected.value.response.body


DIALECTS = sorted({provider.dialect.name for provider in PROVIDERS.values()})
BOTH_SIDES = {"encode", "decode", "dialect", "parse", "rules", "render", "server"}


@pytest.mark.parametrize("name", DIALECTS)
def test_every_dialect_has_both_sides_and_names_its_files(name: str) -> None:
    package = importlib.import_module(f"cortex_trio.wire.{name}")
    files = {path.stem for path in Path(package.__path__[0]).glob("*.py")} - {"__init__"}
    assert files >= BOTH_SIDES
    assert {file for file in files if not re.search(rf"\b{file}\b", package.__doc__ or "")} == set()


def test_the_map_of_the_dialects_names_every_file() -> None:
    package = importlib.import_module("cortex_trio.wire")
    folder = Path(package.__path__[0])
    files = {path.stem for path in folder.iterdir() if path.stem not in ("__init__", "__pycache__")}
    missing = {file for file in files if not re.search(rf"\b{file}\b", package.__doc__ or "")}
    assert missing - {"conformance_bodies"} == set()


@pytest.mark.parametrize("name", NAMES)
def test_a_body_that_is_nested_very_deeply_is_read_or_rejected(name: str) -> None:
    deep = json.loads("[" * 900 + "]" * 900)
    request = received(name, encode(name, attrs.evolve(PLAIN, tools=(WEATHER,))))
    bodies = [{**request.body, field: deep} for field in (*request.body, "unknown")]
    for body in bodies:
        for read in (server_of(name).parse, server_of(name).chat_request):
            with contextlib.suppress(Rejected):
                read(attrs.evolve(request, body=body))
