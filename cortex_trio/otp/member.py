"""A child as its supervisor keeps it."""

import math
import random
from typing import Any

import attrs

from .child import Child, ChildInfo, ChildState, Grace
from .gen_server import GenServer
from .process import Process, Server
from .timers import Timer

WORKER_GRACE_SECONDS = 5.0
"""OTP's default; for a supervisor it is infinity, because its own children have their limits."""


@attrs.define(eq=False)
class Member:
    """What a supervisor remembers of a child. Only `supervision.py` writes it."""

    key: object  # under which the supervisor finds it
    spec: Child[Any]
    process: Process | None = None  # None: stopped, or between two starts
    retry: Timer | None = None  # the start that is due, if one is; never together with a process
    server_type: type[Server] = GenServer  # of the last process
    restarts: int = 0
    attempt: int = 0  # restarts since it was last quiet for long enough: the n of Backoff
    quiet_since: float = -math.inf

    @property
    def info(self) -> ChildInfo:
        """What others may know of it."""
        process, kind, ref = self.process, self.server_type, self.spec.ref
        running = process is not None and not process.exited.is_set()
        state = ChildState.RUNNING if running else ChildState.RESTARTING if self.retry else ChildState.STOPPED
        waiting = 0 if process is None else len(process.mailbox.queue)
        return ChildInfo(ref.name, state, kind.is_supervisor, ref, kind.__name__, self.restarts, waiting)

    def grace(self, process: Process) -> float | None:
        """Seconds `process` has to stop; None for BRUTAL_KILL."""
        if not isinstance(self.spec.shutdown, Grace):
            return self.spec.shutdown
        return math.inf if (process.server_type or GenServer).is_supervisor else WORKER_GRACE_SECONDS

    def next_delay(self, now: float) -> float:
        """Seconds to wait before the next start."""
        if (backoff := self.spec.backoff) is None:
            return 0.0
        if now - self.quiet_since >= backoff.reset_after:
            self.attempt = 0
        delay = backoff.delay(self.attempt, random.random())
        self.attempt, self.quiet_since = self.attempt + 1, now + delay
        return delay

    def cancel_retry(self) -> None:
        """No start is due any more: it happens now, or not at all."""
        if self.retry is not None:
            self.retry.cancel()
            self.retry = None
