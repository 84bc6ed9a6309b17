"""Gemini's generateContent, in both directions. `decode` describes the stream.

The model is part of the path, as is whether the answer streams: `…:streamGenerateContent?alt=sse` or
`…:generateContent`. Facts: Generative Language API reference, v1beta.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from ...events import Vectors, WireEvent
from ...messages import ChatRequest
from ..codec import HttpRequest, Unsupported, json_post
from ..lists import input_usage, listed, listed_with_body, member, model_names, vectors
from .decode import GeminiDecoder, decode_whole
from .encode import THINKING, chat_body
from .values import resource_path

MOST_TEXTS = 100
"""To embed in one request."""


@attrs.frozen
class Gemini:
    """The dialect of generativelanguage.googleapis.com (and, below its own paths, of Vertex AI)."""

    name: str = attrs.field(default="gemini", init=False)
    efforts: Sequence[str] = attrs.field(default=tuple(THINKING), init=False, repr=False)

    def encode(self, request: ChatRequest, provider: str, model: str) -> HttpRequest:
        """Raises InvalidRequest for tool calls whose arguments are no object and results that answer no call."""
        body = chat_body(request, provider, model)
        extra = _overlay(body, request.extra_body or {})
        if request.stream:
            path, accept = f"/{resource_path(model)}:streamGenerateContent?alt=sse", "text/event-stream"
        else:
            path, accept = f"/{resource_path(model)}:generateContent", "application/json"
        return json_post(path, body, extra, accept=accept)

    def decoder(self) -> GeminiDecoder:
        return GeminiDecoder()

    def decode_reply(self, body: bytes) -> list[WireEvent]:
        return decode_whole(body)

    def encode_embed(
        self, texts: Sequence[str], provider: str, model: str, dimensions: int | None
    ) -> HttpRequest:
        if len(texts) > MOST_TEXTS:
            raise Unsupported(f"more than {MOST_TEXTS} texts at once", provider)
        size = {} if dimensions is None else {"outputDimensionality": dimensions}
        requests = [
            {"model": resource_path(model), "content": {"parts": [{"text": text}]}, **size} for text in texts
        ]
        path = f"/{resource_path(model)}:batchEmbedContents"
        return json_post(path, {"requests": requests}, accept="application/json")

    def decode_embed(self, body: bytes) -> Vectors:
        items, response = listed_with_body(body, "embeddings")
        usage = input_usage(response.get("usageMetadata"), "promptTokenCount")
        return Vectors(vectors([member(item, "values") for item in items]), usage)

    def decode_models(self, body: bytes) -> Sequence[str]:
        return tuple(name.removeprefix("models/") for name in model_names(listed(body, "models"), "name"))


def _overlay(body: Mapping[str, Any], extra: Mapping[str, Any]) -> Mapping[str, Any]:
    """Lay `extra` over the objects inside the body too: nearly every option of this wire is in generationConfig."""
    return {
        key: {**body[key], **value} if isinstance(value, Mapping) and key in body else value
        for key, value in extra.items()
    }
