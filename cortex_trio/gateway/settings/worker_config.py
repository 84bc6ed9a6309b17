"""What is said of one worker: a provider, its keys, its models, and the way to it."""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs

from ...failures import ConfigError
from ...providers import PROVIDERS, Provider
from . import fields
from .secrets import ApiKey, Hidden, api_keys_from, made_without_keys


@made_without_keys
@attrs.frozen(kw_only=True)
class WorkerConfig:
    """One worker: a provider, its keys, its models. None stands for the provider's own number.

    `provider` is the name of a built-in provider, or a `Provider` value of your own. `timeout` is in seconds,
    from sending the request to the first token. Raises ConfigError naming the field.
    """

    provider: str | Provider = attrs.field(validator=fields.known_provider)
    api_keys: tuple[ApiKey, ...] = attrs.field(default=(), converter=api_keys_from)
    models: Sequence[str] = attrs.field(
        default=(), converter=fields.tuple_of_models, validator=fields.model_names
    )
    priority: int | None = attrs.field(default=None, validator=fields.number(0, 1_000_000, whole=True))
    timeout: float | None = attrs.field(default=None, validator=fields.number(0.001, fields.LONGEST))
    base_url: str | None = attrs.field(default=None, validator=fields.base_url)
    headers: Mapping[str, str] = attrs.field(
        factory=lambda: Hidden({}), converter=fields.hidden, validator=fields.headers
    )
    """Sent with every request. Values do not show in repr, attrs.asdict and pickle."""
    secret_headers: Mapping[str, ApiKey] = attrs.field(
        factory=dict, converter=fields.secret_headers_from, validator=fields.secret_headers
    )
    """Headers whose values are secrets: sent with every request, treated like API keys everywhere else."""
    query: Mapping[str, str] = attrs.field(
        factory=lambda: Hidden({}), converter=fields.hidden, validator=fields.query
    )
    """Parameters added to the URL of every request, such as Azure's `api-version`. Values do not show, as above."""
    context_window: int | None = attrs.field(default=None, validator=fields.number(1, 10**9, whole=True))
    capabilities: Sequence[str] | None = attrs.field(
        default=None, converter=fields.tuple_of_capabilities, validator=fields.known_capabilities
    )
    """What its models can do, of CAPABILITIES; requests that need more go elsewhere. None: not known, so all."""
    max_concurrency: int | None = attrs.field(default=None, validator=fields.number(1, 10**6, whole=True))
    proxy: str | None = attrs.field(default=None, converter=fields.proxy_from, validator=fields.proxy)
    """The proxy of this worker, `http://user:password@host:port`, https or socks5; as a str it shows `***@`.
    None: what HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY say. "": none, whatever they say."""
    verify: bool | str | Path | ssl.SSLContext = attrs.field(default=True, validator=fields.verify)
    """Which certificates are trusted: the path of a CA file or folder, or a context (with a certificate of your own:
    mTLS). True: SSL_CERT_FILE and SSL_CERT_DIR, else httpx's CAs. False: any."""
    http2: bool = attrs.field(default=False, validator=fields.http2)
    """Speak HTTP/2 where the server does; needs the package h2."""

    def __attrs_post_init__(self) -> None:
        kind = self.kind
        if kind.needs_key and not self.api_keys:
            raise ConfigError("api_keys", f"{kind.name} needs at least one key")
        if not (self.base_url or kind.base_url):
            raise ConfigError("base_url", f"{kind.name} has no address of its own: say where its server is")
        if not (self.models or kind.default_models):
            raise ConfigError("models", f"{kind.name} has no default model: name at least one")

    @property
    def kind(self) -> Provider:
        """The provider itself."""
        return self.provider if isinstance(self.provider, Provider) else PROVIDERS[self.provider]

    @property
    def address(self) -> str:
        """Everything before the provider's own path, without a slash at its end."""
        return (self.base_url or self.kind.base_url).rstrip("/")
