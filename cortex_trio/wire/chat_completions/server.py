"""The server side of chat completions, as any server compatible with OpenAI has it. See `wire.server`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import unquote

from ...events import Reply
from ...failures import FailureKind
from ...messages import ChatRequest
from .. import openai_errors as errors
from ..rules import Illegal, Rule
from ..server import (
    HttpResponse,
    Operation,
    ParsedRequest,
    Preview,
    ReceivedRequest,
    Rejected,
    ResponseIdentity,
)
from ..server_base import BaseServer, bearer_key, fault_of
from . import parse, render, rules
from .render import ChatCompletionsRenderer

KEEPALIVE = b": keepalive\n\n"


class ChatCompletionsServer(BaseServer):
    """Fields it does not know are ignored."""

    name = "chat_completions"
    base_path = "/v1"
    has_embeddings: ClassVar[bool] = True
    renders: ClassVar[type[ChatCompletionsRenderer]] = ChatCompletionsRenderer

    def key_of(self, headers: Mapping[str, str], query: Mapping[str, str]) -> str | None:
        return bearer_key(headers)

    # ---- requests

    def _parse(self, request: ReceivedRequest) -> ParsedRequest:
        path = request.path.removeprefix(self.base_path)
        match request.method, path:
            case "POST", "/chat/completions":
                return parse.parsed_chat(request, self.body(request))
            case "POST", "/embeddings" if self.has_embeddings:
                return parse.parsed_embed(request, self.body(request))
            case "GET", "/models" | "/models/":
                return ParsedRequest(operation=Operation.MODELS, identity=request.identity)
            case "GET", path if path.startswith("/models/"):
                model = unquote(path.removeprefix("/models/"))  # Groq's names have a slash
                return ParsedRequest(operation=Operation.MODEL, identity=request.identity, model=model)
            case _:
                raise Rejected(
                    self._error(404, errors.no_route(request.method, request.path), request.identity)
                )

    def _validate(self, request: ReceivedRequest, parsed: ParsedRequest, prefill: bool | None) -> None:
        match parsed.operation:
            case Operation.CHAT:
                self._rule()(request.body, ())
                rules.in_order(prefill=prefill)(request.body, ())
            case Operation.EMBED:
                rules.EMBEDDINGS(request.body, ())
            case _:
                pass

    def _rule(self) -> Rule:
        return rules.COMPATIBLE

    def _chat_request(self, request: ReceivedRequest, origin: str | None) -> ChatRequest:
        return parse.chat_request(self.body(request), origin)

    # ---- responses

    def content_type(self, request: ParsedRequest) -> str:
        return "text/event-stream; charset=utf-8" if request.stream else "application/json"

    def renderer(self, request: ParsedRequest, preview: Preview | None = None) -> ChatCompletionsRenderer:
        return self.renders(request, preview)

    def render_reply(self, request: ParsedRequest, reply: Reply) -> bytes:
        return self.renders(request).reply(reply)

    def render_listing(self, request: ParsedRequest, models: Sequence[str]) -> bytes:
        return render.listing(request, models, self._entry)

    def _entry(self, model: str, created: int) -> dict[str, Any]:
        return {"id": model, "object": "model", "created": created, "owned_by": "system"}

    def render_embeddings(self, request: ParsedRequest, vectors: Sequence[Sequence[float]]) -> bytes:
        return render.embeddings(request, vectors)

    def keepalive(self, request: ParsedRequest) -> bytes:
        return KEEPALIVE

    # ---- errors

    def failure(
        self,
        kind: FailureKind,
        request: ParsedRequest,
        *,
        message: str | None = None,
        status: int | None = None,
        wait: float | None = None,
    ) -> HttpResponse:
        fault = fault_of(self.renders.faults, kind)
        body = self.renders(request).error(fault, message=message, wait=wait)
        return self._error(status or fault.status, body, request.identity, fault.headers(wait))

    def missing_key(self, request: ReceivedRequest) -> HttpResponse:
        return self._error(401, errors.NO_KEY, request.identity)

    def _not_json(self, request: ReceivedRequest) -> HttpResponse:
        return self._error(400, errors.NO_JSON, request.identity)

    def _illegal(self, illegal: Illegal, request: ReceivedRequest) -> HttpResponse:
        return self._error(400, errors.complaint(illegal), request.identity)

    def _error(
        self,
        status: int,
        body: Mapping[str, Any],
        identity: ResponseIdentity,
        headers: Mapping[str, str] | None = None,
    ) -> HttpResponse:
        return errors.error_response(status, body, identity, headers)
