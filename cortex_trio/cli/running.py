"""Run a command to its exit status: an error is printed as one sentence, and a signal cancels the command.

A signal cancels the scope around the command: streams close, the supervision tree stops from the leaves to the root,
and the exit status says which signal it was. Further signals are ignored, because all cleanup has deadlines.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress

import trio

from ..errors import AllWorkersFailed
from ..failures import ConfigError, CortexError, InvalidRequest
from ..otp import ActorError
from ..otp.nursery import open_flat_nursery
from .screen import STANDARD_OUTPUT, Screen

FAILED, MISUSED, INCOMPLETE, BROKEN_PIPE = 1, 2, 3, 141
SIGNALLED = 128
"""The shell's convention: 128 plus the number of the signal. 130 is Ctrl-C, 141 a closed pipe (SIGPIPE)."""


PROGRAM = "cortex-trio"


def run_command(
    command: Callable[[argparse.Namespace], int], arguments: argparse.Namespace, *, program: str = PROGRAM
) -> int:
    """Run `command` and return the exit status.

    Errors of this library and of the operating system are printed as one sentence, without a traceback. Other
    exceptions are bugs and are raised.
    """
    before = signal.getsignal(signal.SIGINT)
    try:
        if callable(before):  # not where Ctrl-C is ignored, as under nohup
            with suppress(ValueError):  # another thread: signals are not its own
                signal.signal(signal.SIGINT, signal.default_int_handler)
        status = command(arguments)
        sys.stdout.flush()
        return status
    except ConfigError as error:
        return _print_error(error.problem if error.path == "$" else str(error), MISUSED, program)
    except InvalidRequest as error:
        return _print_error(str(error), MISUSED, program)
    except (CortexError, ActorError) as error:
        return _print_error(
            error.message if isinstance(error, AllWorkersFailed) else str(error), FAILED, program
        )
    except KeyboardInterrupt:
        return SIGNALLED + signal.SIGINT
    except BrokenPipeError:
        _discard_output()
        return BROKEN_PIPE
    except OSError as error:
        if error.filename in (None, STANDARD_OUTPUT):
            _discard_output()
        what = f"{error.filename}: " if error.filename else ""
        return _print_error(f"{what}{error.strerror or error}", FAILED, program)
    finally:
        with suppress(ValueError):
            signal.signal(signal.SIGINT, before)


def output_failed() -> int:
    """Return the exit status after a write to standard output has failed, called while the error is handled."""
    error = sys.exception()
    _discard_output()
    if isinstance(error, BrokenPipeError):
        return BROKEN_PIPE
    return _print_error(f"{STANDARD_OUTPUT}: {getattr(error, 'strerror', None) or error}", FAILED)


def _discard_output() -> None:
    """Write to nowhere from now on: the interpreter flushes again when it exits, and would fail again."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def run_until_signal(main: Callable[[], Awaitable[int]]) -> int:
    """Run `main` in Trio and return its exit status; SIGINT and SIGTERM cancel it."""
    return trio.run(_until_signal, main)


async def _until_signal(main: Callable[[], Awaitable[int]]) -> int:
    caught: list[int] = []

    async def cancel_on_signal(scope: trio.CancelScope) -> None:
        async for number in signals:
            caught.append(number)
            scope.cancel()

    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with open_flat_nursery() as nursery:
            nursery.start_soon(cancel_on_signal, nursery.cancel_scope)
            status = await main()
            nursery.cancel_scope.cancel()
            return status
    return SIGNALLED + caught[0]


def _print_error(sentence: str, status: int, program: str = PROGRAM) -> int:
    with suppress(BrokenPipeError):
        Screen.on(sys.stderr, no_color=True).line(f"{program}: {sentence}")
    return status
