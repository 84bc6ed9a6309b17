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


Observer = Callable[[Report], None]


def publish(report: Report, observer: Observer | None) -> None:
    """Log a report and hand it to the observer; what the observer raises is logged and goes no further."""
    subject = (report.supervisor, report.kind, report.child)
    if report.reason is None:
        logger.debug("%s: %s (%s)", *subject)
    else:
        logger.error("%s: %s (%s): %s", *subject, report.reason, exc_info=error_of(report.reason))
    if observer is not None:
        try:
            observer(report)
        except Exception:
            logger.exception("%s: the report callback failed", report.supervisor)
