"""Many lives, in several processes: each seed is lived in one of them, and the verdicts are added up."""

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

from .life import live


@attrs.frozen
class Verdict:
    """What became of one seed. `outcomes` counts calls, `broken` holds the broken laws as sentences."""

    seed: int
    digest: str
    broken: tuple[str, ...]
    gave_up: bool
    outcomes: Counter[str]
    rescued: int  # calls that were served after a failure that the caller did not see
    requests: int
    injected: Counter[str]
    counts: Counter[str]


def judge(seed: int, hours: float) -> Verdict:
    """Live the life of `seed` and say what became of it."""
    seen = live(seed, hours)
    rescued = sum(called.was_rescued for called in seen.calls)
    return Verdict(
        seed=seed,
        digest=seen.digest,
        broken=tuple(seen.broken),
        gave_up=seen.gave_up is not None,
        outcomes=Counter(called.outcome for called in seen.calls),
        rescued=rescued,
        requests=len(seen.attempts),
        injected=seen.injected,
        counts=seen.counts,
    )


@final
@attrs.define
class Summary:
    """All verdicts so far."""

    lives: int = 0
    requests: int = 0
    rescued: int = 0
    gave_up: int = 0
    outcomes: Counter[str] = attrs.field(factory=Counter)
    injected: Counter[str] = attrs.field(factory=Counter)
    counts: Counter[str] = attrs.field(factory=Counter)
    failed: list[Verdict] = attrs.field(factory=list)

    def add(self, verdict: Verdict) -> None:
        self.lives += 1
        self.requests += verdict.requests
        self.rescued += verdict.rescued
        self.gave_up += verdict.gave_up
        self.outcomes += verdict.outcomes
        self.injected += verdict.injected
        self.counts += verdict.counts
        if verdict.broken:
            self.failed.append(verdict)


async def campaign(
    seeds: Iterable[int], hours: float, *, processes: int, on_verdict: Callable[[Verdict], None]
) -> None:
    """Live all seeds; `on_verdict` is told of each as it is over. Cancelled, it starts no further ones."""
    send, receive = trio.open_memory_channel[Future[Verdict]](float("inf"))
    token = trio.lowlevel.current_trio_token()
    context = multiprocessing.get_context("spawn")  # a fork would copy the running loop
    executor = ProcessPoolExecutor(processes, context, initializer=_quietly)
    futures = [executor.submit(judge, seed, hours) for seed in seeds]
    try:
        for future in futures:
            future.add_done_callback(partial(_tell, token, send))
        for _ in futures:
            on_verdict((await receive.receive()).result())
    except BaseException:
        executor.shutdown(wait=False, cancel_futures=True)
        for child in multiprocessing.active_children():  # their verdicts are not needed any more
            child.terminate()
        raise
    executor.shutdown(wait=False)


def _tell(
    token: trio.lowlevel.TrioToken, send: trio.MemorySendChannel[Future[Verdict]], done: Future[Verdict]
) -> None:
    """Called in a thread of the executor, which also says so of what it will not begin any more."""
    with suppress(trio.RunFinishedError):  # no task waits for it
        token.run_sync_soon(send.send_nowait, done)


def available_processes() -> int:
    """One for each processor this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _quietly() -> None:
    """What is killed on purpose need not be logged, and Ctrl-C is for the process that collects."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.getLogger("cortex_trio").addHandler(logging.NullHandler())
