"""What there is to know about a provider: an address, a way to show the key, a dialect and some numbers.

A provider is data. One that speaks a known dialect is one value and no other edit; a user's own is
passed to `WorkerConfig(provider=…)` the same way.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from ..wire.codec import Dialect, HttpRequest


@attrs.frozen
class Auth:
    """The header that carries the key. Never a URL: URLs end up in logs."""

    header: str = "authorization"
    prefix: str = "Bearer "


@attrs.frozen(kw_only=True)
class Provider:
    """All that sets one provider apart. `timeout` is seconds to the first token, `priority` 0 is asked first."""

    name: str
    base_url: str
    dialect: Dialect
    priority: int
    health: HttpRequest  # free of charge, never a completion
    models: HttpRequest  # the list-models request
    timeout: float = 30.0
    auth: Auth = Auth()
    needs_key: bool = True
    env: tuple[str, ...] = ()  # prefixes of environment variables: <PREFIX>_API_KEY, _MODEL, _BASE_URL …
    default_models: tuple[str, ...] = ()
    embed_batch: int = 2048  # texts in one request; `embed` cuts longer lists
    embed_model: str = ""  # the default of `embed`; "": it has none, and is asked only by name
    headers: Mapping[str, str] = attrs.field(factory=dict)
    context_windows: Mapping[str, int] = attrs.field(factory=dict)  # tokens, by prefix of the model's id
    prefill: tuple[str, ...] = ()  # models, by prefix, that go on where a last assistant message stops
    health_lists_models: bool = (
        False  # a healthy answer lists what can be served, and the model must be in it
    )
