"""A call whose arguments are no JSON object, as a cut answer holds one, leaves the conversation sendable everywhere."""

import json

import pytest

from cortex_trio.messages import (
    ChatRequest,
    Image,
    Message,
    Text,
    ToolCall,
    ToolResult,
    assistant,
    tool,
    user,
)
from cortex_trio.providers import PROVIDERS
from cortex_trio.wire.anthropic_messages.dialect import AnthropicMessages
from cortex_trio.wire.codec import Dialect
from cortex_trio.wire.cohere_chat.dialect import CohereChat
from cortex_trio.wire.gemini.dialect import Gemini
from cortex_trio.wire.history import without_broken_calls
from cortex_trio.wire.ollama_chat.dialect import OllamaChat

DIALECTS = [
    AnthropicMessages(),
    Gemini(),
    CohereChat(),
    OllamaChat(),
    PROVIDERS["openai"].dialect,
    PROVIDERS["openai_responses"].dialect,
]

CUT = ToolCall("b", "search", '{"query": "sal', complete=False)
INTACT = ToolCall("a", "weather", '{"city":"Bonn"}')
SAID_OF_IT = Text('[A call of the tool search that was cut off and not run: {"query": "sal]')
FAILED = Text("Error: the arguments of the call of the tool search were not a JSON object.")


def test_a_conversation_without_cut_calls_stays_as_it_is() -> None:
    messages = (user("Hi"), assistant(INTACT), tool(ToolResult("a", "rain")))
    assert without_broken_calls(messages) is messages


@pytest.mark.parametrize(
    "call",
    [
        CUT,
        ToolCall("b", "search", "[1]"),
        ToolCall("b", "search", "[" * 100_000),
        ToolCall("b", "search", "x"),
    ],
)
def test_a_cut_call_and_its_result_become_texts(call: ToolCall) -> None:
    messages = (user("Hi"), assistant("I look.", call), tool(ToolResult("b", "no such query", is_error=True)))
    _, said, failed = without_broken_calls(messages)
    assert said == assistant("I look.", Text(SAID_OF_IT.text.replace(CUT.arguments, call.arguments)))
    assert failed == user(FAILED, "no such query")


def test_a_call_that_was_cut_before_its_arguments_began_is_not_taken_for_one_without_arguments() -> None:
    begun = ToolCall("b", "search", "", complete=False)
    _, said = without_broken_calls((user("Hi"), assistant(begun)))
    assert all(isinstance(part, Text) for part in said.parts)


def test_the_error_comes_after_the_results_of_the_intact_calls() -> None:
    messages = (
        user("Hi"),
        assistant(CUT, INTACT),
        tool(ToolResult("b", (Text("bad"), Image(url="https://e.org/a.png")))),
        tool(ToolResult("a", "rain")),
        user("Go on"),
    )
    assert without_broken_calls(messages)[2:] == [
        tool(ToolResult("a", "rain")),
        user(FAILED, "bad", Image(url="https://e.org/a.png")),
        user("Go on"),
    ]


def test_a_result_belongs_to_the_first_call_of_its_id() -> None:
    messages = (assistant(attrs_id(CUT, "x")), tool(ToolResult("x", "bad")), assistant(attrs_id(INTACT, "x")))
    again = without_broken_calls((*messages, tool(ToolResult("x", "rain"))))
    assert again[-1] == tool(ToolResult("x", "rain"))


def attrs_id(call: ToolCall, id: str) -> ToolCall:
    return ToolCall(id, call.name, call.arguments, complete=call.complete)


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
@pytest.mark.parametrize("answered", [True, False])
def test_every_dialect_sends_it(dialect: Dialect, answered: bool) -> None:
    results = [tool(ToolResult("a", "rain")), tool(ToolResult("b", "bad", is_error=True))] if answered else []
    calls = (INTACT, CUT) if answered else (CUT,)
    messages: list[Message] = [user("Hi"), assistant("I look.", *calls), *results, user("Go on")]
    body = json.loads(dialect.encode(ChatRequest(messages=tuple(messages)), "p", "m").body or b"")
    text = json.dumps(body, ensure_ascii=False)
    assert "was cut off and not run" in text
    assert text.count('"search"') == 0  # as the name of a call, or of a result
    assert ("were not a JSON object" in text) is answered


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_free_text_for_a_custom_tool_is_not_cut(dialect: Dialect) -> None:
    call = ToolCall("a", "patch", "*** Begin", kind="custom")
    request = ChatRequest(messages=(user("Hi"), assistant(call), tool(ToolResult("a", "done"))))
    assert b"cut off" not in (dialect.encode(request, "p", "m").body or b"")


def test_a_result_belongs_to_the_last_answer_although_a_cut_call_before_it_has_the_same_id() -> None:
    whole = ToolCall("call_0", "f", "{}")
    cut = ToolCall("call_0", "g", '{"x": ')
    messages = (
        user("Hi"),
        assistant("I look.", cut),
        user("Go on"),
        assistant(whole),
        tool(ToolResult("call_0", "1")),
    )
    assert [*without_broken_calls(messages)][3:] == [*messages[3:]]


def test_free_text_that_was_cut_goes_back_as_text() -> None:
    cut = ToolCall("c", "code", "print(", kind="custom", complete=False)
    [message] = without_broken_calls((assistant(cut),))
    assert message.text == "[A call of the tool code that was cut off and not run: print(]"


@pytest.mark.parametrize("provider", ["groq", "xai", "xai_responses"])
def test_a_call_of_a_custom_tool_moves_as_a_function_call_to_an_api_with_functions_only(
    provider: str,
) -> None:
    call = ToolCall("c", "run", "SELECT 1", kind="custom")
    history = (user("?"), assistant(call), tool(ToolResult("c", "1")), user("And?"))
    request = PROVIDERS[provider].dialect.encode(ChatRequest(messages=history), provider, "m")
    body = (request.body or b"").decode()
    assert "custom" not in body
    assert json.dumps({"input": "SELECT 1"}) in strings_in(json.loads(body))


def strings_in(value: object) -> set[str]:
    match value:
        case str():
            return {value}
        case dict():
            return strings_in([*value.values()])
        case list():
            return {text for each in value for text in strings_in(each)}
    return set()
