"""Exceptions raised before anything is sent. `cortex_trio.errors` draws the whole hierarchy."""

from __future__ import annotations

from typing import Self

from .kinds import FailureKind
from .shown import masked, printable


class CortexError(Exception):
    """The base class of all exceptions that this library raises on purpose."""

    call: str | None = None
    """The id of the call that it ended, which the events of the call have as well. None: no call had begun."""


class ConfigError(CortexError, ValueError):
    """The configuration is wrong. The message has the path ($.openai.timeout), what was found and what is allowed.

    Texts that look like API keys are masked, whatever field they stand in, and control characters are escaped.
    """

    path: str
    """The place in the configuration; "$" is the whole, "" none in particular."""

    problem: str
    """What is wrong there and what is allowed."""

    def __init__(self, path: str, problem: str) -> None:
        path, problem = printable(masked(path)), printable(masked(problem))
        super().__init__(f"{path}: {problem}" if path else problem)
        self.path = path
        self.problem = problem

    def __reduce__(self) -> tuple[type[Self], tuple[str, str]]:
        return type(self), (self.path, self.problem)

    def under(self, parent: str) -> ConfigError:
        """Return the error with `parent` in front of its path: `timeout` under `$.openai` is `$.openai.timeout`.

        Args:
            parent: The path of the mapping or list that holds the wrong value.
        """
        dot = "." if self.path and not self.path.startswith("[") else ""
        return ConfigError(f"{parent}{dot}{self.path}", self.problem)


class InvalidRequest(CortexError, ValueError):
    """A message, a tool or an option is wrong. The message says where and what is allowed. Nothing was sent."""


class NoWorkersAvailable(CortexError):
    """No worker is available within `max_wait`. The message has the reason for each worker.

    Also raised for a provider=, worker= or model= that does not exist.
    """

    retry_after: float | None
    """Seconds until the first worker may be available again. None: waiting alone changes nothing."""

    kind: FailureKind | None
    """The failure after which all of the workers that may be available again are cooling down. None: they differ."""

    def __init__(
        self, message: str, *, retry_after: float | None = None, kind: FailureKind | None = None
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.kind = kind
