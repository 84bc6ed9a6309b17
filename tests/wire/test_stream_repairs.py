"""Streams that leave out, repeat or misplace events, as public reports describe them: nothing lost, nothing twice."""

import json
from typing import Any

import pytest
from test_stream_state import (
    ANTHROPIC,
    CHAT,
    COHERE,
    GEMINI,
    RESPONSES,
    completed,
    decoded,
    event,
    kind_of,
    message,
    text,
)

from cortex_trio.events import (
    Finished,
    FinishReason,
    ReasoningDelta,
    ResponseStarted,
    TextDelta,
    ToolCallDelta,
    WireEvent,
)
from cortex_trio.failures import Failure, FailureKind
from cortex_trio.providers import PROVIDERS

OPENAI = PROVIDERS["openai"].dialect
STOP = Finished(FinishReason.STOP, "stop")


# ------------------------------------------------------------------ chat completions


def choice(delta: dict[str, Any], finish: str | None = None, index: Any = 0) -> dict[str, Any]:
    return {"index": index, "delta": delta, "finish_reason": finish}


def chunk(*choices: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"object": "chat.completion.chunk", "choices": [*choices], **fields}


def part_of_call(arguments: str, **fields: Any) -> dict[str, Any]:
    return {"tool_calls": [{"index": 0, "function": {"arguments": arguments, **fields}}]}


def test_a_chunk_may_hold_its_choice_twice() -> None:
    """ai-dynamo/dynamo#15054: the last arguments beside a bare finish, with one index."""
    begin = {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f", "arguments": '{"x":'}}]}
    events = decoded(
        OPENAI,
        chunk(choice(begin), choice({"content": ""})),
        chunk(choice(part_of_call("1}")), choice({}, "tool_calls")),
        "[DONE]",
    )
    assert events == [
        ToolCallDelta(0, '{"x":', "a", "f"),
        ToolCallDelta(0, "1}"),
        Finished(FinishReason.TOOL_CALLS, "tool_calls"),
    ]


def test_a_function_call_in_the_form_of_2023_is_a_call() -> None:
    """OpenAI still answers `functions` with it; it has no index and no id."""
    begin, go_on = {"name": "f", "arguments": ""}, {"arguments": '{"x":1}'}
    done = Finished(FinishReason.TOOL_CALLS, "function_call")
    assert decoded(
        OPENAI,
        chunk(choice({"role": "assistant", "content": None, "function_call": begin})),
        chunk(choice({"function_call": go_on})),
        chunk(choice({}, "function_call")),
        "[DONE]",
    ) == [ToolCallDelta(0, '{"x":1}', "call_0", "f"), done]
    told = {"role": "assistant", "content": None, "function_call": {**begin, **go_on}}
    whole = {"choices": [{"index": 0, "message": told, "finish_reason": "function_call"}]}
    assert OPENAI.decode_reply(json.dumps(whole).encode()) == [
        ToolCallDelta(0, '{"x":1}', "call_0", "f"),
        done,
    ]


@pytest.mark.parametrize("index", ["0", None, "", 0.0, False, [0], {}, True])
def test_an_index_that_is_no_number_is_that_of_the_only_choice(index: Any) -> None:
    assert decoded(OPENAI, chunk(choice({"content": "hi"}, "stop", index)), "[DONE]") == [
        TextDelta("hi"),
        STOP,
    ]


def test_a_second_choice_is_not_part_of_the_answer() -> None:
    both = chunk(choice({"content": "a"}), choice({"content": "b"}, "length", index=1))
    assert decoded(OPENAI, both, chunk(choice({}, "stop")), "[DONE]") == [TextDelta("a"), STOP]


@pytest.mark.parametrize("numbers", [({}, {}), ({"index": 0}, {"index": 0}), ({"index": 0}, {"index": 1})])
def test_a_whole_answer_may_have_its_text_and_its_calls_in_two_choices(
    numbers: tuple[dict[str, int], dict[str, int]],
) -> None:
    """HKUDS/nanobot#1481: GitHub Copilot; BerriAI/litellm#35444: LiteLLM in front of Responses, which counts them."""
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    first = {"message": {"role": "assistant", "content": "Let me see."}, "finish_reason": "tool_calls"}
    second = {"message": {"role": "assistant", "tool_calls": [call]}, "finish_reason": "tool_calls"}
    assert OPENAI.decode_reply(
        json.dumps({"choices": [{**first, **numbers[0]}, {**second, **numbers[1]}]}).encode()
    ) == [
        TextDelta("Let me see."),
        ToolCallDelta(0, "{}", "a", "f"),
        Finished(FinishReason.TOOL_CALLS, "tool_calls"),
    ]


def test_the_only_choice_of_a_whole_answer_is_the_answer_whatever_its_number() -> None:
    only = {"index": 1, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}
    assert OPENAI.decode_reply(json.dumps({"choices": [only]}).encode()) == [TextDelta("hi"), STOP]


def test_the_calls_of_another_answer_are_not_those_of_the_first() -> None:
    def calling(name: str, index: int, content: str | None) -> dict[str, Any]:
        calls = [{"id": name, "type": "function", "function": {"name": name, "arguments": "{}"}}]
        message = {"role": "assistant", "content": content, "tool_calls": calls}
        return {"index": index, "message": message, "finish_reason": "tool_calls"}

    text = {"index": 0, "message": {"role": "assistant", "content": "a"}, "finish_reason": "tool_calls"}
    for choices in ([calling("f", 0, None), calling("g", 1, None)], [text, calling("g", 1, "b")]):
        events = OPENAI.decode_reply(json.dumps({"choices": choices}).encode())
        assert "g" not in {event.name for event in events if isinstance(event, ToolCallDelta)}


@pytest.mark.parametrize("index", [None, "1", [1], {}])
def test_a_second_text_without_an_index_is_not_part_of_the_answer(index: Any) -> None:
    first = {"index": 0, "message": {"role": "assistant", "content": "one"}, "finish_reason": "stop"}
    second = {"index": index, "message": {"role": "assistant", "content": "two"}, "finish_reason": "length"}
    assert OPENAI.decode_reply(json.dumps({"choices": [first, second]}).encode()) == [TextDelta("one"), STOP]
    streamed = (
        choice({"content": "a"}),
        choice({"content": "b"}, index=1),
        choice({"content": "c"}, index=index),
    )
    end = chunk(choice({}, "stop"), choice({}, "length", index=1))
    assert decoded(OPENAI, *map(chunk, streamed), end, "[DONE]") == [TextDelta("a"), STOP]


def test_content_may_be_a_list_of_strings() -> None:
    assert decoded(CHAT, chunk(choice({"content": ["a", "b"]}, "stop")), "[DONE]") == [
        TextDelta("a"),
        TextDelta("b"),
        STOP,
    ]


@pytest.mark.parametrize(
    "error", [{}, "", {"message": "", "type": "", "param": "", "code": None}, {"code": 0}]
)
def test_an_error_without_anything_in_it_is_none(error: Any) -> None:
    """Gateways in Go write the empty value of their struct."""
    whole = {"choices": [{"index": 0, "message": {"content": "hi"}, "finish_reason": "stop"}], "error": error}
    assert CHAT.decode_reply(json.dumps(whole).encode()) == [TextDelta("hi"), STOP]
    assert decoded(CHAT, chunk(choice({"content": "hi"}, "stop"), error=error), "[DONE]") == [
        TextDelta("hi"),
        STOP,
    ]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (
            {"base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}, "choices": None},
            "quota",
        ),
        ({"base_resp": {"status_code": 1002, "status_msg": "rate limit"}}, "rate_limit"),
        ({"success": False, "errors": [{"code": 5007, "message": "No such model"}]}, "model_not_found"),
        ({"detail": "Rate limit exceeded"}, "rate_limit"),
        ({"detail": [{"loc": ["body"], "msg": "Field required"}]}, "server"),
        ({"code": 500, "msg": "404 NOT_FOUND", "success": False}, "server"),
        ({"error_code": 18, "error_msg": "Too many requests"}, "rate_limit"),
    ],
)
def test_an_error_under_200_is_an_error_in_whatever_form(body: dict[str, Any], kind: str) -> None:
    for events in (
        decoded(OPENAI, body),
        decoded(OPENAI, body, "[DONE]"),
        OPENAI.decode_reply(json.dumps(body).encode()),
    ):
        assert [kind_of(events).value] * len(events) == [kind]


def test_a_base_resp_that_reports_success_is_no_error() -> None:
    well = {"base_resp": {"status_code": 0, "status_msg": "success"}}
    assert decoded(
        CHAT, chunk(choice({"content": "hi"}), **well), chunk(choice({}, "stop"), **well), "[DONE]"
    ) == [
        TextDelta("hi"),
        STOP,
    ]


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("tool-calls", FinishReason.STOP),  # no call came, so none is waited for
        ("content-filter", FinishReason.CONTENT_FILTER),
        ("IMAGE_SAFETY", FinishReason.CONTENT_FILTER),
        ("max-tokens", FinishReason.LENGTH),
    ],
)
def test_a_reason_is_known_by_any_spelling(raw: str, reason: FinishReason) -> None:
    """Gateways built on the AI SDK spell with hyphens, those in front of Gemini in capitals."""
    assert decoded(CHAT, chunk(choice({"content": "a"}, raw)), "[DONE]")[-1] == Finished(reason, raw)


# ------------------------------------------------------------------ Responses

DONE = Finished(FinishReason.STOP, "completed")


def added(item: dict[str, Any], index: int = 0) -> dict[str, Any]:
    return event("output_item.added", output_index=index, item=item)


def done(item: dict[str, Any], index: int = 0) -> dict[str, Any]:
    return event("output_item.done", output_index=index, item=item)


def call(arguments: str) -> dict[str, Any]:
    return {"type": "function_call", "id": "fc", "call_id": "c", "name": "f", "arguments": arguments}


@pytest.mark.parametrize("last", [message("1\n2"), message("1"), None])
def test_text_behind_the_end_of_its_message_still_counts(last: dict[str, Any] | None) -> None:
    """diegosouzapw/OmniRoute#13693: the message ends behind its first delta, and the deltas go on."""
    where = {"item_id": "m", "output_index": 0, "content_index": 0}
    events = decoded(
        RESPONSES,
        added(message()),
        text("1", **where),
        done(message("1")),
        text("\n", **where),
        text("2", **where),
        completed(*([last] if last else [])),
    )
    assert events == [TextDelta("1"), TextDelta("\n"), TextDelta("2"), DONE]


def test_what_only_the_last_event_has_of_a_message_that_ended_is_emitted() -> None:
    events = decoded(
        RESPONSES, added(message()), text("1", item_id="m"), done(message("1")), completed(message("1 and 2"))
    )
    assert events == [TextDelta("1"), TextDelta(" and 2"), DONE]


def test_deltas_after_an_end_that_had_them_are_not_emitted_again() -> None:
    events = decoded(
        RESPONSES,
        added(message()),
        done(message("one two")),
        text("one", item_id="m"),
        text(" two", item_id="m"),
        completed(message("one two")),
    )
    assert events == [TextDelta("one two"), DONE]


def test_a_message_need_not_be_announced() -> None:
    """BerriAI/litellm#27442: a gateway leaves out output_item.added."""
    thought = event("reasoning_summary_text.delta", item_id="r", output_index=0, delta="hm")
    events = decoded(RESPONSES, thought, text("hi", item_id="m", output_index=1), completed(message("hi")))
    assert events == [ReasoningDelta("hm"), TextDelta("hi"), DONE]


def test_a_message_that_was_not_announced_is_emitted_once_although_its_end_has_another_id() -> None:
    events = decoded(RESPONSES, text("hi"), done(message("hi")), completed(message("hi", id="other")))
    assert events == [TextDelta("hi"), DONE]


@pytest.mark.parametrize("place", [{"item_id": "fc"}, {"output_index": 0}, {}])
def test_a_call_that_was_not_announced_is_emitted_at_its_end(place: dict[str, Any]) -> None:
    delta = event("function_call_arguments.delta", delta="{}", **place)
    for end in ([done(call("{}")), completed()], [completed(call("{}"))]):
        events = decoded(RESPONSES, delta, *end)
        assert _calls(events) == [("f", "{}", "c")]
        assert events[-1] == Finished(FinishReason.TOOL_CALLS, "completed")


def test_a_call_that_only_has_arguments_is_not_lost_in_silence() -> None:
    delta = event("function_call_arguments.delta", delta="{}", item_id="fc")
    assert kind_of(decoded(RESPONSES, delta, completed())) is FailureKind.PROTOCOL
    other = added({**call(""), "id": "x", "call_id": "y"}, 3)
    events = decoded(
        RESPONSES,
        event("function_call_arguments.delta", delta="{}", item_id="fc", output_index=1),
        other,
        completed(),
    )
    assert kind_of(events) is FailureKind.PROTOCOL


def _calls(events: list[WireEvent]) -> list[tuple[str | None, str, str | None]]:
    found = [event for event in events if isinstance(event, ToolCallDelta)]
    return [(found[0].name, "".join(piece.arguments for piece in found), found[0].id)]


def test_an_item_that_ends_twice_under_an_id_of_its_end_alone_is_emitted_once() -> None:
    """GitHub Copilot gives an item another id at each mention."""
    end = done(message("hi", id="at its end"), 1)
    events = decoded(
        RESPONSES, added(message(id="at its start"), 1), end, end, completed(message("hi", id="last"))
    )
    assert events == [TextDelta("hi"), DONE]


# ------------------------------------------------------------------ Anthropic


def start(index: int, **content: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": content}


def grow(index: int, kind: str, **delta: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **delta}}


def begin(message_id: str) -> dict[str, Any]:
    return {"type": "message_start", "message": {"id": message_id, "role": "assistant", "content": []}}


def ended(reason: str) -> tuple[dict[str, Any], dict[str, Any]]:
    return {"type": "message_delta", "delta": {"stop_reason": reason}}, {"type": "message_stop"}


END_TURN = Finished(FinishReason.STOP, "end_turn")
STARTED = ResponseStarted("m", None)


def test_a_block_of_text_need_not_be_announced() -> None:
    events = decoded(
        ANTHROPIC,
        begin("m"),
        grow(0, "thinking_delta", thinking="hm"),
        grow(0, "signature_delta", signature="s"),
        {"type": "content_block_stop", "index": 0},
        grow(1, "text_delta", text="hi"),
        *ended("end_turn"),
    )
    assert [event for event in events if isinstance(event, TextDelta | ReasoningDelta | Finished)] == [
        ReasoningDelta("hm"),
        TextDelta("hi"),
        END_TURN,
    ]


def test_arguments_of_a_block_that_was_not_announced_are_of_no_call_we_know() -> None:
    events = decoded(
        ANTHROPIC, begin("m"), grow(0, "input_json_delta", partial_json="{}"), *ended("tool_use")
    )
    assert kind_of(events) is FailureKind.PROTOCOL


def test_a_message_that_begins_twice_under_one_id_is_one() -> None:
    """MoonshotAI/Kimi-K2.5#33: message_start is repeated while the answer grows."""
    events = decoded(
        ANTHROPIC,
        begin("m"),
        start(0, type="text", text=""),
        begin("m"),
        grow(0, "text_delta", text="hi"),
        begin("m"),
        *ended("end_turn"),
    )
    assert events == [STARTED, TextDelta("hi"), END_TURN]


@pytest.mark.parametrize("ids", [("a", "b"), ("", ""), ("a", "")])
def test_a_message_that_begins_under_another_id_or_none_is_another_answer(ids: tuple[str, str]) -> None:
    first, second = ids
    events = decoded(
        ANTHROPIC,
        begin(first),
        start(0, type="text", text=""),
        grow(0, "text_delta", text="hi"),
        begin(second),
        *ended("end_turn"),
    )
    assert kind_of(events) is FailureKind.PROTOCOL


def test_a_call_that_is_announced_twice_is_one_call() -> None:
    opening = start(0, type="tool_use", id="t", name="f", input={})
    first, second = (grow(0, "input_json_delta", partial_json=piece) for piece in ('{"x":', "1}"))
    for pieces in (opening, opening, first, second), (opening, first, opening, second):
        events = decoded(ANTHROPIC, begin("m"), *pieces, *ended("tool_use"))
        assert _calls(events) == [("f", '{"x":1}', "t")]
        assert {event.index for event in events if isinstance(event, ToolCallDelta)} == {0}


# ------------------------------------------------------------------ Cohere


def test_a_call_of_cohere_that_is_announced_twice_is_one_call() -> None:
    function = {"name": "f", "arguments": ""}
    opening = {
        "type": "tool-call-start",
        "index": 0,
        "delta": {"message": {"tool_calls": {"id": "t", "function": function}}},
    }
    more = {
        "type": "tool-call-delta",
        "index": 0,
        "delta": {"message": {"tool_calls": {"function": {"arguments": "{}"}}}},
    }
    end = {"type": "message-end", "delta": {"finish_reason": "TOOL_CALL"}}
    events = decoded(COHERE, opening, opening, more, opening, {"type": "tool-call-end", "index": 0}, end)
    assert _calls(events) == [("f", "{}", "t")]
    assert not any(isinstance(event, Failure) for event in events)
    assert {event.index for event in events if isinstance(event, ToolCallDelta)} == {0}


# ------------------------------------------------------------------ Gemini


def said(*parts: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"candidates": [{"content": {"role": "model", "parts": [*parts]}, **fields}]}


def test_text_behind_a_stop_shows_that_it_was_not_the_end() -> None:
    """Chevey339/kelivo#1003: a gateway says STOP with every empty response, the first included."""
    early = said(finishReason="STOP"), said({"text": "hi"})
    assert kind_of(decoded(GEMINI, *early)) is FailureKind.TRUNCATED
    whole = decoded(GEMINI, *early, said(finishReason="STOP"))
    assert whole == [TextDelta("hi"), Finished(FinishReason.STOP, "STOP")]


def test_a_block_reason_that_is_not_specified_blocks_nothing() -> None:
    feedback = {"promptFeedback": {"blockReason": "BLOCK_REASON_UNSPECIFIED"}}
    assert decoded(GEMINI, {**said({"text": "hi"}, finishReason="STOP"), **feedback}) == [
        TextDelta("hi"),
        Finished(FinishReason.STOP, "STOP"),
    ]


@pytest.mark.parametrize("index", ["0", None, 0.0])
def test_a_candidate_whose_index_is_no_number_is_the_first(index: Any) -> None:
    events = decoded(GEMINI, said({"text": "hi"}, finishReason="STOP", index=index))
    assert events == [TextDelta("hi"), Finished(FinishReason.STOP, "STOP")]


# ------------------------------------------------------------------ all of them


@pytest.mark.parametrize("name", ["openai", "openai_responses", "anthropic", "gemini", "cohere", "ollama"])
@pytest.mark.parametrize(
    "body",
    [
        {"detail": "Rate limit exceeded"},
        {"message": "Rate limit exceeded"},
        {"base_resp": {"status_code": 1002, "status_msg": "rate limit"}},
        {"success": False, "errors": [{"code": 429, "message": "Too many requests"}]},
    ],
)
def test_the_error_of_a_gateway_under_200_is_read_in_every_dialect(name: str, body: dict[str, Any]) -> None:
    dialect, text = PROVIDERS[name].dialect, json.dumps(body).encode()
    streamed = text + b"\n" if name == "ollama" else b"data: " + text + b"\n\n"
    decoder = dialect.decoder()
    for events in (dialect.decode_reply(text), decoder.feed(streamed) + decoder.finish()):
        assert [kind_of(events)] * len(events) == [FailureKind.RATE_LIMIT]


def test_an_anthropic_stream_may_be_closed_in_the_manner_of_chat_completions() -> None:
    grown = begin("m"), start(0, type="text", text=""), grow(0, "text_delta", text="hi")
    assert decoded(ANTHROPIC, *grown, ended("end_turn")[0], "[DONE]") == [STARTED, TextDelta("hi"), END_TURN]
    assert decoded(ANTHROPIC, *grown, *ended("end_turn"), "[DONE]") == [STARTED, TextDelta("hi"), END_TURN]
    assert kind_of(decoded(ANTHROPIC, *grown, "[DONE]")) is FailureKind.TRUNCATED
