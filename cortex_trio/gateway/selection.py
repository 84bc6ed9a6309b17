"""Who is asked, and in which order. A strategy is one pure function from candidates to an order.

`select` narrows by name, filters those who may not be asked now, and orders the rest. Nothing here waits,
sends or writes; `explain` shows the same decision in words.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_address
from typing import TypeVar
from urllib.parse import urlsplit

import attrs

from ..messages import ChatRequest, Document, Image
from .keys import KeyRing
from .worker import Refusal, WorkerState

CHARACTERS_PER_TOKEN = 6
"""Generous, so that only a prompt that certainly does not fit keeps a worker from being asked."""
EXPLORE = 0.05
"""Share of requests with which `fastest` looks whether another worker has become faster."""

T = TypeVar("T")


@attrs.frozen
class Wanted:
    """What the caller asked for by name, and what the request needs."""

    model: str | None = None
    provider: str | None = None
    worker: str | None = None
    request: ChatRequest | None = None
    embed: bool = False  # embeddings are wanted, not a chat


@attrs.frozen
class Candidate:
    """A worker and the model it would be asked for."""

    state: WorkerState
    model: str


@attrs.frozen
class Selected:
    """The decision: whom to ask, in order, and why each of the others was skipped."""

    order: tuple[Candidate, ...]
    skipped: tuple[tuple[WorkerState, Refusal], ...]


# ------------------------------------------------------------------ strategies


def _by_priority(candidates: Sequence[Candidate], turn: int) -> list[Candidate]:
    return sorted(candidates, key=lambda c: c.state.priority)


def _local_first(candidates: Sequence[Candidate], turn: int) -> list[Candidate]:
    return sorted(candidates, key=lambda c: (not is_local(c.state), c.state.priority))


def _round_robin(candidates: Sequence[Candidate], turn: int) -> list[Candidate]:
    start = turn % len(candidates)
    return [*candidates[start:], *candidates[:start]]


def _least_used(candidates: Sequence[Candidate], turn: int) -> list[Candidate]:
    return sorted(candidates, key=lambda c: (c.state.in_flight, c.state.requests))


def _random(candidates: Sequence[Candidate], turn: int) -> list[Candidate]:
    return random.sample(candidates, len(candidates))


def _fastest(candidates: Sequence[Candidate], turn: int) -> list[Candidate]:
    """By the moving average of the time to first token; who was never measured is asked first, once."""
    order = sorted(candidates, key=lambda c: c.state.latency or 0.0)
    if len(order) > 1 and random.random() < EXPLORE:
        order.insert(0, order.pop(random.randrange(1, len(order))))
    return order


STRATEGIES: Mapping[str, Callable[[Sequence[Candidate], int], list[Candidate]]] = {
    "priority": _by_priority,
    "local_first": _local_first,
    "round_robin": _round_robin,
    "least_used": _least_used,
    "random": _random,
    "fastest": _fastest,
}


def is_local(state: WorkerState) -> bool:
    """A worker without keys, or on this machine."""
    if not state.config.api_keys:
        return True
    host = urlsplit(state.config.base_url or state.kind.base_url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


# ------------------------------------------------------------------ the decision


def select(
    workers: Sequence[WorkerState], wanted: Wanted, *, strategy: str, turn: int, ring: KeyRing, now: float
) -> Selected:
    """Decide whom to ask. `turn` counts the requests so far; `now` is Trio time."""
    candidates: list[Candidate] = []
    skipped: list[tuple[WorkerState, Refusal]] = []
    for state in workers:
        model = wanted.model or (state.kind.embed_model if wanted.embed else state.models[0])
        refusal = (
            not_wanted(state, wanted) or state.refusal(model, now) or _not_able(state, model, wanted)
        ) or _keyless(state, model, ring, now)
        if refusal:
            skipped.append((state, refusal))
        else:
            candidates.append(Candidate(state, model))
    order = STRATEGIES[strategy](candidates, turn) if candidates else []
    order.sort(
        key=lambda c: ring.is_suspect(c.state.name, c.model, now)
    )  # a guess is obeyed while others can
    return Selected(tuple(order), tuple(skipped))


def not_wanted(state: WorkerState, wanted: Wanted) -> Refusal | None:
    """Why it is not whom the caller named. Names are compared whole: a part would send traffic to strangers."""
    if wanted.worker is not None and state.name != wanted.worker:
        return Refusal(f"is not the worker {wanted.worker!r}")
    if wanted.provider is not None and state.kind.name != wanted.provider:
        return Refusal(f"is not of the provider {wanted.provider!r}")
    if wanted.embed and not (wanted.model or state.kind.embed_model):
        return Refusal("has no default model for embeddings")
    if wanted.model is None or wanted.worker is not None or wanted.provider is not None:
        return None
    models = [*state.models, *[state.kind.embed_model] * wanted.embed]
    if wanted.model not in models:
        return Refusal(f"has no model {wanted.model!r} (it has {', '.join(models)})")
    return None


def needed(request: ChatRequest) -> set[str]:
    """What a request needs a model to be able to do, in the words of WorkerConfig.capabilities."""
    parts = [part for message in request.messages for part in message.parts]
    wants = {
        "tools": bool(request.tools),
        "images": any(isinstance(part, Image) for part in parts),
        "documents": bool(request.documents) or any(isinstance(part, Document) for part in parts),
        "reasoning": request.reasoning is not None,
        "json": request.response_schema is not None,
    }
    return {what for what, wanted in wants.items() if wanted}


def _not_able(state: WorkerState, model: str, wanted: Wanted) -> Refusal | None:
    can = state.config.capabilities
    if can is not None and wanted.request is not None and (missing := needed(wanted.request) - set(can)):
        return Refusal(f"cannot do {', '.join(sorted(missing))}")
    window = state.context_window(model)
    if window is None:
        return None
    if wanted.request is not None and (tokens := _least_tokens(wanted.request)) > window:
        return Refusal(f"has a context window of {window:,} tokens; the messages take {tokens:,} or more")
    return None


def _least_tokens(request: ChatRequest) -> int:
    """A floor of what the messages take; images and tools are not counted."""
    characters = 0
    for message in request.messages:
        if isinstance(message.content, str):
            characters += len(message.content)
        else:
            characters += sum(
                len(getattr(part, "text", "")) for part in message.content if not isinstance(part, Image)
            )
    return characters // CHARACTERS_PER_TOKEN


def _keyless(state: WorkerState, model: str, ring: KeyRing, now: float) -> Refusal | None:
    blocked = ring.available(state.name, model, now)
    if blocked is None:
        return None
    return Refusal(f"has no key to use ({blocked.kind.value})", blocked.kind, blocked.until)


def explain(selected: Selected, now: float) -> str:
    """The decision in words: one line a worker, in the order of asking, then those who would not be asked."""
    lines = [
        f"{place}. {candidate.state.name} ({candidate.state.kind.name}, {candidate.model}, "
        f"priority {candidate.state.priority})"
        for place, candidate in enumerate(selected.order, 1)
    ]
    lines += [f"-  {state.name} {refusal_text(refusal, now)}" for state, refusal in selected.skipped]
    return "\n".join(lines)


def refusal_text(refusal: Refusal, now: float) -> str:
    """The reason and, where there is one, the time it lasts."""
    if refusal.until in (float("inf"), float("-inf")) or refusal.until <= now:
        return refusal.reason
    return f"{refusal.reason}, for another {refusal.until - now:.1f} s"
