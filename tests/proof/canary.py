"""A canary for secrets: keys with a mark in them, and a place that looks for the mark wherever it might come out.

The mark lies where the masked form shows nothing, so any sight of it is a leak. Frames of the tests themselves
are not looked at: they hold the keys.
"""

from __future__ import annotations

import logging
import pickle
import traceback
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import attrs

MARK = "NIGHTINGALE"
TESTS = str(Path(__file__).resolve().parents[1])


def marked_key(name: str) -> str:
    """A key of no known shape: nothing but its value gives it away."""
    return f"{name:-<12.12}{MARK}0123456789abcdefghijklmnopqrstuvwxyz"


@attrs.define
class Canary:
    """Collects leaks as sentences; `logs` is a handler for the root logger."""

    leaks: list[str] = attrs.field(factory=list)
    looked_at: int = 0
    logs: logging.Handler = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.logs = _Listener(self)

    def look(self, where: str, value: object) -> None:
        """Look at whatever came out of the gateway, in every way it might be shown or kept."""
        if isinstance(value, BaseException):
            self._look_at_error(where, value)
        for how, shown in _shown(value):
            self._check(f"{where}: {how}", shown)

    def _check(self, where: str, shown: str | bytes) -> None:
        self.looked_at += 1
        text = shown.decode("latin-1") if isinstance(shown, bytes) else shown
        if MARK in text or MARK.lower() in text:
            at = text.lower().index(MARK.lower())
            self.leaks.append(f"{where}: …{text[max(0, at - 60) : at + 30]}…")

    def _look_at_error(self, where: str, error: BaseException) -> None:
        for each in _all_of(error):
            name = f"{where}: {type(each).__name__}"
            self._check(name, f"{each} {each!r} {each.args!r} {vars(each)!r}")
            for frame, _ in traceback.walk_tb(each.__traceback__):
                if frame.f_code.co_filename.startswith((TESTS, "<attrs generated")):
                    continue
                for local, value in frame.f_locals.items():
                    place = f"{name}: {local} in {frame.f_code.co_filename}:{frame.f_code.co_name}"
                    self._check(place, _repr(value))


class _Listener(logging.Handler):
    def __init__(self, canary: Canary) -> None:
        super().__init__(logging.DEBUG)
        self._canary = canary

    def emit(self, record: logging.LogRecord) -> None:
        self._canary._check(f"log {record.name}", f"{record.getMessage()} {_repr(record.args)}")
        if record.exc_info and record.exc_info[1] is not None:
            self._canary.look(f"log {record.name}", record.exc_info[1])


def _repr(value: object) -> str:
    try:
        return repr(value)
    except Exception:  # a half-made object in somebody's frame
        return ""


def _shown(value: object) -> Iterator[tuple[str, str | bytes]]:
    yield "repr", _repr(value)
    yield "str", str(value)
    yield "format", f"{value}"
    if attrs.has(type(value)):
        yield "asdict", repr(attrs.asdict(value))  # type: ignore[call-overload]
    with suppress(
        TypeError, AttributeError, pickle.PicklingError
    ):  # what cannot be pickled cannot leak that way
        yield "pickle", pickle.dumps(value)


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
