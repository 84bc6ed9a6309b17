"""A real Valkey or Redis server, started and killed by tests. Without one installed, tests are skipped."""

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import final

import pytest

PROGRAM = shutil.which("valkey-server") or shutil.which("redis-server")
needs_server = pytest.mark.skipif(
    PROGRAM is None, reason="neither valkey-server nor redis-server is installed"
)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@final
class RealServer:
    """A server without persistence: each start begins with no data."""

    def __init__(self, *arguments: str, host: str = "127.0.0.1", within: Sequence[str] = ()) -> None:
        self.port = free_port()
        self.url = f"valkey://{host}:{self.port}/0"
        self._host = host
        self._within = within  # a command that runs another one
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *arguments: str) -> None:
        assert PROGRAM is not None
        command = [*self._within, PROGRAM, "--port", str(self.port), "--save", "", "--appendonly", "no"]
        self._process = subprocess.Popen(
            [*command, *self._arguments, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until = time.monotonic() + 10
        while time.monotonic() < until:
            try:
                socket.create_connection((self._host, self.port), 1).close()
                return
            except OSError:
                time.sleep(0.005)
        raise AssertionError("the server does not listen")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def hang(self) -> None:
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)


@contextmanager
def running(*arguments: str) -> Iterator[RealServer]:
    server = RealServer(*arguments)
    server.start()
    try:
        yield server
    finally:
        server.kill()
