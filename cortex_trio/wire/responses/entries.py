"""The items of one answer, and which of them an event is about.

An item has an id and an output_index. Some servers leave out either (llama.cpp), give another id at each mention
(gateways), use one index for all items, or count in another order at the end. So an item is found by its id, else by
its index, else by its kind. Knows no events.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from ..payload import as_count, require_open
from .items import Item, MessageItem

Json = Mapping[str, Any]


@attrs.define(eq=False)
class Entry:
    """One item and its state."""

    item: Item
    kind: str
    emitted: bool = False  # an event of it was emitted
    over: bool = False
    at_end: bool = False  # the last event has mentioned it


class Entries:
    """All items so far. Those that have ended stay, so that none is read twice."""

    def __init__(self) -> None:
        self._all: list[Entry] = []
        self._at: dict[int, Entry] = {}  # by output_index, the latest
        self._by_id: dict[str, Entry] = {}  # by the item's id, and by a call's

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._all)

    @property
    def messages(self) -> list[MessageItem]:
        return [entry.item for entry in self._all if isinstance(entry.item, MessageItem)]

    def add(self, item: Item, index: int | None, content: Json) -> Entry:
        """Raises Malformed for more items than any answer has."""
        kind = content.get("type")
        entry = Entry(item, kind if isinstance(kind, str) else "")
        self._all.append(entry)
        require_open(len(self._all), "items")
        if index is not None:
            self._at[index] = entry
        self.note_ids(entry, content)
        return entry

    def note_ids(self, entry: Entry, content: Json) -> None:
        """Find the item by these ids as well."""
        for name in ("id", "call_id"):
            if isinstance(item_id := content.get(name), str) and item_id:
                self._by_id.setdefault(item_id, entry)

    def at(self, index: int | None) -> Entry | None:
        return None if index is None else self._at.get(index)

    def known(self, content: Json) -> Entry | None:
        """The item by its id; where it has none, by that of its call."""
        item_id = content.get("id") or content.get("call_id")
        return self._by_id.get(item_id) if isinstance(item_id, str) else None

    def growing(self, kind: str, payload: Json) -> Entry | None:
        """The item of `kind` that a delta is about."""
        item_id, index = payload.get("item_id"), as_count(payload.get("output_index"))
        entry = self._by_id.get(item_id) if isinstance(item_id, str) else None
        if entry is not None and (index is None or entry.kind == kind):
            return entry
        entry = self.at(index)
        return entry if entry is not None and entry.kind == kind else self._last_open(kind)

    def has(self, kind: str, payload: Json) -> bool:
        """Whether an item of `kind` is at the place of an event; any item of it where the event has no place."""
        item_id, entry = payload.get("item_id"), self.at(as_count(payload.get("output_index")))
        if isinstance(item_id, str) and item_id in self._by_id:
            return True
        if entry is None and not item_id and payload.get("output_index") is None:
            return any(entry.kind == kind for entry in self._all)
        return entry is not None and entry.kind == kind

    def closing(self, content: Json, index: int | None) -> Entry | None:
        """The item that ends; None: it was not announced."""
        if entry := self.known(content):
            return entry
        entry = self.at(index)
        fits = entry is not None and not entry.over and entry.kind == content.get("type")
        return entry if fits else self._last_open(content.get("type"))

    def at_the_end(self, content: Json, place: int, streamed: list[Entry]) -> Entry | None:
        """The item of the stream that the last event lists at `place`, each of them once."""
        entry = self.known(content)
        if entry is None or entry.at_end or entry not in streamed:
            free = [entry for entry in streamed if entry.kind == content.get("type") and not entry.at_end]
            call_id = content.get("call_id")
            likely = (
                self._by_id.get(call_id) if isinstance(call_id, str) else None,
                self._at.get(place),
                *free,
            )
            entry = next((entry for entry in likely if entry in free), None)
        if entry is not None:
            entry.at_end = True
        return entry

    def _last_open(self, kind: object) -> Entry | None:
        return next((entry for entry in reversed(self._all) if entry.kind == kind and not entry.over), None)
