"""A pytest plugin that looks for API keys in what every test logs, emits, expects and raises.

Tests need not name their keys: every key is masked when it is made, and is noted there. Searched are all log records
of all loggers, all events for observers, and all exceptions that a test expects or fails with (warnings are errors
here), each with the locals of its frames. A test that leaks a key fails at its end.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import pytest
from canary import Canary

from cortex_trio.gateway.settings import secrets
from cortex_trio.telemetry import Telemetry

SHORTEST = 8
"""Characters. A shorter key may be in any text by chance; only tests of the mask have such."""
HIDDEN = 16
"""Characters that the masked form must hide for the hidden part to be searched for by itself."""
MOST_SHOWN = 10
"""Leaks that are shown: one key leaks in every frame that it passes through."""


def secret_of(key: str) -> str | None:
    """Return the secret part of `key`; None if other text may contain it by chance."""
    hidden = key[11:-6]
    if len(hidden) >= HIDDEN:
        return hidden
    return key if len(key) >= SHORTEST else None


class KeyWatch:
    """Searches for the keys made while tests are collected until the last test, for a test's own until its end."""

    def __init__(self) -> None:
        self.canary = Canary(secrets=set())
        self._of_all_tests: frozenset[str] = frozenset()

    # -------------------------------------------------------------- what is searched

    def pytest_configure(self) -> None:
        root = logging.getLogger()
        root.setLevel(logging.DEBUG)
        root.addHandler(self.canary.logs)
        _observe(secrets, "mask", lambda key: self._note(key))
        _observe(Telemetry, "emit", lambda _, event: self._look("event", event))
        _observe(pytest.ExceptionInfo, "fill_unfilled", lambda _, caught: self._look("raised", caught[1]))

    def _note(self, key: str) -> None:
        if secret := secret_of(key):
            self.canary.secrets.add(secret)

    def _look(self, where: str, value: object) -> None:
        if not self.canary.secrets:
            return
        if isinstance(value, BaseException):
            self.canary.look_at_error(where, value)
        else:
            self.canary.check(where, repr(value))

    # -------------------------------------------------------------- when leaks are reported

    def pytest_collection_finish(self) -> None:
        self._of_all_tests = frozenset(self.canary.secrets)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, call: pytest.CallInfo[None]) -> Iterator[None]:
        if call.excinfo is not None and call.when != "teardown":  # where the error may be our own report
            self._look("failed with", call.excinfo.value)
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self) -> Iterator[None]:
        yield
        leaks, self.canary.leaks = self.canary.leaks, []
        self.canary.secrets = set(self._of_all_tests)
        if leaks:
            pytest.fail("an API key leaked:\n" + "\n".join(leaks[:MOST_SHOWN]), pytrace=False)


def _observe(owner: object, name: str, see: Callable[..., None]) -> None:
    """Call `see` with the arguments of every call of `owner.name`, before the call."""
    original = getattr(owner, name)

    def observed(*args: object) -> object:
        see(*args)
        return original(*args)

    setattr(owner, name, observed)
