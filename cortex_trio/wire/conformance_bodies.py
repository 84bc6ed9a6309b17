"""Bodies made from a body: other slicings, unknown things added, wrong shapes. Material for `conformance`.

Knows the three framings there are (server-sent events, JSON lines, one JSON array), no dialect.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

MANY = 400
"""Cuts tried per body: all of them in a small one, an even sample of a larger one (every cut costs a decoding)."""

UNKNOWN = {"unheard_of": {"since": [1, None, "tomorrow"]}}

WRONG_SHAPES: tuple[Any, ...] = (None, True, -1, 1.5, "", "unheard_of", [], [None], {}, {"unheard_of": 1})

GARBAGE: tuple[bytes, ...] = (
    b"<!doctype html><html><body>502 Bad Gateway</body></html>\n",
    b"\x00\xff\xfe\x80 no text at all \x00\n\n",
    b"data: {\n\n",
    b"data: []\n\n",
    b"data: null\n\n",
    b"data: NaN\n\n",
    b'data: "\xff"\n\n',
    b"data: " + b"[" * 100_000 + b"\n\n",
    b"data: " + b'{"a":' * 100_000 + b"\n\n",
    b"data: " + b"9" * 10_000 + b"\n\n",
    b"[]]]",
    b"[1, 2]",
    b"[" * 100_000 + b"\n",
    b'{"a":' * 100_000 + b"\n",
    b"null\n",
    b"true",
    b"{}{}\n",
    b"}\n",
)

ENDLESS: tuple[bytes, ...] = (b"data: ", b'{"a":"', b'[{"a":"', b": ", b"")
"""Beginnings after which the same byte may follow for ever."""


def cuts(body: bytes) -> Iterator[int]:
    """Places to cut, 0 among them and the end not."""
    step = max(1, len(body) // MANY)
    return iter(range(0, len(body), step))


def slicings(body: bytes) -> Iterator[list[bytes]]:
    """Ways a network may hand over the same bytes."""
    yield [body[at : at + 1] for at in range(len(body))]
    for cut in cuts(body):
        yield [body[:cut], body[cut:]]
    chance = random.Random(0)  # the same slices in every run
    for longest in (2, 3, 7, 40, 400):
        yield [*_random_slices(body, longest, chance)]


def _random_slices(body: bytes, longest: int, chance: random.Random) -> Iterator[bytes]:
    at = 0
    while at < len(body):
        size = chance.randint(0, longest)  # empty slices happen, too
        yield body[at : at + size]
        at += size


def with_unknown_fields(body: bytes) -> bytes:
    """Every JSON object of the stream has one more field than we know of."""
    return _reframed(body, lambda value: {**value, **UNKNOWN} if isinstance(value, dict) else value)


def without_unknown(value: Any) -> Any:
    """What `with_unknown_fields` made of it, taken back."""
    match value:
        case dict():
            return {name: without_unknown(inner) for name, inner in value.items() if name not in UNKNOWN}
        case list():
            return [without_unknown(inner) for inner in value]
        case _:
            return value


def objects(value: Any) -> Iterator[dict[str, Any]]:
    """Every object inside `value` and itself, in the order in which they stand there."""
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from objects(inner)


def with_unknown_events(body: bytes) -> bytes:
    """Between any two items of the stream stands one we never heard of."""
    unknown = json.dumps(UNKNOWN).encode()
    if _is_sse(body):
        named = b'event: unheard_of\ndata: {"type":"unheard_of"}\n\n'
        extra = b": a comment\n\nunheard: of\n\n" + named
        return extra + b"".join(event + b"\n\n" + extra for event in _sse_events(body))
    array = _array(body)
    if array is not None:
        return json.dumps([item for known in array for item in (UNKNOWN, known)]).encode()
    return b"".join(unknown + b"\n\n" + line + b"\n" for line in body.splitlines() if line)


def with_wrong_shapes(body: bytes) -> Iterator[bytes]:
    """The body again and again, each time with one JSON value in it replaced by one of another kind."""
    places = 0

    def count(value: Any) -> Any:
        nonlocal places
        places += sum(1 for _ in _places(value))
        return value

    _reframed(body, count)
    for place in range(0, places, max(1, places // MANY)):
        for shape in WRONG_SHAPES:
            yield _with_one_wrong(body, place, shape)


def _with_one_wrong(body: bytes, place: int, shape: Any) -> bytes:
    before = 0

    def replace(value: Any) -> Any:
        nonlocal before
        here = list(_places(value))
        if 0 <= place - before < len(here):
            holder, key = here[place - before]
            if holder is None:
                value = shape
            else:
                holder[key] = shape
        before += len(here)
        return value

    return _reframed(body, replace)


def _places(value: Any, holder: Any = None, key: Any = None) -> Iterator[tuple[Any, Any]]:
    """Every value inside `value` and itself, as the container and the key that hold it."""
    yield holder, key
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for inner_key, inner in list(inside):
        yield from _places(inner, value, inner_key)


# ------------------------------------------------------------------ framings


def _reframed(body: bytes, change: Callable[[Any], Any]) -> bytes:
    """The same framing around changed JSON values; what is not JSON ([DONE]) stays."""
    array = None if _is_sse(body) else _array(body)
    if array is not None:
        return json.dumps([change(item) for item in array]).encode()
    return b"\n".join(_changed_line(line, change) for line in body.replace(b"\r\n", b"\n").split(b"\n"))


def _changed_line(line: bytes, change: Callable[[Any], Any]) -> bytes:
    prefix = b"data: " if line.startswith(b"data:") else b""
    text = line.removeprefix(b"data:") if prefix else line
    try:
        value = json.loads(text)
    except ValueError:
        return line
    return prefix + json.dumps(change(value)).encode()


def _is_sse(body: bytes) -> bool:
    return b"data:" in body[:1000]


def _sse_events(body: bytes) -> list[bytes]:
    return [event for event in body.replace(b"\r\n", b"\n").split(b"\n\n") if event.strip()]


def _array(body: bytes) -> list[Any] | None:
    try:
        value = json.loads(body)
    except ValueError:
        return None
    return value if isinstance(value, list) else None
