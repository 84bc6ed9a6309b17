"""The exceptions that end a call after at least one attempt. The others are in `failures.errors`.

CortexError
├── ConfigError            the configuration, before anything runs
├── InvalidRequest         the caller's messages or options, before anything is sent
├── NoWorkersAvailable     no worker can be asked within max_wait
├── ProviderError          one attempt failed for good
│   └── StreamInterrupted  … after something was delivered
└── AllWorkersFailed       several attempts failed (an ExceptionGroup of ProviderErrors)
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Self

from .events import Attempt, Reply
from .failures import CortexError, Failure


class ProviderError(CortexError):
    """One attempt failed for good."""

    def __init__(self, failure: Failure, worker: str, attempts: Sequence[Attempt] = ()) -> None:
        super().__init__(f"{worker}: {failure}")
        self.failure = failure
        self.worker = worker
        self.attempts = tuple(attempts)

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.failure, self.worker, self.attempts)

    @property
    def retry_after(self) -> float | None:
        return self.failure.retry_after


class StreamInterrupted(ProviderError):
    """The answer broke off after something was delivered. `partial` holds what was."""

    def __init__(self, failure: Failure, worker: str, attempts: Sequence[Attempt], partial: Reply) -> None:
        super().__init__(failure, worker, attempts)
        self.partial = partial

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.failure, self.worker, self.attempts, self.partial)


class AllWorkersFailed(ExceptionGroup[ProviderError], CortexError):
    """Several attempts failed; also catchable as CortexError.

    `primary` is the most telling of the errors, `retry_after` the soonest reopening in seconds,
    `attempts` the whole ledger in the order of asking.
    """

    primary: ProviderError
    retry_after: float | None
    attempts: Sequence[Attempt]

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
        return made, (self.message, self.exceptions)

    def derive(self, errors: Sequence[ProviderError], /) -> AllWorkersFailed:  # type: ignore[override]
        """Keep the facts when `except*` splits the group."""
        return AllWorkersFailed(
            self.message, errors, primary=self.primary, retry_after=self.retry_after, attempts=self.attempts
        )
