"""How soon and how often requests are repeated: pauses with jitter, and one budget for the whole gateway. Pure."""

from __future__ import annotations

from typing import final

BACKOFF_SECONDS = (0.25, 4.0)
"""The first and the longest pause, doubled in between. Full jitter: AWS, "Exponential Backoff And Jitter"."""
SDK_BACKOFF_SECONDS = (0.5, 8.0)
SDK_JITTER = 0.25
"""The pauses of the official SDKs (`_calculate_retry_timeout` in openai-python). Where a request is repeated because
they would repeat it, the pause is not shorter than theirs."""
BUDGET_SHARE = 0.2
"""Retries allowed for each request, so that an outage does not become a retry storm."""
BUDGET_PER_SECOND = 3.0
"""Retries allowed for each second, so that a gateway with few requests can retry, too."""
BUDGET_MOST = 30.0
"""Retries that are saved at most; the budget begins with them."""


def backoff(retry: int, chance: float) -> float:
    """Return the pause before a retry, in seconds.

    Args:
        retry: the number of the retry, from 0.
        chance: uniform in [0, 1).
    """
    return chance * min(BACKOFF_SECONDS[0] * 2.0**retry, BACKOFF_SECONDS[1])


def sdk_backoff(retry: int, chance: float) -> float:
    """Return the pause of the official SDKs before a retry, in seconds. Args are those of `backoff`."""
    return (1 - SDK_JITTER * chance) * min(SDK_BACKOFF_SECONDS[0] * 2.0**retry, SDK_BACKOFF_SECONDS[1])


@final
class RetryBudget:
    """A token bucket of retries: each request and each second adds to it, each retry takes one out.

    All times are Trio time.
    """

    def __init__(self) -> None:
        self._tokens = BUDGET_MOST  # at most BUDGET_MOST; below 0 if retries were taken in advance
        self._filled_at: float | None = None  # None before the first use

    def request(self, now: float) -> None:
        """Add the share of one request."""
        self._refill(now)
        self._tokens = min(self._tokens + BUDGET_SHARE, BUDGET_MOST)

    def ready_in(self, now: float) -> float:
        """Return the seconds until the budget allows another retry; 0 if it does now."""
        self._refill(now)
        return max(0.0, 1 - self._tokens) / BUDGET_PER_SECOND

    def take(self, now: float) -> None:
        """Take one retry out. It may be taken in advance: then later retries wait longer."""
        self._refill(now)
        self._tokens -= 1

    def _refill(self, now: float) -> None:
        elapsed = now - self._filled_at if self._filled_at is not None else 0.0
        self._tokens = min(self._tokens + elapsed * BUDGET_PER_SECOND, BUDGET_MOST)
        self._filled_at = now
