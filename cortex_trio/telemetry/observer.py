"""Tells the user's observer what happened; an observer that fails is logged once and never heard of again."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import final

log = logging.getLogger("cortex_trio")


@final
class Telemetry:
    """`emit` never raises and costs one comparison without an observer."""

    def __init__(self, on_event: Callable[[object], None] | None = None) -> None:
        self._on_event = on_event
        self._complained = False

    def emit(self, event: object) -> None:
        if self._on_event is None:
            return
        try:
            self._on_event(event)
        except Exception:
            if not self._complained:
                self._complained = True
                log.exception("on_event raised for %s; further ones are not logged", type(event).__name__)
