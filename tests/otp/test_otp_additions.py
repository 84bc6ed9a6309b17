"""What OTP does not have: trees around a block, nurseries of servers, arrivals, results, and more."""

import gc
import math
import weakref
from typing import Any

import pytest
import trio
from harness import TEMPORARY, TRANSIENT, Actor, Bang, Harness, crashed_with, running, settle

from cortex_trio.otp import (
    ActorExited,
    CallingSelf,
    Child,
    Deferred,
    DynamicSupervisor,
    ExitReason,
    GenServer,
    Killed,
    MaxRestartsExceeded,
    NoProcess,
    Normal,
    Ref,
    Restart,
    Shutdown,
    StartFailed,
    Supervisor,
    Task,
    TaskSupervisor,
    open_tree,
    trace,
)


@pytest.fixture
def harness() -> Harness:
    return Harness()


# ---------------------------------------------------------------- open_tree


async def test_a_tree_around_a_block_stops_in_order(harness: Harness) -> None:
    async with open_tree(harness.supervisor(*harness.children("ab"))) as tree:
        assert await harness["a"].call(Actor.add) == 1
        assert await harness.states(tree) == {"a": "running", "b": "running"}
        harness.take_log()
    assert harness.take_log() == ["terminate b", "terminate a"]
    assert not tree.alive


async def test_an_exception_of_the_block_is_raised_unwrapped(harness: Harness) -> None:
    with pytest.raises(Bang, match="mine"):
        async with open_tree(harness.supervisor(harness.child("a"))):
            raise Bang("mine")
    assert "terminate a" in harness.log


async def test_a_tree_that_gives_up_cancels_the_block_and_raises_one_exception(harness: Harness) -> None:
    async def program() -> None:
        async with open_tree(harness.supervisor(harness.child("a"), max_restarts=0)):
            harness["a"].cast(Actor.crash)
            await trio.sleep_forever()

    with pytest.raises(MaxRestartsExceeded):
        await program()


async def test_a_tree_that_does_not_start_raises_one_exception(harness: Harness) -> None:
    async def fail(actor: Actor) -> None:
        raise Bang

    with pytest.raises(StartFailed):
        async with open_tree(harness.supervisor(harness.child("a", on_init=fail))):
            raise AssertionError("the block must not begin")


# ---------------------------------------------------------------- the nursery of a server


class Reader(Actor):
    """Reads in a task of its own, and counts in its own messages."""

    def __init__(self, harness: Harness, feed: trio.MemoryReceiveChannel[Any]) -> None:
        super().__init__(harness)
        self.feed = feed

    async def init(self) -> None:
        await super().init()
        self.nursery.start_soon(self.read)

    async def read(self) -> None:
        try:
            async for item in self.feed:
                if isinstance(item, Exception):
                    raise item
                await self.ref.call(Actor.add, item)  # a task of the server may call it
        finally:
            self.harness.log.append(f"loop of {self.ref.name} ended")


async def test_a_task_in_the_nursery_of_a_server_ends_with_it(
    harness: Harness, autojump_clock: object
) -> None:
    """A crash of it is a crash of the server; a stop cancels it before terminate runs."""
    feed, inner = trio.open_memory_channel[Any](10)
    spec: Child[Any] = Child(ref=harness["r"], start=lambda: Reader(harness, inner))
    async with running(harness.supervisor(spec)) as tree:
        await feed.send(5)
        await settle()
        assert await harness["r"].call(Actor.add, 0) == 5
        monitor = harness["r"].monitor()
        await feed.send(Bang("in the loop"))
        assert str(crashed_with((await monitor.down()).reason)) == "in the loop"
        await harness["r"].arrival()
        assert await harness["r"].call(Actor.add, 0) == 0
        monitor = harness["r"].monitor()
        harness.log.clear()
        await tree.stop()
        assert harness.log == ["loop of r ended", "terminate r", "gone r"]
        assert (await monitor.down()).reason == Shutdown()
    assert harness.reported() == ["child_terminated r"]
    feed.close()
    inner.close()


async def test_a_crash_in_the_nursery_interrupts_the_handler(
    harness: Harness, autojump_clock: object
) -> None:
    async def crash_soon() -> None:
        await trio.sleep(1)
        raise Bang("background")

    async def start_it(actor: Actor) -> None:
        actor.nursery.start_soon(crash_soon)
        await trio.sleep(1000)

    async with running(harness.supervisor(harness.child("a"))):
        begin = trio.current_time()
        with pytest.raises(ActorExited) as caught:
            await harness["a"].call(Actor.run_here, start_it)
        assert trio.current_time() - begin == pytest.approx(1)
        assert isinstance(caught.value.__cause__, Bang)
        assert "terminate a" in harness.log


async def test_a_supervisor_may_have_a_nursery_of_its_own(harness: Harness) -> None:
    started = trio.Event()

    class WithLoop(Supervisor):
        async def init(self) -> None:
            self.nursery.start_soon(self.loop)

        async def loop(self) -> None:
            await self.ref.call(Supervisor.start_child, harness.child("b"))
            started.set()
            await trio.sleep_forever()

    async with running(WithLoop([harness.child("a")])) as tree:
        await started.wait()
        assert await harness.states(tree.ref) == {"a": "running", "b": "running"}
        harness.take_log()
        await tree.stop()
        assert harness.take_log() == ["terminate b", "terminate a"]


# ---------------------------------------------------------------- arrival, stop


async def test_arrival_waits_for_the_next_incarnation(harness: Harness, autojump_clock: object) -> None:
    async def slow_the_second_time(actor: Actor) -> None:
        await trio.sleep(10 if actor.incarnation > 1 else 0)

    async with running(harness.supervisor(harness.child("a", on_init=slow_the_second_time))):
        await harness["a"].arrival()  # it is here already
        harness["a"].cast(Actor.crash)
        await harness["a"].monitor().down()
        begin = trio.current_time()
        await harness["a"].arrival()
        assert trio.current_time() - begin == pytest.approx(10)  # not before its init is over
        assert await harness["a"].call(Actor.add) == 1


async def test_arrival_does_not_return_for_a_stopping_server(
    harness: Harness, autojump_clock: object
) -> None:
    async def linger(actor: Actor) -> None:
        await trio.sleep(1)

    async with (
        running(harness.supervisor(harness.child("a", on_terminate=linger))),
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(harness["a"].stop)
        await settle()
        assert harness["a"].alive
        begin = trio.current_time()
        await harness["a"].arrival()
        assert trio.current_time() - begin == pytest.approx(1)


async def test_arrival_may_be_awaited_before_anything_runs(harness: Harness) -> None:
    arrived: list[str] = []

    async def wait() -> None:
        await harness["a"].arrival()
        arrived.append("a")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await settle()
        async with running(harness.supervisor(harness.child("a"))):
            await settle()
            assert arrived == ["a"]


async def test_stop_waits_until_the_queued_messages_are_handled(harness: Harness) -> None:
    """The exit reason is Normal, and a permanent child is started again."""
    async with running(harness.supervisor(harness.child("a"), harness.child("t", restart=TRANSIENT))) as tree:
        for name in "at":
            monitor = harness[name].monitor()
            harness[name].cast(Actor.note, f"noted {name}")
            await harness[name].stop()
            assert (await monitor.down()).reason == Normal()
        await settle()
        assert harness.reasons == [Normal(), Normal()]
        assert {"noted a", "noted t"} <= set(harness.log)
        assert await harness.states(tree.ref) == {"a": "running", "t": "stopped"}
        await harness["t"].stop()  # no process: nothing to do


async def test_a_server_cannot_wait_for_its_own_exit(harness: Harness) -> None:
    async def stop_itself(actor: Actor) -> None:
        with pytest.raises(CallingSelf):
            await actor.ref.stop()

    async with running(harness.supervisor(harness.child("a"))):
        await harness["a"].call(Actor.run_here, stop_itself)


# ---------------------------------------------------------------- tasks


async def double(number: int) -> int:
    await trio.sleep(1)
    return 2 * number


async def fail_after(seconds: float) -> None:
    await trio.sleep(seconds)
    raise Bang("task")


async def test_a_task_has_a_result(harness: Harness, autojump_clock: object) -> None:
    """For any number of readers, before and after its end."""
    tasks: Ref[TaskSupervisor] = harness["tasks"]
    async with running(Supervisor([Child(ref=tasks, start=TaskSupervisor)])):
        task = await tasks.call(TaskSupervisor.start_soon, double, 21)
        assert [await task.result(), await task.result()] == [42, 42]
        assert not task.alive
        failing = await tasks.call(TaskSupervisor.start_soon, fail_after, 0)
        await settle()
        for _ in range(2):
            with pytest.raises(ActorExited) as caught:
                await failing.result()
            assert isinstance(caught.value.__cause__, Bang)
        killed = await tasks.call(TaskSupervisor.start_soon, trio.sleep_forever)
        killed.kill()
        with pytest.raises(ActorExited) as caught:
            await killed.result()
        assert caught.value.reason == Killed()
    with pytest.raises(NoProcess):
        await Ref[Task[int]]("never").result()


async def test_the_ref_of_a_task_keeps_its_result_but_not_its_arguments(harness: Harness) -> None:
    class Argument:
        """What a weak reference can be made of."""

    async def use(argument: Argument) -> int:
        return 42

    argument = Argument()
    kept = weakref.ref(argument)
    async with running(harness.supervisor(Child(ref=harness["tasks"], start=TaskSupervisor))):
        task = await harness["tasks"].call(TaskSupervisor.start_soon, use, argument)
        del argument
        assert await task.result() == 42
        await settle()
        gc.collect()
        assert kept() is None
        assert await task.result() == 42


async def test_an_async_function_as_a_static_child(harness: Harness, autojump_clock: object) -> None:
    """TRANSIENT: run again when it raised, done when it returned. A stop cancels it, and that is no error."""
    runs: list[str] = []

    async def poll(name: str, failures: int) -> None:
        runs.append(name)
        await trio.sleep(1)
        if runs.count(name) <= failures:
            raise Bang(name)

    async def wait_for_ever() -> None:
        try:
            await trio.sleep_forever()
        finally:
            runs.append("cleaned up")

    specs: list[Child[Any]] = [
        Child(ref=harness["poll"], start=lambda: Task(poll, "p", 2), restart=Restart.TRANSIENT),
        Child(ref=harness["wait"], start=lambda: Task(wait_for_ever)),
    ]
    async with running(harness.supervisor(*specs)) as tree:
        await trio.sleep(10)
        assert runs == ["p", "p", "p"]
        assert await harness.states(tree.ref) == {"poll": "stopped", "wait": "running"}
        await tree.stop()
    assert runs[-1] == "cleaned up"
    assert harness.reported() == ["child_terminated poll"] * 2


async def test_start_child_returns_the_ref(harness: Harness) -> None:
    async with running(harness.supervisor(harness.dynamic())) as tree:
        child = await tree.ref.call(Supervisor.start_child, harness.child("a"))
        assert child is harness["a"]
        assert await child.call(Actor.add) == 1
        other = await harness["pool"].call(DynamicSupervisor.start_child, harness.child("b"))
        assert other is harness["b"]


# ---------------------------------------------------------------- resources


class Resource(trio.abc.AsyncResource):
    def __init__(self, log: list[str], name: str) -> None:
        self.log, self.name = log, name

    async def aclose(self) -> None:
        self.log.append(f"closed {self.name}")
        await trio.lowlevel.checkpoint()


class Owner(Actor):
    def __init__(self, harness: Harness, on_init: Any) -> None:
        super().__init__(harness, on_init)

    async def init(self) -> None:
        for name in ("first", "second"):
            self.resources.push_async_callback(Resource(self.harness.log, name).aclose)
        await super().init()


@pytest.mark.parametrize("how", ["stop", "kill", "crash", "failed init"])
async def test_resources_are_closed_however_the_process_ends(harness: Harness, how: str) -> None:
    async def maybe_fail(actor: Actor) -> None:
        if how == "failed init":
            raise Bang

    async with running(harness.supervisor()) as tree:
        child: Child[Any] = Child(
            ref=harness["a"], start=lambda: Owner(harness, maybe_fail), restart=Restart.TEMPORARY
        )
        if how == "failed init":
            with pytest.raises(StartFailed):
                await tree.ref.call(Supervisor.start_child, child)
        else:
            await tree.ref.call(Supervisor.start_child, child)
            if how == "kill":
                harness["a"].kill()
            elif how == "crash":
                harness["a"].cast(Actor.crash)
            else:
                await harness["a"].stop()
        await settle()
        closed = [line for line in harness.log if line.startswith("closed")]
        # After a kill they are closed under cancellation: trio's resources close at their first checkpoint.
        assert closed == ["closed second", "closed first"]
        if how in ("stop", "crash"):
            assert harness.log.index("gone a") < harness.log.index("closed second")


# ---------------------------------------------------------------- continue, abandoned, trace


async def test_a_callback_may_continue_before_the_next_message(harness: Harness) -> None:
    class Steps(Actor):
        async def init(self) -> None:
            self.continue_with(self.step, "after init")

        async def handle_continue(self) -> None:
            self.harness.log.append("handle_continue")

        async def handle_info(self, message: object) -> None:
            self.continue_with(self.step, f"after info {message}")

        async def ask(self) -> str:
            self.continue_with(self.step, "first")
            self.continue_with(self.step, what="second")
            return "answer"

        async def step(self, what: str) -> None:
            self.harness.log.append(what)

    ref: Ref[Steps] = harness["s"]
    async with running(Supervisor([Child(ref=ref, start=lambda: Steps(harness))])):
        ref.info(1)
        answer = ref.call(Steps.ask)
        assert await answer == "answer"
        await ref.call(Actor.note, "next message")
    assert harness.log[:6] == [
        "handle_continue",
        "after init",
        "after info 1",
        "first",
        "second",
        "next message",
    ]


async def test_a_deferred_knows_that_its_caller_was_cancelled(
    harness: Harness, autojump_clock: object
) -> None:
    answer: Deferred[str] = Deferred()
    assert not answer.abandoned

    class ParsedRequest(GenServer):
        async def ask(self) -> Deferred[str]:
            return answer

    ref: Ref[ParsedRequest] = Ref("asked")
    async with running(Supervisor([Child(ref=ref, start=ParsedRequest)])):
        with trio.move_on_after(1):
            await ref.call(ParsedRequest.ask)
        assert answer.abandoned
        answer.reply("too late")
        assert not answer.abandoned


async def test_a_trace_names_messages_and_not_their_contents(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []

    def broken(name: str) -> None:
        raise Bang("tracer")

    async with running(harness.supervisor(harness.child("a"))) as tree:
        with trace(harness["a"], seen.append), trace(tree.ref, seen.append), trace(harness["a"], broken):
            await harness["a"].call(Actor.note, "sk-secret")
            harness["a"].info("sk-secret")
            harness["a"].cast(Actor.crash, Bang("sk-secret"))
            await settle()
            await harness["a"].call(Actor.add, 5)
        await harness["a"].call(Actor.add, 5)
    named = [name for name in seen if not name.startswith("event")]  # those are for its supervisor
    assert named == ["call Actor.note", "info str", "cast Actor.crash", "call Actor.add"]
    assert len(named) < len(seen)
    assert "a tracer failed" in caplog.text


async def test_terminate_of_a_supervisor_runs_after_its_children_stopped(harness: Harness) -> None:
    class Mine(Supervisor):
        async def terminate(self, reason: ExitReason) -> None:
            harness.log.append(f"supervisor: {reason}")

    async with running(Mine([harness.child("a")])) as tree:
        harness.take_log()
        await tree.stop()
    assert harness.take_log() == ["terminate a", "supervisor: was shut down"]


async def test_terminate_of_a_supervisor_does_not_run_when_its_init_was_interrupted(harness: Harness) -> None:
    class Mine(Supervisor):
        async def terminate(self, reason: ExitReason) -> None:
            harness.log.append("terminated")

    async def hang(actor: Actor) -> None:
        await trio.sleep_forever()

    async with running(harness.supervisor()) as tree:
        spec: Child[Any] = Child(
            ref=harness["s"], start=lambda: Mine([harness.child("a", on_init=hang, shutdown=None)])
        )
        tree.ref.cast(Supervisor.start_child, spec)
        await settle()
        await tree.stop()
    assert "terminated" not in harness.log


async def test_a_killed_supervisor_still_stops_its_children_in_order(harness: Harness) -> None:
    spec = harness.sub("s", *harness.children("ab"), restart=TEMPORARY)
    async with running(harness.supervisor(spec)):
        monitor = harness["s"].monitor()
        harness.take_log()
        harness["s"].kill()
        assert (await monitor.down()).reason == Killed()
        assert harness.take_log() == ["terminate b", "terminate a"]


def test_the_default_of_shutdown_is_not_a_number() -> None:
    from cortex_trio.otp import Grace

    assert Child(ref=Ref("a"), start=GenServer).shutdown is Grace.BY_KIND
    assert Child(ref=Ref("a"), start=GenServer, shutdown=math.inf).shutdown == math.inf
