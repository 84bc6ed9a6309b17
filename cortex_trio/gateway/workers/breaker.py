"""Is this worker worth asking? A circuit breaker over a sliding window of real traffic. Pure: `now` is a parameter.

    CLOSED ──trip──► OPEN ──its time is over, or a free probe succeeded──► HALF_OPEN
      ▲                ▲                                                       │ lends one trial
      └── trial ok ────┼───────────────────────────────────────────────────────┤
                       └── trial failed (its time doubles) ────────────────────┘

Every state but CLOSED has a timed exit. The trial is tied to the request that holds it: whatever becomes of
that request, even cancellation, ends the trial. A trial that has its first content lets the next one begin, for a
stream may take minutes; its verdict comes with its end. Model: Nygard, "Release It!"; the Erlang library fuse.
"""

from __future__ import annotations

import enum
from collections import deque
from typing import final

WINDOW_SECONDS = 60.0
WINDOW_CALLS = 1_000  # and no more of them, however busy the worker: memory is bounded
MIN_CALLS = 5
FAILURE_RATE = 0.5
IN_A_ROW = 3
OPEN_SECONDS = (5.0, 60.0)
"""The first and the longest time it stays open; doubled with every trial that fails."""


class BreakerState(str, enum.Enum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@final
class Breaker:
    """One worker's breaker. `_trial` is True while one admitted trial has neither content nor a result: never two."""

    def __init__(self) -> None:
        self._calls: deque[tuple[float, float]] = deque()  # (when, weight of failure: 0, 0.5 or 1)
        self._failed = 0.0  # sum of the weights in _calls
        self._row = 0.0  # weight of the failures since the last success
        self._opened: float | None = None
        self._open_for = OPEN_SECONDS[0]
        self._probed = False  # a free probe succeeded since it opened
        self._trial = False

    def state(self, now: float) -> BreakerState:
        if self._opened is None:
            return BreakerState.CLOSED
        return BreakerState.OPEN if now < self.reopens_at else BreakerState.HALF_OPEN

    @property
    def calls(self) -> int:
        """Results that are remembered: of the last minute, at most `WINDOW_CALLS`."""
        return len(self._calls)

    @property
    def failed(self) -> float:
        """The sum of their weights, between 0 and `calls`."""
        return self._failed

    @property
    def reopens_at(self) -> float:
        """When an open breaker will lend its trial (Trio time); 0 when closed."""
        if self._opened is None:
            return 0.0
        return self._opened + (0.0 if self._probed else self._open_for)

    def admits(self, now: float) -> bool:
        """Would `take` succeed now?"""
        match self.state(now):
            case BreakerState.CLOSED:
                return True
            case BreakerState.OPEN:
                return False
            case BreakerState.HALF_OPEN:
                return not self._trial

    def take(self, now: float) -> bool:
        """Admit a request that `admits` allowed; return whether it is the trial and must be given back as such."""
        if self.state(now) is BreakerState.HALF_OPEN:
            self._trial = True
            return True
        return False

    def trial_answers(self) -> None:
        """The trial has its first content: another request may be a trial as well. There is no verdict yet."""
        self._trial = False

    def record(
        self,
        weight: float | None,
        now: float,
        *,
        trial: bool = False,
        answered: bool = False,
        may_open: bool = True,
    ) -> None:
        """Learn from one finished request.

        Args:
            weight: how much of a failure it was. 0: it was served; None: it says nothing about the worker (cancelled,
                or the fault of the caller or the key).
            now: Trio time at which it ended.
            trial: what `take` returned for it.
            answered: `trial_answers` was called for it.
            may_open: False keeps a closed breaker closed: too much of the pool is ejected already.
        """
        if trial and not answered:
            self._trial = False
        if weight is None:
            return
        self._remember(now, weight)
        if weight == 0:
            self._row = 0.0
            if trial:
                self._close()
            return
        self._row += weight
        if trial and self._opened is not None:
            self._open_for = min(self._open_for * 2, OPEN_SECONDS[1])
            self._opened, self._probed = now, False
        elif self._opened is None and may_open and self._tripped():
            self._opened, self._open_for = now, OPEN_SECONDS[0]

    def probe_succeeded(self) -> None:
        """A free probe was answered: move open → half-open, never → closed. Talking is cheap, answering is not."""
        if self._opened is not None:
            self._probed = True

    def _remember(self, now: float, weight: float) -> None:
        self._calls.append((now, weight))
        self._failed += weight
        while self._calls[0][0] < now - WINDOW_SECONDS or len(self._calls) > WINDOW_CALLS:
            self._failed -= self._calls.popleft()[1]

    def _tripped(self) -> bool:
        often = len(self._calls) >= MIN_CALLS and self._failed >= FAILURE_RATE * len(self._calls)
        return often or self._row >= IN_A_ROW

    def _close(self) -> None:
        self._calls.clear()
        self._failed = self._row = 0.0
        self._opened, self._open_for, self._probed = None, OPEN_SECONDS[0], False
