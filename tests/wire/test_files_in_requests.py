"""A file goes where the API takes it, is read back as it was, and is refused by name elsewhere."""

import json
from typing import Any

import attrs
import pytest

from cortex_trio.events import ReplyBuilder
from cortex_trio.failures import InvalidRequest
from cortex_trio.messages import (
    ChatRequest,
    Document,
    File,
    Image,
    Message,
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
from cortex_trio.simulator.request import identity_of
from cortex_trio.simulator.servers import SERVERS
from cortex_trio.wire.anthropic_messages.dialect import AnthropicMessages
from cortex_trio.wire.codec import Dialect, Unsupported
from cortex_trio.wire.cohere_chat.dialect import CohereChat
from cortex_trio.wire.gemini.dialect import Gemini
from cortex_trio.wire.ollama_chat.dialect import OllamaChat
from cortex_trio.wire.options import require_small_files
from cortex_trio.wire.server import ReceivedRequest

PDF = File(data=b"%PDF-1.7", media_type="application/pdf", name="report.pdf")
WAV = File(data=b"RIFF", media_type="audio/wav")
CALL = assistant(ToolCall("a", "f", "{}"))

DIALECTS = [AnthropicMessages(), Gemini(), CohereChat(), OllamaChat()]
WITHOUT_FILES = [CohereChat(), OllamaChat()]


def encoded(dialect: Dialect, *messages: Message, **options: Any) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(
        dialect.encode(ChatRequest(messages=messages, **options), "p", "m").body or b""
    )
    return body


@pytest.mark.parametrize("dialect", WITHOUT_FILES, ids=lambda dialect: dialect.name)
@pytest.mark.parametrize(
    ("file", "named"),
    [
        (PDF, "files of type application/pdf as bytes"),
        (WAV, "files of type audio/wav as bytes"),
        (File(url="https://e.org/a.pdf"), "files by URL"),
        (File(id="file_1", media_type="text/csv"), "files of type text/csv by the id of an upload"),
        (File(id="file_1", media_type="image/png"), "files of type image/png by the id of an upload"),
    ],
)
def test_an_api_without_files_refuses_them_by_name(dialect: Dialect, file: File, named: str) -> None:
    for messages in ([user("Sum up", file)], [user("Go"), CALL, tool(ToolResult("a", (Text("x"), file)))]):
        with pytest.raises(Unsupported) as caught:
            encoded(dialect, *messages)
        assert (caught.value.what, caught.value.provider) == (named, "p")


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_a_file_that_is_an_image_is_sent_as_one(dialect: Dialect) -> None:
    file = File(data=b"\x89PNG", media_type="image/png")
    image = Image(data=b"\x89PNG", media_type="image/png")
    assert encoded(dialect, user("See", file)) == encoded(dialect, user("See", image))
    results = [[user("Go"), CALL, tool(ToolResult("a", (Text("x"), part)))] for part in (file, image)]
    assert encoded(dialect, *results[0]) == encoded(dialect, *results[1])


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_no_file_in_a_system_message_is_dropped(dialect: Dialect) -> None:
    with pytest.raises(Unsupported):
        encoded(dialect, Message("system", (Text("Be brief."), PDF)), user("Hi"))


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_custom_tools_are_refused_by_name(dialect: Dialect) -> None:
    with pytest.raises(Unsupported, match=r"p does not support custom tools \(the tool 'patch'\)"):
        encoded(dialect, user("Hi"), tools=(Tool("patch", "Patches", kind="custom"),))


# ------------------------------------------------------------------ Gemini


def gemini_parts(*parts: File) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = encoded(Gemini(), user(*parts))["contents"][0]["parts"]
    return found


@pytest.mark.parametrize("media_type", ["application/pdf", "audio/wav", "video/mp4", "text/plain"])
def test_gemini_takes_bytes_of_many_types(media_type: str) -> None:
    assert gemini_parts(File(data=b"abc", media_type=media_type)) == [
        {"inlineData": {"mimeType": media_type, "data": "YWJj"}}
    ]


def test_gemini_takes_addresses_and_uploads() -> None:
    assert gemini_parts(
        File(url="https://e.org/a.mp4", media_type="video/mp4"),
        File(url="gs://bucket/a"),
        File(id="files/abc", media_type="application/pdf"),
        File(id="https://generativelanguage.googleapis.com/v1beta/files/abc"),
    ) == [
        {"fileData": {"mimeType": "video/mp4", "fileUri": "https://e.org/a.mp4"}},
        {"fileData": {"fileUri": "gs://bucket/a"}},
        {
            "fileData": {
                "mimeType": "application/pdf",
                "fileUri": "https://generativelanguage.googleapis.com/v1beta/files/abc",
            }
        },
        {"fileData": {"fileUri": "https://generativelanguage.googleapis.com/v1beta/files/abc"}},
    ]


def test_gemini_takes_files_beside_a_result() -> None:
    *_, result = encoded(Gemini(), user("Go"), CALL, tool(ToolResult("a", (Text("x"), WAV))))["contents"]
    assert result["parts"][1] == {"inlineData": {"mimeType": "audio/wav", "data": "UklGRg=="}}


def test_gemini_refuses_types_that_no_model_reads() -> None:
    with pytest.raises(Unsupported, match=r"files of type application/zip as bytes \(only images, audio"):
        gemini_parts(File(data=b"PK", media_type="application/zip"))


def test_gemini_refuses_more_bytes_than_a_request_may_hold() -> None:
    large = File(data=bytes(15_000_001), media_type="video/mp4")
    with pytest.raises(Unsupported, match=r"20,000,004 bytes .*only 20,000,000\); upload them"):
        gemini_parts(large)
    with pytest.raises(Unsupported, match="20,000,000"):
        encoded(Gemini(), user("Go"), CALL, tool(ToolResult("a", (large,))))


def test_gemini_puts_documents_of_the_system_into_its_instructions() -> None:
    body = encoded(Gemini(), Message("system", (Text("Use this: "), Document("facts"))), user("Hi"))
    assert body["systemInstruction"] == {"parts": [{"text": "Use this: facts"}]}
    assert encoded(Gemini(), system("A"), system("B"), user("Hi"))["systemInstruction"] == {
        "parts": [{"text": "A\n\nB"}]
    }


# ------------------------------------------------------------------ Anthropic


def anthropic_blocks(*parts: File) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = encoded(AnthropicMessages(), user(*parts))["messages"][0]["content"]
    return found


def test_anthropic_takes_pdf_by_bytes_address_and_id() -> None:
    assert anthropic_blocks(
        PDF,
        File(url="https://e.org/a.pdf"),
        File(url="https://e.org/b.pdf", media_type="application/pdf", name="b"),
        File(id="file_1"),
    ) == [
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0xLjc="},
            "title": "report.pdf",
        },
        {"type": "document", "source": {"type": "url", "url": "https://e.org/a.pdf"}},
        {"type": "document", "source": {"type": "url", "url": "https://e.org/b.pdf"}, "title": "b"},
        {"type": "document", "source": {"type": "file", "file_id": "file_1"}},
    ]


def test_anthropic_takes_text_of_any_kind_as_plain_text() -> None:
    notes = File(data="\ufeffgrüß".encode(), media_type="text/markdown", name="notes.md")
    assert anthropic_blocks(notes) == [
        {
            "type": "document",
            "source": {"type": "text", "media_type": "text/plain", "data": "grüß"},
            "title": "notes.md",
        }
    ]
    with pytest.raises(InvalidRequest, match=r"File a\.txt: text/plain must be UTF-8"):
        anthropic_blocks(File(data=b"\xff\xff", media_type="text/plain", name="a.txt"))


def test_anthropic_takes_uploads_of_images_and_names_the_beta_they_need() -> None:
    file = File(id="file_1", media_type="image/png")
    assert anthropic_blocks(file) == [{"type": "image", "source": {"type": "file", "file_id": "file_1"}}]
    result = tool(ToolResult("a", (Text("x"), File(id="file_2"))))
    for messages in ((user(file),), (user("Go"), CALL, result)):
        http = AnthropicMessages().encode(ChatRequest(messages=messages), "p", "m")
        assert http.headers["anthropic-beta"] == "files-api-2025-04-14"
    http = AnthropicMessages().encode(ChatRequest(messages=(user(PDF),)), "p", "m")
    assert "anthropic-beta" not in http.headers


def test_anthropic_takes_files_inside_a_result() -> None:
    *_, turn = encoded(AnthropicMessages(), user("Go"), CALL, tool(ToolResult("a", (Text("x"), PDF))))[
        "messages"
    ]
    [result] = turn["content"]
    assert [block["type"] for block in result["content"]] == ["text", "document"]


@pytest.mark.parametrize(
    ("file", "named"),
    [
        (WAV, "files of type audio/wav as bytes"),
        (File(url="https://e.org/a.txt", media_type="text/plain"), "files of type text/plain by URL"),
        (File(data=b"PK", media_type="application/zip"), "files of type application/zip as bytes"),
        (File(id="f", media_type="video/mp4"), "files of type video/mp4 by the id of an upload"),
    ],
)
def test_anthropic_refuses_other_files_by_name(file: File, named: str) -> None:
    with pytest.raises(Unsupported) as caught:
        anthropic_blocks(file)
    assert caught.value.what.startswith(f"{named} (only images and PDF")


def test_anthropic_refuses_more_bytes_than_a_request_may_hold() -> None:
    with pytest.raises(Unsupported, match="only 32,000,000"):
        anthropic_blocks(File(data=bytes(24_000_001), media_type="application/pdf"))


# ------------------------------------------------------------------ read again

TAKEN = {
    "anthropic": [
        PDF,
        File(url="https://e.org/a.pdf", name="a"),
        File(id="file_1"),
        File(id="file_1", media_type="image/*"),
    ],
    "gemini": [
        attrs.evolve(PDF, name=None),
        WAV,
        File(url="https://e.org/a.mp4", media_type="video/mp4"),
        File(id="files/abc", media_type="application/pdf"),
        File(id="files/abc"),
    ],
}


@pytest.mark.parametrize(("name", "file"), [(name, file) for name, files in TAKEN.items() for file in files])
def test_a_file_is_read_as_it_was_sent(name: str, file: File) -> None:
    asked = user(Text("Sum up"), file)
    assert read(name, ChatRequest(messages=(asked,))).messages == (asked,)


@pytest.mark.parametrize("file", TAKEN["anthropic"])
def test_a_file_in_a_result_is_read_as_it_was_sent(file: File) -> None:
    request = ChatRequest(messages=(user("Go"), CALL, tool(ToolResult("a", (Text("x"), file)))))
    assert read("anthropic", request).messages[-1].parts == (ToolResult("a", (Text("x"), file)),)


def read(name: str, request: ChatRequest) -> ChatRequest:
    http = PROVIDERS[name].dialect.encode(request, name, "m")
    path, _, query = http.path.partition("?")
    server = SERVERS[name].dialects[0]
    received = ReceivedRequest(
        method=http.method,
        path=server.base_path + path,
        query=dict(pair.split("=") for pair in query.split("&") if pair),
        headers={**PROVIDERS[name].headers, **http.headers},
        body=json.loads(http.body or b"null"),
        identity=identity_of(1),
    )
    return server.chat_request(received)


# ------------------------------------------------------------------ speech of a model


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_speech_of_a_model_is_left_out_beside_its_transcript(dialect: Dialect) -> None:
    said = encoded(dialect, user("Hi"), assistant("Hello"), user("Bye"))
    assert encoded(dialect, user("Hi"), assistant("Hello", WAV), user("Bye")) == said


def test_speech_of_gemini_is_a_file_and_goes_back() -> None:
    part = {"inlineData": {"mimeType": "audio/L16;codec=pcm;rate=24000", "data": "UklGRg=="}}
    candidate = {"content": {"parts": [part], "role": "model"}, "finishReason": "STOP"}
    built = ReplyBuilder("gemini/m")
    built.add_all(Gemini().decode_reply(json.dumps({"candidates": [candidate]}).encode()))
    assert built.message() == assistant(File(data=b"RIFF", media_type="audio/L16;codec=pcm;rate=24000"))
    assert encoded(Gemini(), user("Say it"), built.message(), user("Again"))["contents"][1]["parts"] == [part]


def test_speech_that_gemini_signed_goes_back_as_it_came() -> None:
    part = {"inlineData": {"mimeType": "audio/wav", "data": "UklGRg=="}, "thoughtSignature": "QQ=="}
    candidate = {"content": {"parts": [part], "role": "model"}, "finishReason": "STOP"}
    built = ReplyBuilder("p/m")
    built.add_all(Gemini().decode_reply(json.dumps({"candidates": [candidate]}).encode()))
    assert encoded(Gemini(), user("Say it"), built.message(), user("Again"))["contents"][1]["parts"] == [part]


@pytest.mark.parametrize("provider", ["openai", "openai_responses"])
def test_openai_refuses_more_bytes_than_a_request_may_hold(provider: str) -> None:
    def sent(size: int) -> ChatRequest:
        return ChatRequest(messages=(user("?", File(data=b"x" * size, media_type="application/pdf")),))

    dialect = PROVIDERS[provider].dialect
    with pytest.raises(Unsupported, match="files of"):
        dialect.encode(sent(50_000_001), provider, "m")
    assert dialect.encode(sent(1_000), provider, "m").body


def test_images_count_as_files_and_the_text_of_a_result_does_not() -> None:
    image = Image(data=b"x" * 60, media_type="image/png")
    history = (user(image), assistant(ToolCall("c", "t", "{}")), tool(ToolResult("c", "x" * 1_000)))
    require_small_files(ChatRequest(messages=history), 80, "p")
    with pytest.raises(Unsupported, match="files of 80 bytes"):
        require_small_files(ChatRequest(messages=history), 79, "p")
