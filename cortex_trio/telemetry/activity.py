"""What the calls of a gateway are doing and did: counts, the last attempts, the calls that wait. For snapshots."""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import final

import attrs

from ..events import Attempt
from ..failures import FailureKind
from .snapshot import Totals

RECENT_ATTEMPTS = 50
"""Attempts that are kept: enough to see what happens, little enough for a page that is refreshed each second."""


@attrs.frozen(eq=False)
class Waiting:
    """A call that waits for `worker`, which cannot be asked because of `reason` (None: it is busy). Trio times."""

    worker: str
    reason: FailureKind | None
    since: float
    until: float


@final
class Activity:
    """Plain counters; every method is synchronous. Times are Trio's, given by the caller."""

    def __init__(self) -> None:
        self.calls = 0  # that began
        self._prefix = secrets.token_hex(4)  # of the ids of calls: differs between gateways
        self._ids = 0
        self.recent: deque[tuple[float, Attempt]] = deque(maxlen=RECENT_ATTEMPTS)  # with the time of its end
        self.waiting: dict[Waiting, None] = {}  # in the order in which they began to wait
        self._served = self._failed = self._cancelled = 0
        self._input_tokens = self._output_tokens = 0
        self._cost: float | None = None  # US dollars

    def next_call(self) -> str:
        """Return the id of a new call."""
        self._ids += 1
        return f"{self._prefix}-{self._ids}"

    def attempt_ended(self, attempt: Attempt, now: float) -> None:
        """Count an attempt that is over."""
        self.recent.append((now, attempt))
        if attempt.failure is None:
            self._served += 1
        elif attempt.failure.kind is FailureKind.CANCELLED:
            self._cancelled += 1
        else:
            self._failed += 1
        if attempt.usage is not None:
            self._input_tokens += attempt.usage.input_tokens or 0
            self._output_tokens += attempt.usage.output_tokens or 0

        if attempt.cost is not None:
            self._cost = (self._cost or 0.0) + attempt.cost

    @contextmanager
    def wait(self, waiting: Waiting) -> Iterator[None]:
        """List a call as waiting while the block runs."""
        self.waiting[waiting] = None
        try:
            yield
        finally:
            del self.waiting[waiting]

    @property
    def totals(self) -> Totals:
        """The counts until now."""
        return Totals(
            calls=self.calls,
            attempts=self._served + self._failed + self._cancelled,
            served=self._served,
            failed=self._failed,
            cancelled=self._cancelled,
            input_tokens=self._input_tokens,
            output_tokens=self._output_tokens,
            cost=self._cost,
        )
