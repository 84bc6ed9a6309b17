"""A small OpenAI-compatible HTTP server in front of a gateway: what a user of another language would put there.

As a program, `openai_front.py PORT PRIMARY FALLBACK`, it is a gateway of its own, in a process of its own.
"""

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import h11
import trio

from cortex_trio import (
    AllWorkersFailed,
    Cortex,
    CortexError,
    ProviderError,
    StreamInterrupted,
    TextDelta,
    open_cortex,
)

EVENT_STREAM = [
    ("content-type", "text/event-stream"),
    ("connection", "close"),
    ("transfer-encoding", "chunked"),
]


@asynccontextmanager
async def open_front(cortex: Cortex, port: int = 0, **options: Any) -> AsyncIterator[str]:
    """Serve `cortex.chat(..., **options)` on a port of this machine; yields the base URL."""
    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(port, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, partial(_serve, cortex, options), [listener])
        yield f"http://127.0.0.1:{listener.socket.getsockname()[1]}/v1"
        nursery.cancel_scope.cancel()


async def _serve(cortex: Cortex, options: dict[str, Any], stream: trio.SocketStream) -> None:
    http = h11.Connection(h11.SERVER)

    async def send(*events: Any) -> None:
        for event in events:
            await stream.send_all(http.send(event) or b"")

    async def refuse(status: int, error: CortexError) -> None:
        body = json.dumps({"error": {"message": str(error), "type": type(error).__name__}}).encode()
        head = [
            ("content-type", "application/json"),
            ("content-length", str(len(body))),
            ("connection", "close"),
        ]
        await send(h11.Response(status_code=status, headers=head), h11.Data(data=body), h11.EndOfMessage())

    async with stream:
        body = await _request(http, stream)
        if body is None:
            await refuse(404, CortexError("only chat completions are here"))
            return
        try:
            async with cortex.chat(body["messages"], **options) as answer:
                await send(h11.Response(status_code=200, headers=EVENT_STREAM))
                async for event in answer:
                    if isinstance(event, TextDelta):
                        await send(h11.Data(data=_chunk(answer.model, {"content": event.text}, None)))
                await send(
                    h11.Data(data=_chunk(answer.model, {}, "stop") + b"data: [DONE]\n\n"), h11.EndOfMessage()
                )
        except StreamInterrupted as error:
            await send(
                h11.Data(data=b'data: {"error": {"message": "%s"}}\n\n' % error.failure.kind.value.encode())
            )
        except AllWorkersFailed as error:
            await refuse(error.primary.failure.status or 502, error)
        except ProviderError as error:
            await refuse(error.failure.status or 502, error)
        except CortexError as error:
            await refuse(503, error)


async def _request(http: h11.Connection, stream: trio.SocketStream) -> Any:
    """The JSON of a request for a chat; None for any other request."""
    body, path = bytearray(), b""
    while True:
        match http.next_event():
            case h11.NEED_DATA:
                http.receive_data(bytes(await stream.receive_some()))
            case h11.Request(target=path):
                pass
            case h11.Data(data=data):
                body += data
            case _:
                return json.loads(body) if path.endswith(b"/chat/completions") else None


def _chunk(model: str, delta: dict[str, str], finish: str | None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    chunk = {"object": "chat.completion.chunk", "model": model, "choices": [choice]}
    return f"data: {json.dumps(chunk)}\n\n".encode()


async def _gateway(port: int, primary: str, fallback: str) -> None:
    """Two upstreams, the first one first; a key for each is any."""
    upstreams = {"primary": primary, "fallback": fallback}
    workers = {
        name: {
            "provider": "openai_compatible",
            "base_url": url,
            "api_keys": ["sk-sim-any"],
            "models": [f"{name}-model"],
            "priority": place,
        }
        for place, (name, url) in enumerate(upstreams.items())
    }
    async with open_cortex(workers) as cortex, open_front(cortex, port):
        await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(_gateway, int(sys.argv[1]), *sys.argv[2:4])
