"""How a command starts, is interrupted, and ends: errors become one sentence, signals an orderly stop.

A signal cancels the command from the outside, as any Trio scope would: streams close, the tree stops from
the leaves to the root, and the exit status says which signal it was. Further signals change nothing; what is
left to do has deadlines.
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

Command = Callable[[argparse.Namespace], int]

FAILED, MISUSED, READER_LEFT = 1, 2, 141
SIGNALLED = 128
"""The shell's convention: 128 and the number of the signal; 130 for Ctrl-C, 141 for a pipe without a reader."""


def run_command(command: Command, arguments: argparse.Namespace) -> int:
    """Run `command` and return the exit status; whatever happens, the reader gets one sentence, no traceback."""
    try:
        status = command(arguments)
        sys.stdout.flush()
        return status
    except ConfigError as error:
        return _say(error.problem if error.path == "$" else str(error), MISUSED)
    except InvalidRequest as error:
        return _say(str(error), MISUSED)
    except (CortexError, ActorError) as error:
        return _say(error.message if isinstance(error, AllWorkersFailed) else str(error), FAILED)
    except KeyboardInterrupt:
        return SIGNALLED + signal.SIGINT
    except BrokenPipeError:
        # The interpreter flushes once more on its way out, and must not meet the broken pipe again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return READER_LEFT


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


def _say(sentence: str, status: int) -> int:
    print(f"cortex-trio: {sentence}", file=sys.stderr)
    return status
