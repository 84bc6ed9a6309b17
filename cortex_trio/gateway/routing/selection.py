"""Which worker is asked next, and why the others are not: pure functions of what is known at one moment.

`choose` stops at the first worker that may be asked; `evaluate_all` looks at all of them, for an error or for
`Cortex.explain`. Neither reads a clock or a global source of randomness, and neither changes anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random

import attrs

from ..workers.cooldowns import Cooldowns
from ..workers.worker import Refusal, WorkerState
from .eligibility import (
    Candidate,
    Criteria,
    configuration_refusal,
    current_refusal,
    is_last_resort,
    window_refusal,
)
from .group import CandidateGroup
from .strategies import Order


@attrs.frozen
class Conditions:
    """What decides at one moment, beside the time, which candidates may be asked."""

    criteria: Criteria
    cooldowns: Cooldowns
    reserved: Callable[[str], int] = lambda worker: 0
    """Returns how many free permits of a worker are reserved for calls that have waited longer."""


@attrs.frozen
class Evaluation:
    """The workers that may be asked, in order, and why each of the others may not."""

    order: tuple[Candidate, ...]
    skipped: tuple[tuple[WorkerState, Refusal], ...]


def refusal_of(candidate: Candidate, conditions: Conditions, now: float) -> Refusal | None:
    """Return why `candidate` may not be asked at `now` (Trio time), or None if it may."""
    if refusal := window_refusal(candidate, conditions.criteria):
        return refusal
    if refusal := current_refusal(candidate, conditions.cooldowns, now):
        return refusal
    reserved = conditions.reserved(candidate.state.name)
    if reserved and candidate.state.free_slots <= reserved:
        return Refusal("keeps its free permit for a call that has waited longer", until_request_ends=True)
    return None


def choose(
    group: CandidateGroup,
    strategy: Order,
    conditions: Conditions,
    *,
    now: float,
    rng: Random,
    is_excluded: Callable[[Candidate], bool] = lambda candidate: False,
) -> Candidate | None:
    """Return the best candidate that may be asked, or None.

    A candidate that is a last resort is chosen only if there is no other.

    Args:
        group: the candidates whose configuration meets the criteria.
        strategy: the order in which they are looked at.
        conditions: what decides which of them may be asked.
        now: Trio time.
        rng: the source of randomness for the strategy.
        is_excluded: returns whether the call has excluded a candidate, for example because it was asked.
    """
    last_resort: Candidate | None = None
    for position in strategy(group, rng):
        candidate = group.members[position]
        if is_excluded(candidate) or refusal_of(candidate, conditions, now) is not None:
            continue
        if not is_last_resort(candidate, conditions.cooldowns, now):
            return candidate
        last_resort = last_resort or candidate
    return last_resort


def evaluate_all(
    workers: Iterable[WorkerState],
    group: CandidateGroup,
    strategy: Order,
    conditions: Conditions,
    *,
    now: float,
    rng: Random,
) -> Evaluation:
    """Return the whole order in which a call would ask, and the reasons for all other `workers`.

    Args are those of `choose`; `workers` are all workers, also those outside the group.
    """
    first: list[Candidate] = []
    last_resorts: list[Candidate] = []
    refusals: dict[str, Refusal] = {}
    for position in strategy(group, rng):
        candidate = group.members[position]
        if refusal := refusal_of(candidate, conditions, now):
            refusals[candidate.state.name] = refusal
        elif is_last_resort(candidate, conditions.cooldowns, now):
            last_resorts.append(candidate)
        else:
            first.append(candidate)
    skipped = [
        (state, refusal)
        for state in workers
        if (refusal := refusals.get(state.name) or configuration_refusal(state, conditions.criteria))
    ]
    return Evaluation((*first, *last_resorts), tuple(skipped))


# ------------------------------------------------------------------ as text


def explain(evaluation: Evaluation, now: float) -> str:
    """Return one line for each worker: first those that would be asked, in order, then the others with the reason."""
    lines = [
        f"{number}. {candidate.state.name} ({candidate.state.kind.name}, {candidate.model}, "
        f"priority {candidate.state.priority})"
        for number, candidate in enumerate(evaluation.order, 1)
    ]
    lines += [f"-  {state.name} {refusal_text(refusal, now)}" for state, refusal in evaluation.skipped]
    return "\n".join(lines)


def refusal_text(refusal: Refusal, now: float) -> str:
    """Return the reason and, if its end is known, the time that is left."""
    if refusal.until == float("inf") or refusal.until <= now:
        return refusal.reason
    return f"{refusal.reason}, retry in {refusal.until - now:.1f} s"
