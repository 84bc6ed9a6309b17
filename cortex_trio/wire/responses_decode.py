"""Turns what the Responses API answers into events. Knows no request.

The grammar of a stream (the SSE event name repeats the JSON `type`; there is no `[DONE]`):

    response.created response.in_progress
    ( response.output_item.added           output_index and kind
      deltas of that item*                 see `responses_items`
      response.output_item.done )*         the whole item
    response.completed | response.incomplete | response.failed      the whole response, usage in it

`error` may come anywhere under HTTP 200, its fields beside the type or in an inner `error`, and ends the stream.
Events nobody has heard of are skipped. A whole answer is the response of a terminal event before which nothing came.
https://platform.openai.com/docs/api-reference/responses-streaming
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..events import Finished, FinishReason, Usage, UsageUpdate, WireEvent
from ..failures import classify_payload
from ..failures.kinds import Phase
from .codec import malformed, truncated
from .payload import Malformed, as_count, as_list, as_object, as_text, as_word, load_object, require_open
from .responses_items import DELTAS, KINDS, FunctionCallItem, Item, MessageItem
from .sse import SseEvent
from .sse_decoder import SseDecoder

INCOMPLETE_REASONS: Mapping[str, FinishReason] = {
    "max_output_tokens": FinishReason.LENGTH,
    "content_filter": FinishReason.CONTENT_FILTER,
}

Json = Mapping[str, Any]


class ResponsesDecoder(SseDecoder):
    """A streamed answer, event by event."""

    def __init__(self) -> None:
        super().__init__()
        self._response = _Response("stream")

    def _read(self, event: SseEvent) -> list[WireEvent]:
        data = event.data
        if event.event not in KNOWN_EVENTS or not data.strip() or data.startswith("[DONE]"):
            return []  # a proxy that closes every stream in the manner of chat completions
        payload = load_object(data)
        kind = as_text(payload.get("type"), "type") or event.event
        if kind == "error" or payload.get("error"):
            told = payload if payload.get("error") else {**payload, "error": payload}
            return [classify_payload(told, phase="stream")]
        if kind in DELTAS:
            return self._response.grow(kind, payload)
        handler = HANDLERS.get(kind)
        return handler(self._response, {**payload, "type": kind}) if handler else []

    def _end(self) -> list[WireEvent]:
        return [truncated()]

    def _let_go(self) -> None:
        super()._let_go()
        self._response = _Response("stream")


def decode_response(body: bytes) -> list[WireEvent]:
    """A whole response, or the error that came in its place."""
    try:
        whole = load_object(body)
        if "output" not in whole and not whole.get("error"):
            raise Malformed('no "output" in it, so it is not a response')
        return _Response("body").read(whole)
    except Malformed as error:
        return [malformed(str(error))]


class _Response:
    """The answer while it grows. Each method takes one event's payload and returns what it means."""

    def __init__(self, phase: Phase) -> None:
        self._phase: Phase = phase
        self._items: dict[int, Item] = {}  # by output_index; those that are over stay, so none is read twice
        self._over: set[int] = set()
        self._places: dict[str, int] = {}  # output_index by the item's id
        self._calls = 0

    def open_item(self, payload: Json) -> list[WireEvent]:
        index = _index(payload)
        return self._open(index, as_object(payload.get("item"), "item"))

    def grow(self, kind: str, payload: Json) -> list[WireEvent]:
        item = self._items.get(_index(payload))
        if item is None:
            raise Malformed(f"{kind} for an item that was not added")
        return item.grow(kind, payload)

    def close_item(self, payload: Json) -> list[WireEvent]:
        return self._close(_index(payload), as_object(payload.get("item"), "item"))

    def end(self, payload: Json) -> list[WireEvent]:
        response = as_object(payload.get("response"), "response")
        kind = as_text(payload.get("type"), "type")
        return self.read({**response, "status": kind.removeprefix("response.")})

    def read(self, response: Json) -> list[WireEvent]:
        """The response at its end: what of it was not told yet, its usage, and how it ended.

        Items are found by their ids, for a server may count in its stream what it leaves out here, or the reverse;
        by their places where they have none, or another one at each mention, as behind some proxies.
        """
        status = as_word(response.get("status"), "status")
        usage = _usage_events(response.get("usage"))
        if response.get("error") or status in ("failed", "cancelled"):
            error = response if response.get("error") else {"message": f"the response is {status}"}
            return [*usage, classify_payload(error, phase=self._phase)]
        if status in ("in_progress", "queued"):
            return [truncated(f"the response is still {status}")]
        events: list[WireEvent] = []
        places = dict(self._places)
        for index, value in enumerate(as_list(response.get("output"), "output")):
            item = as_object(value, "an item")
            item_id = item.get("id")
            events += self._close(places.get(item_id, index) if isinstance(item_id, str) else index, item)
        return [*events, *usage, self._finished(status, response)]

    def _open(self, index: int, content: Json) -> list[WireEvent]:
        match content.get("type"):
            case "function_call":
                item: Item = FunctionCallItem(self._calls)
                self._calls += 1
            case "message":
                item = MessageItem(sum(message.length for message in self._messages()))
            case kind:
                item = KINDS.get(kind, Item)() if isinstance(kind, str) else Item()
        self._items[index] = item
        if isinstance(item_id := content.get("id"), str):
            self._places[item_id] = index
        self._over.discard(index)
        require_open(len(self._items), "items")
        return item.open(content)

    def _close(self, index: int, content: Json) -> list[WireEvent]:
        if index in self._over:
            return []
        events = [] if index in self._items else self._open(index, content)
        self._over.add(index)
        return [*events, *self._items[index].close(content)]

    def _finished(self, status: str, response: Json) -> Finished:
        if status == "incomplete":
            details = as_object(response.get("incomplete_details") or {}, "incomplete_details")
            raw = as_word(details.get("reason"), "reason") or status
            return Finished(INCOMPLETE_REASONS.get(raw, FinishReason.OTHER), raw)
        if status not in ("completed", ""):
            return Finished(FinishReason.OTHER, status)
        if any(message.refused for message in self._messages()):
            return Finished(FinishReason.REFUSAL, status or None)
        reason = FinishReason.TOOL_CALLS if self._calls else FinishReason.STOP
        return Finished(reason, status or None)

    def _messages(self) -> Iterator[MessageItem]:
        return (item for item in self._items.values() if isinstance(item, MessageItem))


HANDLERS: Mapping[str, Callable[[_Response, Json], list[WireEvent]]] = {
    "response.output_item.added": _Response.open_item,
    "response.output_item.done": _Response.close_item,
    "response.completed": _Response.end,
    "response.incomplete": _Response.end,
    "response.failed": _Response.end,
    "response.cancelled": _Response.end,
}

KNOWN_EVENTS = {*HANDLERS, *DELTAS, "error", "message"}
"""Names worth parsing; `message` is what SSE calls an event without a name (proxies drop the names)."""


def _index(payload: Json) -> int:
    index = as_count(payload.get("output_index"))
    if index is None:
        raise Malformed("an event of an item without its output_index")
    return index


def _usage_events(usage: object) -> list[WireEvent]:
    """Cached tokens are part of the input, reasoning part of the output: on this wire at xAI as well."""
    if not isinstance(usage, dict):
        return []
    read, written = usage.get("input_tokens_details"), usage.get("output_tokens_details")
    read, written = (details if isinstance(details, dict) else {} for details in (read, written))
    found = Usage(
        input_tokens=as_count(usage.get("input_tokens")),
        output_tokens=as_count(usage.get("output_tokens")),
        total_tokens=as_count(usage.get("total_tokens")),
        cached_input_tokens=as_count(read.get("cached_tokens")),
        cache_write_tokens=as_count(read.get("cache_write_tokens")),
        reasoning_tokens=as_count(written.get("reasoning_tokens")),
    )
    return [] if found == Usage() else [UsageUpdate(found)]
