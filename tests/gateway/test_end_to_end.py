"""What a user does with the gateway, from `open_cortex` to the last event, against simulated providers."""

import logging
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest
import trio
import trio.testing
from at_rest import gateway, nobody_is_connected, worker_of

from cortex_trio import (
    AllWorkersFailed,
    Attempt,
    Cortex,
    FailureKind,
    File,
    Finished,
    FinishReason,
    Image,
    InvalidRequest,
    NoWorkersAvailable,
    ProviderError,
    Reply,
    TextDelta,
    Tool,
    ToolCall,
    ToolResult,
    UsageUpdate,
    WorkerAdded,
    WorkerRemoved,
    open_cortex,
    system,
    user,
)
from cortex_trio.messages import Message
from cortex_trio.otp import MaxRestartsExceeded, NoProcess
from cortex_trio.simulator import Behaviour, Simulator, open_simulator

DIALECTS = ("openai", "groq", "xai", "anthropic", "gemini", "cohere", "ollama")
dialects = pytest.mark.parametrize("dialect", DIALECTS)
PNG = b"\x89PNG\r\n\x1a\n" + bytes(16)


# ------------------------------------------------------------------ an answer


@dialects
async def test_an_answer_can_be_read_as_text_as_events_or_whole(dialect: str) -> None:
    async with open_simulator() as sim:
        sim.add(dialect, Behaviour(text="Hello, dear reader."))
        async with gateway(sim) as cortex:
            async with cortex.chat("Hi") as answer:
                pieces = [piece async for piece in answer.text()]
            async with cortex.chat("Hi") as answer:
                events = [event async for event in answer]
            async with cortex.chat("Hi") as answer:
                reply = await answer.collect()
            completed = await cortex.complete("Hi")
    assert pieces == ["Hello,", " dear", " reader."]
    assert [event.text for event in events if isinstance(event, TextDelta)] == pieces
    assert isinstance(events[-1], Finished)
    assert events[-1].reason is FinishReason.STOP
    assert any(isinstance(event, UsageUpdate) for event in events)
    assert reply.text == completed.text == "Hello, dear reader."
    assert (reply.worker, reply.provider) == (dialect, dialect)
    assert reply.usage == completed.usage == answer.usage
    assert reply.usage.output_tokens == 3


@dialects
async def test_a_tool_is_called_answered_and_the_conversation_goes_on(dialect: str) -> None:
    weather = Tool("weather", "The weather.", {"type": "object", "properties": {"city": {"type": "string"}}})
    call = ToolCall("call_1", "weather", '{"city": "Oslo"}')
    async with open_simulator() as sim:
        provider = sim.add(dialect, Behaviour(text="", tool_calls=[call]), Behaviour(text="It rains."))
        async with gateway(sim) as cortex:
            asked = [system("Be brief."), user("The weather in Oslo?")]
            async with cortex.chat(asked, tools=[weather]) as answer:
                first = await answer.collect()
            (called,) = first.tool_calls
            result = ToolResult(called.id, "rain, 8 degrees", name=called.name)
            second = await cortex.complete(
                [*asked, first.message, Message("tool", [result])], tools=[weather]
            )
    assert first.finish_reason is FinishReason.TOOL_CALLS
    assert (called.name, called.parsed()) == ("weather", {"city": "Oslo"})
    assert (second.text, second.finish_reason) == ("It rains.", FinishReason.STOP)
    assert "rain, 8 degrees" in str(provider.requests[1].body)
    assert len(provider.requests) == 2


@dialects
async def test_an_image_reaches_the_provider(dialect: str) -> None:
    async with open_simulator() as sim:
        provider = sim.add(dialect, Behaviour(text="A dot."))
        async with gateway(sim) as cortex:
            reply = await cortex.complete(user("What is it?", Image(data=PNG, media_type="image/png")))
    assert reply.text == "A dot."
    assert "iVBORw0KGgo" in str(provider.requests[0].body)  # PNG's first bytes in base64


async def test_a_file_goes_to_the_first_worker_whose_api_takes_it() -> None:
    async with open_simulator() as sim:
        for name in ("cohere", "ollama", "gemini"):
            sim.add(name, Behaviour(text=f"I am {name}."))
        async with gateway(sim) as cortex:
            recording = File(data=b"RIFF", media_type="audio/wav")
            reply = await cortex.complete(user("What is said?", recording))
            with pytest.raises(InvalidRequest, match="files of type audio/wav as bytes"):
                await cortex.complete(user("What is said?", recording), provider="cohere")
    assert reply.text == "I am gemini."
    assert len(reply.attempts) == 1


async def test_a_conversation_may_change_its_provider_at_every_turn() -> None:
    async with open_simulator() as sim:
        for dialect in DIALECTS:
            sim.add(dialect, Behaviour(text=f"I am {dialect}.", reasoning="Who am I?"))
        async with gateway(sim) as cortex:
            history = [system("Remember all."), user("Who are you?")]
            for dialect in DIALECTS:
                reply = await cortex.complete(history, provider=dialect)
                assert reply.text == f"I am {dialect}."
                history += [reply.message, user("And you?")]
            last = str(sim["ollama"].requests[-1].body)
    assert all(f"I am {dialect}." in last for dialect in DIALECTS[:-1])


async def test_a_first_token_timeout_of_one_call_overrides_the_workers(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(text="Slow.", first_token_after=20))
        sim.add("anthropic", Behaviour(text="Quick."))
        async with gateway(sim) as cortex:
            start = trio.current_time()
            assert (await cortex.complete("Hi", first_token_timeout=2)).text == "Quick."
            assert trio.current_time() - start == pytest.approx(2, abs=0.1)
            assert (await cortex.complete("Hi")).text == "Slow."
            workers = {name: worker_of(p, timeout=3) for name, p in sim.providers.items()}
        async with gateway(sim, workers) as cortex:
            start = trio.current_time()
            assert (await cortex.complete("Hi")).text == "Quick."
            assert trio.current_time() - start == pytest.approx(3, abs=0.1)


# ------------------------------------------------------------------ which worker is asked


async def served_by(cortex: Cortex, times: int) -> list[str]:
    return [(await cortex.complete("Hi")).worker for _ in range(times)]


def three(sim: Simulator) -> dict[str, Any]:
    """A remote worker of middle priority, a local one of the last, and a remote one of the first."""
    return {
        "middle": worker_of(sim.add("middle", provider="groq"), priority=20),
        "local": worker_of(sim.add("local", provider="ollama"), priority=30),
        "first": worker_of(sim.add("first", provider="openai"), priority=10),
    }


async def test_by_priority_the_lowest_number_comes_first() -> None:
    async with open_simulator() as sim:
        async with gateway(sim, three(sim), strategy="priority") as cortex:
            assert await served_by(cortex, 3) == ["first"] * 3
            order = [line.split()[1] for line in cortex.explain("Hi").splitlines()]
    assert order == ["first", "middle", "local"]


async def test_round_robin_takes_turns() -> None:
    async with open_simulator() as sim:
        async with gateway(sim, three(sim), strategy="round_robin") as cortex:
            assert await served_by(cortex, 6) == ["middle", "local", "first"] * 2


async def test_local_first_asks_workers_without_keys_before_all_others() -> None:
    async with open_simulator() as sim:
        async with gateway(sim, three(sim), strategy="local_first") as cortex:
            assert await served_by(cortex, 2) == ["local"] * 2
            sim["local"].behave(Behaviour(refuse=True))
            await cortex.remove_worker("local")
            assert await served_by(cortex, 2) == ["first"] * 2


async def test_least_used_spreads_what_is_in_flight(autojump_clock: trio.testing.MockClock) -> None:
    async with open_simulator() as sim:
        workers = three(sim)
        for provider in sim.providers.values():
            provider.behave(Behaviour(first_token_after=1))
        replies: list[Reply] = []

        async def ask() -> None:
            replies.append(await cortex.complete("Hi"))

        async with gateway(sim, workers, strategy="least_used") as cortex:
            async with trio.open_nursery() as nursery:
                for _ in range(30):
                    nursery.start_soon(ask)
                    await trio.sleep(0.01)
    assert Counter(reply.worker for reply in replies) == {"first": 10, "middle": 10, "local": 10}


async def test_a_name_decides_before_the_strategy() -> None:
    async with open_simulator() as sim:
        async with gateway(sim, three(sim)) as cortex:
            assert (await cortex.complete("Hi", worker="local")).worker == "local"
            assert (await cortex.complete("Hi", provider="groq")).worker == "middle"
            model = sim["local"].models[0]
            assert (await cortex.complete("Hi", model=model)).worker == "local"


async def test_keys_of_a_worker_take_turns() -> None:
    keys = [f"sk-key-number-{number}-abcdefgh" for number in range(3)]
    async with open_simulator() as sim:
        provider = sim.add("openai")
        async with gateway(sim, {"openai": worker_of(provider, api_keys=keys)}) as cortex:
            await served_by(cortex, 6)
    assert [request.key for request in provider.requests] == keys * 2


# ------------------------------------------------------------------ the status of the workers


async def test_health_status_counts_and_list_workers_describes(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_simulator() as sim:
        sim.add("openai")
        sim.add("second", Behaviour(error=FailureKind.RATE_LIMIT, retry_after=30), provider="openai")
        sim.add("anthropic").behave_health(Behaviour(error=FailureKind.CREDENTIAL))
        sim.add("ollama").behave_health(Behaviour(silent=True))
        async with gateway(sim) as cortex:
            before = await cortex.health_status()
            assert (before.system_health, before.available_workers, before.last_health_check) == (
                "healthy",
                4,
                None,
            )
            with pytest.raises(ProviderError):
                await cortex.complete("Hi", worker="second", max_attempts=1)
            health = await cortex.check_health()
            infos = {info.name: info for info in await cortex.list_workers()}
    assert (health.total_workers, health.available_workers, health.system_health) == (4, 1, "degraded")
    assert health.workers_by_status == {
        "available": 1,
        "unavailable": 1,
        "quota_exceeded": 1,
        "rate_limited": 1,
    }
    assert health.workers_by_provider == {
        "openai": {"total": 2, "available": 1},
        "anthropic": {"total": 1, "available": 0},
        "ollama": {"total": 1, "available": 0},
    }
    assert health.last_health_check is not None
    assert abs((datetime.now(UTC) - health.last_health_check).total_seconds()) < 60
    assert {name: info.status for name, info in infos.items()} == {
        "openai": "available",
        "second": "rate_limited",
        "anthropic": "quota_exceeded",
        "ollama": "unavailable",
    }
    second = infos["second"]
    assert (second.requests, second.failures, second.in_flight, second.restarts) == (1, 1, 0, 0)
    assert second.reopens_in == pytest.approx(25, abs=5)
    assert all("***" in key for info in infos.values() for key in info.keys)
    assert health.workers == infos


async def test_the_tree_shows_which_actors_run_and_which_were_restarted(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_simulator() as sim:
        sim.add("openai")
        async with gateway(sim) as cortex:
            assert "restart" not in cortex.tree()
            cortex.actor("openai").kill()
            cortex.actor("keys").kill()
            await trio.sleep(1)
            tree = cortex.tree()
    assert tree.startswith("cortex ")
    assert tree.count("1 restart") == 2
    assert tree.count("running") == len(tree.splitlines()) == 6


# ------------------------------------------------------------------ observers


async def test_an_observer_hears_of_attempts_and_changes_and_of_no_words() -> None:
    events: list[object] = []
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(error=FailureKind.SERVER), Behaviour(text="The secret answer."))
        second = worker_of(sim.add("anthropic"))
        workers = {"openai": worker_of(sim["openai"])}
        async with gateway(sim, workers, on_event=events.append) as cortex:
            await cortex.complete("The secret question")
            await cortex.add_worker("second", second)
            await cortex.remove_worker("second")
    attempts = [event for event in events if isinstance(event, Attempt)]
    assert [attempt.failure and attempt.failure.kind for attempt in attempts] == [FailureKind.SERVER, None]
    assert WorkerAdded("second", "anthropic") in events
    assert WorkerRemoved("second", "anthropic") in events
    assert "secret" not in repr(events)


async def test_an_observer_that_raises_is_logged_once_and_harms_no_call(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def observer(event: object) -> None:
        raise RuntimeError("I cannot bear it")

    caplog.set_level(logging.ERROR, "cortex_trio")
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(text="Fine."))
        async with gateway(sim, on_event=observer) as cortex:
            for _ in range(3):
                assert (await cortex.complete("Hi")).text == "Fine."
    complaints = [record for record in caplog.records if record.name == "cortex_trio"]
    assert len(complaints) == 1


# ------------------------------------------------------------------ in a program of one's own


async def test_two_gateways_in_one_run_do_not_know_each_other() -> None:
    async with open_simulator() as sim:
        one, two = sim.add("openai", Behaviour(text="One.")), sim.add("anthropic", Behaviour(text="Two."))
        async with (
            gateway(sim, {"it": worker_of(one)}) as first,
            gateway(sim, {"it": worker_of(two)}) as second,
        ):
            assert (await first.complete("Hi")).text == "One."
            assert (await second.complete("Hi")).text == "Two."
            await first.remove_worker("it")
            second.actor("keys").kill()
            assert (await second.complete("Hi")).text == "Two."
            assert not await first.list_workers()


async def test_many_tasks_share_one_gateway(autojump_clock: trio.testing.MockClock) -> None:
    async with open_simulator() as sim:
        provider = sim.add("openai", lambda asked: Behaviour(text=said(asked), tokens_per_second=10))
        answers: dict[int, str] = {}

        async def ask(number: int) -> None:
            async with cortex.chat(f"number {number}") as answer:
                answers[number] = "".join([piece async for piece in answer.text()])

        async with gateway(sim) as cortex:
            async with trio.open_nursery() as nursery:
                for number in range(50):
                    nursery.start_soon(ask, number)
    assert answers == {number: f"You said: number {number}" for number in range(50)}
    assert len(provider.requests) == 50


def said(asked: Any) -> str:
    return f"You said: {asked.body['messages'][-1]['content']}"


async def test_leaving_a_stream_by_break_closes_it_and_the_next_one_is_whole(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(text="One two three.", tokens_per_second=1))
        async with gateway(sim) as cortex:
            async with cortex.chat("Hi") as answer:
                async for piece in answer.text():
                    assert piece == "One"
                    break
            assert nobody_is_connected(sim)
            with pytest.raises(trio.ClosedResourceError):
                await anext(answer)
            assert (await cortex.complete("Hi")).text == "One two three."


class Mine(Exception):
    """Raised by the user's own code."""


async def test_what_the_body_raises_comes_out_as_it_is() -> None:
    error = Mine("in the body")

    async def raise_in(sim: Simulator, *, inner: bool) -> None:
        async with open_cortex(sim.config(), http_transport=sim.transport) as cortex:
            async with cortex.chat("Hi") as answer:
                assert await anext(answer)
                if inner:
                    raise error
            raise error

    async with open_simulator() as sim:
        sim.add("openai")
        for inner in (True, False):
            with pytest.raises(Mine) as raised:
                await raise_in(sim, inner=inner)
            assert raised.value is error
            assert raised.value.__context__ is None
            assert raised.value.__cause__ is None
        assert nobody_is_connected(sim)


async def test_a_tree_that_gives_up_takes_the_body_with_it_in_one_flat_error(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def wait_in(sim: Simulator) -> None:
        async with open_cortex(sim.config(), http_transport=sim.transport) as cortex:
            async with trio.open_nursery() as nursery, cortex.chat("Hi"):
                nursery.start_soon(murder, cortex)
                await trio.sleep_forever()

    async def murder(cortex: Cortex) -> None:
        for _ in range(10):
            cortex.actor("health").kill()
            await trio.sleep(0.1)

    async with open_simulator() as sim:
        sim.add("openai", Behaviour(stall_after=1))
        with pytest.raises(MaxRestartsExceeded):
            await wait_in(sim)
        assert nobody_is_connected(sim)


async def test_cancelling_a_busy_gateway_leaves_nothing_behind(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(text="One two three.", tokens_per_second=1))
        with trio.move_on_after(1.5) as scope:
            async with open_cortex(sim.config(), http_transport=sim.transport) as cortex:
                async with trio.open_nursery() as nursery:
                    for _ in range(10):
                        nursery.start_soon(cortex.complete, "Hi")
        assert scope.cancelled_caught
        assert nobody_is_connected(sim)


async def test_a_gateway_that_is_closed_says_so(autojump_clock: trio.testing.MockClock) -> None:
    async with open_simulator() as sim:
        provider = sim.add("openai")
        async with gateway(sim) as cortex:
            pass
        assert "not running" in cortex.tree()
        with pytest.raises(NoProcess, match="registry"):
            await cortex.list_workers()
        began = trio.current_time()
        for ask in (cortex.complete, cortex.embed):
            with pytest.raises(trio.ClosedResourceError, match="async with open_cortex"):
                await ask("Hi")
        assert trio.current_time() == began  # no worker was waited for
        assert not provider.requests


async def test_a_cooldown_for_which_the_server_named_no_time_has_a_retry_after(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_simulator() as sim:
        for name in ("openai", "anthropic"):
            sim.add(name, Behaviour(error=FailureKind.QUOTA))
        async with gateway(sim) as cortex:
            with pytest.raises(AllWorkersFailed) as failed:
                await cortex.complete("Hi")
            with pytest.raises(NoWorkersAvailable) as refused:
                await cortex.complete("Hi")
        # Not the end of the cooldown: after a minute one request may try whether the credit was bought.
        assert failed.value.retry_after == pytest.approx(60, abs=1)
        assert refused.value.retry_after == pytest.approx(60, abs=1)
