"""The Ollama dialect: `POST /api/chat`, newline-delimited JSON or one object; `/api/embed`, `/api/tags`.

encode and decode are the client side; parse, rules, render, errors and server are the other. Source: docs/api.md and
server/routes.go of the Ollama project.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from ...events import Vectors, WireEvent
from ...messages import ChatRequest
from ..codec import HttpRequest, json_post
from ..lists import input_usage, listed, listed_with_body, model_names, vectors
from .decode import ChatDecoder, decode_chat
from .encode import THINK, chat_body


@attrs.frozen
class OllamaChat:
    """See `wire.codec.Dialect` for the methods."""

    name: str = attrs.field(default="ollama_chat", init=False)
    efforts: Sequence[str] = attrs.field(default=tuple(THINK), init=False, repr=False)

    def encode(self, request: ChatRequest, provider: str, model: str) -> HttpRequest:
        accept = "application/x-ndjson" if request.stream else "application/json"
        return json_post("/api/chat", chat_body(request, provider, model), accept=accept)

    def decoder(self) -> ChatDecoder:
        return ChatDecoder()

    def decode_reply(self, body: bytes) -> list[WireEvent]:
        return decode_chat(body)

    def encode_embed(
        self, texts: Sequence[str], provider: str, model: str, dimensions: int | None
    ) -> HttpRequest:
        body: dict[str, Any] = {"model": model, "input": list(texts)}
        if dimensions is not None:
            body["dimensions"] = dimensions
        return json_post("/api/embed", body, accept="application/json")

    def decode_embed(self, body: bytes) -> Vectors:
        items, response = listed_with_body(body, "embeddings")
        return Vectors(vectors(items), input_usage(response, "prompt_eval_count"))

    def decode_models(self, body: bytes) -> Sequence[str]:
        return model_names(listed(body, "models"), "name", "model")
