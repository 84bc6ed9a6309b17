"""The Ollama dialect: recorded answers read right at every slicing, requests as the server asks for them."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import attrs
import pytest
from hearing import JSON, Heard, assert_bounded, assert_broken, bytewise, heard
from hypothesis import given
from hypothesis import strategies as st

from cortex_trio.events import (
    Finished,
    FinishReason,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    Usage,
    UsageUpdate,
    WireEvent,
)
from cortex_trio.failures import Failure, FailureKind
from cortex_trio.messages import (
    ChatRequest,
    Document,
    Image,
    Message,
    Reasoning,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    assistant,
    system,
    user,
)
from cortex_trio.wire.codec import Unsupported
from cortex_trio.wire.ollama_chat.dialect import OllamaChat

DIALECT = OllamaChat()
STOP = Finished(FinishReason.STOP, "stop")
TOOL_CALLS = Finished(FinishReason.TOOL_CALLS, "stop")


def decode(chunks: Iterable[bytes]) -> list[WireEvent]:
    return heard(DIALECT, chunks)


def lines(*objects: object) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in objects)


def says(content: str = "", **more: Any) -> dict[str, Any]:
    return {"message": {"role": "assistant", "content": content, **more}, "done": False}


def done(**more: Any) -> dict[str, Any]:
    return {"message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop", **more}


# ------------------------------------------------------------------ what was recorded


@attrs.frozen
class HeardHere(Heard):
    """And the calls, which have an id here."""

    calls: tuple[ToolCall, ...] = ()


STREAMS = {
    "recordings/ollama/chat_stream_text_llama3.ndjson": HeardHere(
        STOP,
        Usage(17, 50),
        49,
        text=("Why did the OpenTelemetry agent go to therapy?\n\n", "to your face!)", 212),
    ),
    "recordings/ollama/chat_stream_cloud_gptoss20b.ndjson": HeardHere(
        STOP,
        Usage(67, 65),
        55,
        text=("STREAM", "STREAM", 6),
        reasoning=('The user says: "Reply with exactly', "So output: STREAM.", 243),
    ),
    # Thinking was switched off, so the model wrote it, and the tag that ends it, into the answer.
    "recordings/ollama/chat_stream_tool_call_qwen3.ndjson": HeardHere(
        TOOL_CALLS,
        Usage(237, 321),
        296,
        text=("Okay, the user wants me to calculate 2 minus 5.", "and y=5.\n</think>\n\n", 1067),
        calls=(ToolCall("call_REDACTED_1", "subtract", '{"x":2,"y":5}'),),
    ),
    "recordings/ollama/chat_stream_parallel_tool_calls_qwen3.ndjson": HeardHere(
        TOOL_CALLS,
        Usage(262, 473),
        433,
        text=("Okay, the user wants me to call both `lookup_harbor_label`", "sequence.\n</think>\n\n", 1904),
        calls=(
            ToolCall("call_REDACTED_1", "lookup_harbor_label", "{}"),
            ToolCall("call_REDACTED_2", "lookup_orchard_label", "{}"),
        ),
    ),
    "recordings/ollama/chat_stream_two_tool_calls_qwen3_14b.ndjson": HeardHere(
        TOOL_CALLS,
        Usage(218, 306),
        0,
        calls=(
            ToolCall("call_0", "weather", '{"city":"Detroit"}'),
            ToolCall("call_1", "search", '{"query":"Detroit Tigers game time today"}'),
        ),
    ),
    "constructed/ollama/chat_stream_error_mid_stream.ndjson": HeardHere(
        FailureKind.SERVER, Usage(), 2, text=("Hello", "Hello", 5)
    ),
}

WHOLE = {
    "recordings/ollama/chat_done_reason_length.json": HeardHere(
        Finished(FinishReason.LENGTH, "length"),
        Usage(42, 24),
        1,
        text=("Hmm, the user wants a concise explanation", "one or two sentences", 129),
    ),
    "recordings/ollama/chat_image_input.json": HeardHere(
        STOP, Usage(590, 240), 1, text=("The image features a stylized black", "emblem-like effect.", 1083)
    ),
    "recordings/ollama/chat_tool_call_qwen36.json": HeardHere(
        TOOL_CALLS,
        Usage(292, 143),
        1,
        reasoning=("Thinking Process:\n1.  **Identify User Intent**", "Make the call.✅", 437),
        calls=(ToolCall("call_gsiiy8py", "get_current_weather", '{"city":"Paris"}'),),
    ),
}


def check(events: list[WireEvent], expected: HeardHere) -> None:
    built = expected.check(events)
    assert built.tool_calls == expected.calls


def test_every_recorded_stream_is_expected_here(shared_dir: Path) -> None:
    found = {str(path.relative_to(shared_dir / "wire")) for path in shared_dir.glob("wire/*/ollama/*.ndjson")}
    assert found == set(STREAMS)


@pytest.mark.parametrize("name", STREAMS)
def test_a_recorded_stream_is_decoded_as_a_reader_reads_it_at_every_slicing(
    shared_dir: Path, name: str
) -> None:
    body = (shared_dir / "wire" / name).read_bytes()
    whole = decode([body])
    check(whole, STREAMS[name])
    assert decode(bytewise(body)) == whole


@pytest.mark.parametrize(
    "name", [name for name, heard in STREAMS.items() if isinstance(heard.finish, Finished)]
)
def test_a_recorded_stream_that_is_cut_anywhere_never_ends_well(shared_dir: Path, name: str) -> None:
    body = (shared_dir / "wire" / name).read_bytes().rstrip()
    for cut in (*range(0, len(body), max(1, len(body) // 50)), len(body) - 1):
        last = decode([body[:cut]])[-1]
        assert isinstance(last, Failure)
        assert last.kind is FailureKind.TRUNCATED
    assert isinstance(decode([body])[-1], Finished)  # the last line feed is a courtesy


@pytest.mark.parametrize("name", WHOLE)
def test_a_recorded_whole_answer_gives_the_events_of_its_stream(shared_dir: Path, name: str) -> None:
    check(DIALECT.decode_reply((shared_dir / "wire" / name).read_bytes()), WHOLE[name])


def test_recorded_embeddings_and_models_are_read(shared_dir: Path) -> None:
    recordings = shared_dir / "wire/recordings/ollama"
    [vector] = DIALECT.decode_embed((recordings / "embed_nomic.json").read_bytes())
    assert (len(vector), vector[0], vector[-1]) == (768, 0.015991924, 0.007620321)
    assert DIALECT.decode_models((recordings / "tags.json").read_bytes()) == (
        "all-minilm:latest",
        "qwen3:4b",
        "gemma3:4b",
        "llava:latest",
        "llama3.2:latest",
    )


# ------------------------------------------------------------------ streams, line by line


def test_a_stream_is_handed_on_piece_by_piece_and_ends_with_finished() -> None:
    body = lines(
        says(thinking="hm"),
        says("Hel"),
        says(""),
        says("lo", thinking="and"),
        {"status": "something new"},
        done(prompt_eval_count=3, eval_count=4),
    )
    assert decode([body]) == [
        ReasoningDelta("hm"),
        TextDelta("Hel"),
        ReasoningDelta("and"),
        TextDelta("lo"),
        UsageUpdate(Usage(3, 4, 7)),
        STOP,
    ]


def test_nothing_comes_after_the_end() -> None:
    decoder = DIALECT.decoder()
    assert decoder.feed(lines(done(), says("late"), {"error": "late"})) == [STOP]
    assert decoder.done
    assert decoder.feed(lines(says("more"))) == []
    assert decoder.finish() == []


def test_missing_usage_is_not_reported() -> None:
    assert decode([lines(done(eval_count=4))]) == [UsageUpdate(Usage(None, 4)), STOP]
    assert decode([lines(done(prompt_eval_count="?"))]) == [STOP]


@pytest.mark.parametrize(
    ("line", "finished"),
    [
        (done(done_reason="stop"), STOP),
        (done(done_reason="length"), Finished(FinishReason.LENGTH, "length")),
        (done(done_reason="load"), Finished(FinishReason.OTHER, "load")),
        (done(done_reason="unload"), Finished(FinishReason.OTHER, "unload")),
        (done(done_reason="something_new"), Finished(FinishReason.OTHER, "something_new")),
        ({"done": True}, Finished(FinishReason.STOP, None)),
    ],
)
def test_done_reasons_have_names_of_ours(line: dict[str, Any], finished: Finished) -> None:
    assert decode([lines(line)]) == [finished]


def test_calls_come_whole_and_get_an_id_where_they_have_none() -> None:
    body = lines(
        says(
            tool_calls=[
                {"function": {"name": "a", "arguments": {"ü": 1}}},
                {"id": "mine", "function": {"name": "b", "arguments": None, "index": 7}},
            ]
        ),
        says(tool_calls=None),
        says(tool_calls=[{"function": {"name": "c", "arguments": '{"was": "text"}'}}]),
        done(),
    )
    assert decode([body]) == [
        ToolCallDelta(0, '{"ü":1}', "call_0", "a"),
        ToolCallDelta(1, "{}", "mine", "b"),
        ToolCallDelta(2, '{"was": "text"}', "call_2", "c"),
        TOOL_CALLS,
    ]


def test_an_answer_cut_by_its_length_is_no_finished_call() -> None:
    call = says(tool_calls=[{"function": {"name": "a", "arguments": {}}}])
    assert decode([lines(call, done(done_reason="length"))])[-1] == Finished(FinishReason.LENGTH, "length")


def test_an_error_ends_the_stream_wherever_it_comes() -> None:
    error = {"error": "server busy, please try again.  maximum pending requests exceeded"}
    for before in ([], [says("x")]):
        *content, last = decode([lines(*before, error, done())])
        assert content == [TextDelta("x")] * len(before)
        assert isinstance(last, Failure)
        assert (last.kind, last.phase) == (FailureKind.OVERLOADED, "stream")


@pytest.mark.parametrize(
    "broken",
    [
        b"<html>\n",
        b"[1]\n",
        b'{"message": \xff}\n',
        b"[" * 100_000 + b"\n",
        b'{"message": ["x"]}\n',
        b'{"message": {"content": 5}}\n',
        b'{"message": {"thinking": []}}\n',
        b'{"message": {"tool_calls": {}}}\n',
        b'{"message": {"tool_calls": [5]}}\n',
        b'{"message": {"tool_calls": [{"function": {"name": ""}}]}}\n',
        b'{"message": {"tool_calls": [{"function": {"name": "f"}, "id": 5}]}}\n',
        b'{"done": true, "done_reason": 5}\n',
    ],
)
def test_a_wrong_shape_is_a_protocol_failure_that_quotes_nothing_long(broken: bytes) -> None:
    assert_broken(decode([lines(says("before")) + broken + lines(done())]), TextDelta("before"))


def test_an_endless_line_fails_without_being_kept() -> None:
    assert_bounded(DIALECT, lines(says("a")), TextDelta("a"))


CALL = st.fixed_dictionaries(
    {}, optional={"id": JSON, "function": st.fixed_dictionaries({"name": JSON, "arguments": JSON}) | JSON}
)
MESSAGE = st.fixed_dictionaries(
    {}, optional={"content": JSON, "thinking": JSON, "tool_calls": st.lists(CALL, max_size=2) | JSON}
)
LINE = st.fixed_dictionaries(
    {}, optional={"message": MESSAGE | JSON, "done": JSON, "done_reason": JSON, "error": JSON}
)


@given(st.lists(LINE | JSON, max_size=5))
@pytest.mark.slow
def test_no_shape_of_json_is_a_surprise(objects: list[Any]) -> None:
    body = lines(*objects)
    assert decode([body]) == decode(bytewise(body))
    for value in objects:
        assert isinstance(DIALECT.decode_reply(lines(value))[-1], Finished | Failure)


@given(st.binary(max_size=300))
def test_no_bytes_are_a_surprise(body: bytes) -> None:
    assert isinstance(decode([body])[-1], Failure)
    assert isinstance(DIALECT.decode_reply(body)[-1], Failure)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", FailureKind.PROTOCOL),
        (b'{"version":"0.12.0"}', FailureKind.PROTOCOL),
        (b'{"message":{"content":"half"}}', FailureKind.TRUNCATED),
        (b'{"error":"server busy, please try again."}', FailureKind.OVERLOADED),
    ],
)
def test_a_body_that_is_no_whole_answer_is_a_failure(body: bytes, kind: FailureKind) -> None:
    last = DIALECT.decode_reply(body)[-1]
    assert isinstance(last, Failure)
    assert last.kind is kind


@pytest.mark.parametrize(
    "body", [b"no", b"{}", b'{"embeddings":[5]}', b'{"embeddings":[["a"]]}', b'{"embeddings":[[]]}']
)
def test_a_body_without_embeddings_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"no list at embeddings|list of numbers"):
        DIALECT.decode_embed(body)


@pytest.mark.parametrize("body", [b"no", b"{}", b'{"models":[5]}', b'{"models":[{"name":5}]}'])
def test_a_body_that_lists_no_models_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"no list at models|without 'name'|not a string"):
        DIALECT.decode_models(body)


# ------------------------------------------------------------------ requests


def encode(request: ChatRequest, model: str = "m") -> dict[str, Any]:
    http = DIALECT.encode(request, "ollama", model)
    assert (http.method, http.path) == ("POST", "/api/chat")
    assert http.body is not None
    body: dict[str, Any] = json.loads(http.body)
    return body


def sent(*messages: Message, **options: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = encode(ChatRequest(messages=messages, **options))["messages"]
    return found


def test_only_what_was_set_is_sent_and_stream_always() -> None:
    messages = [{"role": "user", "content": "hi"}]
    assert encode(ChatRequest(messages=(user("hi"),))) == {"model": "m", "messages": messages, "stream": True}
    whole = ChatRequest(messages=(user("hi"),), stream=False)
    assert encode(whole) == {"model": "m", "messages": messages, "stream": False}
    assert DIALECT.encode(whole, "ollama", "m").headers["accept"] == "application/json"


def test_options_are_options_and_extra_ones_join_them() -> None:
    request = ChatRequest(
        messages=(user("hi"),),
        max_tokens=9,
        temperature=0.0,
        top_p=0.5,
        stop=("a",),
        extra_body={"keep_alive": -1, "options": {"num_ctx": 8192, "top_p": 0.9}},
    )
    body = encode(request)
    assert body["keep_alive"] == -1
    assert body["options"] == {
        "num_predict": 9,
        "temperature": 0.0,
        "top_p": 0.9,
        "stop": ["a"],
        "num_ctx": 8192,
    }


def test_content_is_flattened_and_images_stand_beside_it() -> None:
    picture = Image(data=b"\0\1", media_type="image/png")
    assert sent(system("be brief"), user("see", picture, Document("facts", title="t"), "well?")) == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "see\n\nt\n\nfacts\n\nwell?", "images": ["AAE="]},
    ]


def test_documents_of_the_request_come_before_the_last_question() -> None:
    found = sent(user("a"), assistant("b"), user("c"), documents=(Document("facts", title="t"),))
    assert [message["content"] for message in found] == ["a", "b", "t\n\nfacts\n\nc"]


def test_calls_have_arguments_as_objects_and_results_follow_with_their_names() -> None:
    found = sent(
        user("go"),
        assistant("Let ", Reasoning("hm"), "me.", ToolCall("x", "f", '{"a":1}'), ToolCall("y", "g", "")),
        Message("tool", (ToolResult("x", "one"),)),
        user(ToolResult("y", (Text("two"), Image(data=b"\0", media_type="image/png")), name="named"), "next"),
    )
    assert found[1:] == [
        {
            "role": "assistant",
            "content": "Let me.",
            "thinking": "hm",
            "tool_calls": [
                {"id": "x", "function": {"name": "f", "arguments": {"a": 1}}},
                {"id": "y", "function": {"name": "g", "arguments": {}}},
            ],
        },
        {"role": "tool", "content": "one", "tool_call_id": "x", "tool_name": "f"},
        {"role": "tool", "content": "two", "images": ["AA=="], "tool_call_id": "y", "tool_name": "named"},
        {"role": "user", "content": "next"},
    ]


def test_thinking_goes_only_to_the_model_it_came_from() -> None:
    thought = assistant(Reasoning("hm", origin="ollama/m"), "so")
    assert sent(user("a"), thought)[1] == {"role": "assistant", "content": "so", "thinking": "hm"}
    foreign = assistant(Reasoning("hm", origin="ollama/other"), "so")
    assert sent(user("a"), foreign)[1] == {"role": "assistant", "content": "so"}


TOOL = Tool("f", "does f", {"type": "object"}, strict=True)
WIRE_TOOL = {
    "type": "function",
    "function": {
        "name": "f",
        "description": "does f",
        "parameters": {"type": "object"},
        "strict": True,
    },
}


@pytest.mark.parametrize(("choice", "tools"), [(None, [WIRE_TOOL]), ("auto", [WIRE_TOOL]), ("none", None)])
def test_tools_are_offered_or_left_out(choice: str | None, tools: list[Any] | None) -> None:
    body = encode(ChatRequest(messages=(user("hi"),), tools=(TOOL,), tool_choice=choice))
    assert body.get("tools") == tools
    assert "tool_choice" not in body


@pytest.mark.parametrize(
    ("effort", "think"), [("none", False), ("low", "low"), ("medium", "medium"), ("high", "high")]
)
def test_an_effort_is_a_way_to_think(effort: str, think: bool | str) -> None:
    assert encode(ChatRequest(messages=(user("hi"),), reasoning=effort))["think"] == think


def test_a_schema_is_the_format() -> None:
    schema = {"type": "object", "properties": {}}
    assert encode(ChatRequest(messages=(user("hi"),), response_schema=schema))["format"] == schema


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": "f"}, "tool_choice"),
        ({"reasoning": 1000}, "a token budget for reasoning"),
        ({"reasoning": "xhigh"}, "reasoning='xhigh'"),
        ({"messages": (user(Image(url="https://a/b.png")),)}, "an image by URL"),
    ],
)
def test_what_this_api_does_not_support_is_refused_by_name(options: dict[str, Any], what: str) -> None:
    with pytest.raises(Unsupported) as caught:
        encode(ChatRequest(**{"messages": (user("hi"),), "tools": (TOOL,), **options}))
    assert caught.value.what == what
    assert caught.value.provider == "ollama"


def test_arguments_that_are_no_object_go_back_as_a_text() -> None:
    _, said = encode(ChatRequest(messages=(user("x"), assistant(ToolCall("a", "f", "[1]")))))["messages"]
    assert said == {
        "role": "assistant",
        "content": "[A call of the tool f that was cut off and not run: [1]]",
    }


def test_embeddings_are_asked_for_in_one_request() -> None:
    http = DIALECT.encode_embed(["a", "b"], "ollama", "nomic", None)
    assert (http.method, http.path) == ("POST", "/api/embed")
    assert json.loads(http.body or b"") == {"model": "nomic", "input": ["a", "b"]}
    sized = DIALECT.encode_embed(["a"], "ollama", "nomic", 256)
    assert json.loads(sized.body or b"")["dimensions"] == 256


def function(name: str, description: str, **properties: str) -> Tool:
    schema = {key: {"description": text, "type": "number"} for key, text in properties.items()}
    return Tool(name, description, {"type": "object", "properties": schema, "required": list(schema)})


RECORDED = {
    "chat_done_reason_length": ChatRequest(
        messages=(
            system("You are a concise assistant. Answer directly."),
            user(
                "In one or two sentences, explain what Rust programming language is and why memory safety matters."
            ),
        ),
        max_tokens=24,
        reasoning="none",
        stream=False,
    ),
    "chat_stream_cloud_gptoss20b": ChatRequest(
        messages=(user("Reply with exactly STREAM."),), max_tokens=128, temperature=0, reasoning="none"
    ),
    "chat_stream_tool_call_qwen3": ChatRequest(
        messages=(
            system("You are a calculator. Use the provided tools before answering arithmetic questions."),
            user("Calculate 2 - 5."),
        ),
        reasoning="none",
        tools=(
            function(
                "add", "Add x and y together", x="The first number to add", y="The second number to add"
            ),
            function(
                "subtract",
                "Subtract y from x (i.e.: x - y)",
                x="The number to subtract from",
                y="The number to subtract",
            ),
        ),
    ),
    "chat_tool_call_qwen36": ChatRequest(
        messages=(user("What is the weather in Paris? Use the get_current_weather tool."),),
        temperature=0,
        stream=False,
        extra_body={"options": {"seed": 42}},
        tools=(
            Tool(
                "get_current_weather",
                "Get the current weather in a city.",
                {
                    "type": "object",
                    "required": ["city"],
                    "properties": {"city": {"type": "string", "description": "The city name."}},
                },
            ),
        ),
    ),
}


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_request_is_what_we_would_have_sent(shared_dir: Path, name: str) -> None:
    meta = json.loads((shared_dir / f"wire/recordings/ollama/{name}.meta.json").read_text())
    recorded = meta["request_body"]
    if not recorded.get("options"):
        recorded.pop("options", None)  # an empty one says nothing
    assert encode(RECORDED[name], recorded["model"]) == recorded
