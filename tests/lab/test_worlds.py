"""Simulated worlds: the same seed gives the same run, and a violated invariant is detected."""

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

from cortex_trio import Attempt, Continued, CortexError, Failure, FailureKind, Restarted, ToolCallDelta
from cortex_trio.__main__ import main
from cortex_trio.cli.screen import Screen
from cortex_trio.cli.simulate import _print_summary, _simulate, seeds_from
from cortex_trio.failures import InvalidRequest
from cortex_trio.lab.world import invariants
from cortex_trio.lab.world.call_invariants import call_violations, refusal_violations
from cortex_trio.lab.world.callers import CallRecord, ReceivedToolCall, add_event, make_call
from cortex_trio.lab.world.campaign import CampaignSummary, SeedResult, run_and_count
from cortex_trio.lab.world.faults import LINK_EVENTS, LINK_FAULTS, MODEL_LISTS, RESPONSE_FAULTS, LinkFaults
from cortex_trio.lab.world.faulty_provider import FaultyProvider
from cortex_trio.lab.world.fixtures import (
    LOOK_UP,
    answer_of,
    calls_of,
    prompt_of,
    story_of,
    texts_of,
    tool_result,
)
from cortex_trio.lab.world.ledger import ledger_violations
from cortex_trio.lab.world.load import PlannedCall
from cortex_trio.lab.world.plan import ACTORS, Plan, PlannedProvider, draw_plan
from cortex_trio.lab.world.recorder import Recorder
from cortex_trio.lab.world.run import run_seed
from cortex_trio.lab.world.timeline import draw_timeline
from cortex_trio.messages import Message, ToolResult, assistant, user
from cortex_trio.otp import MaxRestartsExceeded, Supervisor
from cortex_trio.simulator import Behaviour, Link, open_gateway, open_simulator
from cortex_trio.simulator.tokens import vector_of

HOURS = 3.0
SEEDS = [*range(4), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(4, 8))]
REPLAY = "from cortex_trio.lab.world.run import run_seed; print(run_seed(3, 2).digest)"


# ------------------------------------------------------------------ one seed, one run


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_no_invariant_is_violated(seed: int) -> None:
    seen = run_seed(seed, HOURS)
    assert seen.violations == []
    assert seen.calls


@pytest.mark.slow
def test_a_seed_gives_the_same_run_byte_for_byte() -> None:
    first, second = run_seed(3, HOURS, keep_trace=True), run_seed(3, HOURS, keep_trace=True)
    assert first.lines == second.lines
    assert first.digest == second.digest != run_seed(4, HOURS).digest


@pytest.mark.slow
def test_a_process_with_another_hash_seed_gives_the_same_run() -> None:
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
    assert digests == {f"{run_seed(3, 2).digest}\n"}


def test_a_run_has_no_thread() -> None:
    """The real time at which a thread ends would decide the order of the tasks."""
    script = "import threading; from cortex_trio.lab.world.run import run_seed; run_seed(3, 0.2)"
    script += "; print(threading.active_count())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"


def test_a_gateway_whose_actor_is_killed_again_and_again_gives_up() -> None:
    seed = next(seed for seed in range(400) if _killed_at_once(seed) > 6)
    seen = run_seed(seed, HOURS)
    assert isinstance(seen.gave_up, MaxRestartsExceeded)
    assert seen.violations == []


def _killed_at_once(seed: int) -> int:
    """Kills of one actor of the root within five seconds."""
    kills = [
        step
        for step in draw_plan(seed, HOURS).interventions
        if step.action == "kill" and step.target in ACTORS
    ]
    return max(
        (
            sum(one.at <= other.at <= one.at + 5 and one.target == other.target for other in kills)
            for one in kills
        ),
        default=0,
    )


def test_plans_have_every_kind_of_event() -> None:
    plans = [draw_plan(seed, 24) for seed in range(40)]
    assert len({fault.fault for plan in plans for fault in plan.faults}) > 20
    assert {step.action for plan in plans for step in plan.interventions} == {
        "kill",
        "reload",
        "replace",
        "check",
    }
    assert {plan.config["strategy"] for plan in plans} >= {"priority", "fastest", "random"}
    calls = [call for plan in plans for call in plan.calls]
    assert {call.kind for call in calls} == {"story", "tools", "object", "embed", "models"}
    assert {call.mode for call in calls if call.kind == "tools"} >= {
        "complete",
        "restart",
        "continue",
        "raise",
    }
    assert max(call.requests for call in calls if call.kind == "embed") > 1
    for plan in plans:
        faulty = {fault.target for fault in plan.faults}
        assert plan.reliable not in faulty


@pytest.mark.slow
def test_plans_have_every_fault_of_real_servers() -> None:
    plans = [draw_plan(seed, 24) for seed in range(60)]
    assert {len(plan.providers) for plan in plans} >= {1, 2, 6}
    assert {provider.model_list for plan in plans for provider in plan.providers} == {"ok", *MODEL_LISTS}
    assert any(plan.reliable and _provider_of(plan, plan.reliable).model_list != "ok" for plan in plans)
    assert {fault.fault for plan in plans for fault in plan.faults} == {
        *RESPONSE_FAULTS,
        *LINK_FAULTS,
        *LINK_EVENTS,
    }
    calls = [call for plan in plans for call in plan.calls]
    assert any(len(answer_of(call.number, call.kind)) > 256 * 1024 for call in calls)
    assert {call.options.get("dimensions") for call in calls if call.kind == "embed"} == {None, 16, 256, 3072}


def _provider_of(plan: Plan, name: str) -> PlannedProvider:
    return next(provider for provider in plan.providers if provider.name == name)


def test_plans_of_one_hour_have_faults_and_interventions() -> None:
    plans = [draw_plan(seed, 1) for seed in range(200)]
    assert all(plan.faults and plan.calls for plan in plans if len(plan.providers) > 1 or not plan.reliable)
    assert {step.action for plan in plans for step in plan.interventions} >= {"kill", "reload", "replace"}


# ------------------------------------------------------------------ violations are detected

CALL = PlannedCall(
    number=5, at=1.0, mode="complete", options={}, deadline=None, leaves_after=None, pause=0.0, rounds=0
)


def attempt(worker: str = "openai-0", *, duration: float = 0.0, failure: Failure | None = None) -> Attempt:
    return Attempt(1, worker, "openai", "m", "sk-***", failure, duration, None, None)


def narrow(max_attempts: int) -> PlannedCall:
    return attrs.evolve(CALL, options={"max_attempts": max_attempts})


def record(**seen: Any) -> CallRecord:
    whole: dict[str, Any] = {"outcome": "whole", "text": story_of(5), "started": 1.0, "ended": 2.0}
    return CallRecord(**{"planned": CALL, **whole, **seen})


@pytest.mark.parametrize(
    ("seen", "violation"),
    [
        (record(text=story_of(5)[:-1]), "a whole answer that is not"),
        (record(text=story_of(5) * 2), "not the beginning"),
        (record(text=story_of(6)), "not the beginning"),
        (record(outcome="interrupted", text="Story 5: wordless"), "not the beginning"),
        (record(outcome="crashed", error=KeyError("oops")), "another type"),
        (record(offsets_match=False), "out of order"),
        (record(finished_once=False), "out of order"),
        (record(ended=700.0), "took 699"),
        (
            record(attempts=[attempt()] * 3, planned=narrow(2)),
            "3 attempts reached a provider, and 2 are allowed",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_call_that_violates_an_invariant_is_detected(seen: CallRecord, violation: str) -> None:
    assert list(call_violations(record())) == []
    assert any(violation in found for found in call_violations(seen))


def looked_up(**seen: Any) -> CallRecord:
    """A call with tools that was served, except for `seen`."""
    received_calls = {
        place: ReceivedToolCall(call.name, call.arguments) for place, call in enumerate(calls_of(5))
    }
    whole: dict[str, Any] = {
        "outcome": "whole",
        "text": story_of(5),
        "received_calls": received_calls,
        "results_sent": True,
    }
    return CallRecord(attrs.evolve(CALL, kind="tools"), started=1.0, ended=2.0, **{**whole, **seen})


def received(*arguments: str) -> dict[int, ReceivedToolCall]:
    return {place: ReceivedToolCall(LOOK_UP.name, text) for place, text in enumerate(arguments)}


ARGUMENTS = [call.arguments for call in calls_of(5)]


@pytest.mark.parametrize(
    ("seen", "violation"),
    [
        (looked_up(received_calls=received(*ARGUMENTS, ARGUMENTS[0])), "4 tool calls instead of 3"),
        (looked_up(received_calls=received(ARGUMENTS[0] * 2, *ARGUMENTS[1:])), "not the beginning of"),
        (looked_up(received_calls=received(*ARGUMENTS[:2], ARGUMENTS[2][:-4])), "are not 3 whole ones"),
        (looked_up(received_calls=received(*ARGUMENTS[:2])), "are not 3 whole ones"),
        (
            looked_up(received_calls=received(ARGUMENTS[1], ARGUMENTS[0], ARGUMENTS[2])),
            "not the beginning of",
        ),
        (
            looked_up(received_calls={0: ReceivedToolCall("forget", ARGUMENTS[0])}, outcome="interrupted"),
            "not the beginning of",
        ),
        (looked_up(restarted_after_tool_call=True), "restarted after a whole tool call"),
        (looked_up(received_calls={}, results_sent=False), "served without a tool call"),
        (record(received_calls=received(ARGUMENTS[0])), "1 tool calls instead of 0"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_tool_call_that_is_doubled_cut_or_invented_is_detected(seen: CallRecord, violation: str) -> None:
    assert list(call_violations(looked_up())) == []
    assert (
        list(
            call_violations(
                looked_up(
                    received_calls=received(ARGUMENTS[0][:5]), outcome="left", text="", results_sent=False
                )
            )
        )
        == []
    )
    assert any(violation in found for found in call_violations(seen))


@pytest.mark.parametrize(
    ("said", "is_whole"), [("", False), ('{"story": 5, "wor', False), ('{"story": 5}', True), ("[]", False)]
)
def test_an_answer_may_be_restarted_after_a_cut_tool_call_but_not_after_a_whole_one(
    said: str, is_whole: bool
) -> None:
    failure = Failure(FailureKind.TRUNCATED)
    seen = record(text="Story", received_calls={})
    add_event(seen, ToolCallDelta(0, said, "call_1", LOOK_UP.name))
    add_event(seen, Restarted(failure, "openai-0"))
    assert (seen.restarted_after_tool_call, seen.received_calls, seen.text) == (is_whole, {}, "")


def test_no_answer_may_be_continued_after_a_tool_call() -> None:
    seen = record(text="", received_calls={})
    add_event(seen, ToolCallDelta(0, "", "call_1", LOOK_UP.name))
    add_event(seen, Continued(Failure(FailureKind.TRUNCATED), "openai-0", 0))
    assert seen.restarted_after_tool_call


def embedded(vectors: list[list[float]], **options: Any) -> CallRecord:
    planned = attrs.evolve(CALL, kind="embed", texts=2, options=options)
    return CallRecord(planned, started=1.0, ended=2.0, outcome="whole", vectors=vectors)


def test_wrong_vectors_are_detected() -> None:
    first, second = [vector_of(text, None) for text in texts_of(5, 2)]
    longer = [vector_of(text, 16) for text in texts_of(5, 2)]
    assert list(call_violations(embedded([first, second]))) == []
    assert list(call_violations(embedded(longer, dimensions=16))) == []
    for wrong in ([second, first], [first], [first, second, second], longer):
        assert any("not those of the 2 texts" in violation for violation in call_violations(embedded(wrong)))
    assert list(call_violations(embedded([first, second], dimensions=16)))


def test_a_call_is_rescued_only_after_a_failure() -> None:
    broken = attempt(failure=Failure(FailureKind.SERVER))
    assert record(attempts=[broken, attempt()]).was_rescued
    assert not looked_up(attempts=[attempt(), attempt()]).was_rescued
    assert not record(outcome="refused", attempts=[broken]).was_rescued


def test_an_answer_with_a_schema_is_compared_as_a_whole() -> None:
    planned = attrs.evolve(CALL, kind="object")
    whole = CallRecord(planned, started=1.0, ended=2.0, outcome="whole", text=answer_of(5, "object"))
    assert list(call_violations(whole)) == []
    assert list(call_violations(attrs.evolve(whole, text=story_of(5))))


def test_a_request_that_a_provider_does_not_understand_is_detected() -> None:
    refused = Failure(FailureKind.BAD_REQUEST)
    seen = record(attempts=[attempt(failure=refused), attempt()])
    assert any("does not understand" in violation for violation in call_violations(seen))
    continued = attrs.evolve(seen, planned=attrs.evolve(CALL, mode="continue"))  # a prefix may be rejected
    assert list(call_violations(continued)) == []


async def test_texts_of_one_call_embedded_by_two_models_are_detected() -> None:
    async with open_simulator() as sim:
        sim.add("openai")
        sim.add("gemini")
        async with open_gateway(sim) as cortex:
            await cortex.embed(texts_of(5, 2), provider="openai")
            assert list(invariants.embedding_violations(sim)) == []
            await cortex.embed(texts_of(5, 2), provider="gemini")
            [broken] = invariants.embedding_violations(sim)
            assert "['gemini-embedding-001', 'text-embedding-3-small']" in broken


def test_a_refusal_beside_a_reliable_worker_is_detected() -> None:
    plan = next(plan for seed in range(50) if (plan := draw_plan(seed, 1)).reliable is not None)
    refused = record(outcome="refused", text="")
    assert list(refusal_violations(refused, plan, []))
    assert not list(refusal_violations(refused, plan, [(1.5, "keys")]))
    assert not list(refusal_violations(refused, attrs.evolve(plan, reliable=None), []))
    assert not list(refusal_violations(record(), plan, []))


@pytest.mark.parametrize(
    ("kind", "other_key"), [(FailureKind.RATE_LIMIT, False), (FailureKind.OVERLOADED, True)]
)
async def test_a_request_during_a_retry_after_is_detected(
    autojump_clock: trio.testing.MockClock, kind: FailureKind, other_key: bool
) -> None:
    recorder = Recorder(0)
    await trio.sleep(1)
    recorder.on_event(attempt(failure=Failure(kind, retry_after=10)))
    recorder.on_event(attempt("anthropic-1"))
    recorder.on_event(attempt())  # it began at the same moment as the hint came
    await trio.sleep(5)
    recorder.on_event(attempt(duration=6))  # it began before the hint
    assert recorder.violations == []
    if not other_key:
        recorder.on_event(attrs.evolve(attempt(), model="another"))  # each model has its own limit
    assert recorder.violations == []
    recorder.on_event(attrs.evolve(attempt(), key="another") if other_key else attempt())
    assert ["holds until 11" in violation for violation in recorder.violations] == [True]
    with recorder.configuring("openai-0"):
        recorder.on_event(attempt())
    await trio.sleep(1)
    recorder.on_event(attempt())
    assert len(recorder.violations) == 1


async def test_a_hint_ends_after_an_hour_and_at_an_intervention(
    autojump_clock: trio.testing.MockClock,
) -> None:
    recorder = Recorder(0)
    six_hours = Failure(FailureKind.RATE_LIMIT, retry_after=6 * 3600)
    recorder.on_event(attempt(failure=six_hours))
    await trio.sleep(3500)
    recorder.on_event(attempt())
    assert len(recorder.violations) == 1
    await trio.sleep(101)
    recorder.on_event(attempt(failure=six_hours))
    with recorder.configuring("openai-0", "anthropic-1"):
        await trio.sleep(1)
    recorder.on_event(attempt())
    assert len(recorder.violations) == 1
    assert recorder.configured_at == [3601.0, 3602.0]


def test_a_failed_connection_does_not_count_as_an_attempt() -> None:
    failed = attempt(failure=Failure(FailureKind.CONNECTION, phase="connect"))
    assert list(call_violations(record(attempts=[failed, failed, attempt()], planned=narrow(1)))) == []


def test_the_wait_for_a_worker_does_not_count_against_the_limit_of_a_request() -> None:
    assert list(call_violations(record(ended=625.0))) == []


async def test_what_a_gateway_holds_without_a_call_is_detected() -> None:
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(text="one two three", stall_after=1))
        async with open_gateway(sim) as cortex:
            assert list(invariants.state_violations(cortex.snapshot(), 0)) == []
            async with cortex.chat("Hi"):
                assert list(invariants.state_violations(cortex.snapshot(), 1)) == []
                assert any(
                    "the gateway holds" in violation
                    for violation in invariants.state_violations(cortex.snapshot(), 0)
                )
            assert list(invariants.tree_violations(cortex)) == []
            await cortex.root.call(
                Supervisor.terminate_child, "keys"
            )  # a child that was terminated is not restarted
            assert any("was not restarted" in violation for violation in invariants.tree_violations(cortex))
            await cortex.root.call(Supervisor.restart_child, "keys")
            assert list(invariants.tree_violations(cortex)) == []


async def test_more_cooldowns_than_keys_and_models_are_detected() -> None:
    async with open_simulator() as sim:
        sim.add("gemini", Behaviour(error=FailureKind.RATE_LIMIT, retry_after=100))
        async with open_gateway(sim) as cortex:
            with pytest.raises(CortexError):
                await cortex.complete("Hi")
            await trio.testing.wait_all_tasks_blocked()
            snapshot = cortex.snapshot()
    [worker], [key] = snapshot.workers, snapshot.keys
    [cooldown] = key.cooldowns
    most = attrs.evolve(key, cooldowns=[cooldown] * 3)  # all models, the chat model, the embedding model
    worker = attrs.evolve(worker, cooldowns=[cooldown] * 3)
    snapshot = attrs.evolve(snapshot, workers=[worker], keys=[most])
    assert list(invariants.state_violations(snapshot, 0)) == []
    [violation] = invariants.state_violations(
        attrs.evolve(snapshot, keys=[attrs.evolve(key, cooldowns=[cooldown] * 4)]), 0
    )
    assert "7 cooldowns" in violation


async def test_attempts_that_differ_from_the_requests_are_detected() -> None:
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(text=story_of(5)))
        recorder = Recorder(0)
        async with open_gateway(sim, on_event=recorder.on_event) as cortex:
            reply = await cortex.complete(prompt_of(5))
        recorder.calls.append(record(attempts=reply.attempts))
        assert list(ledger_violations(recorder, sim)) == []
        recorder.calls.append(record(attempts=[]))
        assert any(
            "requests without an attempt" in violation for violation in ledger_violations(recorder, sim)
        )
        recorder.calls[:] = [record(attempts=[*reply.attempts, *reply.attempts])]
        assert any(
            "attempts without a request" in violation for violation in ledger_violations(recorder, sim)
        )


async def test_an_open_connection_at_the_end_is_detected() -> None:
    async with open_simulator() as sim:
        provider = sim.add("openai")
        tasks = trio.lowlevel.current_statistics().tasks_living
        assert list(invariants.final_violations(sim, tasks)) == []
        assert sim.network is not None
        host = provider.url.removeprefix("http://").partition("/")[0]
        stream = await sim.network.connect_tcp(host, 80)
        await trio.testing.wait_all_tasks_blocked()
        assert len(list(invariants.final_violations(sim, tasks))) == 2
        await stream.aclose()


def test_the_restart_limit_is_reached_only_by_many_kills_in_a_short_time() -> None:
    def kills(times: Iterable[float]) -> list[tuple[float, str]]:
        return [(at, "keys") for at in times]

    assert not invariants.is_restart_limit_reached(kills(range(0, 100, 2)))
    assert not invariants.is_restart_limit_reached(kills([0, 1, 2, 3, 4]))
    assert invariants.is_restart_limit_reached(kills([0, 1, 2, 3, 4, 5]))


# ------------------------------------------------------------------ a provider


async def test_each_key_has_its_own_quota(autojump_clock: trio.testing.MockClock) -> None:
    noted: Counter[str] = Counter()
    planned = PlannedProvider("openai", "openai", (), 1, 0.0, 3.0, 0.0, {})
    provider = FaultyProvider(planned, lambda what: noted.update([what]), pytest.fail)
    async with open_simulator() as sim:
        sim.add("openai", provider.respond).api_keys = ("sk-one-key", "sk-another-key")
        async with open_gateway(sim) as cortex:
            replies = [await cortex.complete(prompt_of(number)) for number in range(6)]
            assert [reply.text for reply in replies] == [story_of(number) for number in range(6)]
            with trio.move_on_after(0.1), pytest.raises(CortexError):
                await cortex.complete(prompt_of(7), max_attempts=2)
            assert noted["quota exceeded"] == 2
            await trio.sleep(21)
            assert (await cortex.complete(prompt_of(8))).text == story_of(8)


async def test_a_server_without_a_list_of_models_has_none_without_faults_either() -> None:
    planned = PlannedProvider("openai", "openai", (), 1, 0.0, None, 0.0, {}, model_list="404")
    provider = FaultyProvider(planned, pytest.fail, pytest.fail)
    provider.is_fault_free = True
    async with open_simulator() as sim:
        sim.add("openai", provider.respond).behave_health(provider.respond_to_check)
        async with open_gateway(sim) as cortex:
            assert (await cortex.complete(prompt_of(5))).text == story_of(5)
            with pytest.raises(CortexError):
                await cortex.models(worker="openai")


@pytest.mark.parametrize("dialect", ["openai", "anthropic", "gemini", "cohere", "ollama", "groq", "xai"])
@pytest.mark.parametrize("mode", ["complete", "raise"])
@pytest.mark.slow
async def test_tool_calls_are_executed_and_their_results_sent_back(dialect: str, mode: str) -> None:
    provider = FaultyProvider(
        PlannedProvider(dialect, dialect, (), 1, 0.0, None, 0.0, {}), pytest.fail, pytest.fail
    )
    async with open_simulator() as sim:
        provider = sim.add(dialect, provider.respond)
        async with open_gateway(sim) as cortex:
            seen = CallRecord(attrs.evolve(CALL, kind="tools", mode=mode))
            await make_call(cortex, seen)
    assert (seen.outcome, seen.text, seen.results_sent) == ("whole", story_of(5), True)
    assert list(call_violations(seen)) == []
    assert len(provider.requests) == len(seen.attempts or ()) == 2


async def test_a_result_that_is_sent_twice_or_not_at_all_is_detected() -> None:
    violations: list[str] = []
    provider = FaultyProvider(
        PlannedProvider("openai", "openai", (), 1, 0.0, None, 0.0, {}), pytest.fail, violations.append
    )
    first, *others = calls_of(5)
    results = [Message("tool", [ToolResult(call.id, tool_result(call))]) for call in (first, *others)]
    asked = [user(prompt_of(5, "tools")), assistant(first, *others)]
    async with open_simulator() as sim:
        sim.add("openai", provider.respond)
        async with open_gateway(sim) as cortex:
            await cortex.complete([*asked, *results])
            assert violations == []
            results[1] = Message("tool", [ToolResult(others[0].id, tool_result(first))])
            await cortex.complete([*asked, *results])
    assert len(violations) == 2


def test_overlapping_faults_of_a_link_end_one_by_one() -> None:
    link = Link()
    link.latency = 0.2
    link_faults = LinkFaults(link)
    for fault in ("connections refused", "high latency", "partition", "connections refused"):
        link_faults.begin(fault)
    link_faults.end("connections refused")
    assert (link.refusing, link.latency, link.is_partitioned) == (True, 0.8, True)
    link_faults.end("high latency")
    assert (link.refusing, link.latency, link.is_partitioned) == (True, 0.2, True)
    link_faults.end("connections refused")
    link_faults.end("partition")
    assert (link.refusing, link.latency, link.jitter, link.is_partitioned) == (False, 0.2, 0.0, False)


# ------------------------------------------------------------------ the timeline and the command


@pytest.mark.slow
def test_the_timeline_shows_a_lane_for_each_worker_and_is_the_same_for_the_same_seed() -> None:
    seen = run_seed(3, HOURS)
    drawn = draw_timeline(seen, HOURS)
    root = ElementTree.fromstring(drawn)
    titles = [element.text for element in root.iter() if element.text]
    assert set(seen.lanes) < set(titles)
    assert {mark.event for mark in seen.marks if mark.until} <= set(titles)
    assert drawn == draw_timeline(run_seed(3, HOURS), HOURS)


@pytest.mark.slow
def test_simulate_prints_a_summary_and_writes_one_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace, timeline = tmp_path / "trace.txt", tmp_path / "timeline.svg"
    command = ["simulate", "--seeds", "3..4", "--hours", "1", "--processes", "2"]
    assert main([*command, "--trace", str(trace), "--timeline", str(timeline)]) == 0
    out = capsys.readouterr().out
    assert "2 runs of 1 hour: 2 simulated hours" in out
    assert "No invariant was violated." in out
    assert "attempt" in trace.read_text(encoding="utf-8")
    assert ElementTree.parse(timeline).getroot().tag.endswith("svg")


@pytest.mark.slow
def test_an_interrupted_simulation_prints_how_far_it_came_and_nothing_else(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    out, before = StringIO(), set(threading.enumerate())

    async def cancelled_at_once() -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            await _simulate(Screen(out, colours=False), CampaignSummary(), range(40), 0.1, 1)

    trio.run(cancelled_at_once)
    for thread in set(threading.enumerate()) - before:
        if thread.is_alive():
            thread.join(30)  # the executor's: it cancels what was not started
    assert "Interrupted after 0 of 40 runs." in out.getvalue()
    assert capsys.readouterr().err == ""
    assert caplog.messages == []


def test_a_seed_with_a_violation_is_printed_with_the_command_to_replay_it() -> None:
    good = run_and_count(3, 0.5)
    summary, out = CampaignSummary(), StringIO()
    summary.add(good)
    summary.add(attrs.evolve(good, seed=17, violations=("at 3.000 s: something doubled",)))
    _print_summary(Screen(out, colours=False), summary, 0.5, 1.0, 1)
    assert "at 3.000 s: something doubled" in out.getvalue()
    assert "cortex-trio simulate --seeds 17 --hours 0.5 --trace trace.txt" in out.getvalue()
    assert "No invariant was violated." not in out.getvalue()


def test_results_are_added_up() -> None:
    result: SeedResult = run_and_count(3, 0.5)
    summary = CampaignSummary()
    summary.add(result)
    summary.add(result)
    assert summary.outcomes.total() == 2 * result.outcomes.total() > 0
    assert (summary.runs, summary.requests) == (2, 2 * result.requests)


@pytest.mark.parametrize(
    ("text", "seeds"), [("7", [7]), ("2..4", [2, 3, 4]), ("1,5..6, 9", [1, 5, 6, 9]), ("3,3", [3])]
)
def test_seeds_are_numbers_and_ranges(text: str, seeds: list[int]) -> None:
    assert list(seeds_from(text)) == seeds


@pytest.mark.parametrize("text", ["", "x", "1..", "5..1", "0..99999999"])
def test_other_seeds_are_rejected(text: str) -> None:
    with pytest.raises(InvalidRequest, match="--seeds"):
        seeds_from(text)
