"""What the Anthropic dialect sends: the body the API asks for, and requests as they were recorded."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

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
from cortex_trio.wire.anthropic_messages.dialect import AnthropicMessages
from cortex_trio.wire.codec import Unsupported

DIALECT = AnthropicMessages()


def encode(request: ChatRequest, provider: str = "anthropic", model: str = "claude-x") -> dict[str, Any]:
    http = DIALECT.encode(request, provider, model)
    assert (http.method, http.path) == ("POST", "/v1/messages")
    assert http.body is not None
    body: dict[str, Any] = json.loads(http.body)
    return body


def turns(*messages: Message, **options: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = encode(ChatRequest(messages=messages, **options))["messages"]
    return found


def blocks(*messages: Message, **options: Any) -> list[dict[str, Any]]:
    """The blocks of the only turn."""
    [turn] = turns(*messages, **options)
    found: list[dict[str, Any]] = turn["content"]
    return found


def text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def test_only_what_was_set_is_sent() -> None:
    assert encode(ChatRequest(messages=(user("hi"),))) == {
        "model": "claude-x",
        "max_tokens": 4096,
        "messages": [{"role": "user", "content": [text("hi")]}],
        "stream": True,
    }


def test_what_is_asked_for_is_what_is_accepted() -> None:
    streamed = DIALECT.encode(ChatRequest(messages=(user("hi"),)), "anthropic", "m")
    assert streamed.headers == {"content-type": "application/json", "accept": "text/event-stream"}
    whole = DIALECT.encode(ChatRequest(messages=(user("hi"),), stream=False), "anthropic", "m")
    assert whole.headers["accept"] == "application/json"
    assert json.loads(whole.body or b"")["stream"] is False


def test_options_go_under_the_names_of_this_wire() -> None:
    body = encode(
        ChatRequest(
            messages=(user("hi"),),
            max_tokens=9,
            temperature=0.0,
            top_p=0.5,
            stop=("a", "b"),
            extra_body={"top_k": 3, "max_tokens": 10},
        )
    )
    assert body["max_tokens"] == 10  # extra_body is laid over
    assert (body["temperature"], body["top_p"], body["stop_sequences"], body["top_k"]) == (
        0,
        0.5,
        ["a", "b"],
        3,
    )


def test_tools_keep_their_schema_and_get_the_type_the_server_insists_on() -> None:
    body = encode(
        ChatRequest(
            messages=(user("hi"),),
            tools=(Tool("f", "does f", {}), Tool("g", "", {"type": "object", "properties": {}}, strict=True)),
        )
    )
    assert body["tools"] == [
        {"name": "f", "description": "does f", "input_schema": {"type": "object"}},
        {
            "name": "g",
            "description": "",
            "input_schema": {"type": "object", "properties": {}},
            "strict": True,
        },
    ]
    assert "tool_choice" not in body


@pytest.mark.parametrize(
    ("choice", "wire"),
    [
        ("auto", {"type": "auto"}),
        ("none", {"type": "none"}),
        ("required", {"type": "any"}),
        ("f", {"type": "tool", "name": "f"}),
    ],
)
def test_tool_choices_have_names_on_this_wire(choice: str, wire: dict[str, Any]) -> None:
    request = ChatRequest(messages=(user("hi"),), tools=(Tool("f", "", {}),), tool_choice=choice)
    assert encode(request)["tool_choice"] == wire


def test_an_effort_is_adaptive_thinking_and_a_budget_is_thinking_on_top_of_the_answer() -> None:
    effort = encode(ChatRequest(messages=(user("hi"),), reasoning="high"))
    assert effort["thinking"] == {"type": "adaptive", "display": "summarized"}
    assert effort["output_config"] == {"effort": "high"}
    budget = encode(ChatRequest(messages=(user("hi"),), reasoning=2000))
    assert budget["thinking"] == {"type": "enabled", "budget_tokens": 2000}
    assert budget["max_tokens"] == 6096  # it must exceed the budget
    assert "output_config" not in budget
    off = encode(ChatRequest(messages=(user("hi"),), reasoning="none"))
    assert off["thinking"] == {"type": "disabled"}
    assert "output_config" not in off


def test_what_this_api_does_not_support_is_refused_by_name() -> None:
    with pytest.raises(Unsupported, match="anthropic does not support reasoning='minimal'"):
        encode(ChatRequest(messages=(user("hi"),), reasoning="minimal"))
    with pytest.raises(Unsupported, match="a part of type Image in a system message"):
        encode(ChatRequest(messages=(Message("system", (Image(url="https://a/b.png"),)), user("hi"))))
    with pytest.raises(Unsupported, match="embeddings"):
        DIALECT.encode_embed(["x"], "anthropic", "m", None)
    with pytest.raises(ValueError, match="no embeddings"):
        DIALECT.decode_embed(b"{}")


def test_a_schema_for_the_answer_goes_beside_the_effort() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    body = encode(ChatRequest(messages=(user("hi"),), response_schema=schema, reasoning="low"))
    assert body["output_config"] == {"effort": "low", "format": {"type": "json_schema", "schema": schema}}


def test_leading_system_messages_are_joined_at_the_top_and_later_ones_become_the_users() -> None:
    body = encode(
        ChatRequest(
            messages=(system("one"), system(""), system("two"), user("hi"), system("three"), assistant("ok"))
        )
    )
    assert body["system"] == "one\n\ntwo"
    assert body["messages"] == [
        {"role": "user", "content": [text("hi"), text("three")]},
        {"role": "assistant", "content": [text("ok")]},
    ]


def test_neighbours_of_one_role_are_merged_and_blank_texts_left_out() -> None:
    assert turns(
        user("a"), user(" \n"), user("b"), assistant(""), user("c"), assistant("d"), assistant("e")
    ) == [
        {"role": "user", "content": [text("a"), text("b"), text("c")]},
        {"role": "assistant", "content": [text("d"), text("e")]},
    ]


def test_an_answer_that_is_begun_is_sent_without_the_white_space_at_its_end() -> None:
    assert turns(user("a"), assistant("Once upon \n"))[-1] == {
        "role": "assistant",
        "content": [text("Once upon")],
    }
    inside = turns(user("a"), assistant("Once upon \n"), user("go on"))
    assert inside[1]["content"] == [text("Once upon \n")]


def test_images_go_by_url_or_as_base64() -> None:
    assert blocks(user("see", Image(url="https://a/b.png"), Image(data=b"\0\1", media_type="image/png"))) == [
        text("see"),
        {"type": "image", "source": {"type": "url", "url": "https://a/b.png"}},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAE="}},
    ]


def document(title: str | None = None, **more: Any) -> dict[str, Any]:
    source = {"type": "text", "media_type": "text/plain", "data": "facts"}
    return {"type": "document", "source": source, **({"title": title} if title else {}), **more}


def test_documents_are_documents_that_may_be_cited() -> None:
    cited = {"citations": {"enabled": True}}
    assert blocks(user(Document("facts", title="t", id="i"), "why?")) == [
        document("t", **cited),
        text("why?"),
    ]
    assert blocks(user(Document("facts", id="i"))) == [document("i", **cited)]
    # The server refuses citations beside a schema for the whole answer.
    assert blocks(user(Document("facts")), response_schema={"type": "object"}) == [document()]


def test_documents_of_the_request_come_before_the_last_question() -> None:
    cited = document("t", citations={"enabled": True})
    conversation = (user("a"), assistant("b"), user("c"), assistant(ToolCall("x", "f", "{}")))
    found = turns(*conversation, documents=(Document("facts", title="t"),))
    assert found[0]["content"] == [text("a")]
    assert found[2]["content"] == [cited, text("c")]
    assert turns(assistant("b"), documents=(Document("facts", title="t"),))[0]["content"] == [cited]


def test_tool_results_stand_first_in_one_user_turn_after_their_calls() -> None:
    found = turns(
        user("weather?"),
        assistant("Let me look.", ToolCall("a", "f", '{"city": "Köln"}'), ToolCall("b", "f", "")),
        Message("tool", (ToolResult("a", "sunny"),)),
        user(
            "quick please",
            ToolResult("b", (Text("map"), Text(""), Image(url="https://a/b.png")), is_error=True),
        ),
    )
    assert found[1]["content"] == [
        text("Let me look."),
        {"type": "tool_use", "id": "a", "name": "f", "input": {"city": "Köln"}},
        {"type": "tool_use", "id": "b", "name": "f", "input": {}},
    ]
    assert found[2] == {
        "role": "user",
        "content": [
            {"type": "tool_result", "tool_use_id": "a", "content": "sunny"},
            {
                "type": "tool_result",
                "tool_use_id": "b",
                "is_error": True,
                "content": [
                    text("map"),
                    {"type": "image", "source": {"type": "url", "url": "https://a/b.png"}},
                ],
            },
            text("quick please"),
        ],
    }


def test_a_tool_result_may_be_silent_but_an_error_may_not() -> None:
    assert blocks(Message("tool", (ToolResult("a", ""), ToolResult("b", (), is_error=True)))) == [
        {"type": "tool_result", "tool_use_id": "a"},
        {"type": "tool_result", "tool_use_id": "b", "is_error": True, "content": "failed"},
    ]


def test_arguments_that_are_no_object_go_back_as_a_text() -> None:
    [said] = turns(user("x"), assistant(ToolCall("a", "f", '{"cut": ')))[1]["content"]
    assert said["type"] == "text"
    assert '{"cut":' in said["text"]


def ids(conversation: Sequence[dict[str, Any]]) -> list[str]:
    return [
        block.get("id") or block["tool_use_id"]
        for turn in conversation
        for block in turn["content"]
        if block["type"] in ("tool_use", "tool_result")
    ]


def test_foreign_ids_are_made_legal_and_results_follow_their_calls() -> None:
    long = "x" * 65
    found = turns(
        user("go"),
        assistant(ToolCall("a|b", "f", "{}"), ToolCall(long, "f", "{}"), ToolCall("call_1", "f", "{}")),
        Message("tool", (ToolResult("call_1", "3"), ToolResult(long, "2"), ToolResult("a|b", "1"))),
    )
    assert ids(found) == ["call_0", "call_2", "call_1", "call_1", "call_2", "call_0"]


def test_an_id_that_comes_again_in_a_later_turn_is_renamed() -> None:
    found = turns(
        user("go"),
        assistant(ToolCall("call_0", "f", "{}")),
        Message("tool", (ToolResult("call_0", "1"),)),
        assistant(ToolCall("call_0", "f", "{}")),
        Message("tool", (ToolResult("call_0", "2"),)),
    )
    assert ids(found) == ["call_0", "call_0", "call_1", "call_1"]


THOUGHT = assistant(
    Reasoning("hm", signature="sig", origin="anthropic/claude-x"),
    Reasoning("", encrypted="opaque", origin="anthropic/claude-x"),
    "so",
)


def test_thinking_goes_back_to_the_model_it_came_from() -> None:
    assert turns(user("a"), THOUGHT)[-1]["content"] == [
        {"type": "thinking", "thinking": "hm", "signature": "sig"},
        {"type": "redacted_thinking", "data": "opaque"},
        text("so"),
    ]


@pytest.mark.parametrize(("provider", "model"), [("anthropic", "claude-y"), ("other", "claude-x")])
def test_thinking_goes_to_no_other_model(provider: str, model: str) -> None:
    body = encode(ChatRequest(messages=(user("a"), THOUGHT)), provider, model)
    assert body["messages"][-1]["content"] == [text("so")]


def test_unsigned_thinking_is_left_out_and_the_callers_own_is_sent() -> None:
    own = assistant(Reasoning("unsigned"), Reasoning("vouched", signature="s"), "x")
    assert turns(user("a"), own)[-1]["content"] == [
        {"type": "thinking", "thinking": "vouched", "signature": "s"},
        text("x"),
    ]


# ------------------------------------------------------------------ blocks of the server's own


def opaque(kind: str, origin: str | None = "anthropic/claude-y", **fields: Any) -> Opaque:
    return Opaque(kind, json.dumps({"type": kind, **fields}), origin)


CALLS = opaque("server_tool_use", id="s1", name="web_search", input={"query": "Oslo"})
FOUND = opaque("web_search_tool_result", tool_use_id="s1", content=[])
CALLS_MORE = opaque("server_tool_use", id="s2", name="web_search", input={"query": "Bergen"})


def kinds(turn: dict[str, Any]) -> list[str]:
    return [block["type"] for block in turn["content"]]


def test_a_pause_goes_on_where_it_stopped() -> None:
    *_, last = turns(user("Look it up"), assistant(CALLS, FOUND, CALLS_MORE))
    assert last == {"role": "assistant", "content": [part.parsed() for part in (CALLS, FOUND, CALLS_MORE)]}


def test_what_came_after_a_pause_joins_the_turn_it_belongs_to() -> None:
    found_more = opaque("web_search_tool_result", tool_use_id="s2", content=[])
    conversation = turns(user("Look"), assistant(CALLS), assistant(FOUND, "Rain."), user("And there?"))
    assert [kinds(turn) for turn in conversation] == [
        ["text"],
        ["server_tool_use", "web_search_tool_result", "text"],
        ["text"],
    ]
    assert kinds(turns(user("Look"), assistant(CALLS_MORE, "hm", found_more))[1]) == [
        "server_tool_use",
        "text",
        "web_search_tool_result",
    ]


def test_a_call_without_its_result_is_left_out_once_the_conversation_went_on() -> None:
    conversation = turns(user("Look"), assistant(CALLS, FOUND, "Rain.", CALLS_MORE), user("And?"))
    assert kinds(conversation[1]) == ["server_tool_use", "web_search_tool_result", "text"]
    conversation = turns(user("Look"), assistant(CALLS), user("And?"))
    assert [turn["role"] for turn in conversation] == ["user", "user"]


def test_a_result_without_its_call_is_left_out() -> None:
    assert kinds(turns(user("Look"), assistant(FOUND, "Rain."), user("And?"))[1]) == ["text"]
    assert kinds(turns(user("Look"), assistant(FOUND, "Rain."))[1]) == ["text"]


def test_blocks_of_another_provider_are_left_out() -> None:
    foreign = Opaque("executableCode", '{"executableCode":{}}', "gemini/flash")
    assert kinds(turns(user("Look"), assistant(foreign, "Rain."), user("And?"))[1]) == ["text"]


def test_a_block_the_caller_vouches_for_has_a_type_on_this_wire() -> None:
    block = turns(user("Look"), assistant(Opaque("hologram", '{"depth":3}'), "So"), user("And?"))[1][
        "content"
    ][0]
    assert block == {"type": "hologram", "depth": 3}


def test_an_image_the_model_made_is_shown_by_the_user() -> None:
    picture = Image(url="https://example.org/a.png")
    conversation = turns(user("Draw"), assistant("Here:", picture), user("Bigger"))
    assert [(turn["role"], kinds(turn)) for turn in conversation] == [
        ("user", ["text"]),
        ("assistant", ["text"]),
        ("user", ["text", "image", "text"]),
    ]


# ------------------------------------------------------------------ requests that were recorded

NO_ARGUMENTS: dict[str, Any] = {"type": "object", "properties": {}}
STRICT: dict[str, Any] = {**NO_ARGUMENTS, "required": [], "additionalProperties": False, "strict": True}
PELICANS = Tool("pelican_name_generator", "", {"properties": {}, "type": "object"})
RUBY = (
    "The Ruby programming language was created by Yukihiro Matsumoto in 1993. Ruby was designed to make"
    " programmers happy and productive. Ruby on Rails is a popular web framework built with Ruby."
    " RubyLLM is a Ruby library for working with large language models.\n"
)

RECORDED: dict[str, ChatRequest] = {
    "finish_max_tokens_sonnet4": ChatRequest(
        messages=(user("Write a very long story about a dragon."),), max_tokens=10, stream=False
    ),
    "stop_sequence_sonnet5": ChatRequest(
        messages=(user("Repeat the following phrase: Dogs are cool"),), stop=("cool",), stream=False
    ),
    "stream_text_haiku45": ChatRequest(messages=(user("Count from 1 to 3"),), max_tokens=64000),
    "stream_text_haiku45_netchunks": ChatRequest(
        messages=(
            system("You are a helpful, creative assistant."),
            user("Say hello in one short, imaginative sentence."),
        ),
        max_tokens=2000,
        reasoning=1024,
        top_p=0.95,
    ),
    "stream_adaptive_thinking_opus46": ChatRequest(
        messages=(user("Two names for a pet pelican, be brief"),),
        max_tokens=8192,
        temperature=1.0,
        extra_body={"thinking": {"type": "adaptive"}},
    ),
    "stream_parallel_tool_use_haiku45": ChatRequest(
        messages=(user("Two names for a pet pelican"),), max_tokens=8192, temperature=1.0, tools=(PELICANS,)
    ),
    "stream_tool_use_no_arguments_haiku45": ChatRequest(
        messages=(
            system("You must use tools whenever possible."),
            user("What's the best language to learn?"),
        ),
        max_tokens=64000,
        tools=(Tool("best_language_to_learn", "Gets the best language to learn", STRICT),),
    ),
    "stream_object_tool_haiku45_netchunks": ChatRequest(
        messages=(user("Generate a software engineer profile"),),
        max_tokens=1225,
        tool_choice="structured_output",
        tools=(
            Tool(
                "structured_output",
                "Generate structured output matching the provided schema",
                {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["name", "age"],
                    "properties": {
                        "age": {"description": "Person's age in years", "minimum": 1, "type": "integer"},
                        "name": {"description": "Person's full name", "type": "string"},
                        "occupation": {"description": "Person's job or profession", "type": "string"},
                    },
                },
            ),
        ),
    ),
    "stream_citations_haiku45": ChatRequest(
        messages=(user("Who created Ruby? Use the document.", Document(RUBY, title="facts.txt")),),
        max_tokens=64000,
    ),
    "tool_result_with_image_haiku45": ChatRequest(
        messages=(
            user("Use the image_fetch tool, then describe exactly what the returned image shows."),
            assistant(ToolCall("toolu_01DwJvMbi7YLANFtEVri6sB1", "image_fetch", "{}")),
            Message(
                "tool",
                (
                    ToolResult(
                        "toolu_01DwJvMbi7YLANFtEVri6sB1",
                        (Text("Fetched the image."), Image(data=b"\x89PNG", media_type="image/png")),
                    ),
                ),
            ),
        ),
        max_tokens=64000,
        stream=False,
        tools=(Tool("image_fetch", "Fetches the requested image", STRICT),),
    ),
}


def plain(value: Any) -> Any:
    """A request in its longest form, without cache marks and without the bytes of images."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    value = {name: plain(item) for name, item in value.items() if name != "cache_control"}
    if value.get("type") == "base64":
        value["data"] = "…"
    if "role" in value and isinstance(value["content"], str):
        value["content"] = [text(value["content"])]
    if isinstance(value.get("system"), list):
        value["system"] = "\n\n".join(block["text"] for block in value["system"])
    return value


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_request_is_what_we_would_have_sent(shared_dir: Path, name: str) -> None:
    meta = json.loads((shared_dir / f"wire/recordings/anthropic/{name}.meta.json").read_text())
    recorded = meta["request_body"]
    assert plain(encode(RECORDED[name], model=recorded["model"])) == plain(recorded)
