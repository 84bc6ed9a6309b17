"""What a supervisor is told about a child (`Child`), remembers of it (`Member`) and tells (`ChildInfo`)."""

import enum
import math
import random
from collections.abc import Callable
from typing import Any, Final, Generic

import attrs
from attrs.validators import ge, le

from .errors import is_amount, require
from .gen_server import GenServer, Timer
from .process import Process
from .ref import Ref, S


class Restart(enum.Enum):
    """When a child that exited by itself is started again."""

    PERMANENT = "permanent"  # always
    TRANSIENT = "transient"  # when it was killed or crashed
    TEMPORARY = "temporary"  # never; its spec is forgotten


class Strategy(enum.Enum):
    """Who is restarted together with the child that exited."""

    ONE_FOR_ONE = "one_for_one"  # nobody
    ONE_FOR_ALL = "one_for_all"  # everybody
    REST_FOR_ONE = "rest_for_one"  # those started after it


class AutoShutdown(enum.Enum):
    """Whether a supervisor leaves when its significant children have left."""

    NEVER = "never"
    ANY_SIGNIFICANT = "any_significant"  # with the first
    ALL_SIGNIFICANT = "all_significant"  # with the last


BRUTAL_KILL: Final = None
"""`Child.shutdown`: cancel at once, without `terminate`."""


@attrs.frozen
class Backoff:
    """Delay between restarts: first * factor**n, at most `most`, +- jitter; n returns to 0 after `reset_after` quiet
    seconds. All in seconds, but `factor` and `jitter` (0.1 means +- 10 %).

    Not OTP, which restarts at once; the defaults follow Akka. The restart intensity counts a crash when it happens,
    so with long delays the limit is rarely met: that is the point of them.
    """

    first: float = attrs.field(default=0.1, validator=ge(0))
    most: float = attrs.field(default=30.0, validator=ge(0))
    factor: float = attrs.field(default=2.0, validator=ge(1))
    jitter: float = attrs.field(default=0.1, validator=[ge(0), le(1)])
    reset_after: float = attrs.field(default=60.0, validator=ge(0))

    def delay(self, attempt: int, random: float) -> float:
        """Seconds to wait before restart number `attempt` (from 0); `random` in [0, 1) picks a place in the jitter."""
        try:
            grown = min(self.most, self.first * self.factor**attempt)
        except OverflowError:
            grown = self.most
        return grown * (1 + self.jitter * (2 * random - 1))


@attrs.frozen(kw_only=True)
class Child(Generic[S]):
    """How to start a child and what to do when it exits. Raises ValueError naming the field and the id."""

    ref: Ref[S]  # its name is the child id
    start: Callable[[], S]  # called for every incarnation, inside the new process
    restart: Restart = Restart.PERMANENT
    shutdown: float | None = 5.0  # seconds of grace; math.inf for supervisors; BRUTAL_KILL
    significant: bool = False
    mailbox: float = math.inf  # bound on queued casts
    backoff: Backoff | None = None  # None: restart at once, as OTP does

    def __attrs_post_init__(self) -> None:
        require(isinstance(self.ref, Ref), f"child: ref must be a Ref, not {self.ref!r}")
        here = f"child {self.id!r}"
        require(callable(self.start), f"{here}: start must be a callable, not {self.start!r}")
        require(isinstance(self.restart, Restart), f"{here}: restart must be a Restart, not {self.restart!r}")
        graceful = self.shutdown is None or is_amount(self.shutdown)
        require(graceful, f"{here}: shutdown must be seconds >= 0 or BRUTAL_KILL, not {self.shutdown!r}")
        require(
            is_amount(self.mailbox), f"{here}: mailbox must be a number of casts >= 0, not {self.mailbox!r}"
        )
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
    restarts: int  # how often its supervisor started it again
    mailbox_length: int  # messages that wait now


@attrs.define(eq=False)
class Member:
    """A child as its supervisor knows it."""

    key: object  # under which the supervisor finds it
    spec: Child[Any]
    process: Process | None = None  # None: stopped, or between two starts
    overdue: Process | None = None  # the one that was reported for not stopping in time
    retry: Timer | None = None  # the start that is due, if one is; never together with a process
    server_type: type[GenServer] = GenServer  # of the last process
    restarts: int = 0
    attempt: int = 0  # restarts since it was last quiet for long enough: the n of Backoff
    quiet_since: float = -math.inf

    def next_delay(self, now: float) -> float:
        """Seconds to wait before the next start."""
        backoff = self.spec.backoff
        if backoff is None:
            return 0.0
        if now - self.quiet_since >= backoff.reset_after:
            self.attempt = 0
        delay = backoff.delay(self.attempt, random.random())
        self.attempt += 1
        self.quiet_since = now + delay
        return delay

    def cancel_retry(self) -> None:
        """No start is due any more: it happens now, or not at all."""
        if self.retry is not None:
            self.retry.cancel()
            self.retry = None
