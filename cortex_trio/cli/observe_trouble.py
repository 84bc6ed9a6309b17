"""What is wrong, as one part of a frame of `cortex-trio observe`: cooldowns, calls that wait, the last failures.

Knows no tree and no table of workers.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
from rich.console import OverflowMethod
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ..failures import Failure, FailureKind
from ..telemetry import CooldownSnapshot, KeySnapshot, RecentAttempt, Snapshot, WaitingCall
from .observe_history import ASCII_BARS, FULL_BARS, duration, seconds_between

DETAILED = 100
"""Columns from which lines have more details: messages, models."""
FAILURES_SHOWN = 8


@attrs.frozen
class Marks:
    """The characters that are not letters."""

    good: str
    bad: str
    half: str
    branch: str
    last_branch: str
    trunk: str
    bars: str
    separator: str


UNICODE = Marks("●", "✗", "◐", "├── ", "└── ", "│   ", FULL_BARS, " · ")
ASCII = Marks("*", "x", "o", "|-- ", "`-- ", "|   ", ASCII_BARS, ", ")


@attrs.frozen
class Trouble:
    """The part of a frame, drawn for a width in columns."""

    snapshot: Snapshot
    marks: Marks
    width: int

    @property
    def overflow(self) -> OverflowMethod:
        """How a cell that is too long ends: rich's ellipsis is no ASCII character."""
        return "ellipsis" if self.marks is UNICODE else "crop"

    def table(self) -> Table:
        grid = Table.grid(expand=True)
        grid.add_column(no_wrap=True, overflow=self.overflow)
        sections = (
            ("cooling down", self._cooldowns()),
            ("calls that wait", self._waiting()),
            ("last failures", self._failures()),
        )
        for title, lines in sections:
            if lines:
                grid.add_row(Text(title, style="dim"))
                for line in lines:
                    grid.add_row(Padding(line, (0, 0, 0, 1)))
        if not grid.row_count:
            grid.add_row(Text("nothing is wrong", style="green"))
        return grid

    def _cooldowns(self) -> Sequence[Text]:
        workers = [
            self._cooldown(worker.name, cooldown)
            for worker in self.snapshot.workers
            for cooldown in worker.cooldowns
        ]
        keys = [
            self._cooldown(_owner(key), cooldown) for key in self.snapshot.keys for cooldown in key.cooldowns
        ]
        return [*keys, *workers]

    def _cooldown(self, name: str, cooldown: CooldownSnapshot) -> Text:
        left = seconds_between(self.snapshot.at, cooldown.until) or 0.0
        model = f" ({cooldown.model})" if cooldown.model and self.width >= DETAILED else ""
        return Text.assemble(
            (f"{duration(left):>6} ", "bold yellow"), f"{name} {plain(cooldown.reason)}{model}"
        )

    def _waiting(self) -> Sequence[Text]:
        """Return the calls that wait, those for the same worker on one line with the longest wait."""
        grouped: dict[tuple[str, FailureKind | None], list[WaitingCall]] = {}
        for call in self.snapshot.waiting:
            grouped.setdefault((call.worker, call.reason), []).append(call)
        return [self._wait(worker, reason, calls) for (worker, reason), calls in grouped.items()]

    def _wait(self, worker: str, reason: FailureKind | None, calls: Sequence[WaitingCall]) -> Text:
        since = seconds_between(calls[0].since, self.snapshot.at) or 0.0
        left = min(seconds_between(self.snapshot.at, call.until) or 0.0 for call in calls)
        why = "busy" if reason is None else plain(reason)
        limit = f", at most {duration(left)} more" if self.width >= DETAILED else ""
        return Text.assemble(
            (f"{duration(since):>6} ", "bold yellow"),
            (_times(len(calls)), "bold"),
            f"for {worker} ({why}){limit}",
        )

    def _failures(self) -> Sequence[Text]:
        """Return the failed attempts of the snapshot, equal ones on one line with the time of the last."""
        grouped: dict[tuple[str, FailureKind, int | None], list[RecentAttempt]] = {}
        for recent in reversed(self.snapshot.attempts):
            attempt, failure = recent.attempt, recent.attempt.failure
            if failure is not None and failure.kind is not FailureKind.CANCELLED:
                grouped.setdefault((attempt.worker, failure.kind, failure.status), []).append(recent)
        return [self._failure(same) for same in list(grouped.values())[:FAILURES_SHOWN]]

    def _failure(self, same: Sequence[RecentAttempt]) -> Text:
        last = same[0]
        failure = last.attempt.failure or Failure(FailureKind.UNKNOWN)
        ago = seconds_between(last.ended_at, self.snapshot.at) or 0.0
        status = f" {failure.status}" if failure.status else ""
        said = failure.message if self.marks is UNICODE else failure.message.replace("…", "...")
        message = f"{self.marks.separator}{said}" if said and self.width >= DETAILED else ""
        return Text.assemble(
            (f"{duration(ago):>6} ", "dim"),
            (_times(len(same)), "bold"),
            f"{last.attempt.worker} ",
            (f"{plain(failure.kind)}{status}", "red"),
            (message, "dim"),
        )


def _owner(key: KeySnapshot) -> str:
    return f"{key.worker} {key.key}" if key.key else key.worker


def _times(number: int) -> str:
    return f"{number}x " if number > 1 else ""


def plain(kind: FailureKind) -> str:
    """Return the kind of failure as it is shown: "rate limit"."""
    return kind.value.replace("_", " ")
