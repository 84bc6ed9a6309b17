"""A mock provider that takes as little CPU from its client as possible: asyncio, prepared bytes, its own process.

What a request is answered with stands in its prompt, `mock:chunks-20.gap-5`, or, for a worker that always does
the same, in front of its path, `/status-500/v1/chat/completions`.

    first-F    milliseconds to the first chunk        chunks-N   pieces of text
    gap-G      milliseconds between two writes        join-J     chunks in one write
    hold-1     after the first chunk nothing more comes
    whole-1    one JSON answer, whatever was asked for
    status-S   an error with that status, and no answer; code-C: with that code

`GET /closed` gives the times (of the monotonic clock, which all processes share) at which streams were closed in
the middle by their clients, by the `tag:N` in their prompts.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from collections.abc import Callable, Mapping
from functools import cache

CHAT, MESSAGES, OLLAMA = "/chat/completions", "/messages", "/api/chat"
TAG = re.compile(rb"tag:(\d+)")
SETTINGS = re.compile(rb"mock:([a-z0-9.-]+)")
MODEL = "mock-model"
PIECE = " word"


def _sse(value: object, event: str | None = None) -> bytes:
    head = f"event: {event}\n" if event else ""
    return f"{head}data: {json.dumps(value, separators=(',', ':'))}\n\n".encode()


def _chat_chunk(**more: object) -> dict[str, object]:
    return {
        "id": "chatcmpl-BmZd3pQ7nPq0lE1rXkV2cY8sT4uWa",
        "object": "chat.completion.chunk",
        "created": 1_750_000_000,
        "model": MODEL,
        "service_tier": "default",
        "system_fingerprint": "fp_07871e2ad8",
        "choices": [],
        **more,
    }


def _chat_delta(delta: object, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return _sse(_chat_chunk(choices=[choice]))


_USAGE = {"prompt_tokens": 9, "completion_tokens": 20, "total_tokens": 29}


def _chat(chunks: int) -> tuple[list[bytes], bytes, bytes]:
    end = _chat_delta({}, "stop") + _sse(_chat_chunk(usage=_USAGE)) + b"data: [DONE]\n\n"
    message = {"role": "assistant", "content": PIECE * chunks, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    whole = {**_chat_chunk(choices=[choice], usage=_USAGE), "object": "chat.completion"}
    return [_chat_delta({"content": PIECE})] * chunks, end, json.dumps(whole).encode()


def _messages(chunks: int) -> tuple[list[bytes], bytes, bytes]:
    usage = {"input_tokens": 9, "output_tokens": 20}
    message = {
        "id": "msg_01XFDUDYJgAACzvnptvVoYEL",
        "type": "message",
        "role": "assistant",
        "model": MODEL,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage,
    }
    start = _sse({"type": "message_start", "message": message}, "message_start")
    block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": PIECE}}
    stop = {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}}
    piece = _sse(delta, "content_block_delta")
    end = (
        _sse({"type": "content_block_stop", "index": 0}, "content_block_stop")
        + _sse({**stop, "usage": usage}, "message_delta")
        + _sse({"type": "message_stop"}, "message_stop")
    )
    first = start + _sse(block, "content_block_start") + piece
    whole = {**message, "content": [{"type": "text", "text": PIECE * chunks}], "stop_reason": "end_turn"}
    return [first, *[piece] * (chunks - 1)], end, json.dumps(whole).encode()


def _ollama(chunks: int) -> tuple[list[bytes], bytes, bytes]:
    def line(content: str, **more: object) -> bytes:
        message = {"role": "assistant", "content": content}
        value = {"model": MODEL, "created_at": "2025-06-15T12:00:00.0Z", "message": message, "done": False}
        return json.dumps({**value, **more}).encode() + b"\n"

    counts = {"prompt_eval_count": 9, "eval_count": 20, "done": True, "done_reason": "stop"}
    return [line(PIECE)] * chunks, line("", **counts), line(PIECE * chunks, **counts)


DIALECTS: Mapping[str, tuple[Callable[[int], tuple[list[bytes], bytes, bytes]], str]] = {
    CHAT: (_chat, "text/event-stream; charset=utf-8"),
    MESSAGES: (_messages, "text/event-stream; charset=utf-8"),
    OLLAMA: (_ollama, "application/x-ndjson"),
}


def _http_chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class _Script:
    """The response to one kind of request, as bytes that are ready to be written."""

    def __init__(self, path: str, settings: str) -> None:
        wanted = dict(part.split("-") for part in settings.split(".") if part)
        dialect, content_type = next(
            (found for suffix, found in DIALECTS.items() if path.endswith(suffix)), DIALECTS[CHAT]
        )
        self.first = int(wanted.get("first", 0)) / 1000
        self.gap = int(wanted.get("gap", 0)) / 1000
        pieces, end, whole = dialect(int(wanted.get("chunks", 20)))
        join = int(wanted.get("join", 1))
        writes = [_http_chunk(b"".join(pieces[i : i + join])) for i in range(0, len(pieces), join)]
        self.holds = "hold" in wanted
        head = self._head("200 OK", content_type, "transfer-encoding: chunked")
        if self.first:
            self.head = head
        else:
            self.head, writes[0] = b"", head + writes[0]
        self.writes = writes[:1] if self.holds else [*writes, _http_chunk(end) + b"0\r\n\r\n"]
        self.whole = self._head("200 OK", "application/json", f"content-length: {len(whole)}") + whole
        self.always_whole = "whole" in wanted
        self.error: bytes | None = None
        if status := wanted.get("status"):
            error = {"message": "The request was refused", "type": "refused", "code": wanted.get("code")}
            body = json.dumps({"error": error}).encode()
            self.error = self._head(f"{status} Refused", "application/json", f"content-length: {len(body)}")
            self.error += body

    @staticmethod
    def _head(status: str, content_type: str, framing: str) -> bytes:
        lines = (
            f"HTTP/1.1 {status}",
            "date: Sun, 15 Jun 2025 12:00:00 GMT",
            f"content-type: {content_type}",
            "cache-control: no-cache",
            "x-request-id: req_2f6d1c0b8a7e4d53",
            "server: mock",
            framing,
            "",
            "",
        )
        return "\r\n".join(lines).encode()


_script = cache(_Script)


class Upstream(asyncio.Protocol):
    """One connection of a client."""

    closed: dict[int, float] = {}  # noqa: RUF012  (shared by all connections on purpose)

    def __init__(self) -> None:
        self._buffer = b""
        self._tag: int | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._tag is not None:
            Upstream.closed[self._tag] = time.monotonic()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, separator, rest = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        length = int(lengths[0].partition(b":")[2]) if lengths else 0
        if len(rest) < length:
            return
        self._buffer = rest[length:]
        path = head.split(b" ", 2)[1].decode()
        self._answer(path, rest[:length])

    def _answer(self, path: str, body: bytes) -> None:
        if path == "/closed":
            closed = json.dumps(Upstream.closed).encode()
            self._transport.write(
                _Script._head("200 OK", "application/json", f"content-length: {len(closed)}") + closed
            )
            Upstream.closed.clear()
            return
        first = path.split("/")[1]
        settings = SETTINGS.search(body)
        script = _script(path, first if "-" in first else settings[1].decode() if settings else "")
        if script.error is not None:
            self._transport.write(script.error)
        elif script.always_whole or b'"stream":true' not in body.replace(b" ", b""):
            self._transport.write(script.whole)
        else:
            tagged = TAG.search(body)
            self._tag = int(tagged[1]) if tagged else None
            if script.head:
                self._transport.write(script.head)
            self._play(script, 0, self._loop.time() + script.first)

    def _play(self, script: _Script, place: int, when: float) -> None:
        """Write what is due. Times count from the first write, so that a late write delays no other."""
        while place < len(script.writes):
            if when > self._loop.time():
                self._timer = self._loop.call_at(when, self._play, script, place, when)
                return
            if place == len(script.writes) - 1 and not script.holds:
                self._tag = None
            self._transport.write(script.writes[place])
            place, when = place + 1, when + script.gap


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)  # until the parent exits


if __name__ == "__main__":
    asyncio.run(_serve())
