"""The providers: one file of data for each. `PROVIDERS` finds one by its name.

A new file in this folder is found by itself: no list names it. Every `Provider` in it, in capital letters, counts.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from .provider import Auth, Provider


def _found() -> Iterator[Provider]:
    """Every provider in the modules of this package."""
    for module in pkgutil.iter_modules(__path__):
        values = vars(importlib.import_module(f"{__name__}.{module.name}"))
        # A file may import another's provider, to begin from it: only its own counts.
        yield from (
            value
            for name, value in values.items()
            if isinstance(value, Provider) and value.name == module.name and name.isupper()
        )


PROVIDERS: Mapping[str, Provider] = MappingProxyType(
    {provider.name: provider for provider in sorted(_found(), key=lambda one: (one.priority, one.name))}
)
"""By name, those that are asked first in front."""

__all__ = ["PROVIDERS", "Auth", "Provider"]
