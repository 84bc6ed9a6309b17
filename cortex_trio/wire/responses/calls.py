"""The items of a Responses answer by which the model calls a tool: a function, or a tool that takes free text."""

from __future__ import annotations

from ...events import ToolCallDelta, WireEvent
from ...messages import ToolKind
from ..payload import Malformed, arguments_text, as_text
from .items import Item, Json


class FunctionCallItem(Item):
    """The answer's call number `index`. Results name it by `call_id`; the item's own id is not used."""

    input_field = "arguments"
    delta = "response.function_call_arguments.delta"
    kind: ToolKind = "function"

    def __init__(self, index: int) -> None:
        self._index = index
        self._pieces: list[str] = []  # of the arguments

    def open(self, item: Json) -> list[WireEvent]:
        call_id = as_text(item.get("call_id"), "call_id") or as_text(item.get("id"), "id")
        name = as_text(item.get("name"), "name")
        if not name:
            raise Malformed("a call of a tool without a name")
        arguments = self._input(item)
        self._pieces.append(arguments)
        call_id = call_id or f"call_{self._index}"
        return [ToolCallDelta(self._index, arguments, call_id, name, kind=self.kind)]

    def grow(self, kind: str, payload: Json) -> list[WireEvent]:
        fragment = as_text(payload.get("delta"), "delta") if kind == self.delta else ""
        return self._add(fragment)

    def close(self, item: Json) -> list[WireEvent]:
        """Return what the end adds to the deltas. Where it differs from them, the deltas count: they were emitted."""
        streamed, whole = "".join(self._pieces), self._input(item)
        return self._add(whole.removeprefix(streamed) if whole.startswith(streamed) else "")

    def _add(self, fragment: str) -> list[WireEvent]:
        if not fragment:
            return []
        self._pieces.append(fragment)
        return [ToolCallDelta(self._index, fragment)]

    def _input(self, item: Json) -> str:
        arguments = item.get(self.input_field)
        if isinstance(arguments, str):
            return arguments
        return "" if arguments is None else arguments_text(arguments)


class CustomCallItem(FunctionCallItem):
    """A call of a free-form tool: its arguments are free text, not JSON."""

    input_field = "input"
    delta = "response.custom_tool_call_input.delta"
    kind = "custom"


CALLS: dict[str, type[FunctionCallItem]] = {
    "function_call": FunctionCallItem,
    "custom_tool_call": CustomCallItem,
}
