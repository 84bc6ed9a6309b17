"""What goes in: every spelling a caller may use, and a sentence that names the place for every other."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cortex_trio import (
    Document,
    File,
    Image,
    InvalidRequest,
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
from cortex_trio.intake import messages_from, tools_from

FIVE: Any = 5  # hidden from type checkers
PNG = base64.b64encode(b"\x89PNG").decode()

UNDERSTOOD: list[tuple[Any, tuple[Message, ...]]] = [
    ("hi", (Message("user", "hi"),)),
    ("", (Message("user", ""),)),
    (user("hi"), (Message("user", "hi"),)),
    ([system("be brief"), user("hi")], (Message("system", "be brief"), Message("user", "hi"))),
    ((assistant("well"),), (Message("assistant", "well"),)),
    ({"role": "user", "content": "hi"}, (Message("user", "hi"),)),
    ([{"role": "developer", "content": "be brief"}], (Message("system", "be brief"),)),
    ([{"role": "assistant", "content": None}], (Message("assistant", ()),)),
    ([{"role": "user", "content": ["a", "b"]}], (Message("user", (Text("a"), Text("b"))),)),
    (
        [{"role": "user", "content": [Text("a"), Image(url="u")]}],
        (Message("user", (Text("a"), Image(url="u"))),),
    ),
    (
        [
            {
                "role": "user",
                "content": [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": "u"}],
            }
        ],
        (Message("user", (Text("a"), Image(url="u"))),),
    ),
    (
        [
            {
                "role": "user",
                "content": [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}],
            }
        ],
        (Message("user", (Image(data=b"\x89PNG", media_type="image/png"),)),),
    ),
    (
        [{"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": "s"}]}],
        (Message("assistant", (Reasoning("hm", signature="s"),)),),
    ),
    (
        [{"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}],
        (Message("assistant", (Text("no"),)),),
    ),
    (
        [
            {
                "role": "assistant",
                "content": "let me look",
                "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
                ],
            }
        ],
        (Message("assistant", (Text("let me look"), ToolCall("c1", "f", "{}"))),),
    ),
    (
        [{"role": "tool", "tool_call_id": "c1", "content": "42", "name": "f"}],
        (Message("tool", (ToolResult("c1", "42", name="f"),)),),
    ),
    (
        [{"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "42"}]}],
        (Message("tool", (ToolResult("c1", (Text("42"),)),)),),
    ),
    (
        [
            {
                "role": "user",
                "content": [{"type": "image_url", "image_url": {"url": "u", "detail": "low"}}],
            }
        ],
        (Message("user", (Image(url="u", detail="low"),)),),
    ),
    (
        [{"role": "user", "content": [{"type": "input_image", "image_url": "u", "detail": "high"}]}],
        (Message("user", (Image(url="u", detail="high"),)),),
    ),
    (
        [
            {
                "role": "user",
                "content": [
                    {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
                    {"type": "file", "file": {"file_id": "file-1"}},
                    {
                        "type": "file",
                        "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="},
                    },
                    {"type": "input_file", "file_url": "https://example.org/a.pdf"},
                ],
            }
        ],
        (
            Message(
                "user",
                (
                    File(data=b"RIFF", media_type="audio/wav"),
                    File(id="file-1"),
                    File(data=b"%PDF-", media_type="application/pdf", name="a.pdf"),
                    File(url="https://example.org/a.pdf"),
                ),
            ),
        ),
    ),
    (
        [{"role": "system", "content": "be brief", "cache_control": {"type": "ephemeral"}}],
        (Message("system", "be brief", cache=True),),
    ),
    (
        [
            {
                "role": "user",
                "content": [
                    "a",
                    {"type": "text", "text": "b", "cache_control": {"type": "ephemeral", "ttl": "5m"}},
                ],
            }
        ],
        (Message("user", (Text("a"), Text("b")), cache=True),),
    ),
    (
        [{"role": "assistant", "content": "4", "reasoning_content": "2 + 2", "refusal": None, "audio": None}],
        (Message("assistant", (Reasoning("2 + 2"), Text("4"))),),
    ),
    (
        [
            {
                "role": "assistant",
                "content": "4",
                "reasoning_details": [{"type": "reasoning.text", "text": "é"}],
            }
        ],
        (
            Message(
                "assistant",
                (
                    Reasoning("", '{"reasoning_details":[{"type":"reasoning.text","text":"é"}]}'),
                    Text("4"),
                ),
            ),
        ),
    ),
    (
        [
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": "c1",
                        "type": "function",
                        "index": 0,
                        "function": {"name": "f", "arguments": "{}"},
                        "extra_content": {"google": {"thought_signature": "sig"}},
                    },
                    {
                        "id": "c2",
                        "function": {"name": "f", "arguments": "{}"},
                        "extra_content": {"google": {"thought_signature": "sig", "x": 1}},
                    },
                    {"id": "c3", "type": "custom", "custom": {"name": "g", "input": "free"}},
                ],
            }
        ],
        (
            Message(
                "assistant",
                (
                    ToolCall("c1", "f", "{}", "sig"),
                    ToolCall("c2", "f", "{}", '{"google":{"thought_signature":"sig","x":1}}'),
                    ToolCall("c3", "g", "free", kind="custom"),
                ),
            ),
        ),
    ),
    (
        [{"role": "assistant", "content": "", "audio": {"id": "a", "transcript": "Good day."}}],
        (Message("assistant", (Text("Good day."),)),),
    ),
    ([{"role": "assistant", "refusal": "No."}], (Message("assistant", (Text("No."),)),)),
    (
        [{"role": "assistant", "content": "4", "annotations": [], "parsed": {"x": 4}, "function_call": None}],
        (Message("assistant", "4"),),
    ),
]


@pytest.mark.parametrize(("written", "meant"), UNDERSTOOD)
def test_every_spelling_is_understood(written: Any, meant: tuple[Message, ...]) -> None:
    assert messages_from(written) == meant


def asked(part: dict[str, Any]) -> list[Any]:
    return [{"role": "user", "content": [part, "?"]}]


REFUSED: list[tuple[Any, str]] = [
    (
        {"role": "user", "content": "hi", "name": "Ann"},
        "messages.name: not supported; allowed are role, content",
    ),
    (
        [{"role": "user", "content": "hi", "reasoning_content": "x"}],
        "messages[0].reasoning_content: not supp",
    ),
    (
        [{"role": "user", "content": "hi", "tool_calls": [{}]}],
        "messages[0].tool_calls: only messages of role",
    ),
    ([{"role": "assistant", "content": "", "function_call": {}}], "messages[0].function_call: not supported"),
    ([{"role": "assistant", "audio": {"id": "audio_1"}}], "messages[0].audio: "),
    ([{"role": "assistant", "refusal": 5}], "messages[0].refusal: "),
    ([{"role": "assistant", "content": "", "reasoning": ["x"]}], "messages[0].reasoning_content: a str"),
    (
        [{"role": "tool", "tool_call_id": "c", "content": "42", "is_error": True}],
        "messages[0].is_error: not su",
    ),
    (asked({"type": "text", "text": "a", "color": "red"}), "messages[0].content[0].color: not supported"),
    (
        asked({"type": "image_url", "image_url": {"url": "u", "detail": "some"}}),
        "messages[0].content[0].image_url.",
    ),
    (
        asked({"type": "image_url", "image_url": {"url": "u", "size": 1}}),
        "messages[0].content[0].image_url.size: ",
    ),
    (
        asked({"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}),
        "messages[0].content[0].cache_c",
    ),
    (asked({"type": "text", "text": "a", "cache_control": "yes"}), "messages[0].content[0].cache_control: {"),
    (asked({"type": "file", "file": {}}), "messages[0].content[0].file: file_data, file_url or file_id"),
    (
        asked({"type": "file", "file": {"file_data": "AAAA"}}),
        "messages[0].content[0].file.file_data: a data URL",
    ),
    (
        asked({"type": "file", "file": {"file_data": "data:a/b;base64,"}}),
        "messages[0].content[0].file.file_data: ",
    ),
    (
        asked({"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "ogg"}}),
        "messages[0].content[0].input_audio.format: one of wav, mp3",
    ),
    (
        {"role": "user", "content": "hi", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
        'messages.cache_control.ttl: "5m" is allowed',
    ),
    (
        [
            {
                "role": "assistant",
                "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": ""}, "extra_content": 5}],
            }
        ],
        "messages[0].tool_calls[0].extra_content: ",
    ),
    (
        [
            {
                "role": "assistant",
                "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "", "x": 1}}],
            }
        ],
        "messages[0].tool_calls[0].function.x: not supported",
    ),
    (5, "messages: "),
    (None, "messages: "),
    ([], "messages: at least one"),
    ({1, 2}, "messages: "),
    ([5], "messages[0]: "),
    (["hi"], "messages[0]: "),
    ([user("hi"), None], "messages[1]: "),
    ([{"content": "hi"}], "messages[0].role: "),
    ([{"role": "robot", "content": "hi"}], "messages[0].role: one of system, user, assistant, tool"),
    ([Message("robot", "hi")], "messages[0].role: "),  # type: ignore[arg-type]
    ({"role": ["user"], "content": "hi"}, "messages.role: "),
    ([{"role": "user", "content": 5}], "messages[0].content: "),
    ([Message("user", 5)], "messages[0].content: "),  # type: ignore[arg-type]
    (user("hi", 5), "messages.content[1]: "),  # type: ignore[arg-type]
    ([Message("tool", [ToolResult("c", 5)])], "messages[0].content[0].content: "),  # type: ignore[arg-type]
    ([Message("tool", [ToolResult("c", [Document("d")])])], "messages[0].content[0].content: "),  # type: ignore[list-item]
    ([{"role": "user", "content": {"type": "text"}}], "messages[0].content: "),
    ([{"role": "user", "content": [5]}], "messages[0].content[0]: "),
    ([{"role": "user", "content": ["a", {"type": "video"}]}], "messages[0].content[1].type: "),
    ([{"role": "user", "content": [{"type": "text"}]}], "messages[0].content[0].type: "),
    (
        [{"role": "user", "content": [{"type": "image_url", "image_url": "data:x"}]}],
        "messages[0].content[0].image_url: ",
    ),
    (
        [{"role": "user", "content": [{"type": "image_url", "image_url": "data:image/png;base64,%%"}]}],
        "messages[0].content[0].image_url: ",
    ),
    (
        [{"role": "user", "content": [{"type": "image_url", "image_url": "data:image/png;base64,é"}]}],
        "messages[0].content[0].image_url: ",
    ),
    (
        [{"role": "assistant", "content": [{"type": "thinking", "thinking": "t", "signature": FIVE}]}],
        "messages[0].content[0].signature: str or None",
    ),
    ({"role": "tool", "tool_call_id": "c", "content": "42", "name": FIVE}, "messages.name: str or None"),
    ([{"role": "assistant", "content": "", "tool_calls": [{}]}], "messages[0].tool_calls[0]: "),
    ([{"role": "assistant", "tool_calls": [{"id": 1, "function": {}}]}], "messages[0].tool_calls[0]: "),
    ([{"role": "assistant", "tool_calls": 5}], "messages[0].tool_calls: "),
    ([{"role": "tool", "content": "42"}], "messages[0].tool_call_id: "),
    ([{"role": "tool", "tool_call_id": "", "content": "42"}], "messages[0].tool_call_id: "),
    ([{"role": "tool", "tool_call_id": "c", "content": [Document("d")]}], "messages[0].content: "),
    ([user(Text(FIVE))], "messages[0].content[0].text: str is allowed, not int"),
    ([user(Image(url=FIVE))], "messages[0].content[0].url: str or None is allowed, not int"),
    ([user("Look:", Image(data=FIVE, media_type="image/png"))], "messages[0].content[1].data: bytes or None"),
    ([user(Document("d", title=FIVE))], "messages[0].content[0].title: "),
    ([assistant(Reasoning("r", origin=FIVE))], "messages[0].content[0].origin: "),
    ([assistant(Opaque("search", FIVE))], "messages[0].content[0].data: "),
    ([assistant(ToolCall("c", "f", FIVE))], "messages[0].content[0].arguments: "),
    ({"role": "assistant", "tool_calls": [ToolCall("c", FIVE, "")]}, "messages.tool_calls[0].name: "),
    ([user(ToolResult(FIVE, "42"))], "messages[0].content[0].tool_call_id: "),
    ({"role": "tool", "content": [ToolResult("c", "42", is_error=FIVE)]}, "messages.is_error: "),
    ([user(ToolResult("c", [Text(FIVE)]))], "messages[0].content[0].content[0].text: "),
]


@pytest.mark.parametrize(("written", "beginning"), REFUSED)
def test_what_cannot_be_understood_is_named_by_its_place(written: Any, beginning: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        messages_from(written)
    assert str(caught.value).startswith(beginning)
    assert len(str(caught.value)) < 300


json_like: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["role", "content", "type", "text", "image_url", "url", "tool_calls", "id", "function"]
            ),
            inner | st.sampled_from(["user", "assistant", "tool", "text", "image_url"]),
            max_size=4,
        )
    ),
    max_leaves=10,
)


@given(json_like)
def test_anything_is_understood_or_refused_and_nothing_falls_over(written: Any) -> None:
    try:
        messages = messages_from(written)
    except InvalidRequest:
        return
    assert all(isinstance(message, Message) for message in messages)
    assert all(isinstance(message.text, str) for message in messages)


# ------------------------------------------------------------------ tools


def test_tools_are_understood_in_both_shapes() -> None:
    schema = {"type": "object", "properties": {"x": {"type": "number"}}}
    flat = {"name": "f", "description": "does", "parameters": schema, "strict": True}
    meant = Tool("f", "does", schema, strict=True)
    assert tools_from([meant, flat, {"type": "function", "function": flat}]) == (meant, meant, meant)
    assert tools_from(None) is None


def test_a_tool_may_end_what_is_cached() -> None:
    wrapped = {"type": "function", "function": {"name": "f"}, "cache_control": {"type": "ephemeral"}}
    flat = {"name": "f", "cache_control": {"type": "ephemeral"}}
    for tools in (tools_from([wrapped]), tools_from([flat])):
        assert tools is not None
        assert tools[0].cache


def test_a_tool_without_parameters_takes_an_empty_object() -> None:
    assert tools_from([{"name": "f"}]) == (Tool("f", "", {"type": "object", "properties": {}}),)


@pytest.mark.parametrize(
    ("tool", "beginning"),
    [
        (5, "tools[0]: "),
        ({}, "tools[0].name: "),
        ({"name": ""}, "tools[0].name: "),
        ({"function": {"name": 5}}, "tools[0].name: "),
        ({"function": 5}, "tools[0].name: "),
        ({"name": "f", "parameters": [1]}, "tools[0].parameters: "),
        ({"name": "f", "schema": {}}, "tools[0].schema: not supported; allowed are type, kind, name"),
        ({"type": "function", "function": {"name": "f"}, "x": 1}, "tools[0].x: not supported"),
        ({"type": "custom", "custom": {"name": "f", "parameters": {}}}, "tools[0].parameters: not supported"),
        (Tool("", "", {}), "tools[0].name: "),
        (Tool("f", "", [1]), "tools[0].parameters: "),  # type: ignore[arg-type]
    ],
)
def test_a_tool_that_cannot_be_understood_is_named_by_its_place(tool: Any, beginning: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        tools_from([tool])
    assert str(caught.value).startswith(beginning)


# ------------------------------------------------------------------ the values


@pytest.mark.parametrize("blank", ["", "null", "  ", " null\n"])
def test_arguments_that_say_nothing_are_an_empty_object(blank: str) -> None:
    assert ToolCall("c", "f", blank).parsed() == {}


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.none()))
def test_arguments_that_are_an_object_are_that_object(arguments: dict[str, Any]) -> None:
    assert ToolCall("c", "f", json.dumps(arguments)).parsed() == arguments


@pytest.mark.parametrize("wrong", ["[]", "5", '"x"', "true", "{", "{'a': 1}"])
def test_arguments_that_are_no_object_are_a_value_error(wrong: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - json says it in its own words
        ToolCall("c", "f", wrong).parsed()


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"url": "u", "data": b"d", "media_type": "image/png"},
        {"data": b"d"},
        {"media_type": "image/png"},
        {"url": ""},
        {"data": b"", "media_type": "image/png"},
        {"data": b"d", "media_type": "application/pdf"},
    ],
)
def test_an_image_is_either_an_address_or_bytes_of_a_kind(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest, match="Image: "):
        Image(**fields)


def test_an_image_does_not_pour_its_bytes_into_a_log() -> None:
    assert repr(Image(data=b"x" * 10_000, media_type="image/png")).count("x") < 5


def test_a_message_has_parts_and_a_text() -> None:
    assert user("a").parts == (Text("a"),)
    assert user("").parts == ()
    mixed = user("a", Image(url="u"), Text("b"))
    assert mixed.parts == (Text("a"), Image(url="u"), Text("b"))
    assert mixed.text == "ab"


# ------------------------------------------------------------------ files and images from paths


PNG_BYTES = b"\x89PNG\r\n\x1a\n"
PATHS = [
    ("page.pdf", b"%PDF-1.7", "application/pdf"),
    ("speech.wav", b"RIFF....WAVE", "audio/wav"),
    ("speech", b"RIFF....WAVE", "audio/wav"),
    ("notes.md", b"# Notes", "text/markdown"),
    ("scan", b"%PDF-1.7", "application/pdf"),
]


@pytest.mark.parametrize(("name", "data", "media_type"), PATHS)
def test_a_file_has_the_type_of_its_suffix_or_its_content(
    tmp_path: Path, name: str, data: bytes, media_type: str
) -> None:
    (tmp_path / name).write_bytes(data)
    assert File.from_path(tmp_path / name) == File(data=data, media_type=media_type, name=name)


@pytest.mark.parametrize(
    ("name", "data", "wrong"), [("a.pdf", b"", "is empty"), ("a.zzz", b"??", "not known")]
)
def test_a_file_that_is_empty_or_of_no_known_type_is_refused(
    tmp_path: Path, name: str, data: bytes, wrong: str
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InvalidRequest, match=wrong):
        File.from_path(tmp_path / name)


def test_a_missing_file_is_the_operating_systems_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        File.from_path(tmp_path / "missing.pdf")


def test_an_image_has_the_type_of_its_content_not_of_its_name(tmp_path: Path) -> None:
    (tmp_path / "picture.jpg").write_bytes(PNG_BYTES)
    assert Image.from_path(tmp_path / "picture.jpg") == Image(data=PNG_BYTES, media_type="image/png")


@pytest.mark.parametrize("data", [b"not an image", b"%PDF-1.7", b""])
def test_an_image_that_is_none_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "picture.png").write_bytes(data)
    with pytest.raises(InvalidRequest, match=r"picture\.png"):
        Image.from_path(tmp_path / "picture.png")


FILES_NOT_ALLOWED: list[dict[str, Any]] = [
    {},
    {"data": b"x"},
    {"data": b"", "media_type": "application/pdf"},
    {"url": "u", "id": "f"},
    {"url": ""},
    {"id": ""},
]


@pytest.mark.parametrize("fields", FILES_NOT_ALLOWED)
def test_a_file_has_exactly_one_source(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest, match="File:"):
        File(**fields)


TOOLS_NOT_ALLOWED: list[dict[str, Any]] = [
    {},
    {"parameters": {}, "format": {"type": "text"}},
    {"kind": "custom", "parameters": {}},
    {"kind": "custom", "strict": True},
]


@pytest.mark.parametrize("fields", TOOLS_NOT_ALLOWED)
def test_a_tool_takes_either_an_object_or_free_text(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest, match="Tool 'find'"):
        Tool("find", "Find it.", **fields)


@pytest.mark.parametrize(
    "given",
    [
        {"type": "custom", "custom": {"name": "code", "description": "Run.", "format": {"type": "text"}}},
        {"type": "custom", "name": "code", "description": "Run.", "format": {"type": "text"}},
        Tool("code", "Run.", kind="custom", format={"type": "text"}),
    ],
)
def test_a_custom_tool_is_read_in_every_form(given: Any) -> None:
    assert tools_from([given]) == (Tool("code", "Run.", kind="custom", format={"type": "text"}),)
