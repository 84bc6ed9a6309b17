"""Plain async functions as children: work that must neither block a server nor take one down."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from .child import Child, Restart
from .dynamic import DynamicSupervisor
from .errors import Stop
from .gen_server import GenServer
from .reasons import Normal, Shutdown
from .ref import Ref


class TaskSupervisor(DynamicSupervisor):
    """A DynamicSupervisor of plain async functions, TEMPORARY by default: crashes are reported and isolated.

    From anywhere: `tasks.cast(TaskSupervisor.start_soon, fetch, url)`. To answer a call from a task, return a
    Deferred and start its `reply_with`. Asked to stop, a task is cancelled and has 5 s to clean up.
    """

    async def start_soon(
        self,
        async_fn: Callable[..., Awaitable[object]],
        *args: object,
        name: str | None = None,
        restart: Restart = Restart.TEMPORARY,
    ) -> None:
        """Run `await async_fn(*args)` as a child. Reject(MaxChildrenReached)."""
        ref: Ref[_Task] = Ref(name or str(getattr(async_fn, "__qualname__", "task")))
        await self.start_child(Child(ref=ref, start=lambda: _Task(async_fn, args), restart=restart))


class _Task(GenServer):
    """One run of an async function; it leaves when the function returns."""

    def __init__(self, async_fn: Callable[..., Awaitable[object]], args: tuple[object, ...]) -> None:
        self._async_fn = async_fn
        self._args = args

    async def handle_continue(self) -> None:
        with self._process.work as work:
            await self._async_fn(*self._args)
        raise Stop(Shutdown() if work.cancelled_caught else Normal())
