"""xAI's Responses API: reasoning is always shown, arguments come in one delta, errors are flat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...failures import FailureKind
from .. import openai_errors
from .. import xai_errors as errors
from ..openai_errors import Fault
from ..rules import Illegal, Problem, Rule
from ..server import HttpResponse, ParsedRequest, ReceivedRequest, ResponseIdentity
from ..server_base import fault_of
from ..writing import dumps, encoded, named_event
from . import rules
from .render import ResponsesRenderer
from .server import ResponsesServer


class XAIResponsesRenderer(ResponsesRenderer):
    whole_arguments = True
    always_summary = True

    def fail(self, kind: FailureKind, *, message: str | None = None, wait: float | None = None) -> bytes:
        fault = fault_of(errors.FAULTS, kind)
        text = fault.text(self._request.model, wait, message)
        return named_event(self._numbered("error", {"code": fault.code, "message": text, "param": None}))


class XAIResponsesServer(ResponsesServer):
    cipher = "xCAI"
    renders = XAIResponsesRenderer
    faults = errors.FAULTS

    def _rule(self) -> Rule:
        return rules.XAI

    def content_type(self, request: ParsedRequest) -> str:
        return "text/event-stream" if request.stream else "application/json"

    def _body(self, response: Mapping[str, Any]) -> bytes:
        return encoded(dumps(response))

    def missing_key(self, request: ReceivedRequest) -> HttpResponse:
        return self._error(401, errors.NO_KEY, request.identity)

    def _error_body(self, fault: Fault, text: str) -> Mapping[str, Any]:
        return errors.error_body(fault, text)

    def _illegal(self, illegal: Illegal, request: ReceivedRequest) -> HttpResponse:
        if illegal.problem is Problem.ORDER:
            return self._error(400, openai_errors.complaint(illegal), request.identity)
        return errors.illegal_response(illegal)

    def _error(
        self,
        status: int,
        body: Mapping[str, Any],
        identity: ResponseIdentity,
        headers: Mapping[str, str] | None = None,
    ) -> HttpResponse:
        return errors.error_response(status, body, headers)
