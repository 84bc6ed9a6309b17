"""The request types of OpenAI's and Groq's own SDKs accept what the dialects encode, with no field they do not know.

The types are TypedDicts. pydantic drops fields that a TypedDict does not have, so a validated request that equals the
encoded one has none of them.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs
import pytest

from cortex_trio.messages import (
    ChatRequest,
    Document,
    File,
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
    tool,
    user,
)
from cortex_trio.providers import PROVIDERS
from cortex_trio.wire.codec import Unsupported

pydantic = pytest.importorskip("pydantic")

Json = dict[str, Any]

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer", "default": 3}},
    "required": ["city"],
}
WEATHER = Tool("weather", "Shows the weather", SCHEMA)
STRICT = Tool("weather", "", SCHEMA, strict=True)
FREE = Tool("code", "Run it", kind="custom")
GRAMMAR = Tool(
    "sum",
    "",
    kind="custom",
    format={"type": "grammar", "grammar": {"syntax": "regex", "definition": "[0-9]+"}},
)
PNG = Image(data=b"\x89PNG", media_type="image/png")
CALL = ToolCall("call_1", "weather", '{"city":"Rome"}')
FREE_CALL = ToolCall("call_2", "code", "print(1)", kind="custom")
CUT = ToolCall("call_3", "weather", '{"city":"R', complete=False)


def asked(*content: Any, **options: Any) -> ChatRequest:
    return ChatRequest(messages=(user(*(content or ("Hi",))),), **options)


def history(*messages: Message, **options: Any) -> ChatRequest:
    return ChatRequest(messages=(user("Hi"), *messages), **options)


def item(kind: str, **fields: Any) -> ToolCall:
    """A call of one of OpenAI's own tools, as it is decoded."""
    name = kind if kind == "mcp_approval_request" else kind.removesuffix("_call")
    whole = json.dumps({"type": kind, **fields}, separators=(",", ":"))
    return ToolCall(fields.get("call_id") or fields["id"], name, "{}", whole, "openai_responses/m")


APPROVAL = item("mcp_approval_request", id="mcpr_1", server_label="s", name="f", arguments="{}")
COMPUTER = item(
    "computer_call",
    id="cu_1",
    call_id="c1",
    action={"type": "click", "x": 1, "y": 2, "button": "left"},
    pending_safety_checks=[{"id": "sc_1", "code": "c", "message": "m"}],
    status="completed",
)
SHELL = item(
    "local_shell_call",
    id="lsh_1",
    call_id="c2",
    action={"type": "exec", "command": ["ls"], "env": {}},
    status="completed",
)
COMMANDS = item("shell_call", id="sh_1", call_id="c3", action={"commands": ["ls"]}, status="completed")
PATCH = item(
    "apply_patch_call",
    id="apc_1",
    call_id="c4",
    operation={"type": "create_file", "path": "a", "diff": "+b"},
    status="completed",
)
NAMED = ToolCall(
    "c5", "f", "{}", '{"namespace":"crm","caller":{"type":"program","caller_id":"p"}}', "openai_responses/m"
)

REQUESTS: dict[str, ChatRequest] = {
    "a text": asked(),
    "a system message": ChatRequest(messages=(system("Be brief."), user("Hi"))),
    "a system message later": history(assistant("Yes"), system("Be brief."), user("Hi")),
    "parts": asked("a", Text("b")),
    "an image as bytes": asked("Look", PNG),
    "an image by URL": asked("Look", Image(url="https://example.org/a.png", detail="low")),
    "a PDF": asked("Read", File(data=b"%PDF-", media_type="application/pdf", name="a.pdf")),
    "a PDF without a name": asked("Read", File(data=b"%PDF-", media_type="application/pdf")),
    "an upload": asked("Read", File(id="file-1")),
    "a file by URL": asked("Read", File(url="https://example.org/a.pdf", media_type="application/pdf")),
    "an image as a file": asked("Look", File(data=b"\x89PNG", media_type="image/png")),
    "speech in WAV": asked("Listen", File(data=b"RIFF", media_type="audio/wav")),
    "speech in MP3": asked("Listen", File(data=b"ID3", media_type="audio/mpeg")),
    "documents": asked(documents=(Document("Rain.", "Weather"), Document("Sun."))),
    "numbers": asked(max_tokens=100, temperature=0.5, top_p=0.9),
    "stops": asked(stop=("END", "STOP")),
    "low effort": asked(reasoning="low"),
    "a tool": asked(tools=(WEATHER,)),
    "a strict tool": asked(tools=(STRICT,)),
    "a free tool": asked(tools=(FREE,)),
    "a tool with a grammar": asked(tools=(WEATHER, GRAMMAR)),
    "a tool without arguments": asked(tools=(Tool("now", "", {"type": "object", "properties": {}}),)),
    "a choice": asked(tools=(WEATHER,), tool_choice="required"),
    "no choice": asked(tools=(WEATHER,), tool_choice="none"),
    "a choice by name": asked(tools=(WEATHER,), tool_choice="weather"),
    "a choice of a free tool": asked(tools=(FREE,), tool_choice="code"),
    "a schema": asked(response_schema=SCHEMA),
    "a schema with free keys": asked(
        response_schema={"type": "object", "additionalProperties": {"type": "string"}}
    ),
    "extra fields": asked(extra_body={"service_tier": "auto"}),
    "an answer": history(assistant("Yes"), user("Why?")),
    "an answer in two parts": history(assistant("Yes", Text(" and no")), user("Why?")),
    "reasoning": history(assistant(Reasoning("Hm."), "Yes"), user("Why?")),
    "a call": history(assistant(CALL), tool(ToolResult("call_1", "Sun"))),
    "a text and two calls": history(
        assistant("I look.", CALL, ToolCall("b", "now", "")),
        tool(ToolResult("b", "1"), ToolResult("call_1", "2")),
    ),
    "a failed result": history(assistant(CALL), tool(ToolResult("call_1", "No network", is_error=True))),
    "an image in a result": history(assistant(CALL), tool(ToolResult("call_1", (Text("See"), PNG)))),
    "a file in a result": history(
        assistant(CALL), tool(ToolResult("call_1", (File(data=b"%PDF-", media_type="application/pdf"),)))
    ),
    "a free call": history(assistant(FREE_CALL), tool(ToolResult("call_2", "1")), tools=(FREE,)),
    "a cut call": history(assistant("I look.", CUT), user("Go on")),
    "a cut call beside another": history(assistant(CALL, CUT), tool(ToolResult("call_1", "Sun"))),
    "an image of the model": history(assistant(PNG, "Here"), user("Bigger")),
    "speech of the model": history(
        assistant(File(data=b"RIFF", media_type="audio/wav"), "Good day"), user("Hi")
    ),
    "a block of another provider": history(assistant(Opaque("x", "{}", "gemini/m"), "Yes"), user("Why?")),
    "what another server signed": history(
        assistant(Reasoning("", '{"reasoning_details":[]}', "openai_compatible/m"), "Yes"), user("Why?")
    ),
    "commentary": history(assistant(Text("I look.", phase="commentary"), Text("Yes", phase="final_answer"))),
    "encrypted reasoning": history(
        assistant(Reasoning("Hm.", "rs_1", "gAAAA", "openai_responses/m"), "Yes"), user("Why?")
    ),
    "an approval": history(assistant(APPROVAL), tool(ToolResult("mcpr_1", "approve"))),
    "a refusal of an approval": history(
        assistant(APPROVAL), tool(ToolResult("mcpr_1", "too risky", is_error=True))
    ),
    "a computer call": history(assistant(COMPUTER), tool(ToolResult("c1", (PNG,)))),
    "a local shell call": history(assistant(SHELL), tool(ToolResult("c2", "a.txt"))),
    "a shell call": history(assistant(COMMANDS), tool(ToolResult("c3", "a.txt"))),
    "a patch call": history(assistant(PATCH), tool(ToolResult("c4", "done"))),
    "a patch that failed": history(assistant(PATCH), tool(ToolResult("c4", "no such file", is_error=True))),
    "a call with a namespace": history(assistant(NAMED), tool(ToolResult("c5", "1"))),
}


def types_of(name: str) -> tuple[Any, Any]:
    """The types of a request: one that is not streamed, and one that is."""
    if name == "openai_responses":
        params = pytest.importorskip("openai.types.responses.response_create_params")
        return params.ResponseCreateParamsNonStreaming, params.ResponseCreateParamsStreaming
    if name == "groq":
        params = pytest.importorskip("groq.types.chat.completion_create_params")
        return params.CompletionCreateParams, params.CompletionCreateParams
    params = pytest.importorskip("openai.types.chat.completion_create_params")
    return params.CompletionCreateParamsNonStreaming, params.CompletionCreateParamsStreaming


def plain(value: object) -> object:
    """The value with all its iterables read: pydantic checks the elements of one only when it is read."""
    if isinstance(value, Mapping):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return [plain(each) for each in value]
    return value


@pytest.fixture(scope="module")
def adapters() -> Callable[[str, bool], Any]:
    """Making an adapter of one of these types takes a second, so each is made once."""
    made: dict[tuple[str, bool], Any] = {}

    def of(name: str, stream: bool) -> Any:
        if (name, stream) not in made:
            made[name, stream] = pydantic.TypeAdapter(types_of(name)[stream])
        return made[name, stream]

    return of


def without_unknown(name: str, body: Json) -> Json:
    """The body without the two fields that a server takes and the types of its SDK do not have."""
    if name == "groq":
        return {field: value for field, value in body.items() if field != "stream_options"}
    for each in body.get("input", ()):
        if each.get("type") == "local_shell_call_output":
            del each["call_id"]
    return body


PAIRS = [(name, what) for name in ("openai", "openai_responses", "groq") for what in REQUESTS]


@pytest.mark.parametrize(("name", "what"), PAIRS)
def test_the_types_of_the_sdk_accept_the_request(
    name: str, what: str, adapters: Callable[[str, bool], Any]
) -> None:
    stream = len(what) % 2 == 0
    request = attrs.evolve(REQUESTS[what], stream=stream)
    try:
        body = json.loads(PROVIDERS[name].dialect.encode(request, name, "m").body or b"")
    except Unsupported:
        assert what in UNSUPPORTED[name]
        return
    assert what not in UNSUPPORTED[name]
    validated = plain(adapters(name, stream).validate_python(body))
    assert validated == without_unknown(name, body)


UNSUPPORTED = {
    "openai": {"a file by URL"},
    "openai_responses": {"stops", "speech in WAV", "speech in MP3"},
    "groq": {
        "a PDF",
        "a PDF without a name",
        "an upload",
        "a file by URL",
        "a file in a result",
        "speech in WAV",
        "speech in MP3",
        "a free tool",
        "a tool with a grammar",
        "a choice of a free tool",
        "a free call",
    },
}
