"""Puts the tool calls of a chat completion together, for all the forms in which servers number and cut them.

    tool_calls = [ { index?, id?, function: { name?, arguments? } } ]        again and again

OpenAI numbers its calls, names them at once and sends the arguments in pieces. Other servers use index 0 for all
calls, leave out index or id, send the id or the name later or in pieces, repeat a whole call at the end, or announce
one that never comes. So a call is emitted when its name is known to be complete: with its first arguments, or when
something else follows. Calls are numbered 0, 1, 2 … in the order in which they are emitted.
"""

from __future__ import annotations

from typing import Any

from ...events import ToolCallDelta, WireEvent
from ..payload import Malformed, as_object, require_open
from .pieces import Call, Piece, piece_of

PLACEHOLDER = "{}"
"""Arguments of a call without any; some servers announce every call with them, before the real ones come."""

OTHERS = 1000
"""Added to the number in a made-up id where the server uses the same id."""


class ToolCalls:
    """The calls of one choice. Raises Malformed for a call without a name."""

    def __init__(self) -> None:
        self._calls: list[Call] = []  # in order of appearance
        self._at: dict[int, Call] = {}  # by the wire's index, the latest
        self._by_id: dict[str, Call] = {}
        self._held: list[Call] = []  # not emitted yet
        self._emitted = 0

    @property
    def any(self) -> bool:
        """There is a call with a name."""
        return self._emitted > 0 or any(call.name for call in self._held)

    @property
    def all_whole(self) -> bool:
        """No call is cut. Of free text that cannot be seen."""
        return all(
            call.is_whole() or (call.kind == "custom" and call.size > 0)
            for call in self._calls
            if call.name or call.pieces
        )

    @property
    def holding(self) -> bool:
        return bool(self._held)

    def read(self, entries: list[Any], events: list[WireEvent]) -> None:
        """Take the `tool_calls` of one delta."""
        if len(entries) == 1 and self._read_fragment(entries[0], events):
            return
        touched: list[Call] = []
        for entry in entries:
            piece = piece_of(as_object(entry, "a tool call"))
            call = self._find(piece, touched)
            if self._held:
                self.release(events, but=call)
            if call is None:
                call = self._begin(piece)
            self._add(call, piece, events)
            touched.append(call)

    def _read_fragment(self, entry: Any, events: list[WireEvent]) -> bool:
        """Take an entry that holds an index and arguments only, as nearly all do. False: it is another one.

        A short cut only: the general path gives the same events at twice the cost.
        """
        function = entry.get("function") if type(entry) is dict and len(entry) == 2 else None
        if self._held or type(function) is not dict or len(function) != 1:
            return False
        index, arguments = entry.get("index"), function.get("arguments")
        call = self._at.get(index) if type(index) is int else None
        if call is None or type(arguments) is not str:
            return False
        if arguments and not call.is_repeated_by(arguments):
            call.pieces.append(arguments)
            call.size += len(arguments)
            events.append(ToolCallDelta(call.place, arguments))  # type: ignore[arg-type]  # none is held
        return True

    def read_whole(self, entries: list[Any], events: list[WireEvent]) -> None:
        """Take the `tool_calls` of a whole message: each entry is a call, but for one that stands there twice."""
        for entry in entries:
            piece = piece_of(as_object(entry, "a tool call"))
            twin = self._by_id.get(piece.id)
            if twin is None or (twin.name, twin.arguments) != (piece.name, piece.arguments):
                self._add(self._begin(piece), piece, events)

    def release(self, events: list[WireEvent], *, but: Call | None = None) -> None:
        """Emit the held calls that have a name: something else follows, so the name is complete.

        `but`: the call that is what follows.
        """
        for call in [call for call in self._held if call.name and call is not but]:
            self._emit(call, events)

    def close(self, events: list[WireEvent]) -> None:
        """End the answer. A call that was announced and never came is dropped."""
        self.release(events)
        if any(call.pieces for call in self._held):
            raise Malformed("a tool call without a name")
        self._held.clear()

    # ------------------------------------------------------------------ which call it is

    def _find(self, piece: Piece, touched: list[Call]) -> Call | None:
        """Return the call that `piece` continues, None where it begins another.

        `touched`: the calls of the entries before it in the same delta. Entries with names are different calls.
        """
        known = self._by_id.get(piece.id) if piece.id else None
        if known is not None:
            return None if self._uses_id_again(known, piece) else known
        if piece.index is not None and piece.index not in self._at:
            return self._find_unnumbered(piece)
        call = self._at[piece.index] if piece.index is not None else self._last
        if call is None or (piece.name and call in touched):
            return None
        if piece.id:
            return None if self._is_another(call, piece) else call
        if not piece.name or not call.name:
            return call
        if call.pieces:
            again = piece.name == call.name and (not call.is_whole() or not piece.arguments)
            return call if again or self._is_repetition(call, piece) else None
        # No arguments yet: with an index the name comes in pieces; without one, each name is a call.
        return call if piece.index is not None or call.id else None

    def _find_unnumbered(self, piece: Piece) -> Call | None:
        """An index that no call has: arguments of the last call, which had none, or is counted by its pieces."""
        call = self._last
        if call is None or piece.id or piece.name or not piece.arguments:
            return None
        return call if call.index is None or not call.is_whole() else None

    def _is_another(self, call: Call, piece: Piece) -> bool:
        """Whether `piece`, with an id that no call has, begins a call where `call` is the one before it."""
        if call.id:  # some servers make up an id for every fragment; those have no name
            return bool(piece.name) or call.is_whole()
        if not piece.name or not call.name:
            return call.is_whole()  # else its id comes late
        if piece.index is None and piece.name != call.name:
            return True
        return call.is_whole() and not self._is_repetition(call, piece)

    def _uses_id_again(self, known: Call, piece: Piece) -> bool:
        """Whether `piece` is a call of its own although a call has its id already."""
        if not piece.name or self._is_repetition(known, piece):
            return False
        if piece.index is not None and known.index is not None and piece.index != known.index:
            return self._at.get(piece.index) is not known
        return bool(piece.arguments) and known.is_whole()

    def _is_repetition(self, call: Call, piece: Piece) -> bool:
        return piece.name == call.name and call.is_repeated_by(piece.arguments)

    @property
    def _last(self) -> Call | None:
        return self._calls[-1] if self._calls else None

    # ------------------------------------------------------------------ what an entry adds to it

    def _begin(self, piece: Piece) -> Call:
        require_open(len(self._calls) + 1, "tool calls")
        call = Call(piece.index, piece.kind)
        self._calls.append(call)
        self._held.append(call)
        return call

    def _add(self, call: Call, piece: Piece, events: list[WireEvent]) -> None:
        if piece.index is not None:
            self._at[piece.index] = call
        if piece.id and piece.id not in self._by_id:
            call.id = call.id or piece.id
            self._by_id[piece.id] = call
        if piece.name and call.place is None:
            # Repeated, repeated with more of it, or in pieces.
            call.name = piece.name if piece.name.startswith(call.name) else call.name + piece.name
        if piece.signature and piece.signature != call.signature:
            call.signature = piece.signature
            if call.place is not None:  # it comes late
                events.append(ToolCallDelta(call.place, "", signature=piece.signature))
        arguments = piece.arguments
        if not arguments or (call.pieces and call.is_repeated_by(arguments)):
            return
        if call.place is None and call.pieces == [PLACEHOLDER]:
            call.pieces, call.size = [], 0
        call.pieces.append(arguments)
        call.size += len(arguments)
        if call.place is not None:
            events.append(ToolCallDelta(call.place, arguments))
        elif call.name and call.pieces != [PLACEHOLDER]:
            self._emit(call, events)

    def _emit(self, call: Call, events: list[WireEvent]) -> None:
        """Emit what came of a call so far, as it came."""
        self._held.remove(call)
        call.place = self._emitted
        self._emitted += 1
        call_id = call.id or self._new_id(call)
        first, *more = call.pieces or [""]
        events.append(ToolCallDelta(call.place, first, call_id, call.name, call.signature, call.kind))
        events += [ToolCallDelta(call.place, piece) for piece in more]

    def _new_id(self, call: Call) -> str:
        """An id for a call that came with none, or with that of another call."""
        number = call.place or 0
        while f"call_{number}" in self._by_id:
            number += OTHERS
        self._by_id[f"call_{number}"] = call
        return f"call_{number}"
