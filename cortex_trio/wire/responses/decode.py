"""Decodes the answers of the Responses API into events. Knows no request.

The grammar of a stream (the SSE event name repeats the JSON `type`; there is no `[DONE]`):

    response.created response.in_progress
    ( response.output_item.added           output_index and kind
      deltas of that item*                 see `items`
      response.output_item.done )*         the whole item
    response.completed | response.incomplete | response.failed      the whole response, usage in it

`error` may come anywhere under HTTP 200, its fields beside the type or in an inner `error`, and ends the stream.
Unknown events are skipped. A whole answer is the response of a terminal event before which nothing came.
https://platform.openai.com/docs/api-reference/responses-streaming
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ...events import Finished, FinishReason, Usage, UsageUpdate, WireEvent
from ...failures import classify_payload
from ...failures.kinds import Phase
from ..codec import malformed, truncated
from ..finish import meaning
from ..payload import (
    Malformed,
    as_count,
    as_list,
    as_object,
    as_text,
    as_word,
    load_object,
    require_open,
    response_started,
)
from ..sse import SseEvent
from ..sse_decoder import SseDecoder
from ..unframed_errors import error_of, is_error
from ..usage import read_usage
from .actions import is_action
from .calls import CALLS, ActionItem
from .entries import Entries, Entry
from .items import DELTAS, KINDS, Item, MessageItem

Json = Mapping[str, Any]


class ResponsesDecoder(SseDecoder):
    """A streamed answer, event by event."""

    def __init__(self) -> None:
        super().__init__()
        self._response = _Response("stream")

    def _read(self, event: SseEvent) -> list[WireEvent]:
        data = event.data
        if event.event not in KNOWN_EVENTS or not data.strip() or data.startswith("[DONE]"):
            return []  # a proxy ends every stream as chat completions do
        payload = load_object(data)
        kind = as_text(payload.get("type"), "type") or event.event
        if kind == "error" or error_of(payload) is not None or ("type" not in payload and is_error(payload)):
            holder = payload if payload.get("error") else {**payload, "error": payload}
            return [classify_payload(holder, phase="stream")]
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
        if "output" not in whole and is_error(whole):
            return [classify_payload(whole, phase="body")]
        if "output" not in whole:
            raise Malformed('no "output" in it, so it is not a response')
        return _Response("body").read(whole)
    except Malformed as error:
        return [malformed(str(error))]


class _Response:
    """The answer while it grows. Each method reads the payload of one event and returns the events it means."""

    def __init__(self, phase: Phase) -> None:
        self._phase: Phase = phase
        self._entries = Entries()
        self._calls = 0
        self._named = False  # the id or the model of the answer came
        self._unannounced: list[
            tuple[str, Json]
        ] = []  # kind and place of deltas of calls that were not added
        self._custom: list[object] | None = None  # names of the caller's free-form tools; None: unknown

    def begin(self, payload: Json) -> list[WireEvent]:
        """A second beginning is another answer. After content of the first, the stream is broken."""
        if any(entry.emitted for entry in self._entries):
            raise Malformed("a second response began inside the answer")
        self._entries = Entries()
        self._note_tools(payload.get("response"))
        return self._note_names(payload.get("response"))

    def open_item(self, payload: Json) -> list[WireEvent]:
        content = as_object(payload.get("item"), "item")
        index = as_count(payload.get("output_index"))
        if self._entries.known(content) is not None:
            return []  # announced twice
        before = self._entries.at(index)
        if before and before.emitted and not before.over and before.kind == content.get("type") == "message":
            raise Malformed("a second message began in the place of one that had not ended")
        entry, events = self._open(index, content)
        return _emit(entry, events)

    def grow(self, kind: str, payload: Json) -> list[WireEvent]:
        """Text and reasoning need no announcement. A call needs one for its name; without it, it is read at its end."""
        item_kind = DELTAS[kind]
        entry = self._entries.growing(item_kind, payload)
        if entry is None and item_kind in CALLS:
            place = {name: payload.get(name) for name in ("item_id", "output_index")}
            if (item_kind, place) not in self._unannounced:
                self._unannounced.append((item_kind, place))
                require_open(len(self._unannounced), "calls that were not added")
            return []
        if entry is None:
            item = {"type": item_kind, "id": payload.get("item_id")}
            entry, _ = self._open(as_count(payload.get("output_index")), item)
        grow = entry.item.grow_on if entry.over else entry.item.grow
        return _emit(entry, grow(kind, payload))

    def close_item(self, payload: Json) -> list[WireEvent]:
        content = as_object(payload.get("item"), "item")
        index = as_count(payload.get("output_index"))
        return self._close(self._entries.closing(content, index), index, content)

    def end(self, payload: Json) -> list[WireEvent]:
        response = as_object(payload.get("response"), "response")
        kind = as_text(payload.get("type"), "type")
        status = response.get("status") if kind == "response.done" else kind.removeprefix("response.")
        return self.read({**response, "status": status})

    def read(self, response: Json) -> list[WireEvent]:
        """Return what the last event adds: content that was not emitted yet, usage, and the finish."""
        status = as_word(response.get("status"), "status")
        usage = _usage_events(response.get("usage"))
        if error_of(response) is not None or status in ("failed", "cancelled"):
            error = response if response.get("error") else {"message": f"the response is {status}"}
            return [*usage, classify_payload(error, phase=self._phase)]
        if status in ("in_progress", "queued"):
            return [truncated(f"the response is still {status}")]
        self._note_tools(response)
        events = self._note_names(response)
        streamed = [*self._entries]
        for place, value in enumerate(as_list(response.get("output"), "output")):
            item = as_object(value, "an item")
            events += self._close(self._entries.at_the_end(item, place, streamed), place, item)
        if not all(self._entries.has(kind, place) for kind, place in self._unannounced):
            raise Malformed("arguments of a call that was never added")
        return [*events, *usage, self._finished(status, response)]

    def _note_tools(self, response: object) -> None:
        """Note the tools that a response repeats. Free-form calls of others are the server's own (xAI's search)."""
        tools = response.get("tools") if isinstance(response, dict) else None
        if isinstance(tools, list) and tools and self._custom is None:
            given = [tool for tool in tools if isinstance(tool, dict) and tool.get("type") == "custom"]
            self._custom = [tool.get("name") for tool in given]

    def _note_names(self, response: object) -> list[WireEvent]:
        if self._named or not isinstance(response, dict):
            return []
        started = response_started(response.get("id"), response.get("model"))
        self._named = bool(started)
        return started

    def _open(self, index: int | None, content: Json) -> tuple[Entry, list[WireEvent]]:
        match content.get("type"):
            case "custom_tool_call" if self._custom is not None and content.get("name") not in self._custom:
                item: Item = Item()
            case str(kind) if kind in CALLS:
                item = CALLS[kind](self._calls)
                self._calls += 1
            case _ if is_action(content):
                item = ActionItem(self._calls)
                self._calls += 1
            case "message":
                item = MessageItem(sum(message.length for message in self._entries.messages))
            case kind:
                item = KINDS.get(kind, Item)() if isinstance(kind, str) else Item()
        return self._entries.add(item, index, content), item.open(content)

    def _close(self, entry: Entry | None, index: int | None, content: Json) -> list[WireEvent]:
        events: list[WireEvent] = []
        if entry is None:
            entry, events = self._open(index, content)
        self._entries.note_ids(entry, content)
        if entry.over:
            return _emit(entry, entry.item.complete(content))
        entry.over = True
        return _emit(entry, [*events, *entry.item.close(content)])

    def _finished(self, status: str, response: Json) -> Finished:
        if status == "incomplete":
            details = as_object(response.get("incomplete_details") or {}, "incomplete_details")
            raw = as_word(details.get("reason"), "reason") or status
            return Finished(meaning(raw, {}), raw)
        if status not in ("completed", ""):
            return Finished(FinishReason.OTHER, status)
        if any(message.refused for message in self._entries.messages):
            return Finished(FinishReason.REFUSAL, status or None)
        reason = FinishReason.TOOL_CALLS if self._calls else FinishReason.STOP
        return Finished(reason, status or None)


def _emit(entry: Entry, events: list[WireEvent]) -> list[WireEvent]:
    entry.emitted = entry.emitted or bool(events)
    return events


HANDLERS: Mapping[str, Callable[[_Response, Json], list[WireEvent]]] = {
    "response.created": _Response.begin,
    "response.output_item.added": _Response.open_item,
    "response.output_item.done": _Response.close_item,
    "response.completed": _Response.end,
    "response.incomplete": _Response.end,
    "response.failed": _Response.end,
    "response.cancelled": _Response.end,
    "response.done": _Response.end,
}

KNOWN_EVENTS = {*HANDLERS, *DELTAS, "error", "message"}
"""Names worth parsing; `message` is what SSE calls an event without a name (proxies drop the names)."""


def _usage_events(usage: object) -> list[WireEvent]:
    """Cached tokens are part of the input, reasoning part of the output: in this API that is so at xAI as well."""
    found = read_usage(usage) if isinstance(usage, dict) else Usage()
    return [] if found == Usage() else [UsageUpdate(found)]
