"""One frame of `cortex-trio observe`, drawn with rich. The only module that imports rich.

The layout follows the width: two columns below the table of workers, more columns in it from WIDE on. Without a
Unicode encoding all marks are ASCII.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import final

import attrs
from rich.console import Console, ConsoleOptions, OverflowMethod, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ..failures import Failure, FailureKind
from ..telemetry import (
    ActorSnapshot,
    CooldownSnapshot,
    KeySnapshot,
    RecentAttempt,
    Snapshot,
    WaitingCall,
    WorkerSnapshot,
)
from .facts import dollars
from .observe_history import ASCII_BARS, FULL_BARS, History, duration, seconds_between, sparkline

WIDE = 130
"""Columns from which the table of workers has its additional columns."""
DETAILED = 100
"""Columns from which lines have more details: messages, models."""
NARROW = 66
"""Columns below which the table has fewer columns, and the tree stands above what is wrong."""
FAILURES_SHOWN = 8
BARS, BARS_WIDE = 10, 24
"""Attempts in the trend of the latency."""


@final
class Terminal(Console):
    """A console that leaves a closed pipe to the caller; rich's ends the program with status 1."""

    def on_broken_pipe(self) -> None:
        """Called by rich while it handles the BrokenPipeError."""
        raise


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
class Frame:
    """What is drawn. `title`: what is observed; `note`: a line below the counts, or ""."""

    snapshot: Snapshot
    history: History
    title: str
    note: str = ""
    lost: bool = False
    """The connection was lost; the snapshot is the last one."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        drawing = _Drawing(self, ASCII if options.ascii_only else UNICODE, options.max_width)
        yield from drawing.parts()


@attrs.frozen
class _Column:
    """A column of the table of workers, shown where the frame is at least `needs` wide."""

    title: str
    cell: Callable[[WorkerSnapshot], Text]
    ratio: int | None = None
    """Its share of the space that is left. None: as wide as its cells."""
    right: bool = False
    needs: int = 0


@attrs.frozen
class _Drawing:
    frame: Frame
    marks: Marks
    width: int

    @property
    def snapshot(self) -> Snapshot:
        return self.frame.snapshot

    @property
    def overflow(self) -> OverflowMethod:
        """How a cell that is too long ends: rich's ellipsis is no ASCII character."""
        return "ellipsis" if self.marks is UNICODE else "crop"

    def parts(self) -> Iterator[RenderableType]:
        yield self._headline()
        yield self._counts()
        if self.frame.note:
            yield Text(self.frame.note, style="bold red" if self.frame.lost else "yellow")
        yield Text()
        yield self._workers()
        yield Text()
        if self.width < NARROW:
            yield from (self._tree(), Text(), self._trouble())
            return
        grid = Table.grid(expand=True, padding=(0, 2, 0, 0))
        grid.add_column(no_wrap=True)
        grid.add_column(ratio=1, no_wrap=True)
        grid.add_row(self._tree(), self._trouble())
        yield grid

    # -------------------------------------------------------------- the head

    def _headline(self) -> Text:
        snapshot = self.snapshot
        available = sum(worker.status == "available" for worker in snapshot.workers)
        everything = len(snapshot.workers)
        style = "green" if available == everything else "yellow" if available else "bold red"
        return self._joined(
            Text(f"cortex_trio {snapshot.version}", style="bold"),
            Text(self.frame.title),
            Text(f"open for {duration((snapshot.at - snapshot.opened_at).total_seconds())}"),
            Text(f"{available} of {everything} workers available", style=style),
        )

    def _counts(self) -> Text:
        totals, rates = self.snapshot.totals, self.frame.history.rates()
        if self.width >= DETAILED:
            tokens = f"{_short(rates.input_tokens)} tokens in, {_short(rates.output_tokens)} out"
        else:
            tokens = f"{_short(rates.input_tokens + rates.output_tokens)} tokens"
        waiting = len(self.snapshot.waiting)
        if rates.cost is not None:
            tokens += f", {dollars(rates.cost)}"
        return self._joined(
            Text(f"calls {totals.calls}"),
            Text(f"failed {totals.failed}", style="red" if totals.failed else ""),
            Text(f"waiting {waiting}", style="bold yellow" if waiting else ""),
            Text(f"per min: {_short(rates.attempts)} attempts, {tokens}"),
            *self._link(),
        )

    def _link(self) -> Iterator[Text]:
        """Yield the state of the link to the shared store; nothing without a store."""
        link = self.snapshot.cluster
        if link is not None:
            text = f"store: {link.processes} processes" if link.connected else "store: not connected"
            yield Text(text, style="" if link.connected else "bold yellow")

    def _joined(self, *texts: Text) -> Text:
        return Text.assemble(
            texts[0], *(part for text in texts[1:] for part in ((self.marks.separator, "dim"), text))
        )

    # -------------------------------------------------------------- workers

    def _workers(self) -> Table:
        table = Table(box=None, expand=True, padding=(0, 1, 0, 0), header_style="dim", pad_edge=False)
        columns = [column for column in self._columns() if self.width >= column.needs]
        for column in columns:
            table.add_column(
                column.title,
                justify="right" if column.right else "left",
                ratio=column.ratio,
                no_wrap=True,
                overflow=self.overflow,
            )
        for worker in self.snapshot.workers:
            table.add_row(*(column.cell(worker) for column in columns))
        if not self.snapshot.workers:
            table.add_row(Text("no workers", style="bold red"))
        return table

    def _columns(self) -> Sequence[_Column]:
        return (
            _Column("worker", lambda worker: Text(worker.name, style="bold"), ratio=3),
            _Column("model", lambda worker: Text(next(iter(worker.models), "")), ratio=3, needs=WIDE),
            _Column("status", self._status, ratio=5),
            _Column("breaker", self._breaker, needs=NARROW),
            _Column("flight", self._in_flight, right=True),
            _Column("sent", lambda worker: Text(str(worker.requests)), right=True, needs=NARROW),
            _Column("failed", lambda worker: _number(worker.failures, "red"), right=True),
            _Column("latency", self._latency, right=True),
            _Column("trend", self._trend, needs=NARROW),
            _Column("connections", self._connections, needs=WIDE),
            _Column("restarts", lambda worker: _number(worker.restarts, "yellow"), right=True, needs=WIDE),
        )

    def _in_flight(self, worker: WorkerSnapshot) -> Text:
        limit = "" if worker.limit is None else f"/{worker.limit}"
        return Text(f"{worker.in_flight}{limit}", style="cyan" if worker.in_flight else "")

    def _latency(self, worker: WorkerSnapshot) -> Text:
        return Text("" if worker.latency is None else f"{worker.latency:.2f} s")

    def _trend(self, worker: WorkerSnapshot) -> Text:
        width = BARS_WIDE if self.width >= WIDE else BARS
        line = sparkline(self.frame.history.latencies(worker.name), width, self.marks.bars)
        return Text(f"{line:<{width}}", style="cyan")

    def _connections(self, worker: WorkerSnapshot) -> Text:
        links = worker.connections
        return Text("" if links is None else f"{links.in_use} in use, {links.idle} idle")

    def _status(self, worker: WorkerSnapshot) -> Text:
        if worker.draining:
            return Text(f"{self.marks.half} draining", style="yellow")
        if worker.status == "available":
            return Text(f"{self.marks.good} available", style="green")
        reason = _plain(worker.reason) if worker.reason is not None else worker.status.replace("_", " ")
        left = seconds_between(self.snapshot.at, worker.until)
        return Text(
            f"{self.marks.bad} {reason}" + ("" if left is None else f", {duration(left)}"), style="bold red"
        )

    def _breaker(self, worker: WorkerSnapshot) -> Text:
        breaker = worker.breaker
        match breaker.state:
            case "closed":
                return Text("closed")
            case "half_open":
                return Text("half-open", style="yellow")
            case "open":
                left = seconds_between(self.snapshot.at, breaker.until)
                return Text("open" if left is None else f"open {duration(left)}", style="bold red")

    # -------------------------------------------------------------- the tree

    def _tree(self) -> Table:
        table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim", pad_edge=False)
        table.add_column("tree", no_wrap=True, overflow=self.overflow)
        table.add_column("state", no_wrap=True, overflow=self.overflow)
        table.add_column("restarts", justify="right", no_wrap=True, overflow=self.overflow)
        table.add_column("mailbox", justify="right", no_wrap=True, overflow=self.overflow)
        for name, actor in self._actors(self.snapshot.tree, "", ""):
            style = {"running": "green", "restarting": "yellow", "stopped": "bold red"}[actor.state]
            table.add_row(
                name,
                Text(actor.state, style=style),
                Text(str(actor.restarts), style="bold yellow" if actor.restarts else "dim"),
                Text(str(actor.mailbox), style="yellow" if actor.mailbox else "dim"),
            )
        return table

    def _actors(self, actor: ActorSnapshot, branch: str, below: str) -> Iterator[tuple[Text, ActorSnapshot]]:
        yield Text.assemble((branch, "dim"), actor.name), actor
        for number, child in enumerate(actor.children, 1):
            is_last = number == len(actor.children)
            yield from self._actors(
                child,
                below + (self.marks.last_branch if is_last else self.marks.branch),
                below + ("    " if is_last else self.marks.trunk),
            )

    # -------------------------------------------------------------- what is wrong

    def _trouble(self) -> Table:
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
            (f"{duration(left):>6} ", "bold yellow"), f"{name} {_plain(cooldown.reason)}{model}"
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
        why = "busy" if reason is None else _plain(reason)
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
            (f"{_plain(failure.kind)}{status}", "red"),
            (message, "dim"),
        )


def _owner(key: KeySnapshot) -> str:
    return f"{key.worker} {key.key}" if key.key else key.worker


def _number(number: int, style: str) -> Text:
    return Text(str(number), style=style if number else "")


def _times(number: int) -> str:
    return f"{number}x " if number > 1 else ""


def _plain(kind: FailureKind) -> str:
    return kind.value.replace("_", " ")


def _short(number: float) -> str:
    """Return `940`, `1.2k` or `3.4M`."""
    if number < 999.5:
        return f"{number:.0f}"
    return f"{number / 1000:.1f}k" if number < 999_950 else f"{number / 1e6:.1f}M"
