"""The server side of Cohere's chat API. See `wire.server`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...events import Reply
from ...failures import FailureKind
from ...messages import ChatRequest
from ..rules import Illegal, Problem
from ..server import HttpResponse, Operation, ParsedRequest, Preview, ReceivedRequest, Rejected
from ..server_base import BaseServer, bearer_key, fault_of
from . import errors, parse, render, rules
from .render import CohereRenderer

KEEPALIVE = b": keepalive\n\n"


class CohereServer(BaseServer):
    name = "cohere_chat"

    def key_of(self, headers: Mapping[str, str], query: Mapping[str, str]) -> str | None:
        return bearer_key(headers)

    # ---- requests

    def _parse(self, request: ReceivedRequest) -> ParsedRequest:
        match request.method, request.path:
            case "POST", "/v2/chat":
                return parse.parsed_chat(request, self.body(request))
            case "POST", "/v2/embed":
                return parse.parsed_embed(request, self.body(request))
            case "POST", "/v1/check-api-key":
                return ParsedRequest(operation=Operation.HEALTH, identity=request.identity)
            case "GET", "/v1/models":
                return ParsedRequest(operation=Operation.MODELS, identity=request.identity)
            case "GET", path if path.startswith("/v1/models/"):
                model = path.removeprefix("/v1/models/")
                return ParsedRequest(operation=Operation.MODEL, identity=request.identity, model=model)
            case _:
                message = f"no route for {request.path}"
                raise Rejected(errors.error_response(404, message, request.identity))

    def _validate(self, request: ReceivedRequest, parsed: ParsedRequest, prefill: bool | None) -> None:
        match parsed.operation:
            case Operation.CHAT:
                rules.CHAT(request.body, ())
                rules.in_order(prefill=prefill)(request.body, ())
            case Operation.EMBED:
                rules.EMBED(request.body, ())
            case _:
                pass

    def _chat_request(self, request: ReceivedRequest, origin: str | None) -> ChatRequest:
        return parse.chat_request(self.body(request), origin)

    # ---- responses

    def content_type(self, request: ParsedRequest) -> str:
        return "text/event-stream" if request.stream else "application/json"

    def renderer(self, request: ParsedRequest, preview: Preview | None = None) -> CohereRenderer:
        return CohereRenderer(request, preview)

    def render_reply(self, request: ParsedRequest, reply: Reply) -> bytes:
        return render.render_reply(request, reply)

    def render_listing(self, request: ParsedRequest, models: Sequence[str]) -> bytes:
        return render.render_listing(request, models)

    def render_embeddings(self, request: ParsedRequest, vectors: Sequence[Sequence[float]]) -> bytes:
        return render.render_embeddings(request, vectors)

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
        fault = fault_of(errors.FAULTS, kind)
        text = errors.text_of(kind, request.model, message)
        return errors.error_response(status or fault.status, text, request.identity, fault.error_type)

    def missing_key(self, request: ReceivedRequest) -> HttpResponse:
        return errors.error_response(401, "no api key supplied", request.identity)

    def _not_json(self, request: ReceivedRequest) -> HttpResponse:
        message = "invalid request: failed to parse the body as JSON"
        return errors.error_response(400, message, request.identity)

    def _illegal(self, illegal: Illegal, request: ReceivedRequest) -> HttpResponse:
        status = 422 if illegal.problem in (Problem.UNKNOWN, Problem.TYPE) else 400
        return errors.error_response(status, errors.complaint(illegal), request.identity)
