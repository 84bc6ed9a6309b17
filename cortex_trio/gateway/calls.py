"""Calling an actor that may be between two lives."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Concatenate, ParamSpec, TypeVar

import trio

from ..otp import ActorExited, GenServer, NoProcess, Ref

S = TypeVar("S", bound=GenServer)
P = ParamSpec("P")
R = TypeVar("R")

PATIENCE_SECONDS = 2.0
FIRST_PAUSE_SECONDS = 0.001


async def patiently(
    ref: Ref[S], method: Callable[Concatenate[S, P], Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs
) -> R:
    """Like `ref.call`, but when the message was provably not handled, try the next incarnation.

    A supervisor restarts a crashed actor within moments, and a call that was dropped with its mailbox
    (NoProcess, or ActorExited with started=False) is safe to repeat. Raises what `Ref.call` raises once
    two seconds have not helped, or at once if handling had begun.
    """
    deadline: float | None = None
    pause = FIRST_PAUSE_SECONDS
    while True:
        try:
            return await ref.call(method, *args, **kwargs)
        except (NoProcess, ActorExited) as error:
            deadline = deadline or trio.current_time() + PATIENCE_SECONDS
            began = isinstance(error, ActorExited) and error.started
            if began or trio.current_time() >= deadline:
                raise
        await trio.sleep(pause)
        pause *= 2
