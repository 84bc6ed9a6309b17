"""LiteLLM's Router with one fallback: the gateway most Python programs have."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # else it fetches a list while it is imported
import litellm

from ..workload import Workload
from . import KEY, MODEL, REFUSING, OnPiece

BACKEND = "asyncio"


class Router:
    def __init__(self, router: litellm.Router) -> None:
        self._router = router

    async def stream(self, prompt: str, on_piece: OnPiece) -> None:
        answer: Any = await self._router.acompletion(
            model="first", messages=[{"role": "user", "content": prompt}], stream=True
        )
        async for chunk in answer:
            if chunk.choices and chunk.choices[0].delta.content and on_piece():
                break

    async def whole(self, prompt: str) -> None:
        answer: Any = await self._router.acompletion(
            model="first", messages=[{"role": "user", "content": prompt}]
        )
        assert answer.choices[0].message.content


@asynccontextmanager
async def open_client(address: str, workload: Workload) -> AsyncIterator[Router]:
    settings = {"model": f"openai/{MODEL}", "api_key": KEY, "max_retries": 0}
    first = f"{address}{REFUSING}/v1" if workload.refusing else f"{address}/v1"
    yield Router(
        litellm.Router(
            model_list=[
                {"model_name": "first", "litellm_params": {**settings, "api_base": first}},
                {"model_name": "second", "litellm_params": {**settings, "api_base": f"{address}/v1"}},
            ],
            fallbacks=[{"first": ["second"]}],
            context_window_fallbacks=[{"first": ["second"]}],
            num_retries=0,
        )
    )
