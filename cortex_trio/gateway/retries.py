"""How often and how soon the same worker is asked again: full-jitter pauses and a budget for the whole gateway."""

from __future__ import annotations

from typing import final

BACKOFF_SECONDS = (0.25, 4.0)
"""The first and the longest pause; in between it doubles. Full jitter: AWS, "Exponential Backoff And Jitter"."""
BUDGET_SHARE = 0.2
"""Retries allowed per request made, so that an outage does not become a storm of our own making."""
BUDGET_PER_SECOND = 3.0
BUDGET_MOST = 30.0


def backoff(retry: int, chance: float) -> float:
    """Return the pause before the `retry`-th retry (from 0), in seconds; `chance` is uniform in [0, 1)."""
    return chance * min(BACKOFF_SECONDS[0] * 2.0**retry, BACKOFF_SECONDS[1])


@final
class RetryBudget:
    """A bucket of retries: requests drip a share of a retry into it, time does too, retries take one out."""

    def __init__(self) -> None:
        self._tokens = BUDGET_MOST
        self._filled_at: float | None = None

    def request(self, now: float) -> None:
        self._refill(now)
        self._tokens = min(self._tokens + BUDGET_SHARE, BUDGET_MOST)

    def take(self, now: float) -> bool:
        """Take one retry out; False if there is none."""
        self._refill(now)
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def _refill(self, now: float) -> None:
        elapsed = now - self._filled_at if self._filled_at is not None else 0.0
        self._tokens = min(self._tokens + elapsed * BUDGET_PER_SECOND, BUDGET_MOST)
        self._filled_at = now
