"""Attempts, health and telemetry events as lines and tables for a terminal. Knows the values and no gateway."""

from __future__ import annotations

from collections.abc import Sequence

from ..events import Attempt, Usage
from ..failures import Failure, FailureKind
from ..gateway.workers.status import HealthStatus, WorkerInfo
from ..otp import Report, ReportKind
from ..telemetry import CallWaiting
from .screen import Colour, Row, Screen, counted

ATTEMPT_HEADS = ("#", "worker", "model", "key", "outcome", "took")
WORKER_HEADS = ("worker", "provider", "model", "status", "reason", "requests", "failures", "restarts", "keys")
OPTIONAL_HEADS = ("provider", "restarts", "requests", "failures")
"""Left out, the first one first, while a terminal is too narrow."""
HEALTH_COLOURS = {"healthy": Colour.GREEN, "degraded": Colour.YELLOW, "unhealthy": Colour.RED}


def event_line(event: object) -> tuple[str, Colour] | None:
    """Return the line for an event that is shown while the command runs: a failed attempt, a wait, an ended actor.

    Returns:
        The text and its colour; None for events that are not shown.
    """
    match event:
        case Attempt(failure=Failure(kind=kind)) if kind is not FailureKind.CANCELLED:
            return (
                f"✗ {_worker_and_key(event)}: {outcome(event.failure)}, after {event.duration:.2f} s",
                Colour.RED,
            )
        case CallWaiting(worker=worker, reason=reason, seconds=seconds):
            why = f"is cooling down after {reason.value}" if reason else "is busy"
            return f"waiting for {worker}, which {why}: at most {seconds:.0f} s", Colour.YELLOW
        case Report(kind=ReportKind.CHILD_TERMINATED):
            return f"✗ {event.supervisor}: the actor {event.child} {event.reason}", Colour.RED
        case _:
            return None


def outcome(failure: Failure | None) -> str:
    """Return how an attempt ended: kind, HTTP status and retry-after, without the provider's message."""
    if failure is None:
        return "served"
    status = f" (HTTP {failure.status})" if failure.status else ""
    hint = f", retry in {failure.retry_after:g} s" if failure.retry_after else ""
    return f"{failure.kind.value}{status}{hint}"


def show_attempts(screen: Screen, attempts: Sequence[Attempt], *, indent: str = "") -> None:
    """Print the attempts of one call as a table."""
    rows = [
        Row(
            (
                str(attempt.number),
                attempt.worker,
                attempt.model,
                attempt.key or "none",
                outcome(attempt.failure),
                f"{attempt.duration:.2f} s",
            ),
            Colour.GREEN if attempt.failure is None else Colour.RED,
        )
        for attempt in attempts
    ]
    screen.table(ATTEMPT_HEADS, rows, indent=indent)


def show_health(screen: Screen, health: HealthStatus, *, indent: str = "") -> None:
    """Print the status of each worker as a table, and the status of the gateway as a line."""
    rows = [_worker_row(info) for info in health.workers.values()]
    screen.table(WORKER_HEADS, rows, indent=indent, optional=OPTIONAL_HEADS)
    available = f"{health.available_workers} of {counted(health.total_workers, 'worker')} available"
    screen.line(f"{indent}{health.system_health}: {available}", HEALTH_COLOURS[health.system_health])


def dollars(amount: float) -> str:
    """Return an amount of US dollars: "$1.20", and of less than a cent the first two digits: "$0.00012"."""
    if amount >= 0.01 or amount < 1e-9:
        return f"${amount:,.2f}"
    return f"${float(f'{amount:.1e}'):.12f}".rstrip("0")


def tokens(usage: Usage) -> str:
    """Return the token counts as text, as far as the provider reported them."""
    if usage.input_tokens is None and usage.output_tokens is None:
        return "tokens not reported"
    if usage.input_tokens is None:
        return f"? tokens in, {_number(usage.output_tokens)} out"
    return f"{counted(usage.input_tokens, 'token')} in, {_number(usage.output_tokens)} out"


STATUS_TEXTS = {
    FailureKind.CREDENTIAL: "wrong API key",
    FailureKind.PERMISSION: "not permitted",
    FailureKind.QUOTA: "out of credit",
    FailureKind.RATE_LIMIT: "rate limited",
}
"""Texts for reasons that say more than the status: a wrong API key has the status quota_exceeded, too."""


def _worker_row(info: WorkerInfo) -> Row:
    status = STATUS_TEXTS.get(info.reason, info.status) if info.reason else info.status
    cells = (
        info.name,
        info.provider,
        info.models[0],
        status,
        info.reason.value if info.reason else "",
        str(info.requests),
        str(info.failures),
        str(info.restarts),
        ", ".join(info.keys) or "none",
    )
    return Row(cells, Colour.PLAIN if info.status == "available" else Colour.RED)


def _worker_and_key(attempt: Attempt) -> str:
    return f"{attempt.worker} (key {attempt.key})" if attempt.key else attempt.worker


def _number(tokens: int | None) -> str:
    return "?" if tokens is None else f"{tokens:,}"
