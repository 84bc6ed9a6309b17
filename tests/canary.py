"""Finds secrets in what a gateway returns, raises, logs and keeps.

Secret is a whole API key, and of a long one the part that its masked form hides. Frames of the tests themselves are
skipped: they hold the keys.
"""

from __future__ import annotations

import gc
import logging
import pickle
import traceback
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import attrs

MARK = "NIGHTINGALE"
"""In the part of a marked key that its masked form hides, so that a part of a key is found as well."""
TESTS = str(Path(__file__).resolve().parent)


def marked_key(name: str) -> str:
    """Return a key that has the form of no provider, so that only its value can be recognised."""
    return f"{name:-<12.12}{MARK}0123456789abcdefghijklmnopqrstuvwxyz"


@attrs.define
class Canary:
    """Collects leaks as texts; `logs` is a handler for the root logger."""

    secrets: set[str] = attrs.field(factory=lambda: {MARK, MARK.lower()}, repr=False)
    leaks: list[str] = attrs.field(factory=list)
    looked_at: int = 0
    logs: logging.Handler = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.logs = _Listener(self)

    def look(self, where: str, value: object) -> None:
        """Look for secrets in `value`, in each form in which it can be printed or stored."""
        if isinstance(value, BaseException):
            self.look_at_error(where, value)
        for how, shown in _shown(value):
            self.check(f"{where}: {how}", shown)

    def look_inside(self, where: str, root: object) -> set[str]:
        """Look at every object of the gateway that `root` leads to; return the names of their classes."""
        names: set[str] = set()
        for value in _reachable(root):
            name = type(value).__name__
            names.add(name)
            self.check(f"{where}: {name}", shown_of(value))
            for field in (
                attrs.fields(type(value)) if attrs.has(type(value)) else ()
            ):  # `repr` leaves some out
                self.check(f"{where}: {name}.{field.name}", shown_of(getattr(value, field.name, None)))
        return names

    def check(self, where: str, shown: str | bytes) -> None:
        """Record a leak if there is a secret in `shown`."""
        self.looked_at += 1
        text = shown.decode("latin-1") if isinstance(shown, bytes) else shown
        for secret in self.secrets:
            if secret in text:
                at = text.index(secret)
                self.leaks.append(f"{where}: …{text[max(0, at - 60) : at + len(secret) + 20]}…")

    def look_at_error(self, where: str, error: BaseException) -> None:
        """Look at what a traceback with locals shows of `error`, of its group, its causes and its contexts."""
        for each in _all_of(error):
            name = f"{where}: {type(each).__name__}"
            self.check(name, _said_by(each))
            for shown in (each, each.args, vars(each)):
                self.check(name, shown_of(shown))
            for frame, _ in traceback.walk_tb(each.__traceback__):
                if frame.f_code.co_filename.startswith(TESTS):
                    continue
                for local, value in frame.f_locals.items():
                    place = f"{name}: {local} in {frame.f_code.co_filename}:{frame.f_code.co_name}"
                    self.check(place, shown_of(value))


class _Listener(logging.Handler):
    def __init__(self, canary: Canary) -> None:
        super().__init__(logging.DEBUG)
        self._canary = canary

    def emit(self, record: logging.LogRecord) -> None:
        if not self._canary.secrets:
            return
        self._canary.check(f"log {record.name}", record.getMessage())
        self._canary.check(f"log {record.name}", shown_of(record.args))
        if record.exc_info and record.exc_info[1] is not None:
            self._canary.look_at_error(f"log {record.name}", record.exc_info[1])


def shown_of(value: object) -> str | bytes:
    """Return what an error reporter prints of a value; a text in full."""
    if isinstance(value, str | bytes):
        return value
    try:
        return repr(value)
    except Exception:  # an object that was not completed, in some frame
        return ""


def _said_by(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # of a library, for arguments it does not expect
        return ""


def _shown(value: object) -> Iterator[tuple[str, str | bytes]]:
    yield "repr", shown_of(value)
    yield "str", str(value)
    yield "format", f"{value}"
    if attrs.has(type(value)):
        yield "asdict", repr(attrs.asdict(value))  # type: ignore[call-overload]
    with suppress(
        TypeError, AttributeError, pickle.PicklingError
    ):  # what cannot be pickled cannot leak by it
        yield "pickle", pickle.dumps(value)


def _reachable(root: object) -> Iterator[object]:
    """The objects of the gateway that `root` refers to, through others and through containers."""
    waiting, seen = [root], {id(root)}
    while waiting:
        value = waiting.pop()
        if _is_ours(value):
            yield value
        for referent in gc.get_referents(value):
            is_container = isinstance(referent, list | tuple | dict | set | frozenset | deque)
            if id(referent) not in seen and (is_container or _is_ours(referent)):
                seen.add(id(referent))
                waiting.append(referent)


def _is_ours(value: object) -> bool:
    """Not of the simulator, whose providers must know the keys; and not a class, which refers to all its users."""
    module = type(value).__module__
    return module.startswith("cortex_trio.") and not module.startswith("cortex_trio.simulator")


def _all_of(error: BaseException) -> Iterator[BaseException]:
    """Yield the error, the members of its group, its causes, and the contexts that a traceback prints."""
    waiting, seen = [error], set[int]()
    while waiting:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        context = None if each.__suppress_context__ else each.__context__
        waiting += [linked for linked in (each.__cause__, context) if linked is not None]
        if isinstance(each, BaseExceptionGroup):
            waiting += each.exceptions
