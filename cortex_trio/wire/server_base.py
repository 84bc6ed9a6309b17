"""What the server sides share: a complaint about a body becomes a response, and a failure kind finds its error."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import ParamSpec, TypeVar, final

from ..failures import FailureKind, InvalidRequest
from ..messages import ChatRequest
from .reading import Value
from .rules import Illegal, Problem
from .server import HttpResponse, ParsedRequest, ReceivedRequest, Rejected

Fault = TypeVar("Fault")
P = ParamSpec("P")
R = TypeVar("R")


class BaseServer(ABC):
    """The steps of `parse`, `validate` and `chat_request`; a dialect fills in what it reads."""

    name: str
    base_path: str = ""

    def serves(self, method: str, path: str) -> bool:
        """See ServerDialect.serves: all, where a server has no other dialect."""
        return True

    @final
    def parse(self, request: ReceivedRequest) -> ParsedRequest:
        """See ServerDialect.parse."""
        return self._rejecting(request, self._parse, request)

    @final
    def validate(
        self, request: ReceivedRequest, parsed: ParsedRequest, *, prefill: bool | None = None
    ) -> None:
        """See ServerDialect.validate."""
        self._rejecting(request, self._validate, request, parsed, prefill)

    @final
    def chat_request(self, request: ReceivedRequest, *, origin: str | None = None) -> ChatRequest:
        """See ServerDialect.chat_request."""
        return self._rejecting(request, self._chat_request, request, origin)

    @final
    def body(self, request: ReceivedRequest) -> Value:
        """Return the body; raises Rejected where it is not a JSON object."""
        if not isinstance(request.body, dict):
            raise Rejected(self._not_json(request))
        return Value(request.body)

    def _rejecting(
        self, request: ReceivedRequest, read: Callable[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Return what `read` returns; a complaint of it becomes Rejected."""
        try:
            return read(*args, **kwargs)
        except Illegal as illegal:
            raise Rejected(self._illegal(illegal, request)) from None
        except InvalidRequest as error:
            # A value of ours that cannot be, such as an image without a media type.
            unusable = Illegal(Problem.ORDER, (), str(error))
            raise Rejected(self._illegal(unusable, request)) from None
        except RecursionError:
            deep = Illegal(Problem.ORDER, (), "The body is nested too deeply.")
            raise Rejected(self._illegal(deep, request)) from None

    def render_embeddings(self, request: ParsedRequest, vectors: Sequence[Sequence[float]]) -> bytes:
        """Overridden where `parse` accepts requests for embeddings."""
        raise NotImplementedError(f"{self.name} has no embeddings")

    @abstractmethod
    def _parse(self, request: ReceivedRequest) -> ParsedRequest: ...

    @abstractmethod
    def _validate(self, request: ReceivedRequest, parsed: ParsedRequest, prefill: bool | None) -> None: ...

    @abstractmethod
    def _chat_request(self, request: ReceivedRequest, origin: str | None) -> ChatRequest: ...

    @abstractmethod
    def _not_json(self, request: ReceivedRequest) -> HttpResponse: ...

    @abstractmethod
    def _illegal(self, illegal: Illegal, request: ReceivedRequest) -> HttpResponse: ...


def fault_of(faults: Mapping[FailureKind, Fault], kind: FailureKind) -> Fault:
    """Return the error for `kind`; a kind that the API has no error for is a server error."""
    return faults.get(kind, faults[FailureKind.SERVER])


def bearer_key(headers: Mapping[str, str]) -> str | None:
    """Return the key of an `Authorization: Bearer` header, None where there is none."""
    scheme, _, key = headers.get("authorization", "").partition(" ")
    return key.strip() or None if scheme.lower() == "bearer" else None
