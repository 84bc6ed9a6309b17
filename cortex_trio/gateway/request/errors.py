"""The error of a call that got no answer: which workers were asked, what each said, and when to come back. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Sequence

from ...errors import AllWorkersFailed, ProviderError
from ...events import Attempt
from ...failures import PRIMARY_ORDER, REACTIONS, FailureKind, NextWorker, NoWorkersAvailable
from ...failures.shown import listed
from ..routing.selection import Candidate, Wanted, named_models, not_named, refusal_text
from ..workers.worker import Refusal, WorkerState


def all_failed(
    errors: Sequence[ProviderError], attempts: Sequence[Attempt], retry_after: float | None
) -> ProviderError | AllWorkersFailed:
    """One error as it is; several as a group whose primary one is what the caller can do most about."""
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
    wanted: Wanted,
    reasons: Sequence[tuple[WorkerState, Refusal]],
    now: float,
) -> NoWorkersAvailable:
    """Nothing was sent: why each of the workers that were meant could not be asked, and the soonest end of that."""
    if unknown := _unknown_name(workers, wanted):
        return NoWorkersAvailable(unknown)
    last = {state.name: (state, why) for state, why in reasons}  # once for each worker
    meant = [(state, why) for state, why in last.values() if not_named(state, wanted) is None]
    reasons_given = [f"{state.name}: {refusal_text(why, now)}" for state, why in meant or last.values()]
    if len(reasons_given) > WORKERS_LISTED:
        reasons_given[WORKERS_LISTED:] = [f"and {len(reasons_given) - WORKERS_LISTED} more"]
    return NoWorkersAvailable(
        f"no worker available: {'; '.join(reasons_given) or 'there are none'}",
        retry_after=_soonest((refusal.until for _, refusal in reasons), now),
    )


WORKERS_LISTED = 10
"""Workers that an error gives reasons for; the number of the others stands behind them."""


def _unknown_name(workers: Collection[WorkerState], wanted: Wanted) -> str | None:
    """A name that no worker has is a mistake of the caller's: return a text with the names there are."""
    for what, name, known in (
        ("worker", wanted.worker, [state.name for state in workers]),
        ("provider", wanted.provider, [state.kind.name for state in workers]),
        ("model", wanted.model, [model for state in workers for model in named_models(state, wanted)]),
    ):
        named = what != "model" or (wanted.worker is None and wanted.provider is None)
        if name is not None and named and name not in known:
            return f"there is no {what} {name!r:.100}; there are: {listed(dict.fromkeys(known))}"
    return None


def reopens_after(
    candidates: Sequence[Candidate], refusal: Callable[[Candidate, float], Refusal | None], now: float
) -> float | None:
    """Seconds until the first of the candidates that may not be asked now may be; None if time opens none of them.

    What the errors of the call say counts from the time at which they came, and may have been waited for already; the
    cooldowns they left are what holds now.
    """
    return _soonest((why.until for candidate in candidates if (why := refusal(candidate, now))), now)


def _soonest(untils: Iterable[float], now: float) -> float | None:
    finite = [until for until in untils if math.isfinite(until)]
    return max(0.0, min(finite) - now) if finite else None
