"""What has happened in a world of several gateways: requests, refusals, and the times of faults. Knows no invariant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import attrs

KNOWN_AFTER = 2.0
"""Seconds after the end of a fault of the store within which all gateways know everything again."""


@attrs.define
class RequestRecord:
    """One request as a provider received it."""

    when: float
    gateway: str
    worker: str
    is_trial: bool
    """The breaker of its gateway was half-open."""
    limited_until: float | None = None
    """The response was a 429 that names this Trio time."""
    ended: float | None = None
    """When the response was sent. None: not yet."""


@attrs.frozen
class CallRecord:
    """One call that has ended."""

    when: float
    gateway: str
    overhead: float
    """Seconds that the gateway itself has spent on it."""


@final
class Record:
    """A run, written by the world."""

    def __init__(self) -> None:
        self.requests: list[RequestRecord] = []
        self.calls: list[CallRecord] = []
        self.charges: list[float] = []
        """When one of the shared limit was used, in order."""
        self.limit = 0.0
        """Of one window of the shared limit, the bound by which it may be exceeded included. 0: there is none."""
        self._faults: list[tuple[float, float]] = []
        self._began: float | None = None

    def fault_began(self, now: float) -> None:
        """Record that the store, or a link to it, does not work from now on."""
        if self._began is None:
            self._began = now

    def fault_ended(self, now: float) -> None:
        """Record that all links can work from now on."""
        if self._began is not None:
            self._faults.append((self._began, now + KNOWN_AFTER))
            self._began = None

    def all_could_know(self, since: float, until: float, seconds: float) -> bool:
        """Return whether for so many seconds in a row between two times all gateways were linked."""
        free_from = since
        for began, ended in self.faults:
            if ended <= free_from:
                continue
            if min(began, until) - free_from >= seconds:
                return True
            free_from = max(free_from, ended)
        return until - free_from >= seconds

    @property
    def faults(self) -> Sequence[tuple[float, float]]:
        """The times at which not all gateways could know everything, in order."""
        return (*self._faults, *([(self._began, float("inf"))] if self._began is not None else []))
