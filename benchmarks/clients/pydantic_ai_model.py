"""pydantic-ai's OpenAI model, asked directly, without an agent around it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pydantic_ai.direct import model_request, model_request_stream
from pydantic_ai.messages import ModelRequest, PartDeltaEvent, PartStartEvent, TextPartDelta
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from ..workload import Workload
from . import KEY, MODEL, OnPiece

BACKEND = "asyncio"


class Model:
    def __init__(self, model: OpenAIChatModel) -> None:
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
    yield Model(OpenAIChatModel(MODEL, provider=OpenAIProvider(base_url=f"{address}/v1", api_key=KEY)))
