"""Children on demand: servers (`DynamicSupervisor`) and plain async functions (`TaskSupervisor`)."""

from __future__ import annotations

import math
from typing import Any

import trio

from .child import Child, Restart, Strategy
from .decision import Decision
from .errors import AlreadyStarted, MaxChildrenReached, NotFound, Reject, Stop, require
from .gen_server import GenServer
from .intensity import RestartIntensity
from .process import AsyncFn
from .reasons import Normal, Shutdown
from .ref import Ref
from .reports import Observer
from .supervision import AbstractSupervisor, Member


class DynamicSupervisor(AbstractSupervisor):
    """Children come and go, no order among them, stopped concurrently.

    A child is known by its Ref; names need not differ. A child that has left and is not restarted is
    forgotten, whatever its restart type: there is no stopped state to come back from.
    """

    def __init__(
        self,
        *,
        max_children: float = math.inf,
        max_restarts: int = 3,
        max_seconds: float = 5.0,
        report: Observer | None = None,
    ) -> None:
        super().__init__(Strategy.ONE_FOR_ONE, RestartIntensity(max_restarts, max_seconds), report)
        require(max_children >= 0, f"max_children must be >= 0, not {max_children!r}")
        self._max_children = max_children

    async def start_child(self, child: Child[Any]) -> None:
        """Start a child. Reject(StartFailed / AlreadyStarted / MaxChildrenReached) leaves no trace."""
        if not isinstance(child, Child) or child.significant:
            raise Reject(
                ValueError(f"a DynamicSupervisor takes Child values, none significant, not {child!r}")
            )
        if child.ref.alive or child.ref in self._members:
            raise Reject(AlreadyStarted(f"child {child.id!r} is running"))
        if len(self._members) >= self._max_children:
            raise Reject(MaxChildrenReached(f"{self.ref.name!r} has {len(self._members)} children already"))
        await self._add(Member(child.ref, child))

    async def terminate_child(self, ref: Ref[Any]) -> None:
        """Stop a child, or cancel its pending restart, and forget it. Reject(NotFound) for any other ref."""
        if ref not in self._members:
            raise Reject(NotFound(f"{self.ref.name!r} has no child behind {ref!r}"))
        await self._stop_and_settle(self._members[ref])

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
