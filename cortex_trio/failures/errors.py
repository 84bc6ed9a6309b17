"""The exceptions of what was wrong before anything was sent. `cortex_trio.errors` draws the whole tree."""

from __future__ import annotations

from typing import Self

from .shown import masked, printable


class CortexError(Exception):
    """Base of everything this library raises on purpose."""


class ConfigError(CortexError, ValueError):
    """Says the path in the configuration ($.openai.timeout), what was found and what is allowed.

    Never a key's value: what has the prefix of a key is masked here, whatever field it was put into, and control
    characters are escaped. `path` is where, `problem` the other part of the sentence.
    """

    def __init__(self, path: str, problem: str) -> None:
        path, problem = printable(masked(path)), printable(masked(problem))
        super().__init__(f"{path}: {problem}" if path else problem)
        self.path = path
        self.problem = problem

    def __reduce__(self) -> tuple[type[Self], tuple[str, str]]:
        return type(self), (self.path, self.problem)

    def under(self, parent: str) -> ConfigError:
        """The same error, seen from further up: `timeout` under `$.openai` is `$.openai.timeout`."""
        dot = "." if self.path and not self.path.startswith("[") else ""
        return ConfigError(f"{parent}{dot}{self.path}", self.problem)


class InvalidRequest(CortexError, ValueError):
    """A message, a tool or an option that cannot be understood: says where and what is allowed. Nothing was sent."""


class NoWorkersAvailable(CortexError):
    """No worker can be asked within `max_wait`: says why for each. Also for an unknown provider=, worker= or model=.

    `retry_after` is the seconds until the first of them may be asked again; None if time alone changes nothing.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
