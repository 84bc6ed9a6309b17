"""A canary for secrets: it knows what is secret, and sings at the sight of it wherever it might come out.

A whole key is secret, and of a long one what lies between the ends that its mask shows: any sight of that is a leak.
Frames of the tests themselves are not looked at: they hold the keys.
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
"""Lies in marked keys where the mask shows nothing, so that also a part of one is recognised."""
TESTS = str(Path(__file__).resolve().parent)


def marked_key(name: str) -> str:
    """A key of no known shape: nothing but its value gives it away."""
    return f"{name:-<12.12}{MARK}0123456789abcdefghijklmnopqrstuvwxyz"


@attrs.define
class Canary:
    """Collects leaks as sentences; `logs` is a handler for the root logger."""

    secrets: set[str] = attrs.field(factory=lambda: {MARK, MARK.lower()}, repr=False)
    leaks: list[str] = attrs.field(factory=list)
    looked_at: int = 0
    logs: logging.Handler = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.logs = _Listener(self)

    def look(self, where: str, value: object) -> None:
        """Look at whatever came out of the gateway, in every way it might be shown or kept."""
        if isinstance(value, BaseException):
            self.look_at_error(where, value)
        for how, shown in _shown(value):
            self.check(f"{where}: {how}", shown)

    def look_inside(self, where: str, root: object) -> set[str]:
        """Look at every object of ours that can be reached from `root`; return the names of their classes."""
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
        """Is there a secret in what is shown?"""
        self.looked_at += 1
        text = shown.decode("latin-1") if isinstance(shown, bytes) else shown
        for secret in self.secrets:
            if secret in text:
                at = text.index(secret)
                self.leaks.append(f"{where}: …{text[max(0, at - 60) : at + len(secret) + 20]}…")

    def look_at_error(self, where: str, error: BaseException) -> None:
        """What a traceback with locals would tell of it, of all it groups and of all that led to it."""
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
    """What a reporter would print of a value; text is its own print, however long it is."""
    if isinstance(value, str | bytes):
        return value
    try:
        return repr(value)
    except Exception:  # a half-made object in somebody's frame
        return ""


def _said_by(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # of a library's, which did not expect to be shown this
        return ""


def _shown(value: object) -> Iterator[tuple[str, str | bytes]]:
    yield "repr", shown_of(value)
    yield "str", str(value)
    yield "format", f"{value}"
    if attrs.has(type(value)):
        yield "asdict", repr(attrs.asdict(value))  # type: ignore[call-overload]
    with suppress(
        TypeError, AttributeError, pickle.PicklingError
    ):  # what cannot be pickled cannot leak that way
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
    """The error, those it groups, its causes, and the contexts that would be printed."""
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
