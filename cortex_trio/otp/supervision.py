"""What every supervisor does: start children, hear of their ends, restart them within limits, stop them.

A supervisor is a GenServer whose messages are the exits of its children, so requests, exits and retries take
turns and need no locks. It decides with `decision.py` and acts here; how its children are named, and what
remains of one that left, is for `Supervisor` and `DynamicSupervisor` to say.

Children run in the supervisor's nursery, but the nursery never sees them crash: `Process.run` reports ends
instead of raising, and what must be raised is raised after the nursery is closed. So a supervisor three levels
down gives up with one flat exception, not with a nest of groups.
"""

import math
from collections import deque
from typing import Any

import attrs
import trio

from . import errors
from .child import AutoShutdown, Child, ChildInfo, ChildState, Member, Strategy
from .decision import Decision, RestartIntensity, child_exited, child_stopped, group, is_expected, is_reported
from .errors import ActorError, MaxRestartsExceeded, Reject, StartFailed, Stop, exit_reason, require
from .gen_server import GenServer
from .process import Info, Process
from .reasons import Crashed, ExitReason, Killed, Shutdown, error_of
from .reports import Observer, Report, ReportKind, publish


@attrs.frozen(eq=False, repr=False)
class ChildExited:
    """To the supervisor itself: this process of this child has ended."""

    member: Member
    process: Process


@attrs.frozen(eq=False, repr=False)
class Retry:
    """To the supervisor itself: start again what a failed start or a backoff left stopped.

    A message, not a loop, so that stop requests and API calls get in between (OTP: `try_again_restart`).
    """

    member: Member
    failure: ExitReason | None  # of the start before: this is one more restart. None: it has been counted


@attrs.define(eq=False, repr=False, slots=False, kw_only=True)
class AbstractSupervisor(GenServer):
    """The part static and dynamic supervisors share.

    Like OTP's, a supervisor has no `terminate` to write: a stop interrupts it wherever it is, and its own work
    then is to stop its children.
    """

    strategy = Strategy.ONE_FOR_ONE
    auto_shutdown = AutoShutdown.NEVER
    max_children = math.inf
    max_restarts: int = 3
    max_seconds: float = 5.0
    report: Observer | None = None
    _members: dict[object, Member] = attrs.field(init=False, factory=dict)  # in start order
    _nursery: trio.Nursery = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._intensity = RestartIntensity(self.max_restarts, self.max_seconds)
        # The last max_restarts + 1 are those inside the window when it gives up. Never more: an exception pins
        # its frames, and frames pin what requests carried.
        self._errors: deque[Exception] = deque(maxlen=self.max_restarts + 1)

    @property
    def children(self) -> tuple[ChildInfo, ...]:
        """The children as they are now, in start order. Plain reading, from any task."""
        return tuple(_info(member) for member in self._members.values())

    async def which_children(self) -> list[ChildInfo]:
        """`children`, in turn with the other requests: after a crash it waits for the restart."""
        return list(self.children)

    async def start_child(self, child: Child[Any]) -> None:
        """Add and start. Reject(StartFailed / AlreadyStarted / AlreadyPresent / MaxChildrenReached) leaves no trace."""
        try:
            self._check(child)
        except ValueError as error:
            raise Reject(error) from error
        key = self._key(child)
        known = self._members.get(key)
        if child.ref.alive or (known is not None and known.process is not None):
            raise Reject(errors.AlreadyStarted(f"child {child.id!r} is running"))
        if known is not None:
            raise Reject(errors.AlreadyPresent(f"child {child.id!r} is known, though it is not running"))
        if len(self._members) >= self.max_children:
            raise Reject(errors.MaxChildrenReached(f"{self.ref.name!r} takes {self.max_children} children"))
        member = self._members[key] = Member(key, child)
        try:
            await self._start(member)
        except StartFailed as error:
            del self._members[key]
            raise Reject(error) from error

    async def handle_info(self, message: object) -> None:
        """Exits and retries; anything else is ignored, as in any GenServer."""
        match message:
            case ChildExited(member, process):
                if member.process is process:  # else it was stopped, and seen to be dead, meanwhile
                    await self._on_exit(member, process)
            case Retry(member, failure):
                member.retry = None
                if failure is not None:
                    self._count_restart(member, failure)
                    await self._stop_group(member)
                await self._start_group(member)
            case _:
                await super().handle_info(message)

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

    def _settle(self, member: Member, decision: Decision) -> None:
        """FORGET or KEEP a child that is not running and will not be restarted."""
        if decision is Decision.FORGET:
            del self._members[member.key]

    # ---------------------------------------------------------------- life

    @trio.lowlevel.enable_ki_protection  # an interrupt in the middle of a stop would leave children behind
    async def _serve(self, process: Process) -> None:
        failure: Exception | None = None
        async with trio.open_nursery() as self._nursery:
            try:
                with process.work:  # a request to stop interrupts even a slow init of a child
                    await super()._serve(process)
            except Exception as error:
                failure = error
            finally:
                # First the mailbox: a child that calls us from its terminate must fail at once, not wait for
                # an answer from someone who waits for it.
                process.close()
                stopped = Killed() if process.scope.cancel_called else Shutdown()
                process.fail_pending(stopped if failure is None else exit_reason(failure))
                with trio.move_on_after(math.inf, shield=True):  # the deadlines are the children's own
                    await self._stop_all()
        if failure is not None:
            raise failure

    async def _stop_all(self) -> None:
        for member in reversed(self._members.values()):  # each completely, before the next is asked
            await self._stop(member)

    async def _on_exit(self, member: Member, process: Process) -> None:
        reason, restart = process.reason, member.spec.restart
        member.process = None
        if is_reported(reason, restart):
            self._report(ReportKind.CHILD_TERMINATED, member, reason)
        decision = child_exited(reason, restart)
        if decision is not Decision.RESTART:
            self._settle(member, decision)
            self._leave_with(member)
            return
        self._count_restart(member, reason)
        await self._stop_group(member)
        delay = member.next_delay(trio.current_time())
        if delay > 0:
            member.retry = self.send_after(delay, Retry(member, failure=None))
        else:
            await self._start_group(member)

    def _leave_with(self, member: Member) -> None:
        """A child left by itself and is not restarted: for a significant one, auto_shutdown says what follows."""
        others = (m for m in self._members.values() if m.spec.significant and m is not member)
        last = not any(other.process or other.retry for other in others)
        if member.spec.significant and (last or self.auto_shutdown is AutoShutdown.ANY_SIGNIFICANT):
            raise Stop(Shutdown())

    # ---------------------------------------------------------------- restart

    def _count_restart(self, member: Member, reason: ExitReason) -> None:
        """Raises Stop to give up when it is one too many."""
        self._errors.append(error_of(reason) or ActorError(f"{member.spec.id!r} {reason}"))
        if not self._intensity.allow(trio.current_time()):
            error = MaxRestartsExceeded(self.ref.name, self.max_restarts, self.max_seconds, self._errors)
            self._report(ReportKind.MAX_RESTARTS, member, Shutdown(error))
            raise Stop(Shutdown(error))

    async def _stop_group(self, trigger: Member) -> None:
        for member in reversed(group(self._members.values(), trigger, self.strategy)):
            if member is not trigger:
                await self._stop_and_settle(member)

    async def _start_group(self, trigger: Member) -> None:
        """Start all that do not run; where one fails, its restart is tried again in a later message."""
        for member in group(self._members.values(), trigger, self.strategy):
            if member.process is None:
                try:
                    await self._start(member)
                except StartFailed as error:
                    self._report(ReportKind.START_ERROR, member, error.reason)
                    delay = member.next_delay(trio.current_time())
                    member.retry = self.send_after(delay, Retry(member, failure=error.reason))
                    return
                member.restarts += 1

    # ---------------------------------------------------------------- one child

    async def _start(self, member: Member) -> None:
        """Start a child and wait for its init. Raises StartFailed; one that chose Ignore is left stopped.

        A failure is not reported here: where a caller asked for the start, the caller is told.
        """
        member.cancel_retry()
        process = self._spawn(member)
        # Not nursery.start: until started() the child would obey our caller's cancellation instead of us, and a
        # shielded child whose start is cancelled blocks it for ever (python-trio/trio#2895).
        await self._wait_for(process, process.started)
        if process.server is not None:
            member.server_type = type(process.server)
        if process.initialised:
            self._report(ReportKind.PROGRESS, member, None)
            return
        member.process = None
        if process.ignored:
            self._settle(member, child_stopped(member.spec.restart))
            return
        raise StartFailed(member.spec.id, process.reason)

    @trio.lowlevel.enable_ki_protection
    def _spawn(self, member: Member) -> Process:
        def on_exit(process: Process) -> None:
            self._process.post(Info(ChildExited(member, process)))

        spec = member.spec
        member.process = process = Process(spec.ref, spec.start, self._nursery, on_exit, spec.mailbox)
        self._nursery.start_soon(process.run, name=spec.id)
        return process

    async def _stop_and_settle(self, member: Member) -> None:
        await self._stop(member)
        self._settle(member, child_stopped(member.spec.restart))

    @trio.lowlevel.enable_ki_protection
    async def _stop(self, member: Member) -> None:
        """Stop a child, or cancel its pending restart: ask, wait for its grace, cancel, wait. Idempotent."""
        member.cancel_retry()
        process, grace = member.process, member.spec.shutdown
        if process is None:
            return
        if grace is not None:  # BRUTAL_KILL
            process.request_stop()
            with trio.move_on_after(grace):
                await self._wait_for(process, process.exited)
        if grace is not None and not process.exited.is_set() and member.overdue is not process:
            # Told now and not at its end: what shields itself from cancellation may take for ever.
            member.overdue = process
            self._report(ReportKind.SHUTDOWN_ERROR, member, Killed())
        process.scope.cancel()
        await self._wait_for(process, process.exited)
        member.process = None
        told = member.overdue is process and not isinstance(process.reason, Crashed)
        if not told and not is_expected(process.reason, member.spec.restart, grace):
            self._report(ReportKind.SHUTDOWN_ERROR, member, process.reason)

    async def _wait_for(self, process: Process, event: trio.Event) -> None:
        """Wait for a child; meanwhile a call from it to us would be a deadlock, and is refused (`Ref.call`)."""
        self._process.awaited[process] = event
        try:
            await event.wait()
        finally:
            del self._process.awaited[process]

    def _report(self, kind: ReportKind, member: Member, reason: ExitReason | None) -> None:
        publish(Report(kind, self.ref.name, member.spec.id, reason), self.report)


def _info(member: Member) -> ChildInfo:
    """What others may know of a child."""
    process, kind, state = member.process, member.server_type, ChildState.STOPPED
    if member.retry is not None:
        state = ChildState.RESTARTING
    elif process is not None and not process.exited.is_set():
        state = ChildState.RUNNING
    waiting = 0 if process is None else process.mailbox_length
    nested = issubclass(kind, AbstractSupervisor)
    return ChildInfo(member.spec.id, state, nested, member.spec.ref, kind.__name__, member.restarts, waiting)
