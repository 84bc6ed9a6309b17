"""Helpers to test supervision trees: actors that log what happens to them, and a tree in the background."""

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio
from trio.testing import wait_all_tasks_blocked

from cortex_trio.otp import (
    Child,
    Crashed,
    Deferred,
    DynamicSupervisor,
    ExitReason,
    GenServer,
    Normal,
    Ref,
    Reject,
    Report,
    Restart,
    Stop,
    Supervisor,
    run,
)

settle = wait_all_tasks_blocked


class Bang(Exception):
    """The exception of a crash."""


async def nothing(actor: "Actor") -> None:
    """The default of `on_init` and `on_terminate`."""


Act = Callable[["Actor"], Awaitable[None]]


class Actor(GenServer):
    """Counts, crashes, sleeps and stops on request, and logs its init and terminate."""

    def __init__(self, harness: "Harness", on_init: Act = nothing, on_terminate: Act = nothing) -> None:
        self.harness = harness
        self.on_init = on_init
        self.on_terminate = on_terminate
        self.count = 0
        self.infos: list[object] = []
        self.deferred: Deferred[str] = Deferred()

    async def init(self) -> None:
        self.harness.log.append(f"init {self.ref.name}")
        self.harness.incarnations[self.ref.name] = self.incarnation + 1
        await self.on_init(self)

    @property
    def incarnation(self) -> int:
        """1 for the first process behind the ref."""
        return self.harness.incarnations.get(self.ref.name, 0)

    async def terminate(self, reason: ExitReason) -> None:
        self.harness.log.append(f"terminate {self.ref.name}")
        self.harness.reasons.append(reason)
        await self.on_terminate(self)
        self.harness.log.append(f"gone {self.ref.name}")

    async def handle_info(self, message: object) -> None:
        self.infos.append(message)

    async def add(self, number: int = 1) -> int:
        self.count += number
        return self.count

    async def note(self, what: str) -> None:
        self.harness.log.append(what)

    async def crash(self, error: Exception | None = None) -> None:
        raise error or Bang(self.ref.name)

    async def leave(self, reason: ExitReason = Normal()) -> None:  # noqa: B008
        raise Stop(reason)

    async def leave_with(self, reply: str) -> str:
        raise Stop(Normal(), reply)

    async def refuse(self) -> None:
        raise Reject(LookupError("no"))

    async def sleep(self, seconds: float) -> str:
        await trio.sleep(seconds)
        return f"slept {seconds:g}"

    async def defer(self) -> Deferred[str]:
        return self.deferred

    async def received(self) -> list[object]:
        return list(self.infos)

    async def run_here(self, act: Act) -> None:
        await act(self)


class Tree:
    """A running tree, seen from the program around it."""

    def __init__(self) -> None:
        self.ref: Ref[Supervisor] = Ref("root")
        self.scope = trio.CancelScope()  # around the tree
        self.ended = trio.Event()
        self.error: Exception | None = None  # what run() raised

    async def run(self, root: Supervisor, *, task_status: trio.TaskStatus[Ref[Supervisor]]) -> None:
        with self.scope:
            try:
                await run(root, ref=self.ref, task_status=task_status)
            except Exception as error:
                self.error = error
        self.ended.set()

    async def stop(self) -> None:
        self.scope.cancel()
        await self.ended.wait()


class Harness:
    """Refs by name, the log of what actors did, and the reports supervisors made."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.reasons: list[ExitReason] = []
        self.reports: list[Report] = []
        self.incarnations: dict[str, int] = {}
        self._refs: dict[str, Ref[Any]] = {}

    def __getitem__(self, name: str) -> Ref[Any]:
        return self._refs.setdefault(name, Ref(name))

    def child(
        self, name: str, *, on_init: Act = nothing, on_terminate: Act = nothing, **spec: Any
    ) -> Child[Actor]:
        return Child(ref=self[name], start=lambda: Actor(self, on_init, on_terminate), **spec)

    def children(self, names: str, **spec: Any) -> list[Child[Actor]]:
        return [self.child(name, **spec) for name in names]

    def supervisor(self, *children: Child[Any], **options: Any) -> Supervisor:
        return Supervisor(children, report=self.reports.append, **options)

    def sub(
        self, name: str, *children: Child[Any], restart: Restart = Restart.PERMANENT, **options: Any
    ) -> Child[Any]:
        """A nested supervisor; `options` are the supervisor's own."""
        return Child(
            ref=self[name],
            start=lambda: self.supervisor(*children, **options),
            restart=restart,
            shutdown=math.inf,
        )

    def dynamic(self, name: str = "pool", **options: Any) -> Child[DynamicSupervisor]:
        return Child(
            ref=self[name],
            start=lambda: DynamicSupervisor(report=self.reports.append, **options),
            shutdown=math.inf,
        )

    def reported(self) -> list[str]:
        """The reports without progress, as `kind child`."""
        return [f"{report.kind} {report.child}" for report in self.reports if report.reason is not None]

    def take_log(self) -> list[str]:
        """What was logged since last asked, without the ends of terminate."""
        taken, self.log = [line for line in self.log if not line.startswith("gone")], []
        return taken

    async def crash(self, *names: str) -> None:
        """Crash these, one after the other, and wait until the restart is over."""
        for name in names:
            self[name].cast(Actor.crash)
            await settle()

    async def states(self, supervisor: Ref[Any]) -> dict[str, str]:
        return {info.id: str(info.state) for info in await supervisor.call(Supervisor.which_children)}


@asynccontextmanager
async def running(root: Supervisor) -> AsyncIterator[Tree]:
    """Run a tree in the background until the block is left."""
    tree = Tree()
    async with trio.open_nursery() as nursery:
        await nursery.start(tree.run, root)
        yield tree
        tree.scope.cancel()


def crashed_with(reason: ExitReason | None) -> Exception:
    """The error of a crash; fails if it was none."""
    assert isinstance(reason, Crashed)
    return reason.error


PERMANENT, TRANSIENT, TEMPORARY = Restart.PERMANENT, Restart.TRANSIENT, Restart.TEMPORARY
