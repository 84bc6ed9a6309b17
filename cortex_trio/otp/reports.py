"""What a supervisor tells about its children: one typed value per event, one log line per value.

Crashes are logged as errors with their traceback, progress as debug. Message contents and server state are
never part of it: OTP's gen_server logs both, but ours hold keys and prompts.
"""

import enum
import logging
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


LINES = {
    ReportKind.PROGRESS: "%s: child %s started",
    ReportKind.CHILD_TERMINATED: "%s: child %s %s",
    ReportKind.START_ERROR: "%s: child %s %s before its init was done",
    ReportKind.SHUTDOWN_ERROR: "%s: child %s %s instead of stopping in order and in time",
    ReportKind.MAX_RESTARTS: "%s gives up: child %s was one restart too many, so the supervisor %s",
}


Observer = Callable[[Report], None]


def publish(report: Report, observer: Observer | None) -> None:
    """Log a report and hand it to the observer; what the observer raises is logged and goes no further."""
    if report.reason is None:
        logger.debug(LINES[report.kind], report.supervisor, report.child)
    else:
        subject = (report.supervisor, report.child, report.reason)
        logger.error(LINES[report.kind], *subject, exc_info=error_of(report.reason))
    if observer is not None:
        try:
            observer(report)
        except Exception:
            logger.exception("%s: the report callback failed", report.supervisor)
