"""What a supervisor is told about a child (`Child`) and what it tells about one (`ChildInfo`). Values only."""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import attrs

from .ref import Ref

if TYPE_CHECKING:
    from .gen_server import GenServer

S = TypeVar("S", bound="GenServer")


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

    first: float = 0.1
    most: float = 30.0
    factor: float = 2.0
    jitter: float = 0.1
    reset_after: float = 60.0

    def __attrs_post_init__(self) -> None:
        limits = {"first": 0, "most": 0, "factor": 1, "jitter": 0, "reset_after": 0}
        for field, least in limits.items():
            if not getattr(self, field) >= least:
                raise ValueError(f"Backoff.{field} must be >= {least}, not {getattr(self, field)!r}")
        if self.jitter > 1:
            raise ValueError(f"Backoff.jitter must be <= 1, not {self.jitter!r}")

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
        if not isinstance(self.ref, Ref):
            raise ValueError(f"child: ref must be a Ref, not {self.ref!r}")
        allowed = {
            "start": (callable(self.start), "a callable without arguments"),
            "restart": (isinstance(self.restart, Restart), "a Restart"),
            "shutdown": (self.shutdown is None or self.shutdown >= 0, "seconds >= 0, or BRUTAL_KILL"),
            "mailbox": (self.mailbox >= 0, "a number of casts >= 0"),
            "backoff": (isinstance(self.backoff, Backoff | None), "a Backoff or None"),
            "significant": (
                not (self.significant and self.restart is Restart.PERMANENT),
                "False for a PERMANENT child, which never leaves by itself",
            ),
        }
        for field, (valid, what) in allowed.items():
            if not valid:
                raise ValueError(f"child {self.id!r}: {field} must be {what}, not {getattr(self, field)!r}")

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
    server: str  # class of the last process; "" if there never was one
    restarts: int  # how often its supervisor started it again
    mailbox_length: int  # messages that wait now
