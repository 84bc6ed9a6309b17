"""What every supervisor does: start children, hear of their ends, restart them within limits, stop them.

A supervisor is a GenServer whose messages are the exits of its children, so requests, exits and retries take
turns and need no locks. These messages are its own: they do not pass through `handle_info`, which a subclass may
use as it likes. It decides with `decision.py` and acts here; how its children are named, and what remains of one
that left, is for `Supervisor` and `DynamicSupervisor` to say.

Children run in the supervisor's nursery, but the nursery never sees them crash: `Process.run` reports ends
instead of raising, and what must be raised is raised after the nursery is closed. So a supervisor three levels
down gives up with one flat exception, not with a nest of groups.
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
    group,
    is_expected,
    is_reported,
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
    """The part static and dynamic supervisors share.

    A stop interrupts it wherever it is, and its own work then is to stop its children. A `terminate` of a subclass
    runs after that.
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
        self._counts_backoffs = self.max_restarts is not None or self.max_seconds is not None
        self.max_restarts = MAX_RESTARTS if self.max_restarts is None else self.max_restarts
        self.max_seconds = MAX_SECONDS if self.max_seconds is None else self.max_seconds
        self._intensity = RestartIntensity(self.max_restarts, self.max_seconds)
        # The last max_restarts + 1 are those inside the window when it gives up. Never more, and none after the
        # window: an exception pins its frames, and frames pin what requests carried.
        self._errors: deque[Exception] = deque(maxlen=self.max_restarts + 1)

    @property
    def children(self) -> tuple[ChildInfo, ...]:
        """The children as they are now, in start order. Plain reading, from any task."""
        return tuple(member.info for member in self._members.values())

    async def which_children(self) -> list[ChildInfo]:
        """`children`, in turn with the other requests: after a crash it waits for the restart."""
        return list(self.children)

    async def start_child(self, child: Child[S]) -> Ref[S]:
        """Add and start; returns the child's ref. Reject(StartFailed / AlreadyStarted / AlreadyPresent /
        MaxChildrenReached) leaves no trace.
        """
        try:
            self._check(child)
        except ValueError as error:
            raise Reject(error) from error
        known = self._members.get(key := self._key(child))
        if child.ref.alive or (known is not None and known.process is not None):
            raise Reject(errors.AlreadyStarted(f"child {child.id!r} is running"))
        if known is not None:
            raise Reject(errors.AlreadyPresent(f"child {child.id!r} is known, though it is not running"))
        if len(self._members) >= self.max_children:
            raise Reject(errors.MaxChildrenReached(f"{self.ref.name!r} takes {self.max_children} children"))
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
        require(matters, f"child {child.id!r}: significant means nothing while auto_shutdown is NEVER")

    def _get(self, key: object) -> Member:
        if key not in self._members:
            raise Reject(errors.NotFound(f"{self.ref.name!r} has no child {key!r}"))
        return self._members[key]

    def _retire(self, member: Member, decision: Decision) -> None:
        """FORGET or KEEP a child that is not running and will not be restarted."""
        if decision is Decision.FORGET:
            del self._members[member.key]

    # ---------------------------------------------------------------- from beginning to end

    @trio.lowlevel.enable_ki_protection  # an interrupt in the middle of a stop would leave children behind
    async def _work(self, process: Process) -> None:
        try:
            with process.interruptible():  # even a slow init of a child
                await super()._work(process)
        except Exception as error:
            process.fail_pending(exit_reason(error))
            raise
        finally:  # the mailbox is closed: a child that calls us from its `terminate` fails at once, and does not hang
            process.fail_pending(Killed() if process.kill_scope.cancel_called else process.stop_reason)
            with trio.move_on_after(math.inf, shield=True):  # the deadlines are the children's own
                await self._stop_all()

    async def _next_message(self) -> Message | None:
        while self._errors:
            with trio.move_on_at(self._intensity.is_quiet_after()):
                return await super()._next_message()
            self._errors.clear()  # there was no restart for a whole window
        return await super()._next_message()

    async def _stop_all(self) -> None:
        for member in reversed(self._members.values()):  # each completely, before the next is asked
            await self._stop_member(member)

    # ---------------------------------------------------------------- an exit, a restart

    async def _child_exited(self, member: Member, process: Process) -> None:
        if member.process is not process:
            return  # it was stopped, and seen to be dead, meanwhile
        member.process, reason = None, process.reason
        if is_reported(reason, member.spec.restart):
            self._report(ReportKind.CHILD_TERMINATED, member, reason)
        decision = child_exited(reason, member.spec.restart)
        if decision is Decision.RESTART:
            await self._restart(member, reason)
        else:
            self._retire(member, decision)
            if member.spec.significant and self._is_to_leave():
                raise Stop(Shutdown())

    def _is_to_leave(self) -> bool:
        """What auto_shutdown says when a significant child left by itself and is not restarted."""
        left = (m for m in self._members.values() if m.spec.significant and (m.process or m.retry))
        return self.auto_shutdown is AutoShutdown.ANY_SIGNIFICANT or not any(left)

    async def _restart(self, member: Member, reason: ExitReason) -> None:
        """Count one restart, stop those who stop with it, and start them all: now, or after its backoff."""
        member.retry = None
        if member.spec.backoff is None or self._counts_backoffs:
            self._count_restart(member, reason)
        for other in reversed(group(self._members.values(), member, self.strategy)):
            if other is not member:
                await self._stop_and_retire(other)
        delay = member.next_delay(trio.current_time())
        if delay > 0:
            member.retry = self._post_after(delay, Event(self._start_group, (member,)))
        else:
            await self._start_group(member)

    def _count_restart(self, member: Member, reason: ExitReason) -> None:
        """Raises Stop to give up when it is one too many."""
        limits = self._intensity
        self._errors.append(error_of(reason) or ActorError(f"{member.spec.id!r} {reason}"))
        if not limits.allow(trio.current_time()):
            error = MaxRestartsExceeded(self.ref.name, limits.max_restarts, limits.max_seconds, self._errors)
            self._report(ReportKind.MAX_RESTARTS, member, Shutdown(error))
            raise Stop(Shutdown(error))

    async def _start_group(self, trigger: Member) -> None:
        """Start all that do not run; where one fails, its restart is decided again in a later message."""
        trigger.retry = None
        for member in group(self._members.values(), trigger, self.strategy):
            if member.process is None:
                try:
                    member.restarts += await self._start_member(member)
                except StartFailed as error:
                    self._report(ReportKind.START_ERROR, member, error.reason)
                    member.retry = self._post_after(0.0, Event(self._restart, (member, error.reason)))
                    return

    # ---------------------------------------------------------------- one child

    async def _start_member(self, member: Member) -> bool:
        """Start a child and wait for its init; False if it chose Ignore and is left stopped. Raises StartFailed.

        A failure is not reported here: where a caller asked for the start, the caller gets it.
        """
        member.cancel_retry()

        def on_exit(process: Process) -> None:
            mailbox.put(Event(self._child_exited, (member, process)))

        spec, mailbox = member.spec, self._process.mailbox
        process, body = Process(spec.ref, Mailbox(spec.mailbox)), partial(serve, spec.start, spec.ref)
        member.process = process
        self.nursery.start_soon(process.run, body, on_exit, name=spec.id)
        # Not nursery.start: until started() the child would obey our caller's cancellation instead of us, and a
        # shielded child whose start is cancelled blocks it for ever (python-trio/trio#2895).
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
        """Stop a child, or cancel its pending restart: ask, wait for its grace, cancel, wait. Idempotent."""
        member.cancel_retry()
        process = member.process
        if process is None:
            return
        grace = member.grace(process)
        if grace is not None:  # BRUTAL_KILL
            process.request_stop(Shutdown())
            with trio.move_on_after(grace):
                await self._wait_for(process, process.exited)
            if not process.exited.is_set() and not process.overdue:
                # Reported now and not at its end: what shields itself from cancellation may take for ever.
                process.overdue = True
                self._report(ReportKind.SHUTDOWN_ERROR, member, Killed())
        process.kill_scope.cancel()
        await self._wait_for(process, process.exited)
        member.process = None
        reported = process.overdue and not isinstance(process.reason, Crashed)
        if not reported and not is_expected(process.reason, member.spec.restart, grace):
            self._report(ReportKind.SHUTDOWN_ERROR, member, process.reason)

    async def _wait_for(self, process: Process, event: trio.Event) -> None:
        """Wait for a child; meanwhile a call from it to us would be a deadlock, and is refused (`Ref.call`)."""
        self._process.waits_on[process] = event
        await event.wait()
        del self._process.waits_on[process]

    def _report(self, kind: ReportKind, member: Member, reason: ExitReason | None) -> None:
        publish(Report(kind, self.ref.name, member.spec.id, reason), self.report)
