"""Calls the function of a tool without blocking the event loop: an async one in this task, a sync one in a thread.

Users write sync tools with blocking libraries for HTTP and databases. Called directly, such a tool would stop every
task of the program for as long as it waits. Knows no tool call and no result.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from typing import Any

import trio

HELD_FOR = 3600.0
"""Seconds of idle time after which the hold on a virtual clock is renewed."""


async def called(function: Callable[..., Any], bound: inspect.BoundArguments) -> Any:
    """Call a function and return its value. An async one is awaited; a sync one runs in a worker thread.

    The thread has a copy of the context variables. It cannot be stopped: if this is cancelled, the function runs to its
    end, and its value is dropped.

    Args:
        function: The function, a partial, a method or an object with `__call__`.
        bound: The arguments.
    """
    if is_async(function):
        value = function(*bound.args, **bound.kwargs)
    else:
        value = await _in_thread(functools.partial(function, *bound.args, **bound.kwargs))
    return await value if inspect.isawaitable(value) else value


def is_async(function: Any) -> bool:
    """Return whether a call gives something to await: also inside partials, decorators and objects with `__call__`."""
    while function is not None:
        if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
            getattr(function, "__call__", None)  # noqa: B004
        ):
            return True
        is_partial = isinstance(function, functools.partial)
        function = function.func if is_partial else getattr(function, "__wrapped__", None)
    return False


async def _in_thread(function: Callable[[], Any]) -> Any:
    """Run a function in a worker thread.

    A test's virtual clock jumps ahead when all tasks wait, and does not see that a thread is working: every timeout
    would be over at once. So it is held for as long as the function runs.
    """
    if not _jumps(trio.lowlevel.current_clock()):
        return await trio.to_thread.run_sync(function, abandon_on_cancel=True)
    failure: BaseException | None = None
    value: Any = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_hold_clock)
        try:
            value = await trio.to_thread.run_sync(function, abandon_on_cancel=True)
        except trio.Cancelled:
            raise
        except BaseException as error:
            failure = error  # raised outside the nursery, as what it is
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return value


def _jumps(clock: object) -> bool:
    """Return whether it is a `trio.testing.MockClock` that jumps ahead. That module is for tests: not imported here."""
    threshold: float = getattr(clock, "autojump_threshold", math.inf)
    return threshold < math.inf


async def _hold_clock() -> None:
    """Keep a virtual clock from jumping: it does not while a task waits until the others have been idle for a time."""
    from trio.testing import wait_all_tasks_blocked

    while True:
        await wait_all_tasks_blocked(cushion=HELD_FOR)
