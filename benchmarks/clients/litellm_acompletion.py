"""LiteLLM's `acompletion`, without a Router around it: what its translation alone costs."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # else it fetches a list while it is imported
import litellm

from ..workload import Workload
from . import KEY, MODEL, OnPiece

BACKEND = "asyncio"


class Acompletion:
    def __init__(self, address: str) -> None:
        self._settings: Any = {
            "model": f"openai/{MODEL}",
            "api_key": KEY,
            "api_base": f"{address}/v1",
            "max_retries": 0,
        }

    async def stream(self, prompt: str, on_piece: OnPiece) -> None:
        messages = [{"role": "user", "content": prompt}]
        answer: Any = await litellm.acompletion(messages=messages, stream=True, **self._settings)
        async for chunk in answer:
            if chunk.choices and chunk.choices[0].delta.content and on_piece():
                break

    async def whole(self, prompt: str) -> None:
        messages = [{"role": "user", "content": prompt}]
        answer: Any = await litellm.acompletion(messages=messages, **self._settings)
        assert answer.choices[0].message.content


@asynccontextmanager
async def open_client(address: str, workload: Workload) -> AsyncIterator[Acompletion]:
    yield Acompletion(address)
