"""The tool loop: rounds, results, errors that go to the model and errors that do not, failover, cancellation."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio

from cortex_trio import (
    AllWorkersFailed,
    Cortex,
    CortexError,
    FinishReason,
    Image,
    InvalidRequest,
    Opaque,
    Reply,
    RoundEnded,
    RoundStarted,
    Text,
    Tool,
    ToolAbort,
    ToolCall,
    ToolEnded,
    ToolResult,
    ToolStarted,
    TooManyRounds,
    assistant,
    run_tools,
    user,
)
from cortex_trio.failures import FailureKind
from cortex_trio.simulator import Behaviour, Simulator, open_gateway, open_simulator

PIXEL = b"\x89PNG\r\n\x1a\n"
DONE = Behaviour(text="Done.")
WRONG = "the arguments are wrong and the tool was not run: "


def calls(*wanted: tuple[str, Any], **more: Any) -> Behaviour:
    """Return an answer that calls tools: (name, arguments)."""
    return Behaviour(
        text="",
        tool_calls=[
            ToolCall(f"call_{n}", name, arguments if isinstance(arguments, str) else json.dumps(arguments))
            for n, (name, arguments) in enumerate(wanted, 1)
        ],
        **more,
    )


@asynccontextmanager
async def asked(
    *script: Behaviour, provider: str = "openai", **others: Sequence[Behaviour]
) -> AsyncIterator[tuple[Cortex, Simulator]]:
    async with open_simulator() as sim:
        sim.add(provider, *script)
        for name, behaviours in others.items():
            sim.add(name, *behaviours)
        async with open_gateway(sim) as cortex:
            yield cortex, sim


def double(n: int) -> int:
    """Double a number."""
    return 2 * n


async def slow_double(n: int) -> int:
    """Double a number, later."""
    await trio.sleep(n)
    return 2 * n


def fail(n: int) -> None:
    """Fail."""
    raise ValueError(f"bad {n}")


async def results_of(*wanted: tuple[str, Any], tools: Sequence[Any], **more: Any) -> list[ToolResult]:
    """Return the results that one round of calls gave."""
    async with asked(calls(*wanted, **more), DONE) as (cortex, _):
        reply = await run_tools(cortex, "Go", tools)
    return list(reply.rounds[0].results)


# ------------------------------------------------------------------ rounds


async def test_tools_are_run_until_there_is_an_answer(autojump_clock: object) -> None:
    script = [calls(("double", {"n": 2})), calls(("double", {"n": 4})), DONE]
    async with asked(*script) as (cortex, sim):
        reply = await run_tools(cortex, "Double 2 twice", [double])
    assert reply.text == "Done."
    assert [len(each.tool_calls) for each in reply.rounds] == [1, 1, 0]
    assert [result.content for each in reply.rounds for result in each.results] == ["4", "8"]
    assert [message.role for each in reply.rounds for message in each.messages] == [
        "assistant",
        "tool",
        "assistant",
        "tool",
        "assistant",
    ]
    assert reply.message == reply.rounds[-1].message
    sent = sim["openai"].requests[-1].body["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "tool", "assistant", "tool"]


async def test_usage_and_attempts_are_those_of_all_rounds(autojump_clock: object) -> None:
    async with asked(calls(("double", {"n": 2})), DONE) as (cortex, _):
        reply = await run_tools(cortex, "Go", [double])
    rounds = [each.usage.total_tokens or 0 for each in reply.rounds]
    assert len(rounds) == 2
    assert reply.usage.total_tokens == sum(rounds)
    assert len(reply.attempts) == 2


async def test_an_answer_without_calls_is_one_round(autojump_clock: object) -> None:
    async with asked(DONE) as (cortex, sim):
        reply = await run_tools(cortex, "Hi", [double], model=None, temperature=0.5)
    assert (reply.text, len(reply.rounds)) == ("Done.", 1)
    assert sim["openai"].requests[0].body["temperature"] == 0.5
    assert sim["openai"].requests[0].body["tools"][0]["function"]["name"] == "double"


async def test_no_tools_at_all_are_allowed(autojump_clock: object) -> None:
    async with asked(DONE) as (cortex, sim):
        assert (await run_tools(cortex, "Hi", [])).text == "Done."
    assert "tools" not in sim["openai"].requests[0].body


@pytest.mark.parametrize(
    "provider", ["openai", "openai_responses", "anthropic", "gemini", "groq", "xai", "cohere", "ollama"]
)
async def test_the_loop_works_in_every_dialect(provider: str, autojump_clock: object) -> None:
    async with asked(calls(("double", {"n": 2}), ("double", {"n": 3})), DONE, provider=provider) as (
        cortex,
        sim,
    ):
        reply = await run_tools(cortex, "Go", [double])
    assert reply.text == "Done."
    assert [result.content for result in reply.rounds[0].results] == ["4", "6"]
    assert len(sim[provider].requests) == 2


async def test_too_many_rounds_is_an_error_with_the_rounds(autojump_clock: object) -> None:
    ran = []

    def again() -> str:
        ran.append(1)
        return "again"

    async with asked(calls(("again", {}))) as (cortex, sim):
        with pytest.raises(TooManyRounds, match=r"no answer after 3 rounds .* calls again") as caught:
            await run_tools(cortex, "Go", [again], max_rounds=3)
    assert isinstance(caught.value, CortexError)
    assert len(caught.value.rounds) == len(sim["openai"].requests) == 3
    assert len(ran) == 2  # results that no model would read are not made


async def test_a_required_choice_counts_for_the_first_round(autojump_clock: object) -> None:
    async with asked(calls(("double", {"n": 1})), DONE) as (cortex, sim):
        await run_tools(cortex, "Go", [double], tool_choice="double")
    bodies = [request.body for request in sim["openai"].requests]
    assert ["tool_choice" in body for body in bodies] == [True, False]


async def test_a_pause_goes_on(autojump_clock: object) -> None:
    searching = Opaque(
        "server_tool_use", '{"type":"server_tool_use","id":"srvtoolu_1","name":"web_search","input":{}}'
    )
    paused = Behaviour(text="Searching.", parts=[searching], finish=FinishReason.PAUSE)
    async with asked(paused, DONE, provider="anthropic") as (cortex, sim):
        reply = await run_tools(cortex, "Go", [double])
    assert reply.text == "Done."
    assert [each.reply.finish_reason for each in reply.rounds] == [FinishReason.PAUSE, FinishReason.STOP]
    assert sim["anthropic"].requests[1].body["messages"][-1]["role"] == "assistant"


# ------------------------------------------------------------------ arguments and results


@attrs.frozen
class Place:
    lat: float
    lon: float = 0.0


async def test_arguments_are_values_of_the_annotated_types(autojump_clock: object) -> None:
    got = []

    async def locate(place: Place, deep: bool = True) -> Place:
        got.append((place, deep))
        return attrs.evolve(place, lon=1.5)

    [result] = await results_of(("locate", {"place": {"lat": 1}}), tools=[locate])
    assert got == [(Place(1.0), True)]
    assert json.loads(str(result.content)) == {"lat": 1.0, "lon": 1.5}


async def test_what_a_tool_returns_becomes_its_result(autojump_clock: object) -> None:
    def text() -> str:
        return "plain"

    def nothing() -> None: ...

    def parts() -> list[Text | Image]:
        return [Text("see"), Image(data=PIXEL, media_type="image/png")]

    def own() -> ToolResult:
        return ToolResult("", "no such file", is_error=True)

    wanted: list[tuple[str, Any]] = [(tool.__name__, {}) for tool in (text, nothing, parts, own)]
    plain, none, picture, error = await results_of(*wanted, tools=[text, nothing, parts, own])
    assert (plain.content, none.content) == ("plain", "null")
    assert picture.content == (Text("see"), Image(data=PIXEL, media_type="image/png"))
    assert (error.tool_call_id, error.name, error.is_error) == ("call_4", "own", True)


async def test_an_error_of_a_tool_goes_to_the_model_without_a_traceback(autojump_clock: object) -> None:
    [result] = await results_of(("fail", {"n": 3}), tools=[fail])
    assert result == ToolResult("call_1", "ValueError: bad 3", "fail", is_error=True)


async def test_errors_of_a_tools_own_nursery_go_to_the_model_one_by_one(autojump_clock: object) -> None:
    async def both() -> None:
        async def raise_(text: str) -> None:
            raise OSError(text)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(raise_, "first")
            nursery.start_soon(raise_, "first")

    [result] = await results_of(("both", {}), tools=[both])
    assert result.content == "OSError: first; OSError: first"


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (("double", {"n": "2"}), f"{WRONG}n: an integer is needed, not a string ('2')"),
        (("double", {"m": 2}), f"{WRONG}n: missing; m: unknown; allowed are n"),
        (("double", "[1]"), f"{WRONG}arguments of tool call 'double' are a JSON list, not an object"),
        (("triple", {"n": 2}), "there is no tool 'triple'; there are: double, fail"),
    ],
)
async def test_a_wrong_call_is_an_error_that_the_model_can_correct(
    call: tuple[str, Any], text: str, autojump_clock: object
) -> None:
    async with asked(calls(call), calls(("double", {"n": 2})), DONE) as (cortex, _):
        reply = await run_tools(cortex, "Go", [double, fail])
    [wrong] = reply.rounds[0].results
    assert wrong.is_error
    assert wrong.content == text
    assert [result.content for result in reply.rounds[1].results] == ["4"]


@pytest.mark.parametrize("finish", [FinishReason.LENGTH, FinishReason.STOP])
async def test_a_call_that_was_cut_is_not_run_and_the_history_stays_valid(
    finish: FinishReason, autojump_clock: object
) -> None:
    got = await results_of(("double", {"n": 2}), ("double", '{"n": 12'), tools=[double], finish=finish)
    assert [result.is_error for result in got] == [False, True]
    assert ("cut at the token limit" in str(got[1].content)) is (finish is FinishReason.LENGTH)


async def test_a_custom_tool_gets_the_text(autojump_clock: object) -> None:
    tool = Tool("run", "Run it.", kind="custom", function=lambda code: f"ran {code}")
    call = Behaviour(text="", tool_calls=[ToolCall("call_1", "run", "1 + 1", kind="custom")])
    async with asked(call, DONE) as (cortex, _):
        reply = await run_tools(cortex, "Go", [tool])
    assert [result.content for result in reply.rounds[0].results] == ["ran 1 + 1"]


async def test_an_answer_without_calls_that_was_cut_is_the_answer(autojump_clock: object) -> None:
    async with asked(Behaviour(text="Half", finish=FinishReason.LENGTH)) as (cortex, _):
        reply = await run_tools(cortex, "Go", [double])
    assert (reply.text, reply.finish_reason) == ("Half", FinishReason.LENGTH)


async def test_calls_of_an_answer_that_was_filtered_are_not_run(autojump_clock: object) -> None:
    async with asked(calls(("double", {"n": 1}), finish=FinishReason.CONTENT_FILTER)) as (cortex, sim):
        reply = await run_tools(cortex, "Go", [double])
    assert (reply.finish_reason, reply.rounds[0].results) == (FinishReason.CONTENT_FILTER, ())
    assert len(sim["openai"].requests) == 1


async def test_calls_for_a_tool_without_a_function_are_left_to_the_caller(autojump_clock: object) -> None:
    ran = []

    def mine() -> None:
        ran.append(1)

    yours = Tool("yours", "Yours.", {"type": "object", "properties": {}})
    async with asked(calls(("mine", {}), ("yours", {})), DONE) as (cortex, _):
        reply = await run_tools(cortex, "Go", [mine, yours])
    assert [call.name for call in reply.tool_calls] == ["mine", "yours"]
    assert reply.finish_reason is FinishReason.TOOL_CALLS
    assert (ran, reply.rounds[0].results) == ([], ())


async def test_a_tool_value_with_a_function_is_run_under_its_own_name(autojump_clock: object) -> None:
    tool = Tool.from_function(double, name="twice", description="Twice.")
    assert [r.content for r in await results_of(("twice", {"n": 4}), tools=[tool])] == ["8"]


# ------------------------------------------------------------------ side by side


async def test_calls_run_side_by_side_and_results_stay_in_order(autojump_clock: object) -> None:
    async with asked(calls(*(("slow_double", {"n": n}) for n in (3, 1, 2))), DONE) as (cortex, _):
        started = trio.current_time()
        reply = await run_tools(cortex, "Go", [slow_double])
        assert trio.current_time() - started == pytest.approx(3.0, abs=0.5)
    assert [result.content for result in reply.rounds[0].results] == ["6", "2", "4"]


async def test_max_parallel_bounds_how_many_run(autojump_clock: object) -> None:
    running, most = 0, 0

    async def work(n: int) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await trio.sleep(1)
        running -= 1

    async with asked(calls(*(("work", {"n": n}) for n in range(7))), DONE) as (cortex, _):
        await run_tools(cortex, "Go", [work], max_parallel=3)
    assert most == 3


async def test_cancelling_cancels_the_tools(autojump_clock: object) -> None:
    ended = []

    async def wait() -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append(trio.current_effective_deadline() == -float("inf"))

    async with asked(calls(("wait", {}), ("wait", {}))) as (cortex, _):
        with trio.move_on_after(5) as scope:
            await run_tools(cortex, "Go", [wait])
    assert scope.cancelled_caught
    assert ended == [True, True]


async def test_abort_ends_everything_with_the_exception_itself(autojump_clock: object) -> None:
    ended = []

    async def wait() -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append(1)

    async def stop() -> None:
        await trio.sleep(1)
        raise ToolAbort("the user said stop")

    async with asked(calls(("wait", {}), ("stop", {}), ("stop", {}))) as (cortex, _):
        with pytest.raises(ToolAbort, match="the user said stop"):
            await run_tools(cortex, "Go", [wait, stop])
    assert ended == [1]


async def test_an_abort_inside_a_tools_own_nursery_comes_out_flat(autojump_clock: object) -> None:
    async def stop() -> None:
        async def inner() -> None:
            raise ToolAbort("enough")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(inner)

    async with asked(calls(("stop", {}))) as (cortex, _):
        with pytest.raises(ToolAbort, match="enough"):
            await run_tools(cortex, "Go", [stop])


async def test_an_interrupt_in_a_tool_comes_out_as_itself(autojump_clock: object) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    async with asked(calls(("interrupt", {}), ("interrupt", {}))) as (cortex, _):
        with pytest.raises(KeyboardInterrupt):
            await run_tools(cortex, "Go", [interrupt])


# ------------------------------------------------------------------ failover


async def test_failover_happens_between_rounds(autojump_clock: object) -> None:
    first, second = [calls(("double", {"n": 2})), Behaviour(status=503)], [DONE]
    async with asked(*first, anthropic=second) as (cortex, sim):
        reply = await run_tools(cortex, "Go", [double])
    assert (reply.worker, reply.text) == ("anthropic", "Done.")
    assert [each.reply.worker for each in reply.rounds] == ["openai", "anthropic"]
    sent = sim["anthropic"].requests[0].body["messages"]
    assert sent[-1]["content"][0]["type"] == "tool_result"


async def test_failover_happens_inside_a_tool_call(autojump_clock: object) -> None:
    """The first worker breaks off in the middle of the arguments; no part of its call is run."""
    ran: list[int] = []

    def note(n: int) -> str:
        ran.append(n)
        return "noted"

    cut = calls(("note", {"n": 1234567}), cut_after=2)
    async with asked(cut, anthropic=[calls(("note", {"n": 7})), DONE]) as (cortex, _):
        reply = await run_tools(cortex, "Go", [note])
    assert (reply.text, ran) == ("Done.", [7])
    kinds = [attempt.failure.kind if attempt.failure else None for attempt in reply.attempts]
    assert kinds[0] is FailureKind.TRUNCATED
    assert [each.reply.worker for each in reply.rounds] == ["anthropic", "anthropic"]


async def test_a_failure_of_all_workers_is_raised_as_by_complete(autojump_clock: object) -> None:
    async with asked(calls(("double", {"n": 2})), Behaviour(status=500), groq=[Behaviour(status=503)]) as (
        cortex,
        _,
    ):
        with pytest.raises(AllWorkersFailed):
            await run_tools(cortex, "Go", [double], max_attempts=2)


# ------------------------------------------------------------------ events


async def test_events_report_rounds_and_tools(autojump_clock: object) -> None:
    events: list[Any] = []
    async with asked(calls(("slow_double", {"n": 2})), DONE) as (cortex, _):
        await run_tools(cortex, "Go", [slow_double], on_event=events.append)
    assert [type(event) for event in events] == [
        RoundStarted,
        ToolStarted,
        ToolEnded,
        RoundEnded,
        RoundStarted,
        RoundEnded,
    ]
    ended = events[2]
    assert (ended.round, ended.tool_call.name, ended.result.content) == (1, "slow_double", "4")
    assert ended.seconds == pytest.approx(2.0, abs=0.1)
    assert [event.results for event in events if isinstance(event, RoundEnded)] == [(ended.result,), ()]
    assert isinstance(events[-1].reply, Reply)


async def test_an_async_observer_is_awaited_and_its_error_ends_everything(autojump_clock: object) -> None:
    seen = []

    async def on_event(event: object) -> None:
        await trio.sleep(0.1)
        seen.append(event)
        if isinstance(event, ToolEnded):
            raise OSError("the screen is gone")

    async with asked(calls(("double", {"n": 2})), DONE) as (cortex, _):
        with pytest.raises(OSError, match="the screen is gone"):
            await run_tools(cortex, "Go", [double], on_event=on_event)
    assert [type(event) for event in seen] == [RoundStarted, ToolStarted, ToolEnded]


# ------------------------------------------------------------------ wrong use


async def test_a_history_that_ends_with_calls_is_an_error_before_anything_is_sent(
    autojump_clock: object,
) -> None:
    history = [user("Go"), assistant(ToolCall("call_1", "double", "{}"))]
    async with asked(DONE) as (cortex, sim):
        problem = r"messages\[1\]: the results of its tool calls are needed after it: double \(call_1\)"
        with pytest.raises(InvalidRequest, match=problem):
            await run_tools(cortex, history, [double])
        with pytest.raises(InvalidRequest, match=problem):
            await cortex.complete(history)
        with pytest.raises(
            InvalidRequest, match=r"tools\[1\]\.name: 'double' is the name of tools\[0\] already"
        ):
            await cortex.complete("Go", tools=[Tool.from_function(double)] * 2)
    assert sim["openai"].requests == []


def unannotated(n): ...  # type: ignore[no-untyped-def]


@pytest.mark.parametrize(
    ("tools", "more", "text"),
    [
        ([double, double], {}, r"tools\[1\]\.name: 'double' is the name of tools\[0\] already"),
        ([double, unannotated], {}, r"tools\[1\]: tool unannotated: parameter n needs an annotation"),
        ([5], {}, r"tools\[0\]: tool: a function or a Tool is needed, not int"),
        ("double", {}, "tools: a sequence of functions and tools, not str"),
        (double, {}, "tools: a sequence of functions and tools, not function"),
        ([double], {"max_rounds": 0}, "max_rounds: a positive whole number is allowed, not 0"),
        ([double], {"max_parallel": True}, "max_parallel: a positive whole number"),
        ([double], {"response_type": int}, "response_type: run_tools returns a Reply"),
        ([double], {"temperature": "hot"}, "temperature: "),
    ],
)
async def test_wrong_use_is_an_error_before_anything_is_sent(
    tools: Any, more: dict[str, Any], text: str, autojump_clock: object
) -> None:
    async with asked(DONE) as (cortex, sim):
        with pytest.raises(InvalidRequest, match=text):
            await run_tools(cortex, "Go", tools, **more)
    assert sim["openai"].requests == []
