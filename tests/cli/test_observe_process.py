"""`cortex-trio observe` as a process: on a terminal, in a pipe, with NO_COLOR, TERM=dumb and LANG=C."""

import fcntl
import os
import pty
import re
import signal
import subprocess
import sys
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio

from cortex_trio import Config, FailureKind, open_cortex
from cortex_trio.simulator import Behaviour, open_simulator

pytest.importorskip("rich")
pytestmark = pytest.mark.slow  # each starts an interpreter

OBSERVE = (sys.executable, "-m", "cortex_trio", "observe")
PATIENCE_SECONDS = 30.0
COLOUR = re.compile(r"\x1b\[[\d;]*3[0-7]m")
CTRL_C = b"\x03"
LEAVE_ALTERNATE_SCREEN = "\x1b[?1049l"


@attrs.frozen
class Ended:
    status: int
    out: str


def environment(**more: str) -> dict[str, str]:
    inherited = {
        name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "LINES")
    }
    return {**inherited, "TERM": "xterm-256color", **more}


@asynccontextmanager
async def program(tmp_path: Path) -> AsyncIterator[str]:
    """A running program with one worker that fails; yields its socket."""
    path = tmp_path / "c.sock"
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(error=FailureKind.OVERLOADED), Behaviour())
        config = Config(workers={"openai": sim["openai"].worker()}, health_check_interval=0)
        async with open_cortex(config, http_transport=sim.transport, observe=f"unix:{path}") as cortex:
            await cortex.complete("Hi")
            yield str(path)


async def on_terminal(*command: str, columns: int = 80, until: str, env: dict[str, str]) -> Ended:
    """Run a command on a terminal, press Ctrl-C once it has printed `until`, and wait for its end."""
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, columns))
    out = b""
    with trio.fail_after(PATIENCE_SECONDS):
        async with trio.lowlevel.FdStream(master) as terminal:
            process = await trio.lowlevel.open_process(
                list(command), stdin=slave, stdout=slave, stderr=slave, env=env, preexec_fn=_own_terminal
            )
            os.close(slave)
            pressed = False
            try:
                while data := await terminal.receive_some(65536):
                    out += data
                    if not pressed and until in out.decode(errors="replace"):
                        pressed = True
                        await terminal.send_all(CTRL_C)
            except trio.BrokenResourceError:
                pass  # Linux: the last process with this terminal has ended
            status = await process.wait()
    return Ended(status, out.decode(errors="replace"))


def _own_terminal() -> None:
    """Make standard input the controlling terminal, so that Ctrl-C on it is a signal."""
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


async def in_pipe(*command: str, env: dict[str, str]) -> Ended:
    with trio.fail_after(PATIENCE_SECONDS):
        ended = await trio.run_process(
            command, env=env, capture_stdout=True, stderr=subprocess.STDOUT, check=False
        )
    return Ended(ended.returncode, ended.stdout.decode(env.get("PYTHONIOENCODING", "utf-8")))


async def test_on_a_terminal_it_uses_another_screen_until_ctrl_c(tmp_path: Path) -> None:
    async with program(tmp_path) as socket:
        ended = await on_terminal(*OBSERVE, socket, until="last failures", env=environment())
    assert ended.status == 128 + signal.SIGINT
    assert COLOUR.search(ended.out)
    assert ended.out.count(LEAVE_ALTERNATE_SCREEN) == 1
    assert "Traceback" not in ended.out


async def test_with_no_color_there_are_no_colours(tmp_path: Path) -> None:
    async with program(tmp_path) as socket:
        by_variable = await on_terminal(
            *OBSERVE, socket, until="last failures", env=environment(NO_COLOR="1")
        )
        by_option = await on_terminal(
            *OBSERVE, "--no-color", socket, until="last failures", env=environment()
        )
    assert "overloaded" in by_variable.out
    assert "overloaded" in by_option.out
    assert not COLOUR.search(by_variable.out)
    assert not COLOUR.search(by_option.out)


async def test_a_dumb_terminal_gets_plain_frames_one_below_the_other(tmp_path: Path) -> None:
    async with program(tmp_path) as socket:
        ended = await on_terminal(*OBSERVE, socket, until="last failures", env=environment(TERM="dumb"))
    assert ended.status == 128 + signal.SIGINT
    assert "\x1b" not in ended.out
    assert "Traceback" not in ended.out


async def test_in_a_pipe_with_an_ascii_encoding_a_frame_is_ascii(tmp_path: Path) -> None:
    env = environment(LC_ALL="C", PYTHONIOENCODING="ascii", COLUMNS="80")
    async with program(tmp_path) as socket:
        ended = await in_pipe(*OBSERVE, "--once", socket, env=env)
    assert ended.status == 0
    assert "`-- observe" in ended.out
    assert "?" not in ended.out
    assert max(len(line) for line in ended.out.splitlines()) <= 80


async def test_a_program_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    ended = await in_pipe(*OBSERVE, str(tmp_path / "missing.sock"), env=environment())
    assert ended.status == 1
    assert re.fullmatch(r"cortex-trio: cannot observe \S+: No such file or directory\n", ended.out)
