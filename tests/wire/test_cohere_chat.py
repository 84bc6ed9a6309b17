"""The Cohere dialect: recorded answers read right at every slicing, requests as the API asks for them."""

import json
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import attrs
import pytest
from hearing import Heard, bytewise, heard
from hypothesis import given
from hypothesis import strategies as st

from cortex_trio.events import (
    CitationDelta,
    Finished,
    FinishReason,
    ReasoningDelta,
    ResponseStarted,
    TextDelta,
    ToolCallDelta,
    Usage,
    UsageUpdate,
    WireEvent,
)
from cortex_trio.failures import Failure, FailureKind, InvalidRequest
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
from cortex_trio.wire.codec import EVENT_LIMIT, Unsupported
from cortex_trio.wire.cohere_chat.dialect import CohereChat

DIALECT = CohereChat()
COMMAND = "command-a-03-2025"
STOP = Finished(FinishReason.STOP, "COMPLETE")
TOOL_CALLS = Finished(FinishReason.TOOL_CALLS, "TOOL_CALL")
LENGTH = Finished(FinishReason.LENGTH, "MAX_TOKENS")


def decode(chunks: Iterable[bytes]) -> list[WireEvent]:
    return heard(DIALECT, chunks)


def sse(*payloads: dict[str, Any], done: bool = True) -> bytes:
    """A stream of these payloads, framed as the API frames them."""
    framed = [
        f"event: {payload.get('type', 'error')}\ndata: {json.dumps(payload, ensure_ascii=False)}\n\n"
        for payload in payloads
    ]
    return "".join([*framed, "data: [DONE]\n\n" * done]).encode()


def step(kind: str, index: int | None = 0, **message: Any) -> dict[str, Any]:
    return {"type": kind, "index": index, "delta": {"message": message}}


def text(piece: str, index: int = 0) -> dict[str, Any]:
    return step("content-delta", index, content={"text": piece})


def call_start(
    index: int | None, name: str, arguments: str | None = "", id: str | None = "id"
) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return step("tool-call-start", index, tool_calls={"id": id, "type": "function", "function": function})


def call_delta(index: int | None, arguments: str) -> dict[str, Any]:
    return step("tool-call-delta", index, tool_calls={"function": {"arguments": arguments}})


def end(finish: str | None = "COMPLETE", **more: Any) -> dict[str, Any]:
    return {"type": "message-end", "delta": {"finish_reason": finish, **more}}


CALL_END = {"type": "tool-call-end", "index": 0}


# ------------------------------------------------------------------ what was recorded


@attrs.frozen
class HeardHere(Heard):
    """And the parts that only this dialect tells apart."""

    calls: tuple[tuple[str, str, str], ...] = ()
    citations: tuple[CitationDelta, ...] = ()


def tokens(input: int, output: int, cached: int | None, reasoning: int | None = None) -> Usage:
    return Usage(input, output, input + output, cached, reasoning_tokens=reasoning)


RUBY = ("https://example.com/ruby-facts",)
PLAN = ("I will use the ", " learn.", 78)

STREAMS = {
    "recordings/cohere/v2_stream_text_command_a.sse": HeardHere(
        STOP, tokens(502, 24, 448), pieces=16, text=("Sure! Here's countin", "3:\n\n1, 2, 3.", 44)
    ),
    "recordings/cohere/v2_stream_text_done_terminator.sse": HeardHere(
        STOP, tokens(500, 4, 464), pieces=2, text=("STREAM", ".", 7)
    ),
    "recordings/cohere/v2_stream_max_tokens.sse": HeardHere(
        LENGTH, tokens(553, 64, 480), pieces=45, text=("(a)\na)\na)", ")a)\na)\na)(a)", 65)
    ),
    "recordings/cohere/v2_stream_tool_call_command_a.sse": HeardHere(
        TOOL_CALLS,
        tokens(1508, 67, 1472),
        pieces=13,
        reasoning=("I will use the ", "e weather in Berlin.", 58),
        calls=(("weather_vvavrb8p34fk", "weather", '{"latitude": "52.5200", "longitude": "13.4050"}'),),
    ),
    "recordings/cohere/v2_stream_tool_call_no_arguments.sse": HeardHere(
        TOOL_CALLS,
        tokens(1476, 58, 1376),
        pieces=20,
        reasoning=PLAN,
        calls=(("best_language_to_learn_wf0rc70sqj7v", "best_language_to_learn", "{}"),),
    ),
    "recordings/cohere/v2_stream_after_tool_results_citations.sse": HeardHere(
        STOP,
        tokens(1645, 33, 1600),
        pieces=20,
        text=("The current weather ", " of 10 km/h.", 60),
        citations=(CitationDelta(33, 60, "15°C with winds of 10 km/h.", ("weather_vvavrb8p34fk:0",)),),
    ),
    "constructed/cohere/v2_stream_finish_error.sse": HeardHere(
        FailureKind.SERVER, Usage(500, 1, 501), pieces=1, text=("Hel", "Hel", 3)
    ),
}

REPLIES = {
    "recordings/cohere/v2_after_tool_results_citations.json": HeardHere(
        STOP,
        tokens(1774, 51, 1088),
        pieces=1,
        text=("The current weather ", "to learn is Ruby.", 96),
        citations=(
            CitationDelta(33, 60, "15°C with winds of 10 km/h.", ("weather_5fdj252rgk1f:0",)),
            CitationDelta(91, 96, "Ruby.", ("best_language_to_learn_qxep73hcps93:0",)),
        ),
    ),
    "recordings/cohere/v2_tool_results_citations_command_a_plus.json": HeardHere(
        STOP,
        tokens(379, 164, 144, 54),
        pieces=2,
        text=("According to the knowledge", 'Matsumoto in 1993."', 254),
        reasoning=("Great! I found the answer", "as requested.", 265),
        citations=(
            CitationDelta(68, 86, "Yukihiro Matsumoto", RUBY),
            CitationDelta(90, 95, "1993.", RUBY),
            CitationDelta(109, 119, "Ruby Facts", RUBY),
            CitationDelta(122, 152, "https://example.com/ruby-facts", RUBY),
            CitationDelta(
                180, 254, '"The Ruby programming language was created by Yukihiro Matsumoto in 1993."', RUBY
            ),
        ),
    ),
    "recordings/cohere/v2_parallel_tool_calls.json": HeardHere(
        TOOL_CALLS,
        tokens(1568, 132, 992),
        pieces=1,
        reasoning=("I will use the weather tool", "best language to learn.", 148),
        calls=(
            ("weather_5fdj252rgk1f", "weather", '{"latitude":"52.5200","longitude":"13.4050"}'),
            ("best_language_to_learn_qxep73hcps93", "best_language_to_learn", "{}"),
        ),
    ),
    "recordings/cohere/v2_reasoning_tool_call.json": HeardHere(
        TOOL_CALLS,
        tokens(1494, 330, 1008),
        pieces=1,
        reasoning=("Okay, the user is asking", "location set to Osaka.", 1305),
        calls=(("get_the_weather_r8d0r2e0kw9s", "get_the_weather", '{"location":"Osaka"}'),),
    ),
    "recordings/cohere/v2_tool_call_null_arguments.json": HeardHere(
        TOOL_CALLS,
        tokens(1445, 43, 992),
        pieces=1,
        reasoning=("I will use the currentTime", "the current time.", 57),
        calls=(("currentTime_tf4dywn8wgnk", "currentTime", "{}"),),
    ),
    "recordings/cohere/v2_finish_stop_sequence.json": HeardHere(
        Finished(FinishReason.STOP, "STOP_SEQUENCE"),
        tokens(505, 9, 448),
        pieces=1,
        text=("alpha", "alpha", 5),
    ),
    "recordings/cohere/v2_image_input_command_a_plus.json": HeardHere(
        STOP, tokens(34, 70, 0, 0), pieces=1, text=("I see a red gemstone", "background is white.", 309)
    ),
    "recordings/cohere/error_400_too_many_tokens.json": HeardHere(FailureKind.CONTEXT_LENGTH),
}


def check(expected: HeardHere, events: list[WireEvent]) -> None:
    reply = expected.check(events)
    assert tuple((call.id, call.name, call.arguments) for call in reply.tool_calls) == expected.calls
    assert tuple(event for event in events if isinstance(event, CitationDelta)) == expected.citations


@pytest.mark.parametrize("path", STREAMS)
def test_recorded_streams_are_decoded_as_a_reader_reads_them_at_every_slicing(
    path: str, shared_dir: Path
) -> None:
    body = (shared_dir / "wire" / path).read_bytes()
    events = decode([body])
    check(STREAMS[path], events)
    assert decode(bytewise(body)) == events
    assert decode(event + b"\n\n" for event in body.split(b"\n\n")) == events


@pytest.mark.parametrize("path", REPLIES)
def test_recorded_whole_replies_are_decoded_as_a_reader_reads_them(path: str, shared_dir: Path) -> None:
    check(REPLIES[path], DIALECT.decode_reply((shared_dir / "wire" / path).read_bytes()))


def test_every_recording_of_a_chat_has_an_expectation(shared_dir: Path) -> None:
    found = {
        f"{kind}/cohere/{file.name}"
        for kind in ("recordings", "constructed")
        for file in (shared_dir / "wire" / kind / "cohere").iterdir()
        if not file.name.endswith(".meta.json") and not file.name.startswith(("error_", "v2_embed_"))
    }
    assert found <= STREAMS.keys() | REPLIES.keys()


def test_citations_point_at_the_text_they_repeat(shared_dir: Path) -> None:
    path = "recordings/cohere/v2_tool_results_citations_command_a_plus.json"
    events = DIALECT.decode_reply((shared_dir / "wire" / path).read_bytes())
    whole = "".join(event.text for event in events if isinstance(event, TextDelta))
    for event in events:
        if isinstance(event, CitationDelta):
            assert whole[event.start : event.end] == event.text


# ------------------------------------------------------------------ what is said


@given(cuts=st.lists(st.integers(0, 600)))
def test_a_stream_is_decoded_the_same_however_it_is_sliced(cuts: list[int]) -> None:
    body = sse(text("Grüß "), text("Gott 🎈"), end(usage={"tokens": {"input_tokens": 5.0}}))
    edges = sorted({0, len(body), *(cut for cut in cuts if cut < len(body))})
    assert decode(body[a:b] for a, b in pairwise(edges)) == [
        TextDelta("Grüß "),
        TextDelta("Gott 🎈"),
        UsageUpdate(Usage(input_tokens=5)),
        STOP,
    ]


def test_message_end_is_the_end_and_done_is_not_waited_for() -> None:
    decoder = DIALECT.decoder()
    assert decoder.feed(sse(text("Hi"), end(), text("more"), done=False)) == [TextDelta("Hi"), STOP]
    assert decoder.done


@pytest.mark.parametrize("tail", [b"", b"data: [DONE]\n\n", b"data: [DONE]", b"event: message-end\ndata: {"])
def test_a_stream_without_a_message_end_is_truncated_with_or_without_done(tail: bytes) -> None:
    events = decode([sse(text("Hel"), done=False) + tail])
    assert events[0] == TextDelta("Hel")
    assert isinstance(events[1], Failure)
    assert events[1].kind is FailureKind.TRUNCATED


@pytest.mark.parametrize("finish", [None, ""])
def test_a_message_end_without_a_finish_reason_is_truncated(finish: str | None) -> None:
    failure = decode([sse(text("Hel"), end(finish))])[-1]
    assert isinstance(failure, Failure)
    assert failure.kind is FailureKind.TRUNCATED


def test_a_message_end_that_lost_only_its_blank_line_counts() -> None:
    body = sse(text("Hi"), end(), done=False)
    assert decode([body[:-2]]) == decode([body[:-1]]) == [TextDelta("Hi"), STOP]


@pytest.mark.parametrize(
    ("raw", "finish"),
    [
        ("COMPLETE", FinishReason.STOP),
        ("STOP_SEQUENCE", FinishReason.STOP),
        ("MAX_TOKENS", FinishReason.LENGTH),
        ("TOOL_CALL", FinishReason.STOP),  # no call came, so none is waited for
        ("ERROR_TOXIC", FinishReason.CONTENT_FILTER),
        ("USER_CANCEL", FinishReason.OTHER),
        ("INVENTED_TOMORROW", FinishReason.OTHER),
    ],
)
def test_finish_reasons_are_translated_and_unknown_ones_survived(raw: str, finish: FinishReason) -> None:
    assert decode([sse(end(raw))]) == [Finished(finish, raw)]


@pytest.mark.parametrize("raw", ["ERROR", "TIMEOUT"])
def test_a_finish_that_is_an_error_is_a_server_failure_with_its_own_text(raw: str) -> None:
    for events in (
        decode([sse(text("Hel"), end(raw, error="the model fell over"))]),
        DIALECT.decode_reply(json.dumps({"finish_reason": raw, "error": "the model fell over"}).encode()),
    ):
        assert events[-1] == Failure(FailureKind.SERVER, "the model fell over", code=raw, phase="stream")
    silent = decode([sse(end(raw))])[-1]
    assert isinstance(silent, Failure)
    assert raw in silent.message


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"id": "1", "message": "internal server error"}, FailureKind.SERVER),
        (
            {"error_type": "TOO_MANY_TOKENS", "message": "too many tokens: size limit"},
            FailureKind.CONTEXT_LENGTH,
        ),
        ({"type": "error", "message": "service unavailable"}, FailureKind.SERVER),
        ({"error": {"message": "overloaded"}}, FailureKind.OVERLOADED),
    ],
)
def test_a_bare_error_inside_a_stream_is_heard(error: dict[str, Any], kind: FailureKind) -> None:
    for tail in (sse(error), b"data: " + json.dumps(error).encode() + b"\n\n"):
        failure = decode([sse(text("Hel"), done=False) + tail])[-1]
        assert isinstance(failure, Failure)
        assert failure.kind is kind


def test_empty_steps_and_unknown_ones_make_no_event() -> None:
    body = sse(
        {"type": "message-start", "id": "1", "delta": {"message": {"role": "assistant", "content": []}}},
        {"type": "debug", "prompt": "…"},
        {"type": "invented-tomorrow", "message": "new", "delta": None},
        step("content-start", content={"type": "text", "text": ""}),
        text(""),
        step("content-delta", content={"text": None}),
        step("tool-plan-delta", tool_plan=""),
        {"type": "content-end", "index": 0},
        end(),
    )
    assert decode([b": ping\n\n" + body]) == [ResponseStarted("1", None), STOP]


def test_thinking_a_plan_and_text_come_in_their_order() -> None:
    body = sse(
        step("content-start", content={"type": "thinking", "thinking": "H"}),
        step("content-delta", content={"thinking": "m."}),
        step("tool-plan-delta", None, tool_plan="I will ask."),
        step("content-start", 1, content={"type": "text", "text": "Y"}),
        text("es", 1),
        end(),
    )
    assert decode([body]) == [
        ReasoningDelta("H"),
        ReasoningDelta("m."),
        ReasoningDelta("I will ask."),
        TextDelta("Y"),
        TextDelta("es"),
        STOP,
    ]


@pytest.mark.parametrize("elsewhere", ["PLAN", "THINKING_CONTENT"])
def test_what_a_plan_or_thinking_rests_on_has_no_place_in_the_text(elsewhere: str) -> None:
    place = {"start": 0, "end": 4, "text": "said", "sources": [{"type": "document", "id": "doc:0"}]}
    cited = (
        step("citation-start", citations={**place, "type": kind}) for kind in ("TEXT_CONTENT", elsewhere)
    )
    assert decode([sse(*cited, end())])[:-1] == [
        CitationDelta(0, 4, "said", ("doc:0",)),
        CitationDelta(None, None, "said", ("doc:0",)),
    ]


def test_calls_are_numbered_as_they_appear_and_every_one_gets_arguments() -> None:
    body = sse(
        call_start(3, "a", id="A"),
        call_start(5, "b", id=None),
        call_delta(5, '{"x":'),
        call_delta(5, "null"),
        call_delta(5, "}"),
        {"type": "tool-call-end", "index": 5},
        {"type": "tool-call-end", "index": 3},
        call_start(3, "c", "null", id="C"),
        {"type": "tool-call-end", "index": 3},
        call_start(None, "d", None, id="D"),
        call_delta(None, ""),
        call_delta(None, "null"),
        {"type": "tool-call-end"},
        end("TOOL_CALL"),
    )
    assert decode([body]) == [
        ToolCallDelta(0, "", "A", "a"),
        ToolCallDelta(1, "", "call_1", "b"),
        ToolCallDelta(1, '{"x":'),
        ToolCallDelta(1, "null"),
        ToolCallDelta(1, "}"),
        ToolCallDelta(0, "{}"),
        ToolCallDelta(2, "{}", "C", "c"),
        ToolCallDelta(3, "", "D", "d"),
        ToolCallDelta(3, "{}"),
        TOOL_CALLS,
    ]


@pytest.mark.parametrize(
    "usage", [None, [], {"tokens": 5}, {"tokens": {"input_tokens": "x"}}, {"billed_units": {}}]
)
def test_unreadable_usage_is_not_reported_and_fails_nothing(usage: object) -> None:
    assert decode([sse(text("Hi"), end(usage=usage))]) == [TextDelta("Hi"), STOP]


@pytest.mark.parametrize(
    "payload",
    [
        {"type": 5},
        {"type": "content-delta", "delta": "x"},
        {"type": "content-delta", "delta": {"message": "x"}},
        step("content-delta", content="x"),
        step("content-delta", content={"text": 5}),
        step("tool-call-start", tool_calls=[{"id": "a"}]),
        step("tool-call-start", tool_calls={"id": "a", "function": {}}),
        call_delta(0, "{}"),
        step("citation-start", citations={"sources": "x"}),
        step("citation-start", citations={"sources": ["x"]}),
        {"type": "message-end", "delta": {"finish_reason": 5}},
    ],
)
def test_a_wrong_shape_is_one_protocol_failure(payload: dict[str, Any]) -> None:
    events = decode([sse(text("Hel"), payload, end())])
    assert events[0] == TextDelta("Hel")
    assert isinstance(events[1], Failure)
    assert events[1].kind is FailureKind.PROTOCOL


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'"x"', b'{"message": {"content": "x"}}', b"[" * 99_999])
def test_a_reply_of_another_shape_is_a_protocol_failure(body: bytes) -> None:
    (failure,) = DIALECT.decode_reply(body)
    assert isinstance(failure, Failure)
    assert failure.kind is FailureKind.PROTOCOL


def test_what_a_reply_held_before_it_went_wrong_is_kept() -> None:
    body = {"message": {"content": [{"type": "text", "text": "Hel"}, {"type": "text", "text": 5}]}}
    events = DIALECT.decode_reply(json.dumps(body).encode())
    assert events[0] == TextDelta("Hel")
    assert isinstance(events[1], Failure)


@pytest.mark.slow
@pytest.mark.parametrize("beginning", [b"data: ", b"event: ", b"x"])
def test_an_event_past_the_limit_is_a_protocol_failure(beginning: bytes) -> None:
    decoder = DIALECT.decoder()
    events = decoder.feed(beginning)
    for _ in range(6):
        events += decoder.feed(b"x" * (EVENT_LIMIT // 4))
    assert decoder.done
    assert [event.kind for event in events if isinstance(event, Failure)] == [FailureKind.PROTOCOL]


@given(body=st.binary(max_size=200))
def test_no_bytes_whatever_raise_anything(body: bytes) -> None:
    for prefix in (b"", b"data: ", b'data: {"type":"message-end",'):
        decode(bytewise(prefix + body))
        assert isinstance(DIALECT.decode_reply(prefix + body)[-1], Failure)


# ------------------------------------------------------------------ requests


def encoded(*messages: Message, model: str = COMMAND, **options: Any) -> dict[str, Any]:
    request = DIALECT.encode(ChatRequest(messages=messages, **options), "cohere", model)
    assert request.path == "/v2/chat"
    assert request.body is not None
    body = json.loads(request.body)
    assert isinstance(body, dict)
    return body


WEATHER = Tool("weather", "The weather", {"type": "object", "properties": {"city": {"type": "string"}}})
CLOCK = Tool("clock", "", {"type": "object", "properties": {}})
SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}}


def test_a_request_without_options_holds_model_messages_and_stream_and_nothing_else() -> None:
    messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}]
    assert encoded(system("Be kind."), user("Hi")) == {"model": COMMAND, "messages": messages, "stream": True}
    assert encoded(user("Hi"), stream=False)["stream"] is False


def test_every_option_has_its_name_on_the_wire() -> None:
    body = encoded(
        user("Hi"),
        max_tokens=5,
        temperature=0.5,
        top_p=0.9,
        stop=("END",),
        response_schema=SCHEMA,
        reasoning=100,
        extra_body={"k": 3, "temperature": 0},
    )
    assert {name: body[name] for name in body if name not in ("model", "messages", "stream")} == {
        "max_tokens": 5,
        "temperature": 0,
        "p": 0.9,
        "stop_sequences": ["END"],
        "response_format": {"type": "json_object", "json_schema": SCHEMA},
        "thinking": {"type": "enabled", "token_budget": 100},
        "k": 3,
    }


@pytest.mark.parametrize(
    ("choice", "wired", "offered"),
    [
        (None, None, ["weather", "clock"]),
        ("auto", None, ["weather", "clock"]),
        ("none", "NONE", ["weather", "clock"]),
        ("required", "REQUIRED", ["weather", "clock"]),
        ("clock", "REQUIRED", ["clock"]),
    ],
)
def test_a_tool_is_demanded_by_name_by_offering_no_other(
    choice: str | None, wired: str | None, offered: list[str]
) -> None:
    body = encoded(user("Hi"), tools=(WEATHER, CLOCK), tool_choice=choice)
    assert body.get("tool_choice") == wired
    assert [tool["function"]["name"] for tool in body["tools"]] == offered


def test_tools_are_functions_and_strict_for_all_of_them_if_for_one() -> None:
    function = {"name": "weather", "description": "The weather", "parameters": WEATHER.parameters}
    assert encoded(user("Hi"), tools=(WEATHER,))["tools"] == [{"type": "function", "function": function}]
    assert "strict_tools" not in encoded(user("Hi"), tools=(WEATHER,))
    assert encoded(user("Hi"), tools=(WEATHER, attrs.evolve(CLOCK, strict=True)))["strict_tools"] is True


def test_a_tool_choice_that_is_no_tool_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(
        InvalidRequest, match=r"'clocks' cannot be met by the tools there are \(weather, clock\)"
    ):
        encoded(user("Hi"), tools=(WEATHER, CLOCK), tool_choice="clocks")


@pytest.mark.parametrize("beside", [{"tools": (WEATHER,)}, {"documents": (Document("x"),)}])
def test_a_schema_beside_tools_or_documents_is_refused(beside: dict[str, Any]) -> None:
    with pytest.raises(Unsupported, match="response_schema together with"):
        encoded(user("Hi"), response_schema=SCHEMA, **beside)


def test_reasoning_is_a_budget_or_nothing() -> None:
    assert encoded(user("Hi"), reasoning="none")["thinking"] == {"type": "disabled"}
    with pytest.raises(Unsupported, match="'high'"):
        encoded(user("Hi"), reasoning="high")


def test_documents_have_their_own_field_wherever_they_came_from() -> None:
    body = encoded(
        user(Document("alone")),
        user(Document("of the message", title="B"), "Hi"),
        documents=(Document("of the request", title="A", id="a"),),
    )
    assert body["documents"] == [
        {"id": "a", "data": {"title": "A", "text": "of the request"}},
        {"data": {"text": "alone"}},
        {"data": {"title": "B", "text": "of the message"}},
    ]
    assert body["messages"] == [{"role": "user", "content": "Hi"}]


def test_a_last_message_of_nothing_but_documents_asks_with_their_text() -> None:
    body = encoded(user("Hi"), assistant("Yes?"), user(Document("Read me.", title="B")))
    assert "documents" not in body
    assert body["messages"][-1] == {"role": "user", "content": "B\n\nRead me."}


def test_images_go_by_url_or_as_data_urls() -> None:
    images = (Image(url="https://example.com/a.jpg"), Image(data=b"x", media_type="image/png"))
    assert encoded(user("Look", *images))["messages"][0]["content"] == [
        {"type": "text", "text": "Look"},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.jpg"}},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,eA=="}},
    ]


@pytest.mark.parametrize(
    "message",
    [
        Message("system", (Image(url="https://example.com/a.jpg"),)),
        Message("tool", "no result"),
    ],
)
def test_parts_a_role_cannot_hold_are_refused(message: Message) -> None:
    with pytest.raises(Unsupported, match=message.role):
        encoded(user("Hi"), message, user("And?"))


def test_an_image_the_model_made_is_shown_by_the_user() -> None:
    url = "https://example.com/a.jpg"
    assert encoded(user("Draw"), assistant("Here:", Image(url=url)), user("Bigger"))["messages"] == [
        {"role": "user", "content": "Draw"},
        {"role": "assistant", "content": "Here:"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Of your answer:"},
                {"type": "image_url", "image_url": {"url": url}},
            ],
        },
        {"role": "user", "content": "Bigger"},
    ]


def test_results_follow_their_calls_and_their_images_follow_the_last_of_them() -> None:
    image = Image(url="https://example.com/a.jpg")
    assert encoded(
        user("Go"),
        assistant(Text("Let me see."), ToolCall("a", "f", '{"x": 1}'), ToolCall("b", "g", "null")),
        Message("tool", (ToolResult("a", (image,)),)),
        Message("tool", (ToolResult("b", "broken", is_error=True),)),
        user("And?"),
    )["messages"][1:] == [
        {
            "role": "assistant",
            "tool_calls": [
                {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}},
                {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
            ],
            "content": "Let me see.",
        },
        {"role": "tool", "tool_call_id": "a", "content": "The image follows."},
        {"role": "tool", "tool_call_id": "b", "content": "Error: broken"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Returned by tool call a:"},
                {"type": "image_url", "image_url": {"url": "https://example.com/a.jpg"}},
            ],
        },
        {"role": "user", "content": "And?"},
    ]


def test_images_of_results_at_the_end_of_a_history_follow_too() -> None:
    result = ToolResult("a", (Text("Here."), Image(data=b"x", media_type="image/png")))
    messages = encoded(user("Go"), assistant(ToolCall("a", "f", "{}")), Message("tool", (result,)))[
        "messages"
    ]
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "user"]
    assert messages[2]["content"] == "Here."


def test_ids_repeated_from_step_to_step_are_distinguished() -> None:
    messages = encoded(
        assistant(ToolCall("call_0", "f", "{}")),
        Message("tool", (ToolResult("call_0", "1"),)),
        assistant(ToolCall("call_0", "f", "{}")),
        Message("tool", (ToolResult("call_0", "2"),)),
    )["messages"]
    calls = [message["tool_calls"][0]["id"] for message in messages if "tool_calls" in message]
    results = [message["tool_call_id"] for message in messages if "tool_call_id" in message]
    assert calls == results
    assert len(set(calls)) == 2


def test_reasoning_goes_back_as_a_plan_beside_calls_and_as_thinking_without() -> None:
    own = Reasoning("Hm.", origin=f"cohere/{COMMAND}")
    with_call, without = encoded(assistant(own, ToolCall("a", "f", "{}")), assistant(own, "Yes"))["messages"]
    assert with_call["tool_plan"] == "Hm."
    assert "content" not in with_call
    assert without["content"] == [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "Yes"}]


def test_reasoning_of_other_models_stays_away_and_so_does_a_message_of_nothing_else() -> None:
    foreign = Reasoning("secret", "S", origin="anthropic/claude")
    body = encoded(user("Go"), assistant(foreign, "Yes"), assistant(foreign))
    assert body["messages"][1:] == [{"role": "assistant", "content": "Yes"}]


def recorded_tool(wired: dict[str, Any]) -> Tool:
    return Tool(**wired["function"])


@pytest.mark.parametrize(
    ("name", "messages", "options"),
    [
        (
            "v2_stream_text_done_terminator",
            (user("Reply with exactly STREAM."),),
            {"max_tokens": 32, "temperature": 0},
        ),
        ("v2_stream_text_command_a", (user("Count from 1 to 3"),), {}),
        (
            "v2_stream_tool_call_no_arguments",
            (system("You must use tools whenever possible."), user("What's the best language to learn?")),
            {},
        ),
        (
            "v2_stream_after_tool_results_citations",
            (
                user("What's the weather in Berlin? (52.5200, 13.4050)"),
                assistant(
                    ToolCall(
                        "weather_vvavrb8p34fk", "weather", '{"latitude":"52.5200","longitude":"13.4050"}'
                    )
                ),
                Message(
                    "tool",
                    (
                        ToolResult(
                            "weather_vvavrb8p34fk", "Current weather at 52.5200, 13.4050: 15°C, Wind: 10 km/h"
                        ),
                    ),
                ),
            ),
            {},
        ),
    ],
)
def test_equivalent_requests_are_encoded_as_recorded(
    name: str, messages: tuple[Message, ...], options: dict[str, Any], shared_dir: Path
) -> None:
    meta = json.loads((shared_dir / f"wire/recordings/cohere/{name}.meta.json").read_text())
    recorded = meta["request_body"]
    tools = tuple(recorded_tool(tool) for tool in recorded.get("tools", ()))
    body = encoded(*messages, tools=tools or None, **options)
    for message in recorded["messages"]:  # one text may stand alone or in a list; an empty one says nothing
        match message.get("content"):
            case [{"type": "text", "text": ""}]:
                del message["content"]
            case [{"type": "text", "text": str(text)}]:
                message["content"] = text
    assert body == recorded


# ------------------------------------------------------------------ embeddings and models


def test_texts_are_embedded_as_documents(shared_dir: Path) -> None:
    path = shared_dir / "wire/recordings/cohere/v2_embed_2026.json"
    recorded = json.loads(path.with_suffix(".meta.json").read_text())["request_body"]
    request = DIALECT.encode_embed(["braintrust tracing"], "cohere", "embed-v4.0", None)
    assert request.path == "/v2/embed"
    assert json.loads(request.body or b"") == recorded
    sized = DIALECT.encode_embed(["a"], "cohere", "embed-v4.0", 256)
    assert json.loads(sized.body or b"")["output_dimension"] == 256
    (vector,) = DIALECT.decode_embed(path.read_bytes())
    assert len(vector) == 1536
    assert vector[0] == 0.006563403


def test_models_are_listed_by_name() -> None:
    body = b'{"models": [{"name": "command-a", "endpoints": ["chat"]}, {"name": "embed-v4.0"}]}'
    assert DIALECT.decode_models(body) == ("command-a", "embed-v4.0")


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b'{"message": "no"}', b'{"embeddings": {"float": [[]]}, "models": [{"name": 1}]}'],
)
def test_anything_else_than_a_list_of_the_right_things_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"embedding|list"):
        DIALECT.decode_embed(body)
    with pytest.raises(ValueError, match=r"name|list"):
        DIALECT.decode_models(body)
