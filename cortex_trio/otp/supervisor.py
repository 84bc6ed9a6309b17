"""The static supervisor, whose children are a list; and `run`, where a tree meets the program around it."""

from collections.abc import Iterable
from typing import Any

import attrs
import trio
from attrs.validators import in_

from .child import AutoShutdown, Child, Member, Strategy
from .errors import ActorExited, AlreadyStarted, Reject, Restarting, StartFailed, require
from .process import Process
from .reasons import error_of, is_abnormal
from .ref import Ref
from .reports import ReportKind
from .supervision import AbstractSupervisor


@attrs.define(eq=False, repr=False, slots=False)
class Supervisor(AbstractSupervisor):
    """A GenServer whose state is its children. Start order is list order; stop order is the reverse.

    A child exits: `decision.child_exited` says whether it is restarted, `decision.group` with whom. More than
    `max_restarts` restarts within `max_seconds`, of all children together, and the supervisor gives up: it stops
    the others and leaves with MaxRestartsExceeded, for its own supervisor to decide. Children added with
    `start_child` are not there again after the supervisor itself was restarted.

    Raises ValueError, before anything runs, for a bad limit, a duplicate id, or a significant child that could
    never matter.
    """

    specs: Iterable[Child[Any]] = attrs.field(default=(), alias="children")
    strategy: Strategy = attrs.field(
        default=Strategy.ONE_FOR_ONE, kw_only=True, validator=in_(list(Strategy))
    )
    auto_shutdown: AutoShutdown = attrs.field(
        default=AutoShutdown.NEVER, kw_only=True, validator=in_(list(AutoShutdown))
    )

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        for child in self.specs:
            self._check(child)
            require(child.id not in self._members, f"children: two have the id {child.id!r}")
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

    def _get_stopped(self, id: str) -> Member:
        member = self._get(id)
        if member.retry is not None:
            raise Reject(Restarting(f"child {id!r} is about to be restarted: terminate_child cancels that"))
        if member.process is not None:
            raise Reject(AlreadyStarted(f"child {id!r} is running"))
        return member


@trio.lowlevel.enable_ki_protection  # an interrupt reaches the program around it, which then cancels it
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
