"""`cortex-trio simulate`: many lives of a gateway in random worlds, and whether any promise was broken in one."""

from __future__ import annotations

import argparse
import logging
import re
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO, final

import trio

from ..failures import InvalidRequest
from ..lab.world.campaign import Summary, Verdict, available_processes, campaign
from ..lab.world.life import live
from ..lab.world.picture import picture
from .running import FAILED, run_until_signal
from .screen import Colour, Row, Screen

BAR = 30
BROKEN_SHOWN = 5
MOST_SEEDS = 1_000_000


def simulate(arguments: argparse.Namespace) -> int:
    """Live every seed of `--seeds`; 1 if a law was broken in one of them."""
    seeds = seeds_from(arguments.seeds)
    if arguments.hours <= 0 or (arguments.processes is not None and arguments.processes < 1):
        raise InvalidRequest("--hours and --processes: more than 0 is needed")
    logging.getLogger("cortex_trio").addHandler(logging.NullHandler())  # what is killed on purpose is no news
    screen = Screen.on(sys.stdout, no_color=arguments.no_color)
    processes = min(arguments.processes or available_processes(), len(seeds))
    summary = Summary()
    status = run_until_signal(lambda: _simulate(screen, summary, seeds, arguments.hours, processes))
    _keep_one(screen, summary.failed[0].seed if summary.failed else seeds[0], arguments)
    return status


def seeds_from(text: str) -> Sequence[int]:
    """`7`, `0..999` or `0..9,17`. Raises InvalidRequest."""
    seeds: dict[int, None] = {}
    for part in text.split(","):
        found = re.fullmatch(r"(\d+)(?:\.\.(\d+))?", part.strip())
        if found is None:
            raise InvalidRequest(
                f"--seeds: numbers and ranges like 0..999 or 3,17 are allowed, not {text!r:.60}"
            )
        first, last = int(found[1]), int(found[2] or found[1])
        if last - first >= MOST_SEEDS:
            raise InvalidRequest(f"--seeds: no more than {MOST_SEEDS:,} at a time")
        seeds.update(dict.fromkeys(range(first, last + 1)))
    if not seeds:
        raise InvalidRequest(f"--seeds: {text!r:.60} holds no seed: the first number is the smaller one")
    return list(seeds)


async def _simulate(
    screen: Screen, summary: Summary, seeds: Sequence[int], hours: float, processes: int
) -> int:
    start = trio.current_time()
    progress = _Progress(sys.stderr, len(seeds), hours)

    def on_verdict(verdict: Verdict) -> None:
        summary.add(verdict)
        progress.show(summary, trio.current_time() - start)

    try:
        await campaign(seeds, hours, processes=processes, on_verdict=on_verdict)
    finally:  # an interrupted run prints its summary, too
        progress.clear()
        _tell(screen, summary, hours, trio.current_time() - start, processes)
        if summary.lives < len(seeds):
            screen.line(f"Interrupted after {summary.lives:,} of {len(seeds):,} lives.", Colour.RED)
    return FAILED if summary.failed else 0


@final
class _Progress:
    """One line that is written over, where a person is looking."""

    def __init__(self, out: TextIO, seeds: int, hours: float) -> None:
        self._out = out if out.isatty() else None
        self._seeds = seeds
        self._hours = hours

    def show(self, summary: Summary, seconds: float) -> None:
        if self._out is None:
            return
        done = BAR * summary.lives // self._seeds
        left = seconds / summary.lives * (self._seeds - summary.lives)
        bar = f"{'█' * done}{'░' * (BAR - done)}"
        rate = _hours_a_minute(summary.lives * self._hours, seconds)
        self._write(
            f"{bar} {summary.lives:,} of {self._seeds:,} lives, {rate:,} simulated hours a minute, "
            f"{len(summary.failed)} failed, {left:.0f} s left"
        )

    def clear(self) -> None:
        if self._out is not None:
            self._write("")

    def _write(self, text: str) -> None:
        if self._out is not None:
            self._out.write(f"\r\x1b[2K{text}")
            self._out.flush()


# ------------------------------------------------------------------ what came of it


def _tell(screen: Screen, summary: Summary, hours: float, seconds: float, processes: int) -> None:
    lived = summary.lives * hours
    screen.line(
        f"{summary.lives:,} lives of {hours:g} hours: {lived:,.0f} simulated hours in {seconds:.1f} s "
        f"({_hours_a_minute(lived, seconds):,} a minute, {processes} processes)",
        Colour.BOLD,
    )
    screen.line()
    screen.table(("injected", "times"), _rows(summary.injected), indent="  ")
    screen.line()
    screen.table(
        ("survived", "times"), [Row((name, f"{many:,}")) for name, many in _survived(summary)], indent="  "
    )
    screen.line()
    if not summary.failed:
        screen.line("No law was broken.", Colour.GREEN)
    for verdict in summary.failed:
        screen.line(f"Seed {verdict.seed} broke {len(verdict.broken)} laws:", Colour.RED)
        for broken in verdict.broken[:BROKEN_SHOWN]:
            screen.line(f"  {broken}")
        screen.line(
            f"  replay: cortex-trio simulate --seeds {verdict.seed} --hours {hours:g} --trace life.txt"
        )


def _rows(counts: Counter[str]) -> list[Row]:
    return [Row((name, f"{many:,}")) for name, many in sorted(counts.items())]


def _survived(summary: Summary) -> list[tuple[str, int]]:
    outcomes, counts = summary.outcomes, summary.counts
    return [
        ("calls", outcomes.total()),
        ("… answered whole", outcomes["whole"]),
        ("…… of these after failures the caller did not see", summary.rescued),
        ("… interrupted, with the partial answer and the reason", outcomes["interrupted"]),
        ("… refused, with a typed error", outcomes["refused"]),
        ("… left or cancelled by the caller", outcomes["left"] + outcomes["cancelled"]),
        ("… in the middle when their gateway gave up", outcomes["asking"] + outcomes["finished"]),
        ("requests to providers", summary.requests),
        ("tool calls executed, and their results sent back", counts["tool calls executed"]),
        ("texts embedded", counts["texts embedded"]),
        ("waits named by providers", counts["waits named by providers"]),
        ("actors killed", counts["kill"]),
        ("actors restarted", counts["restarts"]),
        ("configurations changed under load", counts["reload"] + counts["replace"]),
        ("gateways that gave up, loudly and rightly", summary.gave_up),
    ]


def _hours_a_minute(hours: float, seconds: float) -> int:
    return round(hours / max(seconds, 0.001) * 60)


def _keep_one(screen: Screen, seed: int, arguments: argparse.Namespace) -> None:
    """Live one of them again for its trace and its picture: the same seed is the same life."""
    if not (arguments.timeline or arguments.trace):
        return
    seen = live(seed, arguments.hours, keep=True)
    for path, text in (
        (arguments.trace, "".join(seen.lines)),
        (arguments.timeline, picture(seen, arguments.hours)),
    ):
        if path:
            Path(path).write_text(text, encoding="utf-8")
            screen.line(f"The life of seed {seed} is in {path}.")
