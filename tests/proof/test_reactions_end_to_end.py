"""Every row of the reaction table, tested from outside: what is tried next, what cools down, and for how long.

A primary with two API keys always fails with one kind; a fallback serves.
"""

import attrs
import pytest
import trio

from cortex_trio import Config, Cortex, CortexError, NoWorkersAvailable, Reply
from cortex_trio.failures import FailureKind as K
from cortex_trio.simulator import Behaviour, SimulatedProvider, Simulator, open_gateway, open_simulator

RESCUE = Behaviour(text="Rescued.")
KEYS = ("sk-reaction-key-number-1", "sk-reaction-key-number-2")


@attrs.frozen
class Row:
    """`tried`: what one call tries, in order. `opens_after`: failures until the breaker opens (None: never).

    `status` and `reopens_in`: of the primary after the call, as in the list of workers.
    """

    tried: str  # "p": the primary, "P": the primary with its other key, "f": the fallback
    opens_after: int | None = None
    status: str = "available"
    reopens_in: float | None = None
    fails_with: Behaviour | None = None  # if no provider sends this kind


ROWS = {
    K.CONTEXT_LENGTH: Row("p"),
    K.CONTENT_POLICY: Row("p"),
    K.BAD_REQUEST: Row("p"),
    K.CREDENTIAL: Row("pPf", status="quota_exceeded", reopens_in=900),
    K.PERMISSION: Row("pPf", status="quota_exceeded", reopens_in=60),
    K.QUOTA: Row("pPf", status="quota_exceeded", reopens_in=900),
    K.RATE_LIMIT: Row(
        "pPf", status="rate_limited", reopens_in=10
    ),  # a suspected cooldown: it is still tried if everything else fails
    K.OVERLOADED: Row("pf", opens_after=3),
    K.SERVER: Row("ppf", opens_after=3),
    K.CONNECTION: Row("pf", opens_after=3, fails_with=Behaviour(refuse=True)),
    K.STALLED: Row("pf", opens_after=3, fails_with=Behaviour(silent=True)),
    K.PROTOCOL: Row("ppf", opens_after=3, fails_with=Behaviour(garble_after=0)),
    K.TRUNCATED: Row("ppf", opens_after=3, fails_with=Behaviour(cut_after=0)),
    K.EMPTY: Row("ppf", opens_after=3, fails_with=Behaviour(text="")),
    K.MODEL_NOT_FOUND: Row("pPf", status="unavailable", reopens_in=60),
    K.REGION: Row("pf", status="unavailable", reopens_in=60),
    K.EDGE: Row("ppf", opens_after=5),  # each counts half
    K.UNKNOWN: Row("pf", opens_after=5),
}
BY_ITSELF = [pytest.param(kind, row, id=kind.value) for kind, row in ROWS.items()]
SERVED = [pytest.param(kind, row, id=kind.value) for kind, row in ROWS.items() if row.tried.endswith("f")]
REFUSED = [kind for kind, row in ROWS.items() if not row.tried.endswith("f")]


def a_primary_that_fails(sim: Simulator, kind: K, row: Row) -> SimulatedProvider:
    primary = sim.add("primary", row.fails_with or Behaviour(error=kind), provider="openai")
    primary.api_keys = KEYS
    sim.add("fallback", RESCUE, provider="anthropic")
    return primary


async def attempts_of(cortex: Cortex) -> list[tuple[str, K | None, str | None]]:
    """Worker, kind and key of every attempt of one call."""
    try:
        ledger = (await cortex.complete("Hi")).attempts
    except CortexError as error:
        ledger = error.attempts  # type: ignore[attr-defined]
    return [(attempt.worker, attempt.failure and attempt.failure.kind, attempt.key) for attempt in ledger]


@pytest.mark.parametrize(("kind", "row"), BY_ITSELF)
async def test_what_is_tried_next(kind: K, row: Row, autojump_clock: object) -> None:
    async with open_simulator() as sim:
        a_primary_that_fails(sim, kind, row)
        async with open_gateway(sim) as cortex:
            attempts = await attempts_of(cortex)
        assert [worker[0] for worker, _, _ in attempts] == list(row.tried.lower())
        assert all(seen is kind for worker, seen, _ in attempts if worker == "primary")
        if "P" in row.tried:
            assert len({key for worker, _, key in attempts if worker == "primary"}) == 2


@pytest.mark.parametrize(("kind", "row"), BY_ITSELF)
async def test_what_cools_down_and_for_how_long(kind: K, row: Row, autojump_clock: object) -> None:
    async with open_simulator() as sim:
        a_primary_that_fails(sim, kind, row)
        async with open_gateway(sim) as cortex:
            await attempts_of(cortex)
            await trio.testing.wait_all_tasks_blocked()
            [primary, fallback] = await cortex.list_workers()
            assert (primary.status, fallback.status) == (row.status, "available")
            assert primary.reason is (kind if row.status != "available" else None)
            expected = None if row.reopens_in is None else pytest.approx(row.reopens_in, abs=1)
            assert primary.reopens_in == expected


@pytest.mark.parametrize(("kind", "row"), BY_ITSELF)
async def test_how_many_failures_open_the_breaker(kind: K, row: Row, autojump_clock: object) -> None:
    async with open_simulator() as sim:
        a_primary_that_fails(sim, kind, row)
        async with open_gateway(sim) as cortex:
            failures = 0
            for _ in range(8):
                failures += sum(worker == "primary" for worker, _, _ in await attempts_of(cortex))
            await trio.testing.wait_all_tasks_blocked()
            [primary, _] = await cortex.list_workers()
            is_open = "breaker open" in cortex.explain("Hi")
        assert is_open == (row.opens_after is not None)
        if row.opens_after is not None:
            assert row.opens_after <= failures <= row.opens_after + 1, (
                "both tries of one call may be in flight"
            )
            assert primary.reopens_in is not None
            assert primary.reopens_in <= 5


# ------------------------------------------------------------------ until when


REFUSALS = [K.CREDENTIAL, K.PERMISSION, K.QUOTA, K.MODEL_NOT_FOUND, K.REGION]


@pytest.mark.parametrize("kind", REFUSALS)
@pytest.mark.slow
async def test_after_a_rejection_trials_are_rare_while_another_worker_serves(
    kind: K, autojump_clock: object
) -> None:
    async with open_simulator() as sim:
        primary = a_primary_that_fails(sim, kind, ROWS[kind])
        async with open_gateway(sim) as cortex:
            for _ in range(24 * 15):
                assert (await cortex.complete("Hi")).worker == "fallback"
                await trio.sleep(240)
        assert len(primary.requests) <= 2 * (24 + 10), "each key about once an hour"


@pytest.mark.parametrize("kind", REFUSALS)
async def test_after_a_rejection_the_worker_serves_again_within_minutes(
    kind: K, autojump_clock: object
) -> None:
    async with open_simulator() as sim:
        primary = sim.add("primary", Behaviour(error=kind), RESCUE, provider="openai")
        async with open_gateway(sim, max_wait=0) as cortex:
            with pytest.raises(CortexError):
                await cortex.complete("Hi")
            with pytest.raises(NoWorkersAvailable) as refused:
                await cortex.complete("Hi")
            assert refused.value.retry_after == pytest.approx(60)
            await trio.sleep(61)
            assert (await cortex.complete("Hi")).text == "Rescued."
        assert len(primary.requests) == 2


@pytest.mark.slow
@pytest.mark.parametrize("kind", REFUSALS)
async def test_the_trials_become_rare_while_the_rejection_lasts(kind: K, autojump_clock: object) -> None:
    async with open_simulator() as sim:
        primary = sim.add("primary", Behaviour(error=kind), provider="openai")
        async with open_gateway(sim, max_wait=0) as cortex:
            for _ in range(6 * 60):
                with pytest.raises(CortexError):
                    await cortex.complete("Hi")
                await trio.sleep(60)
        assert 6 <= len(primary.requests) <= 14, "after 1, 2, 4 … minutes, then every hour"


@pytest.mark.parametrize("kind", REFUSALS)
@pytest.mark.parametrize("how", ["reload with an equal configuration", "check_health"])
async def test_a_check_or_a_reload_ends_the_cooldown_at_once(
    kind: K, how: str, autojump_clock: object
) -> None:
    async with open_simulator() as sim:
        sim.add("primary", Behaviour(error=kind), RESCUE, provider="openai")
        workers = {"primary": sim["primary"].worker()}
        async with open_gateway(sim, workers, max_wait=0) as cortex:
            with pytest.raises(CortexError):
                await cortex.complete("Hi")
            with pytest.raises(NoWorkersAvailable):
                await cortex.complete("Hi")
            if how == "check_health":
                await cortex.check_health()
            else:
                await cortex.reload(Config(workers=workers, health_check_interval=0, max_wait=0))
            assert (await cortex.complete("Hi")).text == "Rescued."


@pytest.mark.parametrize("kind", [K.PERMISSION, K.MODEL_NOT_FOUND, K.RATE_LIMIT])
async def test_a_failure_of_one_model_does_not_affect_another_model(kind: K, autojump_clock: object) -> None:
    async with open_simulator() as sim:
        primary = sim.add(
            "primary",
            lambda request: Behaviour(error=kind) if request.body["model"] == "one" else RESCUE,
            provider="openai",
            models=("one", "another"),
        )
        async with open_gateway(sim) as cortex:
            for _ in range(2):
                with pytest.raises(CortexError):
                    await cortex.complete("Hi", model="one")
                assert (await cortex.complete("Hi", model="another")).text == "Rescued."
        assert sum(request.body["model"] == "another" for request in primary.requests) == 2


@pytest.mark.parametrize("kind", REFUSED)
async def test_a_failure_of_the_request_counts_against_no_worker(kind: K, autojump_clock: object) -> None:
    async with open_simulator() as sim:
        a_primary_that_fails(sim, kind, ROWS[kind])
        async with open_gateway(sim) as cortex:
            ledgers = [await attempts_of(cortex) for _ in range(20)]
            assert [(worker, seen) for [(worker, seen, _)] in ledgers] == [("primary", kind)] * 20
            assert len({key for [(_, _, key)] in ledgers}) == 2, "both keys go on taking turns"
            assert (await cortex.health_status()).system_health == "healthy"


async def test_a_model_that_only_one_key_may_use_is_served_with_that_key(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        primary = sim.add("primary", RESCUE, provider="openai")
        primary.api_keys = KEYS
        primary.limit_key(KEYS[0], Behaviour(error=K.MODEL_NOT_FOUND))
        async with open_gateway(sim) as cortex:
            for _ in range(6):
                assert (await cortex.complete("Hi")).text == "Rescued."


async def test_a_long_prompt_goes_to_a_worker_with_a_larger_window(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        for name, fault in (
            ("primary", Behaviour(error=K.CONTEXT_LENGTH)),
            ("same", RESCUE),
            ("large", RESCUE),
        ):
            sim.add(name, fault, provider="openai")
        windows = {"primary": 8_000, "same": 8_000, "large": 64_000}
        workers = {name: sim[name].worker(context_window=window) for name, window in windows.items()}
        async with open_gateway(sim, workers) as cortex:
            reply: Reply = await cortex.complete("Hi")
        assert [attempt.worker for attempt in reply.attempts] == ["primary", "large"]


# ------------------------------------------------------------------ failures that no provider sends


async def test_a_worker_whose_actor_is_killed_is_restarted_at_once_without_a_cooldown(
    autojump_clock: object,
) -> None:
    async with open_simulator() as sim:
        sim.add("primary", RESCUE, provider="openai")
        async with open_gateway(sim) as cortex:
            for _ in range(3):
                cortex.actor("primary").kill()
                assert (await cortex.complete("Hi")).worker == "primary"
            await trio.testing.wait_all_tasks_blocked()
            [primary] = await cortex.list_workers()
            assert (primary.status, primary.failures, primary.restarts) == ("available", 0, 3)


@pytest.mark.parametrize("says_so", [True, False])
async def test_should_retry_of_the_provider_overrides_the_table(
    says_so: bool, autojump_clock: object
) -> None:
    async with open_simulator() as sim:
        headers = {"x-should-retry": str(says_so).lower()}
        sim.add("primary", Behaviour(error=K.SERVER, headers=headers), provider="openai")
        sim.add("fallback", RESCUE, provider="anthropic")
        async with open_gateway(sim) as cortex:
            asked = [worker for worker, _, _ in await attempts_of(cortex)]
        assert asked == ["primary"] * (2 if says_so else 1) + ["fallback"]


@pytest.mark.parametrize(("kind", "row"), SERVED)
async def test_the_caller_gets_an_answer_after_every_failure_of_the_primary(
    kind: K, row: Row, autojump_clock: object
) -> None:
    async with open_simulator() as sim:
        a_primary_that_fails(sim, kind, row)
        async with open_gateway(sim) as cortex:
            for how in ("raise", "restart", "continue", "buffer"):
                async with cortex.chat("Hi", on_interrupt=how) as answer:
                    assert (await answer.collect()).text == "Rescued."


async def test_the_registry_and_all_workers_may_be_killed_together_and_are_restarted_at_once(
    autojump_clock: object,
) -> None:
    """A worker that is in the table needs no registry to start again; otherwise each would wait for the other."""
    async with open_simulator() as sim:
        sim.add("primary", RESCUE, provider="openai")
        async with open_gateway(sim) as cortex:
            for rounds in range(40):
                cortex.actor("workers").kill()
                for _ in range(rounds):
                    await trio.lowlevel.checkpoint()
                cortex.actor("registry").kill()
                killed = trio.current_time()
                assert (await cortex.complete("Hi")).text == "Rescued."
                await cortex.list_workers()
                assert trio.current_time() - killed < 0.5, f"{rounds} rounds between the two"
                await trio.sleep(10)
