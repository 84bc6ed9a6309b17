"""Sums over all processes: calls, attempts and tokens, and the requests of each worker, API key and virtual key.

What was counted here since the last time is added to the store as one batch. A batch whose answer was lost is sent
again with the same id, so nothing is counted twice and nothing is lost. Pure; knows no store.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import final

import attrs

from ...telemetry import Activity
from ..settings.secrets import ApiKey
from ..workers.keys import KeyRing
from ..workers.registry import WorkerTable

SUMS = ("calls", "attempts", "served", "failed", "cancelled", "input_tokens", "output_tokens")
"""Fields of `telemetry.Totals`."""


@attrs.frozen
class Batch:
    """Amounts that the store has not confirmed."""

    id: str
    amounts: Mapping[str, float]
    """By name; may be empty, to read the totals only."""


@final
class SharedTotals:
    """What this process adds, and what all have added.

    Args:
        table: all workers.
        activity: the sums of this process.
        ring: the API keys.
        fingerprint: returns the salted hash of an API key.
        new_id: returns the id of a batch.

    Attributes:
        of_all: the sums of all processes, as the store had them last; empty before that.
    """

    def __init__(
        self,
        table: WorkerTable,
        activity: Activity,
        ring: KeyRing,
        fingerprint: Callable[[ApiKey], str],
        new_id: Callable[[], str],
    ) -> None:
        self.of_all: Mapping[str, float] = {}
        self._table = table
        self._activity = activity
        self._ring = ring
        self._fingerprint = fingerprint
        self._new_id = new_id
        self._others: dict[str, float] = {}  # what `count` was called for
        self._counted: dict[str, float] = {}  # in batches so far
        self._batch: Batch | None = None  # that was sent and not confirmed

    def count(self, name: str, amount: float) -> None:
        """Add to a sum of the program's own. Synchronous; the store gets it within a second.

        Args:
            name: of the sum, such as `virtual_key:NAME:tokens`.
            amount: > 0.
        """
        self._others[name] = self._others.get(name, 0.0) + amount

    def next_batch(self) -> Batch:
        """Return the batch to send: that of the last time, if it was not confirmed."""
        if self._batch is None:
            now = self._now()
            amounts = {name: count - self._counted.get(name, 0.0) for name, count in now.items()}
            # A worker that was removed and added again counts from 0: a sum never gets smaller.
            amounts = {name: amount for name, amount in amounts.items() if amount > 0}
            self._counted = now
            self._batch = Batch(self._new_id(), amounts)
        return self._batch

    def confirmed(self, of_all: Mapping[str, float]) -> None:
        """Record that the store has added the batch.

        Args:
            of_all: the totals after that.
        """
        self._batch, self.of_all = None, of_all

    def _now(self) -> dict[str, float]:
        totals = self._activity.totals
        found: dict[str, float] = {name: getattr(totals, name) for name in SUMS}
        for name, state in self._table.workers.items():
            found[f"worker:{name}:requests"] = state.requests
            found[f"worker:{name}:failures"] = state.failures
        for worker in self._ring.workers:
            for used in self._ring.states(worker):
                if used.key is not None and used.usage_count:
                    found[f"key:{worker}:{self._fingerprint(used.key)}:uses"] = used.usage_count
        return {**found, **self._others}
