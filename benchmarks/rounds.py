"""The parent process: starts the mock and the clients, runs the clients in turn, takes medians."""

from __future__ import annotations

import json
import math
import os
import select
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TypeVar

from .workload import Measured, Workload

PATIENCE_SECONDS = 60
SLOW = {"bare_httpx", "openai_sdk", "pydantic_ai_fallback", "litellm_acompletion", "litellm_router"}
SLOW_ROUNDS = 3
"""The slow clients get fewer rounds: they take most of the time, and small differences do not matter."""
PYTHON_OF = "BENCH_PYTHON_"
"""BENCH_PYTHON_<CLIENT>: an interpreter of another environment, for libraries that cannot be installed together."""


@dataclass(frozen=True)
class Spread:
    """A median with the lowest and the highest value."""

    median: float
    low: float
    high: float

    @staticmethod
    def of(values: Sequence[float]) -> Spread:
        return Spread(statistics.median(values), min(values), max(values))


@dataclass(frozen=True)
class Row:
    """One client under one workload; `ratio` is to the first job of the same run, round by round."""

    client: str
    cpu: Spread  # seconds for each request
    ratio: Spread  # NaN if the first client failed
    first_token: Spread  # seconds
    events: int  # for each request
    rounds: tuple[Measured, ...]


T = TypeVar("T")


class ClientFailed(Exception):
    """A client's process ended instead of measuring."""


@contextmanager
def mock_upstream() -> Iterator[str]:
    """Run the mock provider; yields its address."""
    command = [sys.executable, "-m", "benchmarks.upstream"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


def closed_streams(address: str) -> Mapping[str, float]:
    """Return the tags of the streams that clients closed since the last call, and when the mock saw each close."""
    with urllib.request.urlopen(f"{address}/closed") as answer:
        closed: Mapping[str, float] = json.load(answer)
        return closed


class ClientProcess:
    """The process of one client, which waits for its next round."""

    def __init__(self, name: str, address: str, workload: Workload) -> None:
        python = os.environ.get(f"{PYTHON_OF}{name.upper()}", sys.executable)
        command = [python, "-m", "benchmarks.child", name, address, workload.to_json()]
        self.name = name
        self._stderr = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed in `close`)
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._stderr, text=True
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
            self._stderr.seek(0)
            errors = [line.strip(" |+-") for line in self._stderr if "Error" in line] or ["no error message"]
            raise ClientFailed(f"{self.name}: {errors[-1].strip()}")
        return line

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()
        self._stderr.close()


Job = tuple[str, Workload]
"""A client and its workload."""


def measure(address: str, jobs: Sequence[Job], rounds: int) -> list[Row | None]:
    """Run `jobs` in turn, `rounds` times. Return a row for each; None for one that failed, with a line on stderr.

    All processes are started before the first wait, because most of a start is importing.
    """
    with ExitStack() as stack:
        running: dict[int, ClientProcess] = {}
        for place, (name, workload) in enumerate(jobs):
            running[place] = ClientProcess(name, address, workload)
            stack.callback(running[place].close)
        for place in list(running):
            _or_leave_out(running, place, running[place].wait_ready)
        results: list[list[Measured]] = [[] for _ in jobs]
        for number in range(rounds):
            for place in list(running):
                if number >= SLOW_ROUNDS and jobs[place][0] in SLOW:
                    continue
                if measured := _or_leave_out(running, place, running[place].round):
                    results[place].append(measured)
        first = results[0] if 0 in running else []
        return [
            _row(name, results[place], first, workload.requests) if place in running else None
            for place, (name, workload) in enumerate(jobs)
        ]


def _or_leave_out(running: dict[int, ClientProcess], place: int, act: Callable[[], T]) -> T | None:
    try:
        return act()
    except (ClientFailed, OSError, ValueError) as failed:
        print(f"  left out: {failed}", file=sys.stderr)
        del running[place]
        return None


def _row(name: str, rounds: Sequence[Measured], first: Sequence[Measured], requests: int) -> Row:
    ratios = [mine.cpu / other.cpu for mine, other in zip(rounds, first, strict=False)]
    return Row(
        name,
        Spread.of([measured.cpu / requests for measured in rounds]),
        Spread.of(ratios or [math.nan]),
        Spread.of([measured.first_token for measured in rounds]),
        round(rounds[0].events / requests),
        tuple(rounds),
    )
