"""Runs the command line in real processes, in pipes and in pseudo-terminals."""

import json
import os
import pty
import re
import select
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial

import attrs
import trio

from cortex_trio.simulator import Behaviour, Simulator, open_simulator

CORTEX = (sys.executable, "-m", "cortex_trio")
SIMULATOR = (sys.executable, "-m", "cortex_trio.simulator")
PATIENCE_SECONDS = 30.0


@attrs.frozen
class Ended:
    """A process that is over."""

    status: int
    out: str
    err: str


def environment(providers: object = None, **more: str) -> dict[str, str]:
    """Return this environment without any providers but those given."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not re.search(r"_API_KEYS?$|^CORTEX_|^OLLAMA_|NO_COLOR|^COLUMNS$|^LC_|^LANG", name)
    }
    configured = {} if providers is None else {"CORTEX_PROVIDERS": json.dumps(providers)}
    # Without this folder no program of this user is found that happens to be running.
    return {**inherited, "XDG_RUNTIME_DIR": "/no-such-folder", **configured, **more}


async def run(
    *command: str, env: Mapping[str, str], stdin: bytes = b"", patience: float = PATIENCE_SECONDS
) -> Ended:
    """Run a command to its end, which must come within so many seconds."""
    with trio.fail_after(patience):
        ended = await trio.run_process(
            command, env=env, stdin=stdin, capture_stdout=True, capture_stderr=True, check=False
        )
    return Ended(ended.returncode, ended.stdout.decode(), ended.stderr.decode())


@attrs.frozen
class Typed:
    """What a user types in a terminal as soon as `after` was printed."""

    after: str
    text: str


async def run_in_terminal(*command: str, env: Mapping[str, str], typed: Sequence[Typed] = ()) -> Ended:
    """Run a command in a pseudo-terminal of 80 columns; `out` holds all that it prints."""
    return await trio.to_thread.run_sync(partial(_in_terminal, command, env, typed))


def _in_terminal(command: Sequence[str], env: Mapping[str, str], typed: Sequence[Typed]) -> Ended:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command,
        env={"COLUMNS": "80", "TERM": "xterm", **env},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=_take_terminal,
    )
    os.close(theirs)
    printed, seen, waiting, last, idle = bytearray(), 0, list(typed), b"", 0.0
    try:
        while idle < PATIENCE_SECONDS:
            if not select.select([ours], [], [], 1.0)[0]:
                idle += 1.0
                # CPython misses a signal that comes just before readline's select(): press Ctrl-C again.
                os.write(ours, last if last == b"\x03" else b"")
                continue
            try:
                data = os.read(ours, 65536)
            except OSError:  # Linux reports the end of a pseudo-terminal as EIO
                break
            if not data:
                break
            printed += data
            found = printed.find(waiting[0].after.encode(), seen) if waiting else -1
            if found >= 0:
                seen, last = len(printed), waiting.pop(0).text.encode()
                os.write(ours, last)
        assert not waiting, f"{waiting[0].after!r} was never printed: {printed.decode(errors='replace')}"
        status = process.wait(PATIENCE_SECONDS)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    return Ended(status, printed.decode(errors="replace").replace("\r\n", "\n"), "")


def _take_terminal() -> None:
    """Make standard input the terminal that controls the process, so that Ctrl-C reaches it."""
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@asynccontextmanager
async def simulated(**behaviours: Behaviour) -> AsyncIterator[Simulator]:
    """Run simulated providers on sockets of this machine."""
    async with open_simulator(sockets=True) as simulator:
        for name, behaviour in behaviours.items():
            simulator.add(name, behaviour)
        yield simulator
