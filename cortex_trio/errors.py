"""Exceptions that end a call after at least one attempt. Those raised earlier are in `failures.errors`.

CortexError
├── ConfigError            the configuration, before anything runs
├── InvalidRequest         the caller's messages or options, before anything is sent
├── BudgetExceeded         a budget around the call is used up (`costs.budget`)
├── NoWorkersAvailable     no worker is available within max_wait
├── ProviderError          one attempt failed, and nothing else could be tried
│   └── StreamInterrupted  … after something was delivered
├── AllWorkersFailed       several attempts failed (an ExceptionGroup of ProviderErrors)
├── InvalidAnswer          the answer does not have the type that was asked for
├── TooManyRounds          the model still calls tools after max_rounds
└── ToolAbort              a tool ends its conversation
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Self

from .events import Attempt, Reply, Round
from .failures import CortexError, Failure


class ProviderError(CortexError):
    """The only attempt failed, and nothing else could be tried."""

    failure: Failure
    """Why it failed."""

    worker: str
    """The name of the worker."""

    attempts: Sequence[Attempt]
    """All attempts of the call, in the order in which they began."""

    def __init__(self, failure: Failure, worker: str, attempts: Sequence[Attempt] = ()) -> None:
        super().__init__(f"{worker}: {failure}")
        self.failure = failure
        self.worker = worker
        self.attempts = tuple(attempts)

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.failure, self.worker, self.attempts), self._state()

    def _state(self) -> dict[str, str] | None:
        """Return what pickle must restore beside the arguments."""
        return None if self.call is None else {"call": self.call}

    @property
    def retry_after(self) -> float | None:
        """Seconds after which the provider allows another request. None: it named no time."""
        return self.failure.retry_after


class StreamInterrupted(ProviderError):
    """The answer was interrupted after something was delivered (on_interrupt="raise")."""

    partial: Reply
    """What was delivered. Its last tool call may be incomplete."""

    def __init__(self, failure: Failure, worker: str, attempts: Sequence[Attempt], partial: Reply) -> None:
        super().__init__(failure, worker, attempts)
        self.partial = partial

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.failure, self.worker, self.attempts, self.partial), self._state()


class AllWorkersFailed(ExceptionGroup[ProviderError], CortexError):
    """Several attempts failed: an ExceptionGroup with an error for each, and a CortexError as well."""

    primary: ProviderError
    """The error that says most about the cause, by `failures.PRIMARY_ORDER`."""

    retry_after: float | None
    """Seconds until the first of these workers may be available again. None: waiting alone changes nothing."""

    attempts: Sequence[Attempt]
    """All attempts of the call, in the order in which they began."""

    def __new__(
        cls,
        message: str,
        errors: Sequence[ProviderError],
        *,
        primary: ProviderError,
        retry_after: float | None = None,
        attempts: Sequence[Attempt] = (),
    ) -> Self:
        group = super().__new__(cls, message, errors)
        group.primary = primary
        group.retry_after = retry_after
        group.attempts = tuple(attempts)
        return group

    def __init__(self, message: str, errors: Sequence[ProviderError], **_: object) -> None:
        super().__init__(message, errors)

    def __reduce__(self) -> tuple[object, ...]:
        made = partial(type(self), primary=self.primary, retry_after=self.retry_after, attempts=self.attempts)
        return made, (self.message, self.exceptions), None if self.call is None else {"call": self.call}

    def derive(self, errors: Sequence[ProviderError], /) -> AllWorkersFailed:  # type: ignore[override]
        """Return a group of `errors` with the fields of this one. Python calls it when `except*` splits the group."""
        derived = AllWorkersFailed(
            self.message, errors, primary=self.primary, retry_after=self.retry_after, attempts=self.attempts
        )
        derived.call = self.call
        return derived


class InvalidAnswer(CortexError):
    """The answer does not have the type that was asked for, also when it was asked for once more."""

    text: str
    """The text of the answer."""

    problems: Sequence[str]
    """What does not fit, each with its place in the answer."""

    reply: Reply
    """The answer, with the usage and the attempts of all rounds."""

    def __init__(self, reply: Reply, problems: Sequence[str]) -> None:
        super().__init__(f"{'; '.join(problems)}; the answer was: {reply.text!r:.200}")
        self.reply = reply
        self.text = reply.text
        self.problems = tuple(problems)
        self.call = reply.call

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.reply, self.problems)


class TooManyRounds(CortexError):
    """The model still calls tools in the last round that was allowed. These calls were not run."""

    rounds: Sequence[Round]
    """The rounds."""

    def __init__(self, rounds: Sequence[Round]) -> None:
        calls = ", ".join(call.name for call in rounds[-1].tool_calls) or "nothing"
        super().__init__(f"no answer after {len(rounds)} rounds (max_rounds); the last one calls {calls}")
        self.rounds = tuple(rounds)
        self.call = rounds[-1].reply.call

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.rounds,)


class ToolAbort(CortexError):
    """Raise it in a tool to end `run_tools`, which raises it again. Other exceptions of a tool go to the model."""
