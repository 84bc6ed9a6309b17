"""Observers are told, and cannot do harm."""

import logging

import attrs
import pytest

from cortex_trio import AnswerInterrupted, WorkerAdded, WorkerRemoved, WorkerStatusChanged
from cortex_trio.telemetry import Telemetry


def test_an_observer_is_told_in_order() -> None:
    told: list[object] = []
    telemetry = Telemetry(told.append)
    events = [WorkerAdded("a", "openai"), WorkerRemoved("a", "openai")]
    for event in events:
        telemetry.emit(event)
    assert told == events


def test_nobody_need_observe() -> None:
    Telemetry().emit(WorkerAdded("a", "openai"))


def test_an_observer_that_fails_is_logged_once_and_goes_on_being_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told: list[object] = []

    def broken(event: object) -> None:
        told.append(event)
        raise RuntimeError("observer is broken")

    telemetry = Telemetry(broken)
    with caplog.at_level(logging.DEBUG):
        for number in range(5):
            telemetry.emit(WorkerAdded(f"w{number}", "openai"))
    assert len(told) == 5
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "on_event raised for WorkerAdded" in caplog.text
    assert "observer is broken" in caplog.text


def test_what_is_no_mere_mistake_goes_through() -> None:
    def interrupted(event: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Telemetry(interrupted).emit(WorkerAdded("a", "openai"))


@pytest.mark.parametrize("kind", [WorkerAdded, WorkerRemoved, WorkerStatusChanged, AnswerInterrupted])
def test_an_event_is_a_value_that_cannot_be_changed(kind: type[attrs.AttrsInstance]) -> None:
    event = kind(*["x" for _ in attrs.fields(kind)])
    assert event == kind(*["x" for _ in attrs.fields(kind)])
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        event.worker = "y"  # type: ignore[attr-defined]
