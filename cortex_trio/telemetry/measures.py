"""What metrics compute from events, the same for OpenTelemetry and Prometheus."""

from __future__ import annotations

from itertools import pairwise

from .call_events import CallEnded

SECONDS_BUCKETS = tuple(0.01 * 2**power for power in range(14))
"""Boundaries of histograms of seconds: 0.01 to 81.92, as the GenAI conventions advise."""

OVERHEAD_BUCKETS = tuple(0.000_1 * 2**power for power in range(14))
"""Boundaries of the histogram of the gateway's own time: 0.1 ms to 0.8 s."""


def seconds_per_chunk(event: CallEnded) -> float | None:
    """Return the mean time between two chunks of the answer.

    Args:
        event: the end of a call.

    Returns:
        Seconds, for the attempt that served. None: none did, or its answer came in one chunk.
    """
    served = next((attempt for attempt in event.attempts if attempt.failure is None), None)
    if served is None or served.time_to_first_token is None or served.chunks < 2:
        return None
    return max(0.0, served.duration - served.time_to_first_token) / (served.chunks - 1)


def failovers(event: CallEnded) -> list[tuple[str, str, str]]:
    """Return the failovers of a call: the worker that failed, the worker that was asked next, the kind of failure.

    Args:
        event: the end of a call.
    """
    own = [attempt for attempt in event.attempts if not attempt.lost_hedge]
    return [
        (before.worker, after.worker, before.failure.kind.value)
        for before, after in pairwise(own)
        if before.failure is not None and before.worker != after.worker
    ]
