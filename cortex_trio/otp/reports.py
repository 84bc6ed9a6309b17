"""The reports of a supervisor about its children: one typed value and one log line for each event.

Crashes are logged as errors with their traceback, progress as debug. The contents of messages and the state of
servers are not logged, because they may hold secrets; OTP's gen_server logs both. The text of an exception is
logged: do not put secrets into it.
"""

import enum
import logging
import traceback
from collections.abc import Callable
from datetime import UTC, datetime

import attrs

from .reasons import ExitReason, error_of

logger = logging.getLogger("cortex_trio.otp")


class ReportKind(enum.StrEnum):
    """The names are those of OTP's supervisor reports (SASL)."""

    PROGRESS = "progress"  # a child started
    CHILD_TERMINATED = "child_terminated"  # a child exited by itself abnormally, or it was PERMANENT
    START_ERROR = "start_error"  # a child's init failed
    SHUTDOWN_ERROR = "shutdown_error"  # after a stop request a child exited too late, or abnormally
    MAX_RESTARTS = "max_restarts"  # the supervisor gives up, because of the exit of `child`


@attrs.frozen
class Report:
    """One event of a supervisor, without the contents of any message.

    Attributes:
        kind: what happened.
        supervisor: the name of its ref.
        child: the id of the child.
        reason: why the child exited; for MAX_RESTARTS, why the supervisor does; None for PROGRESS.
        at: when it happened, in UTC; it does not take part in comparisons.
    """

    kind: ReportKind
    supervisor: str
    child: str
    reason: ExitReason | None
    at: datetime = attrs.field(factory=lambda: datetime.now(UTC), kw_only=True, eq=False)


Observer = Callable[[Report], None]


def publish(report: Report, observer: Observer | None) -> None:
    """Log a report and pass it to the observer, if there is one. What the observer raises is logged and dropped."""
    level, why = (logging.DEBUG, "") if report.reason is None else (logging.ERROR, f": {report.reason}")
    log(level, f"{report.supervisor}: {report.kind} ({report.child}){why}", error=error_of(report.reason))
    if observer is not None:
        guard(f"{report.supervisor}: the report callback", observer, report)


def guard(what: str, function: Callable[..., object], *args: object) -> None:
    """Call a function of the user's program. What it raises is logged and dropped."""
    try:
        function(*args)
    except Exception as error:
        log(logging.ERROR, "%s failed", what, error=error)


def log(level: int, text: str, *args: object, error: BaseException | None = None) -> None:
    """Log. A filter or handler that raises must not crash a server: its error is printed, as `logging` does."""
    try:
        logger.log(level, text, *args, exc_info=error)
    except Exception:
        traceback.print_exc()
