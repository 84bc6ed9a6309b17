"""The tool calls of a Cohere answer, numbered by the order in which they begin. Knows no other event."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from ...events import ToolCallDelta
from ..payload import Malformed, as_count, as_object, as_text, require_open

Json = Mapping[str, Any]


@attrs.define
class Calls:
    """Numbers the tool calls in order of appearance, and sees to it that each gets arguments.

    A tool without parameters gets no delta at all in a stream, and "null" in a whole reply; no object
    begins with null, so a first fragment of "null" is all there is.
    """

    _open: dict[int | None, int] = attrs.field(factory=dict, init=False)  # the wire's index → our number
    _ids: dict[int, str] = attrs.field(factory=dict, init=False)  # of the open calls, by our number
    _bare: set[int] = attrs.field(factory=set, init=False)  # open calls without arguments so far
    _count: int = attrs.field(default=0, init=False)

    @property
    def any(self) -> bool:
        return self._count > 0

    def start(self, index: object, call: Json) -> Iterator[ToolCallDelta]:
        place, call_id = as_count(index), as_text(call.get("id"), "id")
        if call_id and place in self._open and self._ids[self._open[place]] == call_id:
            return  # announced twice
        number = self._open[place] = self._count
        self._ids[number] = call_id
        self._count += 1
        require_open(len(self._open), "open tool calls")
        function = as_object(call.get("function") or {}, "function")
        name = as_text(function.get("name"), "a function's name")
        if not name:
            raise Malformed("a tool call without a name")
        arguments = _arguments(function)
        if not arguments:
            self._bare.add(number)
        yield ToolCallDelta(number, arguments, call_id or f"call_{number}", name)

    def add(self, index: object, call: Json) -> Iterator[ToolCallDelta]:
        number = self._open.get(as_count(index))
        if number is None:
            raise Malformed("a tool-call-delta for no open call")
        function = as_object(call.get("function") or {}, "function")
        fragment = as_text(function.get("arguments"), "arguments")
        if fragment and number in self._bare:
            self._bare.discard(number)
            fragment = _arguments(function)
        if fragment:
            yield ToolCallDelta(number, fragment)

    def end(self, index: object) -> Iterator[ToolCallDelta]:
        number = self._open.pop(as_count(index), None)
        if number is None:
            return
        del self._ids[number]
        if number in self._bare:
            self._bare.discard(number)
            yield ToolCallDelta(number, "{}")


def _arguments(function: Json) -> str:
    arguments = as_text(function.get("arguments"), "arguments")
    return "{}" if arguments.strip() == "null" else arguments
