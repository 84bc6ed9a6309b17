"""A real Valkey or Redis server, started and killed by tests. Without one installed, tests are skipped."""

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from tempfile import TemporaryDirectory
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

    def command(self, line: str) -> bytes:
        """Send one command and return its answer, of at most 64 KiB."""
        with socket.create_connection((self._host, self.port), 5) as connection:
            connection.sendall(f"{line}\r\n".encode())
            return connection.recv(65536)

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
def cluster_of(nodes: int) -> Iterator[list[RealServer]]:
    """Start servers that are one cluster; each has as many slots as the others."""
    with ExitStack() as stack:
        servers: list[RealServer] = []
        buses: list[int] = []
        for _ in range(nodes):
            folder = stack.enter_context(TemporaryDirectory())
            bus = free_port()  # the default is 10,000 higher than the port, which may be no port
            options = ["--cluster-enabled", "yes", "--cluster-port", str(bus), "--dir", folder]
            servers.append(server := RealServer(*options, "--cluster-node-timeout", "1000"))
            buses.append(bus)
            server.start()
            stack.callback(server.kill)
        bounds = [16384 * place // nodes for place in range(nodes + 1)]
        for place, server in enumerate(servers):
            first, last = bounds[place], bounds[place + 1] - 1
            assert server.command(f"CLUSTER ADDSLOTSRANGE {first} {last}") == b"+OK\r\n"
            server.command(f"CLUSTER SET-CONFIG-EPOCH {place + 1}")
            server.command(f"CLUSTER MEET 127.0.0.1 {servers[0].port} {buses[0]}")
        until = time.monotonic() + 20
        while not all(is_whole(server, nodes) for server in servers):
            assert time.monotonic() < until, "the nodes found no cluster"
            time.sleep(0.02)
        yield servers


def is_whole(server: RealServer, nodes: int) -> bool:
    """Whether a node knows all nodes and all slots."""
    state = server.command("CLUSTER INFO")
    return b"cluster_state:ok" in state and f"cluster_known_nodes:{nodes}\r".encode() in state


@contextmanager
def running(*arguments: str) -> Iterator[RealServer]:
    server = RealServer(*arguments)
    server.start()
    try:
        yield server
    finally:
        server.kill()
