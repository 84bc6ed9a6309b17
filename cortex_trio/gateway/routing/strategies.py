"""In which order workers are asked: one function a strategy. No worker is looked at before its turn.

An order is walked lazily, for nearly every call is served by the first who may be asked: with 1,000 workers that
costs as much as with one. What does not change between requests is sorted once (`Group.sorted_by`), what changes with
every request is kept in a heap (`Ranking`). Who may be asked at this moment is told by `may`.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from ipaddress import ip_address
from itertools import chain
from typing import Any, final
from urllib.parse import urlsplit

import attrs

from ..workers.worker import WorkerState
from .selection import Candidate

EXPLORE = 0.05
"""Share of requests with which `fastest` looks whether another worker has become faster."""
ONE_BY_ONE = 4
"""Workers taken out of a heap one by one; a call that needs more of them has the others sorted, once."""

Key = Callable[[WorkerState], Any]
May = Callable[[int], bool]


@final
@attrs.define(eq=False)
class Group:
    """Those whose configuration allows one kind of request, in the order they came. A place is an index into them."""

    members: tuple[Candidate, ...]
    cursor: int = 0  # where round robin begins next
    _sorted: dict[Key, Sequence[int]] = attrs.field(factory=dict)
    _rankings: dict[Key, Ranking] = attrs.field(factory=dict)

    def sorted_by(self, key: Key) -> Sequence[int]:
        """Places by what only another configuration changes."""
        known = self._sorted.get(key)
        if known is None:
            known = self._sorted[key] = _sorted(self.members, key)
        return known

    def ranked_by(self, key: Key) -> Ranking:
        """Places by what changes from request to request."""
        known = self._rankings.get(key)
        if known is None:
            known = self._rankings[key] = Ranking(self.members, key)
        return known

    def touch(self, state: WorkerState) -> None:
        """What `state` is ranked by may be less than before."""
        for ranking in self._rankings.values():
            ranking.touch(state)


@final
class Ranking:
    """The least by a key that changes: a heap in which an entry is corrected when it comes to the top.

    A key that has grown is found there; one that has become less must be told, by `touch`.
    """

    def __init__(self, members: Sequence[Candidate], key: Key) -> None:
        self._members = members
        self._key = key
        self._places = {member.state.name: place for place, member in enumerate(members)}
        self._build()

    def _build(self) -> None:
        self._newest = [self._key(member.state) for member in self._members]
        self._heap = [(key, place) for place, key in enumerate(self._newest)]
        heapq.heapify(self._heap)

    def touch(self, state: WorkerState) -> None:
        place = self._places.get(state.name)
        if place is not None and self._newest[place] != self._key(state):
            self._enter(place)
            if len(self._heap) > 2 * len(self._members) + 16:  # of entries that never came to the top
                self._build()

    def _enter(self, place: int) -> None:
        key = self._newest[place] = self._key(self._members[place].state)
        heapq.heappush(self._heap, (key, place))

    def least(self, may: May) -> int | None:
        """The place of the least that `may` be had; of equals the one that came first."""
        passed, found = [], None
        while found is None and self._heap:
            key, place = heapq.heappop(self._heap)
            if key != self._newest[place]:
                continue  # there is a newer entry
            if key != self._key(self._members[place].state):
                self._enter(place)
                continue
            passed.append((key, place))
            if may(place):
                found = place
        for entry in passed:
            heapq.heappush(self._heap, entry)
        return found

    def walk(self, may: May) -> Iterator[int]:
        """All that may be had, the least of each moment first."""
        given: set[int] = set()

        def is_left(place: int) -> bool:
            return place not in given and may(place)

        while len(given) < ONE_BY_ONE and (place := self.least(is_left)) is not None:
            given.add(place)
            yield place
        if len(given) == ONE_BY_ONE:
            yield from filter(is_left, _sorted(self._members, self._key))


def _sorted(members: Sequence[Candidate], key: Key) -> Sequence[int]:
    return sorted(range(len(members)), key=lambda place: key(members[place].state))


# ------------------------------------------------------------------ strategies


def _by_priority(group: Group, may: May) -> Iterator[int]:
    return filter(may, group.sorted_by(by_priority))


def _local_first(group: Group, may: May) -> Iterator[int]:
    return filter(may, group.sorted_by(_by_remoteness))


def _round_robin(group: Group, may: May) -> Iterator[int]:
    """Start behind the worker that was first last time; one that may not be asked does not burden its neighbour."""
    start, moved = group.cursor, False
    for place in chain(range(start, len(group.members)), range(start)):
        if may(place):
            if not moved:
                group.cursor, moved = place + 1, True
            yield place


def _least_used(group: Group, may: May) -> Iterator[int]:
    return group.ranked_by(_by_use).walk(may)


def _random(group: Group, may: May) -> Iterator[int]:
    return filter(may, _shuffled(len(group.members)))


def _fastest(group: Group, may: May) -> Iterator[int]:
    """By the moving average of the time to first token; who was never measured is asked first, once."""
    order = group.ranked_by(_by_latency).walk(may)
    best = next(order, None)
    if best is None:
        return
    other = None
    if random.random() < EXPLORE:
        others = (place for place in _shuffled(len(group.members)) if place != best and may(place))
        other = next(others, None)
        if other is not None:
            yield other
    yield best
    yield from (place for place in order if place != other)


STRATEGIES: Mapping[str, Callable[[Group, May], Iterator[int]]] = {
    "priority": _by_priority,
    "local_first": _local_first,
    "round_robin": _round_robin,
    "least_used": _least_used,
    "random": _random,
    "fastest": _fastest,
}


def by_priority(state: WorkerState) -> int:
    """The lowest number is asked first."""
    return state.priority


def _by_remoteness(state: WorkerState) -> tuple[bool, int]:
    return not is_local(state), state.priority


def _by_use(state: WorkerState) -> tuple[int, int]:
    return state.in_flight, state.requests


def _by_latency(state: WorkerState) -> float:
    return state.latency or 0.0


def _shuffled(count: int) -> Iterator[int]:
    """The numbers below `count` in random order, drawn as they are asked for (Fisher and Yates)."""
    moved: dict[int, int] = {}
    for left in range(count, 0, -1):
        drawn = random.randrange(left)
        yield moved.get(drawn, drawn)
        moved[drawn] = moved.get(left - 1, left - 1)


def is_local(state: WorkerState) -> bool:
    """A worker without keys, or on this machine."""
    if not state.config.api_keys:
        return True
    host = urlsplit(state.config.base_url or state.kind.base_url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
