"""OTP's rules for the exit of a child, as pure functions. Nothing here runs, waits or logs.

Three questions that do not depend on each other:

    child_exited       is the child restarted, kept or forgotten?
    restart_group      which children are restarted with it?
    RestartIntensity   is this one restart too many?

`supervision.py` acts on the answers. Source of the rules: `supervisor.erl` (do_restart, restart, add_restart,
do_terminate).
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
"""Elixir's defaults, the second in seconds (Erlang: 1 in 5 s). `Backoff` says when children with one are counted."""


class Decision(enum.Enum):
    """What a supervisor does with a child that is not running any more."""

    FORGET = "drop the child and its spec"
    KEEP = "leave the child stopped, remember its spec"
    RESTART = "start it again, with the others in its group"


def child_exited(reason: ExitReason, restart: Restart) -> Decision:
    """Decide about a child that exited by itself: it was not stopped by its supervisor."""
    match restart:
        case Restart.PERMANENT:
            return Decision.RESTART
        case Restart.TRANSIENT:
            return Decision.RESTART if is_abnormal(reason) else Decision.KEEP
        case Restart.TEMPORARY:
            return Decision.FORGET


def child_stopped(restart: Restart) -> Decision:
    """Decide about a child that its supervisor has stopped, or whose init raised Ignore: FORGET or KEEP."""
    return Decision.FORGET if restart is Restart.TEMPORARY else Decision.KEEP


def restart_group(children: Iterable[T], child: T, strategy: Strategy) -> list[T]:
    """Return the children that are restarted when `child` is, itself included, in start order."""
    match strategy:
        case Strategy.ONE_FOR_ONE:
            return [child]
        case Strategy.ONE_FOR_ALL:
            return list(children)
        case Strategy.REST_FOR_ONE:
            return list(dropwhile(lambda other: other is not child, children))


def is_reported(reason: ExitReason, restart: Restart) -> bool:
    """Whether the exit of a child is reported: an abnormal one, and any exit of a PERMANENT child."""
    return is_abnormal(reason) or restart is Restart.PERMANENT


def is_expected(reason: ExitReason, restart: Restart, shutdown: float | None) -> bool:
    """Whether a child exited as requested by its supervisor; otherwise a SHUTDOWN_ERROR is reported.

    Args:
        reason: why it exited.
        restart: its restart type.
        shutdown: the seconds it had, or BRUTAL_KILL.
    """
    match reason:
        case Killed():
            return shutdown is BRUTAL_KILL
        case Shutdown(info=None) if shutdown is not BRUTAL_KILL:
            return True
        case Normal() | Shutdown():  # it stopped by itself just before the request
            return restart is not Restart.PERMANENT
        case Crashed():
            return False


class RestartIntensity:
    """The sliding window of a supervisor: more than max_restarts in the last max_seconds (inclusive) is too many.

    As OTP's `add_restart`: the restart that is being decided is counted first, then the count is compared. So
    `max_restarts` restarts are allowed inside the window, and the next one is not; with 0, the first one is not.
    Each restart leaves the window `max_seconds` after it happened. A successful start does not reset the window.

    Args:
        max_restarts: how many restarts are allowed in the window, >= 0.
        max_seconds: length of the window in seconds, > 0.

    Raises:
        ValueError: an argument is not allowed; names it.
    """

    def __init__(self, max_restarts: int = MAX_RESTARTS, max_seconds: float = MAX_SECONDS) -> None:
        whole = isinstance(max_restarts, int) and max_restarts >= 0
        require(whole, f"max_restarts must be an integer >= 0, not {max_restarts!r}")
        require(is_amount(max_seconds) and max_seconds > 0, f"max_seconds must be > 0, not {max_seconds!r}")
        self.max_restarts, self.max_seconds = max_restarts, max_seconds
        self._times: deque[float] = deque()

    def allow(self, now: float) -> bool:
        """Count one restart.

        Args:
            now: Trio time in seconds, not before the `now` of the last call.

        Returns:
            False if it is one too many.
        """
        while self._times and self._times[0] < now - self.max_seconds:
            self._times.popleft()
        self._times.append(now)
        return len(self._times) <= self.max_restarts

    def quiet_at(self) -> float:
        """Return the time (Trio time, seconds) at which the newest restart leaves the window. One must be counted."""
        return math.nextafter(self._times[-1] + self.max_seconds, math.inf)
