"""Text, calls and ends of streams whose servers count, name or repeat otherwise than the first of their kind."""

import json
from typing import Any

import pytest
from hearing import bytewise, folded, heard

from cortex_trio.events import (
    CitationDelta,
    Finished,
    FinishReason,
    ReasoningDelta,
    ReasoningSeal,
    TextDelta,
    ToolCallDelta,
    Usage,
    UsageUpdate,
    WholePart,
    WireEvent,
)
from cortex_trio.failures import Failure, FailureKind
from cortex_trio.messages import ChatRequest, Message, Opaque, ToolCall, ToolResult, user
from cortex_trio.providers import PROVIDERS
from cortex_trio.wire.codec import Dialect, compact

RESPONSES = PROVIDERS["openai_responses"].dialect
CHAT = PROVIDERS["openai_compatible"].dialect
GEMINI = PROVIDERS["gemini"].dialect
ANTHROPIC = PROVIDERS["anthropic"].dialect
COHERE = PROVIDERS["cohere"].dialect

COMPLETED = Finished(FinishReason.STOP, "completed")


def sse(*payloads: dict[str, Any] | str) -> bytes:
    texts = (payload if isinstance(payload, str) else json.dumps(payload) for payload in payloads)
    return b"".join(f"data: {text}\n\n".encode() for text in texts)


def decoded(dialect: Dialect, *payloads: dict[str, Any] | str) -> list[WireEvent]:
    """The events of a stream of these, the same at every slicing in two and byte by byte."""
    body = sse(*payloads)
    events = heard(dialect, [body])
    assert heard(dialect, bytewise(body)) == events
    for cut in range(0, len(body), 5):
        assert heard(dialect, [body[:cut], body[cut:]]) == events
    return events


def kind_of(events: list[WireEvent]) -> FailureKind:
    assert isinstance(events[-1], Failure)
    return events[-1].kind


# ------------------------------------------------------------------ Responses


def event(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}", **fields}


def text(said: str, **fields: Any) -> dict[str, Any]:
    return event("output_text.delta", delta=said, **fields)


def message(*texts: str, **fields: Any) -> dict[str, Any]:
    content = [{"type": "output_text", "text": said, "annotations": []} for said in texts]
    return {"type": "message", "id": "m", "role": "assistant", "content": content, **fields}


def completed(*output: dict[str, Any]) -> dict[str, Any]:
    return event("completed", response={"status": "completed", "output": [*output]})


def answer(end: dict[str, Any], *deltas: dict[str, Any]) -> list[WireEvent]:
    """A message that grows by `deltas` and ends as `end`, which the last event repeats."""
    added = event("output_item.added", output_index=0, item={**end, "content": []})
    done = event("output_item.done", output_index=0, item=end)
    return decoded(RESPONSES, event("created", response={}), added, *deltas, done, completed(end))


@pytest.mark.parametrize("number", [0, 1, 7])
def test_text_comes_once_whatever_number_its_part_has(number: int) -> None:
    deltas = [text("Hel", content_index=number), text("lo", content_index=number)]
    assert answer(message("Hello"), *deltas) == [TextDelta("Hel"), TextDelta("lo"), COMPLETED]


def test_parts_that_are_counted_from_one_come_once() -> None:
    deltas = [text("One. ", content_index=1), text("Two.", content_index=2)]
    assert answer(message("One. ", "Two."), *deltas) == [TextDelta("One. "), TextDelta("Two."), COMPLETED]


def test_parts_that_one_part_of_the_pieces_held_come_once() -> None:
    assert folded(answer(message("One. ", "Two."), text("One. Two."))).text == "One. Two."
    assert (
        folded(answer(message("One. Two."), text("One. "), text("Two.", content_index=1))).text == "One. Two."
    )


def test_what_the_end_adds_to_the_deltas_is_emitted() -> None:
    assert folded(answer(message("Hello, you."), text("Hello"))).text == "Hello, you."
    assert folded(answer(message("One. ", "Two."), text("One. ", content_index=3))).text == "One. Two."


def test_what_differs_at_the_end_is_not_emitted_again() -> None:
    assert folded(
        answer(message("Hello!"), text("Hello", content_index=2), text(" !", content_index=2))
    ).text == ("Hello !")


def test_citations_come_once_whatever_number_their_part_has() -> None:
    page = {"type": "url_citation", "url": "https://a", "start_index": 0, "end_index": 2}
    end = message("Hi")
    end["content"][0]["annotations"] = [page]
    told = event("output_text.annotation.added", output_index=0, content_index=1, annotation=page)
    events = answer(end, text("Hi", content_index=1), told)
    assert events == [TextDelta("Hi"), CitationDelta(0, 2, "", ("https://a",)), COMPLETED]


@pytest.mark.parametrize("kind", ["reasoning_text", "reasoning", "reasoning_summary_text"])
def test_thoughts_come_once_whatever_number_their_part_has(kind: str) -> None:
    end = {"type": "reasoning", "id": "r", "content": [{"type": "reasoning_text", "text": "Hm."}]}
    grown = event(f"{kind}.delta", item_id="r", content_index=3, summary_index=3, delta="Hm.")
    added = event("output_item.added", output_index=0, item={"type": "reasoning", "id": "r"})
    events = decoded(
        RESPONSES, added, grown, event("output_item.done", output_index=0, item=end), completed(end)
    )
    assert events == [ReasoningDelta("Hm."), COMPLETED]


def test_the_content_of_a_message_may_be_its_text() -> None:
    assert folded(answer({**message(), "content": "Hello"}, text("Hel"))).text == "Hello"


def llama_cpp(*, ids_at_the_end: bool) -> list[dict[str, Any]]:
    """Items without output_index; the item of a call has no id, and its deltas name the call's."""
    thought = {"type": "reasoning", "id": "rs_1", "summary": [], "content": []}
    said = {"type": "message", "id": "msg_1", "role": "assistant", "content": []}
    call = {"type": "function_call", "call_id": "fc_1", "name": "now", "arguments": ""}
    ends = [
        {**thought, "content": [{"type": "reasoning_text", "text": "Hm."}]},
        {**said, "content": [{"type": "output_text", "text": "Hello"}]},
        {**call, "arguments": '{"a":1}'},
    ]
    last = [end if ids_at_the_end else {k: v for k, v in end.items() if k != "id"} for end in ends]
    return [
        event("created", response={"id": "resp_1", "output": []}),
        event("output_item.added", item=thought),
        event("reasoning_text.delta", delta="Hm.", item_id="rs_1"),
        event("output_item.added", item=said),
        text("Hel", item_id="msg_1"),
        text("lo", item_id="msg_1"),
        event("output_item.added", item=call),
        event("function_call_arguments.delta", delta='{"a":', item_id="fc_1"),
        event("function_call_arguments.delta", delta="1}", item_id="fc_1"),
        *(event("output_item.done", item=end) for end in ends),
        completed(*last),
    ]


@pytest.mark.parametrize("ids_at_the_end", [True, False])
@pytest.mark.parametrize("ids_in_deltas", [True, False])
def test_a_server_may_leave_out_indexes_and_ids(ids_at_the_end: bool, ids_in_deltas: bool) -> None:
    payloads = llama_cpp(ids_at_the_end=ids_at_the_end)
    if not ids_in_deltas:
        payloads = [{k: v for k, v in payload.items() if k != "item_id"} for payload in payloads]
    reply = folded(decoded(RESPONSES, *payloads))
    assert (reply.reasoning, reply.text) == ("Hm.", "Hello")
    assert [(call.name, call.arguments) for call in reply.tool_calls] == [("now", '{"a":1}')]
    assert reply.finish == Finished(FinishReason.TOOL_CALLS, "completed")


def test_items_that_share_an_index_and_have_other_ids_at_the_end_come_once() -> None:
    first = {"type": "function_call", "id": "a", "call_id": "c1", "name": "f", "arguments": '{"a":1}'}
    second = {**first, "id": "b", "call_id": "c2", "arguments": '{"b":2}'}
    events = decoded(
        RESPONSES,
        event("output_item.added", output_index=0, item={**first, "arguments": ""}),
        event("output_item.added", output_index=0, item={**second, "arguments": ""}),
        event("function_call_arguments.delta", output_index=0, item_id="a", delta='{"a":1}'),
        event("function_call_arguments.delta", output_index=0, item_id="b", delta='{"b":2}'),
        completed({**first, "id": "x"}, {**second, "id": "y"}),
    )
    assert [(c.id, c.arguments) for c in folded(events).tool_calls] == [("c1", '{"a":1}'), ("c2", '{"b":2}')]


def test_an_item_that_is_announced_twice_is_one() -> None:
    call = {"type": "function_call", "id": "a", "call_id": "c1", "name": "f", "arguments": "{}"}
    added = event("output_item.added", output_index=0, item={**call, "arguments": ""})
    done = event("output_item.done", output_index=0, item=call)
    events = decoded(RESPONSES, added, added, done, done, completed(call))
    assert folded(events).tool_calls == (ToolCall("c1", "f", "{}"),)


def test_a_second_beginning_is_one_answer_only_where_nothing_was_emitted() -> None:
    created, added = event("created", response={}), event("output_item.added", output_index=0, item=message())
    said = text("Hi", output_index=0)
    once = [added, said, completed(message("Hi"))]
    assert decoded(RESPONSES, created, created, *once) == [TextDelta("Hi"), COMPLETED]
    assert decoded(RESPONSES, created, added, created, *once) == [TextDelta("Hi"), COMPLETED]
    broken = decoded(RESPONSES, created, added, said, created, *once)
    assert (broken[:-1], kind_of(broken)) == ([TextDelta("Hi")], FailureKind.PROTOCOL)


def test_a_second_message_in_the_place_of_an_unended_one_is_a_protocol_failure() -> None:
    added = event("output_item.added", output_index=0, item=message())
    again = event("output_item.added", output_index=0, item={**message(), "id": "m2"})
    events = decoded(RESPONSES, added, text("Hi", output_index=0), again, text("Hi", output_index=0))
    assert (events[:-1], kind_of(events)) == ([TextDelta("Hi")], FailureKind.PROTOCOL)


def custom(name: str) -> list[dict[str, Any]]:
    item = {"type": "custom_tool_call", "id": "ct", "call_id": "c1", "name": name, "input": "select 1"}
    return [
        event("output_item.added", output_index=0, item={**item, "input": ""}),
        event("custom_tool_call_input.delta", output_index=0, item_id="ct", delta="select "),
        event("custom_tool_call_input.delta", output_index=0, item_id="ct", delta="1"),
        event("output_item.done", output_index=0, item=item),
        completed(item),
    ]


def test_a_free_form_call_can_be_answered() -> None:
    events = decoded(RESPONSES, *custom("sql"))
    assert events == [
        ToolCallDelta(0, "", "c1", "sql", kind="custom"),
        ToolCallDelta(0, "select "),
        ToolCallDelta(0, "1"),
        Finished(FinishReason.TOOL_CALLS, "completed"),
    ]
    call = folded(events).message()
    request = ChatRequest(messages=(user("Hi"), call, Message("tool", (ToolResult("c1", "1"),))))
    asked = json.loads(RESPONSES.encode(request, "openai_responses", "m").body or b"")["input"][1:]
    assert asked == [
        {"type": "custom_tool_call", "call_id": "c1", "name": "sql", "input": "select 1"},
        {"type": "custom_tool_call_output", "call_id": "c1", "output": "1"},
    ]
    [sent] = json.loads(CHAT.encode(request, "p", "m").body or b"")["messages"][1]["tool_calls"]
    assert sent == {"id": "c1", "type": "custom", "custom": {"name": "sql", "input": "select 1"}}
    [said] = json.loads(ANTHROPIC.encode(request, "anthropic", "m").body or b"")["messages"][1]["content"]
    assert said["input"] == {"input": "select 1"}


def test_a_free_form_call_of_a_tool_the_caller_did_not_give_is_the_servers_own() -> None:
    """xAI tells the searches it ran as free-form calls; a response repeats the tools that it was given."""
    given = {"tools": [{"type": "x_search"}]}
    [part, end] = decoded(RESPONSES, event("created", response=given), *custom("x_keyword_search"))
    assert isinstance(part, WholePart)
    assert isinstance(part.part, Opaque)
    assert end == COMPLETED
    own = {"tools": [{"type": "custom", "name": "sql"}]}
    assert folded(decoded(RESPONSES, event("created", response=own), *custom("sql"))).tool_calls


# ------------------------------------------------------------------ spliced answers


def test_two_messages_in_one_anthropic_stream_are_a_protocol_failure() -> None:
    start = {"type": "message_start", "message": {"usage": {"input_tokens": 1}}}
    block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "Hi"}}
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}
    stop = {"type": "message_stop"}
    counted = UsageUpdate(Usage(1))
    assert decoded(ANTHROPIC, start, start, block, end, stop)[1:] == [
        TextDelta("Hi"),
        Finished(FinishReason.STOP, "end_turn"),
    ]
    for between in ([block], [block, end]):
        events = decoded(ANTHROPIC, start, *between, start, block, end, stop)
        assert (events[:-1], kind_of(events)) == ([counted, TextDelta("Hi")], FailureKind.PROTOCOL)


def test_two_messages_in_one_cohere_stream_are_a_protocol_failure() -> None:
    start = {"type": "message-start", "delta": {}}
    said = {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "Hi"}}}}
    end = {"type": "message-end", "delta": {"finish_reason": "COMPLETE"}}
    assert decoded(COHERE, start, start, said, end)[0] == TextDelta("Hi")
    events = decoded(COHERE, start, said, start, said, end)
    assert (events[:-1], kind_of(events)) == ([TextDelta("Hi")], FailureKind.PROTOCOL)


# ------------------------------------------------------------------ how answers end


@pytest.mark.parametrize(
    ("reasons", "expected"),
    [
        (["length", "stop"], Finished(FinishReason.LENGTH, "length")),
        (["stop", "length"], Finished(FinishReason.LENGTH, "length")),
        (["content_filter", "stop"], Finished(FinishReason.CONTENT_FILTER, "content_filter")),
        (["unheard_of", "stop"], Finished(FinishReason.OTHER, "unheard_of")),
        (["null", "stop", ""], Finished(FinishReason.STOP, "stop")),
    ],
)
def test_the_first_serious_reason_counts(reasons: list[str], expected: Finished) -> None:
    chunks = [{"choices": [{"delta": {"content": "x"}, "finish_reason": reason}]} for reason in reasons]
    assert decoded(CHAT, *chunks, "[DONE]")[-1] == expected
    if "null" not in reasons:
        deltas = [{"type": "message_delta", "delta": {"stop_reason": reason}} for reason in reasons]
        assert decoded(ANTHROPIC, *deltas, {"type": "message_stop"})[-1] == expected


def chat(*deltas: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]


CALL = {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": '{"a":1}'}}]}
CUT = {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": '{"a":'}}]}
UNNAMED = {"tool_calls": [{"index": 0, "id": "c", "function": {"arguments": '{"a":1}'}}]}
USED = {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}


@pytest.mark.parametrize("used", [[USED], []])
@pytest.mark.parametrize(
    ("deltas", "end"),
    [
        ([{"content": "Hi"}], FinishReason.STOP),
        ([{"refusal": "No."}], FinishReason.REFUSAL),
        ([CALL], FinishReason.TOOL_CALLS),
        ([{"content": "Hi"}, CALL], FinishReason.TOOL_CALLS),
        ([{"content": "Hi"}, CUT], None),
        ([CUT], None),
        ([UNNAMED], None),
        ([{"reasoning": "Hm."}], None),
        ([{"content": ""}], None),
        ([], None),
    ],
)
def test_the_marker_makes_an_answer_without_a_reason_whole_where_servers_send_none(
    deltas: list[dict[str, Any]], end: FinishReason | None, used: list[dict[str, Any]]
) -> None:
    payloads = [*chat(*deltas), *used]
    strict, marked = (
        decoded(PROVIDERS["openai"].dialect, *payloads, "[DONE]"),
        decoded(CHAT, *payloads, "[DONE]"),
    )
    if end is None:
        assert kind_of(marked) is FailureKind.TRUNCATED
    else:
        assert marked[-1] == Finished(end, None)
    assert kind_of(strict) is FailureKind.TRUNCATED
    assert kind_of(heard(CHAT, [sse(*payloads)])) is FailureKind.TRUNCATED


def test_the_marker_counts_without_its_blank_line() -> None:
    for ending in (b"data: [DONE]", b"data: [DONE]\n", b"data: [DONE]\r\n"):
        assert heard(CHAT, [sse(*chat({"content": "Hi"})) + ending])[-1] == Finished(FinishReason.STOP, None)
    assert kind_of(heard(CHAT, [sse(*chat({"content": "Hi"})) + b"data: [DON"])) is FailureKind.TRUNCATED


def test_the_last_event_counts_without_its_blank_line_if_it_is_whole() -> None:
    end = b'data: {"choices":[{"delta":{"content":"!"},"finish_reason":"stop"}]}'
    for ending in (end, end + b"\n"):
        assert heard(CHAT, [sse(*chat({"content": "Hi"})) + ending]) == [
            TextDelta("Hi"),
            TextDelta("!"),
            Finished(FinishReason.STOP, "stop"),
        ]
    assert kind_of(heard(CHAT, [end[:-1]])) is FailureKind.TRUNCATED
    last = b'data: {"type":"response.completed","response":{"status":"completed","output":[]}}'
    assert heard(RESPONSES, [last]) == [COMPLETED]


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("MODEL_ARMOR", FinishReason.CONTENT_FILTER),
        ("ESCALATION", FinishReason.CONTENT_FILTER),
        ("PUP_LIMITED_DISABLED", FinishReason.CONTENT_FILTER),
        ("CONTINUATION", FinishReason.PAUSE),
    ],
)
def test_gemini_may_send_a_reason_and_nothing_else(raw: str, reason: FinishReason) -> None:
    candidate = {"finishReason": raw, "finishMessage": "The response violated a filter."}
    assert decoded(GEMINI, {"candidates": [candidate]}) == [Finished(reason, raw)]


def test_gemini_gives_a_token_with_a_pause_that_is_no_part_of_another_question() -> None:
    parts = {"content": {"parts": [{"text": "One, "}]}}
    paused = {**parts, "finishReason": "CONTINUATION", "continuationToken": "tok"}
    events = decoded(GEMINI, {"candidates": [paused]})
    assert events[-1] == Finished(FinishReason.PAUSE, "CONTINUATION")
    said = folded(events, "gemini/m").message()
    [token] = [part for part in said.parts if isinstance(part, Opaque)]
    assert token.parsed() == {"continuationToken": "tok"}
    body = GEMINI.encode(ChatRequest(messages=(user("Count"), said, user("Go on"))), "gemini", "m").body
    assert b"tok" not in (body or b"")


def test_gemini_may_send_stop_on_every_response_and_the_reason_on_one() -> None:
    def said(text: str, reason: str) -> dict[str, Any]:
        return {"candidates": [{"content": {"parts": [{"text": text}]}, "finishReason": reason}]}

    for reasons in (["STOP", "SAFETY"], ["SAFETY", "STOP"], ["SAFETY", "FINISH_REASON_UNSPECIFIED"]):
        last = decoded(GEMINI, *(said("x", reason) for reason in reasons))[-1]
        assert last == Finished(FinishReason.CONTENT_FILTER, "SAFETY")


# ------------------------------------------------------------------ what stands elsewhere


@pytest.mark.parametrize(
    ("content", "events"),
    [
        ({"a": [1, None], "b": "ü"}, [TextDelta('{"a":[1,null],"b":"ü"}')]),
        ({"type": "text", "text": "Hi"}, [TextDelta("Hi")]),
        ({"type": "point", "x": 1}, [TextDelta('{"type":"point","x":1}')]),
        (
            [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "Hi"}],
            [ReasoningDelta("Hm."), TextDelta("Hi")],
        ),
        (
            [{"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}]}],
            [ReasoningDelta("Hm.")],
        ),
        ([{"type": "reasoning", "text": "Hm."}], [ReasoningDelta("Hm.")]),
        (
            [{"type": "reasoning", "content": [{"text": "H"}, {"text": "m."}]}],
            [*map(ReasoningDelta, ("H", "m."))],
        ),
        (
            [{"type": "output_text", "text": "Hi"}, {"type": "reference", "reference_ids": [1]}],
            [TextDelta("Hi")],
        ),
        ([{"type": "refusal", "refusal": "No."}], [TextDelta("No.")]),
    ],
)
def test_content_may_be_parts_or_the_object_that_was_asked_for(
    content: object, events: list[WireEvent]
) -> None:
    streamed = decoded(CHAT, *chat({"content": content}), "[DONE]")
    whole = CHAT.decode_reply(json.dumps({"choices": [{"message": {"content": content}}]}).encode())
    assert streamed[:-1] == whole[:-1] == events


@pytest.mark.parametrize(
    "delta",
    [
        {"thinking": "Hm."},
        {"reasoning_text": "Hm."},
        {"reasoning": {"content": "Hm."}},
        {"reasoning": [{"type": "summary_text", "text": "Hm."}], "reasoning_content": "Hm."},
        {"thinking_blocks": [{"type": "thinking", "thinking": "Hm.", "signature": "s"}]},
        {"reasoning_details": [{"type": "reasoning.encrypted", "data": "x"}, {"summary": "Hm."}]},
        {"reasoning": True, "reasoning_content": "Hm."},
    ],
)
def test_thoughts_have_many_names_and_are_emitted_once(delta: dict[str, Any]) -> None:
    events = decoded(CHAT, *chat({"role": "assistant", **delta}, {"content": "Hi"}), "[DONE]")
    kept = {name: value for name, value in delta.items() if name in ("reasoning_details", "thinking_blocks")}
    seal = [ReasoningSeal(compact(kept))] if kept else []
    assert events[:-1] == [ReasoningDelta("Hm."), TextDelta("Hi"), *seal]


def test_a_stream_of_one_whole_message_is_read() -> None:
    whole = {"choices": [{"index": 0, "message": {"content": "Hi", **CALL}, "finish_reason": "stop"}]}
    reply = folded(decoded(CHAT, whole, "[DONE]"))
    assert (reply.text, [call.name for call in reply.tool_calls]) == ("Hi", ["f"])
    repeated = {"choices": [{"index": 0, "delta": {}, "message": {"content": "Hi"}, "finish_reason": "stop"}]}
    assert folded(decoded(CHAT, *chat({"content": "Hi"}), repeated, "[DONE]")).text == "Hi"


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_none_spoil_no_answer(number: str) -> None:
    chunk = '{"choices":[{"delta":{"content":"Hi"},"logprobs":{"content":[{"logprob":%s}]},"finish_reason":"stop"}]}'
    assert decoded(CHAT, chunk % number)[0] == TextDelta("Hi")
    entries = '[{"function":{"name":"f","arguments":{"a":%s}}}]'
    call = '{"choices":[{"delta":{"tool_calls":' + entries + '},"finish_reason":"stop"}]}'
    assert [c.parsed() for c in folded(decoded(CHAT, call % number)).tool_calls] == [{"a": None}]


@pytest.mark.parametrize(
    ("choice", "kind"),
    [
        ({"error": {"code": 429, "message": "Rate limit exceeded"}}, FailureKind.RATE_LIMIT),
        ({"finish_reason": "error", "error": {"code": 502, "message": "m"}}, FailureKind.SERVER),
        ({"finish_reason": "abort"}, FailureKind.SERVER),
    ],
)
def test_an_error_inside_the_choice_ends_the_answer(choice: dict[str, Any], kind: FailureKind) -> None:
    events = decoded(
        CHAT, *chat({"content": "Hi"}), {"choices": [{"index": 0, "delta": {}, **choice}]}, "[DONE]"
    )
    assert (events[:-1], kind_of(events)) == ([TextDelta("Hi")], kind)


@pytest.mark.parametrize(
    "chunk",
    [
        {"error": {"message": "overloaded"}},
        {"message": "overloaded", "code": 503},
        {"object": "error", "message": "overloaded"},
    ],
)
def test_an_error_between_the_chunks_ends_the_answer(chunk: dict[str, Any]) -> None:
    events = decoded(CHAT, *chat({"content": "Hi"}), chunk, *chat({"content": "!"}), "[DONE]")
    [whole] = CHAT.decode_reply(json.dumps(chunk).encode())
    assert kind_of([whole]) is FailureKind.OVERLOADED
    assert (events[:-1], kind_of(events)) == ([TextDelta("Hi")], FailureKind.OVERLOADED)


@pytest.mark.parametrize(
    ("usage", "read"),
    [
        ({"prompt_cache_hit_tokens": 3, "prompt_cache_miss_tokens": 7}, Usage(10, 5, 15, 3)),
        ({"cached_tokens": 3}, Usage(10, 5, 15, 3)),
        ({"prompt_tokens_details": {"cached_tokens": 3}, "cached_tokens": 9}, Usage(10, 5, 15, 3)),
        ({"input_tokens_details": {"cached_tokens": 3}}, Usage(10, 5, 15, 3)),
        ({"cache_read_input_tokens": 3, "cache_creation_input_tokens": 2}, Usage(10, 5, 15, 3, 2)),
        ({"prompt_tokens_details": None, "completion_tokens_details": []}, Usage(10, 5, 15)),
        ({"reasoning_tokens": 4}, Usage(10, 5, 15, reasoning_tokens=4)),
        ({"output_tokens_details": {"reasoning_tokens": 4}}, Usage(10, 5, 15, reasoning_tokens=4)),
        ({"completion_tokens": 5.0}, Usage(10, 5, 15)),
    ],
)
def test_counts_have_many_names_and_places(usage: dict[str, Any], read: Usage) -> None:
    counts = {"prompt_tokens": 10, "completion_tokens": 5, **usage}
    places: list[dict[str, Any]] = [
        {"choices": [], "usage": counts},
        {"choices": [{"index": 0, "delta": {}, "usage": counts}]},
        {"choices": [], "x_groq": {"usage": counts}},
    ]
    for place in places:
        assert decoded(CHAT, *chat({"content": "Hi"}), place, "[DONE]")[1] == UsageUpdate(read)
    named = {**usage, "input_tokens": 10, "output_tokens": 5}
    named.pop("completion_tokens", None)
    ended = event("completed", response={"status": "completed", "output": [], "usage": named})
    assert decoded(RESPONSES, ended)[0] == UsageUpdate(read)
