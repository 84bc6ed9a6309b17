"""The static supervisor: its children are a list, started in order and stopped in reverse."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from .child import AutoShutdown, Child, Strategy
from .decision import Decision, affected, child_stopped
from .errors import AlreadyPresent, AlreadyStarted, NotFound, Reject, Restarting, StartFailed, Stop, require
from .intensity import RestartIntensity
from .reasons import Shutdown
from .reports import Observer
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
        self._members: list[Member] = []
        for child in children:
            self._check(child)
            require(
                self._find(child.id) is None,
                f"children: two have the id {child.id!r} (the name of their ref)",
            )
            self._members.append(Member(child))

    async def init(self) -> None:
        """Start the children in order; the first failure raises StartFailed and the rest is not tried."""
        for child in (member.spec for member in self._members):
            require(not child.ref.alive, f"child {child.id!r}: ref is already behind a running process")
        for member in list(self._members):
            await self._start(member)

    async def start_child(self, child: Child[Any]) -> None:
        """Add and start. Reject(StartFailed) leaves no trace; Reject(AlreadyStarted / AlreadyPresent)."""
        try:
            self._check(child)
        except ValueError as error:
            raise Reject(error) from error
        known = self._find(child.id)
        if child.ref.alive or (known is not None and known.process is not None):
            raise Reject(AlreadyStarted(f"child {child.id!r} is running"))
        if known is not None:
            raise Reject(AlreadyPresent(f"child {child.id!r} is known: restart_child or delete_child it"))
        member = Member(child)
        self._members.append(member)
        try:
            await self._start(member)
        except StartFailed as error:
            self._members.remove(member)
            raise Reject(error) from error

    async def terminate_child(self, id: str) -> None:
        """Stop it and keep its spec (a TEMPORARY one is forgotten). Cancels a pending restart. Idempotent.

        Reject(NotFound). Not counted against the restart intensity, and no reason for auto_shutdown.
        """
        member = self._get(id)
        await self._stop(member)
        self._settle(member, child_stopped(member.spec.restart))

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
        self._members.remove(self._get_stopped(id))

    def _check(self, child: Child[Any]) -> None:
        require(isinstance(child, Child), f"children must be Child values, not {child!r}")
        matters = not child.significant or self._auto_shutdown is not AutoShutdown.NEVER
        require(matters, f"child {child.id!r}: significant means nothing while auto_shutdown is NEVER")

    def _find(self, id: str) -> Member | None:
        return next((member for member in self._members if member.spec.id == id), None)

    def _get(self, id: str) -> Member:
        member = self._find(id)
        if member is None:
            raise Reject(NotFound(f"{self.ref.name!r} has no child {id!r}"))
        return member

    def _get_stopped(self, id: str) -> Member:
        member = self._get(id)
        if member.retry is not None:
            raise Reject(Restarting(f"child {id!r} is about to be restarted: terminate_child cancels that"))
        if member.process is not None:
            raise Reject(AlreadyStarted(f"child {id!r} is running"))
        return member

    # ---------------------------------------------------------------- for AbstractSupervisor

    def _all(self) -> Sequence[Member]:
        return self._members

    def _affected(self, member: Member, decision: Decision) -> Sequence[Member]:
        return affected(self._members, member, decision)

    def _settle(self, member: Member, decision: Decision) -> None:
        if decision is Decision.FORGET:
            self._members.remove(member)

    async def _stop_all(self) -> None:
        for member in reversed(self._members):  # each completely, before the next is asked
            await self._stop(member)

    def _on_leave(self, member: Member) -> None:
        if not member.spec.significant:
            return
        significant = (m for m in self._members if m.spec.significant)
        alone = not any(m.process is not None or m.retry is not None for m in significant)
        if self._auto_shutdown is AutoShutdown.ANY_SIGNIFICANT or alone:
            raise Stop(Shutdown())
