"""The candidates for one kind of request, arranged so that the best of 1,000 is found as fast as the best of ten.

A group knows what the configuration decides. It does not know which of its candidates may be asked now.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any, final

import attrs

from ..workers.worker import WorkerState
from .eligibility import Candidate

SLACK = 16
"""Superseded entries that a ranking keeps beside one for each candidate before it is built anew."""

Key = Callable[[Candidate], Any]


@final
@attrs.define(eq=False)
class CandidateGroup:
    """The candidates whose configuration meets the same criteria, in the order in which their workers were added.

    A position is an index into `members`. `turn` is the position at which the next turn of round robin begins; only
    `WorkerIndex.record_turn` changes it. It may be equal to the number of members.
    """

    members: tuple[Candidate, ...]
    turn: int = 0
    _sorted: dict[Key, Sequence[int]] = attrs.field(factory=dict, init=False)
    _rankings: dict[Key, Ranking] = attrs.field(factory=dict, init=False)

    def __len__(self) -> int:
        return len(self.members)

    @cached_property
    def positions(self) -> dict[str, int]:
        """Positions by the name of the worker."""
        return {member.state.name: position for position, member in enumerate(self.members)}

    def sorted_by(self, key: Key) -> Sequence[int]:
        """Return the positions sorted by `key`, a value that only another configuration changes. Sorts once."""
        known = self._sorted.get(key)
        if known is None:
            members = self.members
            known = sorted(range(len(members)), key=lambda position: key(members[position]))
            self._sorted[key] = known
        return known

    def ranked_by(self, key: Key) -> Ranking:
        """Return the positions ordered by `key`, a value that changes with every request."""
        known = self._rankings.get(key)
        if known is None:
            known = self._rankings[key] = Ranking(self.members, key)
        return known

    def update(self, state: WorkerState) -> None:
        """Read the keys of `state` again: one of them may have become smaller."""
        position = self.positions.get(state.name)
        if position is not None:
            for ranking in self._rankings.values():
                ranking.update(position)


@final
class Ranking:
    """Positions ordered by a key that changes: iterate it for the order of this moment, smallest key first.

    A heap whose entries are corrected late. A key that has grown is noticed when its entry is read; a key that has
    become smaller is not, so `update` must be called then. Iterating changes nothing that a reader can see.
    """

    def __init__(self, members: Sequence[Candidate], key: Key) -> None:
        self._members = members
        self._key = key
        self._build()

    def _build(self) -> None:
        self._newest = [self._key(member) for member in self._members]
        self._heap = [(key, position) for position, key in enumerate(self._newest)]
        heapq.heapify(self._heap)

    def update(self, position: int) -> None:
        """Read the key at `position` again."""
        key = self._key(self._members[position])
        if self._newest[position] == key:
            return
        self._newest[position] = key
        heapq.heappush(self._heap, (key, position))
        if len(self._heap) > 2 * len(self._members) + SLACK:  # superseded entries that never reached the top
            self._build()

    def __iter__(self) -> Iterator[int]:
        """Yield the positions by their keys of this moment; of equal keys the lower position first.

        The heap is walked from its top without taking anything out, so an iterator may be left at any position. It
        must not be used any more once `update` was called.
        """
        self._correct_top()
        heap, newest = self._heap, self._newest
        # An entry stands for its node in the heap; -1 stands for a key that was corrected on the way.
        frontier = [(*heap[0], 0)] if heap else []
        yielded: set[int] = set()
        while frontier:
            key, position, node = heapq.heappop(frontier)
            for child in (2 * node + 1, 2 * node + 2) if node >= 0 else ():
                if child < len(heap):
                    heapq.heappush(frontier, (*heap[child], child))
            if position in yielded or (node >= 0 and key != newest[position]):
                continue  # there is a newer entry
            actual = self._key(self._members[position])
            if key != actual:
                heapq.heappush(frontier, (actual, position, -1))
                continue
            yielded.add(position)
            yield position

    def _correct_top(self) -> None:
        """Correct the entries at the top until the first one is right: each growth is paid for once."""
        while self._heap:
            key, position = self._heap[0]
            if key != self._newest[position]:
                heapq.heappop(self._heap)
                continue
            actual = self._key(self._members[position])
            if key == actual:
                return
            self._newest[position] = actual
            heapq.heapreplace(self._heap, (actual, position))
