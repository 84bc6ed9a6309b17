"""Why a process ended. Pure values; they know nothing of tasks, supervisors or restarts.

OTP uses the terms `normal`, `shutdown`, `{shutdown, Info}`, `killed` and "anything else"; these four
classes are the same partition, and `decision.py` is the only place that draws conclusions from it.
"""

import attrs


@attrs.frozen
class Normal:
    """The process chose to stop."""

    def __str__(self) -> str:
        return "ended normally"


@attrs.frozen
class Shutdown:
    """An orderly stop: asked for by its supervisor, or announced by itself as `Shutdown(info)`.

    A supervisor that gives up leaves with `Shutdown(MaxRestartsExceeded(...))`: in OTP its reason is
    `shutdown` too, which is why a TRANSIENT supervisor that gave up is not restarted.
    """

    info: object = None

    def __str__(self) -> str:
        return "was shut down" if self.info is None else f"shut itself down ({type(self.info).__name__})"


@attrs.frozen
class Killed:
    """Cancelled before it could finish (brutal kill, or the shutdown timeout ran out)."""

    def __str__(self) -> str:
        return "was killed"


@attrs.frozen(eq=False)
class Crashed:
    """An Exception (perhaps an ExceptionGroup) left the process."""

    error: Exception

    def __str__(self) -> str:
        return f"crashed with {type(self.error).__name__}"


ExitReason = Normal | Shutdown | Killed | Crashed


def is_abnormal(reason: ExitReason) -> bool:
    """True for Killed and Crashed: the reasons that restart a TRANSIENT child."""
    return isinstance(reason, Killed | Crashed)


def error_of(reason: ExitReason | None) -> Exception | None:
    """The exception a reason carries: of a crash, or of a supervisor that gave up."""
    error = reason.error if isinstance(reason, Crashed) else getattr(reason, "info", None)
    return error if isinstance(error, Exception) else None
