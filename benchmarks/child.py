"""One client's process: `python -m benchmarks.child CLIENT ADDRESS WORKLOAD`.

Prints "ready" after the warm-up, then runs a round for every line it reads, and prints its cost. Reading the next line
blocks the whole process on purpose: between its rounds a client does nothing.
"""

from __future__ import annotations

import gc
import os
import re
import statistics
import sys
import time
from contextlib import nullcontext
from dataclasses import replace
from itertools import count
from typing import TextIO

import anyio

from .clients import Client, client_module
from .workload import Measured, Workload

WARM_UP_REQUESTS = 30
PAGE = 4096
_LONG = re.compile(r"chunks-\d{3,}")
BESIDE = {
    "open": "mock:hold-1",
    "busy": "mock:chunks-10000.gap-20",
    "idle": "mock:chunks-1.first-{long_enough}",  # they end at the same time, which leaves as many idle connections
}


def _resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * PAGE


class Rounds:
    """Runs rounds of one workload with one client."""

    def __init__(self, client: Client, workload: Workload) -> None:
        self._client = client
        self._workload = workload
        self._tags = count(1)

    async def warm_up(self) -> None:
        measured = self._workload
        self._workload = replace(measured, settings=_LONG.sub("chunks-20", measured.settings))
        await self._ask_many(min(WARM_UP_REQUESTS, measured.requests))
        self._workload = measured

    async def measure(self) -> Measured:
        workload = self._workload
        async with anyio.create_task_group() as background:
            before = _resident()
            await self._set_up_beside(background)
            grown = _resident() - before
            gc.collect()
            cpu, wall = time.process_time(), time.perf_counter()
            await self._ask_many(workload.requests)
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
            background.cancel_scope.cancel()
        first = statistics.median(self._firsts) if self._firsts else 0.0
        return Measured(cpu, wall, self._events, first, grown, self._left)

    async def _set_up_beside(self, background: anyio.abc.TaskGroup) -> None:
        """Open streams that send nothing more, or idle connections: answers that end at the same time leave them."""
        beside, opened = self._workload.beside, 0
        if not beside:
            return
        all_open = anyio.Event()

        def on_piece() -> bool:
            nonlocal opened
            opened += 1
            if opened == beside:
                all_open.set()
            return False

        prompt = BESIDE[self._workload.beside_kind].format(long_enough=beside * 3 // 2)
        group = anyio.create_task_group() if self._workload.beside_kind == "idle" else nullcontext(background)
        async with group as tasks:
            for _ in range(beside):
                tasks.start_soon(self._client.stream, prompt, on_piece)
            await all_open.wait()

    async def _ask_many(self, requests: int) -> None:
        self._firsts: list[float] = []
        self._events = 0
        self._left: dict[str, float] = {}
        self._remaining = requests
        async with anyio.create_task_group() as group:
            for place in range(self._workload.concurrency):
                group.start_soon(self._ask_in_turn, place * self._workload.stagger)

    async def _ask_in_turn(self, after: float) -> None:
        await anyio.sleep(after)
        while self._remaining > 0:
            self._remaining -= 1
            if self._workload.kind == "whole":
                await self._client.whole(f"Hi mock:{self._workload.settings}")
                self._events += 1
            else:
                await self._ask_streamed()

    async def _ask_streamed(self) -> None:
        started, pieces, leaves = time.perf_counter(), 0, self._workload.cancel
        tag = str(next(self._tags)) if leaves else ""

        def on_piece() -> bool:
            nonlocal pieces
            pieces += 1
            if pieces == 1:
                self._firsts.append(time.perf_counter() - started)
                if leaves:
                    self._left[tag] = time.monotonic()
            return leaves

        tagged = f"tag:{tag} " if leaves else ""
        await self._client.stream(f"Hi {tagged}mock:{self._workload.settings}", on_piece)
        self._events += pieces


async def _main(name: str, address: str, workload: Workload, parent: TextIO) -> None:
    async with client_module(name).open_client(address, workload) as client:
        rounds = Rounds(client, workload)
        await rounds.warm_up()
        print("ready", file=parent, flush=True)
        while sys.stdin.readline():
            print((await rounds.measure()).to_json(), file=parent, flush=True)


def _line_to_parent() -> TextIO:
    """Return the standard output. What libraries print goes to standard error instead."""
    parent = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return parent


if __name__ == "__main__":
    line = _line_to_parent()
    _, client_name, mock_address, workload = sys.argv
    anyio.run(
        _main,
        client_name,
        mock_address,
        Workload.from_json(workload),
        line,
        backend=client_module(client_name).BACKEND,
    )
