"""Many runs in several processes: each seed runs in one of them, and the results are added up."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import suppress
from functools import partial
from typing import final

import attrs
import trio

from .run import run_seed


@attrs.frozen
class SeedResult:
    """The result of one seed."""

    seed: int
    digest: str
    violations: tuple[str, ...]
    """One sentence for each violated invariant."""
    gave_up: bool
    """Whether the supervision tree stopped after too many restarts."""
    outcomes: Counter[str]
    """Of the calls."""
    rescued: int
    """Calls that were served after a failure that the caller did not see."""
    requests: int
    injected: Counter[str]
    """Faults."""
    counts: Counter[str]


def run_and_count(seed: int, hours: float) -> SeedResult:
    """Run the world of `seed`, and keep only what a campaign adds up."""
    recorder = run_seed(seed, hours)
    return SeedResult(
        seed=seed,
        digest=recorder.digest,
        violations=tuple(recorder.violations),
        gave_up=recorder.gave_up is not None,
        outcomes=Counter(record.outcome for record in recorder.calls),
        rescued=sum(record.was_rescued for record in recorder.calls),
        requests=len(recorder.attempts),
        injected=recorder.injected,
        counts=recorder.counts,
    )


@final
@attrs.define
class CampaignSummary:
    """The sum of all results so far."""

    runs: int = 0
    requests: int = 0
    rescued: int = 0
    gave_up: int = 0
    outcomes: Counter[str] = attrs.field(factory=Counter)
    injected: Counter[str] = attrs.field(factory=Counter)
    counts: Counter[str] = attrs.field(factory=Counter)
    failed: list[SeedResult] = attrs.field(factory=list)
    """Results with a violated invariant."""

    def add(self, result: SeedResult) -> None:
        self.runs += 1
        self.requests += result.requests
        self.rescued += result.rescued
        self.gave_up += result.gave_up
        self.outcomes += result.outcomes
        self.injected += result.injected
        self.counts += result.counts
        if result.violations:
            self.failed.append(result)


async def run_campaign(
    seeds: Iterable[int], hours: float, *, processes: int, on_result: Callable[[SeedResult], None]
) -> None:
    """Run all seeds. When it is cancelled, it starts no further runs and terminates those that run.

    Args:
        seeds: One run for each.
        hours: Simulated hours of each run.
        processes: How many run at the same time.
        on_result: Called with each result as soon as the run is over, in this task.
    """
    send, receive = trio.open_memory_channel[Future[SeedResult]](
        float("inf")
    )  # bounded by the number of seeds
    token = trio.lowlevel.current_trio_token()
    context = multiprocessing.get_context("spawn")  # a fork would copy the running loop
    executor = ProcessPoolExecutor(processes, context, initializer=_prepare_process)
    futures = [executor.submit(run_and_count, seed, hours) for seed in seeds]
    try:
        for future in futures:
            future.add_done_callback(partial(_send_done, token, send))
        for _ in futures:
            on_result((await receive.receive()).result())
    except BaseException:
        executor.shutdown(wait=False, cancel_futures=True)
        for child in multiprocessing.active_children():  # their results are not needed
            child.terminate()
        raise
    executor.shutdown(wait=False)


def _send_done(
    token: trio.lowlevel.TrioToken,
    send: trio.MemorySendChannel[Future[SeedResult]],
    done: Future[SeedResult],
) -> None:
    """Called in a thread of the executor, also for futures that it cancels."""
    with suppress(trio.RunFinishedError):  # no task waits for it any more
        token.run_sync_soon(send.send_nowait, done)


def available_processes() -> int:
    """One for each processor that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _prepare_process() -> None:
    """Log nothing about actors that are killed on purpose, and leave Ctrl-C to the parent process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.getLogger("cortex_trio").addHandler(logging.NullHandler())
