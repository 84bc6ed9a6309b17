"""The Responses dialect against what OpenAI and xAI really sent, and against what they may send one day.

Expectations were written by reading the recordings, not by running the decoder.
"""

import json
from collections.abc import Callable
from typing import Any

import attrs
import hearing
import pytest
from hearing import JSON, assert_bounded, assert_broken, bytewise, heard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cortex_trio.events import (
    CitationDelta,
    Finished,
    FinishReason,
    ReasoningDelta,
    ReasoningSeal,
    ReplyBuilder,
    ResponseStarted,
    TextDelta,
    ToolCallDelta,
    Usage,
    UsageUpdate,
    WholePart,
    WireEvent,
)
from cortex_trio.failures import Failure, FailureKind
from cortex_trio.messages import Image, Opaque, Reasoning, Text, ToolCall
from cortex_trio.providers import PROVIDERS
from cortex_trio.wire.payload import WORD_LIMIT
from cortex_trio.wire.responses.decode import KNOWN_EVENTS

Load = Callable[[str], Any]
RESPONSES = PROVIDERS["openai_responses"].dialect
COMPLETED = Finished(FinishReason.STOP, "completed")


def sse(*events: dict[str, Any], named: bool = True) -> bytes:
    heads = (f"event: {event['type']}\n" if named else "" for event in events)
    return "".join(
        f"{head}data: {json.dumps(event)}\n\n" for head, event in zip(heads, events, strict=True)
    ).encode()


def growing(kind: str, index: int = 0, **fields: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}", "output_index": index, **fields}


def added(item: dict[str, Any], index: int = 0) -> dict[str, Any]:
    return growing("output_item.added", index, item=item)


def done(item: dict[str, Any], index: int = 0) -> dict[str, Any]:
    return growing("output_item.done", index, item=item)


def terminal(status: str = "completed", **response: Any) -> dict[str, Any]:
    return {"type": f"response.{status}", "response": {"status": status, "output": [], **response}}


def message(text: str, *annotations: dict[str, Any]) -> dict[str, Any]:
    content = [{"type": "output_text", "text": text, "annotations": list(annotations)}]
    return {"type": "message", "id": "msg_1", "content": content}


def decoded(*events: dict[str, Any], named: bool = True) -> list[WireEvent]:
    return heard(RESPONSES, [sse(*events, named=named)])


def folded(events: list[WireEvent]) -> ReplyBuilder:
    return hearing.folded(events, "openai_responses/m")


def read(load: Load, path: str) -> ReplyBuilder:
    """The answer in a recording; a streamed one is the same at every slicing."""
    found = load(f"recordings/{path}")
    if path.endswith(".json"):
        return folded(RESPONSES.decode_reply(found.body))
    seen = [heard(RESPONSES, slices) for slices in found.slicings()]
    assert all(events == seen[0] for events in seen)
    return folded(seen[0])


# ------------------------------------------------------------------ what was recorded


def test_a_streamed_text(recording: Load) -> None:
    reply = read(recording, "openai/responses_stream_text_gpt54.sse")
    assert reply.message().parts == (Text("Red\nOrange\nYellow\nGreen\nBlue\nIndigo\nViolet"),)
    assert reply.usage == Usage(35, 19, 54, cached_input_tokens=0, reasoning_tokens=0)
    assert reply.finish == COMPLETED


def test_a_streamed_summary_of_reasoning_goes_with_what_is_encrypted_at_its_end(recording: Load) -> None:
    reply = read(recording, "openai/responses_stream_reasoning_summary_gpt56.sse")
    thought, text = reply.message().parts
    assert isinstance(thought, Reasoning)
    assert thought.text.startswith("**Calculating counts and divisibility**\n\nI need to focus")
    assert thought.text.endswith("It’s neat to see how these calculations line up!")
    assert (thought.signature, thought.encrypted) == ("rs_REDACTED_1", "encrypted_content_REDACTED_2")
    assert thought.origin == "openai_responses/m"
    assert text == Text("114")
    assert reply.usage == Usage(38, 40, 78, 0, 0, reasoning_tokens=33)


def test_a_streamed_refusal_is_text_and_a_reason(recording: Load) -> None:
    reply = read(recording, "openai/responses_stream_refusal.sse")
    assert reply.text == "I'm sorry, I can't assist with that."
    assert reply.finish == Finished(FinishReason.REFUSAL, "completed")


def test_two_streamed_calls(recording: Load) -> None:
    reply = read(recording, "openai/responses_stream_function_call_gpt54.sse")
    assert reply.message().parts == (
        ToolCall("call_34p5hj7tG0wChdmQiqYeVrby", "test_tool", '{"user":"Joe"}'),
        ToolCall("call_DFEE1IYkVTS3foVDXsDO0Fvz", "test_tool", '{"user":"Hadley"}'),
    )
    assert reply.usage == Usage(52, 49, 101, cached_input_tokens=0, reasoning_tokens=0)
    assert reply.finish == Finished(FinishReason.TOOL_CALLS, "completed")


def test_a_rate_limit_under_200_is_emitted_once(recording: Load) -> None:
    """The event `error` is followed by a `response.failed` that says the same."""
    body = recording("recordings/openai/responses_stream_error_tpm_rate_limit_in_200.sse").body
    [started, failure] = heard(RESPONSES, [body])
    assert isinstance(started, ResponseStarted)
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.code) == (FailureKind.RATE_LIMIT, "rate_limit_exceeded")
    assert failure.phase == "stream"
    assert failure.message.startswith("Request too large for gpt-4o in project proj_")


def test_a_whole_answer_about_an_image(recording: Load) -> None:
    reply = read(recording, "openai/responses_image_input_gpt41nano.json")
    assert reply.message().parts == (Text("It looks like a red gemstone or diamond."),)
    assert reply.usage == Usage(53, 10, 63, cached_input_tokens=0, reasoning_tokens=0)
    assert reply.finish == COMPLETED


def test_a_whole_answer_with_hidden_reasoning_and_two_calls(recording: Load) -> None:
    reply = read(recording, "openai/responses_parallel_function_calls_gpt5nano.json")
    thought, *calls = reply.message().parts
    assert isinstance(thought, Reasoning)
    assert thought.text == ""
    assert thought.signature == "rs_06d3772153bf9cca016a85bf6b8da087d2aabd72e5f3bf9342"
    assert (thought.encrypted or "").startswith("gAAAAABqhb9upiNz8o16K1nkj2ATt5KU")
    assert calls == [
        ToolCall("call_NeNP7bv8VH3cJTxFagvafR2L", "weather", '{"latitude":"52.5200","longitude":"13.4050"}'),
        ToolCall("call_oAtUHJKdNzt8gEH4M6P3Grd3", "best_language_to_learn", "{}"),
    ]
    assert reply.usage == Usage(112, 284, 396, 0, 0, reasoning_tokens=192)


def test_xais_stream_sends_its_reasoning_unasked(recording: Load) -> None:
    reply = read(recording, "xai/responses_stream_text_grok43.sse")
    thought, text = reply.message().parts
    assert isinstance(thought, Reasoning)
    assert thought.text == 'The user said: "Count from 1 to 3"\n'
    assert thought.signature == "rs_006cb394-e479-972b-b41e-422dbefebb96"
    assert (thought.encrypted or "").startswith("4WwEQ2SDCDDvfg0EGRUbarTb")
    assert text == Text("1, 2, 3.")
    assert reply.usage == Usage(199, 160, 359, cached_input_tokens=128, reasoning_tokens=152)


def test_xais_call_comes_in_one_piece(recording: Load) -> None:
    reply = read(recording, "xai/responses_stream_function_call_grok43.sse")
    call_id = "call-5386e269-cd64-432e-aa64-5c80dd4e0286-0"
    assert reply.reasoning == 'The user asked: "What\'s the weather in Berlin? (52.5200, 13.4050)"\n'
    assert reply.tool_calls == (ToolCall(call_id, "weather", '{"latitude":"52.5200","longitude":"13.4050"}'),)
    assert reply.usage == Usage(340, 105, 445, cached_input_tokens=320, reasoning_tokens=83)
    assert reply.finish == Finished(FinishReason.TOOL_CALLS, "completed")


def test_xais_whole_answers(recording: Load) -> None:
    text = read(recording, "xai/responses_text_grok43.json")
    assert text.text.endswith("it's often unpredictable! \nXKCD7392")
    assert text.reasoning.startswith('The task is: "Tell me about the weather."')
    assert text.usage == Usage(218, 410, 628, cached_input_tokens=192, reasoning_tokens=393)
    structured = read(recording, "xai/responses_json_schema_grok43.json")
    assert structured.text == '{"name":"John","age":30}'
    assert structured.usage == Usage(254, 221, 475, cached_input_tokens=192, reasoning_tokens=212)


# ------------------------------------------------------------------ how it ends


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("max_output_tokens", FinishReason.LENGTH),
        ("content_filter", FinishReason.CONTENT_FILTER),
        ("unheard_of", FinishReason.OTHER),
    ],
)
def test_an_incomplete_answer_has_its_reason(reason: str, expected: FinishReason) -> None:
    events = decoded(terminal("incomplete", incomplete_details={"reason": reason}))
    assert events == [Finished(expected, reason)]


def test_a_refusal_that_came_in_pieces_needs_no_repetition() -> None:
    refusal = growing("refusal.delta", content_index=0, delta="No.")
    assert decoded(added({"type": "message"}), refusal, terminal()) == [
        TextDelta("No."),
        Finished(FinishReason.REFUSAL, "completed"),
    ]


def test_empty_usage_is_not_emitted() -> None:
    assert decoded(terminal(usage={})) == decoded(terminal(usage=None)) == [COMPLETED]


def test_unknown_events_may_hold_anything() -> None:
    unknown = b"event: response.unheard_of\ndata: no JSON\n\ndata:\n\n"
    assert heard(RESPONSES, [unknown + sse(terminal())]) == [COMPLETED]
    searching = added({"type": "web_search_call"}), growing("web_search_call.searching")
    assert decoded(*searching, terminal()) == [COMPLETED]


def test_a_text_is_emitted_although_its_place_is_that_of_another_item() -> None:
    searching = added({"type": "web_search_call"}), growing("output_text.delta", delta="not its own")
    assert decoded(*searching, terminal()) == [TextDelta("not its own"), COMPLETED]


def test_usage_comes_before_the_end() -> None:
    usage = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}
    assert decoded(terminal(usage=usage)) == [UsageUpdate(Usage(3, 4, 7)), COMPLETED]


def test_without_its_terminal_event_a_stream_was_cut() -> None:
    *came, last = decoded(added(message("")), growing("output_text.delta", content_index=0, delta="Hel"))
    assert came == [TextDelta("Hel")]
    assert isinstance(last, Failure)
    assert last.kind is FailureKind.TRUNCATED


@pytest.mark.parametrize(
    ("event", "kind", "said"),
    [
        (
            {
                "type": "error",
                "error": {"type": "insufficient_quota", "code": "insufficient_quota", "message": "m"},
            },
            FailureKind.QUOTA,
            "m",
        ),
        ({"type": "error", "code": "rate_limit_exceeded", "message": "m"}, FailureKind.RATE_LIMIT, "m"),
        ({"type": "error", "error": None, "code": "server_error", "message": "m"}, FailureKind.SERVER, "m"),
        (
            {
                "type": "error",
                "code": "Some resource has been exhausted",
                "message": "used all available credits",
            },
            FailureKind.QUOTA,
            "used all available credits",
        ),
        (
            terminal("failed", error={"code": "rate_limit_exceeded", "message": "m"}),
            FailureKind.RATE_LIMIT,
            "m",
        ),
        (terminal("failed", error={"code": "insufficient_quota", "message": "m"}), FailureKind.QUOTA, "m"),
        (terminal("failed"), FailureKind.SERVER, "the response is failed"),
        (terminal("cancelled"), FailureKind.SERVER, "the response is cancelled"),
    ],
)
@pytest.mark.parametrize("named", [True, False], ids=["named", "unnamed"])
def test_an_error_in_any_shape_is_read_as_its_kind(
    event: dict[str, Any], kind: FailureKind, said: str, named: bool
) -> None:
    [failure] = decoded(event, named=named)
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.message) == (kind, said)


def test_a_rate_limit_in_the_stream_has_the_time_to_wait() -> None:
    [failure] = decoded(
        {"type": "error", "error": {"code": "rate_limit_exceeded", "message": "Try again in 2.5s."}}
    )
    assert isinstance(failure, Failure)
    assert failure.retry_after == 2.5


@pytest.mark.parametrize("status", ["in_progress", "queued"])
def test_an_answer_that_is_still_being_made_is_none(status: str) -> None:
    [failure] = RESPONSES.decode_reply(json.dumps({"status": status, "output": []}).encode())
    assert isinstance(failure, Failure)
    assert failure.kind is FailureKind.TRUNCATED


def test_a_stream_closed_in_the_manner_of_chat_completions_is_whole_all_the_same() -> None:
    body = sse(terminal())
    assert heard(RESPONSES, [b"data: [DONE]\n\n" + body + b"data: [DONE]\n\n"]) == [COMPLETED]


# ------------------------------------------------------------------ items


def test_what_did_not_come_in_pieces_is_read_at_the_end_of_its_item() -> None:
    call = {"type": "function_call", "call_id": "c1", "name": "now", "arguments": "{}"}
    thought = {"type": "reasoning", "id": "rs_1", "summary": [{"text": "Hm."}], "encrypted_content": "E"}
    items = [thought, message("Hi"), call]
    expected: list[WireEvent] = [
        ReasoningDelta("Hm."),
        ReasoningSeal("rs_1", "E"),
        TextDelta("Hi"),
        ToolCallDelta(0, "{}", "c1", "now"),
        Finished(FinishReason.TOOL_CALLS, "completed"),
    ]
    at_their_ends = decoded(*(done(item, index) for index, item in enumerate(items)), terminal(output=items))
    assert at_their_ends == decoded(terminal(output=items)) == expected


def test_parts_of_a_summary_are_set_apart_and_stay_one_item() -> None:
    parts = [{"text": "First."}, {"text": "Second."}]
    deltas = [
        growing("reasoning_summary_text.delta", summary_index=place, delta=part["text"])
        for place, part in enumerate(parts)
    ]
    item = {"type": "reasoning", "id": "rs_1", "summary": parts, "encrypted_content": "E"}
    reply = folded(decoded(added({**item, "summary": []}), *deltas, done(item), terminal(output=[item])))
    assert reply.reasoning == "First.\n\nSecond."
    assert [part.signature for part in reply.message().parts if isinstance(part, Reasoning)] == ["rs_1"] * 2
    assert (
        reply.message()
        == folded(RESPONSES.decode_reply(json.dumps(terminal(output=[item])["response"]).encode())).message()
    )


def test_thoughts_of_an_open_model_are_reasoning() -> None:
    item = {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"text": "Hm."}]}
    streamed = decoded(
        added({"type": "reasoning", "id": "rs_1"}),
        growing("reasoning_text.delta", content_index=0, delta="Hm."),
        done(item),
        terminal(output=[item]),
    )
    assert streamed == decoded(terminal(output=[item])) == [ReasoningDelta("Hm."), COMPLETED]


def test_citations_come_once_as_they_are_added_or_at_the_end() -> None:
    page = {"type": "url_citation", "url": "https://example.org/a", "start_index": 0, "end_index": 2}
    file = {"type": "file_citation", "filename": "a.pdf", "index": 2}
    item = message("Hi", page, page, file)
    streamed = decoded(
        added({**item, "content": []}),
        growing("output_text.delta", content_index=0, delta="Hi"),
        *[growing("output_text.annotation.added", content_index=0, annotation=page)] * 2,
        done(item),
        terminal(output=[item]),
    )
    expected = [
        TextDelta("Hi"),
        *[CitationDelta(0, 2, "", ("https://example.org/a",))] * 2,
        CitationDelta(None, None, "", ("a.pdf",)),
        COMPLETED,
    ]
    assert streamed == decoded(terminal(output=[item])) == expected


def test_citations_count_in_the_text_of_the_whole_answer() -> None:
    page = {"type": "url_citation", "url": "https://example.org/a", "start_index": 4, "end_index": 8}
    place = CitationDelta(20, 24, "", ("https://example.org/a",))
    preamble, said = {**message("I'll look it up."), "id": "msg_0"}, message("The sky.", page)
    search = {"type": "web_search_call", "id": "ws_1", "status": "completed"}
    streamed = decoded(
        added({**preamble, "content": []}),
        growing("output_text.delta", content_index=0, delta="I'll look "),
        growing("output_text.delta", content_index=0, delta="it up."),
        done(preamble),
        done(search, 1),
        added({**said, "content": []}, 2),
        growing("output_text.delta", 2, content_index=0, delta="The sky."),
        growing("output_text.annotation.added", 2, content_index=0, annotation=page),
        done(said, 2),
        terminal(output=[preamble, search, said]),
    )
    whole = decoded(terminal(output=[preamble, search, said]))
    assert [event for event in streamed if isinstance(event, CitationDelta)] == [place]
    assert folded(streamed).message() == folded(whole).message()
    assert [event for event in whole if isinstance(event, CitationDelta)] == [place]


@pytest.mark.parametrize("at", [1, 3])
def test_an_item_is_emitted_once_even_if_the_last_event_counts_items_otherwise(at: int) -> None:
    """Servers stream what they leave out at the end, a search they ran, or the reverse."""
    events = [added(message(""), at), growing("output_text.delta", at, content_index=0, delta="Hello")]
    for unended in (events, [*events, done(message("Hello"), at)]):
        assert decoded(*unended, terminal(output=[message("Hello")])) == [TextDelta("Hello"), COMPLETED]


def test_items_of_a_whole_answer_need_no_ids_to_distinguish_them() -> None:
    assert folded(decoded(terminal(output=[message("One, "), message("two.")]))).text == "One, two."


def test_a_part_is_the_first_where_its_number_is_left_out() -> None:
    assert decoded(
        added(message("")),
        growing("output_text.delta", delta="Hello"),
        done(message("Hello")),
        terminal(),
    ) == [TextDelta("Hello"), COMPLETED]


@pytest.mark.parametrize(
    ("grown", "told"), [("reasoning_text", "summary"), ("reasoning_summary_text", "content")]
)
def test_thoughts_that_came_in_pieces_are_not_repeated_in_their_other_form(grown: str, told: str) -> None:
    item = {"type": "reasoning", "id": "rs_1", told: [{"type": "text", "text": "Hm."}]}
    assert decoded(
        added({"type": "reasoning", "id": "rs_1"}),
        growing(f"{grown}.delta", content_index=0, summary_index=0, delta="Hm."),
        done(item),
        terminal(),
    ) == [ReasoningDelta("Hm."), COMPLETED]


def test_the_name_of_an_event_is_its_type_where_the_data_has_none() -> None:
    response = b'{"response": {"incomplete_details": {"reason": "max_output_tokens"}}}'
    body = b"event: response.incomplete\ndata: " + response + b"\n\n"
    assert heard(RESPONSES, [body]) == [Finished(FinishReason.LENGTH, "max_output_tokens")]


def test_arguments_that_are_no_text_become_it() -> None:
    for arguments, text in (({"a": [1, "é"]}, '{"a":[1,"é"]}'), (None, ""), ("{}", "{}")):
        call = {"type": "function_call", "call_id": "c1", "name": "now", "arguments": arguments}
        assert decoded(done(call), terminal())[0] == ToolCallDelta(0, text, "c1", "now")


def test_reasoning_keeps_the_id_it_was_announced_with() -> None:
    sealed = {"type": "reasoning", "encrypted_content": "E"}
    events = decoded(added({"type": "reasoning", "id": "rs_1"}), done(sealed), terminal())
    assert events[0] == ReasoningSeal("rs_1", "E")


def test_what_the_server_did_itself_is_kept_whole_for_it() -> None:
    search = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"query": "Köln"}}
    streamed = decoded(
        added({**search, "status": "in_progress"}),
        growing("web_search_call.searching", item_id="ws_1"),
        done(search),
        terminal(output=[search]),
    )
    assert streamed == decoded(terminal(output=[search]))
    part = streamed[0]
    assert isinstance(part, WholePart)
    assert isinstance(part.part, Opaque)
    assert (part.part.type, part.part.parsed()) == ("web_search_call", search)


def test_an_image_the_server_made_is_an_image() -> None:
    about = {"type": "image_generation_call", "id": "ig_1", "status": "completed", "output_format": "webp"}
    made = {**about, "result": "iVBORw=="}
    streamed = decoded(
        added({**about, "status": "in_progress"}),
        growing("image_generation_call.partial_image", partial_image_b64="iVBO"),
        done(made),
        terminal(output=[made]),
    )
    assert streamed == decoded(terminal(output=[made]))
    [image, _] = streamed
    assert isinstance(image, WholePart)
    assert isinstance(image.part, Image)
    assert (image.part.data, image.part.media_type) == (b"\x89PNG", "image/webp")
    assert json.loads(image.part.signature or "") == about


def test_an_image_that_was_not_made_is_emitted_as_it_came_and_one_that_is_none_is_malformed() -> None:
    failed = {"type": "image_generation_call", "id": "ig_1", "status": "failed", "result": None}
    part = decoded(terminal(output=[failed]))[0]
    assert isinstance(part, WholePart)
    assert isinstance(part.part, Opaque)
    [failure] = decoded(terminal(output=[{**failed, "result": "no base64!"}]))
    assert isinstance(failure, Failure)
    assert failure.kind is FailureKind.PROTOCOL


def test_a_call_keeps_the_id_by_which_results_name_it() -> None:
    item = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "now", "arguments": ""}
    events = decoded(
        added(item),
        growing("function_call_arguments.delta", delta='{"a":'),
        growing("function_call_arguments.delta", delta="1}"),
        growing("function_call_arguments.done", arguments='{"a":1}'),
        done({**item, "arguments": '{"a":1}'}),
        terminal(),
    )
    assert events[:-1] == [
        ToolCallDelta(0, "", "call_1", "now"),
        ToolCallDelta(0, '{"a":'),
        ToolCallDelta(0, "1}"),
    ]


@pytest.mark.parametrize(
    "event",
    [
        growing("output_text.delta", content_index=0, delta=["of an item that was not announced"]),
        {"type": "response.output_text.delta", "delta": 1},
        added({"type": "function_call", "call_id": "c1", "arguments": ""}),
        {"type": "response.completed"},
        {"type": "response.completed", "response": {"output": [1]}},
    ],
)
def test_what_the_grammar_does_not_allow_is_a_protocol_failure(event: dict[str, Any]) -> None:
    assert_broken(decoded(event))


HELLO = added(message("")), growing("output_text.delta", content_index=0, delta="Hello")


TEXTS = st.text(max_size=4) | JSON
PARTS = st.lists(st.fixed_dictionaries({"text": TEXTS}), max_size=2) | JSON
KINDS = st.sampled_from(["message", "reasoning", "function_call", "image_generation_call", "unheard_of"])
ITEMS = st.fixed_dictionaries(
    {"type": KINDS | JSON},
    optional={
        **dict.fromkeys(("id", "call_id", "name", "arguments", "encrypted_content", "result"), TEXTS),
        **dict.fromkeys(("content", "summary"), PARTS),
    },
)
PAYLOADS = st.fixed_dictionaries(
    {"type": st.sampled_from(sorted(KNOWN_EVENTS - {"error", "message"}))},
    optional={
        **{name: st.integers(0, 1) | JSON for name in ("output_index", "content_index", "summary_index")},
        **dict.fromkeys(("delta", "annotation", "error"), TEXTS),
        "item": ITEMS | JSON,
        "response": st.fixed_dictionaries({"output": st.lists(ITEMS, max_size=2)}) | JSON,
    },
)


@settings(suppress_health_check=[HealthCheck.too_slow])  # the first of all draws builds the strategies
@given(st.lists(PAYLOADS, max_size=6))
@pytest.mark.slow
def test_no_shape_of_json_is_a_surprise(payloads: list[dict[str, Any]]) -> None:
    body = sse(*payloads)
    assert heard(RESPONSES, [body]) == heard(RESPONSES, bytewise(body))
    for payload in payloads:
        whole = RESPONSES.decode_reply(json.dumps(payload.get("response")).encode())
        assert isinstance(whole[-1], Finished | Failure)


@given(st.binary(max_size=300))
def test_no_bytes_are_a_surprise(body: bytes) -> None:
    assert isinstance(heard(RESPONSES, [body])[-1], Failure)
    assert isinstance(RESPONSES.decode_reply(body)[-1], Failure)


def test_an_event_without_end_is_refused_on_the_way() -> None:
    assert_bounded(RESPONSES, sse(*HELLO) + b"event: response.output_text.delta\ndata: ", TextDelta("Hello"))


def test_a_reason_is_cut_to_a_short_text() -> None:
    [last] = decoded(terminal("incomplete", incomplete_details={"reason": "x" * 1000}))
    assert isinstance(last, Finished)
    assert last.raw_reason == "x" * WORD_LIMIT


def test_a_server_cannot_open_items_or_parts_without_end() -> None:
    for flood in (
        [added({"type": "message"}, index) for index in range(1100)],
        [added({"type": "message"})]
        + [growing("output_text.delta", content_index=index, delta="x") for index in range(1100)],
        [added({"type": "reasoning"})]
        + [growing("reasoning_text.delta", content_index=index, delta="x") for index in range(1100)],
    ):
        last = decoded(*flood)[-1]
        assert isinstance(last, Failure)
        assert (last.kind, last.message[:15]) == (FailureKind.PROTOCOL, "more than 1,024")


# ------------------------------------------------------------------ beside the answers


def test_embeddings_and_models_are_those_of_chat_completions() -> None:
    chat = PROVIDERS["openai"].dialect
    assert RESPONSES.encode_embed(["a"], "p", "m", 3) == chat.encode_embed(["a"], "p", "m", 3)
    vectors = b'{"data":[{"index":0,"embedding":[0.5]}]}'
    assert RESPONSES.decode_embed(vectors) == chat.decode_embed(vectors) == [[0.5]]
    assert RESPONSES.decode_models(b'{"data":[{"id":"m-1"}]}') == ("m-1",)


@pytest.mark.parametrize("name", ["openai", "xai"])
def test_all_but_dialect_and_environment_is_the_parents(name: str) -> None:
    parent, kind = PROVIDERS[name], PROVIDERS[f"{name}_responses"]
    assert attrs.evolve(kind, name=name, dialect=parent.dialect, env=parent.env) == parent
    assert not set(kind.env) & set(parent.env)
