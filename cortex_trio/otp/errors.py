"""The exceptions of the kernel: what a caller can get, and what a server may raise to control its own process.

    ActorError                what Ref.call can raise by itself
    ├── NoProcess             no process behind the ref; NOT delivered, safe to retry
    ├── CallingSelf           the call could never return
    ├── MailboxFull           a bounded mailbox refused a cast; NOT delivered
    ├── ActorExited           the server ended before it answered; `started` says whether handling had begun
    ├── StartFailed           the init of a child failed
    ├── MaxRestartsExceeded   a supervisor gave up
    ├── AlreadyStarted, AlreadyPresent, Restarting, NotFound, MaxChildrenReached    from supervisors
    └── AlreadyRegistered     from a unique registry

    Stop, Ignore, Reject      raised *inside* a server: end it, do not start it, refuse one call

Every caller gets an exception of its own, with the cause as `__cause__`: if one instance were raised to several
callers, each raise would add its frames to the one traceback.
"""

from __future__ import annotations

import copyreg
from collections.abc import Iterable
from typing import Final

from .reasons import Crashed, ExitReason, Normal, error_of

NORMAL: Final = Normal()
NO_REPLY: Final = object()
"""What `Stop.reply` holds when no reply was given: None is a valid reply."""


def require(valid: bool, message: str) -> None:
    """Check an argument.

    Args:
        valid: whether the argument is allowed.
        message: which values are allowed, and which one was given.

    Raises:
        ValueError: with `message`, if it is not valid.
    """
    if not valid:
        raise ValueError(message)


def is_amount(value: object) -> bool:
    """Whether `value` is a number from 0 to infinity (NaN is not)."""
    return isinstance(value, int | float) and value >= 0


class ActorError(Exception):
    """Base of everything `Ref.call` can raise by itself."""

    def __reduce__(self) -> tuple[object, ...]:
        # Python would call `__init__` with `args`, which are not its arguments here, and would leave out the cause.
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__ | {"__cause__": self.__cause__}  # type: ignore[attr-defined]


class NoProcess(ActorError):
    """There is no process behind this ref now. The message was NOT delivered: safe to retry."""


class CallingSelf(ActorError):
    """A server called itself, or a child called the supervisor that waits for it: the call could never return."""


class MailboxFull(ActorError):
    """A cast to a mailbox that holds `Child.mailbox` messages already. NOT delivered."""


class ActorExited(ActorError):
    """The server ended before it answered.

    Attributes:
        reason: why it ended; `__cause__` is its exception if it crashed, else None.
        started: whether handling of the call had begun. False: the call was still in the mailbox, safe to retry.
    """

    def __init__(self, name: str, reason: ExitReason, *, started: bool) -> None:
        super().__init__(f"{name!r} {reason} {'while' if started else 'before'} it handled the call")
        self.reason, self.started = reason, started
        self.__cause__ = error_of(reason)


class StartFailed(ActorError):
    """The init of a child failed. A supervisor that was starting its list has stopped the children before it again.

    Attributes:
        child: the id of the child.
        reason: why its process ended; `__cause__` is its exception if it crashed, else None.
    """

    def __init__(self, child: str, reason: ExitReason) -> None:
        super().__init__(f"child {child!r} {reason} before its init was done")
        self.child, self.reason = child, reason
        self.__cause__ = error_of(reason)


class MaxRestartsExceeded(ActorError):
    """A supervisor gave up. `__cause__` is an ExceptionGroup of the crashes inside the window.

    Attributes:
        supervisor: the name of its ref.
    """

    def __init__(self, supervisor: str, restarts: int, seconds: float, crashes: Iterable[Exception]) -> None:
        super().__init__(f"{supervisor!r} gave up: more than {restarts} restarts in {seconds:g} s")
        self.supervisor = supervisor
        self.__cause__ = ExceptionGroup(f"restarts in the last {seconds:g} s", list(crashes))


class AlreadyStarted(ActorError):
    """The child is running, or there is a running process behind its ref elsewhere."""


class AlreadyPresent(ActorError):
    """start_child with a child that the supervisor has, but that is not running: stopped, or waiting for a restart."""


class Restarting(ActorError):
    """restart_child or delete_child of a child that waits for a restart."""


class NotFound(ActorError):
    """The supervisor has no child with this id (or ref)."""


class AlreadyRegistered(ActorError):
    """The key of a unique registry belongs to a running process."""


class MaxChildrenReached(ActorError):
    """A DynamicSupervisor has `max_children` children; those that wait for a restart count."""


class Stop(Exception):
    """Raise in a server, except in `init`, to end it with `reason`.

    Attributes:
        reason: what monitors, `terminate` and the supervisor get.
        reply: the answer of the current call, sent after `terminate` ran. Without it the caller gets ActorExited.
    """

    def __init__(self, reason: ExitReason = NORMAL, reply: object = NO_REPLY) -> None:
        super().__init__(reason)
        self.reason, self.reply = reason, reply


class Ignore(Exception):
    """Raise in `init` or in `Child.start`: the child is not started, and that is no failure (OTP `ignore`)."""


class Reject(Exception):
    """Raise in a method: the caller gets `error`, the server goes on (OTP `{reply, {error, E}, S}`).

    Attributes:
        error: what `Ref.call` raises.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


def sole_exception(error: BaseException) -> BaseException:
    """Return the one exception in the group `error`, in however many groups; else `error`, or the group of several."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def control_of(error: Exception) -> Exception:
    """Return the single Stop, Ignore or Reject that a nursery has put into the group `error`, else `error`."""
    sole = sole_exception(error)
    return sole if isinstance(sole, Stop | Ignore | Reject) else error


def exit_reason(error: Exception) -> ExitReason:
    """Return why a process ends when `error` leaves it."""
    return control.reason if isinstance(control := control_of(error), Stop) else Crashed(error)
