"""A periodic job: every ten seconds with some jitter, and with a backoff while it fails.

Run it: python examples/periodic_job.py
"""

import logging
import random
from collections.abc import Awaitable, Callable

import trio
from trio.testing import MockClock

from cortex_trio.otp import Backoff, Child, GenServer, Ref, Supervisor, open_tree


class Job(GenServer):
    """Runs `work` again and again. If it raises, this server crashes, and its backoff delays the restart."""

    def __init__(self, work: Callable[[], Awaitable[None]], every: float, jitter: float) -> None:
        self.work, self.every, self.jitter = work, every, jitter

    async def handle_continue(self) -> None:
        await self.handle_info("due")

    async def handle_info(self, message: object) -> None:
        await self.work()
        self.send_after(self.every * random.uniform(1 - self.jitter, 1 + self.jitter), "due")


class Fetch:
    """The work: its second to fourth run fail."""

    runs = 0

    async def __call__(self) -> None:
        self.runs += 1
        failed = 2 <= self.runs <= 4
        print(f"{trio.current_time():5.1f} s: run {self.runs} {'fails' if failed else 'is fine'}")
        if failed:
            raise ConnectionError


async def main() -> None:
    logging.getLogger("cortex_trio.otp").setLevel(logging.CRITICAL)  # the crashes are intended
    random.seed(7)  # so that it prints the same each time
    fetch = Fetch()  # made before the job, so that it survives its crashes
    backoff = Backoff(first=1, factor=2, most=60)
    job = Child(ref=Ref("job"), start=lambda: Job(fetch, every=10, jitter=0.1), backoff=backoff)
    async with open_tree(Supervisor([job])):
        await trio.sleep(50)


trio.run(main, clock=MockClock(autojump_threshold=0))  # in virtual time, so that it takes no real time
