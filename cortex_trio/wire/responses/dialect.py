"""The Responses dialect: `POST /responses`, OpenAI's newer API, which xAI speaks as well.

`responses_encode` says how a conversation becomes a body, `responses_decode` how an answer becomes events, and
`responses_items` what the items of an answer mean. Its servers speak chat completions beside it: embeddings and
the list of models are that dialect's. https://platform.openai.com/docs/api-reference/responses
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from ...events import WireEvent
from ...messages import ChatRequest
from ..codec import Dialect, HttpRequest, json_post
from .decode import ResponsesDecoder, decode_response
from .encode import responses_body


@attrs.frozen(kw_only=True)
class Responses:
    """How one server speaks it; see `wire.codec.Dialect` for what each method promises.

    `beside`: the dialect of its other endpoints.
    `efforts`: the words it knows for how much to think; None: any, for it is the model's affair.
    `summary`: how thoughts are to be told ("auto", "concise", "detailed"); None: as the server does by itself,
    which at OpenAI means not at all, for it shows them only to organisations it has verified.
    `unreasoning`: models, by prefix, that do not think, and answer 400 to requests for their thoughts.
    `least_max_tokens`: the smallest max_tokens it takes.
    """

    beside: Dialect
    efforts: tuple[str, ...] | None = None
    summary: str | None = None
    unreasoning: tuple[str, ...] = ()
    least_max_tokens: int = 1

    @property
    def name(self) -> str:
        return "responses"

    def encode(self, request: ChatRequest, provider: str, model: str) -> HttpRequest:
        body = responses_body(
            request,
            provider,
            model,
            efforts=self.efforts,
            summary=self.summary,
            encrypted=not model.startswith(self.unreasoning),
            least_max_tokens=self.least_max_tokens,
        )
        accept = "text/event-stream" if request.stream else "application/json"
        return json_post("/responses", body, request.extra_body, accept=accept)

    def decoder(self) -> ResponsesDecoder:
        return ResponsesDecoder()

    def decode_reply(self, body: bytes) -> list[WireEvent]:
        return decode_response(body)

    def encode_embed(
        self, texts: Sequence[str], provider: str, model: str, dimensions: int | None
    ) -> HttpRequest:
        return self.beside.encode_embed(texts, provider, model, dimensions)

    def decode_embed(self, body: bytes) -> Sequence[Sequence[float]]:
        return self.beside.decode_embed(body)

    def decode_models(self, body: bytes) -> Sequence[str]:
        return self.beside.decode_models(body)
