"""Exit reasons: why a process ended. Pure values that know nothing of tasks, supervisors or restarts.

OTP has the terms `normal`, `shutdown`, `{shutdown, Info}`, `killed` and any other term for a crash. These four
classes divide exits in the same way. Only `decision.py` decides by them.
"""

import attrs


@attrs.frozen
class Normal:
    """The process stopped by itself: it raised `Stop()`, or it was stopped with `Ref.stop`."""

    def __str__(self) -> str:
        return "ended normally"


@attrs.frozen
class Shutdown:
    """An orderly stop: requested by the supervisor, or chosen by the process with `Stop(Shutdown(info))`.

    A supervisor that gives up ends with `Shutdown(MaxRestartsExceeded(...))`. In OTP its reason is `shutdown` too,
    and so a TRANSIENT supervisor that gave up is not restarted.

    Attributes:
        info: what the process passed; None for a stop that the supervisor requested.
    """

    info: object = None

    def __str__(self) -> str:
        return "was shut down" if self.info is None else f"shut itself down ({type(self.info).__name__})"


@attrs.frozen
class Killed:
    """The process was cancelled: by `Ref.kill`, by BRUTAL_KILL, or because it did not stop in time."""

    def __str__(self) -> str:
        return "was killed"


@attrs.frozen(eq=False)
class Crashed:
    """An exception left the process.

    Attributes:
        error: the exception; an ExceptionGroup if there were several at once.
    """

    error: Exception

    def __str__(self) -> str:
        return f"crashed with {type(self.error).__name__}"


ExitReason = Normal | Shutdown | Killed | Crashed


def is_abnormal(reason: ExitReason) -> bool:
    """Whether `reason` is Killed or Crashed: the reasons after which a TRANSIENT child is restarted."""
    return isinstance(reason, Killed | Crashed)


def error_of(reason: ExitReason | None) -> Exception | None:
    """Return the exception in a reason: of a crash, or of a supervisor that gave up; None if it has none."""
    error = reason.error if isinstance(reason, Crashed) else getattr(reason, "info", None)
    return error if isinstance(error, Exception) else None
