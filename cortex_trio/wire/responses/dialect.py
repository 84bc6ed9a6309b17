"""The Responses dialect: `POST /responses`, OpenAI's newer API, which xAI has as well.

encode, decode, entries, items, calls and parts are the client side; parse, rules, render, growing and server are the
other, with `openai` and `xai` for what those change. content and actions (calls of OpenAI's own tools that the caller
answers) are for both. Its servers have chat completions beside it: embeddings and the
list of models belong to that dialect. https://platform.openai.com/docs/api-reference/responses
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Self

import attrs

from ...events import Vectors, WireEvent
from ...failures import Failure
from ...messages import ChatRequest
from ..codec import Dialect, HttpRequest, json_post
from ..unknown_fields import is_unknown
from .decode import ResponsesDecoder, decode_response
from .encode import responses_body

INCLUDE = re.compile(
    r"(?<![\w.\]])['\"`]include['\"`]|^include\b|\binclude_|encrypted content is", re.IGNORECASE
)
"""How errors name the field that asks for encrypted reasoning. "Supported parameters include …" is something else."""


@attrs.frozen(kw_only=True)
class Responses:
    """How one server deviates from the others; see `wire.codec.Dialect` for the methods.

    `beside`: the dialect of its other endpoints.
    `efforts`: the values of `reasoning` that it accepts; None: any, because it depends on the model.
    `summary`: how reasoning is summarised ("auto", "concise", "detailed"); None: the server's default. OpenAI's is
    none at all, for it shows summaries only to organisations it has verified.
    `unreasoning`: models, by prefix, that do not reason, and answer 400 to requests for their reasoning.
    `least_max_tokens`: the smallest max_tokens it takes.
    `custom_tools`: whether it has tools that take free text.
    `most_file_bytes`: bytes of files and images, in base64, that one request may hold; None: the limit is not known.
    `encrypted`: whether reasoning is asked for in its encrypted form, so that it can go back.
    `own_fields`: whether it has what only OpenAI's API has: the phase of a text, fields of a call without an origin.
    """

    beside: Dialect
    efforts: tuple[str, ...] | None = None
    summary: str | None = None
    unreasoning: tuple[str, ...] = ()
    least_max_tokens: int = 1
    custom_tools: bool = True
    most_file_bytes: int | None = None
    own_fields: bool = True
    encrypted: bool = True

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
            encrypted=self.encrypted and not model.startswith(self.unreasoning),
            least_max_tokens=self.least_max_tokens,
            custom_tools=self.custom_tools,
            most_file_bytes=self.most_file_bytes,
            own_fields=self.own_fields,
        )
        accept = "text/event-stream" if request.stream else "application/json"
        return json_post("/responses", body, request.extra_body, accept=accept, own_fields=("include",))

    def adapted_to(self, failure: Failure, added: Collection[str]) -> Self | None:
        is_refused = "include" in added and is_unknown(failure, INCLUDE)
        return attrs.evolve(self, encrypted=False) if is_refused else None

    def decoder(self) -> ResponsesDecoder:
        return ResponsesDecoder()

    def decode_reply(self, body: bytes) -> list[WireEvent]:
        return decode_response(body)

    def encode_embed(
        self, texts: Sequence[str], provider: str, model: str, dimensions: int | None
    ) -> HttpRequest:
        return self.beside.encode_embed(texts, provider, model, dimensions)

    def decode_embed(self, body: bytes) -> Vectors | Sequence[Sequence[float]]:
        return self.beside.decode_embed(body)

    def decode_models(self, body: bytes) -> Sequence[str]:
        return self.beside.decode_models(body)
