"""Typed reports and log lines, which never contain the contents of messages."""

import logging

import pytest
from harness import Actor, Bang, Harness, running, settle

from cortex_trio.otp import Child, Crashed, GenServer, Ref, Report, ReportKind, Supervisor


@pytest.fixture
def harness() -> Harness:
    return Harness()


async def test_progress_is_reported(harness: Harness) -> None:
    async with running(harness.supervisor(*harness.children("ab"))):
        await harness.crash("b")
    kinds = [(str(report.kind), report.child) for report in harness.reports]
    assert kinds == [("progress", "a"), ("progress", "b"), ("child_terminated", "b"), ("progress", "b")]
    assert all(report.supervisor == "root" for report in harness.reports)


async def test_an_observer_that_raises_has_no_effect(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    def observer(report: Report) -> None:
        raise Bang("observer")

    async with running(Supervisor([harness.child("a")], report=observer)):
        await harness.crash("a")
        assert await harness["a"].call(Actor.add) == 1
    assert "root: the report callback failed" in caplog.text


async def test_progress_is_logged_as_debug_and_a_crash_as_error(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    """Progress is debug, a crash is an error with its traceback."""
    caplog.set_level(logging.DEBUG, logger="cortex_trio.otp")
    async with running(harness.supervisor(harness.child("a"), max_restarts=0)) as tree:
        harness["a"].cast(Actor.crash)
        await tree.ended.wait()
    started, crashed, gave_up = caplog.records
    assert (started.levelname, started.getMessage()) == ("DEBUG", "root: progress (a)")
    assert (crashed.levelname, crashed.getMessage()) == (
        "ERROR",
        "root: child_terminated (a): crashed with Bang",
    )
    assert crashed.exc_info is not None
    assert crashed.exc_info[0] is Bang
    assert gave_up.getMessage() == "root: max_restarts (a): shut itself down (MaxRestartsExceeded)"


class Vault(GenServer):
    """Its state and messages must not be logged."""

    def __init__(self) -> None:
        self.key = "sk-state"

    async def use(self, key: str) -> None:
        raise Bang("broken")


async def test_state_and_messages_stay_out_of_reports_and_logs(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="cortex_trio.otp")
    reports: list[Report] = []
    ref: Ref[Vault] = Ref("vault")
    async with running(Supervisor([Child(ref=ref, start=Vault)], report=reports.append)):
        ref.cast(Vault.use, "sk-message")
        ref.info("sk-info")
        await settle()
        ref.info("sk-info")
        await settle()
    assert [report.kind for report in reports].count(ReportKind.CHILD_TERMINATED) == 1
    assert isinstance(reports[1].reason, Crashed)
    assert "(vault): crashed with Bang" in caplog.text
    assert "sk-" not in caplog.text + repr(reports) + repr(ref)
