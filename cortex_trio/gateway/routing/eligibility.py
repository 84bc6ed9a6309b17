"""Whether a worker may be asked for a request: one pure function per reason. Knows no order of workers."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from ipaddress import ip_address
from urllib.parse import urlsplit

import attrs

from ...failures.shown import listed
from ...messages import ChatRequest, Document, File, Image, Message, Part, ToolResult
from ...messages.size import min_tokens
from ...wire.codec import Dialect
from ..workers.cooldowns import Cooldown, Cooldowns
from ..workers.endpoint import Endpoint
from ..workers.worker import Refusal, WorkerState, cooling_down


@attrs.frozen
class Target:
    """The workers that a name means. A field is None where any will do."""

    model: str | None = None
    """The model."""
    provider: str | None = None
    """The provider of the workers."""
    worker: str | None = None
    """The name of the only worker."""


@attrs.frozen
class Criteria:
    """What a call asks for. A name is None where the caller named nothing."""

    model: str | None = None
    provider: str | None = None
    worker: str | None = None
    request: ChatRequest | None = None  # None for embeddings
    embed: bool = False  # embeddings are wanted, not a chat
    routes: tuple[tuple[str, str], ...] = ()  # the workers and models of an alias, which is named as `model`

    @cached_property
    def min_tokens(self) -> int:
        """Tokens that the messages take at least, so that a worker is skipped only if they certainly do not fit."""
        return min_tokens(self.request.messages) if self.request is not None else 0


@attrs.frozen
class Candidate:
    """A worker and the model it would be asked for, as it is configured now."""

    state: WorkerState
    model: str
    endpoint: Endpoint = attrs.field(
        default=attrs.Factory(lambda self: self.state.endpoint, takes_self=True), repr=False
    )
    window: int | None = attrs.field(  # tokens of `model`; None if unknown
        default=attrs.Factory(lambda self: self.endpoint.context_window(self.model), takes_self=True),
        init=False,
        eq=False,
    )

    own_dialect: Dialect | None = attrs.field(default=None, eq=False, repr=False)
    """The dialect that one call has adapted to the server; None: that of the endpoint."""

    @property
    def dialect(self) -> Dialect:
        """The dialect in which it is asked."""
        return self.own_dialect or self.endpoint.dialect_for(self.model)

    @property
    def is_current(self) -> bool:
        """No reload has replaced the endpoint."""
        return self.endpoint is self.state.endpoint

    @property
    def is_local(self) -> bool:
        """The worker needs no API key, or its server is on this machine."""
        return is_local(self.state)


def is_local(state: WorkerState) -> bool:
    """Return whether a worker needs no API key, or its server is on this machine."""
    if not state.config.api_keys:
        return True
    host = urlsplit(state.config.base_url or state.kind.base_url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


# ------------------------------------------------------------------ what the configuration decides


def model_for(state: WorkerState, criteria: Criteria) -> str:
    """Return the model that the worker would be asked for; "" if it has none."""
    if criteria.routes:
        return dict(criteria.routes).get(state.name, "")
    if criteria.model:
        return criteria.model
    models = state.endpoint.embed_models if criteria.embed else state.models
    return models[0] if models else ""


def configuration_refusal(state: WorkerState, criteria: Criteria) -> Refusal | None:
    """Return why the configuration of the worker does not meet the criteria, or None."""
    if refusal := name_refusal(state, criteria):
        return refusal
    if criteria.embed and not (criteria.model or state.endpoint.embed_models):
        return Refusal("has no default model for embeddings")
    capabilities = state.config.capabilities
    if capabilities is None or criteria.request is None:
        return None
    missing = required_capabilities(criteria.request) - set(capabilities)
    return Refusal(f"cannot do {', '.join(sorted(missing))}") if missing else None


def name_refusal(state: WorkerState, criteria: Criteria) -> Refusal | None:
    """Return why the worker does not have the names of the criteria, or None.

    Names are compared whole: "gpt" does not match "gpt-4".
    """
    if criteria.worker is not None and state.name != criteria.worker:
        return Refusal(f"is not the worker {criteria.worker!r}")
    if criteria.provider is not None and state.kind.name != criteria.provider:
        return Refusal(f"is not of the provider {criteria.provider!r}")
    if criteria.routes:
        is_in_alias = any(state.name == worker for worker, _ in criteria.routes)
        return None if is_in_alias else Refusal(f"is not in the alias {criteria.model!r}")
    if criteria.model is None or criteria.worker is not None or criteria.provider is not None:
        return None
    models = models_by_name(state, criteria)
    if criteria.model not in models:
        return Refusal(f"has no model {criteria.model!r} (it has {listed(models)})")
    return None


def models_by_name(state: WorkerState, criteria: Criteria) -> list[str]:
    """Return the models by whose name alone the worker can be selected."""
    return [*dict.fromkeys((*state.models, *(state.endpoint.embed_models if criteria.embed else ())))]


def required_capabilities(request: ChatRequest) -> set[str]:
    """Return what a model must be able to do for `request`: values of `WorkerConfig.capabilities`."""
    parts = [part for message in request.messages for part in _parts(message)]
    media = {_medium(part) for part in parts}
    needs = {
        "tools": bool(request.tools),
        "images": "images" in media,
        "files": "files" in media,
        "audio": "audio" in media,
        "documents": bool(request.documents) or any(isinstance(part, Document) for part in parts),
        "reasoning": request.reasoning is not None,
        "json": request.response_schema is not None,
    }
    return {capability for capability, is_needed in needs.items() if is_needed}


def _parts(message: Message) -> Iterator[Part]:
    """The parts of a message, those inside tool results too."""
    for part in () if isinstance(message.content, str) else message.content:
        yield part
        if isinstance(part, ToolResult) and not isinstance(part.content, str):
            yield from part.content


def _medium(part: Part) -> str | None:
    """Return the capability that a part needs because of what it shows: a file of an image is an image."""
    match part:
        case Image():
            return "images"
        case File(media_type=str(kind)) if kind.startswith("image/"):
            return "images"
        case File(media_type=str(kind)) if kind.startswith("audio/"):
            return "audio"
        case File():
            return "files"
        case _:
            return None


# ------------------------------------------------------------------ what the request and the moment decide


def window_refusal(candidate: Candidate, criteria: Criteria) -> Refusal | None:
    """Return why the messages do not fit the context window of the model, or None."""
    window = candidate.window
    if window is None or criteria.min_tokens <= window:
        return None
    tokens = criteria.min_tokens
    return Refusal(f"has a context window of {window:,} tokens; the messages take {tokens:,} or more")


def current_refusal(candidate: Candidate, cooldowns: Cooldowns, now: float) -> Refusal | None:
    """Return why the worker may not be asked at `now`, not even for a trial, or None."""
    if refusal := candidate.state.refusal(candidate.model, now):
        return refusal
    keys = _cooldown_of_keys(candidate, cooldowns, now)
    return None if keys is None or keys.may_be_tried(now) else cooling_down(keys, "its API keys are ")


def is_last_resort(candidate: Candidate, cooldowns: Cooldowns, now: float) -> bool:
    """Return whether the worker may be asked but is cooling down: on a guess, or until a trial succeeds."""
    if candidate.state.cooldown(candidate.model, now) is not None:
        return True
    return _cooldown_of_keys(candidate, cooldowns, now) is not None


def _cooldown_of_keys(candidate: Candidate, cooldowns: Cooldowns, now: float) -> Cooldown | None:
    """Return the cooldown that covers all API keys of the worker, or None if one of them may be used."""
    return cooldowns.of_keys(candidate.state.name, candidate.model, candidate.endpoint.keys, now)
