"""Calls to an actor that its supervisor may be restarting."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Concatenate, ParamSpec, TypeVar

import trio

from ...otp import ActorExited, GenServer, NoProcess, Ref

S = TypeVar("S", bound=GenServer)
P = ParamSpec("P")
R = TypeVar("R")

RESTART_SECONDS = 2.0
"""Seconds for which a call waits for an actor to be restarted. A supervisor usually does so at once."""


async def call_with_retry(
    ref: Ref[S], method: Callable[Concatenate[S, P], Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs
) -> R:
    """Call an actor like `ref.call`. If the actor dies before it has begun to handle the call, repeat the call.

    A call that was dropped with the mailbox (NoProcess, or ActorExited with started=False) is safe to repeat.
    Cancelling it has the effect of cancelling `ref.call`.

    Args:
        ref: of the actor.
        method: of the actor.
        args: of the method.
        kwargs: of the method.

    Raises:
        ActorExited: the actor died while it handled the call, or no restarted one has handled it within two seconds.
        NoProcess: the actor was not restarted within two seconds.
    """
    until: float | None = None
    while True:
        try:
            return await ref.call(method, *args, **kwargs)
        except (NoProcess, ActorExited) as error:
            until = until or trio.current_time() + RESTART_SECONDS
            began = isinstance(error, ActorExited) and error.started
            if began or trio.current_time() >= until:
                raise
        with trio.move_on_at(until):
            await ref.arrival()
