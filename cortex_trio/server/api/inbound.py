"""One request of a client, read: what it asks for, and how a worker of each dialect can be asked. Sends nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cached_property, lru_cache, partial
from typing import Any, TypeGuard, final

import attrs

from ...failures import InvalidRequest
from ...gateway.request.forwarding import ForwardRequest
from ...messages import ChatRequest, Message, Part, Reasoning
from ...wire.codec import Decoder, Dialect, HttpRequest, Unsupported
from ...wire.forwarding import ForwardingDecoder, WholeForwardingDecoder, is_usage_chunk
from ...wire.raw_body import RawBody, raw_body
from ...wire.server import (
    HttpResponse,
    ParsedRequest,
    ReceivedRequest,
    Rejected,
    ResponseIdentity,
)
from ..exchange import ServedRequest
from .ingress import CHAT, Ingress, asks_for_usage, served_path
from .options import reasoning_for
from .tokens import counted, embedded

FOREIGN_ORIGIN = "client/unknown"
"""The origin of what a history holds of other providers. Which one has signed it is unknown, and a signature that goes
to another provider is an error there, so a translation leaves it out."""


TOKENS = "token arrays; send the texts (LangChain: check_embedding_ctx_length=False)"

LEAST_MAX_TOKENS = 16
"""The smallest limit that every API takes: the Responses API refuses a smaller one."""


class NotExpressible(InvalidRequest):
    """The request holds what only workers with the API of the client can be sent.

    Attributes:
        response: Says so in the shape of that API.
    """

    def __init__(self, response: HttpResponse) -> None:
        super().__init__("the request holds what only its own API can express")
        self.response = response


@final
@attrs.define(eq=False, slots=False)
class Inbound:
    """One request. Made by `read_request`."""

    ingress: Ingress
    received: ReceivedRequest
    parsed: ParsedRequest
    raw: RawBody | None
    """None where there is no body."""
    raises_limit: bool = False
    """Whether a translation has a max_tokens of at least LEAST_MAX_TOKENS."""

    @property
    def has_small_limit(self) -> bool:
        """Whether some API cannot express the limit of the answer."""
        chat = self.chat
        limit = chat.max_tokens if isinstance(chat, ChatRequest) else None
        return limit is not None and limit < LEAST_MAX_TOKENS

    @property
    def model(self) -> str:
        """As the client names it."""
        return self.parsed.model

    @property
    def streams(self) -> bool:
        return self.parsed.stream

    @cached_property
    def chat(self) -> ChatRequest | NotExpressible:
        """What is asked for, as a worker of another dialect can be asked; or why it cannot."""
        try:
            request = self.ingress.server.chat_request(self.received, origin=FOREIGN_ORIGIN)
        except Rejected as rejected:
            return NotExpressible(rejected.response)
        return attrs.evolve(request, stream=True)

    def forward_request(self) -> ForwardRequest:
        """Return the request as the gateway takes it."""
        if self.parsed.tokens:
            return self._only_native(
                lambda model, dialect: attrs.evolve(self._native(model, dialect), path="/embeddings"),
                lambda dialect: WholeForwardingDecoder(partial(embedded, dialect)),
                TOKENS,
            )
        return ForwardRequest(
            dialect=self.ingress.name,
            request=self._expressible,
            native=self._native,
            native_decoder=self._native_decoder,
            translated=self._translated,
            is_streamed=self.streams,
        )

    def count_request(self) -> ForwardRequest:
        """Return the request for a count of tokens."""
        return self._only_native(
            self._native_count, lambda dialect: WholeForwardingDecoder(counted), "a count of tokens"
        )

    def _only_native(
        self,
        native: Callable[[str, Dialect], HttpRequest],
        decoder: Callable[[Dialect], Decoder],
        what: str,
    ) -> ForwardRequest:
        """Return a request that is not streamed, and that only a worker with the API of the client can be sent."""

        def refuse(provider: str, dialect: Dialect) -> ChatRequest:
            raise Unsupported(what, provider)

        return ForwardRequest(
            dialect=self.ingress.name,
            request=self._expressible,
            native=native,
            native_decoder=decoder,
            translated=refuse,
            is_streamed=False,
        )

    @property
    def _expressible(self) -> ChatRequest:
        """What can be expressed of the request: decides which workers can serve it."""
        chat = self.chat
        return chat if isinstance(chat, ChatRequest) else ChatRequest(messages=())

    @property
    def _body(self) -> RawBody:
        assert self.raw is not None  # `parse` refuses a chat without a body
        return self.raw

    def _native(self, model: str, dialect: Dialect) -> HttpRequest:
        received = self.received
        return self.ingress.native_request(
            self._body,
            model,
            received.query,
            received.headers,
            stream=self.streams,
            dialect=dialect,
        )

    def _native_count(self, model: str, dialect: Dialect) -> HttpRequest:
        chat = self._native(model, dialect)
        path, _, query = chat.path.partition("?")
        if self.ingress.is_gemini:
            return attrs.evolve(chat, path=path.replace(":generateContent", ":countTokens"))
        return attrs.evolve(chat, path=f"{path}/count_tokens" + (f"?{query}" if query else ""))

    def _native_decoder(self, dialect: Dialect) -> Decoder:
        if not self.streams:
            return WholeForwardingDecoder(dialect.decode_reply, dialect.decoder)
        if self.ingress is CHAT and not asks_for_usage(self._body):
            return ForwardingDecoder(dialect, is_usage_chunk)
        return ForwardingDecoder(dialect)

    def _translated(self, provider: str, dialect: Dialect) -> ChatRequest:
        chat = self.chat
        if isinstance(chat, NotExpressible):
            raise chat
        if self.raises_limit and self.has_small_limit:
            chat = attrs.evolve(chat, max_tokens=LEAST_MAX_TOKENS)
        if dialect.name == "chat_completions":
            chat = attrs.evolve(chat, messages=tuple(map(_with_unsigned_reasoning, chat.messages)))
        if dialect.name == self.ingress.name:
            return chat
        chat = attrs.evolve(chat, reasoning=reasoning_for(dialect, chat.reasoning))
        logprobs = self.parsed.logprobs
        return self.ingress.options.without(chat, provider, dialect.name, logprobs=logprobs)


def _with_unsigned_reasoning(message: Message) -> Message:
    """Let the reasoning go back that has no signature: it is text alone, and DeepSeek and Kimi want it back.

    In chat completions only workers with a `reasoning_field` are sent it.
    """
    if not any(_is_unsigned(part) for part in message.parts):
        return message
    parts = (attrs.evolve(part, origin=None) if _is_unsigned(part) else part for part in message.parts)
    return attrs.evolve(message, content=tuple(parts))


def _is_unsigned(part: Part) -> TypeGuard[Reasoning]:
    return isinstance(part, Reasoning) and not (part.signature or part.encrypted)


def read_request(ingress: Ingress, request: ServedRequest) -> Inbound:
    """Read a request.

    Raises:
        Rejected: Its body is not JSON, or a field that is needed is missing or has the wrong type.
    """
    raw: RawBody | None = None
    body: Any = None
    path, named = served_path(request.path)
    if request.method == "POST":
        try:
            raw = raw_body(request.body)
            body = (
                raw.value
                if ingress.is_gemini
                else {**raw.value, "model": named or raw.value.get("model") or ""}
            )
        except ValueError:
            body = request.body
    received = ReceivedRequest(
        method="GET" if request.method == "HEAD" else request.method,
        path=path,
        query=request.query,
        headers=request.first_headers,
        body=body,
        identity=identity_of(request),
    )
    return Inbound(ingress, received, ingress.server.parse(received), raw)


def identity_of(request: ServedRequest) -> ResponseIdentity:
    """Return what makes the response to a request different from all others."""
    created = int(datetime.now(UTC).timestamp())
    digits = request.id.removeprefix("req_")
    uuid = digits.rjust(32, "0")
    return ResponseIdentity(
        id=digits,
        uuid="-".join((uuid[:8], uuid[8:12], uuid[12:16], uuid[16:20], uuid[20:])),
        created=created,
        created_text=_text_of(created),
    )


@lru_cache(maxsize=1)
def _text_of(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
