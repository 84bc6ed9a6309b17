"""Reads the two short answers that are lists: embeddings and models. Knows no dialect, only where a list may be.

They are asked for and waited for, not streamed, so what is wrong with them is a ValueError and not an event.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .payload import Malformed, as_list, as_object, load_object


def listed(body: bytes, *path: str) -> Sequence[Any]:
    """The list at `path` in a JSON body."""
    try:
        value: Any = load_object(body)
        for name in path:
            if name not in as_object(value, "what holds it"):
                raise Malformed(f"there is no {name!r}")
            value = value[name]
        return as_list(value, path[-1])
    except Malformed as error:
        raise ValueError(f"no list at {'.'.join(path)}: {error}") from None


def member(item: object, name: str) -> Any:
    """What `item`, an object of such a list, has under `name`."""
    if not isinstance(item, dict) or name not in item:
        raise ValueError(f"an item without {name!r}")
    return item[name]


def vectors(embeddings: Sequence[object]) -> Sequence[Sequence[float]]:
    """The embeddings, once each of them is known to be numbers."""
    for vector in embeddings:
        if not isinstance(vector, list) or not vector or not all(map(_is_number, vector)):
            raise ValueError("an embedding is a list of numbers, and not an empty one")
    return embeddings  # type: ignore[return-value]  # just checked


def model_names(models: Sequence[object]) -> Sequence[str]:
    """The `name` of every model."""
    names = tuple(member(model, "name") for model in models)
    if not all(isinstance(name, str) and name for name in names):
        raise ValueError("a model's name is empty or not a string")
    return names


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
