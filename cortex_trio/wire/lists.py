"""Reads the two responses that are lists: embeddings and models. Knows no dialect, only where a list may be.

They are not streamed, so an error is a ValueError and not an event.
Embeddings may be 128 MiB of numbers, so those are checked by what runs in C.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..events import Usage
from .payload import Malformed, as_count, as_list, as_object, load_json, load_object

NUMBERS = frozenset({int, float})
"""Types of JSON's numbers; bool is another type."""


def listed(body: bytes, *path: str) -> Sequence[Any]:
    """The list at `path` in a JSON body."""
    return listed_with_body(body, *path)[0]


def listed_with_body(body: bytes, *path: str) -> tuple[Sequence[Any], Mapping[str, Any]]:
    """The list at `path` in a JSON body, and the whole body, which is decoded only once."""
    try:
        value: Any = load_object(body)
        whole: Mapping[str, Any] = value
        for name in path:
            if name not in as_object(value, "what holds it"):
                raise Malformed(f"there is no {name!r}")
            value = value[name]
        return as_list(value, path[-1]), whole
    except Malformed as error:
        raise ValueError(f"no list at {'.'.join(path)}: {error}") from None


def member(item: object, name: str) -> Any:
    """What `item`, an object of such a list, has under `name`."""
    if not isinstance(item, dict) or name not in item:
        raise ValueError(f"an item without {name!r}")
    return item[name]


def vectors(embeddings: Sequence[object]) -> Sequence[Sequence[float]]:
    """The embeddings, once each of them is known to be numbers. NaN, which is read as null, is none."""
    for vector in embeddings:
        if not isinstance(vector, list) or not vector or not NUMBERS.issuperset(map(type, vector)):
            raise ValueError("an embedding is a list of numbers, and not an empty one")
    return embeddings  # type: ignore[return-value]  # just checked


def input_usage(holder: object, *names: str) -> Usage | None:
    """The tokens of a request for embeddings: the first of `names` in `holder` that is a count. None: there is none."""
    for name in names:
        tokens = as_count(holder.get(name)) if isinstance(holder, dict) else None
        if tokens is not None:
            return Usage(input_tokens=tokens, total_tokens=tokens)
    return None


def model_names(models: Sequence[object], *names: str) -> Sequence[str]:
    """What each model is called: the first of `names` that it has. A bare string is a name."""
    return tuple(_called(model, names) for model in models)


NAMES = ("id", "name", "model", "key")

PLACES: Mapping[str, Sequence[str]] = {
    "data": NAMES,  # OpenAI, and nearly all who follow it
    "models": NAMES,  # LM Studio, servers that follow Ollama; llama.cpp has it beside `data`
    "result": ("name", *NAMES),  # Cloudflare, whose ids are numbers of its own
}
"""Where servers of chat completions have their list, and how they call a model in it."""


def models_anywhere(body: bytes) -> Sequence[str]:
    """The models of a list in any of these places, or of a bare array (Together, GitHub Models)."""
    try:
        value = load_json(body)
        if isinstance(value, list):
            return model_names(value, *NAMES)
        holder = as_object(value, "a list or what holds it")
        places = [place for place in PLACES if place in holder]
        if not places:
            raise Malformed("there is no 'data'")
        place = next((place for place in places if holder[place]), places[0])
        return model_names(as_list(holder[place], place), *PLACES[place])
    except Malformed as error:
        raise ValueError(f"no list at data: {error}") from None


def _called(model: object, names: Sequence[str]) -> str:
    found = next((name for name in names if isinstance(model, dict) and model.get(name)), names[0])
    called = model if isinstance(model, str) else member(model, found)
    if not isinstance(called, str) or not called:
        raise ValueError("a model's id or name is empty or not a string")
    return called
