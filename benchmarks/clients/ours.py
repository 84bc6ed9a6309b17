"""The whole gateway: supervision tree, two workers, keys, breaker, failover, ledger."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from cortex_trio import Cortex, open_cortex
from cortex_trio.telemetry import Observer

from ..workload import Workload
from . import KEY, MODEL, REFUSING, OnPiece

BACKEND = "trio"

DIALECTS: Mapping[str, tuple[str, str]] = {
    "chat": ("openai_compatible", "/v1"),
    "messages": ("anthropic", "/v1"),
    "ollama": ("ollama", ""),
}


class Ours:
    def __init__(self, cortex: Cortex) -> None:
        self._cortex = cortex

    async def stream(self, prompt: str, on_piece: OnPiece) -> None:
        async with self._cortex.chat(prompt) as answer:
            async for _ in answer.text():
                if on_piece():
                    break

    async def whole(self, prompt: str) -> None:
        await self._cortex.complete(prompt)


@asynccontextmanager
async def open_client(
    address: str, workload: Workload, on_event: Observer | None = None
) -> AsyncIterator[Ours]:
    provider, root = DIALECTS[workload.dialect]
    common: dict[str, Any] = {"provider": provider, "models": [MODEL], "api_keys": [KEY]}
    workers = {
        "first": {**common, "base_url": f"{address}{root}", "priority": 0},
        "second": {**common, "base_url": f"{address}{root}", "priority": 1},
    }
    if workload.refusing:
        workers["first"] |= {"base_url": f"{address}{REFUSING}{root}", "context_window": 100_000}
        workers["second"]["context_window"] = 1_000_000
    async with open_cortex(workers, on_event=on_event) as cortex:
        yield Ours(cortex)
