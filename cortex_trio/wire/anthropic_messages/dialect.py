"""The Anthropic Messages dialect: `POST /v1/messages`, server-sent events or one JSON message.

encode, decode and blocks are the client side; parse, rules, render, errors and server are the other. The key and the
dated version header belong to the provider. Source: Anthropic API reference, Messages.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Self

import attrs

from ...events import Vectors, WireEvent
from ...failures import Failure
from ...messages import ChatRequest
from ..codec import HttpRequest, Unsupported, json_post
from ..lists import listed, member
from ..unknown_fields import is_unknown
from .decode import MessagesDecoder, decode_message
from .encode import EFFORTS, messages_body
from .files import names_an_upload

UPLOADS = {"anthropic-beta": "files-api-2025-04-14"}
"""Without it, the version of 2023 refuses the id of an upload."""

DISPLAY = re.compile(r"^thinking\b.*\bdisplay\b")
"""How errors name the field that asks for summaries of thoughts. A tool may have a property `display`."""


@attrs.frozen
class AnthropicMessages:
    """See `wire.codec.Dialect` for the methods.

    `display`: whether summaries of the thoughts are asked for. Servers with an older version do not know that.
    """

    name: str = attrs.field(default="anthropic_messages", init=False)
    efforts: Sequence[str] = attrs.field(default=EFFORTS, init=False, repr=False)
    display: bool = True

    def encode(self, request: ChatRequest, provider: str, model: str) -> HttpRequest:
        body = messages_body(request, provider, model, display=self.display)
        accept = "text/event-stream" if request.stream else "application/json"
        own_fields = ("thinking",) if "display" in body.get("thinking", {}) else ()
        http = json_post("/v1/messages", body, request.extra_body, accept=accept, own_fields=own_fields)
        return attrs.evolve(http, headers={**http.headers, **UPLOADS}) if names_an_upload(body) else http

    def adapted_to(self, failure: Failure, added: Collection[str]) -> Self | None:
        is_refused = "thinking" in added and is_unknown(failure, DISPLAY)
        return attrs.evolve(self, display=False) if is_refused else None

    def decoder(self) -> MessagesDecoder:
        return MessagesDecoder()

    def decode_reply(self, body: bytes) -> list[WireEvent]:
        return decode_message(body)

    def encode_embed(
        self, texts: Sequence[str], provider: str, model: str, dimensions: int | None
    ) -> HttpRequest:
        raise Unsupported("embeddings", provider)

    def decode_embed(self, body: bytes) -> Vectors:
        raise ValueError("the Messages API has no embeddings")

    def decode_models(self, body: bytes) -> Sequence[str]:
        ids = [member(model, "id") for model in listed(body, "data")]
        if not all(isinstance(model_id, str) for model_id in ids):
            raise ValueError("a model whose id is no string")
        return tuple(ids)
