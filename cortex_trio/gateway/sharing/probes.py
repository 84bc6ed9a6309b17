"""Which process makes the trial of a half-open breaker: the one that has its lease. One probes for all.

The lease is taken as soon as the breaker is half-open, so that no request waits for the store: until then, and while
another process has the lease, the breaker admits no trial here. Every such time has an end. Without a link to the
store each process makes its own trials. Pure but for `Breaker.trial_by_others_until`, which is written here only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import final

import attrs

from ..workers.breaker import Breaker
from ..workers.worker import WorkerState

LEASE_SECONDS = 5.0
"""A process that ends without a trial holds the lease no longer than this."""
RENEW_SECONDS = 2.0
"""Before its end, the lease is renewed while a trial is under way."""
GRACE_SECONDS = 1.0
"""After a breaker is half-open: time to get the lease."""
IDLE_SECONDS = 1.0
"""A process that had no call lately asks for the lease so much later: those that have calls go first."""
UNUSED_SECONDS = LEASE_SECONDS + IDLE_SECONDS
"""A process that made no trial asks for the lease again so much later than it has ended it: after the others."""


@attrs.define
class _Probe:
    """What is known of the lease for one opening of one breaker."""

    breaker: Breaker
    opening: object
    next_try: float
    """Trio time at which to ask for the lease."""
    held_until: float = -math.inf
    """Trio time at which the lease of this process ends."""


@attrs.frozen
class Step:
    """What to do with one lease."""

    state: WorkerState
    is_release: bool
    """Whether to end the lease; otherwise it is taken or renewed."""


@final
class Probes:
    """The leases for the trials of all breakers that are open here.

    Args:
        is_busy: returns whether this process had a call lately, at a Trio time.
    """

    def __init__(self, is_busy: Callable[[float], bool]) -> None:
        self._is_busy = is_busy
        self._probes: dict[str, _Probe] = {}  # by worker
        self.is_linked = False

    def linked(self, is_linked: bool) -> None:
        """Record whether the store can be asked. If not, every process makes its own trials."""
        self.is_linked = is_linked
        if not is_linked:
            for probe in self._probes.values():
                probe.breaker.trial_by_others_until = -math.inf
            self._probes.clear()

    def look_at(self, state: WorkerState, now: float) -> None:
        """Begin or end to care for the breaker of a worker."""
        breaker, known = state.breaker, self._probes.get(state.name)
        opening = breaker.opening
        if known is not None and (known.breaker is not breaker or known.opening != opening):
            known.breaker.trial_by_others_until = -math.inf
            del self._probes[state.name]
            known = None
        if opening is None or not self.is_linked or known is not None:
            return
        half_open_at = max(breaker.half_open_at, now)
        breaker.trial_by_others_until = half_open_at + GRACE_SECONDS
        self._probes[state.name] = _Probe(breaker, opening, half_open_at)

    def due(self, states: Iterable[WorkerState], now: float) -> list[Step]:
        """Return what to do with leases now. Answer each with `granted`, `refused` or `released`."""
        found: list[Step] = []
        for state in states:
            probe = self._probes.get(state.name)
            if probe is not None and self._time(state, probe, now) <= now:
                is_unused = now < probe.held_until and not state.breaker.has_trial
                found.append(Step(state, is_release=is_unused))
        return found

    def next_look(self, states: Iterable[WorkerState], now: float) -> float:
        """Return the Trio time at which `due` may return something; infinity if there is none."""
        found = ((state, self._probes.get(state.name)) for state in states)
        return min((self._time(state, probe, now) for state, probe in found if probe), default=math.inf)

    def _time(self, state: WorkerState, probe: _Probe, now: float) -> float:
        """Return the Trio time of the next step for one breaker; infinity if it has changed meanwhile."""
        if state.breaker is not probe.breaker or state.breaker.opening != probe.opening:
            return math.inf  # `look_at` comes
        may_wait = now >= probe.held_until and not self._is_busy(now)
        return max(probe.next_try + (IDLE_SECONDS if may_wait else 0.0), state.breaker.half_open_at)

    def granted(self, state: WorkerState, now: float) -> None:
        """Record that this process has the lease, for which it asked at `now`."""
        if (probe := self._probes.get(state.name)) is not None:
            probe.breaker.trial_by_others_until = -math.inf
            probe.held_until = now + LEASE_SECONDS
            probe.next_try = probe.held_until - RENEW_SECONDS

    def refused(self, state: WorkerState, seconds: float, now: float) -> None:
        """Record that another process has the lease for so many seconds."""
        if (probe := self._probes.get(state.name)) is not None:
            probe.next_try = now + min(seconds, UNUSED_SECONDS)
            probe.breaker.trial_by_others_until = probe.next_try + GRACE_SECONDS
            probe.held_until = -math.inf

    def released(self, state: WorkerState, now: float) -> None:
        """Record that this process ends its lease, because it has no request for a trial. Call it before that."""
        self.refused(state, UNUSED_SECONDS, now)
