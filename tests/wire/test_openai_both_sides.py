"""What only OpenAI's APIs carry: what one side of a dialect writes, the other reads."""

import json
from collections.abc import Sequence
from typing import Any

import attrs
import pytest
from test_server_requests import PLAIN, again, parse
from test_server_responses import decoded, rendered, request_of, server_of

from cortex_trio.events import (
    Finished,
    FinishReason,
    ReasoningDelta,
    ReasoningSeal,
    Reply,
    ReplyBuilder,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
    Usage,
    UsageUpdate,
    WholePart,
)
from cortex_trio.failures import InvalidRequest
from cortex_trio.messages import (
    ChatRequest,
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
    tool,
    user,
)
from cortex_trio.providers import PROVIDERS
from cortex_trio.wire.codec import Unsupported

Json = dict[str, Any]

BOTH = ("openai", "openai_responses")
CHAT, RESPONSES, COMPATIBLE = "openai", "openai_responses", "openai_compatible"
PDF = File(data=b"%PDF-", media_type="application/pdf", name="a.pdf")
DETAILS = '{"reasoning_details":[{"type":"reasoning.encrypted","data":"x","id":"r"}]}'


def asking(*parts: Any) -> ChatRequest:
    return ChatRequest(messages=(user("Look", *parts),))


def action(kind: str, **fields: Any) -> ToolCall:
    whole = {"type": kind, "id": "i_1", "call_id": "c_1", **fields}
    name = {"mcp_approval_request": kind}.get(kind, kind.removesuffix("_call"))
    call_id = "i_1" if kind == "mcp_approval_request" else "c_1"
    if kind == "mcp_approval_request":
        del whole["call_id"]
    return ToolCall(
        call_id, name, json.dumps(fields, separators=(",", ":")), json.dumps(whole, separators=(",", ":"))
    )


PATCH = action("apply_patch_call", operation={"type": "delete_file", "path": "a"})
APPROVAL = action("mcp_approval_request", server_label="s", name="f", arguments="{}")
COMPUTER = action("computer_call", action={"type": "screenshot"})
SHELL = action("shell_call", action={"commands": ["ls"]})
PNG = Image(data=b"\x89PNG", media_type="image/png")

REQUESTS: list[tuple[str, str, ChatRequest]] = [
    *((name, "a file as bytes", asking(PDF)) for name in (*BOTH, COMPATIBLE)),
    *((name, "a file without a name", asking(attrs.evolve(PDF, name=None))) for name in BOTH),
    *((name, "an upload", asking(File(id="file-1"))) for name in BOTH),
    (RESPONSES, "a file by URL", asking(File(url="https://example.org/a.pdf"))),
    (CHAT, "speech in WAV", asking(File(data=b"RIFF", media_type="audio/wav"))),
    (CHAT, "speech in MP3", asking(File(data=b"ID3", media_type="audio/mpeg"))),
    *((name, "a detail", asking(Image(url="https://example.org/a.png", detail="low"))) for name in BOTH),
    *(
        (name, "a custom tool", attrs.evolve(PLAIN, tools=(Tool("code", "Run", kind="custom"),)))
        for name in BOTH
    ),
    *(
        (
            name,
            "a grammar",
            attrs.evolve(
                PLAIN,
                tools=(
                    Tool(
                        "sum",
                        "",
                        kind="custom",
                        format={"type": "grammar", "syntax": "regex", "definition": "[0-9]+"},
                    ),
                ),
                tool_choice="sum",
            ),
        )
        for name in BOTH
    ),
    (
        RESPONSES,
        "a file in a result",
        ChatRequest(messages=(user("?"), assistant(ToolCall("c", "f", "{}")), tool(ToolResult("c", (PDF,))))),
    ),
    (
        COMPATIBLE,
        "fields of a message",
        ChatRequest(messages=(user("?"), assistant(Reasoning("", DETAILS), "4"), user("?"))),
    ),
    (
        COMPATIBLE,
        "fields of a call",
        ChatRequest(
            messages=(
                user("?"),
                assistant(ToolCall("c", "f", "{}", '{"google":{"x":1}}')),
                tool(ToolResult("c", "1")),
            )
        ),
    ),
    (
        RESPONSES,
        "a namespace",
        ChatRequest(
            messages=(
                user("?"),
                assistant(ToolCall("c", "f", "{}", '{"namespace":"crm"}')),
                tool(ToolResult("c", "1")),
            )
        ),
    ),
    *(
        (
            RESPONSES,
            f"an answer to {call.name}",
            ChatRequest(messages=(user("?"), assistant(call), tool(result))),
        )
        for call, result in (
            (PATCH, ToolResult("c_1", "done")),
            (PATCH, ToolResult("c_1", "no such file", is_error=True)),
            (APPROVAL, ToolResult("i_1", "approve")),
            (APPROVAL, ToolResult("i_1", "too risky", is_error=True)),
            (COMPUTER, ToolResult("c_1", (PNG,))),
        )
    ),
]


@pytest.mark.parametrize(
    ("name", "request_sent"),
    [(name, sent) for name, _, sent in REQUESTS],
    ids=[f"{n}-{w}" for n, w, _ in REQUESTS],
)
def test_a_request_of_openais_apis_comes_back_equal(name: str, request_sent: ChatRequest) -> None:
    found = again(name, request_sent)
    ours = [tuple(message.parts) for message in request_sent.messages]
    assert [tuple(message.parts) for message in found.messages] == ours
    assert found.tools == request_sent.tools
    assert found.tool_choice == request_sent.tool_choice


def test_the_phase_of_a_text_comes_back() -> None:
    texts = (Text("I look.", phase="commentary"), Text("4", phase="final_answer"))
    found = again(RESPONSES, ChatRequest(messages=(user("?"), assistant(*texts), user("?"))))
    assert [part.phase for part in found.messages[1].parts if isinstance(part, Text)] == [
        "commentary",
        "final_answer",
    ]


@pytest.mark.parametrize("name", ["groq", "xai"])
@pytest.mark.parametrize("part", [PDF, File(id="file-1"), File(data=b"RIFF", media_type="audio/wav")])
def test_servers_without_files_are_passed_over(name: str, part: File) -> None:
    with pytest.raises(Unsupported, match="a File of type"):
        PROVIDERS[name].dialect.encode(asking(part), name, "m")


@pytest.mark.parametrize(
    ("name", "part"),
    [
        (CHAT, File(url="https://example.org/a.pdf")),
        (CHAT, File(data=b"OggS", media_type="audio/ogg")),
        (CHAT, File(data=b"ftyp", media_type="video/mp4")),
        (RESPONSES, File(data=b"RIFF", media_type="audio/wav")),
        (RESPONSES, File(data=b"ftyp", media_type="video/mp4")),
    ],
)
def test_a_file_that_an_api_does_not_take_is_refused_before_it_is_sent(name: str, part: File) -> None:
    with pytest.raises(Unsupported, match="a File"):
        PROVIDERS[name].dialect.encode(asking(part), name, "m")


def test_a_file_that_is_an_image_is_sent_as_one() -> None:
    picture = File(data=b"\x89PNG", media_type="image/png")
    for name in BOTH:
        assert again(name, asking(picture)).messages[0].parts[1] == PNG


@pytest.mark.parametrize("name", ["groq", "xai", "xai_responses"])
def test_servers_without_custom_tools_are_passed_over(name: str) -> None:
    request = attrs.evolve(PLAIN, tools=(Tool("code", "", kind="custom"),))
    with pytest.raises(Unsupported, match="custom tools"):
        PROVIDERS[name].dialect.encode(request, name, "m")


@pytest.mark.parametrize("name", BOTH)
def test_a_tool_that_cannot_be_strict_is_refused_with_the_reason(name: str) -> None:
    free = Tool("f", "", {"type": "object", "properties": {"a": {"type": "object"}}}, strict=True)
    with pytest.raises(
        InvalidRequest, match="tool 'f': strict=True is not possible: #/properties/a: an object needs"
    ):
        PROVIDERS[name].dialect.encode(attrs.evolve(PLAIN, tools=(free,)), name, "m")


@pytest.mark.parametrize("name", BOTH)
def test_a_schema_that_cannot_be_strict_is_sent_as_it_is(name: str) -> None:
    free = {"type": "object", "additionalProperties": {"type": "string"}}
    body = json.loads(
        PROVIDERS[name].dialect.encode(attrs.evolve(PLAIN, response_schema=free), name, "m").body or b""
    )
    form = body["text"]["format"] if name == RESPONSES else body["response_format"]["json_schema"]
    assert (form["schema"], form["strict"]) == (free, False)


# ------------------------------------------------------------------ the answer to a call of OpenAI's own tools


def answered(call: ToolCall, result: ToolResult) -> Json:
    request = ChatRequest(messages=(user("?"), assistant(call), tool(result)))
    found: Json = json.loads(PROVIDERS[RESPONSES].dialect.encode(request, RESPONSES, "m").body or b"")[
        "input"
    ][-1]
    return found


@pytest.mark.parametrize(
    ("text", "is_error", "approves"),
    [
        ("approve", False, True),
        (" True", False, True),
        ("no", False, False),
        ("", False, False),
        ("approve", True, False),
    ],
)
def test_only_a_clear_word_approves(text: str, is_error: bool, approves: bool) -> None:
    sent = answered(APPROVAL, ToolResult("i_1", text, is_error=is_error))
    assert (sent["type"], sent["approval_request_id"], sent["approve"]) == (
        "mcp_approval_response",
        "i_1",
        approves,
    )
    assert ("reason" in sent) is (not approves and bool(text))


def test_a_screenshot_acknowledges_the_checks_of_its_call() -> None:
    checks = [{"id": "sc", "code": "c", "message": "m"}]
    sent = answered(
        action("computer_call", action={}, pending_safety_checks=checks), ToolResult("c_1", (PNG,))
    )
    assert sent["acknowledged_safety_checks"] == checks
    assert sent["output"]["image_url"].startswith("data:image/png")
    with pytest.raises(InvalidRequest, match="computer call 'c_1' needs an Image"):
        answered(COMPUTER, ToolResult("c_1", "done"))


@pytest.mark.parametrize(
    ("result", "output"),
    [
        (
            ToolResult("c_1", "a.txt"),
            {"stdout": "a.txt", "stderr": "", "outcome": {"type": "exit", "exit_code": 0}},
        ),
        (
            ToolResult("c_1", "denied", is_error=True),
            {"stdout": "", "stderr": "denied", "outcome": {"type": "exit", "exit_code": 1}},
        ),
        (
            ToolResult("c_1", '[{"stdout":"x","stderr":"","outcome":{"type":"timeout"}}]'),
            {"stdout": "x", "stderr": "", "outcome": {"type": "timeout"}},
        ),
    ],
)
def test_what_a_command_wrote(result: ToolResult, output: Json) -> None:
    assert answered(SHELL, result)["output"] == [output]


def test_a_shell_call_that_the_server_ran_is_a_block_of_its_own_with_its_result() -> None:
    ran = {"type": "shell_call", "call_id": "c", "action": {}, "environment": {"type": "container_reference"}}
    wrote = {"type": "shell_call_output", "call_id": "c", "output": []}
    whole = json.dumps({"status": "completed", "output": [{"id": "a", **ran}, {"id": "b", **wrote}]}).encode()
    events = PROVIDERS[RESPONSES].dialect.decode_reply(whole)
    assert events[-1] == Finished(FinishReason.STOP, "completed")
    builder = ReplyBuilder("openai_responses/m-1")
    builder.add_all(events)
    message = builder.message()
    assert all(isinstance(part, Opaque) for part in message.parts)
    request = ChatRequest(messages=(user("?"), message, user("?")))
    http = PROVIDERS[RESPONSES].dialect.encode(request, RESPONSES, "m-1")
    parts = [part for each in parse(RESPONSES, http, "openai_responses/m-1").messages for part in each.parts]
    assert [part.type for part in parts if isinstance(part, Opaque)] == ["shell_call", "shell_call_output"]


# ------------------------------------------------------------------ what is rendered

ENDS = (UsageUpdate(Usage(1, 2, 3)), Finished(FinishReason.STOP))
SPEECH = File(data=b"RIFF0000WAVE", media_type="audio/wav")

STREAMS: list[tuple[str, Sequence[StreamEvent]]] = [
    (COMPATIBLE, (ReasoningDelta("Hm."), TextDelta("4"), ReasoningSeal(DETAILS), *ENDS)),
    (
        COMPATIBLE,
        (ToolCallDelta(0, "{}", "c", "f", "c2ln"), ToolCallDelta(1, "{}", "d", "f", '{"x":{"y":1}}'), *ENDS),
    ),
    (COMPATIBLE, (ToolCallDelta(0, "{}", "c", "f"), ToolCallDelta(0, "", signature="c2ln"), *ENDS)),
    (CHAT, (TextDelta("Good day."), WholePart(SPEECH), *ENDS)),
    (RESPONSES, (TextDelta("I look.", phase="commentary"), TextDelta("4", phase="final_answer"), *ENDS)),
    (RESPONSES, (ToolCallDelta(0, "{}", "c", "f", '{"namespace":"crm"}'), *ENDS)),
    (RESPONSES, (ToolCallDelta(0, PATCH.arguments, PATCH.id, PATCH.name, PATCH.signature), *ENDS)),
    (
        RESPONSES,
        (
            TextDelta("I ask."),
            ToolCallDelta(0, APPROVAL.arguments, "i_1", APPROVAL.name, APPROVAL.signature),
            ToolCallDelta(1, "{}", "d", "f"),
            *ENDS,
        ),
    ),
]


def message_of(events: Sequence[Any]) -> Message:
    builder = ReplyBuilder("p/m")
    builder.add_all(events)
    return builder.message()


def phases(message: Message) -> list[str | None]:
    return [part.phase for part in message.parts if isinstance(part, Text)]


@pytest.mark.parametrize(("name", "events"), STREAMS)
def test_what_is_rendered_is_decoded_again(name: str, events: Sequence[StreamEvent]) -> None:
    meant = message_of(events)
    builder = ReplyBuilder("p/m")
    builder.add_all(events)
    reply: Reply = builder.reply(worker="w", provider="p", model="m", attempts=())
    whole = server_of(name).render_reply(request_of(name, stream=False), reply)
    for found in (decoded(name, rendered(name, events)), PROVIDERS[name].dialect.decode_reply(whole)):
        assert isinstance(found[-1], Finished)
        message = message_of(found)
        assert sorted(map(repr, message.parts)) == sorted(map(repr, meant.parts))
        assert phases(message) == phases(meant)


def test_a_server_of_openais_own_renders_no_fields_of_others() -> None:
    events = (TextDelta("4"), ToolCallDelta(0, "{}", "c", "f", "c2ln"), ReasoningSeal(DETAILS), *ENDS)
    for name in ("openai", "groq", "xai"):
        body = rendered(name, events)
        assert b"extra_content" not in body
        assert b"reasoning_details" not in body
