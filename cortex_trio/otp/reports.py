"""What a supervisor reports about its children: one typed value per event, one log line per value.

Crashes are logged as errors with their traceback, progress as debug. Message contents and server state are
never part of it: OTP's gen_server logs both, but ours hold keys and prompts. The text of an exception is logged,
so do not put secrets into it.
"""

import enum
import logging
import traceback
from collections.abc import Callable

import attrs

from .reasons import ExitReason, error_of

logger = logging.getLogger("cortex_trio.otp")


class ReportKind(enum.StrEnum):
    """The words are OTP's (SASL supervisor reports)."""

    PROGRESS = "progress"  # a child started
    CHILD_TERMINATED = "child_terminated"  # a child exited by itself, and that was not in order
    START_ERROR = "start_error"  # a child's init failed
    SHUTDOWN_ERROR = "shutdown_error"  # a child was asked to stop and ended in another way, or too late
    MAX_RESTARTS = "max_restarts"  # the supervisor gives up; `child` is the one too many


@attrs.frozen
class Report:
    """One supervisor event. Never message contents."""

    kind: ReportKind
    supervisor: str
    child: str
    reason: ExitReason | None  # None for PROGRESS; for MAX_RESTARTS the supervisor's own


Observer = Callable[[Report], None]


def publish(report: Report, observer: Observer | None) -> None:
    """Log a report and hand it to the observer; what the observer raises is logged and goes no further."""
    level, why = (logging.DEBUG, "") if report.reason is None else (logging.ERROR, f": {report.reason}")
    log(level, f"{report.supervisor}: {report.kind} ({report.child}){why}", error=error_of(report.reason))
    if observer is not None:
        guard(f"{report.supervisor}: the report callback", observer, report)


def guard(what: str, function: Callable[..., object], *args: object) -> None:
    """Call what belongs to the program around the kernel: what it raises is logged and goes no further."""
    try:
        function(*args)
    except Exception as error:
        log(logging.ERROR, "%s failed", what, error=error)


def log(level: int, text: str, *args: object, error: BaseException | None = None) -> None:
    """Log, whatever happens: a filter that raises must not end a server. It is shown as logging shows such errors."""
    try:
        logger.log(level, text, *args, exc_info=error)
    except Exception:
        traceback.print_exc()
