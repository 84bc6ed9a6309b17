"""What the speakers share: who is let in, how rules become refusals, how a kind of failure finds its body."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, final

from ..failures import FailureKind
from .rules import Illegal, Rule
from .server import (
    AccountRules,
    HttpAnswer,
    ParsedRequest,
    Rejected,
    SimRequest,
    edge_answer,
    unknown_answer,
)


class BaseSpeaker(ABC):
    """The course of `Speaker.parse` and `Speaker.failure`; a dialect fills in its own words."""

    base_path: str = ""
    needs_key: bool = True
    spoken: ClassVar[frozenset[FailureKind]]
    """The kinds `_failure` has a body for."""

    @final
    def admit(self, request: SimRequest, terms: AccountRules) -> None:
        """Raises Rejected for a missing or unknown key."""
        if request.key is None and self.needs_key:
            raise Rejected(self._no_key(request))
        if terms.keys is not None and request.key not in terms.keys:
            raise Rejected(self.failure(FailureKind.CREDENTIAL, _nobody(request)))

    @final
    def require(self, rule: Rule, request: SimRequest) -> None:
        """Raises Rejected for a body the rule does not accept."""
        if not isinstance(request.body, dict):
            raise Rejected(self._no_json(request))
        try:
            rule(request.body, ())
        except Illegal as illegal:
            raise Rejected(self._illegal(illegal, request)) from None

    @final
    def failure(
        self, kind: FailureKind, asked: ParsedRequest, *, status: int | None = None, wait: float | None = None
    ) -> HttpAnswer:
        """See Speaker.failure."""
        match kind:
            case FailureKind.EDGE:
                return edge_answer(status)
            case FailureKind.UNKNOWN:
                return unknown_answer(status)
            case _:
                return self._failure(kind, asked, status, wait)

    @final
    def inside(self, kind: FailureKind) -> FailureKind:
        """What stands in a stream for `kind`: an error only a proxy or an account page has is a server error there."""
        return kind if kind in self.spoken else FailureKind.SERVER

    def embeddings(self, asked: ParsedRequest) -> bytes:
        """Overridden where `parse` lets requests for embeddings in."""
        raise AssertionError(f"{type(self).__name__} declines embeddings before it comes to this")

    @abstractmethod
    def _no_key(self, request: SimRequest) -> HttpAnswer: ...

    @abstractmethod
    def _no_json(self, request: SimRequest) -> HttpAnswer: ...

    @abstractmethod
    def _illegal(self, illegal: Illegal, request: SimRequest) -> HttpAnswer: ...

    @abstractmethod
    def _failure(
        self, kind: FailureKind, asked: ParsedRequest, status: int | None, wait: float | None
    ) -> HttpAnswer: ...


def _nobody(request: SimRequest) -> ParsedRequest:
    """A request that was not looked at any closer."""
    return ParsedRequest(what="chat", number=request.number)
