"""Calls the observers of the user. An observer that raises never harms a call."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import final

import attrs

from .events import Event, Observer

log = logging.getLogger("cortex_trio")

ERROR_INTERVAL = timedelta(minutes=1)
"""Between two log lines about one observer that raises."""


@final
class Telemetry:
    """Passes events on to the observers.

    A caller makes an event only if there is an observer: `if telemetry.observers: telemetry.emit(…)`. So an event
    costs one comparison without one.

    Args:
        on_event: one observer, or several, which are called in this order. None: there is none.

    Attributes:
        observers: the observers.
    """

    def __init__(self, on_event: Observer | Sequence[Observer] | None = None) -> None:
        observers = () if on_event is None else (on_event,) if callable(on_event) else tuple(on_event)
        self.observers: Sequence[Observer] = observers
        self._errors: dict[int, _Errors] = {}  # by the index of the observer; those that have raised

    def emit(self, event: Event) -> None:
        """Call the observers.

        An Exception from one of them is logged: the first with its traceback, further ones as a number, once a minute.
        The others are called all the same.

        Raises what is not an Exception: a KeyboardInterrupt may arrive while an observer runs.
        """
        for index, observer in enumerate(self.observers):
            try:
                observer(event)
            except Exception as error:
                self._log_error(index, error, event)

    def _log_error(self, index: int, error: Exception, event: Event) -> None:
        name, errors = type(event).__name__, self._errors.get(index)
        if errors is None:
            self._errors[index] = _Errors(event.at)
            log.error("on_event raised for %s; it is called again", name, exc_info=error)
            return
        errors.unlogged += 1
        if event.at - errors.logged_at >= ERROR_INTERVAL:
            text = "on_event raised %d more times, last %s for %s"
            log.error(text, errors.unlogged, type(error).__name__, name)
            errors.logged_at, errors.unlogged = event.at, 0


@attrs.define
class _Errors:
    """What one observer has raised."""

    logged_at: datetime
    unlogged: int = 0  # exceptions since then
