"""The static supervisor, whose children are a list; `run` and `open_tree`, where a tree meets the program around it."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import attrs
import trio
from trio import TASK_STATUS_IGNORED as IGNORED
from trio import TaskStatus

from .child import AutoShutdown, Child, Strategy
from .errors import ActorExited, AlreadyStarted, Reject, Restarting, StartFailed, require
from .gen_server import serve
from .mailbox import Mailbox
from .member import Member
from .nursery import open_flat_nursery
from .process import Process
from .reasons import Killed, Shutdown, error_of
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
    strategy: Strategy = attrs.field(default=Strategy.ONE_FOR_ONE, kw_only=True)
    auto_shutdown: AutoShutdown = attrs.field(default=AutoShutdown.NEVER, kw_only=True)

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        for name, kind in {"strategy": Strategy, "auto_shutdown": AutoShutdown}.items():
            require(isinstance(getattr(self, name), kind), f"{name} must be a {kind.__name__}")
        for child in self.specs:
            self._check(child)
            require(child.id not in self._members, f"children: two have the id {child.id!r}")
            self._members[child.id] = Member(child.id, child)
        self._not_started = list(self._members.values())

    async def init(self) -> None:
        """Start the listed children, unless a subclass does without: then they are started after its own init."""
        await self._start_listed()

    async def _start_up(self) -> None:
        await super()._start_up()
        await self._start_listed()

    async def _start_listed(self) -> None:
        """In order, once; the first failure raises StartFailed and the others are not tried."""
        members, self._not_started = self._not_started, []
        for child in (member.spec for member in members):
            require(not child.ref.alive, f"child {child.id!r}: ref is already behind a running process")
        for member in members:
            try:
                await self._start_member(member)
            except StartFailed as error:
                self._report(ReportKind.START_ERROR, member, error.reason)
                raise

    async def terminate_child(self, id: str) -> None:
        """Stop it and keep its spec (a TEMPORARY one is forgotten). Cancels a pending restart. Idempotent.

        Reject(NotFound). Not counted against the restart intensity, and no reason for auto_shutdown.
        """
        await self._stop_and_retire(self._get(id))

    async def restart_child(self, id: str) -> None:
        """Start a stopped child again. Not counted against the restart intensity.

        Reject(NotFound / AlreadyStarted / Restarting), or Reject(StartFailed): it stays stopped, without retry.
        """
        try:
            await self._start_member(self._get_stopped(id))
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


Root = Ref[Supervisor]


@trio.lowlevel.enable_ki_protection  # an interrupt reaches the program around it, which then cancels it
async def run(root: Supervisor, *, ref: Root | None = None, task_status: TaskStatus[Root] = IGNORED) -> None:
    """Run a tree under the caller's cancellation: `ref = await nursery.start(run, root)`.

    Returns on orderly shutdown. Raises StartFailed or MaxRestartsExceeded (not wrapped; your nursery will wrap it),
    and ActorExited if the root itself was killed. Cancelling it stops the tree in order and only then lets
    Cancelled go on: that takes as long as the children's `shutdown` allows, whatever deadline cancelled it.
    A supervisor object runs once; build a new one to run the tree again.
    """
    ref = Ref("root") if ref is None else ref
    process, body = Process(ref, Mailbox()), partial(serve, lambda: root, ref)
    async with open_flat_nursery() as nursery:
        nursery.start_soon(process.run, body, None, name=ref.name)
        try:
            await process.init_over.wait()
            if process.initialised:
                task_status.started(ref)
            await process.exited.wait()
        finally:  # a cancellation of what is around the tree is an orderly stop of the tree
            process.request_stop(Shutdown())
    if error := error_of(process.reason):
        raise error
    if isinstance(process.reason, Killed):
        raise ActorExited(ref.name, process.reason, started=True)


@asynccontextmanager
async def open_tree(root: Supervisor, *, ref: Root | None = None) -> AsyncIterator[Root]:
    """Run a tree around a block: `async with open_tree(root) as tree`. The block's end stops it in order.

    The block begins when every `init` is done. If the tree gives up, the block is cancelled and
    MaxRestartsExceeded raised. One exception, of the tree or of the block, comes out as it is and not in a group;
    both together are an ExceptionGroup. Raises StartFailed if the tree does not start.
    """
    async with open_flat_nursery() as nursery:
        yield await nursery.start(partial(run, root, ref=ref))
        nursery.cancel_scope.cancel()
