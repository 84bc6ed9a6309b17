"""One tool call of a chat completion while it grows, and what one entry of a delta adds to it.

Knows no other call: `calls` finds to which of them an entry belongs.
"""

from __future__ import annotations

from typing import Any

import attrs

from ...messages import ToolKind
from ..payload import arguments_text, as_object, as_text, is_json
from .message_fields import signature_of

Json = dict[str, Any]

MOST_TRIES = 32
"""Times the arguments of one call are parsed to see whether they are whole: each of them reads all of it."""


@attrs.frozen
class Piece:
    """What one entry of a delta holds of a call; an empty field was not there."""

    index: int | None
    id: str
    name: str
    arguments: str
    kind: ToolKind
    signature: str | None = None


def piece_of(call: Json) -> Piece:
    """Read one entry of `tool_calls`. Raises Malformed.

    A free-form tool has `custom` with its `input` in place of `function`; Workers AI puts name and arguments into
    the entry itself.
    """
    function = call.get("function") or call.get("custom")
    function = call if function is None else as_object(function, "function")
    arguments = function.get("arguments", function.get("input"))
    if not isinstance(arguments, str):  # an object comes from servers that wrap another wire
        arguments = "" if arguments is None else arguments_text(arguments)
    index, call_id = call.get("index"), as_text(call.get("id"), "a call's id")
    return Piece(
        index if type(index) is int else None,
        "" if call_id == "null" else call_id,  # Mistral's older servers
        as_text(function.get("name"), "a call's name"),
        arguments,
        "custom" if function is call.get("custom") else "function",
        signature_of(call),
    )


@attrs.define(eq=False)
class Call:
    """One call while it grows."""

    index: int | None  # of the wire
    kind: ToolKind
    id: str = ""  # of the wire; empty: none came yet
    name: str = ""
    signature: str | None = None
    pieces: list[str] = attrs.field(factory=list)  # of the arguments
    size: int = 0  # characters of the pieces
    place: int | None = None  # our number; None: it was not emitted yet
    _whole_at: int = -1  # the size at which the arguments were seen to be whole
    _tries: int = 0

    @property
    def arguments(self) -> str:
        return "".join(self.pieces)

    def is_whole(self) -> bool:
        """Whether the arguments are a JSON object: what follows belongs to another call, or repeats this one."""
        if self.size == self._whole_at:
            return True
        if not self.pieces or not self.pieces[-1].rstrip().endswith("}") or self._tries >= MOST_TRIES:
            return False
        self._tries += 1
        if is_json(self.arguments):
            self._whole_at = self.size
        return self.size == self._whole_at

    def is_repeated_by(self, arguments: str) -> bool:
        """Whether `arguments` repeat everything that came. After a complete object, they cannot continue it."""
        return len(arguments) == self.size and arguments == self.arguments and self.is_whole()
