"""The spec of a child (`Child`), and what a supervisor shows of it (`ChildInfo`)."""

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
    TRANSIENT = "transient"  # after Killed and Crashed only; otherwise it is kept, stopped
    TEMPORARY = "temporary"  # never; its spec is forgotten


class Strategy(enum.Enum):
    """Which children are restarted with the child that exited."""

    ONE_FOR_ONE = "one_for_one"  # none
    ONE_FOR_ALL = "one_for_all"  # all
    REST_FOR_ONE = "rest_for_one"  # those started after it


class AutoShutdown(enum.Enum):
    """Whether a supervisor stops when its significant children have exited by themselves and are not restarted."""

    NEVER = "never"
    ANY_SIGNIFICANT = "any_significant"  # after the first exit
    ALL_SIGNIFICANT = "all_significant"  # after the exit of the last one


BRUTAL_KILL: Final = None
"""For `Child.shutdown`: cancel the child at once; `terminate` does not run."""


class Grace(enum.Enum):
    """For `Child.shutdown`: the default."""

    BY_KIND = "5 s for a worker, no limit for a supervisor, whose children have limits of their own"


@attrs.frozen
class Backoff:
    """The delay before a restart: first * factor**n, at most `most`, +- jitter. OTP has none: it restarts at once.

    A child with a backoff is restarted for ever: a supervisor whose `max_restarts` and `max_seconds` are not given
    does not count it (Akka: `maxNrOfRetries = -1`). Where one of them is given, the child is counted like the others,
    at its exit or failed start and not at the end of the delay. Then choose a window much longer than the delays.

    Attributes:
        first: the delay of the first restart, in seconds, >= 0.
        most: the longest delay, in seconds, >= 0.
        factor: by how much each delay is longer than the last one, >= 1.
        jitter: the random part of a delay, 0 to 1; 0.1 means +- 10 %.
        reset_after: after so many seconds without a restart n is 0 again, >= 0.

    Raises:
        ValueError: an argument is not allowed; names it.
    """

    first: float = attrs.field(default=0.1, validator=ge(0))
    most: float = attrs.field(default=30.0, validator=ge(0))
    factor: float = attrs.field(default=2.0, validator=ge(1))
    jitter: float = attrs.field(default=0.1, validator=[ge(0), le(1)])
    reset_after: float = attrs.field(default=60.0, validator=ge(0))

    def delay(self, attempt: int, random: float) -> float:
        """Return the delay in seconds.

        Args:
            attempt: the n of the formula: 0 for the first restart.
            random: a number in [0, 1) that chooses a value within the jitter.
        """
        grown = self.most
        with suppress(OverflowError):
            grown = min(grown, self.first * self.factor**attempt)
        return grown * (1 + self.jitter * (2 * random - 1))


@attrs.frozen(kw_only=True)
class Child(Generic[S]):
    """A child spec: how to start the child, and what to do when it exits.

    Attributes:
        ref: its address; the name is the child's id.
        start: a class or a function without arguments that returns a new server. It is called for every incarnation,
            inside the new process.
        restart: when the child is started again after it exited by itself.
        shutdown: the seconds it has to stop, >= 0, before it is cancelled; None is BRUTAL_KILL; the default is 5 s
            for a worker and no limit for a supervisor.
        significant: whether its exit counts for `auto_shutdown`.
        mailbox: how many casts, and calls whose caller was cancelled, may be queued, >= 0. Infos are not counted.
        backoff: the delay before a restart; None: restart at once, as OTP does.

    Raises:
        ValueError: a field is not allowed; names the field and the id.
    """

    ref: Ref[S]
    start: Callable[[], S]
    restart: Restart = Restart.PERMANENT
    shutdown: float | Grace | None = Grace.BY_KIND
    significant: bool = False
    mailbox: float = math.inf
    backoff: Backoff | None = None

    def __attrs_post_init__(self) -> None:
        require(isinstance(self.ref, Ref), f"child: ref must be a Ref, not {self.ref!r}")
        here = f"child {self.id!r}"
        require(callable(self.start), f"{here}: start must be a callable, not {self.start!r}")
        require(isinstance(self.restart, Restart), f"{here}: restart must be a Restart, not {self.restart!r}")
        graceful = self.shutdown is None or isinstance(self.shutdown, Grace) or is_amount(self.shutdown)
        require(graceful, f"{here}: shutdown must be seconds >= 0 or BRUTAL_KILL, not {self.shutdown!r}")
        require(is_amount(self.mailbox), f"{here}: mailbox must be a number >= 0, not {self.mailbox!r}")
        leaves = self.restart is not Restart.PERMANENT or not self.significant
        require(leaves, f"{here}: significant cannot go with PERMANENT, which is always restarted")

    @property
    def id(self) -> str:
        """The name of `ref`; unique in a Supervisor."""
        return self.ref.name


class ChildState(enum.StrEnum):
    """Whether a child has a process now."""

    RUNNING = "running"  # it has one: its init may still run
    RESTARTING = "restarting"  # a restart is due, after a failed start or a backoff
    STOPPED = "stopped"  # it has none, and no restart is due


@attrs.frozen
class ChildInfo:
    """One child as it was when this was made.

    Attributes:
        id: the name of its ref.
        state: whether it has a process.
        is_supervisor: whether its last server was a supervisor.
        ref: its address.
        server: the class name of its last server; "GenServer" if there was none.
        restarts: how many times its supervisor has started it again, after an exit or a failed start.
        mailbox_length: how many messages are queued.
    """

    id: str
    state: ChildState
    is_supervisor: bool
    ref: Ref[Any] = attrs.field(repr=False)
    server: str
    restarts: int
    mailbox_length: int
