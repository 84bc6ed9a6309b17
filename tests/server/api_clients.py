"""Requests in each API that the endpoint serves, an exchange that records the response, and what an answer says."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from cortex_trio import Cortex
from cortex_trio.events import Finished, Reply, ReplyBuilder
from cortex_trio.failures import Failure
from cortex_trio.server.api.routes import ApiRoutes
from cortex_trio.server.exchange import CancelReason, Headers, ServedRequest
from cortex_trio.server.limits_protocol import ClientLimits
from cortex_trio.wire.anthropic_messages.dialect import AnthropicMessages
from cortex_trio.wire.chat_completions.dialect import ChatCompletions
from cortex_trio.wire.codec import Dialect
from cortex_trio.wire.gemini.dialect import Gemini
from cortex_trio.wire.responses.dialect import Responses

MODEL = "m-1"
IDENTITY = "0b9f0d1e2c3a"


class RecordingExchange:
    """Keeps the response. `on_write` is called with each piece of a body."""

    def __init__(self, on_write: Callable[[bytes], None] = lambda data: None) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self.pieces: list[bytes] = []
        self.keepalive = b""
        self.has_begun = False
        self.has_ended = False
        self.cancel_reason: CancelReason | None = None
        self._on_write = on_write

    async def respond(self, status: int, headers: Headers, body: bytes) -> None:
        await self.begin(status, headers)
        await self.write(body)
        await self.end()

    async def begin(self, status: int, headers: Headers, *, keepalive: bytes = b"") -> None:
        assert not self.has_begun
        self.has_begun = True
        self.keepalive = keepalive
        self.status, self.headers = status, dict(headers)
        assert len(self.headers) == len(headers), "a header stands there twice"

    async def write(self, data: bytes) -> None:
        assert self.has_begun
        assert not self.has_ended
        self.body += data
        self.pieces.append(data)
        self._on_write(data)

    async def end(self) -> None:
        assert self.has_begun
        assert not self.has_ended
        self.has_ended = True

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@attrs.frozen
class Client:
    """How one API is spoken."""

    name: str
    dialect: Dialect
    path: Callable[[str, bool], str]
    body: Mapping[str, Any]
    provider: str
    """A provider whose workers speak it."""
    query: Mapping[str, str] = {}
    headers: Headers = ()
    error_message: Callable[[Any], str] = lambda body: body["error"]["message"]

    def request(
        self, *, model: str = MODEL, stream: bool = False, headers: Headers = (), **fields: Any
    ) -> ServedRequest:
        body = {**self.body, **fields}
        if self.name != "gemini":
            body = {"model": model, **body, **({"stream": True} if stream else {})}
        return ServedRequest(
            id=IDENTITY,
            method="POST",
            path=self.path(model, stream),
            query=self.query,
            headers=(*self.headers, *headers),
            body=json.dumps(body).encode(),
        )

    def read(self, body: bytes, *, stream: bool) -> Reply | Failure:
        """Return what the provider's own decoder makes of a body: the answer, or the failure it ends with."""
        builder = ReplyBuilder()
        if stream:
            decoder = self.dialect.decoder()
            events = [*decoder.feed(body), *decoder.finish()]
        else:
            events = self.dialect.decode_reply(body)
        for event in events:
            if isinstance(event, Failure):
                return event
            builder.add(event)  # type: ignore[arg-type]  # a chat has no vectors
        assert isinstance(events[-1], Finished)
        return builder.reply(worker="", provider="", model="", attempts=(), call="")


def _gemini_path(model: str, stream: bool) -> str:
    return f"/v1beta/models/{model}:{'streamGenerateContent' if stream else 'generateContent'}"


HI = [{"role": "user", "content": "Hi"}]
CHAT = Client(
    "chat_completions", ChatCompletions(), lambda m, s: "/v1/chat/completions", {"messages": HI}, "openai"
)
RESPONSES = Client(
    "responses",
    Responses(beside=ChatCompletions()),
    lambda m, s: "/v1/responses",
    {"input": "Hi"},
    "openai_responses",
)
MESSAGES = Client(
    "anthropic_messages",
    AnthropicMessages(),
    lambda m, s: "/v1/messages",
    {"messages": HI, "max_tokens": 100},
    "anthropic",
    headers=(("anthropic-version", "2023-06-01"),),
)
GEMINI = Client(
    "gemini",
    Gemini(),
    _gemini_path,
    {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]},
    "gemini",
    query={"alt": "sse"},
)
GEMINI_ARRAY = attrs.evolve(GEMINI, query={})
CLIENTS: Sequence[Client] = (CHAT, RESPONSES, MESSAGES, GEMINI, GEMINI_ARRAY)
NAMES = ["chat", "responses", "messages", "gemini", "gemini-array"]


async def ask(
    cortex: Cortex,
    request: ServedRequest,
    exchange: RecordingExchange | None = None,
    client: ClientLimits | None = None,
) -> RecordingExchange:
    """Answer one request as the endpoint does."""
    exchange = exchange or RecordingExchange()
    routes = ApiRoutes(cortex)
    assert routes.serves(request.method, request.path)
    await routes.answer(request, exchange, client)
    assert exchange.has_ended
    return exchange
