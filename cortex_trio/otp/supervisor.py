"""The static supervisor, whose children are a list; `run` and `open_tree`, which run a tree in a Trio program."""

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
    """A GenServer whose state is its children. They start in the order of the list and stop in reverse.

    When a child exits by itself, `decision.child_exited` decides whether it is restarted, and
    `decision.restart_group` which children are restarted with it. After more than `max_restarts` restarts within
    `max_seconds`, of all children together, the supervisor gives up: it stops its children and exits with
    `Shutdown(MaxRestartsExceeded(...))`, and its own supervisor decides about it. A supervisor that is restarted does
    not have the children that were added with `start_child`.

    Args:
        children: the child specs, in start order; their ids must differ.
        strategy: which children are restarted with the one that exited.
        max_restarts: how many restarts are allowed within `max_seconds`, >= 0; None: 3.
        max_seconds: length of the window in seconds, > 0; None: 5. If both are None, children with a `Backoff` are
            not counted.
        auto_shutdown: whether it stops when its significant children have exited.
        report: called with every `Report`, in the task of the supervisor, so it must be quick; None: reports are only
            logged.

    Raises:
        ValueError: an argument is not allowed, two ids are equal, or a child is significant while `auto_shutdown` is
            NEVER.
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
        # The children of the list until `_start_listed` takes them; empty from then on.
        self._not_started = list(self._members.values())

    async def init(self) -> None:
        """Start the children of the list. If a subclass does not call this, they are started after its own `init`."""
        await self._start_listed()

    async def _start_up(self) -> None:
        await super()._start_up()
        await self._start_listed()

    async def _start_listed(self) -> None:
        """Start the children of the list in order, once. After the first StartFailed the others are not tried."""
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
        """Stop a child, or cancel the restart it waits for, and keep its spec. A TEMPORARY child is forgotten.

        No effect on a child that is stopped. It is not counted as a restart, and does not cause an auto_shutdown.

        Args:
            id: the name of the child's ref.

        Raises:
            NotFound: there is no such child.
        """
        await self._stop_and_retire(self._get(id))

    async def restart_child(self, id: str) -> None:
        """Start a stopped child again. It is not counted as a restart.

        Args:
            id: the name of the child's ref.

        Raises:
            NotFound: there is no such child.
            AlreadyStarted: it is running.
            Restarting: it waits for a restart.
            StartFailed: its init failed; it stays stopped.
        """
        try:
            await self._start_member(self._get_stopped(id))
        except StartFailed as error:
            raise Reject(error) from error

    async def delete_child(self, id: str) -> None:
        """Forget a stopped child.

        Args:
            id: the name of the child's ref.

        Raises:
            NotFound, AlreadyStarted, Restarting: as for `restart_child`.
        """
        del self._members[self._get_stopped(id).key]

    def _get_stopped(self, id: str) -> Member:
        member = self._get(id)
        if member.retry is not None:
            raise Reject(Restarting(f"child {id!r} waits for a restart: terminate_child cancels it"))
        if member.process is not None:
            raise Reject(AlreadyStarted(f"child {id!r} is running"))
        return member


Root = Ref[Supervisor]


@trio.lowlevel.enable_ki_protection  # an interrupt is raised in the user's program, which then cancels this
async def run(root: Supervisor, *, ref: Root | None = None, task_status: TaskStatus[Root] = IGNORED) -> None:
    """Run a tree in your nursery: `ref = await nursery.start(run, root)`. Returns after an orderly stop.

    Cancellation: the tree is stopped in order, and only then Cancelled goes on. That takes as long as the `shutdown`
    of the children allows, also if a deadline has passed.

    Args:
        root: the root supervisor. It runs once: build a new one to run the tree again.
        ref: its address; None: a new one named "root".
        task_status: gets the ref when every `init` is done.

    Raises:
        StartFailed: the init of a child failed.
        MaxRestartsExceeded: the root gave up. Neither of the two is in a group, but your nursery will put it into one.
        ActorExited: the root was killed.
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
        finally:  # a cancellation from outside is an orderly stop of the tree
            process.request_stop(Shutdown())
    if error := error_of(process.reason):
        raise error
    if isinstance(process.reason, Killed):
        raise ActorExited(ref.name, process.reason, started=True)


@asynccontextmanager
async def open_tree(root: Supervisor, *, ref: Root | None = None) -> AsyncIterator[Root]:
    """Run a tree around a block: `async with open_tree(root) as tree`. It is stopped in order when the block ends.

    The block begins when every `init` is done. If the tree gives up, the block is cancelled. Cancellation of the
    block stops the tree in order.

    Args:
        root, ref: as for `run`.

    Returns:
        A context manager that gives the ref of the root.

    Raises:
        StartFailed, MaxRestartsExceeded, ActorExited: as for `run`, and not in a group, unless the block raised an
            exception as well.
    """
    async with open_flat_nursery() as nursery:
        yield await nursery.start(partial(run, root, ref=ref))
        nursery.cancel_scope.cancel()
