"""Children on demand: servers (`DynamicSupervisor`) and plain async functions (`TaskSupervisor`)."""

import math
from collections.abc import Awaitable, Callable
from typing import Any, overload

import attrs
import trio
from attrs.validators import ge

from .child import Child, Restart
from .decision import Decision
from .mailbox import R, Ts, name_of
from .member import Member
from .ref import Ref
from .supervision import AbstractSupervisor
from .task import Task

AnyFn = Callable[..., Awaitable[R]]
TEMPORARY = Restart.TEMPORARY


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
        await self._stop_and_retire(self._get(ref))

    def _key(self, child: Child[Any]) -> object:
        return child.ref

    async def _stop_all(self) -> None:
        async with trio.open_nursery() as nursery:  # each with its own grace; a slow one delays no other
            for member in self._members.values():
                nursery.start_soon(self._stop_member, member)

    def _retire(self, member: Member, decision: Decision) -> None:
        super()._retire(member, Decision.FORGET)


class TaskSupervisor(DynamicSupervisor):
    """A DynamicSupervisor of plain async functions, TEMPORARY by default: crashes are reported and isolated.

    From anywhere: `ref = await tasks.call(TaskSupervisor.start_soon, fetch, url)`, and where the result matters
    `await ref.result()`. To answer a call from a task, return a Deferred and start its `reply_with`. On a stop
    request, a task is cancelled and has 5 s to clean up.
    """

    # Three overloads, for mypy loses the argument types where a keyword follows *args (1.18, with a ParamSpec).
    @overload
    async def start_soon(self, async_fn: Callable[[*Ts], Awaitable[R]], /, *args: *Ts) -> Ref[Task[R]]: ...
    @overload
    async def start_soon(
        self, async_fn: AnyFn[R], /, *args: object, name: str | None, restart: Restart = TEMPORARY
    ) -> Ref[Task[R]]: ...
    @overload
    async def start_soon(
        self, async_fn: AnyFn[R], /, *args: object, name: str | None = None, restart: Restart
    ) -> Ref[Task[R]]: ...
    async def start_soon(
        self, async_fn: AnyFn[R], /, *args: object, name: str | None = None, restart: Restart = TEMPORARY
    ) -> Ref[Task[R]]:
        """Run `await async_fn(*args)` as a child. Returns its ref when it runs; Reject(MaxChildrenReached).

        Cast, a start that is refused is only a dead letter: `call` where it matters.
        """
        ref: Ref[Task[R]] = Ref(name or name_of(async_fn))
        return await self.start_child(Child(ref=ref, start=lambda: Task(async_fn, *args), restart=restart))
