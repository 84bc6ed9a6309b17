"""Options of sampling that several APIs have under different names: where each has them, and their translation. Pure.

`top_k` and `seed` are hints: an API without them, or with a smaller range, goes without. Some clients send a `top_k`
with every request, and no API promises the same answer for the same seed. A penalty is the caller's own choice and
changes the answer, so an API without it cannot answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from ...wire.codec import Unsupported

_INT32 = 2**31 - 1
_INT64 = 2**63 - 1


@attrs.frozen
class Place:
    """Where an API has one option, and the values that it takes: never an infinity, which some clients can send."""

    path: tuple[str, ...]
    low: float = -_INT64
    high: float = _INT64

    @property
    def name(self) -> str:
        return ".".join(self.path)


SAMPLING: Mapping[str, Mapping[str, Place]] = {
    "chat_completions": {
        "seed": Place(("seed",), -_INT64, _INT64),
        "frequency_penalty": Place(("frequency_penalty",), -2, 2),
        "presence_penalty": Place(("presence_penalty",), -2, 2),
    },
    "anthropic_messages": {"top_k": Place(("top_k",), 1)},
    "gemini": {
        "top_k": Place(("generationConfig", "topK"), 1),
        "seed": Place(("generationConfig", "seed"), -_INT32, _INT32),
        "frequency_penalty": Place(("generationConfig", "frequencyPenalty"), -2, 2),
        "presence_penalty": Place(("generationConfig", "presencePenalty"), -2, 2),
    },
    "cohere_chat": {
        "top_k": Place(("k",), 1, 500),
        "seed": Place(("seed",), 0, _INT64),
        "frequency_penalty": Place(("frequency_penalty",), 0, 1),
        "presence_penalty": Place(("presence_penalty",), 0, 1),
    },
    "ollama_chat": {
        "top_k": Place(("options", "top_k"), 1, _INT32),
        "seed": Place(("options", "seed"), -_INT32, _INT32),
        "frequency_penalty": Place(("options", "frequency_penalty"), -2, 2),
        "presence_penalty": Place(("options", "presence_penalty"), -2, 2),
    },
}
"""By dialect and option. Sources: the reference of each API; ollama's docs/modelfile.md and api/types.go. The Responses
API has none of them."""

_HINTS = frozenset({"top_k", "seed"})


@attrs.frozen
class Wish:
    """One option that is set."""

    name: str
    """As the client names it."""
    value: float


def sampled(
    fields: Mapping[str, Any], places: Mapping[str, Place]
) -> tuple[Mapping[str, Wish], Mapping[str, Any]]:
    """Return the options of sampling that are set, and the other fields. What is no number stays among these."""
    wishes: dict[str, Wish] = {}
    for option, place in places.items():
        value: Any = fields
        for name in place.path:
            value = value.get(name) if isinstance(value, Mapping) else None
        if isinstance(value, int | float) and not isinstance(value, bool):
            wishes[option] = Wish(place.name, value)
            fields = _without(fields, place.path)
    return wishes, fields


def with_sampling(
    fields: Mapping[str, Any], wishes: Mapping[str, Wish], provider: str, dialect: str
) -> Mapping[str, Any]:
    """Return `fields` with the options as the dialect has them.

    Raises:
        Unsupported: A penalty is set, and the API has none, or takes no such value.
    """
    for option, wish in wishes.items():
        place = SAMPLING.get(dialect, {}).get(option)
        is_hint = option in _HINTS
        if wish.value == 0 and not is_hint:
            continue  # it asks for nothing, and some models refuse the name alone
        if place is not None and place.low <= wish.value <= place.high:
            fields = with_value(fields, place.path, int(wish.value) if is_hint else wish.value)
        elif not is_hint:
            allowed = "" if place is None else f" of {wish.value:g} (only {place.low:g} to {place.high:g})"
            raise Unsupported(f"the option {wish.name!r}{allowed}", provider)
    return fields


def with_value(fields: Mapping[str, Any], path: Sequence[str], value: object) -> dict[str, Any]:
    """Return `fields` with a value at a path of names; objects that are missing are made."""
    name, *inner = path
    return {**fields, name: with_value(fields.get(name, {}), inner, value) if inner else value}


def _without(fields: Mapping[str, Any], path: Sequence[str]) -> dict[str, Any]:
    name, *inner = path
    rest = {other: value for other, value in fields.items() if other != name}
    return {**rest, name: _without(fields[name], inner)} if inner else rest
