"""Decodes the answers of the Messages API into events. Knows no request.

The grammar of a stream (the SSE event name repeats the JSON `type`; there is no `[DONE]`):

    message_start                        usage so far
    ( content_block_start                index and kind; redacted thinking comes whole in it
      content_block_delta*               pieces for the open block of that index
      content_block_stop )*
    message_delta                        stop_reason, usage (cumulative, laid over the first)
    message_stop

`ping` and events this decoder does not know may come anywhere and are skipped, as the versioning policy asks;
`error` may come anywhere under HTTP 200 and ends the stream. A second message_start with another id is a second
answer, which a proxy that asked again has spliced into the first: the stream is broken. Blocks come one after the
other today, but they have an index, so they are found by it. An answer that is not streamed is read as a stream whose
blocks come whole.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ...events import Finished, FinishReason, TextDelta, Usage, UsageUpdate, WholePart, WireEvent
from ...failures import classify_payload
from ..codec import malformed, truncated
from ..finish import first_serious, reason_of
from ..payload import (
    Malformed,
    as_count,
    as_list,
    as_object,
    as_text,
    as_word,
    load_object,
    opaque,
    require_open,
    response_started,
    text_events,
)
from ..sse import SseEvent
from ..sse_decoder import SseDecoder
from ..unframed_errors import error_of, is_error
from .blocks import BLOCKS, UNANNOUNCED, Block, OpaqueBlock, TextBlock, ToolUseBlock
from .values import CONTAINER

STOP_REASONS = {
    "end_turn": FinishReason.STOP,
    "stop_sequence": FinishReason.STOP,
    "max_tokens": FinishReason.LENGTH,
    "model_context_window_exceeded": FinishReason.LENGTH,
    "tool_use": FinishReason.TOOL_CALLS,
    "pause_turn": FinishReason.PAUSE,
    "compaction": FinishReason.PAUSE,  # the summary was written; the answer comes when it is sent back
    "refusal": FinishReason.REFUSAL,
}

COUNTS = (
    "input_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
    "output_tokens",
    "thinking_tokens",  # inside output_tokens_details
)

Json = Mapping[str, Any]


class MessagesDecoder(SseDecoder):
    """A streamed answer, event by event."""

    def __init__(self) -> None:
        super().__init__()
        self._message = _Message()

    def _read(self, event: SseEvent) -> list[WireEvent]:
        if event.event not in KNOWN_EVENTS:
            return []
        if event.data.startswith("[DONE]"):  # a proxy ends every stream as chat completions do
            return self._message.end()
        payload = load_object(event.data)
        kind = as_text(payload.get("type"), "type") or event.event
        if kind == "error" or error_of(payload) is not None or ("type" not in payload and is_error(payload)):
            return [classify_payload(payload, phase="stream")]
        handler = HANDLERS.get(kind)
        return handler(self._message, payload) if handler else []

    def _end(self) -> list[WireEvent]:
        return self._message.end()

    def _let_go(self) -> None:
        super()._let_go()
        self._message = _Message()


def decode_message(body: bytes) -> list[WireEvent]:
    """A whole message, or the error that came in its place."""
    message = _Message()
    events: list[WireEvent] = []
    try:
        whole = load_object(body)
        if whole.get("type") == "error" or error_of(whole) is not None:
            return [classify_payload(whole, phase="body")]
        if "content" not in whole and is_error(whole):
            return [classify_payload(whole, phase="body")]
        if "content" not in whole:
            raise Malformed('no "content" in it, so it is not a message')
        events += response_started(whole.get("id"), whole.get("model"))
        for index, block in enumerate(as_list(whole["content"], "content")):
            events += message.open_block({"index": index, "content_block": block})
            events += message.close_block({"index": index})
        events += message.read_message_delta({"delta": whole, "usage": whole.get("usage")})
        return events + message.end()
    except Malformed as error:
        return [*events, malformed(str(error))]


class _Message:
    """The answer while it grows. Each method reads the payload of one event and returns the events it means."""

    def __init__(self) -> None:
        self._blocks: dict[int, Block] = {}  # the open ones
        self._calls = 0
        self._has_text = False
        self._id = ""
        self._begun = False  # a block was opened, or a stop_reason came
        self._counts: dict[str, int] = {}
        self._raw_reason = ""  # held back until the message is over

    def start(self, payload: Json) -> list[WireEvent]:
        """A repeated message_start with the same id, as Kimi sends it, begins nothing."""
        message = as_object(payload.get("message"), "message_start.message")
        message_id = as_text(message.get("id"), "message.id")
        if self._begun and not (message_id and message_id == self._id):
            raise Malformed("a second message began inside the answer")
        started = (
            []
            if message_id and message_id == self._id
            else response_started(message_id, message.get("model"))
        )
        self._id = message_id
        return started + self._count(message.get("usage"))

    def open_block(self, payload: Json) -> list[WireEvent]:
        index = _index(payload)
        self._begun = True
        content = as_object(payload.get("content_block"), "content_block")
        before = self._blocks.get(index)
        if isinstance(before, ToolUseBlock) and before.id and before.id == content.get("id"):
            return []  # announced twice
        match content.get("type"):
            case "tool_use":
                block: Block = ToolUseBlock(self._calls)
                self._calls += 1
            case str(kind) if kind:
                block = BLOCKS[kind]() if kind in BLOCKS else OpaqueBlock(kind)
            case _:
                block = Block()
        self._has_text = self._has_text or isinstance(block, TextBlock)
        events = before.close() if before else []
        self._blocks[index] = block
        require_open(len(self._blocks), "open blocks")
        return events + block.open(content)

    def grow_block(self, payload: Json) -> list[WireEvent]:
        index = _index(payload)
        delta = as_object(payload.get("delta"), "content_block_delta.delta")
        if index not in self._blocks:
            kind = UNANNOUNCED.get(as_text(delta.get("type"), "delta.type"))
            if kind is None:
                raise Malformed("content_block_delta for a block that is not open")
            self.open_block({"index": index, "content_block": {"type": kind}})
        return self._blocks[index].grow(delta)

    def close_block(self, payload: Json) -> list[WireEvent]:
        block = self._blocks.pop(_index(payload), None)
        return block.close() if block else []

    def read_message_delta(self, payload: Json) -> list[WireEvent]:
        delta = as_object(payload.get("delta"), "message_delta.delta")
        events = self._refusal(delta)
        if raw := as_word(delta.get("stop_reason"), "stop_reason"):
            self._begun = True
            self._raw_reason = first_serious(self._raw_reason, raw, STOP_REASONS)
        container = delta.get("container")
        if isinstance(container, dict) and container.get("id"):
            events.append(WholePart(opaque(CONTAINER, container)))
        return events + self._count(payload.get("usage"))

    def stop(self, payload: Json) -> list[WireEvent]:
        return self.end()

    def end(self) -> list[WireEvent]:
        """End the answer. With a stop reason it is complete, even without a message_stop.

        Gateways in front of other models send end_turn after a call, too.
        """
        raw = self._raw_reason
        if not raw:
            return [truncated("the answer ended without a stop_reason")]
        events = [event for block in self._blocks.values() for event in block.close()]
        return [*events, Finished(reason_of(raw, STOP_REASONS, calls=self._calls > 0), raw)]

    def _refusal(self, delta: Json) -> list[WireEvent]:
        """Return the explanation of a refusal as the text, where the model sent no text itself."""
        details = delta.get("stop_details")
        if self._has_text or not isinstance(details, dict) or details.get("type") != "refusal":
            return []
        self._has_text = True
        return text_events(TextDelta, details.get("explanation"), "stop_details.explanation")

    def _count(self, usage: object) -> list[WireEvent]:
        """Merge `usage` into what is known; return a snapshot if that changed anything."""
        if not isinstance(usage, dict):
            return []
        details = usage.get("output_tokens_details")
        given = {**details, **usage} if isinstance(details, dict) else usage
        counts = {name: count for name in COUNTS if (count := as_count(given.get(name))) is not None}
        if counts.items() <= self._counts.items():
            return []
        self._counts |= counts
        return [UsageUpdate(_usage(self._counts))]


HANDLERS: Mapping[str, Callable[[_Message, Json], list[WireEvent]]] = {
    "message_start": _Message.start,
    "content_block_start": _Message.open_block,
    "content_block_delta": _Message.grow_block,
    "content_block_stop": _Message.close_block,
    "message_delta": _Message.read_message_delta,
    "message_stop": _Message.stop,
}

KNOWN_EVENTS = {*HANDLERS, "error", "message"}
"""Names worth parsing; `message` is what SSE calls an event without a name (proxies drop the names)."""


def _index(payload: Json) -> int:
    index = payload.get("index")
    if not isinstance(index, int):
        raise Malformed("a content block event without an index")
    return index


def _usage(counts: Mapping[str, int]) -> Usage:
    """`input_tokens` of this API leaves out what was cached or written to the cache; ours holds all of it."""
    written = counts.get("cache_creation_input_tokens")
    cached = counts.get("cache_read_input_tokens")
    fresh = counts.get("input_tokens")
    return Usage(
        input_tokens=None if fresh is None else fresh + (written or 0) + (cached or 0),
        output_tokens=counts.get("output_tokens"),
        cached_input_tokens=cached,
        cache_write_tokens=written,
        reasoning_tokens=counts.get("thinking_tokens"),
    )
