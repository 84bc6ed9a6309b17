"""What a call asks for: a chat, the continuation of an answer, or embeddings.

Failover knows none of them: it asks the job for the request and for the decoder of the response.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import ClassVar, Protocol, final

import attrs

from ...events import Finished, FinishReason, UsageUpdate, Vectors, WireEvent
from ...failures import Failure, FailureKind, InvalidRequest
from ...messages import ChatRequest, assistant, user
from ...wire.codec import Decoder, Dialect, HttpRequest, Unsupported
from ..routing.eligibility import Candidate
from ..routing.selection import Evaluation
from ..settings.config import Config
from ..workers.dialect_guard import DialectFailed, DialectGuard
from ..workers.worker import Refusal

EMBED_LIMIT = 256 * 1024 * 1024
"""Bytes of embeddings: 2,048 vectors of 3,072 numbers are about 60 MB in JSON, and more with a space after each."""


class Job(Protocol):
    """What to send to a candidate, and how to read what comes back. Pure."""

    encode_hook: ClassVar[str]
    """The method of the dialect that makes the request."""
    whole_hook: ClassVar[str | None]
    """The method of the dialect that decodes the whole body at its end; None if the body is a stream."""
    limited_by: ClassVar[str]
    """What sets `max_bytes`, for the error."""

    @property
    def reasons(self) -> bool:
        """The model was asked to reason, which takes time before the first content."""
        ...

    def max_bytes(self, config: Config) -> int:
        """Return how many bytes of the body are read, after unpacking."""
        ...

    def texts(self) -> Iterable[str]:
        """Return what the caller wrote: no error may repeat it."""
        ...

    def is_whole(self, candidate: Candidate) -> bool:
        """Return whether the answer of `candidate` is not streamed, so that its first token comes with its last."""
        ...

    def encode(self, candidate: Candidate) -> HttpRequest:
        """Return the request for `candidate`. Raises wire.codec.Unsupported if its dialect cannot express it."""
        ...

    def decoder(self, candidate: Candidate) -> Decoder:
        """Return a new decoder for one response of `candidate`."""
        ...


class AnswerJob(Job, Protocol):
    """A job whose answer another worker can continue."""

    def request_for(self, candidate: Candidate) -> ChatRequest:
        """Return what `candidate` is asked. Raises InvalidRequest if its dialect cannot express it."""
        ...


def encode_request(guard: DialectGuard, job: Job, candidate: Candidate) -> tuple[HttpRequest, Decoder]:
    """Return what to send to `candidate`, and the decoder of its response.

    Raises:
        InvalidRequest: the dialect of the candidate cannot express the job.
        DialectFailed: the dialect has a bug.
    """
    return guard.encode_request(
        candidate.endpoint.provider.name,
        job.encode_hook,
        partial(job.encode, candidate),
        partial(job.decoder, candidate),
    )


def cannot_express(error: InvalidRequest) -> Refusal:
    """Return the refusal of a worker whose dialect cannot express the job."""
    return Refusal(f"does not support {error.what if isinstance(error, Unsupported) else error}")


def without_unable(evaluation: Evaluation, job: Job, guard: DialectGuard) -> Evaluation:
    """Return the same evaluation, with the workers skipped whose dialect cannot express `job`."""
    order, skipped = [], list(evaluation.skipped)
    for candidate in evaluation.order:
        try:
            encode_request(guard, job, candidate)
            order.append(candidate)
        except InvalidRequest as error:
            skipped.append((candidate.state, cannot_express(error)))
        except DialectFailed as bug:
            skipped.append((candidate.state, Refusal(f"cannot be asked: {bug.failure.message}")))
    return Evaluation(tuple(order), tuple(skipped))


def has_reasoning(request: ChatRequest) -> bool:
    """Return whether a request asks the model to reason."""
    return request.reasoning not in (None, 0, "none")


def texts_of(request: ChatRequest) -> Iterator[str]:
    """Return what the caller wrote in the messages of a request."""
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
    """A chat, answered by a stream."""

    encode_hook: ClassVar[str] = "encode"
    whole_hook: ClassVar[str | None] = None
    limited_by: ClassVar[str] = "max_answer_bytes"
    request: ChatRequest

    @property
    def reasons(self) -> bool:
        return has_reasoning(self.request)

    def max_bytes(self, config: Config) -> int:
        return config.max_answer_bytes

    def texts(self) -> Iterable[str]:
        return texts_of(self.request)

    def is_whole(self, candidate: Candidate) -> bool:
        return False

    def request_for(self, candidate: Candidate) -> ChatRequest:
        return self.request

    def encode(self, candidate: Candidate) -> HttpRequest:
        return candidate.dialect.encode(self.request, candidate.endpoint.provider.name, candidate.model)

    def decoder(self, candidate: Candidate) -> Decoder:
        return candidate.dialect.decoder()


CONTINUE_PROMPT = (
    "Your answer was cut off. Continue it exactly where it stops: no repetition, no comment, "
    "no apology, only the rest."
)


@final
@attrs.frozen
class ContinueJob:
    """The end of the answer to `begun`, of which `partial` was delivered already."""

    encode_hook: ClassVar[str] = "encode"
    whole_hook: ClassVar[str | None] = None
    limited_by: ClassVar[str] = "max_answer_bytes"
    begun: AnswerJob
    partial: str

    @property
    def reasons(self) -> bool:
        return self.begun.reasons

    def max_bytes(self, config: Config) -> int:
        return config.max_answer_bytes

    def texts(self) -> Iterable[str]:
        return (*self.begun.texts(), self.partial)

    def is_whole(self, candidate: Candidate) -> bool:
        return False

    def encode(self, candidate: Candidate) -> HttpRequest:
        kind = candidate.endpoint.provider
        answer = assistant(self.partial)
        continues_prefix = candidate.model.startswith(kind.prefill)  # the model continues the last message
        turns = (answer,) if continues_prefix else (answer, user(CONTINUE_PROMPT))
        request = self.begun.request_for(candidate)
        request = attrs.evolve(request, messages=(*request.messages, *turns))
        return candidate.dialect.encode(request, kind.name, candidate.model)

    def decoder(self, candidate: Candidate) -> Decoder:
        return candidate.dialect.decoder()


@final
@attrs.frozen
class EmbedJob:
    """Embeddings of some texts, answered by one JSON object."""

    encode_hook: ClassVar[str] = "encode_embed"
    whole_hook: ClassVar[str | None] = "decode_embed"
    limited_by: ClassVar[str] = "the limit of embeddings"
    texts_to_embed: tuple[str, ...]
    dimensions: int | None

    @property
    def reasons(self) -> bool:
        return False

    def max_bytes(self, config: Config) -> int:
        return EMBED_LIMIT

    def texts(self) -> Iterable[str]:
        return self.texts_to_embed

    def is_whole(self, candidate: Candidate) -> bool:
        return False

    def encode(self, candidate: Candidate) -> HttpRequest:
        provider = candidate.endpoint.provider.name
        return candidate.dialect.encode_embed(self.texts_to_embed, provider, candidate.model, self.dimensions)

    def decoder(self, candidate: Candidate) -> Decoder:
        return _EmbedDecoder(candidate.dialect, len(self.texts_to_embed))


@final
class _EmbedDecoder:
    """Keeps the body and decodes it at its end: the usage, the Vectors, then Finished."""

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
            found = self._dialect.decode_embed(bytes(self._body))
        except ValueError as error:
            return self._failed(str(error))
        vectors = found if isinstance(found, Vectors) else Vectors(found)
        if len(vectors) != self._expected:
            return self._failed(f"{len(vectors)} vectors came for {self._expected} texts")
        self.done = True
        usage = [UsageUpdate(vectors.usage)] if vectors.usage is not None else []
        return [*usage, vectors, Finished(FinishReason.STOP)]

    def _failed(self, message: str) -> list[WireEvent]:
        self.done = True
        self._body.clear()
        return [Failure(FailureKind.PROTOCOL, message, phase="body")]
