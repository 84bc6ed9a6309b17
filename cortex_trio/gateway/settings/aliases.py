"""Aliases: names that stand for a list of models, each of one worker, in the order in which they are asked. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ...failures import ConfigError
from ...failures.shown import listed, looks_like_key, named, shown

Route = tuple[str, str]
"""The name of a worker, and the model that it is asked for."""


def aliases_from(value: Any) -> Any:
    """Return the entries of each alias as a tuple. `check_aliases` rejects what is no mapping of lists."""
    if not isinstance(value, Mapping):
        return value
    return {name: tuple_of_entries(entries) for name, entries in value.items()}


def tuple_of_entries(entries: Any) -> Any:
    """Return one entry, or a list of them, as a tuple."""
    if isinstance(entries, str):
        return (entries,)
    return tuple(entries) if isinstance(entries, Sequence) else entries


def routes_of(entries: Sequence[str], workers: Collection[str]) -> tuple[Route, ...]:
    """Return the workers and models of an alias, in order, but for entries of workers that do not exist."""
    return tuple(route for entry in entries if (route := _route_of(entry, workers)) is not None)


def check_aliases(aliases: Any, workers: Collection[str], path: str) -> None:
    """Check all aliases of a configuration.

    Args:
        aliases: the entries by the name of the alias.
        workers: the names of all workers.
        path: of the aliases, written in front of an error's field.

    Raises:
        ConfigError: for the first mistake.
    """
    if not isinstance(aliases, Mapping):
        raise ConfigError(path, f"an object of names and lists is needed, not {type(aliases).__name__}")
    for name, entries in aliases.items():
        if not isinstance(name, str) or not name.strip() or looks_like_key(name):
            raise ConfigError(path, f"an alias is a non-empty str, not {shown(name)}")
        if not isinstance(entries, tuple) or not entries:
            raise ConfigError(
                f"{path}.{named(name)}", f'a list like ["worker/model"] is needed, not {shown(entries)}'
            )
        _check_entries(entries, workers, f"{path}.{named(name)}")


def _check_entries(entries: Sequence[Any], workers: Collection[str], path: str) -> None:
    seen: set[str] = set()
    for slot, entry in enumerate(entries):
        place = f"{path}[{slot}]"
        route = _route_of(entry, workers) if isinstance(entry, str) else None
        if route is None:
            known = listed(workers)
            raise ConfigError(place, f'"worker/model" is needed, not {shown(entry)}; the workers are {known}')
        if route[0] in seen:
            raise ConfigError(
                place, f"the worker {named(route[0])} is in this alias already, which it may be once"
            )
        seen.add(route[0])


def _route_of(entry: str, workers: Collection[str]) -> Route | None:
    """Split an entry behind the longest name of a worker with which it begins: both halves may have a slash."""
    end = len(entry)
    while (end := entry.rfind("/", 0, end)) > 0:
        worker, model = entry[:end], entry[end + 1 :]
        if worker in workers and model.strip():
            return worker, model
    return None
