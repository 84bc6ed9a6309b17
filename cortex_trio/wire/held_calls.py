"""Tool calls that a renderer puts together from their deltas. Knows no dialect."""

from __future__ import annotations

import attrs

from ..events import ToolCallDelta
from ..messages import ToolCall, ToolKind
from .payload import is_json


@attrs.define
class GrowingCall:
    """One call, as far as it came."""

    index: int
    id: str
    name: str
    kind: ToolKind
    signature: str | None
    pieces: list[str] = attrs.field(factory=list)

    @property
    def arguments(self) -> str:
        """So far. Of a function none is an empty object: clients read them as JSON."""
        return "".join(self.pieces) or ("{}" if self.kind == "function" else "")

    @property
    def is_complete(self) -> bool:
        """Whether nothing more can follow. Of free text that cannot be known."""
        return (
            self.kind == "function"
            and bool(self.pieces)
            and self.pieces[-1].endswith("}")
            and is_json(self.arguments)
        )

    def whole(self) -> ToolCall:
        return ToolCall(self.id, self.name, self.arguments, self.signature, kind=self.kind)


class HeldCalls:
    """The calls of one answer by their index. Deltas of two calls may be mixed."""

    def __init__(self) -> None:
        self._calls: dict[int, GrowingCall] = {}
        self._taken: set[int] = set()

    def __len__(self) -> int:
        """Calls so far, those that were taken among them."""
        return len(self._calls)

    def add(self, delta: ToolCallDelta) -> tuple[GrowingCall, bool]:
        """Return the call the delta belongs to, and whether it is new."""
        call = self._calls.get(delta.index)
        is_new = call is None
        if call is None:
            made_id = f"call_{delta.index}"
            call = GrowingCall(
                delta.index, delta.id or made_id, delta.name or "", delta.kind, delta.signature
            )
            self._calls[delta.index] = call
        call.signature = delta.signature or call.signature
        if delta.arguments:
            call.pieces.append(delta.arguments)
        return call, is_new

    def take(self, *, before: GrowingCall | None = None) -> list[GrowingCall]:
        """Return the calls that have ended, each of them once, in order.

        Args:
            before: The call that has just begun. Those before it have ended as far as their arguments are complete,
                up to the first that has not. None: all have ended.
        """
        ended: list[GrowingCall] = []
        for call in self._calls.values():
            if call.index in self._taken:
                continue
            if before is not None and (call is before or not call.is_complete):
                break
            ended.append(call)
        self._taken.update(call.index for call in ended)
        return ended
