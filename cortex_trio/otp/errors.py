"""What a caller can get, and what a server may raise to steer its own process.

    ActorError                what Ref.call can raise by itself
    ├── NoProcess             there is no process; NOT delivered, safe to retry
    ├── CallingSelf           waiting would never end
    ├── MailboxFull           a bounded mailbox refused a cast; NOT delivered
    ├── ActorExited           it went away before answering; `started` says whether it had begun
    ├── StartFailed           a child's init did not finish
    ├── MaxRestartsExceeded   a supervisor gave up
    ├── AlreadyStarted, AlreadyPresent, Restarting, NotFound, MaxChildrenReached    answers of supervisors
    └── AlreadyRegistered     answer of a unique registry

    Stop, Ignore, Reject      raised *inside* a server: leave, do not run, refuse this one call

Exceptions are built fresh for every reader and keep their cause: raising one instance to several
callers would grow one traceback with the frames of all of them.
"""

from __future__ import annotations

import copyreg
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from .reasons import Crashed, ExitReason, Normal, error_of

if TYPE_CHECKING:
    from .mailbox import Call

NORMAL: Final = Normal()
NO_REPLY: Final = object()
"""What `Stop.reply` holds when no reply was given: None is a perfectly good answer."""


def require(valid: bool, message: str) -> None:
    """Refuse a bad argument, before anything runs, with the one sentence that says what is allowed."""
    if not valid:
        raise ValueError(message)


def is_amount(value: object) -> bool:
    """A number from 0 (NaN is not one)."""
    return isinstance(value, int | float) and value >= 0


class ActorError(Exception):
    """Base of everything `Ref.call` can raise by itself."""

    def __reduce__(self) -> tuple[object, ...]:
        # Not by `__init__`, which takes other arguments than `args`; and with the cause, which Python leaves out.
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__ | {"__cause__": self.__cause__}  # type: ignore[attr-defined]


class NoProcess(ActorError):
    """There is no process behind this ref now. The message was NOT delivered: safe to retry."""


class CallingSelf(ActorError):
    """A server called itself, or a child called the supervisor that waits for it; waiting would never end."""


class MailboxFull(ActorError):
    """A cast met a full mailbox. NOT delivered."""


class ActorExited(ActorError):
    """The server exited before answering. `__cause__` is its exception, if it crashed.

    `started` tells whether handling had begun: False means the request was dropped from the mailbox.
    """

    def __init__(self, name: str, reason: ExitReason, *, started: bool) -> None:
        super().__init__(f"{name!r} {reason} {'while handling' if started else 'before it came to'} the call")
        self.reason, self.started = reason, started
        self.__cause__ = error_of(reason)


class StartFailed(ActorError):
    """A child's init did not finish; `__cause__` says why. Everything started before it was stopped again."""

    def __init__(self, child: str, reason: ExitReason) -> None:
        super().__init__(f"child {child!r} {reason} before its init was done")
        self.child, self.reason = child, reason
        self.__cause__ = error_of(reason)


class MaxRestartsExceeded(ActorError):
    """A supervisor gave up. `__cause__` is an ExceptionGroup of the crashes inside the window."""

    def __init__(self, supervisor: str, restarts: int, seconds: float, crashes: Iterable[Exception]) -> None:
        super().__init__(f"{supervisor!r} gave up: more than {restarts} restarts in {seconds:g} s")
        self.supervisor = supervisor
        self.__cause__ = ExceptionGroup(f"restarts in the last {seconds:g} s", list(crashes))


class AlreadyStarted(ActorError):
    """The child asked for is running (or its ref is behind a running process elsewhere)."""


class AlreadyPresent(ActorError):
    """start_child of a child that is known but not running: stopped, or between two starts."""


class Restarting(ActorError):
    """restart_child or delete_child while the child is between failed restarts."""


class NotFound(ActorError):
    """No child of that id (or ref) here."""


class AlreadyRegistered(ActorError):
    """A unique registry's key is held by a live process."""


class MaxChildrenReached(ActorError):
    """A DynamicSupervisor is full; children between restarts count."""


class Stop(Exception):
    """Raise in a server to leave with `reason`. `reply`, if given, answers the current call after `terminate` ran."""

    def __init__(self, reason: ExitReason = NORMAL, reply: object = NO_REPLY) -> None:
        super().__init__(reason)
        self.reason, self.reply = reason, reply
        self.call: Call | None = None  # the one it answers; set by the server


class Ignore(Exception):
    """Raise in `init`: do not run, and do not treat it as a failure (OTP `ignore`)."""


class Reject(Exception):
    """Raise in a method: the caller gets `error`, the server carries on (OTP `{reply, {error, E}, S}`)."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


def control_of(error: Exception) -> Exception:
    """`error` itself, or the one Stop, Ignore or Reject in it: a nursery puts what leaves it into a group."""
    sole = error
    while isinstance(sole, ExceptionGroup) and len(sole.exceptions) == 1:
        sole = sole.exceptions[0]
    return sole if isinstance(sole, Stop | Ignore | Reject) else error


def exit_reason(error: Exception) -> ExitReason:
    """Why a process ends that `error` leaves."""
    control = control_of(error)
    return control.reason if isinstance(control, Stop) else Crashed(error)
