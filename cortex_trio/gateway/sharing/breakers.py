"""Which breakers of this process others do not know to be open, and what those of others change here.

It compares each breaker with what is known to be shared. Nothing here waits; an opening or an end that another process
has found out is sent to the Worker, the only writer of a breaker. Counts of failures are not shared: each process opens
its breakers for its own reasons, and then all know it.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any, final

import attrs

from ...cluster import Entry
from ...failures import FailureKind
from ..workers.breaker import OPEN_SECONDS, Breaker, Opening
from ..workers.registry import WorkerTable
from ..workers.worker import Worker, WorkerState
from .cooldown_facts import seconds_from, server_of, text_from
from .cooldowns import JITTER

KIND = "breaker"
PROBE_SECONDS_SHARED = 60.0
"""Seconds for which a half-open breaker is known to others. After that a process that starts finds out for itself."""


@attrs.define
class _Shared:
    """An opening that other processes know, or will know as soon as it is sent."""

    fact: str
    breaker: Breaker
    opening: Opening
    """In Trio time of this process; a little later than that of the process that found it out."""
    open_until: float
    """Trio time at which it is half-open there."""
    ends: float
    """Trio time at which others forget it."""
    was_seen: bool
    """Whether the breaker of this process was in this opening. Only then does its end prove something."""


@final
class SharedBreakers:
    """What is shared of the breakers.

    Args:
        table: all workers.
        salt: of the store.
        new_id: returns the id of a new fact.
        chance: makes jitter.
    """

    def __init__(
        self, table: WorkerTable, salt: str, new_id: Callable[[], str], chance: random.Random
    ) -> None:
        self._table = table
        self._salt = salt
        self._new_id = new_id
        self._chance = chance
        self._shared: dict[str, _Shared] = {}  # by worker

    def name_of(self, state: WorkerState) -> str:
        """Return the name of a worker's breaker, which is the same in all processes."""
        return f"{KIND}:{state.name}:{server_of(state.endpoint, self._salt)}"

    # -------------------------------------------------------------- out

    def changes(self, worker: str, now: float) -> list[Entry]:
        """Return what is new of the breaker of `worker`: it has opened, or a trial has closed it.

        Args:
            worker: its name; it may have been removed.
            now: Trio time.
        """
        state, known = self._table.workers.get(worker), self._shared.get(worker)
        if state is None or (known is not None and known.breaker is not state.breaker):
            self._shared.pop(worker, None)  # removed or configured anew: that proves nothing
            known = None
        if state is None:
            return []
        opening = state.breaker.opening
        if opening is None:
            if known is None or not known.was_seen:
                return []
            del self._shared[worker]
            return [Entry(self.name_of(state), known.fact, "", known.ends - now)] if known.ends > now else []
        if known is not None and known.opening == opening:
            known.was_seen = True
            return []
        open_until = opening.opened + opening.open_for
        ends = max(open_until, now) + PROBE_SECONDS_SHARED
        made = _Shared(self._new_id(), state.breaker, opening, open_until, ends, was_seen=True)
        self._shared[worker] = made
        return [self._entry(state, made, now)]

    def all(self, now: float) -> list[Entry]:
        """Return the openings of all breakers, for a store that may have lost them."""
        entries = [entry for worker in self._table.workers for entry in self.changes(worker, now)]
        changed = {entry.name for entry in entries}
        for worker, known in self._shared.items():
            state = self._table.workers.get(worker)
            if state is not None and known.ends > now and self.name_of(state) not in changed:
                entries.append(self._entry(state, known, now))
        return entries

    def _entry(self, state: WorkerState, shared: _Shared, now: float) -> Entry:
        text = json.dumps(
            {
                "worker": state.name,
                "open": max(0.0, shared.open_until - now),
                "open_for": shared.opening.open_for,
                "kind": state.last_failure.value if state.last_failure else None,
                "seconds": shared.ends - now,
            },
            separators=(",", ":"),
        )
        return Entry(self.name_of(state), shared.fact, text, shared.ends - now)

    # -------------------------------------------------------------- in

    def adopt(self, entry: Entry, now: float) -> str | None:
        """Send what another process has found out to the worker.

        Args:
            entry: whose name is that of a breaker.
            now: Trio time.

        Returns:
            The name of the worker; None if nothing changes.
        """
        if entry.has_ended:
            return self._end(entry)
        read = _read(entry)
        state = self._table.workers.get(read.worker) if read is not None else None
        if read is None or state is None or self.name_of(state) != entry.name:
            return None
        known = self._shared.get(state.name)
        if known is not None and known.fact == entry.fact:
            return None  # its own entry, or one that came twice
        self._open(state, entry, read, now)
        return state.name

    def _end(self, entry: Entry) -> str | None:
        for worker, known in self._shared.items():
            state = self._table.workers.get(worker)
            if known.fact == entry.fact and state is not None and self.name_of(state) == entry.name:
                del self._shared[worker]
                if state.breaker.opening == known.opening:
                    state.ref.cast(Worker.adopt_breaker, known.breaker, None, None)
                return worker
        return None

    def _open(self, state: WorkerState, entry: Entry, read: _Read, now: float) -> None:
        open_seconds, open_for, kind = read.open_seconds, read.open_for, read.kind
        own, open_until = state.breaker.opening, now + open_seconds
        later = open_until + open_seconds * JITTER * self._chance.random()
        opening = Opening(later - open_for, open_for)
        if own is not None and own.opened + own.open_for >= open_until:
            opening = own  # it is open here as long; the end of that opening counts all the same
        ends = min(now + entry.seconds, open_until + PROBE_SECONDS_SHARED)
        self._shared[state.name] = _Shared(
            entry.fact, state.breaker, opening, open_until, ends, was_seen=opening is own
        )
        if opening is not own:
            state.ref.cast(Worker.adopt_breaker, state.breaker, opening, kind)


@attrs.frozen
class _Read:
    """An opening as another process has described it."""

    worker: str
    open_seconds: float
    """For which it is still open."""
    open_for: float
    """For which it opened."""
    kind: FailureKind | None


def _read(entry: Entry) -> _Read | None:
    """Return the opening in an entry that has not ended; None if there is none that can be understood."""
    try:
        found: Any = json.loads(entry.value)
        waited = max(0.0, seconds_from(found["seconds"]) - entry.seconds)  # since the text was written
        open_for = min(max(seconds_from(found["open_for"]), OPEN_SECONDS[0]), OPEN_SECONDS[1])
        left = min(max(0.0, seconds_from(found["open"]) - waited), open_for)
        kind = None if found["kind"] is None else FailureKind(found["kind"])
        return _Read(text_from(found["worker"]), left, open_for, kind)
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None
