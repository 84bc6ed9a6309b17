"""The parent's side: starts the mock and the clients, lets the clients take turns, takes medians."""

from __future__ import annotations

import json
import os
import select
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from .workload import Measured, Workload

PATIENCE_SECONDS = 120
PYTHON_OF = "BENCH_PYTHON_"
"""BENCH_PYTHON_<CLIENT>: an interpreter of another environment, where libraries do not go together in one."""


@dataclass(frozen=True)
class Spread:
    """A median and what lay around it."""

    median: float
    low: float
    high: float

    @staticmethod
    def of(values: Sequence[float]) -> Spread:
        return Spread(statistics.median(values), min(values), max(values))


@dataclass(frozen=True)
class Row:
    """One client under one workload; `ratio` is to the first client of the same run, round by round."""

    client: str
    cpu: Spread  # seconds for each request
    ratio: Spread
    first_token: Spread  # seconds
    events: int  # for each request
    rounds: tuple[Measured, ...]


class ClientFailed(Exception):
    """A client's process ended instead of measuring."""


@contextmanager
def mock_upstream() -> Iterator[str]:
    """Run the mock; gives its address."""
    command = [sys.executable, "-m", "benchmarks.upstream"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


def closed_streams(address: str) -> Mapping[str, float]:
    """Tags of the streams clients have left since the last question, and when the mock saw it."""
    with urllib.request.urlopen(f"{address}/closed") as answer:
        told: Mapping[str, float] = json.load(answer)
        return told


class ClientProcess:
    """One client, warm, waiting for its turn."""

    def __init__(self, name: str, address: str, workload: Workload) -> None:
        python = os.environ.get(f"{PYTHON_OF}{name.upper()}", sys.executable)
        command = [python, "-m", "benchmarks.child", name, address, workload.to_json()]
        self.name = name
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed in `close`)
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said, text=True
        )

    def wait_ready(self) -> None:
        self._line()

    def round(self) -> Measured:
        assert self._process.stdin is not None
        self._process.stdin.write("round\n")
        self._process.stdin.flush()
        return Measured.from_json(self._line())

    def _line(self) -> str:
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], PATIENCE_SECONDS)[0]:
            raise ClientFailed(f"{self.name}: still not done after {PATIENCE_SECONDS} s")
        line = self._process.stdout.readline()
        if not line:
            self._said.seek(0)
            errors = [said.strip(" |+-") for said in self._said if "Error" in said] or ["it said nothing"]
            raise ClientFailed(f"{self.name}: {errors[-1].strip()}")
        return line

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()
        self._said.close()


def measure(address: str, clients: Sequence[str], workload: Workload, rounds: int) -> list[Row]:
    """Let `clients` take turns, `rounds` times. A client that fails is left out, with a line on stderr."""
    with ExitStack() as stack:
        running: list[ClientProcess] = []
        for name in clients:
            process = ClientProcess(name, address, workload)
            stack.callback(process.close)
            try:
                process.wait_ready()
                running.append(process)
            except ClientFailed as failed:
                print(f"  left out: {failed}", file=sys.stderr)
        results: dict[str, list[Measured]] = {process.name: [] for process in running}
        for _ in range(rounds):
            for process in list(running):
                try:
                    results[process.name].append(process.round())
                except ClientFailed as failed:
                    print(f"  given up: {failed}", file=sys.stderr)
                    running.remove(process)
                    del results[process.name]
    first = next(iter(results.values()), [])
    return [_row(name, results[name], first, workload.requests) for name in results]


def _row(name: str, rounds: Sequence[Measured], first: Sequence[Measured], requests: int) -> Row:
    ratios = [mine.cpu / other.cpu for mine, other in zip(rounds, first, strict=True)]
    return Row(
        name,
        Spread.of([measured.cpu / requests for measured in rounds]),
        Spread.of(ratios),
        Spread.of([measured.first_token for measured in rounds]),
        round(rounds[0].events / requests),
        tuple(rounds),
    )
