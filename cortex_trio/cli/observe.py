"""`cortex-trio observe`: watch a gateway: its tree, its workers, its API keys, the calls that wait.

Without a socket it watches a demo load on simulated providers; with one, a running program that was opened with
`open_cortex(observe=...)`. When that program ends, the command waits for it to start again, until Ctrl-C.
"""

from __future__ import annotations

import argparse
import io
import logging
import math
import re
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from ..failures import CortexError, InvalidRequest
from ..gateway.settings.process_environ import environment
from ..telemetry import Snapshot
from ..telemetry.socket_client import open_snapshots
from ..telemetry.socket_path import PREFIX, find_sockets
from .observe_history import History
from .observe_load import open_demo_load
from .running import run_until_signal

if TYPE_CHECKING:
    from rich.console import Console

    from .observe_view import Frame

INTERVAL_SECONDS = 1.0
"""Between two snapshots of the demo load, and between two attempts to connect."""
PLAIN_INTERVAL_SECONDS = 5.0
"""Between two frames where the second cannot replace the first: on a dumb terminal, in a file, in a pipe."""
WARM_UP_SECONDS = 10.0
"""Before the one frame of a demo load: the first faults have happened then."""
SVG_WIDTH = 100
INSTALL = "observe needs rich: pip install 'cortex-trio[cli]'"

Show = Callable[["Frame"], bool]
"""Shows a frame, and returns whether another one is wanted."""
Source = Callable[[Show], Awaitable[None]]
"""Calls its argument with each frame, until that returns False."""


class NotObservable(CortexError):
    """No snapshots can be had from the socket."""


def observe(arguments: argparse.Namespace) -> int:
    """Watch until Ctrl-C, or show one frame. Returns the exit status.

    Raises:
        InvalidRequest: rich is not installed, or the file for the SVG cannot be written.
        NotObservable: no program listens on the socket.
    """
    try:
        import rich  # noqa: F401
    except ModuleNotFoundError:
        raise InvalidRequest(INSTALL) from None
    svg = None if arguments.svg is None else _writable(Path(arguments.svg))
    log = logging.getLogger("cortex_trio")
    log.addHandler(logging.NullHandler())  # log lines would damage the frame
    return run_until_signal(partial(watch, arguments.socket, arguments.once, svg, arguments.no_color))


async def watch(socket: str | None, once: bool, svg: Path | None, no_color: bool) -> int:
    """Show the frames of a program, or of the demo load if `socket` is None, on standard output.

    Args:
        socket: its path, with or without "unix:".
        once: show one frame only.
        svg: write one frame to this file instead.
        no_color: use no colours.
    """
    source = _source(socket, single=once or svg is not None)
    if svg is not None:
        await source(partial(_write_svg, svg))
    elif once:
        await source(partial(_print_frame, _console(no_color)))
    else:
        await _show_all(_console(no_color), source)
    return 0


# ------------------------------------------------------------------ what is watched


def _source(socket: str | None, *, single: bool) -> Source:
    if socket is None:
        return partial(_watch_demo, warm_up=WARM_UP_SECONDS if single else 0.0)
    return partial(_watch_program, socket.removeprefix(PREFIX), reconnect=not single)


async def _watch_demo(show: Show, *, warm_up: float) -> None:
    from .observe_view import Frame

    history = History()
    async with open_demo_load() as load:
        start = trio.current_time()
        while True:
            snapshot = load.snapshot()
            history.add(snapshot)
            note = f"Broken on purpose: {load.fault}. {_programs()}"
            if trio.current_time() - start >= warm_up and not show(
                Frame(snapshot, history, "demo load", note.strip())
            ):
                return
            await trio.sleep(INTERVAL_SECONDS)


def _programs() -> str:
    """Return a hint at a program that could be watched, or ""."""
    found = find_sockets(environment())
    return f"A program is running: cortex-trio observe {found[0]}" if found else ""


async def _watch_program(path: str, show: Show, *, reconnect: bool) -> None:
    from .observe_view import Frame

    history = History()
    last: Snapshot | None = None
    while True:
        async with AsyncExitStack() as stack:
            try:
                with _connection_errors(path):
                    snapshots = await stack.enter_async_context(open_snapshots(path))
                while True:
                    with _connection_errors(path):
                        last = await snapshots.receive()
                    history.add(last)
                    if not show(Frame(last, history, path)):
                        return
            except NotObservable as error:
                if last is None or not reconnect:
                    raise
                note = f"Connection lost: {error}. Trying again each second."
        show(Frame(last, history, path, note, lost=True))
        await trio.sleep(INTERVAL_SECONDS)


@contextmanager
def _connection_errors(path: str) -> Iterator[None]:
    """Raise NotObservable for what goes wrong with a connection: an OSError of the terminal is another matter."""
    try:
        yield
    except (OSError, EOFError, ValueError) as error:
        problem = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise NotObservable(f"cannot observe {path}: {problem}") from error


# ------------------------------------------------------------------ where it is shown


def _console(no_color: bool) -> Console:
    from .observe_view import Terminal

    return Terminal(file=sys.stdout, no_color=no_color or None, highlight=False)


def _print_frame(console: Console, frame: Frame) -> bool:
    console.print(frame)
    return False


async def _show_all(console: Console, source: Source) -> None:
    """Replace each frame by the next, on a terminal that can; elsewhere print some of them, one below the other."""
    from rich.live import Live

    if not console.is_terminal or console.is_dumb_terminal:
        await source(_sparse(console))
        return
    with Live(console=console, screen=True, auto_refresh=False, vertical_overflow="crop") as live:

        def show(frame: Frame) -> bool:
            live.update(frame, refresh=True)  # reads the size of the terminal anew
            return True

        await source(show)


def _sparse(console: Console) -> Show:
    due = -math.inf

    def show(frame: Frame) -> bool:
        nonlocal due
        if trio.current_time() >= due:
            due = trio.current_time() + PLAIN_INTERVAL_SECONDS
            console.print(frame)
            console.print()
            console.file.flush()
        return True

    return show


def _write_svg(path: Path, frame: Frame) -> bool:
    from rich.console import Console

    console = Console(file=io.StringIO(), record=True, width=SVG_WIDTH, force_terminal=True, highlight=False)
    console.print(frame)
    text = console.export_svg(title=f"cortex-trio observe: {frame.title}")
    # rich's fonts are on a server: a picture that is opened must not load anything from the network
    text = re.sub(r"@font-face \{.*?\}", "", text, flags=re.DOTALL)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InvalidRequest(f"--svg: cannot write {path}: {error.strerror}") from error
    return False


def _writable(path: Path) -> Path:
    """Return `path`. Raises InvalidRequest if no file can be written there, before anything is started."""
    if path.is_dir():
        raise InvalidRequest(f"--svg: {path} is a folder")
    if not path.absolute().parent.is_dir():
        raise InvalidRequest(f"--svg: there is no folder {path.absolute().parent}")
    return path
