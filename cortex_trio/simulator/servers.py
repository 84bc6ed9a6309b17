"""The servers of the real providers: which dialects each has, and what it adds to them. `server_of` finds one.

A dialect renders what its API says. What a provider's account and its proxies add is here: headers with rate limits,
the seal a model puts on its reasoning, the order in which the parts of an answer are sent.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import attrs

from ..events import CitationDelta, ReasoningDelta, ReasoningSeal, TextDelta, ToolCallDelta, WholePart
from ..failures import FailureKind
from ..providers import PROVIDERS
from ..wire.anthropic_messages.server import AnthropicServer
from ..wire.chat_completions.groq import GroqServer
from ..wire.chat_completions.openai import OpenAIServer
from ..wire.chat_completions.server import ChatCompletionsServer
from ..wire.chat_completions.xai import XAIServer
from ..wire.cohere_chat.server import CohereServer
from ..wire.gemini.server import GeminiServer
from ..wire.ollama_chat.server import OllamaServer
from ..wire.responses.openai import OpenAIResponsesServer
from ..wire.responses.parse import ResponseForm
from ..wire.responses.xai import XAIResponsesServer
from ..wire.server import Frame, HttpResponse, ParsedRequest, Rejected, ResponseIdentity, ServerDialect
from . import response_headers as headers
from .account import AccountRules, parse
from .answer import USUAL_ORDER, Answer, Order, answer_of
from .behaviour import Behaviour
from .pages import foreign_failure, garbled
from .request import SimRequest, identity_of
from .tokens import prompt_tokens, vector_of

Signs = Callable[[Answer, ParsedRequest], Answer]
"""Puts a model's seal on an answer."""


@attrs.frozen(kw_only=True)
class SimServer:
    """One provider's server. It has no state: the script and the requests belong to a SimulatedProvider."""

    name: str
    dialects: Sequence[ServerDialect]
    """The first that serves a path is the one that is asked."""
    needs_key: bool = True
    order: Order = USUAL_ORDER
    signs: Signs = lambda answer, request: answer
    good_headers: Callable[[ParsedRequest], Mapping[str, str]] = headers.none
    """What it adds to a good response."""
    error_headers: Callable[[int, ResponseIdentity], Mapping[str, str]] = headers.no_error
    """What it adds to an error, by status."""

    @property
    def base_path(self) -> str:
        return self.dialects[0].base_path

    def dialect_for(self, request: SimRequest) -> ServerDialect:
        serving = (one for one in self.dialects if one.serves(request.method, request.path))
        return next(serving, self.dialects[-1])

    def key_of(self, headers: Mapping[str, str], query: Mapping[str, str]) -> str | None:
        return self.dialects[0].key_of(headers, query)

    def parse(self, request: SimRequest, rules: AccountRules) -> Exchange:
        """Return the request with the dialect it came in.

        Raises:
            Rejected: The account or the API does not accept it.
        """
        dialect = self.dialect_for(request)
        try:
            parsed = parse(dialect, request, rules)
        except Rejected as rejected:
            raise Rejected(self.with_error_headers(rejected.response, identity_of(request.number))) from None
        counted = attrs.evolve(parsed, prompt_tokens=prompt_tokens(request.body) or _embedded(parsed))
        return Exchange(self, dialect, counted)

    def with_error_headers(self, response: HttpResponse, identity: ResponseIdentity) -> HttpResponse:
        added = self.error_headers(response.status, identity)
        return attrs.evolve(response, headers={**response.headers, **added})


@attrs.frozen
class Exchange:
    """One accepted request, and all that its server can send in response."""

    server: SimServer
    dialect: ServerDialect
    request: ParsedRequest

    def answer(self, behaviour: Behaviour) -> Answer:
        return self.server.signs(answer_of(behaviour, self.request), self.request)

    def headers(self, *, stream: bool) -> Mapping[str, str]:
        request = attrs.evolve(self.request, stream=stream)
        return {
            "content-type": self.dialect.content_type(request),
            **self.server.good_headers(request),
        }

    def stream(self, answer: Answer) -> Streaming:
        return Streaming(self, answer)

    def whole(self, answer: Answer) -> bytes:
        return self.dialect.render_reply(self.request, answer.reply(self.server.order))

    def listing(self, models: Sequence[str]) -> bytes:
        return self.dialect.render_listing(self.request, models)

    def embeddings(self) -> bytes:
        vectors = [vector_of(text, self.request.dimensions) for text in _texts(self.request)]
        return self.dialect.render_embeddings(self.request, vectors)

    def failure(
        self, kind: FailureKind, *, status: int | None = None, wait: float | None = None
    ) -> HttpResponse:
        if (foreign := foreign_failure(kind, status)) is not None:
            return foreign
        response = self.dialect.failure(kind, self.request, status=status, wait=wait)
        if response.status == 200:  # Gemini's blocked prompt is a good response
            added = self.server.good_headers(self.request)
            return attrs.evolve(response, headers={**response.headers, **added})
        return self.server.with_error_headers(response, self.request.identity)

    def garbled(self) -> bytes:
        return garbled(self.dialect.name, self.dialect.content_type(self.request))

    def keepalive(self) -> bytes:
        return self.dialect.keepalive(self.request)


class Streaming:
    """One streamed answer. It can fail at any frame."""

    def __init__(self, exchange: Exchange, answer: Answer) -> None:
        self._renderer = exchange.dialect.renderer(exchange.request, answer.preview())
        self._events = answer.events(exchange.server.order)

    def frames(self) -> Iterator[Frame]:
        yield from self._renderer.begin()
        for event in self._events:
            yield from self._renderer.render(event)

    def fail(self, kind: FailureKind, wait: float | None) -> bytes:
        return self._renderer.fail(kind, wait=wait)


def _embedded(parsed: ParsedRequest) -> int:
    """Tokens of texts that stand deeper in the body than those of a chat: Gemini's batches."""
    return sum(prompt_tokens({"input": text}) for text in _texts(parsed))


def _texts(parsed: ParsedRequest) -> Sequence[str]:
    """What to embed. There is no tokenizer here, so tokens are their numbers."""
    return parsed.texts or [" ".join(map(str, tokens)) for tokens in parsed.tokens]


# ------------------------------------------------------------------ seals

ANTHROPIC_SIGNATURE = "EoQDCm0IDhgCKkBzaW11bGF0ZWQ="
GEMINI_SIGNATURE = "CiQBc2ltdWxhdGVkIHRob3VnaHQgc2lnbmF0dXJl"


def _sign_thinking(answer: Answer, request: ParsedRequest) -> Answer:
    return attrs.evolve(answer, seal=ReasoningSeal(ANTHROPIC_SIGNATURE)) if answer.reasoning else answer


def _sign_first_call(answer: Answer, request: ParsedRequest) -> Answer:
    """The first call after reasoning has a signature, which must come back with it."""
    if not (answer.reasoning and answer.tool_calls) or answer.tool_calls[0].signature:
        return answer
    first, *others = answer.tool_calls
    return attrs.evolve(answer, tool_calls=(attrs.evolve(first, signature=GEMINI_SIGNATURE), *others))


def _encrypt(cipher: str) -> Signs:
    """Reasoning has an id and an encrypted form, which depend on the text and the turn of the conversation alone."""

    def sign(answer: Answer, request: ParsedRequest) -> Answer:
        if not answer.reasoning or not isinstance(request.form, ResponseForm):
            return answer
        known = f"{request.form.turn} {answer.reasoning_text}"
        digest = hashlib.blake2b(known.encode(), digest_size=24).digest()
        encrypted = cipher + base64.b64encode(digest).decode()
        return attrs.evolve(answer, seal=ReasoningSeal(f"rs_{digest.hex()[:32]}", encrypted))

    return sign


# ------------------------------------------------------------------ the table

OPENAI = SimServer(
    name="openai",
    dialects=(OpenAIResponsesServer(), OpenAIServer()),
    order=USUAL_ORDER,
    signs=_encrypt(OpenAIResponsesServer.cipher),
    good_headers=headers.openai,
)
XAI = SimServer(
    name="xai",
    dialects=(XAIResponsesServer(), XAIServer()),
    signs=_encrypt(XAIResponsesServer.cipher),
    good_headers=headers.xai,
)
ANTHROPIC = SimServer(
    name="anthropic",
    dialects=(AnthropicServer(),),
    order=(ReasoningDelta, WholePart, CitationDelta, TextDelta, ToolCallDelta),
    signs=_sign_thinking,
    good_headers=headers.anthropic,
    error_headers=headers.anthropic_error,
)
GROQ = SimServer(name="groq", dialects=(GroqServer(),), good_headers=headers.groq)
GEMINI = SimServer(
    name="gemini",
    dialects=(GeminiServer(),),
    signs=_sign_first_call,
    good_headers=headers.gemini,
    error_headers=headers.gemini_error,
)
COHERE = SimServer(
    name="cohere",
    dialects=(CohereServer(),),
    good_headers=headers.cohere,
    error_headers=headers.cohere_error,
)
OLLAMA = SimServer(name="ollama", dialects=(OllamaServer(),), needs_key=False)
COMPATIBLE = SimServer(
    name="openai_compatible",
    dialects=(ChatCompletionsServer(),),
    needs_key=False,
    order=(ReasoningDelta, TextDelta, WholePart, CitationDelta, ToolCallDelta),  # images behind the text
    good_headers=headers.compatible,
)

_OWN: Mapping[str, SimServer] = {
    "openai": OPENAI,
    "openai_responses": OPENAI,
    "xai": XAI,
    "xai_responses": XAI,
    "anthropic": ANTHROPIC,
    "groq": GROQ,
    "gemini": GEMINI,
    "cohere": COHERE,
    "ollama": OLLAMA,
    "openai_compatible": COMPATIBLE,
}
_BY_DIALECT: Mapping[str, SimServer] = {
    "chat_completions": COMPATIBLE,
    "responses": OPENAI,
    "anthropic_messages": ANTHROPIC,
    "gemini": GEMINI,
    "cohere_chat": COHERE,
    "ollama_chat": OLLAMA,
}
"""For a provider that has no server of its own here."""

SERVERS: Mapping[str, SimServer] = {
    name: _OWN.get(name) or attrs.evolve(_BY_DIALECT[provider.dialect.name], needs_key=provider.needs_key)
    for name, provider in PROVIDERS.items()
    if name in _OWN or provider.dialect.name in _BY_DIALECT
}
"""By the provider's name."""
