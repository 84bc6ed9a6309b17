"""The chat completions dialect: OpenAI's, and with small options Groq's, xAI's and most other servers'.

One frozen value holds how a server deviates. encode, decode, delta, calls and pieces are the client side; parse,
rules, render and server are the other, with `openai`, `groq` and `xai` for what those change. content and
message_fields are for both. Embeddings and the list of models are here.
https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

import base64
import sys
from array import array
from collections.abc import Collection, Sequence
from typing import Any, Self

import attrs

from ...events import Vectors, WireEvent
from ...failures import Failure
from ...messages import ChatRequest
from ..codec import HttpRequest, Unsupported, json_post
from ..lists import input_usage, listed_with_body, member, models_anywhere, vectors
from ..unknown_fields import field_pattern, is_unknown
from .decode import ChatCompletionsDecoder
from .encode import chat_body

SSE = "text/event-stream"
JSON = "application/json"

STREAM_OPTIONS = field_pattern("stream_options")
OTHER_MAX_TOKENS_FIELD = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
MAX_TOKENS = {name: field_pattern(name) for name in OTHER_MAX_TOKENS_FIELD}


@attrs.frozen
class ChatCompletions:
    """How one server deviates from the others.

    `max_tokens_field`: OpenAI's reasoning models refuse `max_tokens`, older servers have no other field.
    `usage_excludes_reasoning`: xAI's completion_tokens leave out reasoning_tokens; our output_tokens never do.
    `embeddings`: whether there is an /embeddings endpoint.
    `reasoning_field`: the field of an assistant message in which the server wants its reasoning back
    (DeepSeek in tool loops: "reasoning_content"; Groq allows "reasoning"). None: reasoning is not sent.
    `custom_tools`: whether it has tools that take free text.
    `most_file_bytes`: bytes of files and images, in base64, that one request may hold; None: the limit is not known.
    `files`: whether messages may hold files and speech, beside images.
    `own_fields`: whether messages may have fields that OpenAI's have not, such as `reasoning_details`. Those of its own
    answers go back either way; this is for fields whose origin is not known.
    `efforts`: the values of `reasoning` that it accepts; None: any, because it depends on the model.
    `stream_usage`: whether a stream is asked for its usage, with `stream_options`. Not all servers know that field.
    `finish_optional`: it may end a complete answer with `[DONE]` and no finish_reason. From a server that always sends
    one, such an answer was cut.
    """

    max_tokens_field: str = "max_completion_tokens"
    usage_excludes_reasoning: bool = False
    embeddings: bool = False
    reasoning_field: str | None = None
    efforts: tuple[str, ...] | None = None
    finish_optional: bool = False
    custom_tools: bool = True
    most_file_bytes: int | None = None
    files: bool = True
    own_fields: bool = True
    stream_usage: bool = True

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
            efforts=self.efforts,
            custom_tools=self.custom_tools,
            most_file_bytes=self.most_file_bytes,
            files=self.files,
            own_fields=self.own_fields,
            stream_usage=self.stream_usage,
        )
        accept = SSE if request.stream else JSON
        own_fields = ("stream_options", self.max_tokens_field)
        return json_post("/chat/completions", body, request.extra_body, accept=accept, own_fields=own_fields)

    def adapted_to(self, failure: Failure, added: Collection[str]) -> Self | None:
        if "stream_options" in added and is_unknown(failure, STREAM_OPTIONS):
            return attrs.evolve(self, stream_usage=False)
        name = self.max_tokens_field
        if name in added and is_unknown(failure, MAX_TOKENS[name]):
            return attrs.evolve(self, max_tokens_field=OTHER_MAX_TOKENS_FIELD[name])
        return None

    def decoder(self) -> ChatCompletionsDecoder:
        return ChatCompletionsDecoder(self.usage_excludes_reasoning, self.finish_optional)

    def decode_reply(self, body: bytes) -> list[WireEvent]:
        return ChatCompletionsDecoder(self.usage_excludes_reasoning, self.finish_optional).read_whole(body)

    def encode_embed(
        self, texts: Sequence[str], provider: str, model: str, dimensions: int | None
    ) -> HttpRequest:
        if not self.embeddings:
            raise Unsupported("embeddings", provider)
        body: dict[str, Any] = {"model": model, "input": list(texts)}
        if dimensions is not None:
            body["dimensions"] = dimensions
        return json_post("/embeddings", body, accept=JSON)

    def decode_embed(self, body: bytes) -> Vectors:
        items, response = listed_with_body(body, "data")
        in_order = dict(_indexed(item) for item in items)
        if in_order.keys() != set(range(len(items))):
            raise ValueError("the indexes of the embeddings are not 0, 1, 2 …")
        usage = input_usage(response.get("usage"), "prompt_tokens", "total_tokens")
        return Vectors([in_order[index] for index in range(len(items))], usage)

    def decode_models(self, body: bytes) -> Sequence[str]:
        return models_anywhere(body)


def _indexed(item: object) -> tuple[int, Sequence[float]]:
    index = member(item, "index")
    if not isinstance(index, int):
        raise ValueError("the index of an embedding is not a number")
    return index, _vector(member(item, "embedding"))


def _vector(embedding: object) -> Sequence[float]:
    """Numbers as they are, or base64 of little-endian 32-bit floats (encoding_format="base64")."""
    if not isinstance(embedding, str):
        return vectors([embedding])[0]
    try:
        floats = array("f", base64.b64decode(embedding, validate=True))
    except ValueError:  # not base64, or not a multiple of four bytes
        raise ValueError("an embedding is neither numbers nor base64 of 32-bit floats") from None
    if sys.byteorder == "big":
        floats.byteswap()
    return floats.tolist()
