"""`cortex-trio simulate`: run a gateway in many random worlds, and report violated invariants."""

from __future__ import annotations

import argparse
import logging
import os
import re
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO, final

import trio

from ..failures import InvalidRequest
from ..lab.world.campaign import CampaignSummary, SeedResult, available_processes, run_campaign
from ..lab.world.run import run_seed
from ..lab.world.timeline import draw_timeline
from .progress import ProgressLine, bar
from .running import FAILED, run_until_signal
from .screen import Colour, Row, Screen, counted

VIOLATIONS_SHOWN = 5
MOST_SEEDS = 1_000_000


def simulate(arguments: argparse.Namespace) -> int:
    """Run every seed of `--seeds`. Returns 1 if an invariant was violated in one of them."""
    seeds = seeds_from(arguments.seeds)
    if arguments.hours <= 0 or (arguments.processes is not None and arguments.processes < 1):
        raise InvalidRequest("--hours and --processes: must be more than 0")
    for option, name in (("--timeline", arguments.timeline), ("--trace", arguments.trace)):
        _check_writable(option, name)
    logging.getLogger("cortex_trio").addHandler(logging.NullHandler())  # actors are killed on purpose
    screen = Screen.on(sys.stdout, no_color=arguments.no_color)
    processes = min(arguments.processes or available_processes(), len(seeds))
    summary = CampaignSummary()
    status = run_until_signal(lambda: _simulate(screen, summary, seeds, arguments.hours, processes))
    _write_one(screen, summary.failed[0].seed if summary.failed else seeds[0], arguments)
    return status


def _check_writable(option: str, name: str | None) -> None:
    """Raise InvalidRequest if a file cannot be written: before a campaign of minutes, not after it."""
    if not name:
        return
    path = Path(name)
    if path.is_dir():
        raise InvalidRequest(f"{option}: {name} is a folder")
    if not path.parent.is_dir():
        raise InvalidRequest(f"{option}: there is no folder {path.parent}")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise InvalidRequest(f"{option}: {name} cannot be written")


def seeds_from(text: str) -> Sequence[int]:
    """Read `7`, `0..999` or `0..9,17`. Raises InvalidRequest."""
    seeds: dict[int, None] = {}
    for part in text.split(","):
        found = re.fullmatch(r"(\d+)(?:\.\.(\d+))?", part.strip())
        if found is None:
            raise InvalidRequest(
                f"--seeds: expected numbers and ranges such as 0..999 or 3,17, not {text!r:.60}"
            )
        first, last = int(found[1]), int(found[2] or found[1])
        if last - first >= MOST_SEEDS:
            raise InvalidRequest(f"--seeds: at most {MOST_SEEDS:,} in one range")
        seeds.update(dict.fromkeys(range(first, last + 1)))
    if not seeds:
        raise InvalidRequest(
            f"--seeds: {text!r:.60} is empty: the first number of a range is the smaller one"
        )
    return list(seeds)


async def _simulate(
    screen: Screen, summary: CampaignSummary, seeds: Sequence[int], hours: float, processes: int
) -> int:
    start = trio.current_time()
    progress = _Progress(sys.stderr, len(seeds), hours)

    def on_result(result: SeedResult) -> None:
        summary.add(result)
        progress.show(summary, trio.current_time() - start)

    try:
        await run_campaign(seeds, hours, processes=processes, on_result=on_result)
    finally:  # print a summary after an interruption as well
        progress.clear()
        _print_summary(screen, summary, hours, trio.current_time() - start, processes)
        if summary.runs < len(seeds):
            screen.line(f"Interrupted after {summary.runs:,} of {len(seeds):,} runs.", Colour.RED)
    return FAILED if summary.failed else 0


@final
class _Progress:
    """How many of the runs are over, and how many failed."""

    def __init__(self, out: TextIO, seeds: int, hours: float) -> None:
        self._line = ProgressLine(out)
        self._seeds = seeds
        self._hours = hours

    def show(self, summary: CampaignSummary, seconds: float) -> None:
        left = seconds / summary.runs * (self._seeds - summary.runs)
        rate = _hours_per_minute(summary.runs * self._hours, seconds)
        self._line.show(
            f"{bar(summary.runs, self._seeds)} {summary.runs:,} of {self._seeds:,}, {rate:,} h a minute, "
            f"{len(summary.failed)} failed, {left:.0f} s left"
        )

    def clear(self) -> None:
        self._line.clear()


# ------------------------------------------------------------------ the summary


def _print_summary(
    screen: Screen, summary: CampaignSummary, hours: float, seconds: float, processes: int
) -> None:
    simulated = summary.runs * hours
    each = "1 hour" if hours == 1 else f"{hours:g} hours"
    used = "1 process" if processes == 1 else f"{processes} processes"
    screen.line(
        f"{counted(summary.runs, 'run')} of {each}: {simulated:,.0f} simulated hours in {seconds:.1f} s "
        f"({_hours_per_minute(simulated, seconds):,} a minute, {used})",
        Colour.BOLD,
    )
    screen.line()
    screen.table(("injected fault", "times"), _rows(summary.injected), indent="  ")
    screen.line()
    screen.table(
        ("result", "times"), [Row((name, f"{many:,}")) for name, many in _results(summary)], indent="  "
    )
    screen.line()
    if not summary.failed:
        screen.line("No invariant was violated.", Colour.GREEN)
    for result in summary.failed:
        screen.line(
            f"Seed {result.seed} violated {counted(len(result.violations), 'invariant')}:", Colour.RED
        )
        for violation in result.violations[:VIOLATIONS_SHOWN]:
            screen.line(f"  {violation}")
        screen.line(
            f"  replay: cortex-trio simulate --seeds {result.seed} --hours {hours:g} --trace trace.txt"
        )


def _rows(counts: Counter[str]) -> list[Row]:
    return [Row((name, f"{many:,}")) for name, many in sorted(counts.items())]


def _results(summary: CampaignSummary) -> list[tuple[str, int]]:
    outcomes, counts = summary.outcomes, summary.counts
    return [
        ("calls", outcomes.total()),
        ("… served with a whole answer", outcomes["whole"]),
        ("…… of these after failures that the caller did not see", summary.rescued),
        ("… interrupted, with the partial answer and the reason", outcomes["interrupted"]),
        ("… refused with a typed error", outcomes["refused"]),
        ("… left or cancelled by the caller", outcomes["left"] + outcomes["cancelled"]),
        ("… running when their gateway gave up", outcomes["running"]),
        ("requests to providers", summary.requests),
        ("tool calls executed, with their results sent back", counts["tool calls executed"]),
        ("texts embedded", counts["texts embedded"]),
        ("Retry-After hints", counts["Retry-After hints"]),
        ("actors killed", counts["kill"]),
        ("actors restarted", counts["restarts"]),
        ("configurations changed under load", counts["reload"] + counts["replace"]),
        ("gateways that gave up after too many kills", summary.gave_up),
    ]


def _hours_per_minute(hours: float, seconds: float) -> int:
    return round(hours / max(seconds, 0.001) * 60)


def _write_one(screen: Screen, seed: int, arguments: argparse.Namespace) -> None:
    """Run one seed again for its trace and its timeline. The same seed gives the same run."""
    if not (arguments.timeline or arguments.trace):
        return
    recorder = run_seed(seed, arguments.hours, keep_trace=True)
    for path, text in (
        (arguments.trace, "".join(recorder.lines)),
        (arguments.timeline, draw_timeline(recorder, arguments.hours)),
    ):
        if path:
            Path(path).write_text(text, encoding="utf-8")
            screen.line(f"The run of seed {seed} is in {path}.")
