"""Where the requests of a worker go: a snapshot that a reload replaces as a whole, with what was learned of the server.

An attempt reads it once. Its model, API key, dialect and connections then belong to the same configuration, whatever a
reload does meanwhile, so no key is sent to an address that it is not for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs

from ...providers import Provider
from ...wire.codec import Dialect
from ..settings.config import WorkerConfig
from ..settings.secrets import ApiKey

if TYPE_CHECKING:
    from ..transport.connections import Connections


MOST_MODELS = 1024
"""Models for which an adapted dialect is kept. Callers may name any model, and memory is bounded."""


@attrs.frozen(eq=False)
class Endpoint:
    """The configuration of one worker and the connections made for it. Compared by identity."""

    config: WorkerConfig
    connections: Connections = attrs.field(repr=False)

    provider: Provider = attrs.field(
        init=False, repr=False, default=attrs.Factory(lambda self: self.config.kind, takes_self=True)
    )
    """The provider, with the dialect of most of its servers."""

    _adapted: dict[str, Dialect] = attrs.field(init=False, repr=False, factory=dict)
    """By model: the dialect in which it has answered, after it did not know a field of the provider's."""

    def dialect_for(self, model: str) -> Dialect:
        """Return the dialect in which this server is asked for a model."""
        return self._adapted.get(model, self.provider.dialect)

    def learn(self, model: str, dialect: Dialect) -> bool:
        """Ask for a model in this dialect from now on, in which it has answered. Returns whether that is new."""
        is_new = self.dialect_for(model) != dialect
        if is_new and len(self._adapted) < MOST_MODELS:
            self._adapted[model] = dialect
        return is_new

    @property
    def keys(self) -> Sequence[ApiKey]:
        """The API keys; empty for a provider that needs none."""
        return self.config.api_keys

    @property
    def models(self) -> Sequence[str]:
        """At least one; the first is the default."""
        return self.config.models or self.provider.default_models

    @property
    def embed_models(self) -> Sequence[str]:
        """The models for embeddings, the first is the default; empty if there is none."""
        default = self.provider.embed_model
        return self.config.embed_models or ((default,) if default else ())

    @property
    def embed_batch(self) -> int:
        """Texts in one request for embeddings."""
        return self.provider.embed_batch if self.config.embed_batch is None else self.config.embed_batch

    @property
    def priority(self) -> int:
        """The lowest number is asked first."""
        return self.provider.priority if self.config.priority is None else self.config.priority

    @property
    def timeout(self) -> float:
        """Seconds from sending a request to the first token."""
        return self.provider.timeout if self.config.timeout is None else self.config.timeout

    def is_same_server(self, other: Endpoint) -> bool:
        """Whether requests to `other` went to the server to which requests go here."""
        return self.config.base_url == other.config.base_url and self.provider == other.provider

    def context_window(self, model: str) -> int | None:
        """Return the context window of `model` in tokens, None if it is not known.

        Of the prefixes in the provider's table the longest one that matches counts.
        """
        if self.config.context_window is not None:
            return self.config.context_window
        known = self.provider.context_windows
        prefix = max((p for p in known if model.startswith(p)), key=len, default=None)
        return known[prefix] if prefix is not None else None
