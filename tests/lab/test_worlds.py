"""Whole lives: the same seed is the same life, the laws hold in it, and they would notice if they did not."""

import os
import subprocess
import sys
import threading
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterable
from io import StringIO
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from at_rest import gateway

from cortex_trio import (
    Attempt,
    Config,
    Continued,
    Cortex,
    CortexError,
    Failure,
    FailureKind,
    Restarted,
    ToolCallDelta,
)
from cortex_trio.__main__ import main
from cortex_trio.cli.screen import Screen
from cortex_trio.cli.simulate import _simulate, _tell, seeds_from
from cortex_trio.failures import InvalidRequest
from cortex_trio.gateway.startup import open_runtime
from cortex_trio.lab.world import laws
from cortex_trio.lab.world.campaign import Summary, Verdict, judge
from cortex_trio.lab.world.chronicle import Chronicle
from cortex_trio.lab.world.life import live
from cortex_trio.lab.world.load import PlannedCall
from cortex_trio.lab.world.people import Called, HeardCall, ask, note
from cortex_trio.lab.world.picture import ACTORS, picture
from cortex_trio.lab.world.plan import Plan, PlannedProvider, plan_of
from cortex_trio.lab.world.tales import LOOK_UP, answer_of, calls_of, executed, prompt_of, story_of, texts_of
from cortex_trio.lab.world.troubles import LINK_TROUBLES, MODEL_LISTS, MOMENTS, TROUBLES, ConnectionSettings
from cortex_trio.lab.world.upstream import Upstream
from cortex_trio.messages import Message, ToolResult, assistant, user
from cortex_trio.otp import MaxRestartsExceeded, Supervisor
from cortex_trio.simulator import Behaviour, Link, open_simulator
from cortex_trio.simulator.tokens import vector_of

HOURS = 3.0
SEEDS = range(8)
REPLAY = "from cortex_trio.lab.world.life import live; print(live(3, 2).digest)"


# ------------------------------------------------------------------ one seed, one life


@pytest.mark.parametrize("seed", SEEDS)
def test_no_law_is_broken(seed: int) -> None:
    seen = live(seed, HOURS)
    assert seen.broken == []
    assert seen.calls


@pytest.mark.slow
def test_a_seed_lives_the_same_life_byte_for_byte() -> None:
    first, second = live(3, HOURS, keep=True), live(3, HOURS, keep=True)
    assert first.lines == second.lines
    assert first.digest == second.digest != live(4, HOURS).digest


@pytest.mark.slow
def test_another_process_with_another_hash_seed_lives_it_as_well() -> None:
    digests = {
        subprocess.run(
            [sys.executable, "-c", REPLAY],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert digests == {f"{live(3, 2).digest}\n"}


def test_a_gateway_whose_actor_is_killed_again_and_again_gives_up_loudly() -> None:
    seed = next(seed for seed in range(400) if _killed_at_once(seed) > 6)
    seen = live(seed, HOURS)
    assert isinstance(seen.gave_up, MaxRestartsExceeded)
    assert seen.broken == []


def _killed_at_once(seed: int) -> int:
    """Kills of one actor of the root within five seconds."""
    kills = [
        step for step in plan_of(seed, HOURS).interventions if step.what == "kill" and step.who in ACTORS
    ]
    return max(
        (sum(one.at <= other.at <= one.at + 5 and one.who == other.who for other in kills) for one in kills),
        default=0,
    )


def test_plans_hold_some_of_everything() -> None:
    plans = [plan_of(seed, 24) for seed in range(40)]
    assert len({trouble.what for plan in plans for trouble in plan.troubles}) > 20
    assert {step.what for plan in plans for step in plan.interventions} == {
        "kill",
        "reload",
        "replace",
        "check",
    }
    assert {plan.config["strategy"] for plan in plans} >= {"priority", "fastest", "random"}
    calls = [call for plan in plans for call in plan.calls]
    assert {call.what for call in calls} == {"story", "tools", "object", "embed", "models"}
    assert {call.how for call in calls if call.what == "tools"} >= {
        "complete",
        "restart",
        "continue",
        "raise",
    }
    assert max(call.requests for call in calls if call.what == "embed") > 1
    for plan in plans:
        hurt = {trouble.who for trouble in plan.troubles}
        assert plan.rock not in hurt


def test_plans_hold_what_real_servers_do() -> None:
    plans = [plan_of(seed, 24) for seed in range(60)]
    assert {len(plan.providers) for plan in plans} >= {1, 2, 6}
    assert {provider.model_list for plan in plans for provider in plan.providers} == {"ok", *MODEL_LISTS}
    assert any(plan.rock and _provider_of(plan, plan.rock).model_list != "ok" for plan in plans)
    assert {trouble.what for plan in plans for trouble in plan.troubles} == {
        *TROUBLES,
        *LINK_TROUBLES,
        *MOMENTS,
    }
    calls = [call for plan in plans for call in plan.calls]
    assert any(len(answer_of(call.number, call.what)) > 256 * 1024 for call in calls)
    assert {call.options.get("dimensions") for call in calls if call.what == "embed"} == {None, 16, 256, 3072}


def _provider_of(plan: Plan, name: str) -> PlannedProvider:
    return next(provider for provider in plan.providers if provider.name == name)


def test_an_hour_is_enough_for_something_to_break() -> None:
    plans = [plan_of(seed, 1) for seed in range(200)]
    assert all(plan.troubles and plan.calls for plan in plans if len(plan.providers) > 1 or not plan.rock)
    assert {step.what for plan in plans for step in plan.interventions} >= {"kill", "reload", "replace"}


# ------------------------------------------------------------------ the laws notice

CALL = PlannedCall(
    number=5, at=1.0, how="complete", options={}, deadline=None, leaves_after=None, pause=0.0, rounds=0
)


def attempt(worker: str = "openai-0", *, duration: float = 0.0, failure: Failure | None = None) -> Attempt:
    return Attempt(1, worker, "openai", "m", "sk-***", failure, duration, None, None)


def narrow(max_attempts: int) -> PlannedCall:
    return attrs.evolve(CALL, options={"max_attempts": max_attempts})


def called(**seen: Any) -> Called:
    whole: dict[str, Any] = {"outcome": "whole", "shown": story_of(5), "started": 1.0, "ended": 2.0}
    return Called(**{"planned": CALL, **whole, **seen})


@pytest.mark.parametrize(
    ("seen", "complaint"),
    [
        (called(shown=story_of(5)[:-1]), "a whole answer that is not"),
        (called(shown=story_of(5) * 2), "not the beginning"),
        (called(shown=story_of(6)), "not the beginning"),
        (called(outcome="interrupted", shown="Story 5: wordless"), "not the beginning"),
        (called(outcome="crashed", error=KeyError("oops")), "no type of ours"),
        (called(offsets_fit=False), "out of order"),
        (called(ended_once=False), "out of order"),
        (called(ended=700.0), "took 699"),
        (called(attempts=[attempt()] * 3, planned=narrow(2)), "3 attempts reached a provider, where 2 may"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_call_that_breaks_a_law_is_noticed(seen: Called, complaint: str) -> None:
    assert list(laws.broken_by_call(called())) == []
    assert any(complaint in broken for broken in laws.broken_by_call(seen))


def looked_up(**seen: Any) -> Called:
    """A call with tools that went well, but for `seen`."""
    heard = {place: HeardCall(call.name, call.arguments) for place, call in enumerate(calls_of(5))}
    whole: dict[str, Any] = {"outcome": "whole", "shown": story_of(5), "heard": heard, "results_sent": True}
    return Called(attrs.evolve(CALL, what="tools"), started=1.0, ended=2.0, **{**whole, **seen})


def heard(*arguments: str) -> dict[int, HeardCall]:
    return {place: HeardCall(LOOK_UP.name, text) for place, text in enumerate(arguments)}


WORDS = [call.arguments for call in calls_of(5)]


@pytest.mark.parametrize(
    ("seen", "complaint"),
    [
        (looked_up(heard=heard(*WORDS, WORDS[0])), "4 tool calls, where 3 were made"),
        (looked_up(heard=heard(WORDS[0] * 2, *WORDS[1:])), "not the beginning of"),
        (looked_up(heard=heard(*WORDS[:2], WORDS[2][:-4])), "are not 3 whole ones"),
        (looked_up(heard=heard(*WORDS[:2])), "are not 3 whole ones"),
        (looked_up(heard=heard(WORDS[1], WORDS[0], WORDS[2])), "not the beginning of"),
        (looked_up(heard={0: HeardCall("forget", WORDS[0])}, outcome="interrupted"), "not the beginning of"),
        (looked_up(begun_after_a_call=True), "begun again after a whole tool call"),
        (looked_up(heard={}, results_sent=False), "though no tool was called"),
        (called(heard=heard(WORDS[0])), "1 tool calls, where 0 were made"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_tool_call_that_is_doubled_cut_or_invented_is_noticed(seen: Called, complaint: str) -> None:
    assert list(laws.broken_by_call(looked_up())) == []
    assert (
        list(
            laws.broken_by_call(
                looked_up(heard=heard(WORDS[0][:5]), outcome="left", shown="", results_sent=False)
            )
        )
        == []
    )
    assert any(complaint in broken for broken in laws.broken_by_call(seen))


@pytest.mark.parametrize(
    ("said", "is_whole"), [("", False), ('{"story": 5, "wor', False), ('{"story": 5}', True), ("[]", False)]
)
def test_an_answer_begins_again_behind_a_cut_tool_call_and_not_behind_a_whole_one(
    said: str, is_whole: bool
) -> None:
    failure = Failure(FailureKind.TRUNCATED)
    seen = called(shown="Story", heard={})
    note(seen, ToolCallDelta(0, said, "call_1", LOOK_UP.name))
    note(seen, Restarted(failure, "openai-0"))
    assert (seen.begun_after_a_call, seen.heard, seen.shown) == (is_whole, {}, "")


def test_no_answer_is_continued_behind_a_tool_call() -> None:
    seen = called(shown="", heard={})
    note(seen, ToolCallDelta(0, "", "call_1", LOOK_UP.name))
    note(seen, Continued(Failure(FailureKind.TRUNCATED), "openai-0", 0))
    assert seen.begun_after_a_call


def embedded(vectors: list[list[float]], **options: Any) -> Called:
    planned = attrs.evolve(CALL, what="embed", texts=2, options=options)
    return Called(planned, started=1.0, ended=2.0, outcome="whole", vectors=vectors)


def test_vectors_that_are_not_those_of_the_texts_are_noticed() -> None:
    first, second = [vector_of(text, None) for text in texts_of(5, 2)]
    longer = [vector_of(text, 16) for text in texts_of(5, 2)]
    assert list(laws.broken_by_call(embedded([first, second]))) == []
    assert list(laws.broken_by_call(embedded(longer, dimensions=16))) == []
    for wrong in ([second, first], [first], [first, second, second], longer):
        assert any("not those of the 2 texts" in broken for broken in laws.broken_by_call(embedded(wrong)))
    assert list(laws.broken_by_call(embedded([first, second], dimensions=16)))


def test_a_call_is_rescued_by_a_failure_and_not_by_its_second_request() -> None:
    broken = attempt(failure=Failure(FailureKind.SERVER))
    assert called(attempts=[broken, attempt()]).was_rescued
    assert not looked_up(attempts=[attempt(), attempt()]).was_rescued
    assert not called(outcome="refused", attempts=[broken]).was_rescued


def test_an_answer_of_a_given_shape_is_judged_whole() -> None:
    planned = attrs.evolve(CALL, what="object")
    whole = Called(planned, started=1.0, ended=2.0, outcome="whole", shown=answer_of(5, "object"))
    assert list(laws.broken_by_call(whole)) == []
    assert list(laws.broken_by_call(attrs.evolve(whole, shown=story_of(5))))


def test_a_request_no_provider_understands_is_noticed() -> None:
    refused = Failure(FailureKind.BAD_REQUEST)
    seen = called(attempts=[attempt(failure=refused), attempt()])
    assert any("does not understand" in broken for broken in laws.broken_by_call(seen))
    going_on = attrs.evolve(seen, planned=attrs.evolve(CALL, how="continue"))  # a prefix may be declined
    assert list(laws.broken_by_call(going_on)) == []


async def test_a_list_of_texts_that_two_models_embedded_is_noticed() -> None:
    async with open_simulator() as sim:
        sim.add("openai")
        sim.add("gemini")
        async with gateway(sim) as cortex:
            await cortex.embed(texts_of(5, 2), provider="openai")
            assert list(laws.broken_embeddings(sim)) == []
            await cortex.embed(texts_of(5, 2), provider="gemini")
            [broken] = laws.broken_embeddings(sim)
            assert "['gemini-embedding-001', 'text-embedding-3-small']" in broken


def test_a_call_that_could_have_been_served_is_missed() -> None:
    plan = next(plan for seed in range(50) if (plan := plan_of(seed, 1)).rock is not None)
    refused = called(outcome="refused", shown="")
    assert list(laws.broken_by_refusing(refused, plan, []))
    assert not list(laws.broken_by_refusing(refused, plan, [(1.5, "keys")]))
    assert not list(laws.broken_by_refusing(refused, attrs.evolve(plan, rock=None), []))
    assert not list(laws.broken_by_refusing(called(), plan, []))


@pytest.mark.parametrize(
    ("kind", "other_key"), [(FailureKind.RATE_LIMIT, False), (FailureKind.OVERLOADED, True)]
)
async def test_asking_earlier_than_told_is_noticed(
    autojump_clock: trio.testing.MockClock, kind: FailureKind, other_key: bool
) -> None:
    chronicle = Chronicle(0)
    await trio.sleep(1)
    chronicle.on_event(attempt(failure=Failure(kind, retry_after=10)))
    chronicle.on_event(attempt("anthropic-1"))
    chronicle.on_event(attempt())  # it was asked in the moment in which the hint came: nobody could know
    await trio.sleep(5)
    chronicle.on_event(attempt(duration=6))  # asked before
    assert chronicle.broken == []
    if not other_key:
        chronicle.on_event(attrs.evolve(attempt(), model="another"))  # its limit is another one
    assert chronicle.broken == []
    chronicle.on_event(attrs.evolve(attempt(), key="another") if other_key else attempt())
    assert ["told to wait until 11" in broken for broken in chronicle.broken] == [True]
    with chronicle.configuring("openai-0"):
        chronicle.on_event(attempt())
    await trio.sleep(1)
    chronicle.on_event(attempt())
    assert len(chronicle.broken) == 1


async def test_a_hint_ends_after_an_hour_and_when_a_person_changes_something(
    autojump_clock: trio.testing.MockClock,
) -> None:
    chronicle = Chronicle(0)
    six_hours = Failure(FailureKind.RATE_LIMIT, retry_after=6 * 3600)
    chronicle.on_event(attempt(failure=six_hours))
    await trio.sleep(3500)
    chronicle.on_event(attempt())
    assert len(chronicle.broken) == 1
    await trio.sleep(101)
    chronicle.on_event(attempt(failure=six_hours))
    with chronicle.configuring("openai-0", "anthropic-1"):
        await trio.sleep(1)
    chronicle.on_event(attempt())
    assert len(chronicle.broken) == 1
    assert chronicle.touched == [3601.0, 3602.0]


def test_a_connection_that_was_not_made_is_no_attempt() -> None:
    failed = attempt(failure=Failure(FailureKind.CONNECTION, phase="connect"))
    assert list(laws.broken_by_call(called(attempts=[failed, failed, attempt()], planned=narrow(1)))) == []


def test_a_call_may_wait_for_a_worker_before_the_time_of_a_request_begins() -> None:
    assert list(laws.broken_by_call(called(ended=625.0))) == []


async def test_what_a_gateway_holds_without_a_caller_is_noticed() -> None:
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(text="one two three", stall_after=1))
        async with gateway(sim) as cortex:
            assert list(laws.broken_at_a_moment(cortex, 0)) == []
            async with cortex.chat("Hi"):
                assert list(laws.broken_at_a_moment(cortex, 1)) == []
                assert any("something is held" in broken for broken in laws.broken_at_a_moment(cortex, 0))
            assert list(laws.broken_tree(cortex)) == []
            await cortex.root.call(Supervisor.terminate_child, "keys")  # who was told to stop stays stopped
            assert any("did not heal" in broken for broken in laws.broken_tree(cortex))
            await cortex.root.call(Supervisor.restart_child, "keys")
            assert list(laws.broken_tree(cortex)) == []


async def test_more_cooldowns_than_keys_and_models_is_noticed() -> None:
    async with open_simulator() as sim:
        gemini = sim.add("gemini")
        config = Config(workers={"gemini": gemini.worker()}, health_check_interval=0)
        async with open_runtime(config, http_transport=sim.transport) as runtime:
            cortex, now = Cortex(runtime), trio.current_time()
            [key] = runtime.table.workers["gemini"].endpoint.keys
            for model in (gemini.models[0], "gemini-embedding-001"):
                for place in (None, key):
                    runtime.cooldowns.bucket_is_empty("gemini", model, place, 1000.0, now)
            for place in (None, key):
                runtime.cooldowns.suspect("gemini", FailureKind.SERVER, now, key=place)
            assert list(laws.broken_at_a_moment(cortex, 0)) == []
            runtime.cooldowns.bucket_is_empty("gemini", "made-up", key, 1000.0, now)
            assert any("7 cooldowns" in broken for broken in laws.broken_at_a_moment(cortex, 0))


async def test_a_ledger_that_is_not_what_the_providers_saw_is_noticed() -> None:
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(text=story_of(5)))
        chronicle = Chronicle(0)
        async with gateway(sim, on_event=chronicle.on_event) as cortex:
            reply = await cortex.complete(prompt_of(5))
        chronicle.calls.append(called(attempts=reply.attempts))
        assert list(laws.broken_ledger(chronicle, sim)) == []
        chronicle.calls.append(called(attempts=[]))
        assert any("not in the ledger" in broken for broken in laws.broken_ledger(chronicle, sim))
        chronicle.calls[:] = [called(attempts=[*reply.attempts, *reply.attempts])]
        assert any("never asked" in broken for broken in laws.broken_ledger(chronicle, sim))


async def test_what_is_open_at_the_end_is_noticed() -> None:
    async with open_simulator() as sim:
        provider = sim.add("openai")
        tasks = trio.lowlevel.current_statistics().tasks_living
        assert list(laws.broken_at_the_end(sim, tasks)) == []
        assert sim.network is not None
        host = provider.url.removeprefix("http://").partition("/")[0]
        stream = await sim.network.connect_tcp(host, 80)
        await trio.testing.wait_all_tasks_blocked()
        assert len(list(laws.broken_at_the_end(sim, tasks))) == 2
        await stream.aclose()


def test_giving_up_is_right_only_after_many_kills_at_once() -> None:
    def kills(times: Iterable[float]) -> list[tuple[float, str]]:
        return [(at, "keys") for at in times]

    assert not laws.may_give_up(kills(range(0, 100, 2)))
    assert not laws.may_give_up(kills([0, 1, 2, 3, 4]))
    assert laws.may_give_up(kills([0, 1, 2, 3, 4, 5]))


# ------------------------------------------------------------------ a provider of the world


async def test_a_quota_is_a_bucket_for_each_key(autojump_clock: trio.testing.MockClock) -> None:
    noted: Counter[str] = Counter()
    planned = PlannedProvider("openai", "openai", (), 1, 0.0, 3.0, 0.0, {})
    upstream = Upstream(planned, lambda what: noted.update([what]), pytest.fail)
    async with open_simulator() as sim:
        sim.add("openai", upstream.answer).api_keys = ("sk-one-key", "sk-another-key")
        async with gateway(sim) as cortex:
            replies = [await cortex.complete(prompt_of(number)) for number in range(6)]
            assert [reply.text for reply in replies] == [story_of(number) for number in range(6)]
            with trio.move_on_after(0.1), pytest.raises(CortexError):
                await cortex.complete(prompt_of(7), max_attempts=2)
            assert noted["quota exceeded"] == 2
            await trio.sleep(21)
            assert (await cortex.complete(prompt_of(8))).text == story_of(8)


async def test_a_server_without_a_list_of_models_has_none_on_good_days_either() -> None:
    planned = PlannedProvider("openai", "openai", (), 1, 0.0, None, 0.0, {}, model_list="404")
    upstream = Upstream(planned, pytest.fail, pytest.fail)
    upstream.is_calm = True
    async with open_simulator() as sim:
        sim.add("openai", upstream.answer).behave_health(upstream.answer_check)
        async with gateway(sim) as cortex:
            assert (await cortex.complete(prompt_of(5))).text == story_of(5)
            with pytest.raises(CortexError):
                await cortex.models(worker="openai")


@pytest.mark.parametrize("dialect", ["openai", "anthropic", "gemini", "cohere", "ollama", "groq", "xai"])
@pytest.mark.parametrize("how", ["complete", "raise"])
async def test_tool_calls_are_executed_and_their_results_come_back_whole(dialect: str, how: str) -> None:
    upstream = Upstream(
        PlannedProvider(dialect, dialect, (), 1, 0.0, None, 0.0, {}), pytest.fail, pytest.fail
    )
    async with open_simulator() as sim:
        provider = sim.add(dialect, upstream.answer)
        async with gateway(sim) as cortex:
            seen = Called(attrs.evolve(CALL, what="tools", how=how))
            await ask(cortex, seen)
    assert (seen.outcome, seen.shown, seen.results_sent) == ("whole", story_of(5), True)
    assert list(laws.broken_by_call(seen)) == []
    assert len(provider.requests) == len(seen.attempts or ()) == 2


async def test_a_result_that_comes_back_twice_or_not_at_all_is_noticed() -> None:
    complaints: list[str] = []
    upstream = Upstream(
        PlannedProvider("openai", "openai", (), 1, 0.0, None, 0.0, {}), pytest.fail, complaints.append
    )
    first, *others = calls_of(5)
    results = [Message("tool", [ToolResult(call.id, executed(call))]) for call in (first, *others)]
    asked = [user(prompt_of(5, "tools")), assistant(first, *others)]
    async with open_simulator() as sim:
        sim.add("openai", upstream.answer)
        async with gateway(sim) as cortex:
            await cortex.complete([*asked, *results])
            assert complaints == []
            results[1] = Message("tool", [ToolResult(others[0].id, executed(first))])
            await cortex.complete([*asked, *results])
    assert len(complaints) == 2


def test_troubles_of_a_link_that_overlap_end_each_for_itself() -> None:
    link = Link()
    link.latency = 0.2
    way = ConnectionSettings(link)
    for what in ("refused", "latency", "partition", "refused"):
        way.begin(what)
    way.end("refused")
    assert (link.refusing, link.latency, link.is_partitioned) == (True, 0.8, True)
    way.end("latency")
    assert (link.refusing, link.latency, link.is_partitioned) == (True, 0.2, True)
    way.end("refused")
    way.end("partition")
    assert (link.refusing, link.latency, link.jitter, link.is_partitioned) == (False, 0.2, 0.0, False)


# ------------------------------------------------------------------ the picture and the command


def test_the_picture_shows_a_lane_for_each_worker_and_the_same_for_the_same_seed() -> None:
    seen = live(3, HOURS)
    drawn = picture(seen, HOURS)
    root = ElementTree.fromstring(drawn)
    words = [element.text for element in root.iter() if element.text]
    assert set(seen.lanes) < set(words)
    assert {mark.what for mark in seen.marks if mark.until} <= set(words)
    assert drawn == picture(live(3, HOURS), HOURS)


@pytest.mark.slow
def test_simulate_tells_what_it_injected_and_keeps_one_life(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace, timeline = tmp_path / "life.txt", tmp_path / "life.svg"
    command = ["simulate", "--seeds", "3..4", "--hours", "1", "--processes", "2"]
    assert main([*command, "--trace", str(trace), "--timeline", str(timeline)]) == 0
    out = capsys.readouterr().out
    assert "2 lives of 1 hours: 2 simulated hours" in out
    assert "No law was broken." in out
    assert "attempt" in trace.read_text(encoding="utf-8")
    assert ElementTree.parse(timeline).getroot().tag.endswith("svg")


def test_who_has_seen_enough_hears_how_far_it_came_and_nothing_else(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    out, before = StringIO(), set(threading.enumerate())

    async def enough_at_once() -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            await _simulate(Screen(out, colours=False), Summary(), range(40), 0.1, 1)

    trio.run(enough_at_once)
    for thread in set(threading.enumerate()) - before:
        if thread.is_alive():
            thread.join(30)  # the executor's: it calls off what was not begun
    assert "Interrupted after 0 of 40 lives." in out.getvalue()
    assert capsys.readouterr().err == ""
    assert caplog.messages == []


def test_a_life_in_which_a_law_was_broken_says_how_to_replay_it() -> None:
    good = judge(3, 0.5)
    summary, out = Summary(), StringIO()
    summary.add(good)
    summary.add(attrs.evolve(good, seed=17, broken=("at 3.000 s: something doubled",)))
    _tell(Screen(out, colours=False), summary, 0.5, 1.0, 1)
    assert "at 3.000 s: something doubled" in out.getvalue()
    assert "cortex-trio simulate --seeds 17 --hours 0.5 --trace life.txt" in out.getvalue()
    assert "No law was broken." not in out.getvalue()


def test_a_verdict_adds_up() -> None:
    verdict: Verdict = judge(3, 0.5)
    summary = Summary()
    summary.add(verdict)
    summary.add(verdict)
    assert summary.outcomes.total() == 2 * verdict.outcomes.total() > 0
    assert (summary.lives, summary.requests) == (2, 2 * verdict.requests)


@pytest.mark.parametrize(
    ("text", "seeds"), [("7", [7]), ("2..4", [2, 3, 4]), ("1,5..6, 9", [1, 5, 6, 9]), ("3,3", [3])]
)
def test_seeds_are_numbers_and_ranges(text: str, seeds: list[int]) -> None:
    assert list(seeds_from(text)) == seeds


@pytest.mark.parametrize("text", ["", "x", "1..", "5..1", "0..99999999"])
def test_other_seeds_are_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="--seeds"):
        seeds_from(text)
