"""How events become a reply."""

import pickle
import typing

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cortex_trio import (
    Attempt,
    CitationDelta,
    Continued,
    Event,
    Failure,
    FailureKind,
    Finished,
    FinishReason,
    Image,
    Message,
    Opaque,
    Reasoning,
    ReasoningDelta,
    ReasoningSeal,
    Reply,
    Restarted,
    StreamEvent,
    Text,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
    UsageUpdate,
    WholePart,
)
from cortex_trio.events import ReplyBuilder
from cortex_trio.otp import Report
from cortex_trio.telemetry import call_events, cluster_events, worker_events

STALLED = Failure(FailureKind.STALLED)


def folded(*events: StreamEvent, origin: str | None = None) -> Reply:
    builder = ReplyBuilder(origin)
    builder.add_all(events)
    return builder.reply(worker="w", provider="p", model="m", attempts=[])


def test_text_is_joined_and_the_finish_is_kept() -> None:
    reply = folded(TextDelta("Hel"), TextDelta("lo"), Finished(FinishReason.LENGTH, "max_tokens"))
    assert (reply.text, reply.finish_reason) == ("Hello", FinishReason.LENGTH)
    assert reply.message == Message("assistant", (Text("Hello"),))
    assert (reply.worker, reply.provider, reply.model, reply.attempts) == ("w", "p", "m", ())


def test_an_answer_that_never_finished_says_other() -> None:
    assert folded(TextDelta("Hel")).finish_reason is FinishReason.OTHER


def test_parts_keep_the_order_in_which_they_appeared() -> None:
    reply = folded(
        ReasoningDelta("hm"),
        TextDelta("I look"),
        ToolCallDelta(0, '{"a"', id="c0", name="f"),
        ReasoningDelta("and"),
        TextDelta("so"),
    )
    kinds = [type(part) for part in reply.message.parts]
    assert kinds == [Reasoning, Text, ToolCall, Reasoning, Text]
    assert (reply.text, reply.reasoning) == ("I lookso", "hmand")


def test_interleaved_tool_calls_are_separated_by_their_index() -> None:
    reply = folded(
        ToolCallDelta(0, '{"a":', id="c0", name="f"),
        ToolCallDelta(1, '{"b":', id="c1", name="g"),
        ToolCallDelta(0, "1}"),
        ToolCallDelta(1, "2}"),
    )
    assert reply.tool_calls == (ToolCall("c0", "f", '{"a":1}'), ToolCall("c1", "g", '{"b":2}'))


def test_a_seal_closes_its_thought_and_names_where_it_came_from() -> None:
    reply = folded(
        ReasoningDelta("one"),
        ReasoningSeal(signature="s1"),
        ReasoningDelta("two"),
        ReasoningSeal(encrypted="e2"),
        TextDelta("so"),
        origin="anthropic/claude",
    )
    assert reply.message.parts == (
        Reasoning("one", "s1", None, "anthropic/claude"),
        Reasoning("two", None, "e2", "anthropic/claude"),
        Text("so"),
    )


def test_a_seal_without_text_is_reasoning_without_text() -> None:
    assert folded(ReasoningSeal(encrypted="e")).message.parts == (Reasoning("", None, "e"),)


def test_only_a_call_with_a_signature_is_bound_to_its_origin() -> None:
    reply = folded(
        ToolCallDelta(0, "{}", id="a", name="f", signature="s"),
        ToolCallDelta(1, "{}", id="b", name="f"),
        origin="gemini/flash",
    )
    assert [call.origin for call in reply.tool_calls] == ["gemini/flash", None]


def test_usage_is_a_snapshot_and_not_a_sum() -> None:
    reply = folded(UsageUpdate(Usage(5, 1)), UsageUpdate(Usage(5, 7, reasoning_tokens=2)))
    assert reply.usage == Usage(5, 7, 12, reasoning_tokens=2)


@pytest.mark.parametrize(
    ("usage", "total"),
    [
        (Usage(3, 4), 7),
        (Usage(3, None), None),
        (Usage(None, 4), None),
        (Usage(3, 4, 10), 10),
        (Usage(0, 0), 0),
    ],
)
def test_a_total_is_the_sum_where_both_are_known_and_nothing_was_said(
    usage: Usage, total: int | None
) -> None:
    assert usage.total_tokens == total


def test_a_restart_makes_void_what_came_before() -> None:
    reply = folded(
        TextDelta("wrong"),
        ToolCallDelta(0, "{}", id="old", name="f"),
        UsageUpdate(Usage(1, 1)),
        Restarted(STALLED, "b"),
        TextDelta("right"),
        ToolCallDelta(0, "{}", id="new", name="g"),
    )
    assert reply.message.parts == (Text("right"), ToolCall("new", "g", "{}"))
    assert reply.usage == Usage()


def test_a_finish_before_a_restart_is_no_finish_of_the_new_answer() -> None:
    reply = folded(TextDelta("a"), Finished(FinishReason.LENGTH), Restarted(STALLED, "b"), TextDelta("b"))
    assert reply.finish_reason is FinishReason.OTHER


def test_what_goes_on_where_it_broke_off_is_one_text() -> None:
    reply = folded(TextDelta("Once upon "), Continued(STALLED, "b", 10), TextDelta("a time"))
    assert reply.message.parts == (Text("Once upon a time"),)


def test_citations_stand_beside_the_message_and_not_in_it() -> None:
    one, other = CitationDelta(0, 1, "a", ("doc",)), CitationDelta(None, None, "", ("https://example.org/",))
    reply = folded(TextDelta("a"), one, TextDelta("b"), other)
    assert reply.message.parts == (Text("ab"),)
    assert reply.citations == (one, other)
    assert folded(one, Restarted(STALLED, "b"), other).citations == (other,)


pieces = st.one_of(
    st.builds(TextDelta, st.text(max_size=5)),
    st.builds(ReasoningDelta, st.text(max_size=5)),
    st.builds(ToolCallDelta, st.integers(0, 2), st.text(max_size=5), id=st.just("c"), name=st.just("f")),
    st.builds(WholePart, st.builds(Opaque, st.just("search"), st.text(max_size=5))),
)


@given(st.lists(pieces, max_size=20))
def test_nothing_is_lost_and_nothing_is_doubled(events: list[StreamEvent]) -> None:
    reply = folded(*events)
    assert reply.text == "".join(event.text for event in events if isinstance(event, TextDelta))
    assert reply.reasoning == "".join(event.text for event in events if isinstance(event, ReasoningDelta))
    indexes = list(dict.fromkeys(event.index for event in events if isinstance(event, ToolCallDelta)))
    assert [call.arguments for call in reply.tool_calls] == [
        "".join(e.arguments for e in events if isinstance(e, ToolCallDelta) and e.index == index)
        for index in indexes
    ]
    whole = [part for part in reply.message.parts if isinstance(part, Opaque)]
    assert whole == [event.part for event in events if isinstance(event, WholePart)]
    assert reply.text == reply.message.text


# ------------------------------------------------------------------ parts that come whole

SEARCH = Opaque("server_tool_use", '{"type":"server_tool_use","id":"s1","input":{"query":"Oslo"}}')
FOUND = Opaque("web_search_tool_result", '{"type":"web_search_tool_result","content":[]}')
PICTURE = Image(data=b"\x89PNG", media_type="image/png")


def test_a_part_that_comes_whole_stands_where_it_came_and_parts_the_text_around_it() -> None:
    reply = folded(
        ReasoningDelta("hm"),
        WholePart(SEARCH),
        WholePart(FOUND),
        TextDelta("It "),
        TextDelta("rains."),
        WholePart(PICTURE),
        TextDelta("See?"),
        ToolCallDelta(0, "{}", id="c", name="f"),
        WholePart(SEARCH),
        origin="anthropic/claude",
    )
    came = attrs.evolve(SEARCH, origin="anthropic/claude")
    assert reply.message.parts == (
        Reasoning("hm", origin="anthropic/claude"),
        came,
        attrs.evolve(FOUND, origin="anthropic/claude"),
        Text("It rains."),
        PICTURE,
        Text("See?"),
        ToolCall("c", "f", "{}"),
        came,
    )
    assert (reply.text, reply.reasoning) == ("It rains.See?", "hm")


def test_arguments_that_come_late_still_belong_to_their_call() -> None:
    reply = folded(
        ToolCallDelta(0, '{"a":', id="c", name="f"),
        WholePart(SEARCH),
        ToolCallDelta(0, "1}"),
        TextDelta("so"),
    )
    assert reply.message.parts == (ToolCall("c", "f", '{"a":1}'), SEARCH, Text("so"))


def test_a_restart_makes_void_the_parts_that_came_whole() -> None:
    reply = folded(WholePart(SEARCH), WholePart(PICTURE), Restarted(STALLED, "b"), TextDelta("b"))
    assert reply.message.parts == (Text("b"),)


@pytest.mark.parametrize("part", [attrs.evolve(SEARCH, origin="anthropic/claude"), PICTURE])
def test_a_part_that_comes_whole_is_a_fact(part: Image | Opaque) -> None:
    event = WholePart(part)
    assert pickle.loads(pickle.dumps(event)) == event
    assert {event: 1}[WholePart(attrs.evolve(part))] == 1
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        event.part = PICTURE  # type: ignore[misc]


def test_an_opaque_block_shows_its_size_and_can_be_looked_into() -> None:
    assert repr(SEARCH) == "Opaque(type='server_tool_use', data=<61 characters>, origin=None)"
    assert SEARCH.parsed()["input"] == {"query": "Oslo"}
    with pytest.raises(ValueError, match="a JSON list, not an object"):
        Opaque("x", "[]").parsed()


def test_the_union_of_events_holds_every_event_class() -> None:
    defined = {
        value
        for module in (call_events, cluster_events, worker_events)
        for value in vars(module).values()
        if isinstance(value, type) and value.__module__ == module.__name__
    }
    assert set(typing.get_args(Event)) == defined | {Attempt, Report}
