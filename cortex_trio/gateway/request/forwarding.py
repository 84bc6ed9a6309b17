"""A call whose request came from a client of one API. Knows no server and no route.

A worker that speaks the client's dialect gets the request as it came; any other gets a translation of it. The strategy
decides which worker is asked, and not the dialect.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ClassVar, final

import attrs

from ...messages import ChatRequest
from ...wire.codec import Decoder, Dialect, HttpRequest
from ..routing.eligibility import Candidate
from ..settings.config import Config
from .jobs import has_reasoning, texts_of


@attrs.frozen(kw_only=True)
class ForwardRequest:
    """A request of a client, as `Cortex.forward` takes it."""

    dialect: str
    """The name of the dialect that it came in."""

    request: ChatRequest = attrs.field(repr=False)
    """What it asks for, as far as our messages can express it: decides which workers can serve it."""

    native: Callable[[str, Dialect], HttpRequest] = attrs.field(repr=False)
    """Returns the request for a worker that speaks `dialect`, as it came but for the model. The arguments are the model
    and the dialect of the worker's server."""

    native_decoder: Callable[[Dialect], Decoder] = attrs.field(repr=False)
    """Returns the decoder of the response to it. Its events have a `Forwarded` before the events that it means."""

    translated: Callable[[str, Dialect], ChatRequest] = attrs.field(repr=False)
    """Returns the request for a worker of a provider, which is the first argument, with a dialect, which is the second.

    Raises InvalidRequest if the dialect cannot express it."""

    is_streamed: bool = True
    """Whether the response to the native request is a stream."""


@final
@attrs.frozen
class ForwardJob:
    """A request of a client: sent as it came, or translated."""

    encode_hook: ClassVar[str] = "encode"
    whole_hook: ClassVar[str | None] = None
    limited_by: ClassVar[str] = "max_answer_bytes"
    forward: ForwardRequest

    @property
    def reasons(self) -> bool:
        return has_reasoning(self.forward.request)

    def max_bytes(self, config: Config) -> int:
        return config.max_answer_bytes

    def texts(self) -> Iterable[str]:
        return texts_of(self.forward.request)

    def is_whole(self, candidate: Candidate) -> bool:
        return self._is_native(candidate) and not self.forward.is_streamed

    def request_for(self, candidate: Candidate) -> ChatRequest:
        return self.forward.translated(candidate.endpoint.provider.name, candidate.dialect)

    def encode(self, candidate: Candidate) -> HttpRequest:
        if self._is_native(candidate):
            return self.forward.native(candidate.model, candidate.dialect)
        provider = candidate.endpoint.provider.name
        return candidate.dialect.encode(self.request_for(candidate), provider, candidate.model)

    def decoder(self, candidate: Candidate) -> Decoder:
        dialect = candidate.dialect
        return self.forward.native_decoder(dialect) if self._is_native(candidate) else dialect.decoder()

    def _is_native(self, candidate: Candidate) -> bool:
        return candidate.dialect.name == self.forward.dialect
