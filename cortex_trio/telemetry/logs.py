"""What is logged about workers, so that an outage is seen without an observer; and an observer that logs everything.

    INFO      a failover, a call that waits, a worker that is available again
    WARNING   a worker that becomes unavailable; a call that no worker could serve
    ERROR     no worker is available

A kind of line is logged at most once a minute for each worker. A status that changes more often is logged when the
minute is over, as it is then. A failed call is logged at most once a minute in all: the breaker of the only worker left
stays closed, so that statuses alone would not show such an outage. Fields for structured logs are in `extra`: worker,
kind, status, call.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from typing import final

from ..failures import Failure, FailureKind
from .events import Event, Observer
from .worker_events import WorkerStatus

log = logging.getLogger("cortex_trio")

INTERVAL_SECONDS = 60.0
"""Between two lines of one kind about one worker."""
FIELDS = ("call", "worker", "provider", "model", "key", "outcome")
"""Fields of events that `log_events` passes on as they are."""


@final
class EventLog:
    """Writes the lines. Synchronous; times are Trio's, given by the caller."""

    def __init__(self) -> None:
        self._logged: dict[tuple[str, str], float] = {}  # by kind of line and worker: when it was logged last
        self._logged_status: dict[str, WorkerStatus] = {}  # as logged; a worker that is not here is available
        self._seen: dict[str, WorkerStatus] = {}  # as they are; a worker that is not here is available
        self._all_down = False  # as logged: no worker is available
        self._must_look_at_all = False  # a status has changed since `_all_down` was written

    def failover(self, call: str, worker: str, next_worker: str, failure: Failure, *, now: float) -> None:
        """Log that `next_worker` is asked because `worker` has failed."""
        if self._may_log("failover", worker, now):
            extra = {"call": call, "worker": worker, "next_worker": next_worker, "kind": failure.kind.value}
            log.info("failover from %s to %s: %s", worker, next_worker, failure, extra=extra)

    def waiting(
        self, call: str, worker: str, reason: str, kind: FailureKind | None, seconds: float, *, now: float
    ) -> None:
        """Log that a call waits for `worker`, at most `seconds`."""
        if self._may_log("waiting", worker, now):
            extra = {"call": call, "worker": worker, "kind": kind.value if kind else None}
            log.info("waiting up to %.1f s: %s %s", seconds, worker, reason, extra=extra)

    def call_failed(self, call: str, error: Exception, kind: FailureKind, *, now: float) -> None:
        """Log that a call has failed for a reason that is not its caller's."""
        if self._may_log("call failed", "", now):
            log.warning("call failed: %s", error, extra={"call": call, "kind": kind.value})

    def status(self, worker: str, status: WorkerStatus, reason: FailureKind | None, *, now: float) -> float:
        """Log the status of a worker if it differs from what was logged.

        Returns:
            Trio time at which to call this again, because the line was held back. Infinity: it was not.
        """
        if self._seen.get(worker, "available") != status:
            self._seen[worker], self._must_look_at_all = status, True
        known = self._logged_status.get(worker, "available")
        if (known == "available") == (status == "available"):
            return math.inf
        line = "available" if status == "available" else "unavailable"
        if not self._may_log(line, worker, now):
            return self._logged[line, worker] + INTERVAL_SECONDS
        self._logged_status[worker] = status
        kind = reason.value if reason else None
        extra = {"worker": worker, "status": status, "kind": kind}
        if status == "available":
            log.info("worker %s is available again", worker, extra=extra)
        else:
            log.warning("worker %s is %s%s", worker, status, f" ({kind})" if kind else "", extra=extra)
        return math.inf

    def workers(self, statuses: Callable[[], Sequence[tuple[str, str]]], *, now: float) -> float:
        """Log that no worker is available, if that is so and was not logged. Returns as `status`.

        Args:
            statuses: returns the status of every worker. Called only after the status of a worker has changed.
            now: Trio time.
        """
        if not self._must_look_at_all:
            return math.inf
        found = statuses()
        all_down = bool(found) and all(status != "available" for _, status in found)
        if all_down and not self._all_down and not self._may_log("all", "", now):
            return self._logged["all", ""] + INTERVAL_SECONDS
        if all_down and not self._all_down:
            text = "; ".join(f"{worker} is {status}" for worker, status in found)
            log.error("no worker is available: %s", text, extra={"kind": "all_unavailable"})
        self._must_look_at_all, self._all_down = False, all_down
        return math.inf

    def forget(self, worker: str) -> None:
        """Forget a worker that was removed."""
        self._logged_status.pop(worker, None)
        self._seen.pop(worker, None)
        self._must_look_at_all = True
        for key in [key for key in self._logged if key[1] == worker]:
            del self._logged[key]

    def _may_log(self, line: str, worker: str, now: float) -> bool:
        """Return whether such a line may be logged now, and note that it is."""
        if now - self._logged.get((line, worker), -math.inf) < INTERVAL_SECONDS:
            return False
        self._logged[line, worker] = now
        return True


def log_events(logger: logging.Logger = log) -> Observer:
    """Return an observer that logs every event at DEBUG, with its name and its fields in `extra`.

    Args:
        logger: takes the lines.
    """

    def observe(event: Event) -> None:
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("%s", event, extra=_extra_of(event))

    return observe


def _extra_of(event: Event) -> dict[str, object]:
    fields = {name: getattr(event, name) for name in FIELDS if hasattr(event, name)}
    failure = getattr(event, "failure", None) or getattr(event, "reason", None)
    if isinstance(failure, Failure):
        failure = failure.kind
    kind = failure.value if isinstance(failure, FailureKind) else None
    return {"event": type(event).__name__, "kind": kind, **fields}
