"""A child as it is specified (`Child`), and as others see it (`ChildInfo`)."""

import enum
import math
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, Generic

import attrs
from attrs.validators import ge, le

from .errors import is_amount, require
from .ref import Ref, S


class Restart(enum.Enum):
    """When a child that exited by itself is started again."""

    PERMANENT = "permanent"  # always
    TRANSIENT = "transient"  # when it was killed or crashed
    TEMPORARY = "temporary"  # never; its spec is forgotten


class Strategy(enum.Enum):
    """Who is restarted together with the child that exited."""

    ONE_FOR_ONE = "one_for_one"  # no other
    ONE_FOR_ALL = "one_for_all"  # all others
    REST_FOR_ONE = "rest_for_one"  # those started after it


class AutoShutdown(enum.Enum):
    """Whether a supervisor leaves when its significant children have left."""

    NEVER = "never"
    ANY_SIGNIFICANT = "any_significant"  # with the first
    ALL_SIGNIFICANT = "all_significant"  # with the last


BRUTAL_KILL: Final = None
"""`Child.shutdown`: cancel at once, without `terminate`."""


class Grace(enum.Enum):
    """`Child.shutdown` that was not given."""

    BY_KIND = "5 s for a worker, unlimited for a supervisor, whose own children have their own limits"


@attrs.frozen
class Backoff:
    """Delay between restarts: first * factor**n, at most `most`, +- jitter; n returns to 0 after `reset_after` quiet
    seconds. All in seconds, but `factor` and `jitter` (0.1 means +- 10 %).

    Not OTP, which restarts at once. A child with a backoff is restarted by it, without end: the intensity of a
    supervisor that was given none does not count such a child (Akka: `maxNrOfRetries = -1`). Where
    `max_restarts` or `max_seconds` are given, they count it like the others, a crash or a failed start when it
    happens and not when the delay ends; choose a window much longer than the delays then.
    """

    first: float = attrs.field(default=0.1, validator=ge(0))
    most: float = attrs.field(default=30.0, validator=ge(0))
    factor: float = attrs.field(default=2.0, validator=ge(1))
    jitter: float = attrs.field(default=0.1, validator=[ge(0), le(1)])
    reset_after: float = attrs.field(default=60.0, validator=ge(0))

    def delay(self, attempt: int, random: float) -> float:
        """Seconds to wait before restart number `attempt` (from 0); `random` in [0, 1) picks a place in the jitter."""
        grown = self.most
        with suppress(OverflowError):
            grown = min(grown, self.first * self.factor**attempt)
        return grown * (1 + self.jitter * (2 * random - 1))


@attrs.frozen(kw_only=True)
class Child(Generic[S]):
    """How to start a child and what to do when it exits. Raises ValueError naming the field and the id."""

    ref: Ref[S]  # its name is the child id
    start: Callable[[], S]  # called for every incarnation, inside the new process
    restart: Restart = Restart.PERMANENT
    shutdown: float | Grace | None = Grace.BY_KIND  # seconds of grace, or BRUTAL_KILL
    significant: bool = False
    mailbox: float = math.inf  # bound on queued casts and calls whose caller gave up; infos are not bounded
    backoff: Backoff | None = None  # None: restart at once, as OTP does

    def __attrs_post_init__(self) -> None:
        require(isinstance(self.ref, Ref), f"child: ref must be a Ref, not {self.ref!r}")
        here = f"child {self.id!r}"
        require(callable(self.start), f"{here}: start must be a callable, not {self.start!r}")
        require(isinstance(self.restart, Restart), f"{here}: restart must be a Restart, not {self.restart!r}")
        graceful = self.shutdown is None or isinstance(self.shutdown, Grace) or is_amount(self.shutdown)
        require(graceful, f"{here}: shutdown must be seconds >= 0 or BRUTAL_KILL, not {self.shutdown!r}")
        require(is_amount(self.mailbox), f"{here}: mailbox must be a number >= 0, not {self.mailbox!r}")
        leaves = self.restart is not Restart.PERMANENT or not self.significant
        require(leaves, f"{here}: significant cannot go with PERMANENT, which never leaves by itself")

    @property
    def id(self) -> str:
        return self.ref.name


class ChildState(enum.StrEnum):
    RUNNING = "running"
    RESTARTING = "restarting"  # between a failed start (or a backoff) and the next attempt
    STOPPED = "stopped"  # the spec is known, no process, none due


@attrs.frozen
class ChildInfo:
    """One child as it is now."""

    id: str
    state: ChildState
    is_supervisor: bool
    ref: Ref[Any] = attrs.field(repr=False)
    server: str  # class of the last process; GenServer if there never was one
    restarts: int  # how often its supervisor started it again, after an exit or a failed start
    mailbox_length: int  # messages that wait now
