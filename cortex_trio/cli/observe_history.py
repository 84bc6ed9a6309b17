"""What `observe` concludes from several snapshots: latencies of the last attempts, tokens per minute. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import final

import attrs

from ..telemetry import Snapshot

WINDOW = timedelta(minutes=1)
LATENCIES = 40
"""Kept for each worker."""
FULL_BARS = "▁▂▃▄▅▆▇█"
ASCII_BARS = "_.-:=+*#"


@attrs.frozen
class Rates:
    """Per minute, over the last minute, or since the gateway was opened if that is less."""

    attempts: float
    input_tokens: float
    output_tokens: float
    cost: float | None = None
    """US dollars, of the attempts whose price is known. None: there was none."""


@final
class History:
    """The snapshots of one gateway until now. A snapshot of another gateway begins a new history."""

    def __init__(self) -> None:
        self._snapshots: deque[Snapshot] = deque()
        self._latencies: dict[str, deque[float]] = {}

    def add(self, snapshot: Snapshot) -> None:
        """Take the next snapshot into account."""
        last = self._snapshots[-1] if self._snapshots else None
        if last is not None and snapshot.opened_at != last.opened_at:
            self._snapshots.clear()
            self._latencies.clear()
            last = None
        new = snapshot.totals.attempts - (last.totals.attempts if last is not None else 0)
        for recent in snapshot.attempts[-new:] if new > 0 else ():
            if (latency := recent.attempt.time_to_first_token) is not None:
                self._latencies.setdefault(recent.attempt.worker, deque(maxlen=LATENCIES)).append(latency)
        self._snapshots.append(snapshot)
        while len(self._snapshots) > 2 and self._snapshots[1].at <= snapshot.at - WINDOW:
            self._snapshots.popleft()

    def latencies(self, worker: str) -> Sequence[float]:
        """Return the times to the first token of the last attempts, in seconds, the oldest first."""
        return tuple(self._latencies.get(worker, ()))

    def rates(self) -> Rates:
        """Return what happens per minute. Before the first snapshot: nothing."""
        if not self._snapshots:
            return Rates(0, 0, 0)
        first, last = self._snapshots[0], self._snapshots[-1]
        seconds = (last.at - first.at).total_seconds()
        if last.at - last.opened_at <= WINDOW or seconds <= 0:
            seconds = (last.at - last.opened_at).total_seconds()
            attempts, inputs, outputs = 0, 0, 0
        else:
            attempts, inputs, outputs = (
                first.totals.attempts,
                first.totals.input_tokens,
                first.totals.output_tokens,
            )
        minutes = max(seconds, 1.0) / 60
        before = first.totals.cost if attempts else None
        cost = None if last.totals.cost is None else (last.totals.cost - (before or 0.0)) / minutes
        return Rates(
            (last.totals.attempts - attempts) / minutes,
            (last.totals.input_tokens - inputs) / minutes,
            (last.totals.output_tokens - outputs) / minutes,
            cost,
        )


def sparkline(values: Sequence[float], width: int, bars: str = FULL_BARS) -> str:
    """Return the last `width` values as bars between 0 and the largest of them."""
    shown = values[-width:]
    most = max(shown, default=0.0)
    if most <= 0:
        return bars[0] * len(shown)
    return "".join(bars[min(len(bars) - 1, int(value / most * len(bars)))] for value in shown)


def seconds_between(start: datetime, end: datetime | None) -> float | None:
    """Return the seconds from `start` to `end`, at least 0. None: there is no end."""
    return None if end is None else max(0.0, (end - start).total_seconds())


def duration(seconds: float) -> str:
    """Return `7 s`, `4:05` or `26:04:05`."""
    whole = round(seconds)
    minutes, second = divmod(whole, 60)
    hour, minute = divmod(minutes, 60)
    if hour:
        return f"{hour}:{minute:02}:{second:02}"
    return f"{minute}:{second:02}" if minute else f"{second} s"
