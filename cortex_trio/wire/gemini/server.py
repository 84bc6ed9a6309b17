"""The server side of Gemini's API. See `wire.server`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...events import Reply
from ...failures import FailureKind
from ...messages import ChatRequest
from ..rules import Illegal
from ..server import HttpResponse, Operation, ParsedRequest, Preview, ReceivedRequest, Rejected
from ..server_base import BaseServer, fault_of
from . import errors, parse, render, rules
from .render import GeminiRenderer

KEEPALIVE = b": keepalive\r\n\r\n"
ARRAY_KEEPALIVE = b"\n"
"""White space between two elements."""


class GeminiServer(BaseServer):
    name = "gemini"
    base_path = "/v1beta"

    def key_of(self, headers: Mapping[str, str], query: Mapping[str, str]) -> str | None:
        return headers.get("x-goog-api-key") or query.get("key") or None

    # ---- requests

    def _parse(self, request: ReceivedRequest) -> ParsedRequest:
        path = request.path.removeprefix("/v1beta").removeprefix("/v1")
        if request.method == "GET" and path in ("/models", "/models/"):
            return ParsedRequest(operation=Operation.MODELS, identity=request.identity)
        if request.method == "GET" and path.startswith("/models/"):
            model = path.removeprefix("/models/")
            return ParsedRequest(operation=Operation.MODEL, identity=request.identity, model=model)
        model, method = _model_and_method(request.path)
        match request.method, method:
            case "POST", ("generateContent" | "streamGenerateContent") if model:
                self.body(request)
                streams = method == "streamGenerateContent"
                return parse.parsed_chat(request, model, Operation.CHAT, stream=streams)
            case "POST", "countTokens" if model:
                self.body(request)
                return parse.parsed_chat(request, model, Operation.COUNT, stream=False)
            case "POST", ("embedContent" | "batchEmbedContents") if model:
                batch = method == "batchEmbedContents"
                (rules.BATCH_EMBED if batch else rules.EMBED)(self.body(request).raw, ())
                return parse.parsed_embed(request, model, self.body(request), batch=batch)
            case _:
                raise Rejected(errors.json_response(404, b""))

    def _validate(self, request: ReceivedRequest, parsed: ParsedRequest, prefill: bool | None) -> None:
        match parsed.operation:
            case Operation.CHAT:
                rules.GENERATE(request.body, ())
                rules.in_order(parsed.model, prefill=prefill)(request.body, ())
            case Operation.COUNT:
                rules.COUNT(request.body, ())
            case _:
                pass

    def _chat_request(self, request: ReceivedRequest, origin: str | None) -> ChatRequest:
        streams = _model_and_method(request.path)[1] == "streamGenerateContent"
        return parse.chat_request(self.body(request), origin, stream=streams)

    # ---- responses

    def content_type(self, request: ParsedRequest) -> str:
        streams_events = request.stream and render.form_of(request).sse
        return "text/event-stream" if streams_events else "application/json; charset=UTF-8"

    def renderer(self, request: ParsedRequest, preview: Preview | None = None) -> GeminiRenderer:
        return GeminiRenderer(request, preview)

    def render_reply(self, request: ParsedRequest, reply: Reply) -> bytes:
        return render.render_reply(request, reply)

    def render_listing(self, request: ParsedRequest, models: Sequence[str]) -> bytes:
        return render.render_listing(request, models)

    def render_embeddings(self, request: ParsedRequest, vectors: Sequence[Sequence[float]]) -> bytes:
        return render.render_embeddings(request, vectors)

    def keepalive(self, request: ParsedRequest) -> bytes:
        return KEEPALIVE if render.form_of(request).sse else ARRAY_KEEPALIVE

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
        if kind is FailureKind.CONTENT_POLICY:
            return self._blocked(request, status)
        fault = fault_of(errors.FAULTS, kind)
        return errors.error_response(fault, request.model, status=status, wait=wait, message=message)

    def _blocked(self, request: ParsedRequest, status: int | None) -> HttpResponse:
        """A blocked prompt is a response like any other, in the framing that was asked for."""
        response = errors.blocked(request)
        body = errors.pretty(response)
        if request.stream:
            body = render.sse_event(response) if render.form_of(request).sse else b"[" + body + b"]"
        headers = {"content-type": self.content_type(request)}
        return HttpResponse(status=status or 200, headers=headers, body=body)

    def missing_key(self, request: ReceivedRequest) -> HttpResponse:
        return errors.error_response(errors.UNREGISTERED)

    def _not_json(self, request: ReceivedRequest) -> HttpResponse:
        return errors.error_response(errors.NOT_JSON)

    def _illegal(self, illegal: Illegal, request: ReceivedRequest) -> HttpResponse:
        return errors.illegal_response(illegal)


def _model_and_method(path: str) -> tuple[str, str]:
    """Return "gemini-3" and "generateContent" for /v1beta/models/gemini-3:generateContent."""
    resource = path.removeprefix("/v1beta").removeprefix("/v1").removeprefix("/")
    model, _, method = resource.rpartition(":")
    return model.removeprefix("models/"), method
