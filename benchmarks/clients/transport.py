"""Our connections alone: a prepared request, bytes, and the JSON of each piece. The gateway without the gateway."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from cortex_trio import ApiKey, WorkerConfig
from cortex_trio.gateway.transport.connections import Connections
from cortex_trio.http import Deadlines
from cortex_trio.wire.codec import HttpRequest, json_post
from cortex_trio.wire.sse import SseReader

from ..workload import Workload
from . import KEY, MODEL, OnPiece

BACKEND = "trio"


class Transport:
    def __init__(self, address: str, deadlines: Deadlines) -> None:
        self._connections = Connections(
            WorkerConfig(provider="openai_compatible", base_url=f"{address}/v1", models=(MODEL,))
        )
        self._key = ApiKey(KEY)
        self._deadlines = deadlines

    def _request(self, prompt: str, **more: object) -> HttpRequest:
        body = {"model": MODEL, "messages": [{"role": "user", "content": prompt}], **more}
        return json_post("/chat/completions", body, accept="text/event-stream")

    async def stream(self, prompt: str, on_piece: OnPiece) -> None:
        request = self._request(prompt, stream=True)
        answer = await self._connections.send(
            request, self._key, connect_timeout=10, deadlines=self._deadlines
        )
        reader = SseReader()
        try:
            while data := await answer.receive(trio.current_time() + 60):
                for event in reader.feed(data):
                    if event.data == "[DONE]":
                        continue
                    choices = json.loads(event.data)["choices"]
                    if choices and choices[0]["delta"].get("content") and on_piece():
                        return
        finally:
            await answer.aclose()

    async def whole(self, prompt: str) -> None:
        answer = await self._connections.send(self._request(prompt), self._key, connect_timeout=10)
        body = b""
        while data := await answer.receive():
            body += data
        assert json.loads(body)["choices"][0]["message"]["content"]
        await answer.aclose()


@asynccontextmanager
async def open_client(address: str, workload: Workload) -> AsyncIterator[Transport]:
    deadlines = Deadlines()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(deadlines.run)
        yield Transport(address, deadlines)
        nursery.cancel_scope.cancel()
