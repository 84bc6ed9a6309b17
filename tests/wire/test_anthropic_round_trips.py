"""What an answer of the Messages API holds goes back with the next request as the API wants it."""

import json
from typing import Any

import attrs
import pytest
from test_anthropic_messages import DIALECT, MESSAGE_STOP, close, delta, sse, start

from cortex_trio.events import Finished, FinishReason, ReplyBuilder, TextDelta, ToolCallDelta, WholePart
from cortex_trio.messages import (
    ChatRequest,
    File,
    Message,
    Opaque,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    assistant,
    system,
    tool,
    user,
)
from cortex_trio.simulator.request import identity_of
from cortex_trio.wire.anthropic_messages.parse import chat_request
from cortex_trio.wire.anthropic_messages.render import MessagesRenderer, render_reply
from cortex_trio.wire.anthropic_messages.rules import MESSAGES, in_order
from cortex_trio.wire.codec import Unsupported
from cortex_trio.wire.reading import Value
from cortex_trio.wire.rules import Illegal
from cortex_trio.wire.server import Operation, ParsedRequest

MODEL = "claude-sonnet-5-5"
ORIGIN = f"anthropic/{MODEL}"

Json = dict[str, Any]

SEARCH = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}}
FOUND = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []}
CODE = {"type": "server_tool_use", "id": "srvtoolu_2", "name": "code_execution", "input": {"code": "f()"}}
RAN = {"type": "code_execution_tool_result", "tool_use_id": "srvtoolu_2", "content": {"stdout": "1"}}
BY_CODE = {"type": "code_execution_20250825", "tool_id": "srvtoolu_2"}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}
CALLED_BY_CODE = {**CALL, "caller": BY_CODE}
CITATION = {
    "type": "web_search_result_location",
    "url": "https://e.org",
    "title": "E",
    "encrypted_index": "Eo8B",
    "cited_text": "It rains.",
}


def answered(*content: Json, stop_reason: str = "end_turn", **fields: Any) -> Message:
    """The message of an answer with these blocks."""
    body = {"type": "message", "content": content, "stop_reason": stop_reason, "usage": {}, **fields}
    built = ReplyBuilder(ORIGIN)
    built.add_all(DIALECT.decode_reply(json.dumps(body).encode()))
    assert built.finish is not None
    return built.message()


def sent(*messages: Message, model: str = MODEL, provider: str = "anthropic", **options: Any) -> Json:
    """The body, which the rules of the server side accept, and which it reads as it was sent."""
    request = ChatRequest(messages=messages, **options)
    body: Json = json.loads(DIALECT.encode(request, provider, model).body or b"")
    MESSAGES(body, ())
    in_order(prefill=False)(body, ())
    again = chat_request(Value(body), f"{provider}/{model}")
    assert json.loads(DIALECT.encode(again, provider, model).body or b"") == body
    return body


def result(call: str = "toolu_1") -> Message:
    return tool(ToolResult(call, "rain"))


# ------------------------------------------------------------------ tools of the server, in flight


def test_a_server_tool_in_flight_beside_a_client_tool_goes_back_without_a_result() -> None:
    message = answered({"type": "text", "text": "I look."}, SEARCH, CALL, stop_reason="tool_use")
    content = sent(user("Hi"), message, result())["messages"][1]["content"]
    assert content == [{"type": "text", "text": "I look."}, SEARCH, CALL]


def test_its_result_comes_in_the_next_turn_and_goes_back_there() -> None:
    first = answered(SEARCH, CALL, stop_reason="tool_use")
    second = answered(FOUND, {"type": "text", "text": "Rain."})
    turns = sent(user("Hi"), first, result(), second, user("Thanks"))["messages"]
    assert turns[1]["content"] == [SEARCH, CALL]
    assert turns[3]["content"] == [FOUND, {"type": "text", "text": "Rain."}]


def test_a_server_tool_that_another_model_never_finished_is_left_out() -> None:
    first = answered(SEARCH, CALL, stop_reason="tool_use")
    turns = sent(user("Hi"), first, result(), assistant("Rain."), user("Thanks"))["messages"]
    assert turns[1]["content"] == [CALL]


def test_a_call_by_the_servers_code_goes_back_with_its_caller() -> None:
    first = answered(CODE, CALLED_BY_CODE, stop_reason="tool_use")
    [call] = [part for part in first.parts if isinstance(part, ToolCall)]
    assert (call.arguments, call.origin) == ("{}", ORIGIN)
    assert sent(user("Hi"), first, result())["messages"][1]["content"] == [CODE, CALLED_BY_CODE]
    assert sent(user("Hi"), first, result(), model="claude-opus-5")["messages"][1]["content"][1]["caller"]


def test_code_that_waits_for_its_second_call_is_still_in_flight() -> None:
    first = answered(CODE, CALLED_BY_CODE, stop_reason="tool_use")
    again = {**CALLED_BY_CODE, "id": "toolu_2"}
    second = answered(again, stop_reason="tool_use")
    turns = sent(user("Hi"), first, result(), second, result("toolu_2"))["messages"]
    assert [turns[1]["content"], turns[3]["content"]] == [[CODE, CALLED_BY_CODE], [again]]
    third = answered(RAN, {"type": "text", "text": "Done."})
    whole = sent(user("Hi"), first, result(), second, result("toolu_2"), third, user("Thanks"))["messages"]
    assert whole[1:5] == turns[1:]
    assert whole[5]["content"][0] == RAN


def test_a_call_whose_code_is_left_out_becomes_an_ordinary_call() -> None:
    first = answered(CODE, CALLED_BY_CODE, stop_reason="tool_use")
    turns = sent(user("Hi"), first, result(), assistant("Rain."), user("Thanks"))["messages"]
    assert turns[1]["content"] == [CALL]


def test_a_direct_caller_is_nothing_to_keep() -> None:
    message = answered({**CALL, "caller": {"type": "direct"}}, stop_reason="tool_use")
    assert message.parts == (ToolCall("toolu_1", "f", "{}"),)


@pytest.mark.parametrize("signature", ["not JSON", "[1]", "{}", "[" * 100_000])
def test_the_signature_of_another_api_is_no_caller(signature: str) -> None:
    call = ToolCall("toolu_1", "f", "{}", signature)
    assert sent(user("Hi"), assistant(call), result())["messages"][1]["content"] == [CALL]


def test_another_provider_gets_neither_callers_nor_server_tools() -> None:
    first = answered(CODE, CALLED_BY_CODE, stop_reason="tool_use")
    assert sent(user("Hi"), first, result(), provider="proxy")["messages"][1]["content"] == [CALL]


# ------------------------------------------------------------------ citations


def cited_stream() -> bytes:
    return sse(
        {"type": "message_start", "message": {"id": "m", "usage": {}}},
        start(0, type="text", text=""),
        delta(0, type="text_delta", text="They say: "),
        close(0),
        start(1, type="text", text="", citations=[]),
        delta(1, type="citations_delta", citation=CITATION),
        delta(1, type="text_delta", text="it "),
        delta(1, type="text_delta", text="rains"),
        close(1),
        start(2, type="text", text=""),
        delta(2, type="text_delta", text="."),
        close(2),
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}},
    ) + sse(MESSAGE_STOP)


CITED = [
    {"type": "text", "text": "They say: "},
    {"type": "text", "text": "it rains", "citations": [CITATION]},
    {"type": "text", "text": "."},
]


def test_citations_of_the_web_go_back_on_the_text_they_came_on() -> None:
    decoder = DIALECT.decoder()
    built = ReplyBuilder(ORIGIN)
    built.add_all(decoder.feed(cited_stream()))
    assert built.text == "They say: it rains."
    assert [citation.text for citation in built_citations(built)] == ["It rains."]
    assert sent(user("Hi"), built.message(), user("Sure?"))["messages"][1]["content"] == CITED
    assert built.message() == answered(*CITED)


def built_citations(built: ReplyBuilder) -> Any:
    return built.reply(worker="w", provider="anthropic", model=MODEL, attempts=()).citations


def test_other_citations_are_read_and_need_not_go_back() -> None:
    of_a_document = {"type": "char_location", "cited_text": "x", "document_index": 0}
    message = answered({"type": "text", "text": "Rain", "citations": [of_a_document]})
    assert message.parts == (Text("Rain"),)


@pytest.mark.parametrize("said", ["", "Rain", "   "])
def test_citations_whose_text_was_changed_are_left_out(said: str) -> None:
    [_, cited] = answered({"type": "text", "text": "It rains", "citations": [CITATION]}).parts
    turns = sent(user("Hi"), assistant(Text(said), cited), user("Sure?"))["messages"]
    assert not any("citations" in block for turn in turns for block in turn["content"])


@pytest.mark.parametrize(
    "data", ['{"characters":"4","citations":[1]}', "{}", '{"characters":0,"citations":[1]}']
)
def test_citations_in_another_form_are_left_out(data: str) -> None:
    message = assistant(Text("Rain"), Opaque("citations", data))
    content = sent(user("Hi"), message, user("Sure?"))["messages"][1]["content"]
    assert content == [{"type": "text", "text": "Rain"}]


def test_a_blank_text_before_a_cited_one_is_kept_in_it() -> None:
    message = answered(CITED[1], {"type": "text", "text": "\n\n"}, {**CITED[1], "text": "and snows"})
    content = sent(user("Hi"), message, user("Sure?"))["messages"][1]["content"]
    assert [block["text"] for block in content] == ["it rains", "\n\nand snows"]


# ------------------------------------------------------------------ containers and compaction


@pytest.mark.parametrize("stream", [True, False])
def test_the_container_of_an_answer_is_named_by_the_next_request(stream: bool) -> None:
    container = {"id": "container_1", "expires_at": "2026-12-01T00:00:00Z"}
    if stream:
        built = ReplyBuilder(ORIGIN)
        built.add_all(
            DIALECT.decoder().feed(
                sse(
                    start(0, type="text", text="Hi"),
                    close(0),
                    {"type": "message_delta", "delta": {"stop_reason": "end_turn", "container": container}},
                    MESSAGE_STOP,
                )
            )
        )
        message = built.message()
    else:
        message = answered({"type": "text", "text": "Hi"}, container=container)
    assert sent(user("Hi"), message, user("More"))["container"] == "container_1"
    assert "container" not in sent(user("Hi"), message, user("More"), provider="proxy")
    own = sent(user("Hi"), message, user("More"), extra_body={"container": "container_2"})
    assert own["container"] == "container_2"


def test_a_compaction_is_a_pause_and_its_block_goes_back() -> None:
    events = DIALECT.decoder().feed(
        sse(
            start(0, type="compaction", content=None),
            delta(0, type="compaction_delta", content="They spoke of rain."),
            close(0),
            {"type": "message_delta", "delta": {"stop_reason": "compaction"}},
            MESSAGE_STOP,
        )
    )
    assert events[-1] == Finished(FinishReason.PAUSE, "compaction")
    built = ReplyBuilder(ORIGIN)
    built.add_all(events)
    block = {"type": "compaction", "content": "They spoke of rain."}
    assert sent(user("Hi"), built.message())["messages"][1] == {"role": "assistant", "content": [block]}


# ------------------------------------------------------------------ breakpoints of the prompt cache

MARK = {"cache_control": {"type": "ephemeral"}}


def marked(body: Json) -> list[str]:
    """The texts and names that have a breakpoint, in the order of the prompt."""
    system = body.get("system", [])
    blocks = [
        *body.get("tools", ()),
        *(system if isinstance(system, list) else ()),
        *(block for turn in body["messages"] for block in turn["content"]),
    ]
    return [
        block.get("text") or block.get("name") or block["type"]
        for block in blocks
        if "cache_control" in block
    ]


def cached(role: Any, *parts: Any) -> Message:
    return Message(role, parts, cache=True)


def test_a_breakpoint_stands_at_the_last_block_of_its_message_and_at_its_tool() -> None:
    tools = (Tool("f", "", {}), Tool("g", "", {}, cache=True))
    body = sent(
        system("A"),
        cached("system", Text("B")),
        system("C"),
        cached("user", Text("D"), Text("E")),
        assistant(Text("F")),
        user("G"),
        tools=tools,
    )
    assert body["system"] == [{"type": "text", "text": "A\n\nB", **MARK}, {"type": "text", "text": "C"}]
    assert marked(body) == ["g", "A\n\nB", "E"]


def test_without_a_breakpoint_the_system_text_is_one_string() -> None:
    assert sent(system("A"), system("B"), user("C"))["system"] == "A\n\nB"


def test_the_last_four_breakpoints_are_kept() -> None:
    tools = (Tool("f", "", {}, cache=True),)
    said = [cached("user", Text(f"m{n}")) for n in range(4)]
    assert marked(sent(cached("system", Text("s")), *said, tools=tools)) == ["m0", "m1", "m2", "m3"]
    assert marked(sent(cached("system", Text("s")), *said[:2], tools=tools)) == ["f", "s", "m0", "m1"]


def test_thinking_has_no_breakpoint() -> None:
    thinking = {"type": "thinking", "thinking": "hm", "signature": "s"}
    message = answered({"type": "text", "text": "A"}, thinking)
    assert marked(sent(user("Hi"), Message("assistant", message.content, cache=True), user("B"))) == ["A"]
    alone = Message("assistant", answered(thinking).content, cache=True)
    assert marked(sent(user("Hi"), alone, user("B"))) == []


def test_a_last_system_message_keeps_its_breakpoint() -> None:
    assert marked(sent(user("Hi"), cached("system", Text("Be brief.")))) == ["Be brief."]


def test_a_result_may_have_a_breakpoint() -> None:
    message = answered(CALL, stop_reason="tool_use")
    cache = Message("tool", (ToolResult("toolu_1", "rain"),), cache=True)
    assert marked(sent(user("Hi"), message, cache)) == ["tool_result"]


def test_decoded_events_of_a_call_by_code() -> None:
    events = DIALECT.decoder().feed(sse(start(0, **CALLED_BY_CODE), close(0)))
    assert events == [
        ToolCallDelta(0, "", "toolu_1", "f", json.dumps(BY_CODE, separators=(",", ":"))),
        ToolCallDelta(0, "{}"),
    ]
    assert not any(isinstance(event, TextDelta) for event in events)


def rendered(message: Message, finish: FinishReason, *, stream: bool) -> Message:
    """The message as a client reads it that asks the server side."""
    identity = identity_of(1)
    request = ParsedRequest(operation=Operation.CHAT, identity=identity, model=MODEL, stream=stream)
    built = ReplyBuilder(ORIGIN)
    reply = attrs.evolve(
        built.reply(worker="w", provider="anthropic", model=MODEL, attempts=()),
        message=message,
        finish_reason=finish,
    )
    if not stream:
        built.add_all(DIALECT.decode_reply(render_reply(request, reply)))
        return built.message()
    renderer = MessagesRenderer(request)
    frames = renderer.begin()
    for index, part in enumerate(message.parts):
        match part:
            case ToolCall():
                event: Any = ToolCallDelta(index, part.arguments, part.id, part.name, part.signature)
            case Text(text):
                event = TextDelta(text)
            case _:
                event = WholePart(part)  # type: ignore[arg-type]
        frames += renderer.render(event)
    frames += renderer.render(Finished(finish))
    built.add_all(DIALECT.decoder().feed(b"".join(frame.data for frame in frames)))
    return built.message()


@pytest.mark.parametrize("stream", [True, False])
def test_the_server_side_renders_callers_and_the_container(stream: bool) -> None:
    container = {"id": "container_1", "expires_at": "2026-12-01T00:00:00Z"}
    text = {"type": "text", "text": "I look."}
    message = answered(text, CODE, CALLED_BY_CODE, stop_reason="tool_use", container=container)
    assert rendered(message, FinishReason.TOOL_CALLS, stream=stream) == message


@pytest.mark.parametrize("stream", [True, False])
def test_the_server_side_renders_a_cited_text_as_a_text(stream: bool) -> None:
    message = answered(*CITED)
    assert rendered(message, FinishReason.STOP, stream=stream).text == message.text


def test_a_fifth_breakpoint_is_refused_by_the_server_side() -> None:
    body = sent(user("Hi"))
    body["messages"][0]["content"] *= 5
    body["messages"][0]["content"] = [{**block, **MARK} for block in body["messages"][0]["content"]]
    with pytest.raises(Illegal) as caught:
        in_order(prefill=None)(body, ())
    assert caught.value.expected == "A maximum of 4 blocks with cache_control may be provided. Found 5."


def test_a_file_in_a_message_of_the_model_is_refused() -> None:
    message = assistant("Here", File(data=b"%PDF", media_type="application/pdf"))
    with pytest.raises(Unsupported, match="a file in a message of the model"):
        sent(user("Hi"), message, user("Thanks"))
