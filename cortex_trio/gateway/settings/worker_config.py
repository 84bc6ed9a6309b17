"""The configuration of one worker: a provider, its API keys, its models, and how it is reached."""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from ...failures import ConfigError
from ...providers import PROVIDERS, Provider
from ...wire.codec import Dialect
from . import fields
from .secrets import ApiKey, Hidden, api_keys_from, made_without_keys


@made_without_keys
@attrs.frozen(kw_only=True)
class WorkerConfig:
    """The configuration of one worker. All times are in seconds.

    Raises:
        ConfigError: a value is not allowed, or a field that this provider needs is missing; the error names the field.
    """

    provider: str | Provider = attrs.field(validator=fields.known_provider)
    """The name of a built-in provider, or a `Provider` of your own."""
    api_keys: tuple[ApiKey, ...] = attrs.field(default=(), converter=api_keys_from)
    """API keys, as str or ApiKey; duplicates are dropped. Empty only for a provider that needs none."""
    models: Sequence[str] = attrs.field(
        default=(), converter=fields.tuple_of_models, validator=fields.model_names
    )
    """The models it serves; the first is the default. Empty: the provider's default models."""
    embed_models: Sequence[str] = attrs.field(
        default=(), converter=fields.tuple_of_models, validator=fields.model_names
    )
    """The models for embeddings; the first is the default of `embed`. Empty: the provider's default model."""
    embed_batch: int | None = attrs.field(default=None, validator=fields.number(1, 100_000, whole=True))
    """Texts in one request for embeddings; `embed` splits longer lists. None: the provider's own number."""
    priority: int | None = attrs.field(default=None, validator=fields.number(0, 1_000_000, whole=True))
    """The worker with the lowest number is asked first. None: the provider's own number."""
    timeout: float | None = attrs.field(default=None, validator=fields.number(0.001, fields.MAX_SECONDS))
    """Seconds from sending a request to the first token. None: the provider's own number."""
    base_url: str | None = attrs.field(default=None, validator=fields.base_url)
    """The part of the address in front of the provider's own path. None: the provider's own address."""
    headers: Mapping[str, str] = attrs.field(
        factory=lambda: Hidden({}), converter=fields.hidden, validator=fields.headers
    )
    """Headers of every request. repr, attrs.asdict and pickle show only their names."""
    secret_headers: Mapping[str, ApiKey] = attrs.field(
        factory=dict, converter=fields.secret_headers_from, validator=fields.secret_headers
    )
    """Headers of every request whose values are secrets. They are treated like API keys."""
    query: Mapping[str, str] = attrs.field(
        factory=lambda: Hidden({}), converter=fields.hidden, validator=fields.query
    )
    """Parameters added to the URL of every request, such as Azure's `api-version`. Only their names are shown."""
    context_window: int | None = attrs.field(default=None, validator=fields.number(1, 10**9, whole=True))
    """Tokens of its models. None: as the provider's table says, if it knows the model."""
    capabilities: Sequence[str] | None = attrs.field(
        default=None, converter=fields.tuple_of_capabilities, validator=fields.known_capabilities
    )
    """What its models can do, a selection of CAPABILITIES. Requests that need more go to other workers. None: all."""
    reasoning_field: str | None = attrs.field(default=None, validator=fields.reasoning_field)
    """The field of an assistant message in which reasoning goes back, for servers with chat completions that need it:
    "reasoning_content" for DeepSeek and Kimi. None: as the provider's dialect says."""
    max_concurrency: int | None = attrs.field(default=None, validator=fields.number(1, 10**6, whole=True))
    """Requests in flight at the same time. None: any number."""
    proxy: str | None = attrs.field(default=None, converter=fields.proxy_from, validator=fields.proxy)
    """The proxy, `http://user:password@host:port`, https or socks5; as a str it shows `***@`. "": no proxy. None: as
    HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY say."""
    verify: bool | str | Path | ssl.SSLContext = attrs.field(default=True, validator=fields.verify)
    """Which certificates are trusted: the path of a CA file or folder, or a context, which can also hold a client
    certificate (mTLS). True: the CAs of SSL_CERT_FILE and SSL_CERT_DIR, otherwise those of httpx. False: any."""
    http2: bool = attrs.field(default=False, validator=fields.http2)
    """Whether HTTP/2 is used if the server speaks it. Needs the package h2."""

    def __attrs_post_init__(self) -> None:
        kind = self.kind
        if kind.needs_key and not self.api_keys:
            raise ConfigError("api_keys", f"{kind.name} needs at least one key")
        if not (self.base_url or kind.base_url):
            raise ConfigError(
                "base_url", f"{kind.name} has no address of its own: set the address of its server"
            )
        if self.reasoning_field is not None and not _has_reasoning_field(kind.dialect):
            raise ConfigError(
                "reasoning_field",
                f"only for providers with the dialect chat_completions, not for {kind.name}",
            )
        if not (self.models or kind.default_models):
            raise ConfigError("models", f"{kind.name} has no default model: name at least one")

    @property
    def kind(self) -> Provider:
        """The provider as a value, whether `provider` is a name or a value, with the worker's `reasoning_field`."""
        kind = self.provider if isinstance(self.provider, Provider) else PROVIDERS[self.provider]
        if self.reasoning_field is None or not _has_reasoning_field(kind.dialect):
            return kind
        dialect: Any = kind.dialect
        return attrs.evolve(kind, dialect=attrs.evolve(dialect, reasoning_field=self.reasoning_field))

    @property
    def address(self) -> str:
        """The address in front of the provider's own path, without a slash at its end."""
        return (self.base_url or self.kind.base_url).rstrip("/")


def _has_reasoning_field(dialect: Dialect) -> bool:
    """Return whether the field can be set: in `ChatCompletions`, which is not imported only to ask that."""
    kind = type(dialect)
    return attrs.has(kind) and "reasoning_field" in attrs.fields_dict(kind)
