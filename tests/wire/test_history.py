"""Conversations made ready for a wire: ids that are legal and used once, documents in their place."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cortex_trio.failures import InvalidRequest
from cortex_trio.messages import (
    Document,
    Image,
    Message,
    Opaque,
    Reasoning,
    Text,
    ToolCall,
    ToolResult,
    assistant,
    system,
    user,
)
from cortex_trio.wire.history import (
    CallIds,
    arguments_object,
    asked_by_user,
    may_replay,
    replayed,
    shown_by_user,
    titled,
    with_documents,
)

LEGAL = re.compile(r"[a-z0-9_]{1,8}")


def call(id: str) -> ToolCall:
    return ToolCall(id, "f", "{}")


@given(st.lists(st.text(alphabet="a_0!|", max_size=9) | st.just("call_0"), max_size=12))
def test_every_call_has_a_legal_id_of_its_own_and_its_result_the_same(ids: list[str]) -> None:
    messages = [m for own in ids for m in (assistant(call(own)), Message("tool", (ToolResult(own, "x"),)))]
    names = CallIds(messages, LEGAL)
    given_out = []
    for own in ids:
        name = names.of_call(call(own))
        assert names.of_result(ToolResult(own, "x")) == name
        given_out.append(name)
    assert all(LEGAL.fullmatch(name) for name in given_out)
    assert len(set(given_out)) == len(given_out)


def test_parallel_calls_that_share_an_id_are_distinguished_and_answered_in_their_order() -> None:
    twins = [call("a"), call("a"), call("a")]
    names = CallIds([assistant(*twins)], LEGAL)
    called = [names.of_call(twin) for twin in twins]
    assert len(set(called)) == 3
    assert [names.of_result(ToolResult("a", "x")) for _ in twins] == called


def test_a_second_result_for_a_call_goes_where_the_first_went() -> None:
    names = CallIds([assistant(call("a"))], LEGAL)
    assert names.of_call(call("a")) == "a"
    assert [names.of_result(ToolResult("a", "x")) for _ in range(2)] == ["a", "a"]


def test_a_legal_id_stays_even_if_it_looks_like_a_new_one() -> None:
    names = CallIds([assistant(call("!"), call("call_0"))], LEGAL)
    assert [names.of_call(call("!")), names.of_call(call("call_0"))] == ["call_1", "call_0"]


def test_a_result_whose_call_was_forgotten_keeps_a_legal_id_and_loses_another() -> None:
    messages = [Message("tool", (ToolResult("kept", "x"), ToolResult("not legal", "x")))]
    names = CallIds(messages, LEGAL)
    assert names.of_result(ToolResult("kept", "x")) == "kept"
    assert (
        names.of_result(ToolResult("not legal", "x"))
        == names.of_result(ToolResult("not legal", "y"))
        == "call_0"
    )


def test_documents_go_before_the_last_question_even_if_tools_ran_since() -> None:
    facts = Document("facts", title="t")
    messages = (user("a"), user("b"), assistant(call("x")), Message("tool", (ToolResult("x", "y"),)))
    placed = with_documents(messages, [facts])
    assert placed == (messages[0], Message("user", (facts, Text("b"))), *messages[2:])
    assert with_documents(messages, None) == messages
    assert with_documents((assistant("a"),), [facts]) == (Message("user", (facts,)), assistant("a"))


def test_a_document_as_text_begins_with_its_title() -> None:
    assert titled(Document("facts", title="t")) == "t\n\nfacts"
    assert titled(Document("facts", id="i")) == "facts"


def test_what_a_model_signed_goes_back_to_it_or_where_the_caller_vouches() -> None:
    signed = Reasoning("hm", signature="s", origin="p/m")
    assert may_replay(signed, "p", "m")
    assert not may_replay(signed, "p", "n")
    assert may_replay(Reasoning("hm", signature="s"), "p", "n")


def test_arguments_are_an_object_or_an_error_that_names_the_call() -> None:
    assert arguments_object(ToolCall("a", "f", '{"x": 1}'), "p") == {"x": 1}
    assert arguments_object(ToolCall("a", "f", "null"), "p") == {}
    for broken in ('{"x": ', "[1]", "[" * 100_000):
        with pytest.raises(InvalidRequest, match="'f' \\(id 'a'\\) are none"):
            arguments_object(ToolCall("a", "f", broken), "p")


def test_a_last_system_message_becomes_the_users() -> None:
    ends = (user("Hi"), system("Be brief."))
    assert asked_by_user(ends) == (user("Hi"), user("Be brief."))
    assert asked_by_user((system("Be brief."), user("Hi"))) == (system("Be brief."), user("Hi"))
    assert asked_by_user(()) == ()


BLOCK = '{"type":"search","id":"s"}'


@pytest.mark.parametrize(
    ("origin", "provider", "goes"),
    [
        ("anthropic/claude", "anthropic", True),
        ("anthropic/another/model", "anthropic", True),
        (None, "anthropic", True),
        ("anthropic/claude", "anthropic2", False),
        ("openrouter/anthropic/claude", "anthropic", False),
    ],
)
def test_a_block_goes_back_to_its_own_provider_whichever_model_is_asked(
    origin: str | None, provider: str, goes: bool
) -> None:
    found = replayed(Opaque("search", BLOCK, origin), provider)
    assert found == ({"type": "search", "id": "s"} if goes else None)


@pytest.mark.parametrize("data", ["[]", "{", "", "null"])
def test_a_block_that_is_no_object_is_refused_by_its_type(data: str) -> None:
    with pytest.raises(InvalidRequest, match=r"data of Opaque\('search'\) is no JSON object"):
        replayed(Opaque("search", data), "anthropic")
    assert replayed(Opaque("search", data, "gemini/x"), "anthropic") is None


PICTURE = Image(url="https://example.org/a.png")


def test_images_the_model_made_are_shown_by_the_user_when_no_result_is_missing() -> None:
    result = Message("tool", (ToolResult("a", "ok"),))
    made = assistant("Here", PICTURE, call("a"))
    shown = user(Text("Of your answer:"), PICTURE)
    rest = Message("assistant", (Text("Here"), call("a")))
    assert shown_by_user([user("Draw"), made, result, user("More")]) == [
        user("Draw"),
        rest,
        result,
        shown,
        user("More"),
    ]
    assert shown_by_user([made, result]) == [rest, result, shown]


def test_messages_without_images_of_the_models_stay_as_they_are() -> None:
    messages = [user("Look", PICTURE), assistant("I see"), user("And?")]
    assert shown_by_user(messages) == messages
