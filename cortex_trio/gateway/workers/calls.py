"""Calling an actor while its supervisor may be restarting it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Concatenate, ParamSpec, TypeVar

import trio

from ...otp import ActorExited, GenServer, NoProcess, Ref

S = TypeVar("S", bound=GenServer)
P = ParamSpec("P")
R = TypeVar("R")

RESTART_SECONDS = 2.0
"""How long the next incarnation of an actor is waited for; a supervisor restarts one within moments."""


async def call_with_retry(
    ref: Ref[S], method: Callable[Concatenate[S, P], Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs
) -> R:
    """Like `ref.call`, but a message that was certainly not handled goes to the next incarnation of the actor.

    A call that was dropped with its mailbox (NoProcess, or ActorExited with started=False) is safe to repeat. Raises
    what `Ref.call` raises if handling had begun, or if no incarnation has handled it after two seconds.
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
