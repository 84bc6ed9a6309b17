"""What the rules of OTP say, as pure functions: a child exited, what now? Nothing here runs, waits or logs.

Whether there is a restart (`child_exited`), whom it is about (`group`), and whether it is one too many
(`RestartIntensity`) are three questions that know nothing of each other; `supervision.py` only carries out the
answers. Source of the rules: `supervisor.erl` (do_restart, restart, add_restart, do_terminate).
"""

import enum
import math
from collections import deque
from collections.abc import Iterable
from itertools import dropwhile
from typing import TypeVar

from .child import BRUTAL_KILL, Restart, Strategy
from .errors import is_amount, require
from .reasons import Crashed, ExitReason, Killed, Normal, Shutdown, is_abnormal

T = TypeVar("T")

MAX_RESTARTS, MAX_SECONDS = 3, 5.0
"""Elixir's defaults (Erlang: 1 in 5 s). For children that restart at once: a Backoff is its own limit, see there."""


class Decision(enum.Enum):
    FORGET = "drop the child and its spec"
    KEEP = "leave the child stopped, remember its spec"
    RESTART = "start it again, together with those its strategy names"


def child_exited(reason: ExitReason, restart: Restart) -> Decision:
    """What to do about a child that exited by itself."""
    match reason, restart:
        case _, Restart.TEMPORARY:
            return Decision.FORGET
        case Normal() | Shutdown(), Restart.TRANSIENT:
            return Decision.KEEP
        case _:
            return Decision.RESTART


def child_stopped(restart: Restart) -> Decision:
    """What to remember of a child that was stopped by its supervisor, or that chose not to run (Ignore)."""
    return Decision.FORGET if restart is Restart.TEMPORARY else Decision.KEEP


def group(children: Iterable[T], child: T, strategy: Strategy) -> list[T]:
    """Those the restart of `child` is about, in start order."""
    match strategy:
        case Strategy.ONE_FOR_ONE:
            return [child]
        case Strategy.ONE_FOR_ALL:
            return list(children)
        case Strategy.REST_FOR_ONE:
            return list(dropwhile(lambda other: other is not child, children))


def is_reported(reason: ExitReason, restart: Restart) -> bool:
    """A permanent child should never have left; for the others leaving in order is no news."""
    return is_abnormal(reason) or restart is Restart.PERMANENT


def is_expected(reason: ExitReason, restart: Restart, shutdown: float | None) -> bool:
    """Whether a child that was asked to stop ended the way it was asked to."""
    match reason:
        case Killed():
            return shutdown is BRUTAL_KILL
        case Shutdown(info=None) if shutdown is not BRUTAL_KILL:
            return True
        case Normal() | Shutdown():  # left by itself just before it was asked
            return restart is not Restart.PERMANENT
        case Crashed():
            return False


class RestartIntensity:
    """The sliding window: more than max_restarts in the last max_seconds (inclusive) is too many.

    OTP's `add_restart`: the restart being decided is counted first, then compared. So `max_restarts`
    are allowed inside the window and the next one is not; with 0, the first is already too many.
    The window slides: old restarts age out one by one, and success never resets it.
    """

    def __init__(self, max_restarts: int = MAX_RESTARTS, max_seconds: float = MAX_SECONDS) -> None:
        whole = isinstance(max_restarts, int) and max_restarts >= 0
        require(whole, f"max_restarts must be an integer >= 0, not {max_restarts!r}")
        require(is_amount(max_seconds) and max_seconds > 0, f"max_seconds must be > 0, not {max_seconds!r}")
        self.max_restarts, self.max_seconds = max_restarts, max_seconds
        self._times: deque[float] = deque()

    def allow(self, now: float) -> bool:
        """Count one restart at `now` (seconds, never going back); False when it is one too many."""
        while self._times and self._times[0] < now - self.max_seconds:
            self._times.popleft()
        self._times.append(now)
        return len(self._times) <= self.max_restarts

    def is_quiet_after(self) -> float:
        """When the newest restart will be outside the window, if there is none until then. At least one was counted."""
        return math.nextafter(self._times[-1] + self.max_seconds, math.inf)
