"""Calls the observer of the user. An observer that raises never harms a request."""

from __future__ import annotations

import logging
from typing import final

from .events import Event, Observer

log = logging.getLogger("cortex_trio")


@final
class Telemetry:
    """Passes events on to the observer. Without one, `emit` costs one comparison.

    Args:
        on_event: the observer. None: there is none.
    """

    def __init__(self, on_event: Observer | None = None) -> None:
        self._on_event = on_event
        self._has_failed = False

    def emit(self, event: Event) -> None:
        """Call the observer. An Exception from it is logged with its traceback the first time, then ignored.

        Raises what is not an Exception: a KeyboardInterrupt may arrive while the observer runs.
        """
        if self._on_event is None:
            return
        try:
            self._on_event(event)
        except Exception:
            if not self._has_failed:
                self._has_failed = True
                log.exception("on_event raised for %s; further ones are not logged", type(event).__name__)
