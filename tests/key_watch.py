"""A pytest plugin that fails every test in which an API key appears in a log, an event, a warning or an error.

The keys are those that are masked during the test. It checks every log record of every logger and level, every event
for observers, and every exception that a test expects or fails with (warnings are errors in these tests), each with the
local variables of its frames.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from canary import Canary

from cortex_trio.gateway.settings import secrets
from cortex_trio.telemetry import Telemetry

SHORTEST = 8
"""Characters. Any text may hold a shorter key by chance; tests of the mask use such keys."""
HIDDEN = 16
"""Characters. If a key has so many between the ends that its mask shows, they are searched for instead of the key."""
MOST_SHOWN = 10
"""Places of one key in a message: each frame that the key passed through is one."""


def secret_of(key: str) -> str | None:
    """Return the part of `key` that must not appear; None if the key is too short to be recognised."""
    hidden = key[11:-6]
    if len(hidden) >= HIDDEN:
        return hidden
    return key if len(key) >= SHORTEST else None


class KeyWatch:
    """The plugin. Keys made during collection are watched until the end, those of a test until its end."""

    def __init__(self) -> None:
        self.canary = Canary(secrets=set())
        self._of_all_tests: frozenset[str] = frozenset()

    # -------------------------------------------------------------- what is checked

    def pytest_configure(self) -> None:
        root = logging.getLogger()
        root.setLevel(logging.DEBUG)
        root.addHandler(self.canary.logs)
        _observe(secrets, "mask", lambda key: self._note(key))
        _add_observer(lambda event: self._look("event", event))
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
        if call.excinfo is not None and call.when != "teardown":  # in the teardown the failure may be ours
            self._look("failed with", call.excinfo.value)
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self) -> Iterator[None]:
        yield
        leaks, self.canary.leaks = self.canary.leaks, []
        self.canary.secrets = set(self._of_all_tests)
        if leaks:
            pytest.fail("an API key leaked:\n" + "\n".join(leaks[:MOST_SHOWN]), pytrace=False)


def _add_observer(see: Callable[[object], None]) -> None:
    """Add an observer to every gateway: events are made only if there is one."""
    original = Telemetry.__init__

    def init(self: Telemetry, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        self.observers = (*self.observers, see)

    Telemetry.__init__ = init  # type: ignore[method-assign]


def _observe(owner: object, name: str, see: Callable[..., None]) -> None:
    """Pass the arguments of every call to `see` before the call itself."""
    original = getattr(owner, name)

    def observed(*args: object) -> object:
        see(*args)
        return original(*args)

    setattr(owner, name, observed)
