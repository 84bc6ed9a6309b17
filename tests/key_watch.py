"""Every test is watched: no key that it makes may show in a log, an event, a warning or an error.

Nobody names the keys: whoever makes one has it masked, and there it is seen. Looked at is every log record of every
logger and level, every event for observers, and every exception that a test expects or fails with (warnings are
errors here), each with the locals of its frames. A test that lets a key out fails at its end.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import pytest
from canary import Canary

from cortex_trio.gateway.settings import secrets
from cortex_trio.telemetry import Telemetry

SHORTEST = 8
"""Characters of a key below which any text might hold it by chance; tests of the mask itself make such."""
HIDDEN = 16
"""Characters between the ends that a mask shows, if there are as many, are recognised by themselves."""
MOST_SHOWN = 10
"""Of the places where one key came out: every frame it passed through is another."""


def secret_of(key: str) -> str | None:
    """What of `key` nobody may see, if it can be told from other text."""
    hidden = key[11:-6]
    if len(hidden) >= HIDDEN:
        return hidden
    return key if len(key) >= SHORTEST else None


class KeyWatch:
    """A pytest plugin. Keys made while tests are collected are watched to the end, a test's own until its end."""

    def __init__(self) -> None:
        self.canary = Canary(secrets=set())
        self._of_all_tests: frozenset[str] = frozenset()

    # -------------------------------------------------------------- where it listens

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

    # -------------------------------------------------------------- when

    def pytest_collection_finish(self) -> None:
        self._of_all_tests = frozenset(self.canary.secrets)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, call: pytest.CallInfo[None]) -> Iterator[None]:
        if call.excinfo is not None and call.when != "teardown":  # where it may be ourselves who complain
            self._look("failed with", call.excinfo.value)
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self) -> Iterator[None]:
        yield
        leaks, self.canary.leaks = self.canary.leaks, []
        self.canary.secrets = set(self._of_all_tests)
        if leaks:
            pytest.fail("a key came out:\n" + "\n".join(leaks[:MOST_SHOWN]), pytrace=False)


def _observe(owner: object, name: str, see: Callable[..., None]) -> None:
    """Have `see` told the arguments of every call; the call itself goes on as it would have."""
    original = getattr(owner, name)

    def observed(*args: object) -> object:
        see(*args)
        return original(*args)

    setattr(owner, name, observed)
