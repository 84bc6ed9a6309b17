"""Cohere's chat API, version 2, in both directions. `decode` describes the stream.

It is the only dialect that takes documents as such and cites them.
Facts: Cohere API v2 reference.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from ...events import Vectors, WireEvent
from ...messages import ChatRequest
from ..codec import HttpRequest, Unsupported, json_post
from ..lists import input_usage, listed, listed_with_body, model_names, vectors
from .decode import CohereDecoder, decode_whole
from .encode import chat_body

MOST_TEXTS = 96
"""To embed in one request."""


@attrs.frozen
class CohereChat:
    """The dialect of api.cohere.com."""

    name: str = attrs.field(default="cohere_chat", init=False)

    def encode(self, request: ChatRequest, provider: str, model: str) -> HttpRequest:
        accept = "text/event-stream" if request.stream else "application/json"
        return json_post("/v2/chat", chat_body(request, provider, model), request.extra_body, accept=accept)

    def decoder(self) -> CohereDecoder:
        return CohereDecoder()

    def decode_reply(self, body: bytes) -> list[WireEvent]:
        return decode_whole(body)

    def encode_embed(
        self, texts: Sequence[str], provider: str, model: str, dimensions: int | None
    ) -> HttpRequest:
        """`input_type` must be given on this wire; search_document is the one made for texts to keep.

        Raises Unsupported for more texts than one request takes.
        """
        if len(texts) > MOST_TEXTS:
            raise Unsupported(f"more than {MOST_TEXTS} texts at once", provider)
        size = {} if dimensions is None else {"output_dimension": dimensions}
        fixed = {"input_type": "search_document", "embedding_types": ["float"]}
        body = {"model": model, "texts": list(texts), **fixed, **size}
        return json_post("/v2/embed", body, accept="application/json")

    def decode_embed(self, body: bytes) -> Vectors:
        items, response = listed_with_body(body, "embeddings", "float")
        meta = response.get("meta")
        billed = meta.get("billed_units") if isinstance(meta, dict) else None
        return Vectors(vectors(items), input_usage(billed, "input_tokens"))

    def decode_models(self, body: bytes) -> Sequence[str]:
        return model_names(listed(body, "models"), "name")
