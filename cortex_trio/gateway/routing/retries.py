"""How often and how soon the same worker is asked again: full-jitter pauses and a budget for the whole gateway."""

from __future__ import annotations

from typing import final

BACKOFF_SECONDS = (0.25, 4.0)
"""The first and the longest pause; in between it doubles. Full jitter: AWS, "Exponential Backoff And Jitter"."""
SDK_BACKOFF_SECONDS = (0.5, 8.0)
SDK_JITTER = 0.25
"""The pauses of the official SDKs (`_calculate_retry_timeout`): where they are the measure, ours are not shorter."""
BUDGET_SHARE = 0.2
"""Retries allowed per request made, so that an outage does not become a storm of our own making."""
BUDGET_PER_SECOND = 3.0
BUDGET_MOST = 30.0


def backoff(retry: int, chance: float) -> float:
    """Return the pause before the `retry`-th retry (from 0), in seconds; `chance` is uniform in [0, 1)."""
    return chance * min(BACKOFF_SECONDS[0] * 2.0**retry, BACKOFF_SECONDS[1])


def sdk_backoff(retry: int, chance: float) -> float:
    """Return the pause of the official SDKs before the `retry`-th retry (from 0), in seconds."""
    return (1 - SDK_JITTER * chance) * min(SDK_BACKOFF_SECONDS[0] * 2.0**retry, SDK_BACKOFF_SECONDS[1])


@final
class RetryBudget:
    """A bucket of retries: each request adds a share of one, time adds some, each retry takes one out."""

    def __init__(self) -> None:
        self._tokens = BUDGET_MOST
        self._filled_at: float | None = None

    def request(self, now: float) -> None:
        self._refill(now)
        self._tokens = min(self._tokens + BUDGET_SHARE, BUDGET_MOST)

    def ready_in(self, now: float) -> float:
        """Seconds until the budget allows another retry; 0 if it does now."""
        self._refill(now)
        return max(0.0, 1 - self._tokens) / BUDGET_PER_SECOND

    def take(self, now: float) -> None:
        """Take one retry out. It may be taken in advance: then those that follow wait longer."""
        self._refill(now)
        self._tokens -= 1

    def _refill(self, now: float) -> None:
        elapsed = now - self._filled_at if self._filled_at is not None else 0.0
        self._tokens = min(self._tokens + elapsed * BUDGET_PER_SECOND, BUDGET_MOST)
        self._filled_at = now
