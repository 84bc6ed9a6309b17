"""Where a worker's requests go: a snapshot that a reload replaces whole.

An attempt reads it once. Its model, its key, its dialect and its connections are of the same configuration, whatever
a reload does meanwhile: no key goes to an address it is not for.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from ...providers import Provider
from ..settings.config import WorkerConfig
from ..settings.secrets import ApiKey
from ..transport.connections import Connections


@attrs.frozen(eq=False)
class Endpoint:
    """One worker's configuration and the connections made for it. Compared by identity."""

    config: WorkerConfig
    connections: Connections = attrs.field(repr=False)

    @property
    def provider(self) -> Provider:
        return self.config.kind

    @property
    def keys(self) -> Sequence[ApiKey]:
        """Empty where none is needed."""
        return self.config.api_keys

    @property
    def models(self) -> Sequence[str]:
        return self.config.models or self.provider.default_models

    @property
    def priority(self) -> int:
        return self.provider.priority if self.config.priority is None else self.config.priority

    @property
    def timeout(self) -> float:
        """Seconds to the first token."""
        return self.provider.timeout if self.config.timeout is None else self.config.timeout

    def is_same_server(self, other: Endpoint) -> bool:
        """Whether what `other` has answered was said by the server that is asked here."""
        return self.config.base_url == other.config.base_url and self.provider == other.provider

    def context_window(self, model: str) -> int | None:
        """Tokens of `model`; None if unknown. The longest matching prefix of the provider's table counts."""
        if self.config.context_window is not None:
            return self.config.context_window
        known = self.provider.context_windows
        prefix = max((p for p in known if model.startswith(p)), key=len, default=None)
        return known[prefix] if prefix is not None else None
