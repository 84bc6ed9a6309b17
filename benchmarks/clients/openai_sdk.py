"""The openai SDK, doing the bare call on Trio without any gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import openai

from ..workload import Workload
from . import KEY, MODEL, OnPiece

BACKEND = "trio"


class Sdk:
    def __init__(self, client: openai.AsyncOpenAI) -> None:
        self._client = client

    async def stream(self, prompt: str, on_piece: OnPiece) -> None:
        answer = await self._client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": prompt}], stream=True
        )
        async with answer:
            async for chunk in answer:
                if chunk.choices and chunk.choices[0].delta.content and on_piece():
                    break

    async def whole(self, prompt: str) -> None:
        answer = await self._client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": prompt}]
        )
        assert answer.choices[0].message.content


@asynccontextmanager
async def open_client(address: str, workload: Workload) -> AsyncIterator[Sdk]:
    async with openai.AsyncOpenAI(api_key=KEY, base_url=f"{address}/v1", max_retries=0) as client:
        yield Sdk(client)
