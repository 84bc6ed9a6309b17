"""Interrupts, kills and cancellations at every step of a tree, and calls during starts and stops."""

import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import attrs
import pytest
import trio
from harness import TEMPORARY, Actor, Bang, Harness, running, settle
from trio.testing import MockClock

import cortex_trio.otp
from cortex_trio.otp import (
    ActorError,
    ActorExited,
    DynamicSupervisor,
    MaxRestartsExceeded,
    Shutdown,
    StartFailed,
    Strategy,
    Supervisor,
    run,
)

KERNEL = str(Path(cortex_trio.otp.__file__).parent)


@pytest.fixture
def harness() -> Harness:
    return Harness()


# ---------------------------------------------------------------- calls up the tree


async def test_a_child_may_call_its_supervisor_once_its_init_is_over(harness: Harness) -> None:
    """91. From handle_continue on, even before the supervisor has noticed that init is done."""

    class Asks(Actor):
        async def handle_continue(self) -> None:
            await tree.ref.call(Supervisor.start_child, harness.child("sibling"))

    async with running(harness.supervisor()) as tree:
        spec = attrs.evolve(harness.child("a"), start=lambda: Asks(harness))
        await tree.ref.call(Supervisor.start_child, spec)
        await settle()
        assert await harness.states(tree.ref) == {"a": "running", "sibling": "running"}
        assert harness.reported() == []


async def test_children_that_stop_at_the_same_time_cannot_call_their_supervisor(
    harness: Harness, autojump_clock: object
) -> None:
    """59. CallingSelf for each, not only for the one whose stop was requested last."""
    seen: list[str] = []

    async def ask_up(actor: Actor) -> None:
        try:
            await tree.ref.call(Supervisor.which_children)
        except ActorError as error:
            seen.append(type(error).__name__)

    async with running(harness.supervisor(harness.dynamic())) as tree:
        for name in "abc":
            child = harness.child(name, on_terminate=ask_up)
            await harness["pool"].call(DynamicSupervisor.start_child, child)
        begin = trio.current_time()
        await tree.ref.call(Supervisor.terminate_child, "pool")
        assert trio.current_time() == begin
        assert seen == ["CallingSelf"] * 3


async def test_callers_of_a_supervisor_get_its_exit_reason(harness: Harness, autojump_clock: object) -> None:
    """89. Its init failed, or it gave up: they get the exit reason of the process."""
    exits: list[ActorExited] = []

    async def ask(name: str) -> None:
        with pytest.raises(ActorExited) as caught:
            await harness[name].call(Supervisor.which_children)
        exits.append(caught.value)

    async def slowly_fail(actor: Actor) -> None:
        await trio.sleep(1)
        raise Bang

    async def takes_a_second(actor: Actor) -> None:
        await trio.sleep(1)

    async with running(harness.supervisor()) as tree, trio.open_nursery() as nursery:
        tree.ref.cast(Supervisor.start_child, harness.sub("s", harness.child("a", on_init=slowly_fail)))
        await settle()
        nursery.start_soon(ask, "s")
        await trio.sleep(2)
        assert isinstance(exits[0].__cause__, StartFailed)

        spec = harness.sub("t", harness.child("b"), restart=TEMPORARY, max_restarts=0)
        await tree.ref.call(Supervisor.start_child, spec)
        harness["t"].cast(Supervisor.start_child, harness.child("c", on_init=takes_a_second))
        await harness.crash("b")  # its supervisor has the message, but waits for c
        nursery.start_soon(ask, "t")
        await trio.sleep(2)
        reason = exits[1].reason
        assert isinstance(reason, Shutdown)
        assert isinstance(reason.info, MaxRestartsExceeded)


# ---------------------------------------------------------------- every moment


class Probe:
    """A busy tree; `disturb` is called once, at the moment the subclass counts to."""

    def __init__(self, moment: int, disturb: Callable[["Probe"], None]) -> None:
        self.moment, self.disturb = moment, disturb
        self.harness = Harness()
        self.outer = trio.CancelScope()
        self.passed = 0

    def tick(self) -> None:
        self.passed += 1
        if self.passed == self.moment:
            self.disturb(self)

    async def main(self) -> None:
        """Run the program, and fail when it hangs."""
        patience = trio.CancelScope()
        trio.lowlevel.spawn_system_task(_deadlines, patience)
        try:
            await self.program()
        finally:
            patience.cancel()
            await trio.lowlevel.cancel_shielded_checkpoint()

    async def program(self) -> None:
        """Start, call, crash one, let a group restart, add and remove, time out, stop."""
        harness = self.harness
        inner = harness.sub("inner", *harness.children("bc"), strategy=Strategy.ONE_FOR_ALL, max_restarts=9)
        root = harness.supervisor(harness.child("a"), inner, harness.dynamic("pool"), max_restarts=9)
        with self.outer:
            async with trio.open_nursery() as nursery:
                await nursery.start(run, root)
                for step in (self.talk, self.crash, self.grow, self.wait):
                    try:
                        await step()
                    except (ActorError, trio.TooSlowError):
                        await settle()
                nursery.cancel_scope.cancel()

    async def talk(self) -> None:
        assert await self.harness["a"].call(Actor.add) == 1
        self.harness["b"].cast(Actor.add)

    async def crash(self) -> None:
        self.harness["b"].cast(Actor.crash)
        await self.harness["b"].monitor().down()

    async def grow(self) -> None:
        for name in "de":
            await self.harness["pool"].call(DynamicSupervisor.start_child, self.harness.child(name))
        await self.harness["pool"].call(DynamicSupervisor.terminate_child, self.harness["d"])

    async def wait(self) -> None:
        with trio.fail_after(1):
            await self.harness["a"].call(Actor.sleep, 2)

    def check(self) -> None:
        """Check that no process is left, and that every terminate that began has ended."""
        refs = [self.harness[name] for name in ("a", "inner", "b", "c", "pool", "d", "e")]
        assert [ref.name for ref in refs if ref.alive] == []


async def _deadlines(patience: trio.CancelScope) -> None:
    """Virtual time gets here only if every task waits for something that never happens."""
    with patience:
        await trio.sleep(1000)
        raise AssertionError("the tree hangs")


class StepProbe(Probe, trio.abc.Instrument):
    """Counts the steps of tasks."""

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.tick()

    def go(self) -> int:
        try:
            trio.run(self.main, clock=MockClock(autojump_threshold=0), instruments=[self])
        except* StartFailed:  # killed while the tree was starting
            assert self.harness.incarnations.get("e") is None
        self.check()
        return self.passed


def _kill(name: str) -> Callable[[Probe], None]:
    return lambda probe: probe.harness[name].kill()


def _cancel(probe: Probe) -> None:
    probe.outer.cancel()


def _terminate(probe: Probe) -> None:
    inner = probe.harness["inner"]
    if inner.alive:
        inner.cast(Supervisor.terminate_child, "c")


@pytest.mark.parametrize(
    "disturb",
    [_kill("a"), _kill("b"), _kill("inner"), _kill("pool"), _kill("e"), _cancel, _terminate],
    ids=["kill a", "kill b", "kill inner", "kill pool", "kill e", "cancel", "terminate c"],
)
def test_a_kill_or_cancellation_at_any_step_leaves_nothing_behind(disturb: Callable[[Probe], None]) -> None:
    """60. The tree goes on or stops in order, and never hangs."""
    steps = StepProbe(0, disturb).go()
    assert steps > 50
    for moment in range(1, steps, 3):
        StepProbe(moment, disturb).go()


class LineProbe(Probe):
    """Counts the lines of the kernel, and keeps the first and the last time that each was reached."""

    def __init__(self, moment: int, disturb: Callable[[Probe], None]) -> None:
        super().__init__(moment, disturb)
        self.first: dict[tuple[str, int], int] = {}
        self.last: dict[tuple[str, int], int] = {}

    @property
    def moments(self) -> Sequence[int]:
        return sorted({*self.first.values(), *self.last.values()})

    def go(self) -> int:
        sys.settrace(self.trace)
        try:
            trio.run(self.main, clock=MockClock(autojump_threshold=0))
        except BaseExceptionGroup as group:
            if group.split(KeyboardInterrupt)[1] is not None:
                raise
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(None)
        self.check()
        return self.passed

    def trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        if not frame.f_code.co_filename.startswith(KERNEL):
            return None
        if event == "line":
            self.tick()
            line = frame.f_code.co_filename, frame.f_lineno
            self.first.setdefault(line, self.passed)
            self.last[line] = self.passed
            if self.passed == self.moment:
                sys.settrace(None)
        return self.trace


def _interrupt(probe: Probe) -> None:
    signal.raise_signal(signal.SIGINT)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_an_interrupt_at_any_line_of_the_kernel_ends_the_program(part: int) -> None:
    """131. Ctrl-C between any two lines: no hang, no broken scheduler, no process left, KeyboardInterrupt is raised."""
    program = LineProbe(0, _interrupt)
    assert program.go() > 1000
    assert len(program.moments) > 500
    for moment in program.moments[part::4]:
        LineProbe(moment, _interrupt).go()
