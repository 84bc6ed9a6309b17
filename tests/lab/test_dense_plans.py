"""Dense plans: they have every kind of event, and the exact invariants of links without latency detect violations."""

from collections.abc import Sequence
from typing import Any

import attrs
import pytest
import trio

from cortex_trio import Attempt, Failure, FailureKind
from cortex_trio.lab.world.call_invariants import call_violations, retry_violations
from cortex_trio.lab.world.callers import CallRecord, make_call
from cortex_trio.lab.world.dense_plan import ANSWERS, FAULTS, draw_dense_plan
from cortex_trio.lab.world.faulty_provider import FaultyProvider, SentHint
from cortex_trio.lab.world.fixtures import prompt_of, story_of
from cortex_trio.lab.world.interventions import ACTIONS
from cortex_trio.lab.world.invariants import worker_violations
from cortex_trio.lab.world.ledger import (
    attempt_violations,
    hint_violations,
    ledger_violations,
    sent_requests,
)
from cortex_trio.lab.world.load import PlannedCall
from cortex_trio.lab.world.plan import Intervention, Plan, PlannedProvider
from cortex_trio.lab.world.recorder import DoneIntervention, EndedAttempt, Recorder
from cortex_trio.otp import Supervisor
from cortex_trio.simulator import Behaviour, SimRequest, open_gateway, open_simulator

CALL = PlannedCall(
    number=5, at=0.0, mode="complete", options={}, deadline=None, leaves_after=None, pause=0.0, rounds=0
)
OPENAI = PlannedProvider("openai", "openai", ("sk-sim-one",), 1, 0.0, None, 0.0, {})
GROQ = attrs.evolve(OPENAI, name="groq", dialect="groq")


def plan(*providers: PlannedProvider, interventions: Sequence[Intervention] = ()) -> Plan:
    return Plan(0, 60.0, providers, None, {"max_attempts": 4}, (), (), tuple(interventions))


def attempt(number: int, worker: str = "openai", kind: FailureKind | None = None, **failure: Any) -> Attempt:
    failed = None if kind is None else Failure(kind, **failure)
    return Attempt(number, worker, "openai", "m", None, failed, 0.0, None, None)


def record(*attempts: Attempt, **fields: Any) -> CallRecord:
    served: dict[str, Any] = {"outcome": "whole", "text": story_of(5), "started": 1.0, "ended": 2.0}
    return CallRecord(CALL, **{**served, "attempts": attempts, **fields})


def request(at: float, *, connection: int = 1, call: int = 5) -> SimRequest:
    body = {"model": "m", "messages": [{"role": "user", "content": prompt_of(call)}]}
    return SimRequest(when=at, method="POST", path="/v1/chat/completions", body=body, connection=connection)


# ------------------------------------------------------------------ the plans


def test_dense_plans_have_every_kind_of_event() -> None:
    plans = [draw_dense_plan(seed) for seed in range(100)]
    interventions = [planned for drawn in plans for planned in drawn.interventions]
    assert {planned.action for planned in interventions} == ACTIONS.keys() - {"replace"}
    assert all(drawn.has_ideal_links and drawn.calls for drawn in plans)
    calls = [call for drawn in plans for call in drawn.calls]
    assert any(call.cancel_after_rounds is not None for call in calls)
    assert {call.mode for call in calls} == {"complete", "raise", "restart", "continue", "buffer"}
    assert {call.kind for call in calls} == {"story", "tools", "object", "embed", "models"}
    assert any(not provider.is_present for drawn in plans for provider in drawn.providers)
    assert len(ANSWERS) == 9
    assert {"bad request", "content policy", "context too long", "region"} < set(FAULTS)


# ------------------------------------------------------------------ attempts of one call


def test_attempts_are_numbered_one_after_the_other() -> None:
    assert list(call_violations(record(attempt(1), attempt(2)))) == []
    assert list(call_violations(record(attempt(1), attempt(2), attempt(1)))) == []  # with results of tools
    assert any("numbered [1, 3]" in found for found in call_violations(record(attempt(1), attempt(3))))


def tries(kind: FailureKind, many: int = 3, **failure: Any) -> CallRecord:
    return record(*[attempt(number, "openai", kind, **failure) for number in range(1, many + 1)])


@pytest.mark.parametrize(
    ("seen", "times", "usable", "violation"),
    [
        (tries(FailureKind.SERVER, status=500), (0.0, 0.1, 0.6), (), None),
        (tries(FailureKind.SERVER, many=2, status=500), (0.0, 0.0), ("groq",), None),
        (tries(FailureKind.SERVER, status=500), (0.0, 0.1, 0.2), (), "sooner than by an official SDK"),
        (tries(FailureKind.SERVER, status=500), (0.0, 0.1, 0.6), ("groq",), "before ['groq'] were tried"),
        (tries(FailureKind.PROTOCOL), (0.0, 0.1, 0.6), (), "is tried again after"),
        (tries(FailureKind.STALLED), (0.0, 0.0, 0.0), (), None),
        (tries(FailureKind.RATE_LIMIT, status=429), (0.0, 0.0, 0.0), (), None),  # about its key
    ],
)
def test_a_third_try_of_a_worker_follows_the_rules_of_the_official_sdks(
    seen: CallRecord, times: Sequence[float], usable: Sequence[str], violation: str | None
) -> None:
    found = list(retry_violations(seen, [("openai", request(at)) for at in times], usable))
    assert [violation in one for one in found] == ([True] if violation else [])


# ------------------------------------------------------------------ requests as the providers saw them


async def test_a_request_that_the_transport_sent_again_counts_once() -> None:
    async with open_simulator() as sim:
        openai = sim.add("openai")
        openai.requests += [
            request(1.0),
            request(2.0),
            request(2.0, connection=2),
            request(3.0, connection=3),
        ]
        assert [one.request.connection for one in sent_requests(sim, exact=True)] == [1, 1, 3]
        assert [one.is_resend_possible for one in sent_requests(sim, exact=False)] == [
            False,
            True,
            False,
            False,
        ]


async def test_without_latency_every_request_needs_an_attempt_and_the_other_way_round() -> None:
    async with open_simulator() as sim:
        openai = sim.add("openai")
        openai.requests += [request(1.0), request(2.0)]
        recorder = Recorder(0)
        recorder.attempts += [attempt(1)]
        assert list(ledger_violations(recorder, sim)) == []
        [violation] = ledger_violations(recorder, sim, exact=True)
        assert "requests without an attempt" in violation
        reset = attempt(3, kind=FailureKind.CONNECTION, phase="headers")
        recorder.attempts += [attempt(2), reset]
        assert list(ledger_violations(recorder, sim)) == []
        [violation] = ledger_violations(recorder, sim, exact=True)
        assert "attempts without a request" in violation


async def test_more_requests_than_max_attempts_are_detected_without_attempts_as_well() -> None:
    async with open_simulator() as sim:
        openai = sim.add("openai")
        openai.requests += [request(float(second)) for second in range(5)]
        recorder = Recorder(0)
        recorder.calls.append(record(attempts=None, outcome="cancelled"))
        [violation] = attempt_violations(recorder, sim, plan(OPENAI, GROQ))
        assert "5 requests, and 4 are allowed" in violation


# ------------------------------------------------------------------ Retry-After


def hinted(kind: FailureKind, key: str | None = None) -> tuple[Recorder, FaultyProvider]:
    """A provider that sent a Retry-After of 10 s at 1 s, and a recorder that saw it."""
    recorder, provider = Recorder(0), FaultyProvider(OPENAI, pytest.fail, pytest.fail)
    provider.hints.append(SentHint("openai", key, "m", 1.0, 10.0, kind))
    recorder.ended["openai"] = [EndedAttempt(1.0, attempt(1, kind=kind, retry_after=10.0))]
    return recorder, provider


@pytest.mark.parametrize(
    ("kind", "key", "at", "is_early"),
    [
        (FailureKind.OVERLOADED, "another", 5.0, True),
        (FailureKind.OVERLOADED, None, 1.0, False),
        (FailureKind.OVERLOADED, None, 11.0, False),
        (FailureKind.RATE_LIMIT, None, 5.0, True),
        (FailureKind.RATE_LIMIT, "another", 5.0, False),
        (FailureKind.QUOTA, None, 5.0, True),
    ],
)
async def test_a_request_that_arrives_during_a_retry_after_is_detected(
    kind: FailureKind, key: str | None, at: float, is_early: bool
) -> None:
    recorder, provider = hinted(kind, key)
    async with open_simulator() as sim:
        sim.add("openai").requests.append(request(at))
        assert bool(list(hint_violations(recorder, sim, {"openai": provider}))) == is_early
        recorder.ended.clear()  # no attempt received it
        assert not list(hint_violations(recorder, sim, {"openai": provider}))


@pytest.mark.parametrize(
    ("action", "kind", "ends"),
    [
        ("reload", FailureKind.OVERLOADED, True),
        ("reload", FailureKind.QUOTA, True),
        ("reload", FailureKind.RATE_LIMIT, False),
        ("check", FailureKind.QUOTA, True),
        ("check", FailureKind.OVERLOADED, False),
    ],
)
async def test_a_reload_and_a_check_end_only_some_hints(action: str, kind: FailureKind, ends: bool) -> None:
    recorder, provider = hinted(kind)
    recorder.interventions.append(DoneIntervention(Intervention(3.0, action, "openai", 0), 3.0, 3.0))
    async with open_simulator() as sim:
        sim.add("openai").requests += [request(5.0)]
        assert bool(list(hint_violations(recorder, sim, {"openai": provider}))) != ends


async def test_a_killed_key_manager_delays_an_admitted_request() -> None:
    recorder, provider = hinted(FailureKind.OVERLOADED)
    async with open_simulator() as sim:
        sim.add("openai").requests.append(request(1.5))
        assert list(hint_violations(recorder, sim, {"openai": provider}))
        recorder.kills.append((1.0, "keys"))
        assert not list(hint_violations(recorder, sim, {"openai": provider}))


# ------------------------------------------------------------------ the tree, and calls that are cancelled


async def test_a_worker_without_an_actor_is_detected() -> None:
    async with open_simulator() as sim:
        sim.add("openai")
        async with open_gateway(sim) as cortex:
            workers = await cortex.list_workers()
            assert list(worker_violations(cortex, workers)) == []
            assert len(list(worker_violations(cortex, [*workers, *workers]))) == 1
            await cortex.root.call(Supervisor.terminate_child, "health")
            assert any("does not run" in found for found in worker_violations(cortex, workers))
            await cortex.root.call(Supervisor.restart_child, "health")


async def test_a_call_can_be_cancelled_after_some_rounds_of_the_loop(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(silent=True))
        async with open_gateway(sim) as cortex:
            cancelled = CallRecord(attrs.evolve(CALL, cancel_after_rounds=5))
            await make_call(cortex, cancelled)
            assert (cancelled.outcome, cancelled.ended) == ("cancelled", 0.0)
            await trio.testing.wait_all_tasks_blocked()
