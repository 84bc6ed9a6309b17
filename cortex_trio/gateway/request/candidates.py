"""The candidates of one call, read from the state that all calls share. Keeps no copy of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import final

import trio

from ..routing.eligibility import Candidate, Criteria
from ..routing.selection import Conditions, Evaluation, choose, evaluate_all, refusal_of
from ..routing.strategies import STRATEGIES, Order, as_listed
from ..routing.wait_queue import FreedPermit
from ..runtime import Runtime
from ..workers.worker import Refusal


@final
class CallCandidates:
    """What `routing.plan` asks about the workers.

    Args:
        runtime: the shared state.
        criteria: what the call asks for.

    Attributes:
        permit: the permit that the call was woken for, until it is used or handed on; it is not reserved from the
            call itself.
    """

    def __init__(self, runtime: Runtime, criteria: Criteria) -> None:
        self.permit: FreedPermit | None = None
        self._runtime = runtime
        self._criteria = criteria
        self._conditions = Conditions(criteria, runtime.cooldowns, self._reserved)
        self._has_taken_turn = False

    def choose(
        self, now: float, is_excluded: Callable[[Candidate], bool] = lambda candidate: False
    ) -> Candidate | None:
        """Return the best candidate that may be asked at `now` and is not excluded; None if there is none.

        The first choice of a call is a turn of round robin.
        """
        index = self._runtime.index
        group = index.group(self._criteria)
        candidate = choose(
            group,
            self._order,
            self._conditions,
            now=now,
            rng=self._runtime.random,
            is_excluded=is_excluded,
        )
        if candidate is not None and not self._has_taken_turn:
            self._has_taken_turn = True
            index.record_turn(group, candidate)
        return candidate

    def all(self) -> Sequence[Candidate]:
        """Return all whose configuration meets the criteria, also those that may not be asked now."""
        return self._runtime.index.group(self._criteria).members

    def refusal(self, candidate: Candidate, now: float) -> Refusal | None:
        """Return why `candidate` may not be asked at `now` (Trio time), or None if it may."""
        return refusal_of(candidate, self._conditions, now)

    def evaluate_all(self) -> Evaluation:
        """Return in which order the call would ask now, and why it would not ask each of the other workers."""
        index = self._runtime.index
        return evaluate_all(
            index.workers,
            index.group(self._criteria),
            self._order,
            self._conditions,
            now=trio.current_time(),
            rng=self._runtime.random,
        )

    @property
    def _order(self) -> Order:
        return as_listed if self._criteria.routes else STRATEGIES[self._runtime.config.strategy]

    def _reserved(self, worker: str) -> int:
        return self._runtime.wait_queue.reserved(worker, besides=self.permit)
