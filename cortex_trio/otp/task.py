"""One run of an async function as a process, in any supervisor, and its result."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Generic, final

from .errors import ActorExited, Stop
from .gen_server import GenServer, require_awaitable
from .mailbox import R, Ts
from .reasons import Normal


@final
class Task(GenServer, Generic[R]):
    """A process that runs `await async_fn(*args)` and ends when the function returns.

    As a child of a Supervisor: `Child(ref=Ref("poll"), start=lambda: Task(poll, url))`. A PERMANENT one is run again
    when the function returned or raised, a TRANSIENT one when it raised. A stop cancels the function, which then has
    `Child.shutdown` seconds to clean up. `await ref.result()` waits for what it returns.

    Args:
        async_fn: what to run.
        args: its arguments.
    """

    def __init__(self, async_fn: Callable[[*Ts], Awaitable[R]], /, *args: *Ts) -> None:
        self._function: Callable[[], Awaitable[R]] = lambda: require_awaitable(async_fn(*args), async_fn)
        self._returned: tuple[R] | None = None  # None until the function returned

    async def handle_continue(self) -> None:
        self.ref.last_run, function = self, self._function
        del self._function  # a ref that keeps the result must not keep the arguments
        with self._process.interruptible() as interruption:
            self._returned = (await function(),)
        raise Stop(self._process.stop_reason if interruption.cancelled_caught else Normal())

    async def wait_result(self) -> R:
        """For `Ref.result`: wait for the exit of the process, and return what the function returned."""
        await self._process.exited.wait()
        if self._returned is None:
            raise ActorExited(self.ref.name, self._process.reason, started=True)
        return self._returned[0]
