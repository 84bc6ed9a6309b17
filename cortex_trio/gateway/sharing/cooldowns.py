"""Which cooldowns of this process other processes do not know yet, and what their cooldowns change here.

It compares the table of cooldowns with what is known to be shared, so the code that changes a cooldown reports nothing.
Pure but for the table, which it writes: nothing here waits. The guesses of health checks are not shared, because every
process has its own checks and its own network.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import final

import attrs

from ...cluster import Entry
from ..settings.secrets import ApiKey
from ..workers.cooldowns import Cooldown, Cooldowns, Target, is_guess_of_health_check, is_same_fact, length_of
from ..workers.registry import WorkerTable
from ..workers.worker import WorkerState
from .cooldown_facts import LONGEST_MODEL, CooldownFact, fact_of, name_of, server_of, text_of

JITTER = 0.1
"""A cooldown of another process ends later here, by up to this share of the time that is left."""
LONGEST_JITTER_SECONDS = 5.0
MOST_FINGERPRINTS = 10_000
"""Of API keys, kept because hashing all keys for each entry would take too long beside requests."""


@attrs.frozen
class _Shared:
    """A cooldown that other processes know, or will know as soon as it is sent."""

    fact: str
    target: Target
    server: str
    cooldown: Cooldown
    ends: float
    """Trio time at which it ends for the process that found it out: without jitter."""


@final
class SharedCooldowns:
    """What is shared of the table of cooldowns.

    Args:
        table: all workers.
        cooldowns: the cooldowns of this process.
        salt: of the store.
        new_id: returns the id of a new fact.
        chance: makes jitter.
    """

    def __init__(
        self,
        table: WorkerTable,
        cooldowns: Cooldowns,
        salt: str,
        new_id: Callable[[], str],
        chance: random.Random,
    ) -> None:
        self._table = table
        self._cooldowns = cooldowns
        self._salt = salt
        self._new_id = new_id
        self._chance = chance
        self._fingerprints: dict[ApiKey, str] = {}  # of keys that were seen
        self._shared: dict[str, dict[str, _Shared]] = {}  # by worker and by name in the store

    # -------------------------------------------------------------- out

    def changes(self, worker: str, now: float) -> list[Entry]:
        """Return what is new in the cooldowns of `worker`, and what has ended early. Each is returned once.

        Args:
            worker: its name; it may have been removed.
            now: Trio time.
        """
        state = self._table.workers.get(worker)
        if state is None:
            self._shared.pop(worker, None)  # it was removed here; other processes still have it
            return []
        server, known = server_of(state.endpoint, self._salt), self._shared.pop(worker, {})
        changed: list[Entry] = []
        found: dict[str, _Shared] = {}
        for target, cooldown in self._entries(worker, now):
            name = name_of(worker, server, target.model, self._fingerprint(target.key), self._salt)
            before = known.pop(name, None)
            if before is None or not is_same_fact(before.cooldown, cooldown):
                before = _Shared(self._new_id(), target, server, cooldown, cooldown.until)
                changed.append(self._entry(worker, name, before, now))
            found[name] = before
        for name, gone in known.items():
            # One that this process had shorter than others has not ended early when it is over here.
            has_ended_early = min(gone.ends, gone.cooldown.until) > now
            if has_ended_early and gone.server == server and _is_used(state, gone.target):
                changed.append(Entry(name, gone.fact, "", gone.ends - now))
        if found:
            self._shared[worker] = found
        return changed

    def all(self, now: float) -> list[Entry]:
        """Return all cooldowns that have not ended, for a store that may have lost them.

        Those of other processes are among them, with their own ends: their process may not run any more.
        """
        entries = [entry for worker in self._table.workers for entry in self.changes(worker, now)]
        changed = {entry.name for entry in entries}
        for worker, known in self._shared.items():
            for name, shared in known.items():
                if name not in changed and shared.ends > now:
                    entries.append(self._entry(worker, name, shared, now))
        return entries

    def _entries(self, worker: str, now: float) -> Iterator[tuple[Target, Cooldown]]:
        for target, cooldown in self._cooldowns.entries(worker, now):
            has_name = target.model is None or len(target.model) <= LONGEST_MODEL
            if has_name and not is_guess_of_health_check(target, cooldown):
                yield target, cooldown

    def _entry(self, worker: str, name: str, shared: _Shared, now: float) -> Entry:
        # Its own end and not that of the table, which is later by the jitter: the end must not move with every process.
        cooldown = attrs.evolve(
            shared.cooldown, until=shared.ends, trial_at=min(shared.cooldown.trial_at, shared.ends)
        )
        model, key = shared.target.model, self._fingerprint(shared.target.key)
        text = text_of(worker, shared.server, model, key, cooldown, now)
        return Entry(name, shared.fact, text, shared.ends - now)

    def _fingerprint(self, key: ApiKey | None) -> str | None:
        return None if key is None else self.fingerprint(key)

    def fingerprint(self, key: ApiKey) -> str:
        """Return the name of an API key in the store: a salted hash."""
        found = self._fingerprints.get(key)
        if found is None:
            if len(self._fingerprints) >= MOST_FINGERPRINTS:
                self._fingerprints.clear()  # of keys that reloads have removed
            found = self._fingerprints[key] = key.fingerprint(self._salt)
        return found

    # -------------------------------------------------------------- in

    def adopt(self, entry: Entry, now: float) -> str | None:
        """Enter what another process has found out.

        Args:
            entry: whose name is that of a cooldown.
            now: Trio time.

        Returns:
            The name of the worker whose cooldowns have changed; None if nothing has.
        """
        if entry.has_ended:
            return self._end(entry)
        fact = fact_of(entry)
        state = self._table.workers.get(fact.worker) if fact is not None else None
        if fact is None or state is None or server_of(state.endpoint, self._salt) != fact.server:
            return None
        target = self._target(state, fact)
        name = name_of(fact.worker, fact.server, fact.model, fact.key, self._salt)
        if target is None or name != entry.name:
            return None
        known = self._shared.get(state.name, {}).get(entry.name)
        if known is not None and known.fact == entry.fact:
            return None  # its own entry, or one that came twice
        return state.name if self._enter(state.name, target, fact, entry, now) else None

    def _enter(self, worker: str, target: Target, fact: CooldownFact, entry: Entry, now: float) -> bool:
        """Enter a cooldown. Returns whether the table was changed."""
        ends, spread = now + fact.seconds, min(fact.seconds * JITTER, LONGEST_JITTER_SECONDS)
        own = self._cooldowns.entry(worker, target, now)
        if own is not None and length_of(own) >= length_of(fact.cooldown(now, 0.0)):
            before = self._shared.get(worker, {}).get(entry.name)
            if before is None or not is_same_fact(before.cooldown, own) or before.ends >= ends:
                return False  # the store has that one, or will get it
            known = own  # is longer by its jitter only
        else:
            known = self._cooldowns.adopt(worker, target, fact.cooldown(now, spread * self._chance.random()))
        shared = _Shared(entry.fact, target, fact.server, known, ends)
        self._shared.setdefault(worker, {})[entry.name] = shared
        return known is not own

    def _end(self, entry: Entry) -> str | None:
        for worker, known in self._shared.items():
            shared = known.get(entry.name)
            if shared is not None and shared.fact == entry.fact:
                del known[entry.name]
                return worker if self._cooldowns.end(worker, shared.target, shared.cooldown) else None
        return None

    def _target(self, state: WorkerState, fact: CooldownFact) -> Target | None:
        """Return what is cooling down in this process; None for an API key that the worker does not have here."""
        if fact.key is None:
            return Target(fact.model, None)
        for key in state.endpoint.keys:
            if self._fingerprint(key) == fact.key:
                return Target(fact.model, key)
        return None


def _is_used(state: WorkerState, target: Target) -> bool:
    """Whether the worker still has the API key. One that is removed forgets its cooldowns, which proves nothing."""
    return not state.draining and (target.key is None or target.key in state.endpoint.keys)
