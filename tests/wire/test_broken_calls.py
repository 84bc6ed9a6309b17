"""Calls that were cut or hold no JSON object go back as text, and the rest of the history as it was."""

import pytest

from cortex_trio.messages import Message, Text, ToolCall, ToolResult, assistant, tool, user
from cortex_trio.wire.broken_calls import is_broken, with_whole_calls

WHOLE = ToolCall("a", "f", '{"x": 1}')
CUT = ToolCall("b", "g", '{"x": ')


@pytest.mark.parametrize(
    ("call", "broken"),
    [
        (WHOLE, False),
        (CUT, True),
        (ToolCall("a", "f", ""), False),
        (ToolCall("a", "f", "null"), False),
        (ToolCall("a", "f", "[1]"), True),
        (ToolCall("a", "f", "", complete=False), True),
        (ToolCall("a", "f", "free text", kind="custom"), False),
        (ToolCall("a", "f", "free te", kind="custom", complete=False), True),
    ],
)
def test_a_call_is_broken_that_was_cut_or_holds_no_object(call: ToolCall, broken: bool) -> None:
    assert is_broken(call) is broken


def test_a_history_without_broken_calls_stays_as_it_is() -> None:
    messages = [user("q"), assistant("I look.", WHOLE), tool(ToolResult("a", "1")), user("thanks")]
    assert with_whole_calls(messages) is messages


def test_the_results_of_whole_calls_follow_their_calls_before_what_is_said_of_broken_ones() -> None:
    written = with_whole_calls(
        [
            assistant(CUT, WHOLE),
            tool(ToolResult("b", "not JSON", is_error=True)),
            tool(ToolResult("a", "1")),
            user("on"),
        ]
    )
    assert [message.role for message in written] == ["assistant", "tool", "user", "user"]
    assert written[0].parts[1] is WHOLE
    assert 'g with arguments that are not whole: {"x": ' in written[0].text
    assert written[1].parts == (ToolResult("a", "1"),)
    assert written[2].text.startswith("Error: the tool g was not called")
    assert written[2].text.endswith("not JSON")


@pytest.mark.parametrize("later", [(), (user("Go on"),)])
def test_a_broken_call_without_a_result_gets_one(later: tuple[Message, ...]) -> None:
    written = with_whole_calls([user("q"), assistant("I look.", CUT), *later])
    assert [message.role for message in written] == [
        "user",
        "assistant",
        "user",
        *(each.role for each in later),
    ]
    assert written[2].text == "Error: the tool g was not called, its arguments are not whole. Call it again."


def test_calls_that_share_an_id_with_one_of_an_earlier_answer_keep_their_results() -> None:
    again = ToolCall("b", "g", "{}")
    messages = [assistant(CUT), tool(ToolResult("b", "1")), assistant(again), tool(ToolResult("b", "2"))]
    written = with_whole_calls(messages)
    assert written[-2:] == messages[-2:]
    assert not any(isinstance(part, ToolResult) for part in written[1].parts)


def test_a_result_with_parts_keeps_them() -> None:
    written = with_whole_calls([assistant(CUT), tool(ToolResult("b", (Text("why"),)))])
    assert written[1].parts[1:] == (Text("why"),)
