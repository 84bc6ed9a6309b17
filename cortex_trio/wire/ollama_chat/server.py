"""The server side of Ollama's chat API. See `wire.server`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...events import Reply
from ...failures import FailureKind
from ...messages import ChatRequest
from ..rules import Illegal
from ..server import HttpResponse, Operation, ParsedRequest, Preview, ReceivedRequest, Rejected
from ..server_base import BaseServer, fault_of
from . import errors, parse, render, rules
from .render import OllamaRenderer


class OllamaServer(BaseServer):
    name = "ollama_chat"

    def key_of(self, headers: Mapping[str, str], query: Mapping[str, str]) -> str | None:
        return headers.get("authorization", "").removeprefix("Bearer ") or None

    # ---- requests

    def _parse(self, request: ReceivedRequest) -> ParsedRequest:
        match request.method, request.path:
            case "POST", "/api/chat":
                return parse.parsed_chat(request, self.body(request))
            case "POST", "/api/embed":
                return parse.parsed_embed(request, self.body(request))
            case (("GET" | "HEAD"), ("/" | "/api/version")):
                form = parse.HealthForm(root=request.path == "/")
                return ParsedRequest(operation=Operation.HEALTH, identity=request.identity, form=form)
            case "GET", ("/api/tags" | "/api/ps"):
                return ParsedRequest(operation=Operation.MODELS, identity=request.identity)
            case "POST", "/api/show":
                model = self.body(request).at("model").text()
                return ParsedRequest(operation=Operation.MODEL, identity=request.identity, model=model)
            case _:
                plain = {"content-type": "text/plain"}
                raise Rejected(HttpResponse(status=404, headers=plain, body=b"404 page not found"))

    def _validate(self, request: ReceivedRequest, parsed: ParsedRequest, prefill: bool | None) -> None:
        match parsed.operation:
            case Operation.CHAT:
                rules.CHAT(request.body, ())
                rules.in_order(prefill=prefill)(request.body, ())
            case Operation.EMBED:
                rules.EMBED(request.body, ())
            case Operation.MODEL:
                rules.SHOW(request.body, ())
            case _:
                pass

    def _chat_request(self, request: ReceivedRequest, origin: str | None) -> ChatRequest:
        return parse.chat_request(self.body(request), origin)

    # ---- responses

    def content_type(self, request: ParsedRequest) -> str:
        if isinstance(request.form, parse.HealthForm) and request.form.root:
            return "text/plain; charset=utf-8"
        return "application/x-ndjson" if request.stream else "application/json; charset=utf-8"

    def renderer(self, request: ParsedRequest, preview: Preview | None = None) -> OllamaRenderer:
        return OllamaRenderer(request, preview)

    def render_reply(self, request: ParsedRequest, reply: Reply) -> bytes:
        return render.render_reply(request, reply)

    def render_listing(self, request: ParsedRequest, models: Sequence[str]) -> bytes:
        return render.render_listing(request, models)

    def render_embeddings(self, request: ParsedRequest, vectors: Sequence[Sequence[float]]) -> bytes:
        return render.render_embeddings(request, vectors)

    def keepalive(self, request: ParsedRequest) -> bytes:
        return b""

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
        fault = fault_of(errors.FAULTS, kind)
        text = errors.text_of(kind, request.model, message)
        return errors.error_response(status or fault.status, text)

    def missing_key(self, request: ReceivedRequest) -> HttpResponse:
        return errors.error_response(401, "unauthorized")

    def _not_json(self, request: ReceivedRequest) -> HttpResponse:
        return errors.error_response(400, "missing request body")

    def _illegal(self, illegal: Illegal, request: ReceivedRequest) -> HttpResponse:
        return errors.error_response(400, errors.complaint(illegal))
