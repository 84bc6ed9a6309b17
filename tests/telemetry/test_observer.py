"""The observer gets every event in order, and cannot harm a request."""

import logging
from datetime import UTC, datetime, timedelta
from typing import get_args

import attrs
import pytest

from cortex_trio import Attempt, CallWaiting, WorkerAdded, WorkerRemoved, open_cortex
from cortex_trio.otp import Report
from cortex_trio.telemetry import Event, Telemetry, call_events, cluster_events, worker_events


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
        for module in (call_events, cluster_events, worker_events)
        for value in vars(module).values()
        if isinstance(value, type) and value.__module__ == module.__name__
    }
    assert catalogue | {Attempt, Report} == set(EVENTS)


@pytest.mark.parametrize("kind", EVENTS)
def test_an_event_is_a_frozen_value_with_a_docstring(kind: type[attrs.AttrsInstance]) -> None:
    values = {field.alias: "x" for field in attrs.fields(kind)}
    event = kind(**values)
    assert kind.__doc__
    assert event == kind(**values)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        event.worker = "y"  # type: ignore[attr-defined]


async def test_several_observers_get_every_event_and_one_that_raises_does_not_disturb_the_others() -> None:
    first: list[object] = []
    last: list[object] = []

    def broken(event: object) -> None:
        raise RuntimeError("observer is broken")

    async with open_cortex({"ollama": {}}, on_event=[first.append, broken, last.append]) as cortex:
        await cortex.add_worker("second", {"provider": "ollama"})
    assert WorkerAdded("second", "ollama") in first
    assert first == last


def test_an_observer_that_goes_on_raising_is_counted_and_logged_once_a_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(event: object) -> None:
        raise RuntimeError("observer is broken")

    telemetry = Telemetry(broken)
    start = datetime.now(UTC)
    for second in range(0, 150, 10):
        telemetry.emit(WorkerAdded("a", "openai", at=start + timedelta(seconds=second)))
    first, *others = caplog.records
    assert first.exc_info is not None
    assert [record.exc_info for record in others] == [None, None]
    assert [record.getMessage() for record in others] == [
        "on_event raised 6 more times, last RuntimeError for WorkerAdded",
        "on_event raised 6 more times, last RuntimeError for WorkerAdded",
    ]


def test_events_compare_without_their_time_and_the_id_of_their_call() -> None:
    early = CallWaiting("openai", None, 3.0, call="a-1", at=datetime(2026, 1, 1, tzinfo=UTC))
    assert early == CallWaiting("openai", None, 3.0, call="a-2")
