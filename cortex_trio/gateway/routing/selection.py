"""What a request wants of a worker, why a worker may not be asked for it, and both as text.

Every reason is one pure function: nothing here waits, sends or writes. The order of asking is in `strategies`, and
`roster` walks it.
"""

from __future__ import annotations

import attrs

from ...failures.shown import listed
from ...messages import ChatRequest, Document, Image
from ..workers.cooldowns import Cooldown, Cooldowns
from ..workers.endpoint import Endpoint
from ..workers.worker import Refusal, WorkerState, cooling_down

CHARACTERS_PER_TOKEN = 6
"""Generous, so that only a prompt that certainly does not fit keeps a worker from being asked."""


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
    """A worker and the model it would be asked for, as it is configured now."""

    state: WorkerState
    model: str
    endpoint: Endpoint = attrs.field(
        default=attrs.Factory(lambda self: self.state.endpoint, takes_self=True), repr=False
    )
    window: int | None = attrs.field(init=False, eq=False)  # tokens of `model`; None: not known

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "window", self.endpoint.context_window(self.model))  # frozen from here on

    @property
    def is_current(self) -> bool:
        """No reload has replaced its endpoint."""
        return self.endpoint is self.state.endpoint


@attrs.frozen
class Selected:
    """The workers to ask, in order, and why each of the others was skipped."""

    order: tuple[Candidate, ...]
    skipped: tuple[tuple[WorkerState, Refusal], ...]


# ------------------------------------------------------------------ what a configuration decides


def model_for(state: WorkerState, wanted: Wanted) -> str:
    """The model that the worker would be asked for."""
    return wanted.model or (state.kind.embed_model if wanted.embed else state.models[0])


def fixed_refusal(state: WorkerState, wanted: Wanted) -> Refusal | None:
    """Why the worker's configuration does not allow what is wanted, or None."""
    return not_wanted(state, wanted) or _not_able(state, wanted)


def not_wanted(state: WorkerState, wanted: Wanted) -> Refusal | None:
    """Why the worker is not among those that the caller named, or has no model for what is wanted."""
    if wanted.embed and not (wanted.model or state.kind.embed_model):
        return not_named(state, wanted) or Refusal("has no default model for embeddings")
    return not_named(state, wanted)


def not_named(state: WorkerState, wanted: Wanted) -> Refusal | None:
    """Why the worker is not among those that the caller named. Names are compared whole: "gpt" is not "gpt-4"."""
    if wanted.worker is not None and state.name != wanted.worker:
        return Refusal(f"is not the worker {wanted.worker!r}")
    if wanted.provider is not None and state.kind.name != wanted.provider:
        return Refusal(f"is not of the provider {wanted.provider!r}")
    if wanted.model is None or wanted.worker is not None or wanted.provider is not None:
        return None
    models = named_models(state, wanted)
    if wanted.model not in models:
        return Refusal(f"has no model {wanted.model!r} (it has {listed(models)})")
    return None


def named_models(state: WorkerState, wanted: Wanted) -> list[str]:
    """The models by whose name alone it can be meant."""
    embed_model = state.kind.embed_model
    return [*state.models, *([embed_model] if wanted.embed and embed_model else [])]


def needed(request: ChatRequest) -> set[str]:
    """What a request needs a model to be able to do: values of `WorkerConfig.capabilities`."""
    parts = [part for message in request.messages for part in message.parts]
    wants = {
        "tools": bool(request.tools),
        "images": any(isinstance(part, Image) for part in parts),
        "documents": bool(request.documents) or any(isinstance(part, Document) for part in parts),
        "reasoning": request.reasoning is not None,
        "json": request.response_schema is not None,
    }
    return {what for what, wanted in wants.items() if wanted}


def _not_able(state: WorkerState, wanted: Wanted) -> Refusal | None:
    can = state.config.capabilities
    if can is not None and wanted.request is not None and (missing := needed(wanted.request) - set(can)):
        return Refusal(f"cannot do {', '.join(sorted(missing))}")
    return None


# ------------------------------------------------------------------ what the request and the moment decide


def too_long(tokens: int, window: int) -> Refusal | None:
    """Why messages of at least `tokens` do not fit a context window of `window` tokens, or None."""
    if tokens > window:
        return Refusal(f"has a context window of {window:,} tokens; the messages take {tokens:,} or more")
    return None


def least_tokens(request: ChatRequest) -> int:
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


def keys_cooldown(candidate: Candidate, cooldowns: Cooldowns, now: float) -> Cooldown | None:
    """What keeps all its keys from being used, or None if one is free."""
    return cooldowns.of_keys(candidate.state.name, candidate.model, candidate.endpoint.keys, now)


def momentary_refusal(candidate: Candidate, cooldowns: Cooldowns, now: float) -> Refusal | None:
    """Why it may not be asked at this moment, not even for a trial."""
    if refusal := candidate.state.refusal(candidate.model, now):
        return refusal
    keys = keys_cooldown(candidate, cooldowns, now)
    return None if keys is None or keys.may_be_tried(now) else cooling_down(keys, "its API keys are ")


def is_last_choice(candidate: Candidate, cooldowns: Cooldowns, now: float) -> bool:
    """It may be asked, but is cooling down: on a guess, or as a trial. All others go first."""
    worker = candidate.state.cooldown(candidate.model, now)
    return worker is not None or keys_cooldown(candidate, cooldowns, now) is not None


# ------------------------------------------------------------------ as text


def explain(selected: Selected, now: float) -> str:
    """The selection as text: one line for each worker, in the order of asking, then those that would not be asked."""
    lines = [
        f"{place}. {candidate.state.name} ({candidate.state.kind.name}, {candidate.model}, "
        f"priority {candidate.state.priority})"
        for place, candidate in enumerate(selected.order, 1)
    ]
    lines += [f"-  {state.name} {refusal_text(refusal, now)}" for state, refusal in selected.skipped]
    return "\n".join(lines)


def refusal_text(refusal: Refusal, now: float) -> str:
    """The reason and, where there is one, the time it lasts."""
    if refusal.until == float("inf") or refusal.until <= now:
        return refusal.reason
    return f"{refusal.reason}, retry in {refusal.until - now:.1f} s"
