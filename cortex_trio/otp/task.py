"""One run of an async function as a process, static or on demand, and how it ended."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Generic, Unpack, final

from .errors import Stop
from .gen_server import GenServer, awaitable
from .mailbox import R, Ts
from .reasons import Normal


@final
class Task(GenServer, Generic[R]):
    """A process that runs `await async_fn(*args)` and leaves when the function returns.

    As a child of a Supervisor: `Child(ref=Ref("poll"), start=lambda: Task(poll, url))`. PERMANENT runs it again
    whenever it returned or raised, TRANSIENT when it raised. A stop cancels the function, which then has
    `Child.shutdown` seconds to clean up. `await ref.result()` waits for what it returns.
    """

    def __init__(self, async_fn: Callable[[Unpack[Ts]], Awaitable[R]], /, *args: *Ts) -> None:
        self._function: Callable[[], Awaitable[R]] = lambda: awaitable(async_fn(*args), async_fn)

    async def init(self) -> None:
        self.ref.run, self.ref.returned = self.ref.monitor(), None

    async def handle_continue(self) -> None:
        with self._process.interruptible() as interruption:
            self.ref.returned = (await self._function(),)
        raise Stop(self._process.stop_reason if interruption.cancelled_caught else Normal())
