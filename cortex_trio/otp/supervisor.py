"""The static supervisor, whose children are a list; and `run`, where a tree meets the program around it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import trio

from .child import AutoShutdown, Child, Strategy
from .errors import (
    ActorExited,
    AlreadyPresent,
    AlreadyStarted,
    NotFound,
    Reject,
    Restarting,
    StartFailed,
    Stop,
    require,
)
from .intensity import RestartIntensity
from .process import Process
from .reasons import Shutdown, error_of, is_abnormal
from .ref import Ref
from .reports import Observer, ReportKind
from .supervision import AbstractSupervisor, Member


class Supervisor(AbstractSupervisor):
    """A GenServer whose state is its children. Start order is list order; stop order is the reverse.

    A child exits: `decision.child_exited` says what follows. More than `max_restarts` restarts within
    `max_seconds`, of all children together, and the supervisor gives up: it stops the others and leaves with
    MaxRestartsExceeded, for its own supervisor to decide. Children added with `start_child` are not there
    again after the supervisor itself was restarted.

    Raises ValueError, before anything runs, for a bad limit, a duplicate id, or a significant child that could
    never matter.
    """

    def __init__(
        self,
        children: Iterable[Child[Any]] = (),
        *,
        strategy: Strategy = Strategy.ONE_FOR_ONE,
        max_restarts: int = 3,
        max_seconds: float = 5.0,
        auto_shutdown: AutoShutdown = AutoShutdown.NEVER,
        report: Observer | None = None,
    ) -> None:
        super().__init__(strategy, RestartIntensity(max_restarts, max_seconds), report)
        require(isinstance(strategy, Strategy), f"strategy must be a Strategy, not {strategy!r}")
        known = isinstance(auto_shutdown, AutoShutdown)
        require(known, f"auto_shutdown must be an AutoShutdown, not {auto_shutdown!r}")
        self._auto_shutdown = auto_shutdown
        for child in children:
            self._check(child)
            require(
                child.id not in self._members, f"children: two have the id {child.id!r} (their ref's name)"
            )
            self._members[child.id] = Member(child.id, child)

    async def init(self) -> None:
        """Start the children in order; the first failure raises StartFailed and the rest is not tried."""
        members = list(self._members.values())
        for child in (member.spec for member in members):
            require(not child.ref.alive, f"child {child.id!r}: ref is already behind a running process")
        for member in members:
            try:
                await self._start(member)
            except StartFailed as error:
                self._report(ReportKind.START_ERROR, member, error.reason)
                raise

    async def start_child(self, child: Child[Any]) -> None:
        """Add and start. Reject(StartFailed) leaves no trace; Reject(AlreadyStarted / AlreadyPresent)."""
        try:
            self._check(child)
        except ValueError as error:
            raise Reject(error) from error
        known = self._members.get(child.id)
        if child.ref.alive or (known is not None and known.process is not None):
            raise Reject(AlreadyStarted(f"child {child.id!r} is running"))
        if known is not None:
            raise Reject(AlreadyPresent(f"child {child.id!r} is known: restart_child or delete_child it"))
        await self._add(Member(child.id, child))

    async def terminate_child(self, id: str) -> None:
        """Stop it and keep its spec (a TEMPORARY one is forgotten). Cancels a pending restart. Idempotent.

        Reject(NotFound). Not counted against the restart intensity, and no reason for auto_shutdown.
        """
        await self._stop_and_settle(self._get(id))

    async def restart_child(self, id: str) -> None:
        """Start a stopped child again. Not counted against the restart intensity.

        Reject(NotFound / AlreadyStarted / Restarting), or Reject(StartFailed): it stays stopped, without retry.
        """
        try:
            await self._start(self._get_stopped(id))
        except StartFailed as error:
            raise Reject(error) from error

    async def delete_child(self, id: str) -> None:
        """Forget a stopped child. Reject(NotFound / AlreadyStarted / Restarting)."""
        del self._members[self._get_stopped(id).key]

    def _check(self, child: Child[Any]) -> None:
        require(isinstance(child, Child), f"children must be Child values, not {child!r}")
        matters = not child.significant or self._auto_shutdown is not AutoShutdown.NEVER
        require(matters, f"child {child.id!r}: significant means nothing while auto_shutdown is NEVER")

    def _get(self, id: str) -> Member:
        if id not in self._members:
            raise Reject(NotFound(f"{self.ref.name!r} has no child {id!r}"))
        return self._members[id]

    def _get_stopped(self, id: str) -> Member:
        member = self._get(id)
        if member.retry is not None:
            raise Reject(Restarting(f"child {id!r} is about to be restarted: terminate_child cancels that"))
        if member.process is not None:
            raise Reject(AlreadyStarted(f"child {id!r} is running"))
        return member

    def _on_leave(self, member: Member) -> None:
        others = [m for m in self._members.values() if m.spec.significant and m is not member]
        last = not any(m.process is not None or m.retry is not None for m in others)
        if member.spec.significant and (last or self._auto_shutdown is AutoShutdown.ANY_SIGNIFICANT):
            raise Stop(Shutdown())


async def run(
    root: Supervisor,
    *,
    ref: Ref[Supervisor] | None = None,
    task_status: trio.TaskStatus[Ref[Supervisor]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run a tree under the caller's cancellation: `ref = await nursery.start(run, root)`.

    Returns on orderly shutdown. Raises StartFailed or MaxRestartsExceeded (not wrapped; your nursery will wrap it),
    and ActorExited if the root itself was killed. Cancelling it stops the tree in order and only then lets
    Cancelled go on: that takes as long as the children's `shutdown` allows, whatever deadline cancelled it.
    A supervisor object runs once; build a new one to run the tree again.
    """
    ref = Ref("root") if ref is None else ref
    async with trio.open_nursery() as nursery:
        process = Process(ref, lambda: root, nursery, None)
        process.scope.shield = False  # the root, alone of all processes, obeys its surroundings
        nursery.start_soon(process.run, name=ref.name)
        await process.started.wait()
        if process.initialised:
            task_status.started(ref)
    error = error_of(process.reason)
    if error is None and is_abnormal(process.reason):
        error = ActorExited(ref.name, process.reason, started=True)
    if error is not None:
        raise error
