"""All workers, arranged so that choosing among 1,000 of them costs as much as choosing among ten.

A `Roster` is made anew when a worker comes, goes or is configured anew, and shared by all requests in between. What
a configuration decides (names, models, capabilities) is decided once for each kind of request; what the moment
decides (breakers, cooldowns, limits) is looked up only for the worker that is next in the order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import final

from ..workers.cooldowns import Cooldowns
from ..workers.worker import Refusal, WorkerState
from .selection import (
    Candidate,
    Selected,
    Wanted,
    fixed_refusal,
    is_last_choice,
    least_tokens,
    model_for,
    momentary_refusal,
    needed,
    too_long,
)
from .strategies import STRATEGIES, Group

KINDS_KNOWN = 64
"""Kinds of request whose groups are kept; callers name what they like, and memory is bounded."""

Reserved = Callable[[str], int]
"""Returns how many free places of a worker are reserved for other calls."""
Kind = tuple[str | None, str | None, str | None, bool, frozenset[str]]


@final
class Roster:
    """All workers, and for each kind of request those that could serve it.

    `selections` is how many were made from rosters before this one: round robin goes on from there.
    """

    def __init__(self, workers: Iterable[WorkerState], selections: int = 0) -> None:
        self.states = tuple(workers)
        self.selections = selections
        self._begin = selections  # where a new kind's turns begin: each time at 0 would burden the first
        self._configs = {state.name: state.config for state in self.states}
        self._by_name = {state.name: (state,) for state in self.states}
        self._by_provider: dict[str, list[WorkerState]] = {}
        self._by_model: dict[str, dict[str, WorkerState]] = {}
        self._some_are_limited = False
        for state in self.states:
            self._by_provider.setdefault(state.kind.name, []).append(state)
            for model in (*state.models, *filter(None, [state.kind.embed_model])):
                self._by_model.setdefault(model, {})[state.name] = state
            self._some_are_limited |= state.config.capabilities is not None
        self._groups: dict[Kind, Group] = {}

    def note(self, state: WorkerState) -> bool:
        """Something about `state` has changed. False if it was its configuration: then make another roster."""
        for group in self._groups.values():
            group.touch(state)
        return self._configs.get(state.name) is state.config

    def group(self, wanted: Wanted) -> Group:
        """The workers whose configuration allows what is wanted."""
        needs = frozenset[str]()
        if self._some_are_limited and wanted.request is not None:
            needs = frozenset(needed(wanted.request))
        kind = (wanted.model, wanted.provider, wanted.worker, wanted.embed, needs)
        group = self._groups.get(kind)
        if group is None:
            if len(self._groups) >= KINDS_KNOWN:
                del self._groups[next(iter(self._groups))]
                self._begin = self.selections
            members = tuple(self._members(wanted))
            group = self._groups[kind] = Group(members, self._begin % max(1, len(members)))
        return group

    def _members(self, wanted: Wanted) -> Iterator[Candidate]:
        for state in self._named(wanted):
            if fixed_refusal(state, wanted) is None:
                yield Candidate(state, model_for(state, wanted))

    def _named(self, wanted: Wanted) -> Iterable[WorkerState]:
        """The workers that the names can mean: few, found without a look at all."""
        if wanted.worker is not None:
            return self._by_name.get(wanted.worker, ())
        if wanted.provider is not None:
            return self._by_provider.get(wanted.provider, ())
        if wanted.model is not None:
            return self._by_model.get(wanted.model, {}).values()
        return self.states

    def select(
        self,
        wanted: Wanted,
        *,
        strategy: str,
        cooldowns: Cooldowns,
        clock: Callable[[], float],
        reserved: Reserved = lambda worker: 0,
    ) -> Selection:
        """Choose workers for one call, step by step.

        Args:
            wanted: what the call asks for.
            strategy: a name of `strategies.STRATEGIES`.
            cooldowns: what may not be asked now.
            clock: returns Trio time.
            reserved: returns how many places of a worker are reserved for calls that have waited longer.
        """
        self.selections += 1
        return Selection(self.states, self.group(wanted), wanted, strategy, cooldowns, clock, reserved)

    def peek(
        self, wanted: Wanted, *, strategy: str, cooldowns: Cooldowns, clock: Callable[[], float]
    ) -> Selected:
        """The whole selection as it would be made now, without a turn of round robin."""
        group = self.group(wanted)
        cursor = group.cursor
        try:
            return Selection(self.states, group, wanted, strategy, cooldowns, clock).whole()
        finally:
            group.cursor = cursor


@final
class Selection:
    """The workers that one call may ask, chosen step by step: iterate it for the next.

    Whether a worker may be asked is looked at when its turn has come. Those that are cooling down on a guess, or may
    only be tried, come last: they are asked when no other can serve.
    """

    def __init__(
        self,
        states: Sequence[WorkerState],
        group: Group,
        wanted: Wanted,
        strategy: str,
        cooldowns: Cooldowns,
        clock: Callable[[], float],
        reserved: Reserved = lambda worker: 0,
    ) -> None:
        self._states = states
        self._group = group
        self._wanted = wanted
        self._order = STRATEGIES[strategy]
        self._cooldowns = cooldowns
        self._clock = clock
        self._reserved = reserved
        self._tokens: int | None = None
        self._given: list[int] = []
        self._next = 0  # of `_given`, for `__next__`: `whole` looks ahead and takes none away
        self._refused: dict[int, Refusal] = {}
        self._suspects: set[int] = set()
        self._places = self._walk()

    def __iter__(self) -> Iterator[Candidate]:
        return self

    def __next__(self) -> Candidate:
        if self._next == len(self._given):
            self._given.append(next(self._places))
        place = self._given[self._next]
        self._next += 1
        return self._group.members[place]

    def refusal(self, candidate: Candidate, now: float) -> Refusal | None:
        """Why `candidate` may not be asked this now, or None."""
        if refusal := self._too_long(candidate) or momentary_refusal(candidate, self._cooldowns, now):
            return refusal
        state = candidate.state
        reserved = self._reserved(state.name)
        if reserved and state.free_slots <= reserved:
            return Refusal("keeps its free place for a call that has waited longer", until_request_ends=True)
        return None

    def _walk(self) -> Iterator[int]:
        yield from self._order(self._group, self._may)
        if self._suspects:
            yield from self._order(self._group, self._may_at_last)

    def _may(self, place: int) -> bool:
        candidate, now = self._group.members[place], self._clock()
        refusal = self.refusal(candidate, now)
        if refusal is not None:
            self._refused[place] = refusal
            return False
        self._refused.pop(place, None)  # of an earlier look
        if is_last_choice(candidate, self._cooldowns, now):
            self._suspects.add(place)
            return False
        self._suspects.discard(place)  # it is given now, and not once more at the end
        return True

    def _may_at_last(self, place: int) -> bool:
        if place not in self._suspects:
            return False
        return self._may(place) or place not in self._refused

    def _too_long(self, candidate: Candidate) -> Refusal | None:
        request, window = self._wanted.request, candidate.window
        if window is None or request is None:
            return None
        if self._tokens is None:
            self._tokens = least_tokens(request)
        return too_long(self._tokens, window)

    def whole(self) -> Selected:
        """The whole order and the reasons of all others: looks at every worker, also at those behind the first."""
        for place in self._places:  # one by one: the walk looks at what was given
            self._given.append(place)
        members = self._group.members
        order = tuple(members[place] for place in self._given)
        refused = {members[place].state.name: why for place, why in self._refused.items()}
        asked = {candidate.state.name for candidate in order}
        others = [state for state in self._states if state.name not in asked]
        reasons = [(state, fixed_refusal(state, self._wanted) or refused.get(state.name)) for state in others]
        return Selected(order, tuple((state, why) for state, why in reasons if why is not None))
