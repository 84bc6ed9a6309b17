"""The APIs that clients may speak to the server: their paths, their dialect, the headers a provider may see.

Knows no gateway. Which option of one API another API can do without is in `options`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import attrs

from ...failures import FailureKind
from ...wire.anthropic_messages.server import AnthropicServer
from ...wire.chat_completions.server import ChatCompletionsServer
from ...wire.codec import Dialect, HttpRequest
from ...wire.gemini.server import GeminiServer
from ...wire.gemini.values import resource_path
from ...wire.raw_body import RawBody
from ...wire.responses.openai import OpenAIResponsesServer
from ...wire.server import ServerDialect
from .options import ANTHROPIC, CHAT_COMPLETIONS, GEMINI, RESPONSES, Options

Query = Mapping[str, str]
Native = Callable[[RawBody, str, Query, bool], tuple[str, dict[str, Any]]]
"""Returns the path for a worker of the same dialect, and the values that change in the body; takes the body as it came,
the model, the query and whether the answer is to be streamed."""


@attrs.frozen(kw_only=True)
class Ingress:
    """One API that is served."""

    server: ServerDialect
    native: Native
    options: Options
    """Which of its options a worker of another dialect can do without."""
    headers: Sequence[str] = ()
    """The headers of a client that a worker of the same dialect gets; no key is among them."""

    @property
    def name(self) -> str:
        """The name of its dialect."""
        return self.server.name

    @property
    def is_gemini(self) -> bool:
        return self.name == "gemini"

    def native_request(
        self,
        body: RawBody,
        model: str,
        query: Query,
        headers: Mapping[str, str],
        *,
        stream: bool,
        dialect: Dialect,
    ) -> HttpRequest:
        """Return the request for a worker that speaks this dialect: as it came, but for the model."""
        path, changes = self.native(body, model, query, stream)
        added: frozenset[str] = frozenset()
        if (
            stream
            and getattr(dialect, "stream_usage", self.name == "chat_completions")
            and not asks_for_usage(body)
        ):
            options = body.value.get("stream_options")
            own = options if isinstance(options, dict) else {}
            changes["stream_options"] = {**own, "include_usage": True}
            added = frozenset() if own else frozenset({"stream_options"})
        found = ((name, headers.get(name, "")) for name in self.headers)
        # Any other value has no place in a head, and the error would count against the worker.
        forwarded = {
            name: value for name, value in found if value and value.isascii() and value.isprintable()
        }
        accept = "text/event-stream" if stream else "application/json"
        own_headers = {"content-type": "application/json", "accept": accept}
        return HttpRequest("POST", path, body.with_values(changes), {**forwarded, **own_headers}, added)

    def in_stream(self, kind: FailureKind) -> FailureKind:
        """Return the kind whose error may stand in the middle of a stream."""
        # Gemini's error for a blocked prompt looks like a good answer, so behind content it would hide the cut.
        return FailureKind.SERVER if self.is_gemini and kind is FailureKind.CONTENT_POLICY else kind


# ------------------------------------------------------------------ requests as they came


def _chat_completions(body: RawBody, model: str, query: Query, stream: bool) -> tuple[str, dict[str, Any]]:
    return "/chat/completions", {"model": model}


def asks_for_usage(body: RawBody) -> bool:
    """Return whether a client of chat completions wants a last chunk with the usage."""
    options = body.value.get("stream_options")
    return isinstance(options, dict) and bool(options.get("include_usage"))


def _responses(body: RawBody, model: str, query: Query, stream: bool) -> tuple[str, dict[str, Any]]:
    return "/responses", {"model": model}


def _messages(body: RawBody, model: str, query: Query, stream: bool) -> tuple[str, dict[str, Any]]:
    beta = query.get("beta")
    return "/v1/messages" + (f"?beta={quote(beta)}" if beta else ""), {"model": model}


def _generate_content(body: RawBody, model: str, query: Query, stream: bool) -> tuple[str, dict[str, Any]]:
    method = "streamGenerateContent?alt=sse" if stream else "generateContent"
    changes = {"model": model} if "model" in body.value else {}
    return f"/{resource_path(model)}:{method}", changes


# ------------------------------------------------------------------ the table

OPENAI_HEADERS = ("openai-beta", "session_id", "session-id", "conversation_id", "x-grok-conv-id")
"""Betas, and ids by which a provider finds its cache of the prompt."""

CHAT = Ingress(
    server=ChatCompletionsServer(),
    native=_chat_completions,
    options=CHAT_COMPLETIONS,
    headers=OPENAI_HEADERS,
)
RESPONSE = Ingress(
    server=OpenAIResponsesServer(), native=_responses, options=RESPONSES, headers=OPENAI_HEADERS
)
MESSAGES = Ingress(
    server=AnthropicServer(),
    native=_messages,
    options=ANTHROPIC,
    headers=("anthropic-version", "anthropic-beta"),
)
GENERATE = Ingress(server=GeminiServer(), native=_generate_content, options=GEMINI)

_POSTS: Mapping[str, Ingress] = {
    "/v1/chat/completions": CHAT,
    "/v1/embeddings": CHAT,
    "/v1/responses": RESPONSE,
    "/v1/messages": MESSAGES,
    "/v1/messages/count_tokens": MESSAGES,
}
_GEMINI_METHODS = (
    "generateContent",
    "streamGenerateContent",
    "countTokens",
    "embedContent",
    "batchEmbedContents",
)


_SLASHES = re.compile(r"//+")
_TWICE = re.compile(r"(/v1(?:beta)?)\1+(?=/)")
_AZURE = re.compile(r"/openai/deployments/(.+)/(chat/completions|embeddings)")
_WITHOUT_VERSION = ("/chat/completions", "/embeddings", "/responses", "/messages", "/models")


def served_path(path: str) -> tuple[str, str]:
    """Return the path as the tables have it, and the model that it names as Azure's do ("": none).

    What is meant is clear where a base URL has a slash or a `/v1` too many, or no `/v1`; Groq's SDK adds `/openai/v1`.
    The server's own routes have one spelling each: a proxy before it may refuse some of them by their path.
    """
    if path in _POSTS:
        return path, ""
    if found := _AZURE.fullmatch(path):
        return f"/v1/{found[2]}", found[1]
    start, models, name = path.partition("/models/")  # a name may have any form
    start = _SLASHES.sub("/", start).rstrip("/").removeprefix("/openai")
    path = _TWICE.sub(r"\1", start + models) + name
    if path.startswith(_WITHOUT_VERSION):
        path = f"/v1{path}"
    return path, ""


def route_of(method: str, path: str) -> Ingress | None:
    """Return the API that serves a request, by its path alone; None if none does. What has GET has HEAD."""
    path, _ = served_path(path)
    if method == "POST":
        if path in _POSTS:
            return _POSTS[path]
        is_model = path.startswith(("/v1beta/models/", "/v1/models/"))
        return GENERATE if is_model and path.rpartition(":")[2] in _GEMINI_METHODS else None
    if method not in ("GET", "HEAD"):
        return None
    if path == "/v1beta/models" or path.startswith("/v1beta/models/"):
        return GENERATE
    return CHAT if path == "/v1/models" or path.startswith("/v1/models/") else None


def ingress_of(path: str, headers: Mapping[str, str] | None = None) -> Ingress:
    """Return the API in whose shape a path is answered, for paths that are not served as well.

    Args:
        path: Of the request.
        headers: The lists of models of three APIs have the same path, and a path that is not served may be of any API;
            there the headers say which one the client speaks. None: they are not known.
    """
    path, _ = served_path(path)
    if path == "/v1/messages" or path.startswith("/v1/messages/"):
        return MESSAGES
    if path.startswith("/v1beta") or (path.startswith("/v1/models/") and ":" in path.rpartition("/")[2]):
        return GENERATE
    if path.startswith("/v1/responses"):
        return RESPONSE
    if headers and path not in _POSTS:
        if "anthropic-version" in headers:
            return MESSAGES
        if "x-goog-api-client" in headers:
            return GENERATE
    return CHAT
