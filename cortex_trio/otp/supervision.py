"""What static and dynamic supervisors have in common: start children, react to exits, restart within limits, stop.

A supervisor is a GenServer that puts the exits of its children into its own mailbox, so requests, exits and retries
are handled one at a time and need no locks. These messages do not go through `handle_info`, which is free for a
subclass. `decision.py` decides and this file acts. `Supervisor` and `DynamicSupervisor` say how a child is
identified, and whether a stopped child is kept.

Children run in the supervisor's nursery, but no crash of a child reaches the nursery: `Process.run` reports the exit
instead of raising. What must be raised is raised after the nursery is closed. So a supervisor three levels down gives
up with one exception and not with nested groups.
"""

import math
from collections import deque
from functools import partial
from typing import Any, ClassVar

import attrs
import trio

from . import errors
from .child import AutoShutdown, Child, ChildInfo, Strategy
from .decision import (
    MAX_RESTARTS,
    MAX_SECONDS,
    Decision,
    RestartIntensity,
    child_exited,
    child_stopped,
    is_expected,
    is_reported,
    restart_group,
)
from .errors import ActorError, MaxRestartsExceeded, Reject, StartFailed, Stop, exit_reason, require
from .gen_server import GenServer, serve
from .mailbox import Event, Mailbox, Message
from .member import Member
from .process import Process
from .reasons import Crashed, ExitReason, Killed, Shutdown, error_of
from .ref import Ref, S
from .reports import Observer, Report, ReportKind, publish


@attrs.define(eq=False, repr=False, slots=False, kw_only=True)
class AbstractSupervisor(GenServer):
    """The base of `Supervisor` and `DynamicSupervisor`, which document the arguments.

    A stop request interrupts it, and then it stops its children. A `terminate` of a subclass runs after that.
    """

    is_supervisor: ClassVar[bool] = True
    strategy = Strategy.ONE_FOR_ONE
    auto_shutdown = AutoShutdown.NEVER
    max_children = math.inf
    max_restarts: int | None = None  # None: MAX_RESTARTS
    max_seconds: float | None = None  # None: MAX_SECONDS
    report: Observer | None = None
    _members: dict[object, Member] = attrs.field(init=False, factory=dict)  # in start order

    def __attrs_post_init__(self) -> None:
        # Children with a Backoff are counted only by a supervisor that was given a limit.
        self._counts_backoffs = self.max_restarts is not None or self.max_seconds is not None
        self.max_restarts = MAX_RESTARTS if self.max_restarts is None else self.max_restarts
        self.max_seconds = MAX_SECONDS if self.max_seconds is None else self.max_seconds
        self._intensity = RestartIntensity(self.max_restarts, self.max_seconds)
        # When it gives up, the last max_restarts + 1 crashes are those inside the window. No more are kept, and none
        # longer than the window: an exception keeps its frames, and frames keep the contents of requests.
        self._errors: deque[Exception] = deque(maxlen=self.max_restarts + 1)

    @property
    def children(self) -> tuple[ChildInfo, ...]:
        """The children as they are now, in start order. It can be read from any task."""
        return tuple(member.info for member in self._members.values())

    async def which_children(self) -> list[ChildInfo]:
        """Return `children`, in order with the other messages: after a crash the answer comes after the restart."""
        return list(self.children)

    async def start_child(self, child: Child[S]) -> Ref[S]:
        """Add a child at the end of the list and start it.

        Cancellation: the child is started all the same, and is in the list.

        Args:
            child: its spec.

        Returns:
            Its ref, when its init is done. `ref.alive` is False if its init raised Ignore.

        Raises:
            StartFailed: its init failed. After this and the others the supervisor is as it was.
            AlreadyStarted: it is running, or its ref is used by another process.
            AlreadyPresent: it is known, but not running.
            MaxChildrenReached: a DynamicSupervisor has `max_children` already.
            ValueError: it is no Child, or significant while `auto_shutdown` is NEVER.
        """
        try:
            self._check(child)
        except ValueError as error:
            raise Reject(error) from error
        known = self._members.get(key := self._key(child))
        if child.ref.alive or (known is not None and known.process is not None):
            raise Reject(errors.AlreadyStarted(f"child {child.id!r} is running"))
        if known is not None:
            raise Reject(errors.AlreadyPresent(f"child {child.id!r} is known, but not running"))
        if len(self._members) >= self.max_children:
            raise Reject(errors.MaxChildrenReached(f"{self.ref.name!r} has {self.max_children} children"))
        member = self._members[key] = Member(key, child)
        try:
            await self._start_member(member)
        except StartFailed as error:
            del self._members[key]
            raise Reject(error) from error
        return child.ref

    # ---------------------------------------------------------------- what a supervisor knows

    def _key(self, child: Child[Any]) -> object:
        return child.id

    def _check(self, child: Child[Any]) -> None:
        require(isinstance(child, Child), f"children must be Child values, not {child!r}")
        matters = not child.significant or self.auto_shutdown is not AutoShutdown.NEVER
        require(matters, f"child {child.id!r}: significant has no effect while auto_shutdown is NEVER")

    def _get(self, key: object) -> Member:
        if key not in self._members:
            raise Reject(errors.NotFound(f"{self.ref.name!r} has no child {key!r}"))
        return self._members[key]

    def _retire(self, member: Member, decision: Decision) -> None:
        """Forget or keep a child that is not running and will not be restarted."""
        if decision is Decision.FORGET:
            del self._members[member.key]

    # ---------------------------------------------------------------- from beginning to end

    @trio.lowlevel.enable_ki_protection  # an interrupt during a stop would leave children running
    async def _work(self, process: Process) -> None:
        try:
            with process.interruptible():  # also while the init of a child runs
                await super()._work(process)
        except Exception as error:
            process.fail_pending(exit_reason(error))
            raise
        finally:  # the mailbox is closed: a child that calls this supervisor from `terminate` fails and does not hang
            process.fail_pending(Killed() if process.kill_scope.cancel_called else process.stop_reason)
            with trio.move_on_after(math.inf, shield=True):  # each child has its own limit
                await self._stop_all()

    async def _next_message(self) -> Message | None:
        while self._errors:
            with trio.move_on_at(self._intensity.quiet_at()):
                return await super()._next_message()
            self._errors.clear()  # there was no restart within the window
        return await super()._next_message()

    async def _stop_all(self) -> None:
        for member in reversed(self._members.values()):  # one at a time
            await self._stop_member(member)

    # ---------------------------------------------------------------- an exit, a restart

    async def _child_exited(self, member: Member, process: Process) -> None:
        if member.process is not process:
            return  # `_stop_member` has found its exit before
        member.process, reason = None, process.reason
        if is_reported(reason, member.spec.restart):
            self._report(ReportKind.CHILD_TERMINATED, member, reason)
        decision = child_exited(reason, member.spec.restart)
        if decision is Decision.RESTART:
            await self._restart(member, reason)
        else:
            self._retire(member, decision)
            if member.spec.significant and self._must_stop():
                raise Stop(Shutdown())

    def _must_stop(self) -> bool:
        """Whether to stop now that a significant child has exited by itself and is not restarted (`auto_shutdown`)."""
        left = (m for m in self._members.values() if m.spec.significant and (m.process or m.retry))
        return self.auto_shutdown is AutoShutdown.ANY_SIGNIFICANT or not any(left)

    async def _restart(self, member: Member, reason: ExitReason) -> None:
        """Count one restart, stop the others in the group of `member`, and start all: now, or after its backoff."""
        member.retry = None
        if member.spec.backoff is None or self._counts_backoffs:
            self._count_restart(member, reason)
        for other in reversed(restart_group(self._members.values(), member, self.strategy)):
            if other is not member:
                await self._stop_and_retire(other)
        delay = member.next_delay(trio.current_time())
        if delay > 0:
            member.retry = self._post_after(delay, Event(self._start_group, (member,)))
        else:
            await self._start_group(member)

    def _count_restart(self, member: Member, reason: ExitReason) -> None:
        """Count one restart. Raises Stop, to give up, if it is one too many."""
        limits = self._intensity
        self._errors.append(error_of(reason) or ActorError(f"{member.spec.id!r} {reason}"))
        if not limits.allow(trio.current_time()):
            error = MaxRestartsExceeded(self.ref.name, limits.max_restarts, limits.max_seconds, self._errors)
            self._report(ReportKind.MAX_RESTARTS, member, Shutdown(error))
            raise Stop(Shutdown(error))

    async def _start_group(self, trigger: Member) -> None:
        """Start the children of a group that do not run. After a failed start, the next message restarts again."""
        trigger.retry = None
        for member in restart_group(self._members.values(), trigger, self.strategy):
            if member.process is None:
                try:
                    member.restarts += await self._start_member(member)
                except StartFailed as error:
                    self._report(ReportKind.START_ERROR, member, error.reason)
                    member.retry = self._post_after(0.0, Event(self._restart, (member, error.reason)))
                    return

    # ---------------------------------------------------------------- one child

    async def _start_member(self, member: Member) -> bool:
        """Start a child and wait for its init.

        Returns:
            False if its init raised Ignore; then it is stopped.

        Raises:
            StartFailed: its init failed. It is not reported here, because a caller of `start_child` gets it instead.
        """
        member.cancel_retry()

        def on_exit(process: Process) -> None:
            mailbox.put(Event(self._child_exited, (member, process)))

        spec, mailbox = member.spec, self._process.mailbox
        process, body = Process(spec.ref, Mailbox(spec.mailbox)), partial(serve, spec.start, spec.ref)
        member.process = process
        self.nursery.start_soon(process.run, body, on_exit, name=spec.id)
        # Not nursery.start: until started() the child would be cancelled with its supervisor, and if the start of a
        # shielded child is cancelled, nursery.start never returns (python-trio/trio#2895).
        await self._wait_for(process, process.init_over)
        member.server_type = process.server_type or member.server_type
        if process.initialised:
            self._report(ReportKind.PROGRESS, member, None)
            return True
        member.process = None
        # If an interrupt ended the child, this is cancelled here: that is no failed start.
        await trio.lowlevel.checkpoint()
        if not process.ignored:
            raise StartFailed(member.spec.id, process.reason)
        self._retire(member, child_stopped(member.spec.restart))
        return False

    async def _stop_and_retire(self, member: Member) -> None:
        await self._stop_member(member)
        self._retire(member, child_stopped(member.spec.restart))

    @trio.lowlevel.enable_ki_protection
    async def _stop_member(self, member: Member) -> None:
        """Stop a child: request it, wait as long as `shutdown` allows, cancel it, wait for its exit.

        A child that waits for a restart does not get it. No effect on a child that is stopped.
        """
        member.cancel_retry()
        process = member.process
        if process is None:
            return
        grace = member.grace(process)
        if grace is not None:  # None is BRUTAL_KILL
            process.request_stop(Shutdown())
            with trio.move_on_after(grace):
                await self._wait_for(process, process.exited)
            if not process.exited.is_set() and not process.overdue:
                # Reported now and not after its exit: code that is shielded from cancellation may run for ever.
                process.overdue = True
                self._report(ReportKind.SHUTDOWN_ERROR, member, Killed())
        process.kill_scope.cancel()
        await self._wait_for(process, process.exited)
        member.process = None
        reported = process.overdue and not isinstance(process.reason, Crashed)
        if not reported and not is_expected(process.reason, member.spec.restart, grace):
            self._report(ReportKind.SHUTDOWN_ERROR, member, process.reason)

    async def _wait_for(self, process: Process, event: trio.Event) -> None:
        """Wait for a child. Meanwhile a call from it to this supervisor would be a deadlock: it raises CallingSelf."""
        self._process.waits_on[process] = event
        await event.wait()
        del self._process.waits_on[process]

    def _report(self, kind: ReportKind, member: Member, reason: ExitReason | None) -> None:
        publish(Report(kind, self.ref.name, member.spec.id, reason), self.report)
