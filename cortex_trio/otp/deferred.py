"""An answer that is given after the method returned. Knows nothing of servers, only the call it answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Generic, final

import outcome

from .errors import ActorExited
from .mailbox import Call, R, Ts, name_of
from .reasons import Killed


@final
class Deferred(Generic[R]):
    """An answer that is given later. A method returns it instead of an R; any task may settle it.

    If the server exits before that, the caller gets ActorExited. The first answer counts; later ones are dropped,
    and so is an answer to a caller that was cancelled. One Deferred answers one call.
    """

    def __init__(self) -> None:
        self._call: Call | None = None  # None until the method has returned this
        self._result: outcome.Outcome[R] | None = None  # None until it is settled

    @property
    def abandoned(self) -> bool:
        """Whether the caller was cancelled before it was settled, so that work on the answer may stop."""
        return self._result is None and self._call is not None and self._call.task is None

    def reply(self, value: R) -> None:
        """Answer with `value`: `Ref.call` returns it."""
        self._resolve(outcome.Value(value))

    def fail(self, error: Exception) -> None:
        """Answer with `error`: `Ref.call` raises it."""
        self._resolve(outcome.Error(error))

    async def reply_with(self, async_fn: Callable[[*Ts], Awaitable[R]], /, *args: *Ts) -> None:
        """Run an async function and settle with what it returns, or with the Exception that it raises.

        Start it in a TaskSupervisor: `await tasks.call(TaskSupervisor.start_soon, answer.reply_with, fetch, url)`.
        That call fails if the TaskSupervisor is not running or full. A cast does not fail, and the caller would
        wait for ever. Cancellation: the caller gets ActorExited with the reason Killed.

        Args:
            async_fn: what to run.
            args: its arguments.
        """
        try:
            self.reply(await async_fn(*args))
        except Exception as error:
            self.fail(error)
        finally:
            self.fail(ActorExited(name_of(async_fn), Killed(), started=True))

    def attach(self, call: Call) -> None:
        """For `GenServer`: the method that handled `call` returned this.

        Raises:
            RuntimeError: another method returned it before.
        """
        if self._call is not None:
            raise RuntimeError("a Deferred answers one call: make a new one for each")
        self._call = call
        if self._result is not None:
            call.answer(self._result)

    def _resolve(self, result: outcome.Outcome[R]) -> None:
        if self._result is None:
            self._result = result
            if self._call is not None:
                self._call.answer(result)
