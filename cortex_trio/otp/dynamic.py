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
    """A supervisor whose children are started on demand, in no order, and are stopped at the same time.

    A child is identified by its Ref; several may have one name. A child that exited and is not restarted is
    forgotten, whatever its restart type. One that waits for a restart counts for `max_children`, and `start_child` of
    it raises AlreadyPresent.

    Args:
        max_children: how many children it may have, >= 0; those that wait for a restart count.
        max_restarts, max_seconds, report: as in `Supervisor`.
    """

    max_children: float = attrs.field(default=math.inf, validator=ge(0))

    async def terminate_child(self, ref: Ref[Any]) -> None:
        """Stop a child, or cancel the restart it waits for, and forget it.

        Raises:
            NotFound: `ref` is not a child.
        """
        await self._stop_and_retire(self._get(ref))

    def _key(self, child: Child[Any]) -> object:
        return child.ref

    async def _stop_all(self) -> None:
        async with trio.open_nursery() as nursery:  # each with its own limit; a slow one delays no other
            for member in self._members.values():
                nursery.start_soon(self._stop_member, member)

    def _retire(self, member: Member, decision: Decision) -> None:
        super()._retire(member, Decision.FORGET)


class TaskSupervisor(DynamicSupervisor):
    """A DynamicSupervisor of async functions. They are TEMPORARY by default: a crash is reported and stops no other.

    From any task: `ref = await tasks.call(TaskSupervisor.start_soon, fetch, url)`, and `await ref.result()` for the
    result. To answer a call from a task, return a Deferred and start its `reply_with`. A stop cancels the function,
    which then has 5 s to clean up.
    """

    # Three overloads, because mypy 1.18 loses the argument types where a keyword follows *args with a ParamSpec.
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
        """Run `await async_fn(*args)` as a child.

        Use `call`: a cast that is refused is only counted as a dead letter.

        Args:
            async_fn: what to run.
            args: its arguments.
            name: of the ref and of the Trio task; None: the name of the function.
            restart: when it is run again.

        Returns:
            The ref of its `Task`, when the process has started.

        Raises:
            MaxChildrenReached: there are `max_children` already.
        """
        ref: Ref[Task[R]] = Ref(name or name_of(async_fn))
        return await self.start_child(Child(ref=ref, start=lambda: Task(async_fn, *args), restart=restart))
