"""The circuit breaker of one worker, over a sliding window of its requests. Pure: `now` is a parameter (Trio time).

    CLOSED ── too many failures ──► OPEN ── after its time, or a health check passed ──► HALF_OPEN
      ▲                              ▲                                                       │ admits one trial
      └── the trial succeeded ───────┼───────────────────────────────────────────────────────┤
                                     └── the trial failed: the next time is twice as long ───┘

Every state but CLOSED ends after some time. A trial belongs to one request: however the request ends, even by
cancellation, the trial ends with it. When a trial has its first content, the next trial may begin, because a stream can
take minutes; its own result counts at its end. Models: Nygard, "Release It!"; the Erlang library fuse.
"""

from __future__ import annotations

import enum
import math
from collections import deque
from typing import NamedTuple, final

WINDOW_SECONDS = 60.0
"""Seconds for which a result counts."""
WINDOW_CALLS = 1_000
"""Results that are remembered at most, to limit memory."""
MIN_CALLS = 5
FAILURE_RATE = 0.5
"""With at least MIN_CALLS results, this share of failures opens the breaker."""
IN_A_ROW = 3
"""So many failures without a success between them open the breaker."""
OPEN_SECONDS = (5.0, 60.0)
"""The first and the longest time for which the breaker stays open. Each failed trial doubles the time."""


class BreakerState(str, enum.Enum):
    CLOSED = "closed"
    """Requests are admitted."""
    OPEN = "open"
    """No request is admitted."""
    HALF_OPEN = "half_open"
    """One request at a time is admitted, as a trial."""


class Opening(NamedTuple):
    """One time for which a breaker is open."""

    opened: float
    """Trio time at which it opened."""
    open_for: float
    """Seconds until it is half-open."""


@final
class Breaker:
    """The circuit breaker of one worker. Only the Worker writes.

    Attributes:
        trial_by_others_until: Trio time until which another process makes the trial for all: no trial is admitted here
            before. Minus infinity: there is no such process. Written by the code that shares with other processes.
    """

    def __init__(self) -> None:
        self._calls: deque[tuple[float, float]] = deque()  # (Trio time, weight of the failure: 0, 0.5 or 1)
        self._failed = 0.0  # sum of the weights in _calls
        self._row = 0.0  # sum of the weights since the last success
        self._opened: float | None = None  # Trio time at which it opened; None while it is closed
        self._open_for = OPEN_SECONDS[0]  # seconds, from `_opened`
        self._health_check_passed = False  # a health check passed since it opened
        self.trial_by_others_until = -math.inf
        self._has_trial = False  # a trial has neither content nor a result: there is never a second one

    def state(self, now: float) -> BreakerState:
        """Return the state at `now`."""
        if self._opened is None:
            return BreakerState.CLOSED
        return BreakerState.OPEN if now < self.half_open_at else BreakerState.HALF_OPEN

    @property
    def calls(self) -> int:
        """Results that are remembered: of the last minute, at most WINDOW_CALLS."""
        return len(self._calls)

    @property
    def failed(self) -> float:
        """The sum of their weights, from 0 to `calls`."""
        return self._failed

    @property
    def half_open_at(self) -> float:
        """Trio time at which an open breaker becomes half-open; 0 when it is closed."""
        if self._opened is None:
            return 0.0
        return self._opened + (0.0 if self._health_check_passed else self._open_for)

    @property
    def opening(self) -> Opening | None:
        """The current opening, which lasts until a trial succeeds or fails; None when it is closed."""
        return None if self._opened is None else Opening(self._opened, self._open_for)

    @property
    def has_trial(self) -> bool:
        """Whether a trial has neither content nor a result."""
        return self._has_trial

    @property
    def admits_at(self) -> float:
        """Trio time before which no trial is admitted; 0 when it is closed."""
        return max(self.half_open_at, self.trial_by_others_until) if self._opened is not None else 0.0

    def admits(self, now: float) -> bool:
        """Whether a request may be admitted."""
        match self.state(now):
            case BreakerState.CLOSED:
                return True
            case BreakerState.OPEN:
                return False
            case BreakerState.HALF_OPEN:
                return not self._has_trial and self.trial_by_others_until <= now

    def take(self, now: float) -> bool:
        """Admit a request. Called only when `admits` is True. Returns whether the request is a trial."""
        if self.state(now) is BreakerState.HALF_OPEN:
            self._has_trial = True
            return True
        return False

    def release_trial(self) -> None:
        """Allow another trial, because the current one has its first content. Its result is still to come."""
        self._has_trial = False

    def record(
        self,
        weight: float | None,
        now: float,
        *,
        trial: bool = False,
        is_released: bool = False,
        may_open: bool = True,
    ) -> None:
        """Count the result of one request.

        Args:
            weight: of the failure, from 0 (the request succeeded) to 1. None: the result says nothing of the worker,
                for example because the request was cancelled, or the caller or the API key is the reason.
            now: Trio time at which the request ended.
            trial: the result of `take` for this request.
            is_released: whether `release_trial` was called for it.
            may_open: False: a closed breaker stays closed, because too many workers are ejected already.
        """
        if trial and not is_released:
            self._has_trial = False
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
            self._opened, self._health_check_passed = now, False
        elif self._opened is None and may_open and self._has_too_many_failures():
            self._opened, self._open_for = now, OPEN_SECONDS[0]

    def adopt(self, opening: Opening | None) -> None:
        """Open or close as the breaker of another process, which has its reasons. The results here stay.

        Args:
            opening: None: the trial of the other process has succeeded.
        """
        if opening is None:
            self._close()
        else:
            self._opened, self._open_for = opening
            self._health_check_passed = False

    def check_passed(self) -> None:
        """Make an open breaker half-open. It is not closed: a health check proves less than a request."""
        if self._opened is not None:
            self._health_check_passed = True

    def _remember(self, now: float, weight: float) -> None:
        self._calls.append((now, weight))
        self._failed += weight
        while self._calls[0][0] < now - WINDOW_SECONDS or len(self._calls) > WINDOW_CALLS:
            self._failed -= self._calls.popleft()[1]

    def _has_too_many_failures(self) -> bool:
        often = len(self._calls) >= MIN_CALLS and self._failed >= FAILURE_RATE * len(self._calls)
        return often or self._row >= IN_A_ROW

    def _close(self) -> None:
        self._calls.clear()
        self._failed = self._row = 0.0
        self._opened, self._open_for, self._health_check_passed = None, OPEN_SECONDS[0], False
