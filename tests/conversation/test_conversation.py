"""Conversation: the history stays valid whatever happens, is trimmed by whole turns, and survives JSON."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio

from cortex_trio import (
    Conversation,
    Cortex,
    Document,
    File,
    FinishReason,
    Image,
    InvalidRequest,
    Message,
    Opaque,
    Price,
    ProviderError,
    Reasoning,
    StreamInterrupted,
    Text,
    Tool,
    ToolAbort,
    ToolCall,
    ToolCallDelta,
    ToolResult,
    TooManyRounds,
    Usage,
    assistant,
    run_tools,
    system,
    tool,
    user,
)
from cortex_trio.conversation.history import new_turn, trimmed
from cortex_trio.conversation.saved import Saved, from_json, to_json
from cortex_trio.messages.size import estimated_tokens
from cortex_trio.simulator import Behaviour, Simulator, open_gateway, open_simulator

STORY = "Once upon a time there was a gateway."
CUT = Behaviour(text=STORY, cut_after=4)
CALL = ToolCall("call_1", "double", '{"n": 2}')
CALLING = Behaviour(text="", tool_calls=[CALL])
DONE = Behaviour(text="Done.")
PROVIDERS = ["openai", "openai_responses", "anthropic", "gemini", "groq", "xai", "cohere", "ollama"]


def double(n: int) -> int:
    """Double a number."""
    return 2 * n


@asynccontextmanager
async def opened(*script: Behaviour, provider: str = "openai") -> AsyncIterator[tuple[Cortex, Simulator]]:
    async with open_simulator() as sim:
        sim.add(provider, *script)
        async with open_gateway(sim) as cortex:
            yield cortex, sim


def texts(conversation: Conversation) -> list[tuple[str, str]]:
    return [(message.role, message.text) for message in conversation.messages]


# ------------------------------------------------------------------ asking


async def test_a_conversation_remembers(autojump_clock: object) -> None:
    async with opened(Behaviour(text="Hello."), Behaviour(text="Bye.")) as (cortex, sim):
        conversation = Conversation(cortex, system="Be brief.", temperature=0.5)
        first = await conversation.ask("Hi")
        second = await conversation.ask("Look:", Image(url="https://example.org/a.png"), temperature=0.1)
    assert (first.text, second.text) == ("Hello.", "Bye.")
    assert [message.role for message in conversation.messages] == [
        "system",
        "user",
        "assistant",
        "user",
        "assistant",
    ]
    bodies = [request.body for request in sim["openai"].requests]
    assert [len(body["messages"]) for body in bodies] == [2, 4]
    assert [body["temperature"] for body in bodies] == [0.5, 0.1]
    totals = [first.usage.total_tokens or 0, second.usage.total_tokens or 0]
    assert conversation.usage.total_tokens == sum(totals)


async def test_tools_are_run_and_stay_in_the_history(autojump_clock: object) -> None:
    async with opened(CALLING, DONE, DONE) as (cortex, _):
        conversation = Conversation(cortex, tools=[double])
        reply = await conversation.ask("Double 2")
        await conversation.ask("Thanks")
    assert reply.text == "Done."
    assert [message.role for message in conversation.messages] == [
        "user",
        "assistant",
        "tool",
        "assistant",
        "user",
        "assistant",
    ]
    assert conversation.messages[2] == tool(ToolResult("call_1", "4", "double"))


def stop() -> None:
    """Stop."""
    raise ToolAbort("stop")


STOPPING = Behaviour(text="", tool_calls=[ToolCall("c", "stop", "{}")])


@pytest.mark.parametrize(
    ("error", "script"),
    [
        (ProviderError, [CALLING, Behaviour(status=400)]),
        (ToolAbort, [CALLING, STOPPING]),
        (TooManyRounds, [CALLING]),
    ],
)
async def test_a_call_that_fails_changes_nothing(
    error: type[Exception], script: list[Behaviour], autojump_clock: object
) -> None:
    async with opened(DONE, *script) as (cortex, _):
        conversation = Conversation(cortex, tools=[double, stop], max_rounds=4)
        await conversation.ask("Hi")
        before, usage = list(conversation.messages), conversation.usage
        with pytest.raises(error):
            await conversation.ask("And now?")
    assert (conversation.messages, conversation.usage) == (before, usage)


async def test_a_call_that_is_cancelled_changes_nothing(autojump_clock: object) -> None:
    async with opened(DONE, CALLING, Behaviour(silent=True)) as (cortex, _):
        conversation = Conversation(cortex, tools=[double])
        await conversation.ask("Hi")
        before = list(conversation.messages)
        with trio.move_on_after(5) as scope:
            await conversation.ask("And now?")
        assert scope.cancelled_caught
    assert conversation.messages == before


async def test_failover_is_invisible_in_the_history(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("openai", CALLING, Behaviour(text="Do", cut_after=1))
        sim.add("anthropic", DONE)
        async with open_gateway(sim) as cortex:
            conversation = Conversation(cortex, tools=[double])
            reply = await conversation.ask("Double 2")
    assert (reply.worker, reply.text) == ("anthropic", "Done.")
    assert texts(conversation)[-1] == ("assistant", "Done.")


YOURS = Tool("double", "Double.", {"type": "object", "properties": {"n": {"type": "integer"}}})


async def test_calls_of_a_tool_without_a_function_are_answered_by_the_caller(autojump_clock: object) -> None:
    async with opened(CALLING, DONE) as (cortex, _):
        conversation = Conversation(cortex, tools=[YOURS])
        reply = await conversation.ask("Double 2")
        assert [call.name for call in reply.tool_calls] == ["double"]
        with pytest.raises(InvalidRequest, match="content: the results of double is needed"):
            await conversation.ask()
        with pytest.raises(InvalidRequest, match="there is no open tool call 'other'; open are: call_1"):
            await conversation.ask(ToolResult("other", "4"))
        assert (await conversation.ask(ToolResult("call_1", "4"))).text == "Done."
    assert [message.role for message in conversation.messages] == ["user", "assistant", "tool", "assistant"]


async def test_calls_that_the_caller_leaves_open_get_an_error_result(autojump_clock: object) -> None:
    async with opened(CALLING, DONE) as (cortex, _):
        conversation = Conversation(cortex, tools=[YOURS])
        await conversation.ask("Double 2")
        await conversation.ask("Never mind")
    [result] = conversation.messages[2].parts
    assert result == ToolResult("call_1", "the call was not run", "double", is_error=True)


# ------------------------------------------------------------------ streaming


async def test_a_streamed_answer_is_kept(autojump_clock: object) -> None:
    async with opened(Behaviour(text=STORY), DONE) as (cortex, sim):
        conversation = Conversation(cortex)
        async with conversation.stream("Tell me") as answer:
            pieces = [piece async for piece in answer.text()]
            assert conversation.messages == []
        await conversation.ask("More")
    assert "".join(pieces) == STORY
    assert texts(conversation) == [
        ("user", "Tell me"),
        ("assistant", STORY),
        ("user", "More"),
        ("assistant", "Done."),
    ]
    assert not conversation.messages[1].partial
    assert len(sim["openai"].requests[1].body["messages"]) == 3
    assert conversation.usage.total_tokens


async def test_a_streamed_answer_that_is_left_is_kept_as_partial(autojump_clock: object) -> None:
    async with opened(Behaviour(text=STORY, tokens_per_second=1), DONE) as (cortex, _):
        conversation = Conversation(cortex)
        async with conversation.stream("Tell me") as answer:
            async for _ in answer.text():
                break
        await conversation.ask("Go on")
    assert texts(conversation)[:2] == [("user", "Tell me"), ("assistant", "Once")]
    assert [message.partial for message in conversation.messages] == [False, True, False, False]


async def test_a_streamed_answer_that_is_cancelled_is_kept_as_partial(autojump_clock: object) -> None:
    async with opened(Behaviour(text=STORY, stall_after=2)) as (cortex, _):
        conversation = Conversation(cortex)
        with trio.move_on_after(3):
            async with conversation.stream("Tell me") as answer:
                await answer.collect()
    assert texts(conversation) == [("user", "Tell me"), ("assistant", "Once upon")]
    assert conversation.messages[-1].partial


async def test_a_streamed_answer_that_breaks_off_is_kept_as_partial(autojump_clock: object) -> None:
    async with opened(CUT, DONE) as (cortex, _):
        conversation = Conversation(cortex)
        with pytest.raises(StreamInterrupted) as caught:
            async with conversation.stream("Tell me") as answer:
                await answer.collect()
        await conversation.ask("Go on")
    assert conversation.messages[1].partial
    assert conversation.messages[1].text == caught.value.partial.text == "Once upon a time"


async def test_a_stream_that_goes_on_elsewhere_is_kept_whole(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("openai", CUT)
        sim.add("anthropic", Behaviour(text=STORY))
        async with open_gateway(sim) as cortex:
            conversation = Conversation(cortex, on_interrupt="restart")
            async with conversation.stream("Tell me") as answer:
                await answer.collect()
    assert texts(conversation) == [("user", "Tell me"), ("assistant", STORY)]


async def test_nothing_is_kept_of_a_stream_that_does_not_begin(autojump_clock: object) -> None:
    async with opened(Behaviour(status=400)) as (cortex, _):
        conversation = Conversation(cortex)
        with pytest.raises(ProviderError):
            async with conversation.stream("Tell me"):
                raise AssertionError("it was opened")
    assert (conversation.messages, conversation.usage) == ([], Usage())


async def test_a_call_in_a_partial_answer_is_left_out(autojump_clock: object) -> None:
    cut = Behaviour(text="Let me see.", tool_calls=[CALL], cut_after=6)
    async with opened(cut, DONE) as (cortex, _):
        conversation = Conversation(cortex, tools=[double])
        with pytest.raises(StreamInterrupted):
            async with conversation.stream("Double 2") as answer:
                await answer.collect()
        await conversation.ask("Go on")
    assert texts(conversation)[1] == ("assistant", "Let me see.")
    assert all(isinstance(part, Text) for part in conversation.messages[1].parts)


async def test_tools_that_are_called_first_are_run_before_the_answer_is_streamed(
    autojump_clock: object,
) -> None:
    again = Behaviour(text="", tool_calls=[ToolCall("call_2", "double", '{"n": 4}')])
    async with opened(CALLING, again, Behaviour(text="8, of course.")) as (cortex, sim):
        conversation = Conversation(cortex, tools=[double])
        async with conversation.stream("Double 2 twice", tool_choice="required") as answer:
            pieces = [piece async for piece in answer.text()]
    assert len(pieces) > 2
    assert "".join(pieces) == "8, of course."
    roles = ["user", "assistant", "tool", "assistant", "tool", "assistant"]
    assert [message.role for message in conversation.messages] == roles
    totals = [len(request.body["messages"]) for request in sim["openai"].requests]
    assert totals == [1, 3, 5]
    assert ["tool_choice" in request.body for request in sim["openai"].requests] == [True, False, False]


async def test_tools_that_are_called_after_text_are_run_at_the_end(autojump_clock: object) -> None:
    speaking = Behaviour(text="Let me see.", tool_calls=[CALL])
    async with opened(speaking, Behaviour(text=" It is 4.")) as (cortex, _):
        conversation = Conversation(cortex, tools=[double])
        said, content = [], ["Double 2"]
        while True:
            async with conversation.stream(*content) as answer:
                said += [piece async for piece in answer.text()]
            if answer.finish_reason is not FinishReason.TOOL_CALLS:
                break
            content = []
    assert "".join(said) == "Let me see. It is 4."
    assert [message.role for message in conversation.messages] == ["user", "assistant", "tool", "assistant"]


async def test_failover_in_the_middle_of_a_call_is_invisible_in_a_stream(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(text="", tool_calls=[CALL], cut_after=2))
        sim.add("anthropic", CALLING, DONE)
        async with open_gateway(sim) as cortex:
            conversation = Conversation(cortex, tools=[double])
            async with conversation.stream("Double 2") as answer:
                assert (await answer.collect()).text == "Done."
    assert [message.role for message in conversation.messages] == ["user", "assistant", "tool", "assistant"]


async def test_another_worker_may_answer_instead_of_calling(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(text="", tool_calls=[CALL], cut_after=2))
        sim.add("anthropic", Behaviour(text=STORY))
        async with open_gateway(sim) as cortex:
            conversation = Conversation(cortex, tools=[double])
            async with conversation.stream("Double 2") as answer:
                assert "".join([piece async for piece in answer.text()]) == STORY
    assert texts(conversation) == [("user", "Double 2"), ("assistant", STORY)]


@pytest.mark.parametrize("error", [ToolAbort, TooManyRounds, ProviderError, trio.TooSlowError])
async def test_a_stream_that_ends_before_it_begins_changes_nothing(
    error: type[Exception], autojump_clock: object
) -> None:
    script = {
        ToolAbort: [CALLING, STOPPING],
        TooManyRounds: [CALLING],
        ProviderError: [CALLING, Behaviour(status=400)],
        trio.TooSlowError: [CALLING, Behaviour(silent=True)],
    }
    async with opened(DONE, *script[error]) as (cortex, _):
        conversation = Conversation(cortex, tools=[double, stop], max_rounds=3)
        await conversation.ask("Hi")
        before, usage = list(conversation.messages), conversation.usage
        with pytest.raises(error), trio.fail_after(5):
            async with conversation.stream("And now?"):
                raise AssertionError("it was opened")
    assert (conversation.messages, conversation.usage) == (before, usage)


async def test_a_call_for_the_caller_is_streamed(autojump_clock: object) -> None:
    both = Behaviour(text="", tool_calls=[CALL, ToolCall("call_2", "yours", "{}")])
    yours = Tool("yours", "Yours.", {"type": "object", "properties": {}})
    mine_only = Behaviour(text="", tool_calls=[ToolCall("call_3", "yours", "{}")])
    async with opened(both, mine_only, DONE) as (cortex, _):
        conversation = Conversation(cortex, tools=[double, yours])
        async with conversation.stream("Go") as answer:
            reply = await answer.collect()
        assert [call.name for call in reply.tool_calls] == ["double", "yours"]
        async with conversation.stream(ToolResult("call_1", "4"), ToolResult("call_2", "5")) as answer:
            events = [event async for event in answer]
        assert any(isinstance(event, ToolCallDelta) for event in events)
        assert (await conversation.ask(ToolResult("call_3", "6"))).text == "Done."
    roles = ["user", "assistant", "tool", "assistant", "tool", "assistant"]
    assert [message.role for message in conversation.messages] == roles


async def test_an_abort_in_a_streamed_answer_keeps_what_was_read_without_the_call(
    autojump_clock: object,
) -> None:
    stopping = Behaviour(text="I stop.", tool_calls=[ToolCall("c", "stop", "{}")])
    async with opened(stopping, DONE) as (cortex, _):
        conversation = Conversation(cortex, tools=[stop])
        with pytest.raises(ToolAbort):
            async with conversation.stream("Stop") as answer:
                await answer.collect()
        await conversation.ask("Go on")
    assert texts(conversation)[1] == ("assistant", "I stop.")
    assert conversation.messages[1].partial


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_the_history_is_valid_in_every_dialect(provider: str, autojump_clock: object) -> None:
    """Partial answers, tool calls, and calls that were left open; the simulated provider refuses invalid histories."""
    open_call = Behaviour(text="", tool_calls=[ToolCall("call_9", "yours", "{}")])
    script = [Behaviour(text=STORY, stall_after=2), CALLING, DONE, open_call, DONE]
    yours = Tool("yours", "Yours.", {"type": "object", "properties": {}})
    async with opened(*script, provider=provider) as (cortex, sim):
        conversation = Conversation(cortex, system="Be brief.", tools=[double, yours])
        with trio.move_on_after(3):
            async with conversation.stream("Tell me") as answer:
                await answer.collect()
        await conversation.ask("Double 2")
        await conversation.ask("Yours?")
        assert (await conversation.ask("Never mind")).text == "Done."
    assert len(sim[provider].requests) == 5


# ------------------------------------------------------------------ the cost


async def test_the_cost_of_all_rounds_adds_up(autojump_clock: object) -> None:
    price = Price(input=1000.0, output=2000.0)
    script = [attrs.evolve(each, usage=Usage(100, 50)) for each in (CALLING, DONE, DONE, CUT)]
    async with open_simulator() as sim:
        sim.add("anthropic", *script, Behaviour(status=400))
        [model] = {sim["anthropic"].worker().models[0]}
        async with open_gateway(sim, prices={model: price}) as cortex:
            conversation = Conversation(cortex, tools=[double])
            assert conversation.cost is None
            reply = await conversation.ask("Double 2")
            assert reply.cost == conversation.cost == pytest.approx(2 * 0.2)
            async with conversation.stream("And now?") as answer:
                await answer.collect()
            assert conversation.cost == pytest.approx(3 * 0.2)
            with pytest.raises(StreamInterrupted):
                async with conversation.stream("And now?") as answer:
                    await answer.collect()
            assert conversation.cost is not None
            assert conversation.cost >= 3 * 0.2 + 0.1  # the tokens of the request at least
            again = Conversation.from_json(cortex, conversation.to_json())
            assert again.cost == conversation.cost


# ------------------------------------------------------------------ the window


TURNS = [
    system("Be brief."),
    user("a" * 400),
    assistant("b" * 400),
    user("c" * 400),
    Message("assistant", (CALL,)),
    tool(ToolResult("call_1", "d" * 400)),
    assistant("e" * 400),
    user("f"),
]


def test_the_oldest_turns_are_left_out_whole() -> None:
    sizes = [estimated_tokens(message) for message in TURNS]
    assert trimmed(TURNS, None) == TURNS
    assert trimmed(TURNS, sum(sizes)) == TURNS
    assert trimmed(TURNS, sum(sizes) - 1) == [TURNS[0], *TURNS[3:]]
    assert trimmed(TURNS, sizes[0] + sum(sizes[3:])) == [TURNS[0], *TURNS[3:]]
    assert trimmed(TURNS, sizes[0] + sum(sizes[3:]) - 1) == [TURNS[0], TURNS[7]]
    assert trimmed(TURNS, 1) == [TURNS[0], TURNS[7]]


async def test_the_window_bounds_what_is_sent_in_each_round_of_tools(autojump_clock: object) -> None:
    def read() -> str:
        """Read a long text."""
        return "word " * 200

    script = [
        Behaviour(text="word " * 100),
        Behaviour(text="", tool_calls=[ToolCall("c", "read", "{}")]),
        DONE,
    ]
    async with opened(*script) as (cortex, sim):
        conversation = Conversation(cortex, tools=[read], window=320)
        await conversation.ask("What is it?")
        await conversation.ask("Read it.")
    sent = [[message["role"] for message in request.body["messages"]] for request in sim["openai"].requests]
    assert sent[1] == ["user", "assistant", "user"]
    assert sent[2] == ["user", "assistant", "tool"]  # the older turn made place for the result


@pytest.mark.parametrize("name", ["messages", "tools", "window", "system"])
async def test_what_a_conversation_has_is_no_option_of_a_call(name: str, autojump_clock: object) -> None:
    async with opened(DONE) as (cortex, _):
        conversation = Conversation(cortex)
        with pytest.raises(InvalidRequest, match=f"{name}: the conversation has its own"):
            await conversation.ask("Hi", **{name: []})
        with pytest.raises(InvalidRequest, match=f"{name}: the conversation has its own"):
            async with conversation.stream("Hi", **{name: []}):
                pass


@pytest.mark.parametrize("window", range(1, 700, 7))
def test_what_is_sent_is_valid_at_every_window(window: int) -> None:
    sent = trimmed(TURNS, window)
    calls = [part.id for message in sent for part in message.parts if isinstance(part, ToolCall)]
    results = [
        part.tool_call_id for message in sent for part in message.parts if isinstance(part, ToolResult)
    ]
    assert calls == results
    assert sent[0].role == "system"
    assert sent[1].role == "user"
    assert sent[-1] == TURNS[-1]


def test_a_file_and_text_in_other_scripts_count() -> None:
    assert estimated_tokens(user(Image(url="https://example.org/a.png"))) > 500
    assert estimated_tokens(user("你好" * 100)) > estimated_tokens(user("ab" * 100))


async def test_the_window_bounds_what_is_sent_and_not_what_is_kept(autojump_clock: object) -> None:
    async with opened(Behaviour(text="word " * 100)) as (cortex, sim):
        conversation = Conversation(cortex, system="Be brief.", window=320)
        for _ in range(6):
            await conversation.ask("And then?")
    assert len(conversation.messages) == 13
    sent = [[message["role"] for message in request.body["messages"]] for request in sim["openai"].requests]
    assert sent[-1] == ["system", "user", "assistant", "user", "assistant", "user"]


# ------------------------------------------------------------------ JSON


EVERYTHING = [
    system("Be brief."),
    Message("user", (Text("See"), Image(data=b"\x89PNG\x00", media_type="image/png")), cache=True),
    user(
        File(data=b"%PDF\xff", media_type="application/pdf", name="a.pdf"),
        File(id="file_1"),
        Image(url="https://example.org"),
        Document("text", "title", "id"),
    ),
    Message(
        "assistant",
        (
            Reasoning("thought", "signed", None, "anthropic/claude"),
            Reasoning("", None, "encrypted", "openai/gpt"),
            Opaque("web_search", '{"a": "ü"}', "anthropic/claude"),
            Text("Let me see."),
            ToolCall("c1", "double", '{"n": 2}', "thought-signature", "gemini/pro"),
            ToolCall("c2", "run", "1 + 1", kind="custom"),
        ),
    ),
    tool(
        ToolResult("c1", "4", "double"),
        ToolResult("c2", (Text("bad"), Image(data=b"\x00", media_type="image/png")), is_error=True),
    ),
    Message("assistant", "Half", partial=True),
]


async def test_a_conversation_survives_json(autojump_clock: object) -> None:
    async with opened(DONE) as (cortex, _):
        conversation = Conversation(cortex, window=1000)
        conversation.messages = list(EVERYTHING)
        conversation.usage = Usage(10, 5, cached_input_tokens=3)
        text = conversation.to_json()
        again = Conversation.from_json(cortex, text, tools=[double])
        assert again.messages == conversation.messages
        assert [repr(message) for message in again.messages] == [repr(message) for message in EVERYTHING]
        assert (again.usage, again.cost) == (conversation.usage, None)
        assert again.to_json() == text
        empty = Conversation.from_json(cortex, Conversation(cortex).to_json())
        assert empty.messages == []
        assert (await empty.ask("Hi")).text == "Done."


def filled(cls: type) -> Any:
    """Return a part that has a value of its own in every field it may have."""
    values: dict[str, Any] = {}
    for field in attrs.fields(cls):
        kind = str(field.type)
        if "bytes" in kind:
            values[field.name] = b"\x00\xff"
        elif "bool" in kind:
            values[field.name] = not field.default
        elif not (field.name in ("url", "id") and cls in (Image, File)):
            values[field.name] = f"{field.name} ü"
    return cls(**values)


@pytest.mark.parametrize("cls", [Text, Image, File, Document, Reasoning, ToolCall, ToolResult, Opaque])
def test_every_field_of_a_part_survives_json(cls: type) -> None:
    message = Message("user", (filled(cls),), cache=True, partial=True)
    [again] = from_json(to_json(Saved([message], Usage(), 0.5))).messages
    assert attrs.asdict(again) == attrs.asdict(message)


def corrupted(change: Any) -> str:
    whole: dict[str, Any] = {
        "version": 1,
        "messages": [
            {"role": "user", "content": [{"type": "image", "data": "AAAA", "media_type": "image/png"}]},
            {"role": "assistant", "content": [{"type": "text", "text": "Hi"}]},
        ],
    }
    change(whole)
    return json.dumps(whole)


def at(*path: Any, to: Any) -> Any:
    def change(whole: Any) -> None:
        for step in path[:-1]:
            whole = whole[step]
        whole[path[-1]] = to

    return change


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("no", "the conversation is not JSON"),
        ("[]", 'an object with "version": 1 is needed'),
        (corrupted(at("version", to=2)), 'an object with "version": 1 is needed'),
        (corrupted(at("messages", to=5)), "messages: an array is needed, not int"),
        (corrupted(at("messages", 0, to=5)), r"messages\[0\]: an object is needed, not int"),
        (corrupted(at("messages", 0, "role", to="king")), r"messages\[0\]\.role: one of system, user"),
        (corrupted(at("messages", 0, "colour", to=1)), r"messages\[0\]: .*colour"),
        (
            corrupted(at("messages", 1, "content", 0, "type", to="x")),
            r"messages\[1\]\.content\[0\]\.type: one of text",
        ),
        (
            corrupted(at("messages", 1, "content", 0, "text", to=5)),
            r"messages\[1\]\.content\[0\]\.text: str is allowed",
        ),
        (
            corrupted(at("messages", 0, "content", 0, "data", to="!")),
            r"messages\[0\]\.content\[0\]\.data: base64",
        ),
        (
            corrupted(at("messages", 0, "content", 0, "media_type", to=None)),
            r"messages\[0\]\.content\[0\]: Image: data=",
        ),
        (corrupted(at("usage", to={"tokens": 1})), "usage: .*tokens"),
        (corrupted(at("usage", to={"input_tokens": "5"})), r"usage\.input_tokens: a whole number"),
        (corrupted(at("usage", to={"input_tokens": -5})), r"usage\.input_tokens: a whole number"),
        (corrupted(at("cost", to=float("nan"))), "cost: a number from 0"),
        (corrupted(at("cost", to=True)), "cost: a number from 0"),
        (corrupted(at("messages", 0, "partial", to="yes")), r"messages\[0\]\.partial: true or false"),
    ],
)
async def test_wrong_json_is_an_error_that_names_the_place(
    text: str, problem: str, autojump_clock: object
) -> None:
    async with opened(DONE) as (cortex, _):
        with pytest.raises(InvalidRequest, match=problem):
            Conversation.from_json(cortex, text)


# ------------------------------------------------------------------ wrong use


def test_a_turn_needs_content() -> None:
    for history in ([], [user("Hi"), assistant("Hello")]):
        with pytest.raises(InvalidRequest, match="content: a text or a part is needed"):
            new_turn(history, ())
    with pytest.raises(InvalidRequest, match=r"content\[1\]: a part or a mapping, not int"):
        new_turn([], ("Hi", 5))
    with pytest.raises(InvalidRequest, match="there is no open tool call 'c'; open are: none"):
        new_turn([user("Hi"), assistant("Hello")], (ToolResult("c", "4"),))
    paused = [user("Hi"), Message("assistant", (Opaque("server_tool_use", "{}"),))]
    assert new_turn(paused, ()) == []


async def test_wrong_use_is_an_error(autojump_clock: object) -> None:
    async with opened(DONE) as (cortex, sim):
        with pytest.raises(
            InvalidRequest, match="window: a positive number of tokens or None is allowed, not 0"
        ):
            Conversation(cortex, window=0)
        with pytest.raises(
            InvalidRequest, match=r"tools\[1\]\.name: 'double' is the name of tools\[0\] already"
        ):
            Conversation(cortex, tools=[double, double])
        conversation = Conversation(cortex)
        with pytest.raises(InvalidRequest, match="temperature: "):
            await conversation.ask("Hi", temperature="hot")
        with pytest.raises(TypeError, match="there is no option 'temprature'"):
            await conversation.ask("Hi", temprature=1)
        assert (conversation.messages, sim["openai"].requests) == ([], [])


async def test_two_tasks_at_a_time_are_an_error(autojump_clock: object) -> None:
    async with opened(Behaviour(text=STORY, first_token_after=5)) as (cortex, _):
        conversation = Conversation(cortex)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(conversation.ask, "Hi")
            await trio.sleep(1)
            with pytest.raises(RuntimeError, match="in use by another task"):
                await conversation.ask("Me too")
            with pytest.raises(RuntimeError, match="in use by another task"):
                async with conversation.stream("Me too"):
                    raise AssertionError("it was opened")
    assert texts(conversation) == [("user", "Hi"), ("assistant", STORY)]


async def test_the_messages_may_be_used_by_other_calls(autojump_clock: object) -> None:
    async with opened(CALLING, DONE, DONE) as (cortex, _):
        conversation = Conversation(cortex, tools=[double])
        await conversation.ask("Double 2")
        reply = await run_tools(cortex, [*conversation.messages, user("Again")], [double])
    assert reply.text == "Done."
