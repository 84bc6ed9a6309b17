"""The providers: one file of data for each. `PROVIDERS` finds one by its name.

A new file in this folder is found by itself: no list names it. The `Provider` in it, in capital letters, has its name.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import final

from .provider import Auth, Provider


@final
class _Providers(Mapping[str, Provider]):
    """The providers by name, those that are asked first in front.

    The file of a provider is imported when it is first used: all dialects together take as long as Trio.
    """

    def __init__(self) -> None:
        self._loaded: dict[str, Provider] = {}

    def __getitem__(self, name: str) -> Provider:
        if name not in self._loaded:
            if name not in self._files:
                raise KeyError(name)
            self._loaded[name] = _provider_in(name)
        return self._loaded[name]

    def __contains__(self, name: object) -> bool:
        return name in self._files

    def __iter__(self) -> Iterator[str]:
        return iter(self._in_order)

    def __len__(self) -> int:
        return len(self._files)

    @cached_property
    def _files(self) -> frozenset[str]:
        """The names of the files, which are those of the providers. `provider` holds their type."""
        return frozenset(module.name for module in pkgutil.iter_modules(__path__)) - {"provider"}

    @cached_property
    def _in_order(self) -> tuple[str, ...]:
        providers = [self[name] for name in self._files]
        return tuple(one.name for one in sorted(providers, key=lambda one: (one.priority, one.name)))


def _provider_in(name: str) -> Provider:
    values = vars(importlib.import_module(f"{__name__}.{name}"))
    # A file may import another's provider, to begin from it: only its own counts.
    return next(
        value
        for variable, value in values.items()
        if isinstance(value, Provider) and value.name == name and variable.isupper()
    )


PROVIDERS: Mapping[str, Provider] = _Providers()
"""By name, those that are asked first in front."""

__all__ = ["PROVIDERS", "Auth", "Provider"]
