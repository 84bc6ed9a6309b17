"""The server side of the Messages API. See `wire.server`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...events import Reply
from ...failures import FailureKind
from ...messages import ChatRequest
from ..rules import Illegal, Problem
from ..server import HttpResponse, Operation, ParsedRequest, Preview, ReceivedRequest, Rejected
from ..server_base import BaseServer
from . import errors, parse, render, rules
from .render import MessagesRenderer


class AnthropicServer(BaseServer):
    name = "anthropic_messages"

    def key_of(self, headers: Mapping[str, str], query: Mapping[str, str]) -> str | None:
        return headers.get("x-api-key") or headers.get("authorization", "").removeprefix("Bearer ") or None

    # ---- requests

    def _parse(self, request: ReceivedRequest) -> ParsedRequest:
        match request.method, request.path:
            case "POST", "/v1/messages":
                return parse.parsed_chat(request, self.body(request), Operation.CHAT)
            case "POST", "/v1/messages/count_tokens":
                return parse.parsed_chat(request, self.body(request), Operation.COUNT)
            case "GET", "/v1/models" | "/v1/models/":
                return ParsedRequest(operation=Operation.MODELS, identity=request.identity)
            case "GET", path if path.startswith("/v1/models/"):
                model = path.removeprefix("/v1/models/")
                return ParsedRequest(operation=Operation.MODEL, identity=request.identity, model=model)
            case _:
                raise Rejected(errors.plain_error(404, "not_found_error", "Not Found", request.identity))

    def _validate(self, request: ReceivedRequest, parsed: ParsedRequest, prefill: bool | None) -> None:
        if "anthropic-version" not in request.headers:
            raise Illegal(Problem.ORDER, (), "anthropic-version: header is required")
        match parsed.operation:
            case Operation.CHAT:
                rules.MESSAGES(request.body, ())
                rules.in_order(prefill=prefill)(request.body, ())
            case Operation.COUNT:
                rules.COUNT(request.body, ())
            case _:
                pass

    def _chat_request(self, request: ReceivedRequest, origin: str | None) -> ChatRequest:
        return parse.chat_request(self.body(request), origin)

    # ---- responses

    def content_type(self, request: ParsedRequest) -> str:
        return "text/event-stream; charset=utf-8" if request.stream else "application/json"

    def renderer(self, request: ParsedRequest, preview: Preview | None = None) -> MessagesRenderer:
        return MessagesRenderer(request, preview)

    def render_reply(self, request: ParsedRequest, reply: Reply) -> bytes:
        return render.render_reply(request, reply)

    def render_listing(self, request: ParsedRequest, models: Sequence[str]) -> bytes:
        return render.render_listing(request, models)

    def keepalive(self, request: ParsedRequest) -> bytes:
        return render.PING

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
        usual, error = errors.error_of(kind, request.model, message)
        return errors.error_response(status or usual, error, request.identity)

    def missing_key(self, request: ReceivedRequest) -> HttpResponse:
        message = "x-api-key header is required"
        return errors.plain_error(401, "authentication_error", message, request.identity)

    def _not_json(self, request: ReceivedRequest) -> HttpResponse:
        message = "The request body is not valid JSON"
        return errors.plain_error(400, "invalid_request_error", message, request.identity)

    def _illegal(self, illegal: Illegal, request: ReceivedRequest) -> HttpResponse:
        message = errors.complaint(illegal)
        return errors.plain_error(400, "invalid_request_error", message, request.identity)
