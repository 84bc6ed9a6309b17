"""The events of workers: status, breaker, cooldowns, health checks, and changes of the configuration."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TypeVar

import pytest
import trio
import trio.testing

from cortex_trio import (
    BreakerChanged,
    CooldownEnded,
    CooldownStarted,
    Cortex,
    CortexError,
    FailureKind,
    HealthChecked,
    Reloaded,
    open_cortex,
)
from cortex_trio.otp import Report
from cortex_trio.simulator import Behaviour, open_gateway, open_simulator

K = FailureKind
E = TypeVar("E")


def of(events: Sequence[object], kind: type[E]) -> list[E]:
    return [event for event in events if isinstance(event, kind)]


async def fails(cortex: Cortex) -> None:
    with pytest.raises(CortexError):
        await cortex.complete("Hi", max_wait=0, max_attempts=1)
    await trio.testing.wait_all_tasks_blocked()  # the actors have the result


def seconds_until(event: CooldownStarted) -> float:
    return (event.until - event.at).total_seconds()


async def test_a_cooldown_begins_and_ends_at_its_time_without_a_request(autojump_clock: object) -> None:
    events: list[object] = []
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(error=K.RATE_LIMIT, retry_after=30))
        async with open_gateway(sim, on_event=events.append) as cortex:
            await fails(cortex)
            [started] = of(events, CooldownStarted)
            assert (started.worker, started.reason, started.basis) == ("openai", K.RATE_LIMIT, "declared")
            assert started.scope in ("key", "key_model")
            assert started.key is not None
            assert "***" in started.key
            assert seconds_until(started) == pytest.approx(30, abs=0.5)
            await trio.sleep(29)
            assert of(events, CooldownEnded) == []
            await trio.sleep(2)
            [ended] = of(events, CooldownEnded)
    assert (ended.worker, ended.scope, ended.key) == (started.worker, started.scope, started.key)
    assert (ended.model, ended.reason) == (started.model, started.reason)


async def test_a_cooldown_that_a_success_ends_is_reported(autojump_clock: object) -> None:
    events: list[object] = []
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(error=K.RATE_LIMIT), Behaviour(text="Hello."))
        async with open_gateway(sim, on_event=events.append) as cortex:
            await fails(cortex)
            [started] = of(events, CooldownStarted)
            assert started.basis == "suspected"
            began = trio.current_time()
            await trio.sleep(1)
            await cortex.complete("Hi")  # a guess is tried if nothing else is left
            await trio.testing.wait_all_tasks_blocked()
            [ended] = of(events, CooldownEnded)
            assert trio.current_time() - began < seconds_until(started)
    assert (ended.scope, ended.reason) == (started.scope, started.reason)


async def test_a_breaker_opens_becomes_half_open_by_time_and_closes(autojump_clock: object) -> None:
    events: list[object] = []
    async with open_simulator() as sim:
        sim.add("openai", *[Behaviour(error=K.OVERLOADED)] * 3, Behaviour(text="Hello."))
        sim.add("anthropic", Behaviour(text="Meanwhile."))
        async with open_gateway(sim, on_event=events.append) as cortex:
            for _ in range(3):
                await cortex.complete("Hi")
            await trio.testing.wait_all_tasks_blocked()
            [opened] = of(events, BreakerChanged)
            assert (opened.worker, opened.old, opened.new) == ("openai", "closed", "open")
            assert opened.until is not None
            assert (opened.until - opened.at).total_seconds() == pytest.approx(5, abs=0.5)
            await trio.sleep(10)
            assert (await cortex.complete("Hi")).worker == "openai"
            await trio.testing.wait_all_tasks_blocked()
    changes = [(event.old, event.new, event.until is None) for event in of(events, BreakerChanged)]
    assert changes == [("closed", "open", False), ("open", "half_open", True), ("half_open", "closed", True)]


async def test_a_health_check_reports_its_result(autojump_clock: object) -> None:
    events: list[object] = []
    async with open_simulator() as sim:
        sim.add("openai")
        sim.add("anthropic").behave_health(Behaviour(status=503))
        async with open_gateway(sim, on_event=events.append) as cortex:
            await cortex.check_health()
    checks = {event.worker: event for event in of(events, HealthChecked)}
    assert set(checks) == {"openai", "anthropic"}
    assert checks["openai"].failure is None
    assert (failure := checks["anthropic"].failure) is not None
    assert failure.status == 503
    assert all(0 <= check.seconds < 10 for check in checks.values())


async def test_a_reload_says_what_it_has_changed() -> None:
    events: list[object] = []
    before = {"ollama": {}, "gone": {"provider": "ollama"}, "same": {"provider": "ollama"}}
    after = {
        "ollama": {"models": ["other"]},
        "same": {"provider": "ollama"},
        "new": {"provider": "ollama"},
    }
    async with open_cortex(before, on_event=events.append) as cortex:
        await cortex.reload(after)
    assert of(events, Reloaded) == [Reloaded(("new",), ("ollama",), ("gone",))]


async def test_every_event_has_a_time_in_utc(autojump_clock: object) -> None:
    events: list[object] = []
    before = datetime.now(UTC)
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(error=K.RATE_LIMIT))
        async with open_gateway(sim, on_event=events.append) as cortex:
            await fails(cortex)
            cortex.actor("keys").kill()
            await trio.testing.wait_all_tasks_blocked()
    assert of(events, Report)
    for event in events:
        assert before <= event.at <= datetime.now(UTC)  # type: ignore[attr-defined]
        assert event.at.tzinfo is UTC  # type: ignore[attr-defined]
