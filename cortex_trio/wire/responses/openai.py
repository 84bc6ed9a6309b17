"""OpenAI's own Responses API: deltas are padded, and an error in a stream is sent twice."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from ...failures import FailureKind
from .. import openai_errors as errors
from ..openai_errors import Fault
from ..rules import Illegal, Rule
from ..server import HttpResponse, ParsedRequest, ReceivedRequest, ResponseIdentity
from ..server_base import fault_of
from ..writing import dumps, encoded, named_event
from . import rules
from .render import ResponsesRenderer
from .server import ResponsesServer


class OpenAIResponsesRenderer(ResponsesRenderer):
    def fail(self, kind: FailureKind, *, message: str | None = None, wait: float | None = None) -> bytes:
        """An event with the fields in an inner `error`, then a response that has failed."""
        fault = fault_of(errors.FAULTS, kind)
        error = errors.error_body(fault, fault.text(self._request.model, wait, message))["error"]
        brief = {"code": error["code"] or error["type"], "message": error["message"]}
        event = self._numbered("error", {"error": error})
        failed = self._numbered("response.failed", {"response": self.response(error=brief)})
        return named_event(event) + named_event(failed)

    def _padding(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        noise = hashlib.blake2b(repr(fields).encode(), digest_size=8).hexdigest()
        return {"obfuscation": noise[: int(noise[0], 16) + 1]}


class OpenAIResponsesServer(ResponsesServer):
    cipher = "gAAAAAB"
    renders = OpenAIResponsesRenderer
    faults = errors.FAULTS

    def _rule(self) -> Rule:
        return rules.OPENAI

    def content_type(self, request: ParsedRequest) -> str:
        return "text/event-stream; charset=utf-8" if request.stream else "application/json"

    def _body(self, response: Mapping[str, Any]) -> bytes:
        return encoded(dumps(response, indent=2)) + b"\n"

    def missing_key(self, request: ReceivedRequest) -> HttpResponse:
        return self._error(401, errors.NO_KEY, request.identity)

    def _error_body(self, fault: Fault, text: str) -> Mapping[str, Any]:
        return errors.error_body(fault, text)

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
