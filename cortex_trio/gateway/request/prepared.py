"""All that one attempt needs before it sends, written once, and the error it ends with."""

from __future__ import annotations

import attrs
import trio

from ...failures import Failure, FailureKind, scrub
from ...failures.kinds import Phase
from ...failures.redact import without_repetition
from ...http.exchange import RequestProgress
from ...wire.codec import Decoder, HttpRequest
from ..routing.eligibility import Candidate
from ..runtime import Runtime
from ..settings.secrets import ApiKey
from .admission import Admission
from .jobs import Job
from .timeouts import Timeouts, timeout_failure


class AttemptFailed(Exception):
    """This attempt is over without an answer.

    Attributes:
        failure: what the attempt proved.
        cause: what the system, a transport or a dialect raised, or None; it holds no key.
        reused: the request went over a kept connection.
    """

    def __init__(self, failure: Failure, cause: BaseException | None = None, *, reused: bool = False) -> None:
        super().__init__(str(failure))
        self.failure = failure
        self.cause = cause
        self.reused = reused


@attrs.frozen
class BodyFailure:
    """Why a body cannot be read on. A value and not an exception: it may be kept without a traceback."""

    failure: Failure
    cause: BaseException | None = None  # as in AttemptFailed


@attrs.frozen(eq=False)
class PreparedAttempt:
    """One request to one worker with one key, ready to be sent. Nothing in it changes but `progress`."""

    runtime: Runtime
    candidate: Candidate
    job: Job = attrs.field(repr=False)  # with the next two it holds the prompt
    request: HttpRequest = attrs.field(repr=False)
    decoder: Decoder = attrs.field(repr=False)
    admission: Admission
    timeouts: Timeouts
    call: str  # the id of its call
    number: int  # of the attempts of its call, from 1
    fresh: bool = False  # it must not be sent over a kept connection
    started: float = attrs.field(factory=trio.current_time)  # Trio time
    # How far the request came; written by the transport.
    progress: RequestProgress = attrs.field(factory=RequestProgress)

    @property
    def key(self) -> ApiKey | None:
        """The API key; None for a worker without keys."""
        return self.admission.key

    @property
    def provider(self) -> str:
        """The name of the provider."""
        return self.candidate.endpoint.provider.name

    @property
    def first_token_deadline(self) -> float:
        """Trio time by which the first content must be here, unless the body has begun before."""
        return self.timeouts.first_content_by(self.started, self.started)

    def failed(self, failure: Failure, cause: BaseException | None = None) -> AttemptFailed:
        """Return the error of this attempt. Its text repeats neither the key nor the caller's messages."""
        if self.key is not None:
            failure = without_secret(failure, self.key)
        message = without_repetition(failure.message, self.job.texts())
        if message != failure.message:
            failure = attrs.evolve(failure, message=message)
        return AttemptFailed(failure, cause, reused=self.progress.reused)

    def protocol_error(self, message: str) -> AttemptFailed:
        """Return the error of an attempt whose response is not what the protocol allows."""
        return self.failed(protocol_failure(message))

    def timed_out(self, phase: Phase, *, has_content: bool = False) -> Failure:
        """Return the failure of this attempt, which has waited too long."""
        timeouts = self.timeouts
        if has_content:
            is_ours = timeouts.idle_is_ours
        else:  # no connection was free: the request never reached the worker
            is_ours = timeouts.first_token_is_ours or self.progress.phase == "pool"
        return timeout_failure(
            timeouts,
            phase,
            started=self.started,
            now=trio.current_time(),
            has_content=has_content,
            is_ours=is_ours,
        )


def protocol_failure(message: str) -> Failure:
    """Return the failure of a response that is not what the protocol allows."""
    return Failure(FailureKind.PROTOCOL, message, phase="body")


def without_secret(failure: Failure, key: ApiKey) -> Failure:
    """Return `failure` with `key` scrubbed from the texts that came from the provider."""

    def clean(text: str) -> str:
        return scrub(text, (key.reveal(),))

    return attrs.evolve(
        failure,
        message=clean(failure.message),
        code=failure.code and clean(failure.code),
        request_id=failure.request_id and clean(failure.request_id),
    )
