"""What the rules of OTP say, as pure functions: a child exited, what now? Nothing here runs, waits or logs.

`child_exited` is the whole of supervision in one table; `supervision.py` only carries it out.
Source of the rules: `supervisor.erl` (do_restart, restart, do_terminate).
"""

import enum
from collections.abc import Iterable
from itertools import dropwhile
from typing import TypeVar

from .child import BRUTAL_KILL, Restart, Strategy
from .reasons import Crashed, ExitReason, Killed, Normal, Shutdown, is_abnormal

T = TypeVar("T")


class Decision(enum.Enum):
    FORGET = "drop the child and its spec"
    KEEP = "leave the child stopped, remember its spec"
    RESTART_ONE = "start the child again"
    RESTART_ALL = "stop and start every child"
    RESTART_REST = "stop and start the child and those started after it"


def child_exited(reason: ExitReason, restart: Restart, strategy: Strategy) -> Decision:
    """What to do about a child that exited by itself."""
    match reason, restart, strategy:
        case _, Restart.TEMPORARY, _:
            return Decision.FORGET
        case Normal() | Shutdown(), Restart.TRANSIENT, _:
            return Decision.KEEP
        case _, _, Strategy.ONE_FOR_ONE:
            return Decision.RESTART_ONE
        case _, _, Strategy.ONE_FOR_ALL:
            return Decision.RESTART_ALL
        case _, _, Strategy.REST_FOR_ONE:
            return Decision.RESTART_REST


def child_stopped(restart: Restart) -> Decision:
    """What to remember of a child that was stopped by its supervisor, or that chose not to run (Ignore)."""
    return Decision.FORGET if restart is Restart.TEMPORARY else Decision.KEEP


def affected(children: Iterable[T], child: T, decision: Decision) -> list[T]:
    """Those a restart is about, in start order. Which child triggered RESTART_ALL does not matter."""
    match decision:
        case Decision.RESTART_ONE:
            return [child]
        case Decision.RESTART_ALL:
            return list(children)
        case Decision.RESTART_REST:
            return list(dropwhile(lambda other: other is not child, children))
        case Decision.FORGET | Decision.KEEP:
            return []


def is_reported(reason: ExitReason, restart: Restart) -> bool:
    """A permanent child should never have left; for the others leaving in order is no news."""
    return is_abnormal(reason) or restart is Restart.PERMANENT


def is_expected_stop(reason: ExitReason, restart: Restart, shutdown: float | None) -> bool:
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
