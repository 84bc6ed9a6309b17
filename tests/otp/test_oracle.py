"""The kernel does in every scenario what Erlang/OTP did in it.

`oracle/traces.json` holds the scenarios together with what OTP did, step by step; `oracle/record.sh` made it,
and the last test makes it again wherever Erlang is installed. The deliberate differences are in `DIFFERENCES`;
nothing else may differ.
"""

import json
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
from oracle.replay import Step, play

HERE = Path(__file__).parent / "oracle"
RECORDED = json.loads((HERE / "traces.json").read_text())
SCENARIOS = RECORDED["scenarios"]
DEFAULTS = {"supervisor": RECORDED["supervisor_defaults"], "worker": RECORDED["worker_defaults"]}


Scenario = dict[str, Any]
Rewrite = Callable[[Step], Step]


@attrs.frozen
class Difference:
    """A deliberate difference; `ours` turns a step of OTP into the step that the kernel must do."""

    otp: str
    here: str
    concerns: Callable[[Scenario], bool]
    ours: Rewrite


def every(scenario: Scenario) -> bool:
    return True


def named(name: str) -> Callable[[Scenario], bool]:
    return lambda scenario: scenario["name"] == name


def has_a_pool(scenario: Scenario) -> bool:
    return any(child["id"] == "pool" for child in scenario["tree"].get("children", ()))


def in_start_order(step: Step) -> Step:
    """The same children in the opposite order."""
    return attrs.evolve(
        step, outcomes=[with_children(outcome, lambda c: c[::-1]) for outcome in step.outcomes]
    )


def with_progress(step: Step) -> Step:
    """A progress report for every start that has none and did not fail."""
    starts = Counter(event[1] for event in step.events if event[0] == "init")
    starts -= Counter(event[3] for event in step.events if event[:2] == ["report", "progress"])
    starts -= Counter(
        name for kind, name, reason in step.outcomes if kind == "exit" and reason in ("bad_init", "normal")
    )
    return attrs.evolve(
        step, events=[*step.events, *(["report", "progress", "pool", name] for name in starts.elements())]
    )


def at(do: list[Any], *, events: list[Any], outcomes: list[Any]) -> Rewrite:
    """In that step, this happens instead."""
    return lambda step: Step(do, events, outcomes) if step.do == do else step


# `otp` and `here` stand in the table of deliberate differences in the documentation of the kernel.
DIFFERENCES = [
    Difference("which_children newest first", "start order", every, in_start_order),
    Difference(
        "simple_one_for_one reports no progress",
        "every supervisor does",
        has_a_pool,
        with_progress,
    ),
    Difference(
        "processes that do not trap exits end in the middle of a handler",
        "every server stops like one that traps exits",
        named("a_process_that_does_not_trap_exits_just_dies"),
        at(
            ["stop", "top"],
            events=[["terminate", "b", "shutdown"], ["terminate", "a", "shutdown"]],
            outcomes=[
                ["answer", "driver", "shutdown"],
                ["exit", "a", "shutdown"],
                ["exit", "b", "shutdown"],
                ["exit", "top", "shutdown"],
            ],
        ),
    ),
    Difference(
        "a call after a stop request exits with shutdown, later",
        "NoProcess at once",
        named("messages_after_a_stop_request_fail_when_the_server_has_stopped"),
        at(
            ["client", "late", ["call", "a", "two"]],
            events=[],
            outcomes=[["answer", "late", ["exit", "noproc"]]],
        ),
    ),
    Difference(
        "a call after a stop request exits with shutdown, later",
        "NoProcess at once",
        named("messages_after_a_stop_request_fail_when_the_server_has_stopped"),
        at(
            ["release", "a"],
            events=[["terminate", "a", "shutdown"]],
            outcomes=[
                ["answer", "boss", "ok"],
                ["answer", "first", "released"],
                ["exit", "a", "shutdown"],
            ],
        ),
    ),
    # The supervisor does not wait for the init, it stops the child: 300 ms later that is killed.
    Difference(
        "an init that hangs blocks the stop of its supervisor",
        "the stop interrupts it",
        named("a_stop_during_a_restart_waits_for_the_init"),
        at(
            ["stop", "top"],
            events=[["report", "shutdown_error", "top", "a", "killed"], ["terminate", "b", "shutdown"]],
            outcomes=[
                ["answer", "driver", "shutdown"],
                ["exit", "a", "killed"],
                ["exit", "b", "shutdown"],
                ["exit", "top", "shutdown"],
            ],
        ),
    ),
    # For the same reason a failure of that init is one to stop, no longer one to start.
    Difference(
        "an init that hangs blocks the stop of its supervisor",
        "the stop interrupts it",
        named("a_stop_during_a_failing_restart_ends_the_retries"),
        at(
            ["stop", "top"],
            events=[["report", "shutdown_error", "top", "a", "bad_init"], ["terminate", "b", "shutdown"]],
            outcomes=[
                ["answer", "driver", "shutdown"],
                ["exit", "a", "bad_init"],
                ["exit", "b", "shutdown"],
                ["exit", "top", "shutdown"],
            ],
        ),
    ),
]


# Differences that are not deliberate. Remove an entry when it no longer fails (xfail is strict).
FAILING: dict[str, str] = {}


def as_param(scenario: Scenario) -> Any:
    why = FAILING.get(scenario["name"])
    return pytest.param(scenario, id=scenario["name"], marks=[pytest.mark.xfail(reason=why)] if why else [])


@pytest.mark.parametrize("scenario", [as_param(scenario) for scenario in SCENARIOS])
async def test_the_kernel_does_what_otp_did(scenario: Scenario, autojump_clock: object) -> None:
    played = await play(scenario, DEFAULTS)
    assert comparable(played, scenario) == comparable(expected_steps(scenario), scenario)


@pytest.mark.parametrize("difference", DIFFERENCES, ids=lambda difference: difference.otp)
def test_every_listed_difference_shows_in_a_scenario(difference: Difference) -> None:
    steps = [step for s in SCENARIOS if difference.concerns(s) for step in otp_steps(s)]
    assert any(difference.ours(step) != step for step in steps)


@pytest.mark.slow
@pytest.mark.skipif(not (shutil.which("erl") and shutil.which("erlc")), reason="Erlang/OTP is not installed")
def test_otp_still_does_what_was_recorded(tmp_path: Path) -> None:
    again = tmp_path / "traces.json"
    subprocess.run([HERE / "record.sh", again], check=True, timeout=300)
    assert json.loads(again.read_text())["scenarios"] == SCENARIOS


def otp_steps(scenario: Scenario) -> list[Step]:
    return [Step(step["do"], step["events"], step["outcomes"]) for step in scenario["steps"]]


def expected_steps(scenario: Scenario) -> list[Step]:
    steps = otp_steps(scenario)
    for difference in DIFFERENCES:
        if difference.concerns(scenario):
            steps = [difference.ours(step) for step in steps]
    return steps


def comparable(steps: list[Step], scenario: Scenario) -> list[Step]:
    """Without the order that OTP does not promise."""
    outcomes_sorted = [attrs.evolve(step, outcomes=sorted(step.outcomes, key=json.dumps)) for step in steps]
    if scenario["ordered"]:
        return outcomes_sorted
    return [
        Step(
            step.do,
            sorted(step.events, key=json.dumps),
            [with_children(outcome, sorted) for outcome in step.outcomes],
        )
        for step in outcomes_sorted
    ]


def with_children(outcome: Any, arrange: Callable[[list[Any]], list[Any]]) -> Any:
    """An answer to which_children, rearranged; any other outcome as it is."""
    match outcome:
        case ["answer", who, [[*_], *_] as children]:
            return ["answer", who, arrange(list(children))]
        case _:
            return outcome
