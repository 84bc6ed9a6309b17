"""The chat completions dialect says what the caller set, in OpenAI's words, and nothing else."""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

from cortex_trio.intake import messages_from, tools_from
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
from cortex_trio.wire.chat_completions.dialect import ChatCompletions
from cortex_trio.wire.codec import Unsupported

OPENAI = PROVIDERS["openai"].dialect
PNG = Image(data=b"\x89PNG", media_type="image/png")
PNG_URL = "data:image/png;base64,iVBORw=="


def body(request: ChatRequest, dialect: ChatCompletions = OPENAI, model: str = "m") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(dialect.encode(request, "openai", model).body or b"")
    return found


def encoded(*messages: Message, dialect: ChatCompletions = OPENAI, **options: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = body(ChatRequest(messages=messages, **options), dialect)["messages"]
    return found


def text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


# ------------------------------------------------------------------ against recorded requests

RECORDED = [
    "recordings/openai/chat_stream_tool_call_gpt54.sse",
    "recordings/openai/chat_stream_parallel_tool_calls_gpt5.sse",
    "recordings/openai/chat_stream_refusal_json_schema.sse",
    "recordings/openai/chat_stream_image_input_gpt54.sse",
    "recordings/groq/stream_tool_call_kimi_k2_netchunks.sse",
    "recordings/groq/stream_parallel_tool_calls_llama33.sse",
    "recordings/groq/image_input_llama4.json",
    "recordings/xai/chat_reasoning_content_grok3mini.json",
    "recordings/extras/deepseek_stream_reasoning_content_tools.sse",
    "recordings/extras/openrouter_stream_netchunks_split_event.sse",
]


@pytest.mark.parametrize("path", RECORDED)
def test_the_same_request_is_encoded_as_it_was_recorded(path: str, recording: Callable[[str], Any]) -> None:
    recorded = elide(recording(path).request)
    choice = recorded.get("tool_choice")
    request = ChatRequest(
        messages=messages_from(recorded["messages"]),
        tools=tools_from(recorded.get("tools")),
        tool_choice=choice["function"]["name"] if isinstance(choice, dict) else choice,
        temperature=recorded.get("temperature"),
        top_p=recorded.get("top_p"),
        reasoning=recorded.get("reasoning_effort"),
        max_tokens=recorded.get("max_completion_tokens", recorded.get("max_tokens")),
        response_schema=recorded.get("response_format", {}).get("json_schema", {}).get("schema"),
        stream=recorded.get("stream", False),
    )
    sent = body(request, model=recorded["model"])
    for name in ("model", "tool_choice", "temperature", "top_p", "reasoning_effort", "stream_options"):
        assert sent.get(name) == recorded.get(name), name
    assert sent.get("stream", False) == recorded.get("stream", False)
    assert sent.get("max_completion_tokens") == request.max_tokens
    assert normal(sent["messages"]) == normal(recorded["messages"])
    assert normal_tools(sent.get("tools")) == normal_tools(recorded.get("tools"))
    if "response_format" in recorded:
        recorded["response_format"]["json_schema"]["name"] = "response"  # ours has no other name
        assert sent["response_format"] == recorded["response_format"]


def elide(request: dict[str, Any]) -> dict[str, Any]:
    """Images are cut short in the recordings: put a whole one in their place."""
    for message in request["messages"]:
        for part in message.get("content") or [] if isinstance(message.get("content"), list) else []:
            if part["type"] == "image_url":
                part["image_url"]["url"] = PNG_URL
    return request


def normal(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One spelling of what has two: a single text part is its text, no content is null."""
    spelled = []
    for message in messages:
        content = message.get("content")
        if isinstance(content, list) and len(content) == 1 and content[0]["type"] == "text":
            content = content[0]["text"]
        spelled.append({**message, "content": content})
    return spelled


def normal_tools(tools: list[dict[str, Any]] | None) -> list[dict[str, Any]]:
    functions = [tool["function"] for tool in tools or []]
    return [{name: value for name, value in function.items() if value != ""} for function in functions]


# ------------------------------------------------------------------ options


def test_a_bare_request_sends_model_messages_and_how_to_answer() -> None:
    assert body(ChatRequest(messages=(user("Hi"),))) == {
        "model": "m",
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert body(ChatRequest(messages=(user("Hi"),), stream=False)) == {
        "model": "m",
        "messages": [{"role": "user", "content": "Hi"}],
    }


def test_every_option_has_its_name() -> None:
    schema = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
    sent = body(
        ChatRequest(
            messages=(user("Hi"),),
            max_tokens=5,
            temperature=0.0,
            top_p=0.5,
            stop=("a", "b"),
            tools=(Tool("f", "", schema), Tool("g", "does g", schema, strict=True)),
            tool_choice="g",
            response_schema=schema,
            reasoning="low",
            stream=False,
        )
    )
    assert sent == {
        "model": "m",
        "messages": [{"role": "user", "content": "Hi"}],
        "max_completion_tokens": 5,
        "temperature": 0.0,
        "top_p": 0.5,
        "stop": ["a", "b"],
        "tools": [
            {"type": "function", "function": {"name": "f", "parameters": schema}},
            {
                "type": "function",
                "function": {"name": "g", "description": "does g", "parameters": schema, "strict": True},
            },
        ],
        "tool_choice": {"type": "function", "function": {"name": "g"}},
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "response", "schema": schema, "strict": True},
        },
        "reasoning_effort": "low",
    }


@pytest.mark.parametrize("choice", ["auto", "none", "required"])
def test_a_general_tool_choice_is_sent_as_it_is(choice: str) -> None:
    request = ChatRequest(messages=(user("Hi"),), tools=(Tool("f", "", {}),), tool_choice=choice)
    assert body(request)["tool_choice"] == choice


def test_older_servers_get_max_tokens() -> None:
    older = PROVIDERS["openai_compatible"].dialect
    sent = body(ChatRequest(messages=(user("Hi"),), max_tokens=5), older)
    assert sent["max_tokens"] == 5
    assert "max_completion_tokens" not in sent


def test_extra_body_wins() -> None:
    sent = body(
        ChatRequest(messages=(user("Hi"),), temperature=1.0, extra_body={"temperature": 0.5, "seed": 1})
    )
    assert (sent["temperature"], sent["seed"]) == (0.5, 1)


def test_a_token_budget_for_reasoning_is_refused() -> None:
    with pytest.raises(Unsupported, match="openai does not support reasoning as a token budget"):
        OPENAI.encode(ChatRequest(messages=(user("Hi"),), reasoning=1000), "openai", "m")


def test_the_request_asks_for_the_kind_of_answer_it_wants() -> None:
    streamed = OPENAI.encode(ChatRequest(messages=(user("Hi"),)), "openai", "m")
    whole = OPENAI.encode(ChatRequest(messages=(user("Hi"),), stream=False), "openai", "m")
    assert (streamed.method, streamed.path) == (whole.method, whole.path) == ("POST", "/chat/completions")
    assert streamed.headers["accept"] == "text/event-stream"
    assert whole.headers["accept"] == "application/json"


# ------------------------------------------------------------------ messages


def test_images_go_by_url_or_as_data() -> None:
    assert encoded(user("Which?", Image(url="https://a.example/i.png"), PNG)) == [
        {"role": "user", "content": [text("Which?"), image("https://a.example/i.png"), image(PNG_URL)]}
    ]


def test_system_messages_keep_their_places() -> None:
    parts = Message("system", (Text("One."), Text("Two.")))
    assert encoded(parts, user("Hi"), system("Three.")) == [
        {"role": "system", "content": "One.\n\nTwo."},
        {"role": "user", "content": "Hi"},
        {"role": "system", "content": "Three."},
    ]


def test_documents_become_titled_texts_before_the_last_question() -> None:
    documents = (Document("Rain.", title="Weather"), Document("Sun."))
    assert encoded(user("Old"), assistant("Yes"), user("New"), documents=documents)[2] == {
        "role": "user",
        "content": [text("Weather\n\nRain."), text("Sun."), text("New")],
    }


def test_calls_and_results_go_back_with_arguments_that_are_objects() -> None:
    history = assistant(
        "Well.", ToolCall("a", "f", '{"x": 1}'), ToolCall("b", "g", ""), ToolCall("c", "h", "null")
    )
    results = [Message("tool", (ToolResult(call, f"result {call}", is_error=call == "c"),)) for call in "abc"]
    assert encoded(user("Hi"), history, *results)[1:] == [
        {
            "role": "assistant",
            "content": "Well.",
            "tool_calls": [
                {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}},
                {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
                {"id": "c", "type": "function", "function": {"name": "h", "arguments": "{}"}},
            ],
        },
        {"role": "tool", "tool_call_id": "a", "content": "result a"},
        {"role": "tool", "tool_call_id": "b", "content": "result b"},
        {"role": "tool", "tool_call_id": "c", "content": "Error: result c"},
    ]


def test_an_answer_of_calls_alone_has_no_content() -> None:
    assert encoded(assistant(ToolCall("a", "f", "{}")))[0]["content"] is None


def test_images_in_results_follow_when_every_call_is_answered() -> None:
    messages = [
        assistant(ToolCall("a", "f", "{}"), ToolCall("b", "g", "{}")),
        Message("tool", (ToolResult("a", (PNG,)), ToolResult("b", (Text("Two."), PNG)))),
        user("So?"),
    ]
    assert encoded(*messages)[1:] == [
        {"role": "tool", "tool_call_id": "a", "content": "The image follows."},
        {"role": "tool", "tool_call_id": "b", "content": "Two."},
        {
            "role": "user",
            "content": [
                text("Returned by tool call a:"),
                image(PNG_URL),
                text("Returned by tool call b:"),
                image(PNG_URL),
            ],
        },
        {"role": "user", "content": "So?"},
    ]


def test_ids_of_other_wires_are_made_to_fit_and_results_follow_their_calls() -> None:
    long = "toolu_" + "x" * 60
    sent = encoded(assistant(ToolCall(long, "f", "{}")), Message("tool", (ToolResult(long, "ok"),)))
    call_id = sent[0]["tool_calls"][0]["id"]
    assert 0 < len(call_id) <= 40
    assert sent[1]["tool_call_id"] == call_id


def test_reasoning_is_left_out() -> None:
    thought = Reasoning("Hm.", origin="openai/m")
    assert encoded(user("Hi"), assistant(thought, Text("Yes")), assistant(thought)) == [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Yes"},
    ]


@pytest.mark.parametrize(
    ("origin", "goes_back"), [("openai/m", True), (None, True), ("openai/other", False), ("xai/m", False)]
)
def test_reasoning_goes_back_to_a_server_that_wants_it_if_it_came_from_there(
    origin: str | None, goes_back: bool
) -> None:
    wants = ChatCompletions(reasoning_field="reasoning_content")
    (message,) = encoded(assistant(Reasoning("Hm.", origin=origin), Text("Yes")), dialect=wants)
    assert message == {
        "role": "assistant",
        "content": "Yes",
        "reasoning_content": "Hm." if goes_back else " ",  # DeepSeek and Kimi refuse a message without it
    }


def test_reasoning_goes_back_in_another_field_only_where_there_is_some() -> None:
    wants = ChatCompletions(reasoning_field="reasoning")
    sent = encoded(user("Hi"), assistant("Yes"), assistant(Reasoning("Hm."), "No"), dialect=wants)
    assert [message.get("reasoning") for message in sent] == [None, None, "Hm."]


def test_an_image_the_model_made_is_shown_by_the_user_after_the_results_of_its_calls() -> None:
    made = assistant(PNG, "Here.", ToolCall("a", "f", "{}"))
    messages = encoded(user("Draw"), made, Message("tool", (ToolResult("a", "ok"),)), user("Bigger"))
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "user", "user"]
    assert messages[1]["content"] == "Here."
    assert [part["type"] for part in messages[3]["content"]] == ["text", "image_url"]


def test_blocks_of_another_providers_own_are_left_out() -> None:
    search = Opaque("server_tool_use", '{"type":"server_tool_use"}', "anthropic/claude")
    assert encoded(user("Hi"), assistant(search, "Hello"), assistant(search), user("Go on")) == [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "Go on"},
    ]


@pytest.mark.parametrize("message", [Message("system", (PNG,)), Message("tool", (Text("x"),))])
def test_what_has_no_place_in_a_message_is_refused(message: Message) -> None:
    with pytest.raises(Unsupported, match="openai does not support"):
        encoded(message)


# ------------------------------------------------------------------ embeddings and models


def test_embeddings_are_asked_for_and_come_back_in_order() -> None:
    http = OPENAI.encode_embed(["a", "b"], "openai", "e", 2)
    assert http.path == "/embeddings"
    assert json.loads(http.body or b"") == {"model": "e", "input": ["a", "b"], "dimensions": 2}
    assert "dimensions" not in json.loads(OPENAI.encode_embed(["a"], "openai", "e", None).body or b"")
    packed = base64.b64encode(b"\x00\x00\x80\x3f\x00\x00\x00\xc0").decode()  # 1.0 and -2.0, little-endian
    answer = {"data": [{"index": 1, "embedding": packed}, {"index": 0, "embedding": [0.5, 1]}]}
    vectors = OPENAI.decode_embed(json.dumps(answer).encode())
    assert [list(vector) for vector in vectors] == [[0.5, 1], [1.0, -2.0]]


def test_recorded_embeddings_have_their_dimensions(recording: Callable[[str], Any]) -> None:
    for name, dimensions in (("float", 1536), ("dimensions", 256)):
        (vector,) = OPENAI.decode_embed(recording(f"recordings/openai/embeddings_{name}.json").body)
        assert len(vector) == dimensions
        assert 0.99 < sum(x * x for x in vector) < 1.01  # they are of length one


@pytest.mark.parametrize(
    "data",
    [
        [{"index": 1, "embedding": [1.0]}],
        [{"index": 0, "embedding": [1.0]}, {"index": 0, "embedding": [2.0]}],
        [{"index": 0, "embedding": "%%%"}],
        [{"index": 0, "embedding": "AAA="}],
        [{"index": 0, "embedding": ["x"]}],
        [{"index": [], "embedding": [1.0]}],
        [{"embedding": [1.0]}],
        [None],
        {},
    ],
)
def test_embeddings_that_are_none_raise_value_error(data: Any) -> None:
    with pytest.raises(ValueError, match=r"embedding|item|list"):
        OPENAI.decode_embed(json.dumps({"data": data}).encode())


def test_a_server_without_embeddings_refuses_them() -> None:
    with pytest.raises(Unsupported, match="groq does not support embeddings"):
        PROVIDERS["groq"].dialect.encode_embed(["a"], "groq", "e", None)


def test_models_are_listed_by_id() -> None:
    listed = OPENAI.decode_models(b'{"object":"list","data":[{"id":"a"},{"id":"b","owned_by":"x"}]}')
    assert list(listed) == ["a", "b"]
    for data in (
        b'{"data":[{}]}',
        b'{"data":[{"id":5}]}',
        b'{"data":[5]}',
        b'{"data":"a"}',
        b'{"error":"x"}',
    ):
        with pytest.raises(ValueError, match=r"id|list"):
            OPENAI.decode_models(data)


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ({"models": [{"name": "a"}, {"model": "b"}]}, ("a", "b")),
        ({"models": [{"name": "a", "model": "a"}], "object": "list", "data": [{"id": "b"}]}, ("b",)),
        ({"data": [], "models": [{"name": "a"}]}, ("a",)),
        ([{"id": "a", "name": "A model"}, "b"], ("a", "b")),
        ({"result": [{"id": "5f3c", "name": "@cf/meta/a"}], "success": True}, ("@cf/meta/a",)),
        ({"models": [{"type": "llm", "key": "a"}]}, ("a",)),
        ({"data": []}, ()),
        ({"data": None}, ()),
        ({"models": []}, ()),
        ([], ()),
    ],
)
def test_models_are_listed_wherever_a_server_lists_them(body: object, names: tuple[str, ...]) -> None:
    assert tuple(OPENAI.decode_models(json.dumps(body).encode())) == names
