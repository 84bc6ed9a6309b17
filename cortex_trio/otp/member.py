"""What a supervisor knows of one child: its spec, its current process, the restart that is due."""

import math
import random
from typing import Any

import attrs

from .child import Child, ChildInfo, ChildState, Grace
from .gen_server import GenServer
from .process import Process, Server
from .timers import Timer

WORKER_GRACE_SECONDS = 5.0
"""OTP's default. A supervisor has no limit, because each of its children has one."""


@attrs.define(eq=False)
class Member:
    """One child of a supervisor. Only `supervision.py` writes it."""

    key: object  # its id in a Supervisor, its ref in a DynamicSupervisor
    spec: Child[Any]
    process: Process | None = None  # None: stopped, or waiting for a restart
    retry: Timer | None = None  # the restart that is due, if there is one; never together with a process
    server_type: type[Server] = GenServer  # class of the last server; GenServer if there was none
    restarts: int = 0  # after an exit or a failed start
    attempt: int = 0  # the n of `Backoff`: restarts since the last quiet period
    quiet_since: float = -math.inf  # Trio time of the last restart

    @property
    def info(self) -> ChildInfo:
        """The child as `which_children` shows it."""
        process, kind, ref = self.process, self.server_type, self.spec.ref
        running = process is not None and not process.exited.is_set()
        state = ChildState.RUNNING if running else ChildState.RESTARTING if self.retry else ChildState.STOPPED
        waiting = 0 if process is None else len(process.mailbox.queue)
        return ChildInfo(ref.name, state, kind.is_supervisor, ref, kind.__name__, self.restarts, waiting)

    def grace(self, process: Process) -> float | None:
        """Return the seconds `process` has to stop; None for BRUTAL_KILL."""
        if not isinstance(self.spec.shutdown, Grace):
            return self.spec.shutdown
        return math.inf if (process.server_type or GenServer).is_supervisor else WORKER_GRACE_SECONDS

    def next_delay(self, now: float) -> float:
        """Return the seconds to wait before the next restart, and count it. `now` is Trio time."""
        if (backoff := self.spec.backoff) is None:
            return 0.0
        if now - self.quiet_since >= backoff.reset_after:
            self.attempt = 0
        delay = backoff.delay(self.attempt, random.random())
        self.attempt, self.quiet_since = self.attempt + 1, now + delay
        return delay

    def cancel_retry(self) -> None:
        """Cancel the restart that is due, if there is one."""
        if self.retry is not None:
            self.retry.cancel()
            self.retry = None
