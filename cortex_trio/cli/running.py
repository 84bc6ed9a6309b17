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

import trio

from ..errors import AllWorkersFailed
from ..failures import ConfigError, CortexError, InvalidRequest
from ..otp import ActorError
from ..otp.nursery import open_flat_nursery

FAILED, MISUSED, BROKEN_PIPE = 1, 2, 141
SIGNALLED = 128
"""The shell's convention: 128 plus the number of the signal. 130 is Ctrl-C, 141 a closed pipe (SIGPIPE)."""


def run_command(command: Callable[[argparse.Namespace], int], arguments: argparse.Namespace) -> int:
    """Run `command` and return the exit status.

    Errors of this library are printed as one sentence, without a traceback. Other exceptions are bugs and are raised.
    """
    try:
        status = command(arguments)
        sys.stdout.flush()
        return status
    except ConfigError as error:
        return _print_error(error.problem if error.path == "$" else str(error), MISUSED)
    except InvalidRequest as error:
        return _print_error(str(error), MISUSED)
    except (CortexError, ActorError) as error:
        return _print_error(error.message if isinstance(error, AllWorkersFailed) else str(error), FAILED)
    except KeyboardInterrupt:
        return SIGNALLED + signal.SIGINT
    except BrokenPipeError:
        # The interpreter flushes once more when it exits, and would raise BrokenPipeError again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE


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


def _print_error(sentence: str, status: int) -> int:
    print(f"cortex-trio: {sentence}", file=sys.stderr)
    return status
