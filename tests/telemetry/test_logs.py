"""What an operator reads at Python's default level, and below it: an outage, a failover, a recovery."""

import logging
from contextlib import suppress

import pytest
import trio
import trio.testing

from cortex_trio import Cortex, CortexError, Failure, FailureKind, WorkerAdded
from cortex_trio.simulator import Behaviour, open_gateway, open_simulator
from cortex_trio.telemetry import EventLog, log_events

K = FailureKind
DOWN = Behaviour(error=K.SERVER)


def lines(caplog: pytest.LogCaptureFixture, level: int = logging.INFO) -> list[tuple[str, str]]:
    """The lines about workers, since the last look."""
    found = [
        (record.levelname, record.getMessage())
        for record in caplog.records
        if record.name == "cortex_trio" and record.levelno >= level
    ]
    caplog.clear()
    return found


async def ask(cortex: Cortex, times: int = 1) -> None:
    for _ in range(times):
        with suppress(CortexError):
            await cortex.complete("Hi", max_wait=0)
        await trio.testing.wait_all_tasks_blocked()  # the actors have the result


async def test_an_outage_of_one_provider_then_of_all_then_recovery(
    autojump_clock: object, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "cortex_trio")
    async with open_simulator() as sim:
        openai, anthropic = sim.add("openai", DOWN), sim.add("anthropic", Behaviour(text="Hello."))
        async with open_gateway(sim) as cortex:
            await ask(cortex, times=6)
            one_is_down = lines(caplog)
            assert one_is_down[0][0] == "INFO"
            assert one_is_down[0][1].startswith("failover from openai to anthropic: server (HTTP 500)")
            assert one_is_down[1:] == [("WARNING", "worker openai is unavailable (server)")]

            anthropic.behave(Behaviour(error=K.OVERLOADED, retry_after=90))
            await ask(cortex, times=6)
            all_are_down = lines(caplog, logging.WARNING)
            [failed] = [line for _, line in all_are_down if line.startswith("call failed: ")]
            assert failed.startswith("call failed: anthropic: overloaded (HTTP 529)")
            assert [line for line in all_are_down if line[1] != failed] == [
                ("WARNING", "worker anthropic is unavailable (overloaded)"),
                ("ERROR", "no worker is available: openai is unavailable; anthropic is unavailable"),
            ]

            openai.behave(Behaviour(text="Hello."))
            anthropic.behave(Behaviour(text="Hello."))
            await trio.sleep(120)
            await ask(cortex, times=6)
            recovered = lines(caplog)
    assert ("INFO", "worker openai is available again") in recovered
    assert ("INFO", "worker anthropic is available again") in recovered
    assert {level for level, _ in recovered} == {"INFO"}


def test_a_line_has_fields_for_structured_logs(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "cortex_trio")
    log = EventLog()
    log.failover("c-1", "openai", "anthropic", Failure(K.OVERLOADED), now=0)
    log.status("openai", "unavailable", K.OVERLOADED, now=0)
    failover, down = caplog.records
    assert (failover.call, failover.worker, failover.kind) == ("c-1", "openai", "overloaded")  # type: ignore[attr-defined]
    assert (down.worker, down.status, down.kind) == ("openai", "unavailable", "overloaded")  # type: ignore[attr-defined]


def test_a_kind_of_line_is_logged_once_a_minute_for_each_worker(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "cortex_trio")
    log = EventLog()
    for now in range(0, 121, 10):
        log.failover("c-1", "openai", "anthropic", Failure(K.SERVER), now=now)
        log.waiting("c-1", "openai", "is busy", None, 3.0, now=now)
    log.failover("c-1", "groq", "anthropic", Failure(K.SERVER), now=0)
    assert len(lines(caplog)) == 3 + 3 + 1


def test_a_status_that_changes_often_is_logged_when_the_minute_is_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "cortex_trio")
    log = EventLog()
    assert log.status("openai", "unavailable", K.SERVER, now=0) == float("inf")
    assert log.status("openai", "available", None, now=1) == float("inf")
    assert log.status("openai", "unavailable", K.SERVER, now=2) == 60  # to be called again then
    assert len(lines(caplog)) == 2
    assert log.status("openai", "unavailable", K.SERVER, now=60) == float("inf")
    assert lines(caplog) == [("WARNING", "worker openai is unavailable (server)")]


async def test_that_no_worker_is_available_is_logged_again_after_a_recovery(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.ERROR, "cortex_trio")
    log, down = EventLog(), [("openai", "unavailable")]
    log.status("openai", "unavailable", K.SERVER, now=0)
    log.workers(lambda: down, now=0)
    log.workers(lambda: down, now=1)
    assert lines(caplog) == [("ERROR", "no worker is available: openai is unavailable")]
    log.status("openai", "available", None, now=2)
    log.workers(lambda: [("openai", "available")], now=2)
    log.status("openai", "unavailable", K.SERVER, now=3)
    assert log.workers(lambda: down, now=3) == 60
    assert lines(caplog) == []
    log.workers(lambda: down, now=60)
    assert len(lines(caplog)) == 1


async def test_a_worker_that_is_removed_is_no_outage(
    autojump_clock: object, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "cortex_trio")
    async with open_simulator() as sim:
        sim.add("openai")
        async with open_gateway(sim) as cortex:
            await cortex.remove_worker("openai")
    assert lines(caplog) == []


async def test_log_events_logs_every_event_at_debug(
    autojump_clock: object, caplog: pytest.LogCaptureFixture
) -> None:
    events: list[object] = []
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(error=K.OVERLOADED))
        sim.add("anthropic")
        caplog.set_level(logging.DEBUG, "cortex_trio")
        async with open_gateway(sim, on_event=[events.append, log_events()]) as cortex:
            await cortex.complete("Hi")
    logged = [record for record in caplog.records if hasattr(record, "event")]
    assert [record.event for record in logged] == [type(event).__name__ for event in events]
    assert {record.levelno for record in logged} == {logging.DEBUG}
    kinds = {record.kind for record in logged if record.event == "Attempt"}  # type: ignore[attr-defined]
    assert kinds == {None, "overloaded"}


def test_log_events_costs_little_while_debug_is_off(caplog: pytest.LogCaptureFixture) -> None:
    quiet = logging.getLogger("tests.quiet")
    quiet.setLevel(logging.INFO)
    log_events(quiet)(WorkerAdded("a", "openai"))
    assert caplog.records == []
