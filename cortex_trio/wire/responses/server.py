"""The server side of the Responses API: what OpenAI and xAI have in common. See `wire.server`.

A server of it has chat completions beside it; their dialect has the lists and the embeddings.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from ...events import FinishReason, ReasoningSeal, Reply
from ...failures import FailureKind
from ...messages import ChatRequest, Reasoning
from .. import openai_errors as errors
from ..openai_errors import Fault
from ..rules import Rule
from ..server import (
    HttpResponse,
    ParsedRequest,
    Preview,
    ReceivedRequest,
    Rejected,
    ResponseIdentity,
)
from ..server_base import BaseServer, bearer_key, fault_of
from . import parse, rules
from .render import ResponsesRenderer


class ResponsesServer(BaseServer):
    name = "responses"
    base_path = "/v1"
    cipher: ClassVar[str]
    """What the reasoning that this provider has encrypted begins with."""
    renders: ClassVar[type[ResponsesRenderer]]
    faults: ClassVar[Mapping[FailureKind, Fault]]

    def serves(self, method: str, path: str) -> bool:
        return (method, path) == ("POST", self.base_path + "/responses")

    def key_of(self, headers: Mapping[str, str], query: Mapping[str, str]) -> str | None:
        return bearer_key(headers)

    # ---- requests

    def _parse(self, request: ReceivedRequest) -> ParsedRequest:
        if not self.serves(request.method, request.path):
            body = errors.no_route(request.method, request.path)
            raise Rejected(self._error(404, body, request.identity))
        return parse.parsed_chat(request, self.body(request))

    def _validate(self, request: ReceivedRequest, parsed: ParsedRequest, prefill: bool | None) -> None:
        self._rule()(request.body, ())
        rules.in_order(prefill=prefill, cipher=self.cipher)(request.body, ())

    @abstractmethod
    def _rule(self) -> Rule: ...

    def _chat_request(self, request: ReceivedRequest, origin: str | None) -> ChatRequest:
        return parse.chat_request(self.body(request), origin)

    # ---- responses

    def renderer(self, request: ParsedRequest, preview: Preview | None = None) -> ResponsesRenderer:
        return self.renders(request, preview)

    def render_reply(self, request: ParsedRequest, reply: Reply) -> bytes:
        thoughts = (part for part in reply.message.parts if isinstance(part, Reasoning))
        preview = Preview(
            usage=reply.usage,
            refused=reply.finish_reason is FinishReason.REFUSAL,
            seal=next((ReasoningSeal(p.signature, p.encrypted) for p in thoughts if p.encrypted), None),
        )
        return self._body(self.renders(request, preview).reply(reply))

    @abstractmethod
    def _body(self, response: Mapping[str, Any]) -> bytes: ...

    def render_listing(self, request: ParsedRequest, models: Sequence[str]) -> bytes:
        raise NotImplementedError("the lists belong to the chat completions of the same server")

    def keepalive(self, request: ParsedRequest) -> bytes:
        return b": keepalive\n\n"

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
        if kind is FailureKind.MODEL_NOT_FOUND:
            status = status or 400  # where chat completions have a 404
        fault = fault_of(self.faults, kind)
        body = self._error_body(fault, fault.text(request.model, wait, message))
        return self._error(status or fault.status, body, request.identity, fault.headers(wait))

    @abstractmethod
    def _error_body(self, fault: Fault, text: str) -> Mapping[str, Any]: ...

    @abstractmethod
    def _error(
        self,
        status: int,
        body: Mapping[str, Any],
        identity: ResponseIdentity,
        headers: Mapping[str, str] | None = None,
    ) -> HttpResponse: ...

    def _not_json(self, request: ReceivedRequest) -> HttpResponse:
        return self._error(400, errors.NO_JSON, request.identity)
