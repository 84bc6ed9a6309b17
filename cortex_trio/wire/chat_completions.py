"""The chat completions dialect: OpenAI's, and with small options Groq's, xAI's and most other servers'.

One frozen value says how a server deviates; the translation itself is in `chat_completions_encode` (our
request to JSON) and `chat_completions_decode` (its answer to events). Embeddings and the model list are here.
https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

import base64
import binascii
import json
import sys
from array import array
from collections.abc import Sequence
from typing import Any

import attrs

from ..events import WireEvent
from ..messages import ChatRequest
from .chat_completions_decode import ChatCompletionsDecoder, read_reply
from .chat_completions_encode import chat_body
from .codec import HttpRequest, Unsupported, json_post

SSE = "text/event-stream"
JSON = "application/json"


@attrs.frozen
class ChatCompletions:
    """How one server speaks it.

    `max_tokens_field`: OpenAI's reasoning models refuse `max_tokens`, older servers know nothing else.
    `usage_excludes_reasoning`: xAI's completion_tokens leave out reasoning_tokens; our output_tokens never do.
    `embeddings`: whether there is an /embeddings endpoint.
    `reasoning_field`: the field of an assistant message in which the server wants its reasoning back
    (DeepSeek in tool loops: "reasoning_content"; Groq allows "reasoning"). None: reasoning is not sent.
    """

    max_tokens_field: str = "max_completion_tokens"
    usage_excludes_reasoning: bool = False
    embeddings: bool = False
    reasoning_field: str | None = None

    @property
    def name(self) -> str:
        return "chat_completions"

    def encode(self, request: ChatRequest, provider: str, model: str) -> HttpRequest:
        body = chat_body(
            request,
            provider,
            model,
            max_tokens_field=self.max_tokens_field,
            reasoning_field=self.reasoning_field,
        )
        accept = SSE if request.stream else JSON
        return json_post("/chat/completions", body, request.extra_body, accept=accept)

    def decoder(self) -> ChatCompletionsDecoder:
        return ChatCompletionsDecoder(usage_excludes_reasoning=self.usage_excludes_reasoning)

    def decode_reply(self, body: bytes) -> list[WireEvent]:
        return read_reply(body, usage_excludes_reasoning=self.usage_excludes_reasoning)

    def encode_embed(
        self, texts: Sequence[str], provider: str, model: str, dimensions: int | None
    ) -> HttpRequest:
        if not self.embeddings:
            raise Unsupported("embeddings", provider)
        body: dict[str, Any] = {"model": model, "input": list(texts)}
        if dimensions is not None:
            body["dimensions"] = dimensions
        return json_post("/embeddings", body, accept=JSON)

    def decode_embed(self, body: bytes) -> Sequence[Sequence[float]]:
        items = _data(body, "embeddings")
        try:
            ordered = sorted(items, key=lambda item: item["index"])
            if [item["index"] for item in ordered] != list(range(len(ordered))):
                raise ValueError("embeddings: the indexes are not 0, 1, 2 …")
            return [_vector(item["embedding"]) for item in ordered]
        except (KeyError, TypeError):
            raise ValueError("embeddings: an item without index and embedding") from None

    def decode_models(self, body: bytes) -> Sequence[str]:
        models = _data(body, "models")
        if not all(isinstance(model, dict) and isinstance(model.get("id"), str) for model in models):
            raise ValueError("models: an item without an id")
        return [model["id"] for model in models]


def _data(body: bytes, what: str) -> list[Any]:
    """The `data` list that both lists come in."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise ValueError(f"{what}: the body is not JSON") from None
    items = value.get("data") if isinstance(value, dict) else None
    if not isinstance(items, list):
        raise ValueError(f"{what}: the body has no list under data")
    return items


def _vector(embedding: object) -> list[float]:
    """Numbers as they are, or base64 of little-endian 32-bit floats (encoding_format="base64")."""
    if isinstance(embedding, str):
        try:
            raw = base64.b64decode(embedding, validate=True)
            floats = array("f", raw)
        except (binascii.Error, ValueError):
            raise ValueError("embeddings: a vector is not base64 of 32-bit floats") from None
        if sys.byteorder == "big":
            floats.byteswap()
        return floats.tolist()
    if isinstance(embedding, list) and all(isinstance(number, int | float) for number in embedding):
        return [float(number) for number in embedding]
    raise ValueError("embeddings: a vector is neither a list of numbers nor base64")
