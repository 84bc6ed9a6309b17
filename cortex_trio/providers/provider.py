"""What the gateway knows of a provider: its address, the header for the API key, its dialect and some numbers.

A provider is data. One with a known dialect is one new file here and no other edit. A user's own provider is the same
value, passed to `WorkerConfig(provider=…)`.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from ..wire.codec import Dialect, HttpRequest


@attrs.frozen
class Auth:
    """The header with the API key. It is never in a URL: URLs are logged."""

    header: str = "authorization"
    """In lower case."""
    prefix: str = "Bearer "
    """Before the key, in the value of the header."""


@attrs.frozen(kw_only=True)
class Provider:
    """All that sets one provider apart."""

    name: str
    """Unique, and the name of its file; also the default name of its worker."""
    base_url: str
    """The address before the paths of the dialect. Empty: the configuration of the worker must have it."""
    dialect: Dialect
    """Encodes requests and decodes answers."""
    priority: int
    """The provider with the lowest is asked first, where the strategy does not decide."""
    health: HttpRequest
    """The health check. It is free of charge, never a completion."""
    models: HttpRequest
    """The request for the list of models."""
    timeout: float = 30.0
    """Seconds until the first token."""
    auth: Auth = Auth()
    """How the API key is sent."""
    needs_key: bool = True
    """Whether a worker without API keys is a configuration error."""
    env: tuple[str, ...] = ()
    """Prefixes of its environment variables: <PREFIX>_API_KEY, _MODEL, _BASE_URL. Empty: it has none."""
    default_models: tuple[str, ...] = ()
    """The models of a worker whose configuration names none."""
    embed_batch: int = 2048
    """Texts in one request for embeddings; `embed` splits longer lists."""
    embed_model: str = ""
    """The default of `embed`. Empty: it has none, and is asked only if the caller names a model."""
    headers: Mapping[str, str] = attrs.field(factory=dict)
    """Sent with every request."""
    context_windows: Mapping[str, int] = attrs.field(factory=dict)
    """Tokens, by prefix of the model's name."""
    prefill: tuple[str, ...] = ()
    """Models, by prefix, that continue a last assistant message where it stops."""
    health_lists_models: bool = False
    """Whether a healthy response lists the models that can be served, and the model must be among them."""
