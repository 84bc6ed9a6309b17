"""The error of a call without an answer: which workers were asked, why each failed, when to try again. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Sequence

from ...errors import AllWorkersFailed, ProviderError
from ...events import Attempt
from ...failures import PRIMARY_ORDER, REACTIONS, FailureKind, NextWorker, NoWorkersAvailable
from ...failures.shown import listed
from ..routing.eligibility import Candidate, Criteria, models_by_name, name_refusal
from ..routing.selection import refusal_text
from ..workers.worker import Refusal, WorkerState

WORKERS_LISTED = 10
"""Workers for which an error gives reasons; the number of the others stands behind them."""


def all_failed(
    errors: Sequence[ProviderError], attempts: Sequence[Attempt], retry_after: float | None
) -> ProviderError | AllWorkersFailed:
    """Return a single error as it is; several as a group whose primary error is the one the caller can do most about.

    Args:
        errors: one for each attempt that failed, in order; at least one.
        attempts: the ledger of the call.
        retry_after: seconds until a worker may be asked again; None if unknown.
    """
    last = errors[-1]
    if len(errors) == 1 or last.failure.kind is FailureKind.BAD_REQUEST:
        return last
    primary = min(errors, key=lambda error: PRIMARY_ORDER.index(error.failure.kind))
    if REACTIONS[last.failure.kind].next_worker is NextWorker.NO:
        primary = last
    names = listed(dict.fromkeys(error.worker for error in errors))
    return AllWorkersFailed(
        f"{len(errors)} attempts failed ({names}); the main reason is {primary}",
        errors,
        primary=primary,
        retry_after=retry_after,
        attempts=attempts,
    )


def no_workers_available(
    workers: Collection[WorkerState],
    criteria: Criteria,
    reasons: Sequence[tuple[WorkerState, Refusal]],
    now: float,
) -> NoWorkersAvailable:
    """Return the error of a call that sent nothing: why each of the named workers could not be asked.

    Args:
        workers: all workers.
        criteria: what the call asked for.
        reasons: why workers could not be asked; the last reason of each worker counts.
        now: Trio time.
    """
    if unknown := _unknown_name(workers, criteria):
        return NoWorkersAvailable(unknown)
    last = {state.name: (state, refusal) for state, refusal in reasons}
    named = [(state, refusal) for state, refusal in last.values() if name_refusal(state, criteria) is None]
    texts = [f"{state.name}: {refusal_text(refusal, now)}" for state, refusal in named or last.values()]
    if len(texts) > WORKERS_LISTED:
        texts[WORKERS_LISTED:] = [f"and {len(texts) - WORKERS_LISTED} more"]
    kinds = {refusal.kind for _, refusal in last.values() if math.isfinite(refusal.until)}
    return NoWorkersAvailable(
        f"no worker available: {'; '.join(texts) or 'there are none'}",
        retry_after=_earliest((refusal.until for _, refusal in reasons), now),
        kind=kinds.pop() if len(kinds) == 1 else None,
    )


def _unknown_name(workers: Collection[WorkerState], criteria: Criteria) -> str | None:
    """Return the error text for a name that no worker has, with the names that exist; None if all are known."""
    models = [model for state in workers for model in models_by_name(state, criteria)]
    by_model = criteria.worker is None and criteria.provider is None  # else any model may be named
    for what, name, known in (
        ("worker", criteria.worker, [state.name for state in workers]),
        ("provider", criteria.provider, [state.kind.name for state in workers]),
        ("model", criteria.model if by_model and not criteria.routes else None, models),
    ):
        if name is not None and name not in known:
            return f"there is no {what} {name!r:.100}; there are: {listed(dict.fromkeys(known))}"
    return None


def reopens_after(
    candidates: Sequence[Candidate], refusal: Callable[[Candidate, float], Refusal | None], now: float
) -> float | None:
    """Return the seconds until the first of the candidates that may not be asked now may be; None if unknown.

    The times in the errors of the call are not used: they count from the moment at which each error came. The
    cooldowns that the errors left behind are what counts now.
    """
    refusals = [refusal(candidate, now) for candidate in candidates]
    return _earliest((refusal.until for refusal in refusals if refusal is not None), now)


def _earliest(times: Iterable[float], now: float) -> float | None:
    finite = [time for time in times if math.isfinite(time)]
    return max(0.0, min(finite) - now) if finite else None
