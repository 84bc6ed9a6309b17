"""What a call is about: a chat, or embeddings.

The failover loop knows neither; it asks the job for bytes and for a decoder.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import ClassVar, Protocol, final

import attrs

from ...events import Finished, FinishReason, Vectors, WireEvent
from ...failures import Failure, FailureKind, InvalidRequest
from ...messages import ChatRequest, assistant, user
from ...wire.codec import Decoder, Dialect, HttpRequest, Unsupported
from ..routing.selection import Candidate, Selected
from ..settings.config import Config
from ..workers.dialect_guard import DialectFailed, DialectGuard
from ..workers.worker import Refusal

EMBED_LIMIT = 256 * 1024 * 1024
"""Bytes of embeddings: 2,048 vectors of 3,072 numbers are about 60 MB in JSON, and more with a space after each."""


class Job(Protocol):
    """Pure: what to send to a candidate, and how to read what comes back."""

    encoded_by: ClassVar[str]  # the dialect's hook that makes the bytes
    whole_hook: ClassVar[
        str | None
    ]  # the hook that decodes the whole body at its end; None: it comes as a stream
    limited_by: ClassVar[str]  # what sets `max_bytes`, for the error

    def max_bytes(self, config: Config) -> int:
        """Bytes of the answer, unpacked, that are read."""
        ...

    def texts(self) -> Iterable[str]:
        """What the caller wrote: an error that repeats it must not carry it on."""
        ...

    def encode(self, candidate: Candidate) -> HttpRequest:
        """Raises wire.codec.Unsupported where the candidate's API has no field for it."""
        ...

    def decoder(self, candidate: Candidate) -> Decoder: ...


def encode_request(guard: DialectGuard, job: Job, candidate: Candidate) -> tuple[HttpRequest, Decoder]:
    """Return what to send to `candidate`, and the decoder of its answer.

    Raises:
        InvalidRequest: the candidate's dialect has no way to express the job.
        DialectFailed: the dialect has a bug.
    """
    return guard.encode_request(
        candidate.endpoint.provider.name,
        job.encoded_by,
        partial(job.encode, candidate),
        partial(job.decoder, candidate),
    )


def cannot_express(error: InvalidRequest) -> Refusal:
    return Refusal(f"does not support {error.what if isinstance(error, Unsupported) else error}")


def without_unable(selected: Selected, job: Job, dialects: DialectGuard) -> Selected:
    """The same selection, with those moved to `skipped` whose API does not support what `job` needs."""
    order, skipped = [], list(selected.skipped)
    for candidate in selected.order:
        try:
            encode_request(dialects, job, candidate)
            order.append(candidate)
        except InvalidRequest as error:
            skipped.append((candidate.state, cannot_express(error)))
        except DialectFailed as failed:
            skipped.append((candidate.state, Refusal(f"cannot be asked: {failed.failure.message}")))
    return Selected(tuple(order), tuple(skipped))


def _texts_of(request: ChatRequest) -> Iterator[str]:
    for message in request.messages:
        if isinstance(message.content, str):
            yield message.content
        else:
            for part in message.content:
                for name in ("text", "content", "arguments"):
                    if isinstance(text := getattr(part, name, None), str):
                        yield text


@final
@attrs.frozen
class ChatJob:
    encoded_by: ClassVar[str] = "encode"
    whole_hook: ClassVar[str | None] = None
    limited_by: ClassVar[str] = "max_answer_bytes"
    request: ChatRequest

    def max_bytes(self, config: Config) -> int:
        return config.max_answer_bytes

    def texts(self) -> Iterable[str]:
        return _texts_of(self.request)

    def encode(self, candidate: Candidate) -> HttpRequest:
        kind = candidate.endpoint.provider
        return kind.dialect.encode(self.request, kind.name, candidate.model)

    def decoder(self, candidate: Candidate) -> Decoder:
        return candidate.endpoint.provider.dialect.decoder()


CONTINUE_PLEASE = (
    "Your answer was cut off. Continue it exactly where it stops: no repetition, no comment, "
    "no apology, only the rest."
)


@final
@attrs.frozen
class ContinueJob:
    """The rest of an answer of which `partial` was delivered already."""

    encoded_by: ClassVar[str] = "encode"
    whole_hook: ClassVar[str | None] = None
    limited_by: ClassVar[str] = "max_answer_bytes"
    request: ChatRequest
    partial: str

    def max_bytes(self, config: Config) -> int:
        return config.max_answer_bytes

    def texts(self) -> Iterable[str]:
        return (*_texts_of(self.request), self.partial)

    def encode(self, candidate: Candidate) -> HttpRequest:
        kind = candidate.endpoint.provider
        begun = assistant(self.partial)
        prefix = candidate.model.startswith(kind.prefill)
        turns = (begun,) if prefix else (begun, user(CONTINUE_PLEASE))
        request = attrs.evolve(self.request, messages=(*self.request.messages, *turns))
        return kind.dialect.encode(request, kind.name, candidate.model)

    def decoder(self, candidate: Candidate) -> Decoder:
        return candidate.endpoint.provider.dialect.decoder()


@final
@attrs.frozen
class EmbedJob:
    encoded_by: ClassVar[str] = "encode_embed"
    whole_hook: ClassVar[str | None] = "decode_embed"
    limited_by: ClassVar[str] = "the limit of embeddings"
    texts_to_embed: tuple[str, ...]
    dimensions: int | None

    def max_bytes(self, config: Config) -> int:
        return EMBED_LIMIT

    def texts(self) -> Iterable[str]:
        return self.texts_to_embed

    def encode(self, candidate: Candidate) -> HttpRequest:
        kind = candidate.endpoint.provider
        return kind.dialect.encode_embed(self.texts_to_embed, kind.name, candidate.model, self.dimensions)

    def decoder(self, candidate: Candidate) -> Decoder:
        return _EmbedDecoder(candidate.endpoint.provider.dialect, len(self.texts_to_embed))


@final
class _EmbedDecoder:
    """Holds the body and decodes it at its end: one Vectors, then Finished."""

    def __init__(self, dialect: Dialect, expected: int) -> None:
        self._dialect = dialect
        self._expected = expected
        self._body = bytearray()
        self.done = False

    def feed(self, data: bytes) -> list[WireEvent]:
        self._body += data
        return []

    def finish(self) -> list[WireEvent]:
        try:
            vectors: Sequence[Sequence[float]] = self._dialect.decode_embed(bytes(self._body))
        except ValueError as error:
            return self._failed(str(error))
        if len(vectors) != self._expected:
            return self._failed(f"{len(vectors)} vectors came for {self._expected} texts")
        self.done = True
        return [Vectors(vectors), Finished(FinishReason.STOP)]

    def _failed(self, message: str) -> list[WireEvent]:
        self.done = True
        self._body.clear()
        return [Failure(FailureKind.PROTOCOL, message, phase="body")]
