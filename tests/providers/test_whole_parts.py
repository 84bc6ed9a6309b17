"""Parts that come whole, there and back: what a provider ran itself goes on, and images are kept."""

import json
from typing import Any

import attrs
import pytest
from at_rest import gateway
from conversation import MODELS_OF, Model

from cortex_trio import (
    CitationDelta,
    Finished,
    FinishReason,
    Image,
    Message,
    Opaque,
    Restarted,
    StreamInterrupted,
    Text,
    TextDelta,
    ToolCall,
    ToolResult,
    UsageUpdate,
    WholePart,
    assistant,
    user,
)
from cortex_trio.messages import ChatRequest
from cortex_trio.simulator import Behaviour, open_simulator
from cortex_trio.wire.server import Rejected


def block(**fields: Any) -> Opaque:
    kind = fields.get("type") or next(iter(fields))
    return Opaque(kind, json.dumps(fields, separators=(",", ":"), ensure_ascii=False))


SEARCH = block(type="server_tool_use", id="srvtoolu_1", name="web_search", input={"query": "Köln"})
FOUND = block(
    type="web_search_tool_result",
    tool_use_id="srvtoolu_1",
    content=[{"type": "web_search_result", "url": "https://example.org/", "encrypted_content": "E="}],
)
FETCH = block(
    type="server_tool_use", id="srvtoolu_2", name="web_fetch", input={"url": "https://example.org/"}
)
FETCHED = block(type="web_fetch_tool_result", tool_use_id="srvtoolu_2", content={"type": "web_fetch_result"})
CODE = block(executableCode={"language": "PYTHON", "code": "print(6 * 7)"}, thoughtSignature="c2lnbmVk")
RESULT = block(codeExecutionResult={"outcome": "OUTCOME_OK", "output": "42\n"})
PICTURE = Image(data=b"\x89PNG", media_type="image/png")
SIGNED = attrs.evolve(PICTURE, signature="c2lnbmVk")
WEB_SEARCH = {"tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 3}]}

OWN = {"anthropic": (SEARCH, FOUND), "gemini": (CODE, RESULT, SIGNED)}
"""What each of them says in parts that come whole."""


def stamped(name: str, *parts: Image | Opaque) -> tuple[Image | Opaque, ...]:
    origin = MODELS_OF[name][0].origin
    bound = [isinstance(part, Opaque) or part.signature for part in parts]
    return tuple(
        attrs.evolve(part, origin=origin) if b else part for part, b in zip(parts, bound, strict=True)
    )


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("name", OWN)
def test_they_arrive_in_their_place_and_the_provider_takes_them_back(name: str, stream: bool) -> None:
    own = MODELS_OF[name][0]
    asked = own.accept(own.encode(ChatRequest(messages=(user("Hi"),), stream=stream)))
    call = ToolCall("call_1", "now", '{"zone":"Oslo"}')
    behaviour = Behaviour(text="So.", parts=OWN[name], tool_calls=(call,), finish=FinishReason.TOOL_CALLS)
    message = own.answer(asked, behaviour) if stream else own.whole_answer(asked, behaviour)
    assert message.parts == (*stamped(name, *OWN[name]), Text("So."), call)
    http = own.encode(
        ChatRequest(messages=(user("Hi"), message, Message("tool", (ToolResult("call_1", "x"),))))
    )
    own.accept(http)


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize(
    "stranger", [models[0] for models in MODELS_OF.values()], ids=lambda model: model.name
)
def test_a_history_with_them_is_legal_everywhere_and_leaks_to_no_other(name: str, stranger: Model) -> None:
    parts = [part for part in stamped(name, *OWN[name]) if isinstance(part, Opaque)]
    request = ChatRequest(messages=(user("Hi"), assistant(*parts, "So."), user("And?")))
    sent = stranger.encode(request)
    stranger.accept(sent)
    fits = [json.dumps(part.parsed(), separators=(",", ":"), ensure_ascii=False) for part in parts]
    assert all((text in (sent.body or b"").decode()) is (stranger.name == name) for text in fits)


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_an_image_from_a_compatible_server_stands_behind_the_text(stream: bool) -> None:
    own = MODELS_OF["openai_compatible"][0]
    asked = own.accept(own.encode(ChatRequest(messages=(user("Hi"),), stream=stream)))
    behaviour = Behaviour(text="Here.", parts=(SEARCH, PICTURE))
    message = own.answer(asked, behaviour) if stream else own.whole_answer(asked, behaviour)
    assert message.parts == (Text("Here."), PICTURE)


@pytest.mark.parametrize(
    ("parts", "complaint"),
    [
        ((SEARCH, "So."), "`web_search` tool use with id `srvtoolu_1` was found without a corresponding"),
        ((FOUND, "So."), "unexpected `tool_use_id` found in `web_search_tool_result` blocks: srvtoolu_1"),
    ],
)
def test_the_provider_declines_a_call_of_its_own_without_a_result_and_we_never_send_one(
    parts: tuple[Any, ...], complaint: str
) -> None:
    own = MODELS_OF["anthropic"][0]
    request = ChatRequest(messages=(user("Hi"), assistant(*parts), user("And?")))
    own.accept(own.encode(request))
    said = [{"type": "text", "text": part} if isinstance(part, str) else part.parsed() for part in parts]
    raw = json.loads(own.encode(request).body or b"")
    raw["messages"][1]["content"] = said
    with pytest.raises(Rejected) as declined:
        own.accept(attrs.evolve(own.encode(request), body=json.dumps(raw).encode()))
    assert complaint in json.loads(declined.value.response.body)["error"]["message"]


async def test_a_paused_turn_is_sent_back_and_goes_on(autojump_clock: object) -> None:
    paused = Behaviour(text="", parts=(SEARCH, FOUND, FETCH), finish=FinishReason.PAUSE)
    async with open_simulator() as sim:
        sim.add("anthropic", paused, Behaviour(text="It rains.", parts=(FETCHED,)))
        async with gateway(sim) as cortex:
            question = user("How is the weather in Köln?")
            first = await cortex.complete(question, extra_body=WEB_SEARCH)
            assert first.finish_reason is FinishReason.PAUSE
            second = await cortex.complete([question, first.message], extra_body=WEB_SEARCH)
            assert (second.text, second.finish_reason) == ("It rains.", FinishReason.STOP)
            third = await cortex.complete([question, first.message, second.message, user("And Oslo?")])
    went_on, whole = (request.body["messages"][1] for request in sim["anthropic"].requests[-2:])
    said = [part.parsed() for part in (SEARCH, FOUND, FETCH)]
    assert went_on == {"role": "assistant", "content": said}
    assert whole["content"] == [*said, FETCHED.parsed(), {"type": "text", "text": "It rains."}]
    assert third.text == "It rains."


@pytest.mark.parametrize("name", OWN)
async def test_an_answer_of_nothing_else_is_not_empty(name: str, autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add(name, Behaviour(text="", parts=OWN[name][:1]))
        async with gateway(sim) as cortex:
            reply = await cortex.complete("Draw")
    assert reply.text == ""
    assert len(reply.message.parts) == 1
    assert reply.attempts[-1].time_to_first_token is not None


@pytest.mark.parametrize("how", ["restart", "continue"])
async def test_an_answer_in_which_the_provider_acted_is_not_begun_again(
    how: str, autojump_clock: object
) -> None:
    async with open_simulator() as sim:
        sim.add("anthropic", Behaviour(text="It rains.", parts=(SEARCH, FOUND), cut_after=3))
        sim.add("openai", Behaviour(text="It snows."))
        async with gateway(sim) as cortex, cortex.chat("The weather?", on_interrupt=how) as answer:
            async for event in answer:
                if event == WholePart(SEARCH):
                    break
            with pytest.raises(StreamInterrupted) as caught:
                await answer.collect()
        assert caught.value.partial.message.parts[0] == stamped("anthropic", SEARCH)[0]
        assert caught.value.partial.text == "It"
        assert not sim["openai"].requests


@pytest.mark.parametrize("how", ["restart", "continue"])
async def test_an_answer_with_an_image_begins_again(how: str, autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("gemini", Behaviour(text="This is a cat.", parts=(PICTURE,), cut_after=3))
        sim.add("openai", Behaviour(text="I cannot draw."))
        async with gateway(sim) as cortex, cortex.chat("Draw a cat", on_interrupt=how) as answer:
            events = [event async for event in answer if not isinstance(event, UsageUpdate)]
            reply = await answer.collect()
    assert events[:3] == [WholePart(PICTURE), TextDelta("This"), TextDelta(" is")]
    assert isinstance(events[3], Restarted)
    assert isinstance(events[-1], Finished)
    assert reply.message.parts == (Text("I cannot draw."),)


async def test_before_it_was_delivered_a_block_is_given_up_like_anything_else(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("anthropic", Behaviour(text="It rains.", parts=(SEARCH, FOUND), cut_after=2))
        sim.add("openai", Behaviour(text="It snows."))
        async with gateway(sim) as cortex:
            reply = await cortex.complete("The weather?")
    assert (reply.text, reply.worker) == ("It snows.", "openai")


async def test_a_continuation_hands_on_an_image_behind_the_text_before_it(autojump_clock: object) -> None:
    story = "Once upon a time there was a cat."
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(text=story, cut_after=4))
        sim.add("gemini", Behaviour(text=" there was a cat.", parts=(PICTURE,)))
        async with gateway(sim) as cortex, cortex.chat("Tell and draw", on_interrupt="continue") as answer:
            reply = await answer.collect()
    assert reply.message.parts == (Text("Once upon a time"), PICTURE, Text(" there was a cat."))


async def test_sources_of_an_answer_are_emitted_with_the_place_they_belong_to(autojump_clock: object) -> None:
    citations = (
        CitationDelta(0, 4, "Köln", ("https://example.org/1", "https://example.org/2")),
        CitationDelta(5, 6, "🌤", ("https://example.org/2",)),
    )
    async with open_simulator() as sim:
        sim.add("gemini", Behaviour(text="Köln 🌤 today", citations=citations))
        async with gateway(sim) as cortex:
            reply = await cortex.complete("The weather?")
    assert reply.citations == citations
