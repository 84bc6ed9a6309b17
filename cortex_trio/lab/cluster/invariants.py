"""What must hold while several gateways share a store that misbehaves. Pure: takes the record of a run."""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Iterator
from itertools import pairwise

from .record import Record, RequestRecord

SHARED_WITHIN = 0.2
"""Seconds in which news reach all gateways while the store works, its delay included."""
LEASE_SETTLED = 8.0
"""Seconds after a fault of the store until leases of the time before it have ended."""
WINDOW = 2.0
"""Seconds after which the shared limit of a world is whole again."""
NOTHING = 1e-6
"""Seconds: the clock is virtual, so a call that waits for nothing takes no time."""


def violations(record: Record) -> list[str]:
    """Return each violation as a sentence; empty if all invariants hold."""
    return [*_forgotten(record), *_storms(record), *_waits(record), *_excesses(record)]


def _forgotten(record: Record) -> Iterator[str]:
    """No cooldown is forgotten that all gateways could know."""
    refused: dict[str, RequestRecord] = {}
    for request in record.requests:
        known = refused.get(request.worker)
        if known is not None and known.limited_until is not None and request.when < known.limited_until:
            learnt = known.when if known.ended is None else known.ended
            if record.all_could_know(learnt, request.when, SHARED_WITHIN):
                yield (
                    f"{request.gateway} sent a request to {request.worker} at {request.when:.3f}, although "
                    f"{known.gateway} was refused at {learnt:.3f} until {known.limited_until:.3f}"
                )
        if request.limited_until is not None:
            refused[request.worker] = request


def _storms(record: Record) -> Iterator[str]:
    """While the store works, one gateway makes the trial of a half-open breaker."""
    trials: dict[str, list[RequestRecord]] = {}
    for request in record.requests:
        if request.is_trial:
            trials.setdefault(request.worker, []).append(request)
    for worker, of_worker in trials.items():
        for earlier, later in pairwise(of_worker):
            overlaps = earlier.ended is None or later.when < earlier.ended
            settled = record.all_could_know(later.when - LEASE_SETTLED, later.when, LEASE_SETTLED)
            if overlaps and earlier.gateway != later.gateway and settled:
                yield f"two trials of {worker} at {later.when:.3f}: {earlier.gateway} and {later.gateway}"


def _waits(record: Record) -> Iterator[str]:
    """No call waits for the store."""
    for call in record.calls:
        if call.overhead > NOTHING:
            yield f"a call of {call.gateway} at {call.when:.3f} has waited {call.overhead:.6f} s"


def _excesses(record: Record) -> Iterator[str]:
    """The shared limit is not exceeded by more than its bound.

    While the store works, time has whole windows and a part of one at each end. During a fault each gateway has
    windows of its own, and those that are cut off use their parts beside the limit of the others.
    """
    if not record.charges or not record.limit:
        return
    calm = 0.0
    for began, ended in (*record.faults, (record.charges[-1], math.inf)):
        if began > calm:
            yield from _excess(record, calm, began, record.limit)
        calm = ended + 2 * WINDOW
    yield from _excess(record, record.charges[0], record.charges[-1], 2 * record.limit)


def _excess(record: Record, since: float, until: float, most: float) -> Iterator[str]:
    used = bisect(record.charges, until) - bisect(record.charges, since)
    windows = math.floor((until - since) / WINDOW) + 2
    if used > windows * most:
        yield f"from {since:.3f} to {until:.3f} {used} were used of a limit of {most:g} in {WINDOW:g} s"
