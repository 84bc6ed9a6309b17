"""Draws the pictures of the page on supervision.

Two of them are computed: which children a strategy restarts comes from the kernel, and the stop on a time line is
recorded from a tree that is stopped in virtual time.

python docs/tools/otp_pictures.py
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import attrs
import trio
from svg import BLUE, GREEN, INK, PALE, PAPER, RED, SAND, box, line, picture, words
from trio.testing import MockClock

from cortex_trio.otp import (
    Child,
    ExitReason,
    GenServer,
    Ref,
    Report,
    ReportKind,
    Strategy,
    Supervisor,
    open_tree,
)
from cortex_trio.otp.decision import restart_group

FOLDER = Path(__file__).resolve().parents[1] / "pictures"
LIGHT_BLUE, LIGHT_RED, LIGHT_GREEN = "#eef5ff", "#ffebe9", "#dafbe1"

# ------------------------------------------------------------------ nested scopes

SCOPES = (  # label, remark, shielded
    ("your nursery", "a cancellation here stops the tree in order", False),
    ("kill scope of the root", "shielded: only root.kill() cancels it", True),
    ("nursery of the root", "its children and its own tasks run in it", False),
    ("kill scope of a child", "shielded: only its supervisor, or ref.kill(), cancels it", True),
    ("nursery of the child: self.nursery", "cancelled at a stop, before terminate", False),
    ("a method, and the nurseries it opens", "one message at a time", False),
)


def scopes_picture() -> str:
    """Each scope inside the one before; a cancellation goes inwards as far as the next shield."""
    return picture(760, 490, "The cancel scopes and nurseries of a tree", *_scopes())


def _scopes() -> Iterator[str]:
    for depth, (label, remark, shielded) in enumerate(SCOPES):
        inset, top = 20 + depth * 26, 20 + depth * 56
        height = 470 - 14 * depth - top
        yield box(
            inset,
            top,
            720 - 2 * depth * 26,
            height,
            LIGHT_BLUE if shielded else PAPER,
            BLUE if shielded else PALE,
        )
        yield words(inset + 14, top + 22, label, size=14, colour=BLUE if shielded else INK)
        yield words(inset + 14, top + 40, remark, size=12, colour=BLUE if shielded else PALE)


# ------------------------------------------------------------------ one process, from factory to finish

STEPS = (  # what runs, what may end it there, the reason of that end
    ("start()", "it raises, or returns no GenServer", "Crashed: the start failed"),
    ("init", "it raises; or raises Ignore", "Crashed; with Ignore: no process, no failure"),
    ("handle_continue", "it raises an exception; or Stop(reason)", "Crashed(error); or the reason of Stop"),
    (
        "one message at a time",
        "a stop was requested and the mailbox is empty",
        "Shutdown(), or Normal() for ref.stop()",
    ),
    ("self.nursery is closed", "a task in it raised, at any time since init", "Crashed(error)"),
    ("terminate(reason)", "it raises", "Crashed: its error replaces the reason"),
    ("self.resources are closed", "", ""),
    ("finish", "callers fail, monitors get Down, keys are free", "the supervisor decides"),
)


def process_picture() -> str:
    """Downwards what runs, to the right how the process can exit there."""
    return picture(900, 90 + 54 * len(STEPS), "One process, from its factory to its exit", *_process())


def _process() -> Iterator[str]:
    yield words(30, 30, "runs", colour=PALE)
    yield words(290, 30, "the process exits here when", colour=PALE)
    yield words(590, 30, "with the reason", colour=PALE)
    for place, (step, when, reason) in enumerate(STEPS):
        y = 44 + place * 54
        last = place == len(STEPS) - 1
        yield box(30, y, 220, 36, LIGHT_GREEN if last else SAND, GREEN if last else INK)
        yield words(42, y + 23, step, size=14)
        if place:
            yield line((140, y - 18), (140, y), arrow=True)
        if when:
            yield line((250, y + 18), (280, y + 18), colour=PALE, dashed=True, arrow=not last)
            yield words(290, y + 22, when, size=12)
            yield words(590, y + 22, reason, size=12, colour=GREEN if last else RED)
    y = 44 + len(STEPS) * 54
    yield words(
        30,
        y + 14,
        "A kill cancels what runs: Killed(), without terminate; resources are closed under cancellation.",
        size=12,
        colour=RED,
    )


# ------------------------------------------------------------------ strategies


NAMES = ("a", "b", "c")


def strategies_picture() -> str:
    """What each strategy does to a, b and c when b has crashed, as `decision.restart_group` says."""
    return picture(720, 226, "b has crashed: which children are restarted", *_strategies())


def _strategies() -> Iterator[str]:
    for row, strategy in enumerate(Strategy):
        y = 20 + row * 54
        restarted = restart_group(NAMES, NAMES[1], strategy)
        yield words(30, y + 25, strategy.name, size=14)
        for column, name in enumerate(NAMES):
            x = 180 + column * 170
            fill, edge, what = LIGHT_GREEN, GREEN, "runs on"
            if name == "b":
                fill, edge, what = LIGHT_RED, RED, "crashed, restarted"
            elif name in restarted:
                fill, edge, what = SAND, INK, "stopped, restarted"
            yield box(x, y, 160, 38, fill, edge)
            yield words(x + 10, y + 24, name, size=15)
            yield words(x + 28, y + 24, what, size=11, colour=edge)
    yield words(
        30,
        196,
        "Children are stopped from right to left and started from left to right.",
        size=12,
        colour=PALE,
    )
    yield words(
        30, 214, "A TEMPORARY child in the group is stopped and not started again.", size=12, colour=PALE
    )


# ------------------------------------------------------------------ a crash as a sequence

LINES = {"caller": 90, "process 1": 270, "supervisor": 470, "process 2": 690}
CRASH = (  # from, to, what
    ("caller", "process 1", "call"),
    ("process 1", "process 1", "raises; terminate(Crashed)"),
    ("process 1", "caller", "ActorExited, started=True"),
    ("process 1", "supervisor", "exited: Crashed(error)"),
    ("supervisor", "supervisor", "report, count, decide"),
    ("supervisor", "process 2", "start: factory, init"),
    ("process 2", "supervisor", "init is done"),
    ("caller", "process 2", "arrival(), call again"),
)


def crash_picture() -> str:
    """Time goes downwards. Both processes are behind one ref, one after the other."""
    return picture(820, 96 + 46 * len(CRASH), "A crash, its caller and its supervisor", *_crash())


def _crash() -> Iterator[str]:
    bottom = 80 + 46 * len(CRASH)
    for name, x in LINES.items():
        yield box(
            x - 60,
            16,
            120,
            32,
            LIGHT_RED if name == "process 1" else LIGHT_GREEN if name == "process 2" else SAND,
        )
        yield words(x, 37, name, size=14, anchor="middle")
        yield line((x, 48), (x, bottom), colour=PALE, dashed=True)
    for place, (source, target, what) in enumerate(CRASH):
        y = 84 + place * 46
        start, end = LINES[source], LINES[target]
        colour = RED if "Exited" in what or "exited" in what or "raises" in what else INK
        if source == target:
            yield line(
                (start, y - 8),
                (start + 26, y - 8),
                (start + 26, y + 8),
                (start + 2, y + 8),
                colour=colour,
                arrow=True,
            )
            yield words(start + 34, y + 4, what, size=12, colour=colour)
        else:
            yield line((start, y), (end, y), colour=colour, arrow=True)
            yield words(min(start, end) + 12, y - 7, what, size=12, colour=colour)


# ------------------------------------------------------------------ a stop on a time line

CLEANUP = {"a": 0.5, "b": 3.0, "c": 1.0}  # seconds terminate takes
GRACE = 1.5  # Child.shutdown of each


@attrs.define
class Stop:
    """What happened when, in seconds since the stop request."""

    began: float = 0.0
    asked: dict[str, float] = attrs.field(factory=dict)
    ended: dict[str, tuple[float, ExitReason | None]] = attrs.field(factory=dict)
    overdue: list[str] = attrs.field(factory=list)

    def on_report(self, report: Report) -> None:
        if report.kind is ReportKind.SHUTDOWN_ERROR:
            self.overdue.append(report.child)


class Slow(GenServer):
    """Needs some time to clean up."""

    def __init__(self, stop: Stop) -> None:
        self.stop = stop

    async def terminate(self, reason: ExitReason) -> None:
        self.stop.asked[self.ref.name] = trio.current_time() - self.stop.began
        await trio.sleep(CLEANUP[self.ref.name])


async def stopped() -> Stop:
    """Three children that need 0.5, 3 and 1 s are stopped; each has 1.5 s."""
    stop = Stop()
    refs: list[Ref[Slow]] = [Ref(name) for name in CLEANUP]
    specs = [Child(ref=ref, start=lambda: Slow(stop), shutdown=GRACE) for ref in refs]

    async def watch(ref: Ref[Slow]) -> None:
        down = await ref.monitor().down()
        stop.ended[ref.name] = (trio.current_time() - stop.began, down.reason)

    async with trio.open_nursery() as watchers:
        async with open_tree(Supervisor(specs, report=stop.on_report)):
            for ref in refs:
                watchers.start_soon(watch, ref)
            await trio.testing.wait_all_tasks_blocked()
            stop.began = trio.current_time()
    return stop


def stop_picture() -> str:
    """A row for each child: it waits for its turn, cleans up, and exits."""
    logger = logging.getLogger("cortex_trio.otp")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        stop = trio.run(stopped, clock=MockClock(autojump_threshold=0))
    finally:
        logger.setLevel(level)
    return picture(800, 210, "A stop, second by second", *_stop(stop))


def _stop(stop: Stop) -> Iterator[str]:
    left, scale = 150, 170
    for place, name in enumerate(CLEANUP):
        y = 20 + place * 46
        asked, (ended, reason) = stop.asked[name], stop.ended[name]
        late = name in stop.overdue
        yield words(30, y + 21, f"{name} needs {CLEANUP[name]:g} s", size=14)
        yield line((left, y + 15), (left + asked * scale, y + 15), colour=PALE, dashed=True)
        yield box(
            left + asked * scale,
            y + 2,
            (ended - asked) * scale,
            26,
            LIGHT_RED if late else LIGHT_GREEN,
            RED if late else GREEN,
        )
        remark = f"{type(reason).__name__}(){', reported after 1.5 s' if late else ''}"
        yield words(left + ended * scale + 8, y + 20, remark, size=12, colour=RED if late else GREEN)
    end = max(when for when, _ in stop.ended.values())
    yield line((left, 164), (left + (end + 0.2) * scale, 164), colour=PALE)
    for tick in range(int(end * 2) + 1):
        yield line((left + tick / 2 * scale, 164), (left + tick / 2 * scale, 169), colour=PALE)
        yield words(left + tick / 2 * scale, 186, f"{tick / 2:g} s", size=12, colour=PALE, anchor="middle")


def made() -> dict[Path, str]:
    """Return every picture by its file."""
    return {
        FOLDER / "otp-scopes.svg": scopes_picture(),
        FOLDER / "otp-process.svg": process_picture(),
        FOLDER / "otp-strategies.svg": strategies_picture(),
        FOLDER / "otp-crash.svg": crash_picture(),
        FOLDER / "otp-stop.svg": stop_picture(),
    }


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for path, text in made().items():
        path.write_text(text, encoding="utf-8")
