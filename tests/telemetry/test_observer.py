"""The observer gets every event in order, and cannot harm a request."""

import logging
from typing import get_args

import attrs
import pytest

from cortex_trio import Attempt, WorkerAdded, WorkerRemoved
from cortex_trio.otp import Report
from cortex_trio.telemetry import Event, Telemetry, events


def test_the_observer_gets_events_in_order() -> None:
    received: list[object] = []
    telemetry = Telemetry(received.append)
    events = [WorkerAdded("a", "openai"), WorkerRemoved("a", "openai")]
    for event in events:
        telemetry.emit(event)
    assert received == events


def test_without_an_observer_emit_does_nothing() -> None:
    Telemetry().emit(WorkerAdded("a", "openai"))


def test_an_observer_that_raises_is_logged_once_and_gets_further_events(
    caplog: pytest.LogCaptureFixture,
) -> None:
    received: list[object] = []

    def broken(event: object) -> None:
        received.append(event)
        raise RuntimeError("observer is broken")

    telemetry = Telemetry(broken)
    with caplog.at_level(logging.DEBUG):
        for number in range(5):
            telemetry.emit(WorkerAdded(f"w{number}", "openai"))
    assert len(received) == 5
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "on_event raised for WorkerAdded" in caplog.text
    assert "observer is broken" in caplog.text


def test_an_interrupt_in_the_observer_is_raised() -> None:
    def interrupted(event: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Telemetry(interrupted).emit(WorkerAdded("a", "openai"))


EVENTS = get_args(Event)


def test_every_class_of_the_catalogue_is_an_event() -> None:
    catalogue = {
        value
        for value in vars(events).values()
        if isinstance(value, type) and value.__module__ == events.__name__
    }
    assert catalogue | {Attempt, Report} == set(EVENTS)


@pytest.mark.parametrize("kind", EVENTS)
def test_an_event_is_a_frozen_value_with_a_docstring(kind: type[attrs.AttrsInstance]) -> None:
    values = ["x" for _ in attrs.fields(kind)]
    event = kind(*values)
    assert kind.__doc__
    assert event == kind(*values)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        event.worker = "y"  # type: ignore[attr-defined]
