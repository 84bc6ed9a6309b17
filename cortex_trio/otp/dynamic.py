"""The dynamic supervisor: children come and go by request, in no order among them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import trio

from .child import Child, Strategy
from .decision import Decision
from .errors import AlreadyStarted, MaxChildrenReached, NotFound, Reject, StartFailed
from .ref import Ref
from .reports import Report
from .supervision import AbstractSupervisor, Member


class DynamicSupervisor(AbstractSupervisor):
    """Children come and go, no order among them, stopped concurrently.

    A child is known by its Ref; names need not differ. A child that has left and is not restarted is
    forgotten, whatever its restart type: there is no stopped state to come back from.
    """

    def __init__(
        self,
        *,
        max_children: float = math.inf,
        max_restarts: int = 3,
        max_seconds: float = 5.0,
        report: Callable[[Report], None] | None = None,
    ) -> None:
        super().__init__(
            strategy=Strategy.ONE_FOR_ONE, max_restarts=max_restarts, max_seconds=max_seconds, report=report
        )
        if not max_children >= 0:
            raise ValueError(f"max_children must be >= 0, not {max_children!r}")
        self._max_children = max_children
        self._members: dict[Ref[Any], Member] = {}

    async def start_child(self, child: Child[Any]) -> None:
        """Start a child. Reject(StartFailed / AlreadyStarted / MaxChildrenReached) leaves no trace."""
        if not isinstance(child, Child) or child.significant:
            raise Reject(ValueError(f"not a child for a DynamicSupervisor, or significant: {child!r}"))
        if child.ref.alive or child.ref in self._members:
            raise Reject(AlreadyStarted(f"child {child.id!r} is running"))
        if len(self._members) >= self._max_children:
            raise Reject(MaxChildrenReached(f"{self.ref.name!r} has {len(self._members)} children already"))
        member = self._members[child.ref] = Member(child)
        try:
            await self._start(member)
        except StartFailed as error:
            del self._members[child.ref]
            raise Reject(error) from error

    async def terminate_child(self, ref: Ref[Any]) -> None:
        """Stop a child, or cancel its pending restart, and forget it. Reject(NotFound) for any other ref."""
        member = self._members.get(ref)
        if member is None:
            raise Reject(NotFound(f"{self.ref.name!r} has no child behind {ref!r}"))
        await self._stop(member)
        del self._members[ref]

    # ---------------------------------------------------------------- for AbstractSupervisor

    def _all(self) -> Sequence[Member]:
        return list(self._members.values())

    def _affected(self, member: Member, decision: Decision) -> Sequence[Member]:
        return [member]

    def _settle(self, member: Member, decision: Decision) -> None:
        del self._members[member.spec.ref]

    async def _stop_all(self) -> None:
        async with trio.open_nursery() as nursery:  # each with its own grace; a slow one delays nobody
            for member in self._members.values():
                nursery.start_soon(self._stop, member)
