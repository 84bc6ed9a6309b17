"""Admission to a worker, what is learnt from each request, and that a crash forgets none of it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from cortex_trio import Failure, FailureKind, WorkerConfig
from cortex_trio.failures import REACTIONS
from cortex_trio.gateway.transport.connections import Connections
from cortex_trio.gateway.workers.breaker import IN_A_ROW, BreakerState
from cortex_trio.gateway.workers.endpoint import Endpoint
from cortex_trio.gateway.workers.worker import Permit, Refusal, Worker, WorkerState, breaker_weight
from cortex_trio.otp import Child, Ref, Supervisor, run

K = FailureKind
MODEL = "m"


def state_of(**fields: Any) -> WorkerState:
    config = WorkerConfig(provider="openai_compatible", base_url="http://x", **{"models": (MODEL,), **fields})
    return WorkerState("w", Endpoint(config, Connections(config)), Ref("w"))


async def nowhere(state: WorkerState) -> None:
    """Register nowhere."""


@asynccontextmanager
async def open_worker(state: WorkerState, *, may_eject: bool = True) -> AsyncIterator[Ref[Worker]]:
    child = Child(ref=state.ref, start=lambda: Worker(state, nowhere, lambda state: may_eject))
    async with trio.open_nursery() as nursery:
        await nursery.start(run, Supervisor([child], max_restarts=100))
        yield state.ref
        nursery.cancel_scope.cancel()


async def admitted(ref: Ref[Worker], model: str = MODEL) -> Permit:
    permit = Permit("w", model)
    assert await ref.call(Worker.admit, permit) is None
    assert permit.admitted
    return permit


async def refusal(ref: Ref[Worker], model: str = MODEL) -> Refusal:
    found = await ref.call(Worker.admit, Permit("w", model))
    assert found is not None
    return found


async def settle(ref: Ref[Worker], permit: Permit, failure: Failure | None = None) -> None:
    permit.failure, permit.settled = failure, True
    await ref.call(Worker.settle, permit)


async def fail(ref: Ref[Worker], kind: FailureKind, model: str = MODEL, **fields: Any) -> None:
    await settle(ref, await admitted(ref, model), Failure(kind, **fields))


async def kill_and_wait(ref: Ref[Worker]) -> None:
    before = ref.process
    ref.kill()
    while ref.process in (None, before):
        await trio.testing.wait_all_tasks_blocked()


# ------------------------------------------------------------------ admission


async def test_in_flight_counts_who_was_admitted_and_has_not_settled(autojump_clock: object) -> None:
    state = state_of()
    async with open_worker(state) as ref:
        permits = [await admitted(ref) for _ in range(3)]
        assert (state.in_flight, state.requests) == (3, 3)
        for permit in permits:
            await settle(ref, permit)
            await settle(ref, permit)  # twice is once
        assert (state.in_flight, state.requests, state.failures) == (0, 3, 0)


async def test_no_more_than_its_limit_at_a_time(autojump_clock: object) -> None:
    state = state_of(max_concurrency=2)
    async with open_worker(state) as ref:
        first, _second = await admitted(ref), await admitted(ref)
        assert "busy with 2" in (await refusal(ref)).reason
        await settle(ref, first)
        await admitted(ref)


async def test_a_caller_that_left_while_it_waited_is_not_admitted(autojump_clock: object) -> None:
    state = state_of()
    async with open_worker(state) as ref:
        permit = Permit("w", MODEL, settled=True)
        assert await ref.call(Worker.admit, permit) is None
        assert (permit.admitted, state.in_flight, state.requests) == (False, 0, 0)


async def test_a_permit_that_was_never_admitted_may_be_settled(autojump_clock: object) -> None:
    state = state_of()
    async with open_worker(state) as ref:
        await settle(ref, Permit("w", MODEL), Failure(K.SERVER))
        assert (state.failures, state.in_flight) == (0, 0)


# ------------------------------------------------------------------ what is learnt


@pytest.mark.parametrize("kind", list(K))
def test_what_a_failure_weighs_is_in_the_table(kind: FailureKind) -> None:
    assert breaker_weight(Failure(kind)) == (REACTIONS[kind].weight or None)
    assert breaker_weight(None) == 0.0
    assert breaker_weight(Failure(kind, ours=True)) is None


@pytest.mark.parametrize("kind", [k for k in K if REACTIONS[k].weight == 1])
async def test_three_failures_of_its_own_take_a_worker_out_for_a_while(
    kind: FailureKind, autojump_clock: object
) -> None:
    async with open_worker(state_of()) as ref:
        for _ in range(IN_A_ROW):
            await fail(ref, kind)
        found = await refusal(ref)
        assert (found.kind, found.until) == (kind, trio.current_time() + 5)
        await trio.sleep(5)
        await settle(ref, await admitted(ref))
        await admitted(ref)


@pytest.mark.parametrize("kind", [k for k in K if not REACTIONS[k].weight])
async def test_what_is_not_its_own_failure_never_opens_its_breaker(
    kind: FailureKind, autojump_clock: object
) -> None:
    state = state_of()
    async with open_worker(state) as ref:
        for number in range(20):
            await settle(ref, await admitted(ref, f"model-{number}"), Failure(kind))
        assert state.breaker.state(trio.current_time()) is BreakerState.CLOSED


async def test_a_caller_who_leaves_counts_against_nobody(autojump_clock: object) -> None:
    state = state_of()
    async with open_worker(state) as ref:
        await fail(ref, K.CANCELLED)
        assert (state.failures, state.last_failure) == (0, None)


async def test_half_the_pool_may_be_out_and_no_more(autojump_clock: object) -> None:
    async with open_worker(state_of(), may_eject=False) as ref:
        for _ in range(10):
            await fail(ref, K.SERVER)


async def test_a_half_open_worker_gives_one_trial_and_a_cancelled_one_is_free_again(
    autojump_clock: object,
) -> None:
    async with open_worker(state_of()) as ref:
        for _ in range(IN_A_ROW):
            await fail(ref, K.STALLED)
        await trio.sleep(5)
        trial = await admitted(ref)
        assert trial.trial
        await refusal(ref)
        await settle(ref, trial, Failure(K.CANCELLED))
        assert (await admitted(ref)).trial


async def test_what_is_told_late_counts_from_when_it_happened(autojump_clock: object) -> None:
    """A telling may be lost with a dying actor; the next one reads it off the slip, later."""
    async with open_worker(state_of()) as ref:
        for _ in range(IN_A_ROW):
            permit = await admitted(ref)
            permit.ended_at = trio.current_time()
            await trio.sleep(1.5)
            await settle(ref, permit, Failure(K.SERVER))
        assert (await refusal(ref)).until == 3.0 + 5.0, "the third failed at 3.0"
        await trio.sleep_until(8)
        trial = await admitted(ref)
        trial.ended_at = 8.5
        await trio.sleep(10)
        await settle(ref, trial, Failure(K.SERVER))
        assert (await refusal(ref)).until == 8.5 + 10.0, (
            "its time counts from its failure, not from when that was told"
        )


async def test_who_was_admitted_and_sent_nothing_is_no_request(autojump_clock: object) -> None:
    state = state_of()
    async with open_worker(state) as ref:
        permit = await admitted(ref)
        permit.sent = False
        await settle(ref, permit, Failure(K.CANCELLED))
        await settle(ref, await admitted(ref), Failure(K.CANCELLED))
        assert (state.requests, state.failures) == (1, 0)


@pytest.mark.parametrize("model", [MODEL, "another"])
async def test_a_worker_that_is_cooling_down_admits_no_request(model: str, autojump_clock: object) -> None:
    state = state_of()
    state.cooldowns.failed("w", MODEL, None, Failure(K.OVERLOADED, retry_after=20.0), started=0.0, now=0.0)
    async with open_worker(state) as ref:
        found = await refusal(ref, model)
        assert (found.kind, found.until) == (K.OVERLOADED, 20)
        await trio.sleep(20)
        await admitted(ref, model)


async def test_a_missing_model_is_missing_for_itself_only(autojump_clock: object) -> None:
    state = state_of()
    state.cooldowns.failed("w", "ghost", None, Failure(K.MODEL_NOT_FOUND), started=0.0, now=0.0)
    async with open_worker(state) as ref:
        assert (await refusal(ref, "ghost")).kind is K.MODEL_NOT_FOUND
        await admitted(ref)


async def test_a_refused_region_is_tried_once_a_minute_and_then_half_as_often(autojump_clock: object) -> None:
    state = state_of()
    async with open_worker(state) as ref:
        waits = []
        for _ in range(4):
            started = trio.current_time()
            state.cooldowns.failed("w", MODEL, None, Failure(K.REGION), started=started, now=started)
            found = await refusal(ref)
            waits.append(found.until - started)
            await trio.sleep_until(found.until)
            await settle(ref, await admitted(ref))
            await trio.sleep(1)
        assert waits == [60, 120, 240, 480]


async def test_a_worker_that_failed_its_check_is_admitted_all_the_same(autojump_clock: object) -> None:
    state = state_of()
    state.cooldowns.suspect("w", K.STALLED, 0.0)
    async with open_worker(state) as ref:
        await admitted(ref)


async def test_the_time_to_the_first_token_is_a_moving_average(autojump_clock: object) -> None:
    state = state_of()
    async with open_worker(state) as ref:
        for seconds in (1.0, 2.0, None):
            permit = await admitted(ref)
            permit.time_to_first_token = seconds
            await settle(ref, permit)
        assert state.latency == pytest.approx(1.3)


async def test_a_good_check_opens_the_way_for_one_trial(autojump_clock: object) -> None:
    async with open_worker(state_of()) as ref:
        for _ in range(IN_A_ROW):
            await fail(ref, K.SERVER)
        await ref.call(Worker.check_passed)
        assert (await admitted(ref)).trial
        await refusal(ref)


# ------------------------------------------------------------------ leaving


async def test_a_draining_worker_admits_nobody_and_says_when_the_last_has_left(
    autojump_clock: object,
) -> None:
    state = state_of()
    async with open_worker(state) as ref:
        last = await admitted(ref)
        await ref.call(Worker.drain)
        assert "being removed" in (await refusal(ref)).reason
        assert not state.drained.is_set()
        await settle(ref, last)
        assert state.drained.is_set()


async def test_an_idle_worker_is_drained_at_once(autojump_clock: object) -> None:
    state = state_of()
    async with open_worker(state) as ref:
        await ref.call(Worker.drain)
        assert state.drained.is_set()


# ------------------------------------------------------------------ a life after death


async def test_a_telling_lost_with_its_process_is_read_off_the_permit(autojump_clock: object) -> None:
    state = state_of()
    async with open_worker(state) as ref:
        for _ in range(IN_A_ROW):
            permit = await admitted(ref)
            permit.failure, permit.settled = Failure(K.SERVER), True
            ref.cast(Worker.settle, permit)
            await kill_and_wait(ref)
        assert (state.in_flight, state.failures, state.restarts) == (0, IN_A_ROW, IN_A_ROW)
        await refusal(ref)


async def test_who_is_still_in_flight_is_in_flight_after_it_too(autojump_clock: object) -> None:
    state = state_of(max_concurrency=1)
    async with open_worker(state) as ref:
        permit = await admitted(ref)
        await kill_and_wait(ref)
        assert state.in_flight == 1
        await refusal(ref)
        await settle(ref, permit)
        assert state.in_flight == 0


async def test_a_trial_survives_and_ends_with_its_request(autojump_clock: object) -> None:
    async with open_worker(state_of()) as ref:
        for _ in range(IN_A_ROW):
            await fail(ref, K.SERVER)
        await trio.sleep(5)
        trial = await admitted(ref)
        await kill_and_wait(ref)
        await refusal(ref)
        await settle(ref, trial)
        assert not (await admitted(ref)).trial


async def test_a_drain_goes_on_after_it(autojump_clock: object) -> None:
    state = state_of()
    async with open_worker(state) as ref:
        last = await admitted(ref)
        await ref.call(Worker.drain)
        last.settled = True
        ref.cast(Worker.settle, last)
        await kill_and_wait(ref)
        with trio.fail_after(1):
            await state.drained.wait()


def test_a_window_is_the_configurations_or_the_longest_prefix_known() -> None:
    def window(model: str, **fields: Any) -> int | None:
        config = WorkerConfig(provider="openai", api_keys=("k",), **fields)
        return Endpoint(config, Connections(config)).context_window(model)

    assert window("gpt-4o-mini") == 128_000
    assert window("gpt-5.4-mini-2026") == 400_000
    assert window("gpt-5.4") == 1_050_000
    assert window("unheard-of") is None
    assert window("gpt-4o", context_window=5) == 5


def test_a_worker_has_its_providers_numbers_unless_it_has_its_own() -> None:
    config = WorkerConfig(provider="anthropic", api_keys=("k",))
    state = WorkerState("w", Endpoint(config, Connections(config)), Ref("w"))
    assert (state.priority, state.timeout, state.models) == (10, 60.0, state.kind.default_models)
    changed = attrs.evolve(config, priority=0, timeout=1.5, models=("m",))
    state.endpoint = Endpoint(changed, Connections(changed))
    assert (state.priority, state.timeout, state.models) == (0, 1.5, ("m",))
