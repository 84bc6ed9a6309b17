"""httpx and nothing around it: what a program pays that does without any gateway."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from ..workload import Workload
from . import KEY, MODEL, OnPiece

BACKEND = "trio"


class Bare:
    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def stream(self, prompt: str, on_piece: OnPiece) -> None:
        messages = [{"role": "user", "content": prompt}]
        body = {"model": MODEL, "messages": messages, "stream": True}
        async with self._client.stream("POST", "/chat/completions", json=body) as response:
            async for line in response.aiter_lines():
                if not line.startswith("data: {"):
                    continue
                choices = json.loads(line[6:])["choices"]
                if choices and choices[0]["delta"].get("content") and on_piece():
                    break

    async def whole(self, prompt: str) -> None:
        body = {"model": MODEL, "messages": [{"role": "user", "content": prompt}]}
        response = await self._client.post("/chat/completions", json=body)
        assert response.json()["choices"][0]["message"]["content"]


@asynccontextmanager
async def open_client(address: str, workload: Workload) -> AsyncIterator[Bare]:
    async with httpx.AsyncClient(
        base_url=f"{address}/v1",
        headers={"authorization": f"Bearer {KEY}"},
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=30),
        timeout=60,
    ) as client:
        yield Bare(client)
