"""The items of a Responses answer by which the model calls a tool: a function, a tool that takes free text, or one of
OpenAI's own that the caller runs."""

from __future__ import annotations

from ...events import ToolCallDelta, WireEvent
from ...messages import ToolKind
from ..own_fields import packed
from ..payload import Malformed, arguments_text, as_text
from .actions import call_of
from .items import Item, Json

OWN_FIELDS = ("namespace", "caller")
"""Fields of a call that go back with it: OpenAI answers 400 without."""


class FunctionCallItem(Item):
    """The answer's call number `index`. Results name it by `call_id`; the item's own id is not used."""

    input_field = "arguments"
    delta = "response.function_call_arguments.delta"
    kind: ToolKind = "function"

    def __init__(self, index: int) -> None:
        self._index = index
        self._pieces: list[str] = []  # of the arguments
        self._signature: str | None = None

    def open(self, item: Json) -> list[WireEvent]:
        call_id = as_text(item.get("call_id"), "call_id") or as_text(item.get("id"), "id")
        name = as_text(item.get("name"), "name")
        if not name:
            raise Malformed("a call of a tool without a name")
        arguments = self._input(item)
        self._pieces.append(arguments)
        call_id = call_id or f"call_{self._index}"
        self._signature = _signature(item)
        return [ToolCallDelta(self._index, arguments, call_id, name, self._signature, self.kind)]

    def grow(self, kind: str, payload: Json) -> list[WireEvent]:
        fragment = as_text(payload.get("delta"), "delta") if kind == self.delta else ""
        return self._add(fragment)

    def close(self, item: Json) -> list[WireEvent]:
        """Return what the end adds to the deltas. Where it differs from them, the deltas count: they were emitted."""
        streamed, whole = "".join(self._pieces), self._input(item)
        events = self._add(whole.removeprefix(streamed) if whole.startswith(streamed) else "")
        if (signature := _signature(item)) and signature != self._signature:  # it comes late
            self._signature = signature
            events.append(ToolCallDelta(self._index, "", signature=signature))
        return events

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


class ActionItem(FunctionCallItem):
    """A call of a tool of OpenAI's own that the caller runs. It is read at its end, for only that holds all of it."""

    def open(self, item: Json) -> list[WireEvent]:
        return []

    def grow(self, kind: str, payload: Json) -> list[WireEvent]:
        return []

    def close(self, item: Json) -> list[WireEvent]:
        call = call_of(item)
        if not call.id:
            raise Malformed("a call without an id")
        return [ToolCallDelta(self._index, call.arguments, call.id, call.name, call.signature)]


def _signature(item: Json) -> str | None:
    own = {name: item[name] for name in OWN_FIELDS if item.get(name)}
    return packed(own) if own else None


CALLS: dict[str, type[FunctionCallItem]] = {
    "function_call": FunctionCallItem,
    "custom_tool_call": CustomCallItem,
}
