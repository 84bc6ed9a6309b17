"""Children on demand: servers (`DynamicSupervisor`) and plain async functions (`TaskSupervisor`)."""

import math
from typing import Any

import attrs
import trio
from attrs.validators import ge

from .child import Child, Member, Restart
from .decision import Decision
from .errors import Stop
from .gen_server import GenServer
from .process import AsyncFn
from .reasons import Normal, Shutdown
from .ref import Ref
from .supervision import AbstractSupervisor


@attrs.define(eq=False, repr=False, slots=False, kw_only=True)
class DynamicSupervisor(AbstractSupervisor):
    """Children come and go, no order among them, stopped concurrently.

    A child is known by its Ref; names need not differ. A child that has left and is not restarted is
    forgotten, whatever its restart type: there is no stopped state to come back from. One between two starts is
    still its child: it counts for `max_children`, and a second start_child of it is AlreadyPresent.
    """

    max_children: float = attrs.field(default=math.inf, validator=ge(0))  # those between restarts count

    async def terminate_child(self, ref: Ref[Any]) -> None:
        """Stop a child, or cancel its pending restart, and forget it. Reject(NotFound) for any other ref."""
        await self._stop_and_settle(self._get(ref))

    def _key(self, child: Child[Any]) -> object:
        return child.ref

    async def _stop_all(self) -> None:
        async with trio.open_nursery() as nursery:  # each with its own grace; a slow one delays nobody
            for member in self._members.values():
                nursery.start_soon(self._stop, member)

    def _settle(self, member: Member, decision: Decision) -> None:
        super()._settle(member, Decision.FORGET)


class TaskSupervisor(DynamicSupervisor):
    """A DynamicSupervisor of plain async functions, TEMPORARY by default: crashes are reported and isolated.

    From anywhere: `tasks.cast(TaskSupervisor.start_soon, fetch, url)`. To answer a call from a task, return a
    Deferred and start its `reply_with`. Asked to stop, a task is cancelled and has 5 s to clean up.
    """

    async def start_soon(
        self, async_fn: AsyncFn, *args: object, name: str | None = None, restart: Restart = Restart.TEMPORARY
    ) -> None:
        """Run `await async_fn(*args)` as a child. Reject(MaxChildrenReached)."""
        ref: Ref[_Task] = Ref(name or str(getattr(async_fn, "__qualname__", "task")))
        await self.start_child(Child(ref=ref, start=lambda: _Task(async_fn, args), restart=restart))


class _Task(GenServer):
    """One run of an async function; it leaves when the function returns."""

    def __init__(self, async_fn: AsyncFn, args: tuple[object, ...]) -> None:
        self._async_fn, self._args = async_fn, args

    async def handle_continue(self) -> None:
        with self._process.work as work:
            await self._async_fn(*self._args)
        raise Stop(Shutdown() if work.cancelled_caught else Normal())
