"""Answers as bytes, made by hand for the raw server: heads, bodies of every dialect, lists, pages, packed bodies.

It knows nothing of the package: a mistake in our decoders cannot be repeated here.
"""

import gzip
import json
import zlib
from collections.abc import Mapping, Sequence
from http import HTTPStatus

MODEL = "m-1"
TEXT = "served"
Headers = Mapping[str, str] | Sequence[tuple[str, str]]

PAGE = (
    b"<!DOCTYPE html><html><head><title>Oops</title></head><body><h1>Something went wrong</h1></body></html>"
)
SSE, JSON, HTML, NDJSON = "text/event-stream", "application/json", "text/html", "application/x-ndjson"


def head(status: int, headers: Headers = ()) -> bytes:
    """The status line and the headers, with the empty line that ends them."""
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    try:
        reason = HTTPStatus(status).phrase
    except ValueError:
        reason = "Odd"
    lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in pairs)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def http(status: int, body: bytes = b"", headers: Headers = (), *, kind: str = JSON) -> bytes:
    """A whole answer, framed by its length."""
    pairs = [*(headers.items() if isinstance(headers, Mapping) else headers)]
    named = {name.lower() for name, _ in pairs}
    if "content-type" not in named:
        pairs.append(("content-type", kind))
    return head(status, [*pairs, ("content-length", str(len(body)))]) + body


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body; of no bytes: the last one."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def chunked(*pieces: bytes, status: int = 200, headers: Headers = (), kind: str = SSE) -> bytes:
    """A whole answer in chunks."""
    return open_head(status, headers, kind=kind) + b"".join(map(chunk, pieces)) + chunk(b"")


def open_head(status: int = 200, headers: Headers = (), *, kind: str = SSE) -> bytes:
    """The head of an answer whose chunks are still to come."""
    pairs = [*(headers.items() if isinstance(headers, Mapping) else headers)]
    return head(status, [*pairs, ("content-type", kind), ("transfer-encoding", "chunked")])


def packed(body: bytes, encoding: str) -> bytes:
    """`body` as a server packs it; br and zstd only where their modules are."""
    match encoding:
        case "gzip":
            return gzip.compress(body)
        case "deflate":
            return zlib.compress(body)
        case "br":
            import brotli

            return bytes(brotli.compress(body))
        case "zstd":
            import zstandard

            return bytes(zstandard.compress(body))
    raise ValueError(encoding)


def error(message: str, kind: str = "server_error", code: str | None = None) -> bytes:
    """An error body in OpenAI's shape."""
    return as_json({"error": {"message": message, "type": kind, "code": code, "param": None}})


def as_json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


# ------------------------------------------------------------------ chat


def sse(*payloads: object, named: bool = False) -> bytes:
    """Server-sent events; `named`: with the payload's type as the event's name."""
    events = []
    for payload in payloads:
        data = payload if isinstance(payload, str) else json.dumps(payload, separators=(",", ":"))
        name = f"event: {payload['type']}\n" if named and isinstance(payload, dict) else ""
        events.append(f"{name}data: {data}\n\n")
    return "".join(events).encode()


def delta(content: str | None = None, finish: str | None = None, **more: object) -> dict[str, object]:
    """One chunk of a chat completion."""
    said = {"role": "assistant", "content": content} if content is not None else {}
    choice = {"index": 0, "delta": {**said, **more}, "finish_reason": finish}
    return {"id": "c-1", "object": "chat.completion.chunk", "created": 1, "model": MODEL, "choices": [choice]}


def completion(text: str = TEXT) -> bytes:
    """A chat completion as one JSON object."""
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    made = {"id": "c-1", "object": "chat.completion", "created": 1, "model": MODEL}
    return as_json({**made, "choices": [choice], "usage": usage})


def response_object(output: Sequence[object] = (), **more: object) -> dict[str, object]:
    """What the Responses API calls a response."""
    base = {"id": "r-1", "object": "response", "created_at": 1, "status": "in_progress", "model": MODEL}
    return {**base, "output": list(output), **more}


def responses_events(text: str = TEXT, **more: object) -> list[dict[str, object]]:
    """The events of one answer of the Responses API; `more` are fields that every response object repeats."""
    part = {"type": "output_text", "text": text, "annotations": []}
    item = {"id": "i-1", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
    started = {**item, "status": "in_progress", "content": []}
    position = {"item_id": "i-1", "output_index": 0, "content_index": 0}
    usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
    events: list[dict[str, object]] = [
        {"type": "response.created", "response": response_object(**more)},
        {"type": "response.in_progress", "response": response_object(**more)},
        {"type": "response.output_item.added", "output_index": 0, "item": started},
        {"type": "response.content_part.added", **position, "part": {**part, "text": ""}},
        {"type": "response.output_text.delta", **position, "delta": text},
        {"type": "response.output_text.done", **position, "text": text},
        {"type": "response.content_part.done", **position, "part": part},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {
            "type": "response.completed",
            "response": response_object([item], **{**more, "status": "completed", "usage": usage}),
        },
    ]
    return [{**event, "sequence_number": number} for number, event in enumerate(events)]


def gemini_event(*parts: object, finish: str | None = None) -> dict[str, object]:
    """One streamed part of a Gemini answer."""
    candidate = {"content": {"parts": list(parts), "role": "model"}, "index": 0}
    return {"candidates": [candidate | ({"finishReason": finish} if finish else {})]}


def _anthropic(text: str) -> bytes:
    message = {"id": "a-1", "type": "message", "role": "assistant", "model": MODEL, "content": []}
    usage = {"input_tokens": 1, "output_tokens": 1}
    return sse(
        {"type": "message_start", "message": {**message, "stop_reason": None, "usage": usage}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}},
        {"type": "message_stop"},
        named=True,
    )


def _cohere(text: str) -> bytes:
    content = {"message": {"content": {"type": "text", "text": ""}}}
    usage = {"tokens": {"input_tokens": 1, "output_tokens": 1}}
    return sse(
        {"type": "message-start", "id": "co-1", "delta": {"message": {"role": "assistant", "content": []}}},
        {"type": "content-start", "index": 0, "delta": content},
        {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": text}}}},
        {"type": "content-end", "index": 0},
        {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": usage}},
        named=True,
    )


def _ollama(text: str) -> bytes:
    base = {"model": MODEL, "created_at": "2026-01-01T00:00:00Z"}
    said = {**base, "message": {"role": "assistant", "content": text}, "done": False}
    last = {**base, "message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop"}
    return b"".join(as_json(line) + b"\n" for line in (said, {**last, "eval_count": 1}))


def answer_body(provider: str, text: str = TEXT) -> bytes:
    """The streamed body with which `provider` says `text`."""
    match provider:
        case "anthropic":
            return _anthropic(text)
        case "gemini":
            return sse(gemini_event({"text": text}), gemini_event({"text": ""}, finish="STOP"))
        case "cohere":
            return _cohere(text)
        case "ollama":
            return _ollama(text)
        case "openai_responses" | "xai_responses":
            return sse(*responses_events(text), named=True)
    return sse(delta(""), delta(text), delta(finish="stop"), "[DONE]")


def said(provider: str = "openai", text: str = TEXT, headers: Headers = ()) -> bytes:
    """The whole streamed answer with which `provider` says `text`."""
    return chunked(answer_body(provider, text), headers=headers, kind=NDJSON if provider == "ollama" else SSE)


# ------------------------------------------------------------------ lists and vectors


def model_list(provider: str = "openai", *models: str) -> bytes:
    """The whole answer to a question for models."""
    names = models or (MODEL,)
    match provider:
        case "gemini":
            listed: object = {"models": [{"name": f"models/{name}"} for name in names]}
        case "cohere" | "ollama":
            listed = {"models": [{"name": name, "model": name} for name in names]}
        case "xai" | "xai_responses":
            listed = {"api_key_blocked": False, "data": [{"id": name, "object": "model"} for name in names]}
        case _:
            listed = {"object": "list", "data": [{"id": name, "object": "model"} for name in names]}
    return http(200, as_json(listed))


def embedding_list(count: int, dimensions: int) -> bytes:
    """OpenAI's answer to `count` texts, with numbers of the length real ones have."""
    vector = ",".join(f"-0.0{number % 10}34567890123456789" for number in range(dimensions))
    rows = ",".join(f'{{"object":"embedding","index":{at},"embedding":[{vector}]}}' for at in range(count))
    usage = '"usage":{"prompt_tokens":8,"total_tokens":8}'
    return f'{{"object":"list","data":[{rows}],"model":"{MODEL}",{usage}}}'.encode()
