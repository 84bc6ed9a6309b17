"""pydantic-ai's FallbackModel over two OpenAI models, asked directly, without an agent around it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pydantic_ai.direct import model_request, model_request_stream
from pydantic_ai.messages import ModelRequest, PartDeltaEvent, PartStartEvent, TextPartDelta
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from ..workload import Workload
from . import KEY, MODEL, REFUSING, OnPiece

BACKEND = "asyncio"


class Model:
    def __init__(self, model: FallbackModel) -> None:
        self._model = model

    async def stream(self, prompt: str, on_piece: OnPiece) -> None:
        messages = [ModelRequest.user_text_prompt(prompt)]
        async with model_request_stream(self._model, messages) as answer:
            async for event in answer:
                delta = isinstance(event, PartDeltaEvent) and isinstance(event.delta, TextPartDelta)
                if (delta or isinstance(event, PartStartEvent)) and on_piece():
                    break

    async def whole(self, prompt: str) -> None:
        answer = await model_request(self._model, [ModelRequest.user_text_prompt(prompt)])
        assert answer.parts


@asynccontextmanager
async def open_client(address: str, workload: Workload) -> AsyncIterator[Model]:
    first = f"{address}{REFUSING}/v1" if workload.refusing else f"{address}/v1"
    addresses = (first, f"{address}/v1")
    providers = (OpenAIProvider(base_url=each, api_key=KEY) for each in addresses)
    yield Model(FallbackModel(*(OpenAIChatModel(MODEL, provider=provider) for provider in providers)))
