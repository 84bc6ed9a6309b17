"""What the caller is told when no answer came: precisely who was asked, what each said, and when to come back. Pure."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence

from ..events import Attempt
from ..failures import (
    PRIMARY_ORDER,
    REACTIONS,
    AllWorkersFailed,
    FailureKind,
    NextWorker,
    NoWorkersAvailable,
    ProviderError,
)
from .keys import KeyRing
from .selection import Selected, Wanted, not_named, refusal_text
from .worker import Refusal, WorkerState


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
    names = ", ".join(dict.fromkeys(error.worker for error in errors))
    return AllWorkersFailed(
        f"{len(errors)} attempts failed ({names}); the main reason is {primary}",
        errors,
        primary=primary,
        retry_after=retry_after,
        attempts=attempts,
    )


def nobody_to_ask(
    workers: Collection[WorkerState],
    wanted: Wanted,
    reasons: Sequence[tuple[WorkerState, Refusal]],
    now: float,
) -> NoWorkersAvailable:
    """Nothing was sent: why each of those who were meant could not be asked, and the soonest end of those reasons."""
    if unknown := _unknown_name(workers, wanted):
        return NoWorkersAvailable(unknown)
    meant = [(state, why) for state, why in reasons if not_named(state, wanted) is None]
    told = "; ".join(f"{state.name} {refusal_text(why, now)}" for state, why in meant or reasons)
    return NoWorkersAvailable(
        f"nobody may be asked: {told or 'there are no workers'}",
        retry_after=_soonest((refusal.until for _, refusal in reasons), now),
    )


def _unknown_name(workers: Collection[WorkerState], wanted: Wanted) -> str | None:
    """A name nobody has is a mistake of the caller's; say which names there are."""
    for what, name, known in (
        ("worker", wanted.worker, [state.name for state in workers]),
        ("provider", wanted.provider, [state.kind.name for state in workers]),
        ("model", wanted.model, [model for state in workers for model in state.models]),
    ):
        named = what != "model" or (wanted.worker is None and wanted.provider is None)
        if name is not None and named and name not in known:
            listed = ", ".join(dict.fromkeys(known)) or "none"
            return f"there is no {what} {name!r}; there are: {listed}"
    return None


def reopens_after(
    errors: Sequence[ProviderError], selected: Selected, ring: KeyRing, now: float
) -> float | None:
    """Seconds until the first of those asked may be asked again."""
    untils = [now + e.failure.retry_after for e in errors if e.failure.retry_after is not None]
    for asked in selected.order:
        keys = ring.available(asked.state.name, asked.model, now)
        untils += [rest.until for rest in (asked.state.refusal(asked.model, now), keys) if rest is not None]
    return _soonest(untils, now)


def _soonest(untils: Iterable[float], now: float) -> float | None:
    finite = [until for until in untils if math.isfinite(until)]
    return max(0.0, min(finite) - now) if finite else None
