"""Answers that are given later. Knows nothing of servers but the call it answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Generic, final

import outcome

from .errors import ActorExited
from .mailbox import Call, R, Ts, name_of
from .reasons import Killed


@final
class Deferred(Generic[R]):
    """An answer given later. A method returns it instead of R, keeps it, and settles it once, from any task.

    The caller still fails with ActorExited if the server exits first. The first answer wins, later ones
    (and answers to callers that gave up) are dropped. One Deferred answers one call.
    """

    def __init__(self) -> None:
        self._call: Call | None = None  # None until the method has returned this
        self._result: outcome.Outcome[R] | None = None  # None until it is settled

    @property
    def abandoned(self) -> bool:
        """No caller waits any more and it is not settled: who works on the answer may stop."""
        return self._result is None and self._call is not None and self._call.task is None

    def reply(self, value: R) -> None:
        """Answer with a value."""
        self._resolve(outcome.Value(value))

    def fail(self, error: Exception) -> None:
        """Answer with an exception, raised in the caller."""
        self._resolve(outcome.Error(error))

    async def reply_with(self, async_fn: Callable[[*Ts], Awaitable[R]], /, *args: *Ts) -> None:
        """Run async_fn and settle with its result or its Exception; give this to a TaskSupervisor.

        If it is cancelled, the caller gets ActorExited(Killed) rather than no answer at all. If it never runs,
        no answer comes: start it with `await tasks.call(TaskSupervisor.start_soon, answer.reply_with, …)`, which
        fails when the TaskSupervisor is away or full, and not with a cast, which does not.
        """
        try:
            self.reply(await async_fn(*args))
        except Exception as error:
            self.fail(error)
        finally:
            self.fail(ActorExited(name_of(async_fn), Killed(), started=True))

    def give_to(self, call: Call) -> None:
        """For `GenServer`: the method returned this Deferred, so it answers `call`."""
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
