"""All workers, arranged by what requests name. Knows what the configuration decides, and no state of the moment.

A `WorkerIndex` is made anew when a worker is added, removed or configured anew, and shared by all requests in
between. Which workers can serve one kind of request is decided once; whether a worker may be asked now is looked up
only when the order has come to it (`selection.choose`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import final

from ..workers.worker import WorkerState
from .eligibility import Candidate, Criteria, Target, configuration_refusal, model_for, required_capabilities
from .group import CandidateGroup
from .strategies import priority_of

MAX_GROUPS = 64
"""Groups that are kept. Callers may name any model, and memory is bounded."""
AUTO = ("", "auto")
"""Names of no model: the strategy chooses."""
EMBED_BATCH = 2048
"""Texts in one request where no worker says how many it takes."""

_Kind = tuple[str | None, str | None, str | None, bool, frozenset[str], tuple[tuple[str, str], ...]]


@final
class WorkerIndex:
    """All workers, and the groups of candidates for the kinds of requests that were made.

    Args:
        workers: all workers, in the order in which they were added.
        turns: `turns` of the index before this one: round robin goes on from there.
    """

    def __init__(self, workers: Iterable[WorkerState], turns: int = 0) -> None:
        self.workers = tuple(workers)
        # Choices so far; a group that is made now begins there, not always at the first worker.
        self.turns = turns
        self._configs = {state.name: state.config for state in self.workers}
        self._by_name = {state.name: (state,) for state in self.workers}
        self._by_provider: dict[str, list[WorkerState]] = {}
        self._by_model: dict[str, dict[str, WorkerState]] = {}
        for state in self.workers:
            self._by_provider.setdefault(state.kind.name, []).append(state)
            for model in (*state.models, *state.endpoint.embed_models):
                self._by_model.setdefault(model, {})[state.name] = state
        self._has_capabilities = any(state.config.capabilities is not None for state in self.workers)
        self._groups: dict[_Kind, CandidateGroup] = {}
        self._first_turn = turns  # of the groups that are made next

    def update(self, state: WorkerState) -> bool:
        """Take over what has changed in `state`.

        Returns:
            False if its configuration has changed: then another index must be made.
        """
        for group in self._groups.values():
            group.update(state)
        return self._configs.get(state.name) is state.config

    def meaning(self, name: str) -> Target | None:
        """Return which workers a name means; None for a name that is not known here.

        A model comes first: the names of many contain a slash. Behind the name of a worker or a provider stands any
        model, also one that the configuration does not list.
        """
        if name in AUTO:
            return Target()
        if name in self._by_model:
            return Target(model=name)
        owner, _, model = name.partition("/")
        if not model:
            return None
        if owner in self._by_name:
            return Target(model=model, worker=owner)
        return Target(model=model, provider=owner) if owner in self._by_provider else None

    def group(self, criteria: Criteria) -> CandidateGroup:
        """Return the candidates whose configuration meets the criteria."""
        needs = frozenset[str]()
        if self._has_capabilities and criteria.request is not None:
            needs = frozenset(required_capabilities(criteria.request))
        kind = (criteria.model, criteria.provider, criteria.worker, criteria.embed, needs, criteria.routes)
        group = self._groups.get(kind)
        if group is None:
            if len(self._groups) >= MAX_GROUPS:
                del self._groups[next(iter(self._groups))]
                self._first_turn = self.turns
            members = tuple(self._candidates(criteria))
            group = self._groups[kind] = CandidateGroup(members, self._first_turn % max(1, len(members)))
        return group

    def record_turn(self, group: CandidateGroup, candidate: Candidate) -> None:
        """Record that `candidate` was chosen first: the next turn of round robin begins behind it."""
        self.turns += 1
        position = group.positions.get(candidate.state.name)
        if position is not None:
            group.turn = position + 1

    def _candidates(self, criteria: Criteria) -> Iterator[Candidate]:
        for state in self._named(criteria):
            if configuration_refusal(state, criteria) is None:
                yield Candidate(state, model_for(state, criteria))

    def _named(self, criteria: Criteria) -> Iterable[WorkerState]:
        """Return the workers that the most specific name can mean, without a look at all workers."""
        if criteria.routes:  # in the order in which they are asked
            return [state for worker, _ in criteria.routes for state in self._by_name.get(worker, ())]
        if criteria.worker is not None:
            return self._by_name.get(criteria.worker, ())
        if criteria.provider is not None:
            return self._by_provider.get(criteria.provider, ())
        if criteria.model is not None:
            return self._by_model.get(criteria.model, {}).values()
        return self.workers


def embed_model(index: WorkerIndex, criteria: Criteria) -> str | None:
    """Return the model for embeddings where `criteria` name none: that of the worker with the best priority.

    Returns None if no worker has such a model.
    """
    group = index.group(criteria)
    return group.members[group.sorted_by(priority_of)[0]].model if len(group) else None


def embed_batch(index: WorkerIndex, criteria: Criteria) -> int:
    """Return how many texts every worker that might be asked takes in one request."""
    group = index.group(criteria)
    return _embed_batch_of(group.members[group.sorted_by(_embed_batch_of)[0]]) if len(group) else EMBED_BATCH


def _embed_batch_of(candidate: Candidate) -> int:
    return candidate.endpoint.embed_batch
