"""Puts together a function call whose arguments Gemini streams in pieces.

    {"functionCall": {"name": "f", "willContinue": true}}
    {"functionCall": {"partialArgs": [{"jsonPath": "$.city", "stringValue": "Par", "willContinue": true}], …}}
    {"functionCall": {"partialArgs": [{"jsonPath": "$.city", "stringValue": "is"}], "willContinue": true}}
    {"functionCall": {}}

The pieces are addressed values, not fragments of JSON text, so the text exists only when the call is
whole. Sent when toolConfig.functionCallingConfig.streamFunctionCallArguments is on (through extra_body).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Any

import attrs

from ..codec import EVENT_LIMIT
from ..framing import TooLarge
from ..payload import Malformed, arguments_text, as_object, as_text

VALUES = ("stringValue", "numberValue", "boolValue", "nullValue")

_STEP = re.compile(
    r"""\.(?P<key>[^.\[\]]+) | \[(?P<index>\d{1,9})\] | \[(?P<q>['"])(?P<quoted>.*?)(?P=q)\]""", re.X
)

_Path = Sequence[str | int]


@attrs.define
class PartialCall:
    """A call that has begun. `pieces` holds the values by their path, in order of first appearance."""

    id: str
    name: str
    signature: str | None
    pieces: dict[str, list[object]] = attrs.Factory(dict)
    size: int = 0

    def add(self, arguments: Sequence[Any]) -> None:
        """Take the partialArgs of one part. Raises Malformed, or TooLarge past the limit of one event."""
        for argument in arguments:
            piece = as_object(argument or {}, "a partialArg")
            path = as_text(piece.get("jsonPath"), "a jsonPath")
            kind = next((kind for kind in VALUES if kind in piece), None)
            if kind is None:
                continue  # announces a value that is still to come
            value = None if kind == "nullValue" else piece[kind]
            self.size += len(path) + len(value if isinstance(value, str) else "")
            if self.size > EVENT_LIMIT:
                raise TooLarge(EVENT_LIMIT)
            self.pieces.setdefault(path, []).append(value)

    def arguments(self) -> str:
        """The whole arguments as JSON text. Raises Malformed if the paths do not add up to an object."""
        root: dict[str, Any] = {}
        for path, values in self.pieces.items():
            strings = [value for value in values if isinstance(value, str)]
            _put(root, tuple(_steps(path)), "".join(strings) if strings else values[-1])
        return arguments_text(root)


def _steps(path: str) -> Iterator[str | int]:
    """`$.city`, `$.stops[0].name`, `$['a key']` as keys and indexes."""
    position = 1
    while position < len(path):
        step = _STEP.match(path, position)
        if step is None:
            break
        yield int(step["index"]) if step["index"] else step["key"] or step["quoted"] or ""
        position = step.end()
    if not path.startswith("$") or position != len(path) or len(path) == 1:
        raise Malformed(f"a jsonPath that leads nowhere: {path!r:.40}")


def _put(root: dict[str, Any], path: _Path, value: object) -> None:
    place: Any = root
    for step, following in itertools.pairwise(path):
        place = _enter(place, step, [] if isinstance(following, int) else {})
    _enter(place, path[-1], value)


def _enter(place: Any, step: str | int, new: object) -> Any:
    """What is at `step`, put there if nothing is. Lists only grow by one: an index is no reason to fill memory."""
    match place, step:
        case dict(), str():
            return place.setdefault(step, new)
        case list(), int() if step < len(place):
            return place[step]
        case list(), int() if step == len(place):
            place.append(new)
            return new
        case _:
            raise Malformed(f"jsonPaths that contradict each other at {step!r:.40}")
