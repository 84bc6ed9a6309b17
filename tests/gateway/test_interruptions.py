"""What follows when an answer breaks off after something was delivered: raise, restart, continue, buffer."""

import json

import pytest
from at_rest import gateway

from cortex_trio import (
    CitationDelta,
    Continued,
    CortexError,
    Finished,
    LogprobsDelta,
    ProviderError,
    Restarted,
    StreamEvent,
    StreamInterrupted,
    TextDelta,
    ToolCall,
    ToolCallDelta,
)
from cortex_trio.failures import FailureKind
from cortex_trio.gateway.request.continuation import ContinuationDeduplicator
from cortex_trio.simulator import Behaviour, open_simulator
from cortex_trio.simulator.tokens import split_tokens

STORY = "Once upon a time there was a gateway that never lost a word of any story."
CUT = Behaviour(text=STORY, cut_after=6)


async def events_of(script: dict[str, Behaviour], how: str) -> list[StreamEvent]:
    async with open_simulator() as sim:
        for name, behaviour in script.items():
            sim.add(name, behaviour)
        async with gateway(sim) as cortex, cortex.chat("Tell me", on_interrupt=how) as answer:
            return [event async for event in answer]


def text_after(events: list[StreamEvent], kind: type) -> str:
    place = next(index for index, event in enumerate(events) if isinstance(event, kind))
    return "".join(event.text for event in events[place:] if isinstance(event, TextDelta))


def whole_text(events: list[StreamEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


async def test_raise_hands_over_what_there_is(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("openai", CUT)
        sim.add("anthropic", Behaviour(text=STORY))
        async with gateway(sim) as cortex, cortex.chat("Tell me") as answer:
            with pytest.raises(StreamInterrupted) as caught:
                await answer.collect()
        assert caught.value.partial.text == "Once upon a time there was"
        assert caught.value.failure.kind is FailureKind.TRUNCATED
        assert [attempt.worker for attempt in caught.value.attempts] == ["openai"]
        assert not sim["anthropic"].requests


async def test_restart_says_so_and_gives_a_whole_new_answer(autojump_clock: object) -> None:
    events = await events_of({"openai": CUT, "anthropic": Behaviour(text=STORY)}, "restart")
    assert [event.worker for event in events if isinstance(event, Restarted)] == ["anthropic"]
    assert text_after(events, Restarted) == STORY
    assert isinstance(events[-1], Finished)


async def test_the_reply_of_a_restarted_answer_holds_only_the_new_one(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("openai", CUT)
        sim.add("anthropic", Behaviour(text=STORY))
        async with gateway(sim) as cortex, cortex.chat("Tell me", on_interrupt="restart") as answer:
            reply = await answer.collect()
    assert reply.text == STORY
    assert reply.worker == "anthropic"
    assert [attempt.worker for attempt in reply.attempts] == ["openai", "anthropic"]


async def test_restart_without_another_worker_raises_with_the_first_cause(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("openai", CUT)
        sim.add("anthropic", Behaviour(error=FailureKind.OVERLOADED))
        async with gateway(sim) as cortex, cortex.chat("Tell me", on_interrupt="restart") as answer:
            with pytest.raises(StreamInterrupted) as caught:
                await answer.collect()
    assert caught.value.worker == "openai"
    assert caught.value.partial.text == "Once upon a time there was"
    assert isinstance(caught.value.__cause__, CortexError)


@pytest.mark.parametrize("how", ["restart", "continue"])
async def test_never_again_after_a_tool_call_was_delivered(how: str, autojump_clock: object) -> None:
    call = ToolCall("call_1", "book_flight", '{"to":"Oslo"}')
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(text="", tool_calls=(call,), cut_after=2))
        sim.add("anthropic", Behaviour(text=STORY))
        async with gateway(sim) as cortex, cortex.chat("Book it", on_interrupt=how) as answer:
            assert isinstance(await anext(aiter(answer)), ToolCallDelta)
            with pytest.raises(StreamInterrupted):
                await answer.collect()
        assert not sim["anthropic"].requests


async def test_buffer_delivers_nothing_before_the_answer_is_whole(autojump_clock: object) -> None:
    events = await events_of({"openai": CUT, "anthropic": Behaviour(text="Another story.")}, "buffer")
    assert whole_text(events) == "Another story."
    assert not any(isinstance(event, Restarted | Continued) for event in events)


async def test_complete_hides_the_cut_altogether(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("openai", CUT)
        sim.add("anthropic", Behaviour(text=STORY))
        async with gateway(sim, max_attempts=4) as cortex:
            reply = await cortex.complete("Tell me")
    assert reply.text == STORY


async def test_continue_goes_on_from_an_assistant_prefix_where_the_model_accepts_one(
    autojump_clock: object,
) -> None:
    async with open_simulator() as sim:
        sim.add("openai", CUT)
        sim.add("ollama", Behaviour(text=STORY.removeprefix("Once upon a time there was")))
        async with gateway(sim) as cortex, cortex.chat("Tell me", on_interrupt="continue") as answer:
            events = [event async for event in answer]
        assert whole_text(events) == STORY
        [continued] = [event for event in events if isinstance(event, Continued)]
        assert (continued.worker, continued.offset) == ("ollama", len("Once upon a time there was"))
        assert sim["ollama"].requests[-1].body["messages"][-1] == {
            "role": "assistant",
            "content": "Once upon a time there was",
        }


async def test_continue_asks_in_a_user_turn_elsewhere_and_leaves_out_what_is_repeated(
    autojump_clock: object,
) -> None:
    async with open_simulator() as sim:
        sim.add("openai", CUT)
        sim.add("groq", Behaviour(text=STORY.removeprefix("Once ")))  # it begins again, almost at the start
        async with gateway(sim) as cortex, cortex.chat("Tell me", on_interrupt="continue") as answer:
            reply = await answer.collect()
        assert reply.text == STORY
        assert [turn["role"] for turn in sim["groq"].requests[-1].body["messages"]] == [
            "user",
            "assistant",
            "user",
        ]


async def test_citations_of_a_continuation_have_no_position_in_the_whole_answer(
    autojump_clock: object,
) -> None:
    """Theirs count in their own answer, of which perhaps only the end is delivered."""
    async with open_simulator() as sim:
        sim.add("openai", CUT)
        cited = CitationDelta(0, 4, "Once", ("https://tales.example/1",))
        sim.add("cohere", Behaviour(text=STORY, citations=(cited,)))
        async with gateway(sim) as cortex, cortex.chat("Tell me", on_interrupt="continue") as answer:
            reply = await answer.collect()
        assert reply.text == STORY
        [found] = reply.citations
        assert (found.start, found.end, found.text) == (None, None, "Once")


LOGPROBS = {"logprobs": True, "top_logprobs": 1}


@pytest.mark.parametrize("how", ["restart", "continue"])
@pytest.mark.parametrize("repeated", ["", "a time there was", "Once upon a time there was"])
async def test_log_probabilities_are_those_of_the_text_that_was_delivered(
    how: str, repeated: str, autojump_clock: object
) -> None:
    """A restart discards those of the first answer; a continuation has none of the text that it repeats."""
    rest = STORY.removeprefix("Once upon a time there was")
    async with open_simulator() as sim:
        sim.add("openai", CUT)
        sim.add("groq", Behaviour(text=STORY if how == "restart" else repeated + rest))
        options = {"on_interrupt": how, "extra_body": LOGPROBS}
        async with gateway(sim) as cortex, cortex.chat("Tell me", **options) as answer:
            events = [event async for event in answer]
            reply = answer.reply_so_far
    assert reply.text == STORY
    assert "".join(token.token for token in reply.logprobs) == STORY
    tokens = [token for event in events if isinstance(event, LogprobsDelta) for token in event.tokens]
    before = 0 if how == "continue" else len(tokens) - len(reply.logprobs)
    assert tokens[before:] == list(reply.logprobs)
    assert before == (0 if how == "continue" else CUT.cut_after)


async def test_an_interrupted_answer_keeps_what_came(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("ollama", CUT)
        async with gateway(sim) as cortex, cortex.chat("Tell me", extra_body=LOGPROBS) as answer:
            with pytest.raises(StreamInterrupted) as caught:
                await answer.collect()
    assert "".join(token.token for token in caught.value.partial.logprobs) == caught.value.partial.text


async def test_the_field_of_log_probabilities_goes_to_every_worker_as_it_is(autojump_clock: object) -> None:
    """Cohere and Ollama have the name of chat completions, so their tokens come; Gemini refuses the request."""
    down = Behaviour(error=FailureKind.OVERLOADED)
    for name in ("cohere", "ollama", "gemini"):
        async with open_simulator() as sim:
            sim.add("openai", down)
            sim.add(name, Behaviour(text=STORY))
            async with gateway(sim) as cortex:
                if name == "gemini":
                    with pytest.raises(ProviderError) as caught:
                        await cortex.complete("Tell me", extra_body={"logprobs": True})
                    assert caught.value.failure.kind is FailureKind.BAD_REQUEST
                    continue
                reply = await cortex.complete("Tell me", extra_body={"logprobs": True})
            assert reply.worker == name
            assert "".join(token.token for token in reply.logprobs) == STORY


async def test_if_no_worker_continues_the_others_are_asked_for_a_whole_answer(
    autojump_clock: object,
) -> None:
    async with open_simulator() as sim:
        sim.add("openai", CUT)
        sim.add(
            "anthropic", Behaviour(error=FailureKind.BAD_REQUEST), Behaviour(error=FailureKind.OVERLOADED)
        )
        sim.add("groq", Behaviour(text=STORY))
        async with gateway(sim) as cortex, cortex.chat("Tell me", on_interrupt="continue") as answer:
            events = [event async for event in answer]
        assert [event.worker for event in events if isinstance(event, Restarted)] == ["groq"]
        assert text_after(events, Restarted) == STORY


async def test_continue_falls_back_to_a_whole_answer_when_the_prefix_is_refused(
    autojump_clock: object,
) -> None:
    refusal = Behaviour(error=FailureKind.BAD_REQUEST)
    async with open_simulator() as sim:
        sim.add("openai", CUT)
        sim.add("anthropic", refusal, Behaviour(text=STORY))
        async with gateway(sim) as cortex, cortex.chat("Tell me", on_interrupt="continue") as answer:
            events = [event async for event in answer]
        assert text_after(events, Restarted) == STORY
        [restarted] = [event for event in events if isinstance(event, Restarted)]
        assert restarted.failure.kind is FailureKind.TRUNCATED, "the first cause is kept"


def joined(delivered: str, pieces: list[str]) -> str:
    overlap = ContinuationDeduplicator(delivered)
    return "".join([*(overlap.feed(piece) for piece in pieces), overlap.finish()])


@pytest.mark.parametrize(
    ("delivered", "continuation", "new"),
    [
        ("The quick brown fox jumps", " over the dog.", " over the dog."),
        ("The quick brown fox jumps", "The quick brown fox jumps over.", " over."),
        ("The quick brown fox jumps", "quick brown fox jumps over.", " over."),
        ("The quick brown fox jumps", "jumps over.", "jumps over."),  # five letters may be chance
        ("Hi", "Hi there", " there"),  # all there is of the first part
        ("ends with a blank ", " and goes on", "and goes on"),
        ("aaaaaaaaaaaaaaaaaaaa", "aaaaaaaaaaaaaaaaaaaab", "b"),
        ("whole and all of it", "whole and all of it", ""),
        ("something", "", ""),
    ],
)
def test_a_continuation_is_joined_at_every_slicing(delivered: str, continuation: str, new: str) -> None:
    assert joined(delivered, [continuation]) == new
    assert joined(delivered, list(continuation)) == new
    for cut in range(len(continuation)):
        assert joined(delivered, [continuation[:cut], continuation[cut:]]) == new


def test_text_that_cannot_be_a_repetition_is_not_held_back() -> None:
    overlap = ContinuationDeduplicator("The quick brown fox jumps over the lazy dog")
    assert overlap.feed("zebra") == "zebra"
    assert overlap.feed("The quick") == "The quick"


# ------------------------------------------------------------------ inside a tool call

CALL = ToolCall("call_1", "get_weather", '{"city": "Paris", "days": 3, "unit": "celsius"}')


@pytest.mark.parametrize("how", ["restart", "continue"])
@pytest.mark.parametrize("first", ["openai", "anthropic", "cohere", "openai_responses"])
async def test_a_tool_call_that_is_not_whole_yet_begins_again(
    first: str, how: str, autojump_clock: object
) -> None:
    script = {
        first: Behaviour(text="", tool_calls=[CALL], cut_after=3),
        "gemini": Behaviour(text="", tool_calls=[CALL]),
    }
    events = await events_of(script, how)
    assert [event.worker for event in events if isinstance(event, Restarted)] == ["gemini"]
    place = next(index for index, event in enumerate(events) if isinstance(event, Restarted))
    pieces = [event.arguments for event in events[place:] if isinstance(event, ToolCallDelta)]
    assert json.loads("".join(pieces)) == CALL.parsed()


@pytest.mark.parametrize("how", ["restart", "continue"])
async def test_a_whole_call_before_one_that_was_cut_ends_it_all_the_same(
    how: str, autojump_clock: object
) -> None:
    whole, cut = ToolCall("call_0", "pay", '{"sum":1}'), CALL
    pieces = 1 + len(split_tokens(whole.arguments))
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(text="", tool_calls=[whole, cut], cut_after=pieces + 3))
        sim.add("anthropic", Behaviour(text="", tool_calls=[whole, cut]))
        async with gateway(sim) as cortex, cortex.chat("Tell me", on_interrupt=how) as answer:
            with pytest.raises(StreamInterrupted) as caught:
                await answer.collect()
        assert not sim["anthropic"].requests
    assert [call.complete for call in caught.value.partial.tool_calls] == [True, False]


# ------------------------------------------------------------------ looking ahead


async def test_peek_returns_what_is_delivered_later_and_hides_a_cut(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(text="", tool_calls=[CALL], cut_after=2))
        sim.add("anthropic", Behaviour(text=STORY))
        async with gateway(sim) as cortex, cortex.chat("Tell me") as answer:
            first = await answer.peek(lambda event: isinstance(event, TextDelta))
            assert first == TextDelta("Once")
            assert answer.text_so_far == ""
            assert (await answer.collect()).text == STORY
            with pytest.raises(RuntimeError, match="something was delivered already"):
                await answer.peek(lambda _: True)
    assert answer.worker == "anthropic"


async def test_peek_without_another_worker_raises_as_entering_does(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(text="", tool_calls=[CALL], cut_after=2))
        async with gateway(sim, max_attempts=1) as cortex, cortex.chat("Tell me") as answer:
            with pytest.raises(CortexError, match="truncated"):
                await answer.peek(lambda event: isinstance(event, TextDelta))
