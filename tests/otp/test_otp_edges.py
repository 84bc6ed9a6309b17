"""The edges of the kernel: what went wrong at them once, one test for each."""

import copy
import gc
import logging
import math
import pickle
import time
import weakref
from typing import Any

import pytest
import trio
from harness import TEMPORARY, TRANSIENT, Actor, Bang, Harness, crashed_with, running, settle

from cortex_trio.otp import (
    ActorExited,
    Backoff,
    CallingSelf,
    Child,
    ChildInfo,
    Crashed,
    Deferred,
    DynamicSupervisor,
    GenServer,
    Ignore,
    Killed,
    MailboxFull,
    MaxChildrenReached,
    MaxRestartsExceeded,
    NoProcess,
    Normal,
    Ref,
    Registry,
    Reject,
    Shutdown,
    StartFailed,
    Stop,
    Strategy,
    Supervisor,
    TaskSupervisor,
    run,
)


@pytest.fixture
def harness() -> Harness:
    return Harness()


def takes(seconds: float) -> Any:
    async def act(actor: Actor) -> None:
        await trio.sleep(seconds)

    return act


def only_leaf(error: BaseException) -> BaseException:
    """The one exception in any number of groups."""
    while isinstance(error, BaseExceptionGroup):
        (error,) = error.exceptions
    return error


# ---------------------------------------------------------------- a supervisor object that runs already


async def test_a_running_supervisor_object_is_rejected_unchanged(
    harness: Harness, autojump_clock: object
) -> None:
    root = harness.supervisor(*harness.children("ab"))
    async with running(root) as tree:
        with pytest.raises(ExceptionGroup) as caught:
            async with trio.open_nursery() as nursery:
                await nursery.start(run, root)
        assert "ran before" in str(only_leaf(caught.value))
        assert await harness["a"].call(Actor.add) == 1  # the first run goes on
        await harness.crash("b")
        assert await harness["b"].call(Actor.add) == 1  # and restarts its children
        with trio.fail_after(1):
            await tree.stop()
        assert tree.error is None


async def test_two_children_cannot_share_one_supervisor_object(
    harness: Harness, autojump_clock: object
) -> None:
    shared = harness.supervisor(harness.child("a"))
    first: Child[Any] = Child(ref=harness["s"], start=lambda: shared, shutdown=math.inf)
    async with running(harness.supervisor(first)) as tree:
        second: Child[Any] = Child(ref=harness["t"], start=lambda: shared, shutdown=math.inf)
        with pytest.raises(StartFailed):
            await tree.ref.call(Supervisor.start_child, second)
        assert await harness["a"].call(Actor.add) == 1
        with trio.fail_after(1):
            await tree.stop()


# ---------------------------------------------------------------- overriding


async def test_a_call_of_the_base_class_method_reaches_the_override(harness: Harness) -> None:
    class Base(GenServer):
        async def name(self) -> str:
            return "base"

        async def both(self) -> str:
            return "base"

    class Derived(Base):
        async def name(self) -> str:
            return "derived"

        async def both(self) -> str:
            return f"derived and {await super().both()}"

    ref: Ref[Base] = Ref("derived")
    async with running(Supervisor([Child(ref=ref, start=Derived)])):
        assert await ref.call(Base.name) == "derived"
        assert await ref.call(Base.both) == "derived and base"


async def test_a_function_that_is_no_method_of_the_class_is_called_unchanged(harness: Harness) -> None:
    async def add(actor: Actor) -> str:  # its name is that of a method, and it is none
        return f"not {actor.count + 1}"

    async with running(harness.supervisor(harness.child("a"))):
        assert await harness["a"].call(add) == "not 1"


# ---------------------------------------------------------------- long work that is not taken


class Kitchen(GenServer):
    """Answers from tasks, as in the documentation."""

    def __init__(self, tasks: Ref[TaskSupervisor]) -> None:
        self.tasks = tasks

    async def order(self, dish: str) -> Deferred[str]:
        answer: Deferred[str] = Deferred()
        try:
            await self.tasks.call(TaskSupervisor.start_soon, answer.reply_with, cook, dish)
        except (MaxChildrenReached, NoProcess) as error:
            raise Reject(error) from None
        return answer


async def cook(dish: str) -> str:
    await trio.sleep(1)
    return f"{dish}, hot"


async def test_a_call_whose_task_is_refused_fails_at_once(harness: Harness, autojump_clock: object) -> None:
    tasks: Ref[TaskSupervisor] = harness["tasks"]
    children: list[Child[Any]] = [
        Child(ref=tasks, start=lambda: TaskSupervisor(max_children=1)),
        Child(ref=harness["kitchen"], start=lambda: Kitchen(tasks)),
    ]
    async with running(harness.supervisor(*children)) as tree:
        with trio.move_on_after(0.5):
            await harness["kitchen"].call(Kitchen.order, "soup")
        with pytest.raises(MaxChildrenReached):
            await harness["kitchen"].call(Kitchen.order, "salad")
        await tree.ref.call(Supervisor.terminate_child, "tasks")
        with pytest.raises(NoProcess):
            await harness["kitchen"].call(Kitchen.order, "tea")


async def test_a_rejected_cast_is_reported_and_counted(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    tasks: Ref[TaskSupervisor] = harness["tasks"]
    child: Child[Any] = Child(ref=tasks, start=lambda: TaskSupervisor(max_children=1))
    async with running(Supervisor([child])):
        for _ in range(3):
            tasks.cast(TaskSupervisor.start_soon, trio.sleep_forever)
        await settle()
        assert tasks.dead_letters == 2
        assert "MaxChildrenReached" in caplog.text
        assert "tasks" in caplog.text


# ---------------------------------------------------------------- checkpoints


async def test_a_retry_loop_without_a_wait_lets_other_tasks_run(harness: Harness) -> None:
    absent: Ref[Actor] = Ref("absent")
    others_ran = 0

    async def other() -> None:
        nonlocal others_ran
        while True:
            others_ran += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        for _ in range(100):
            with pytest.raises(NoProcess):
                await absent.call(Actor.add)
        nursery.cancel_scope.cancel()
    assert others_ran >= 50


async def test_a_retry_loop_without_a_wait_reaches_the_next_incarnation(harness: Harness) -> None:
    async with running(harness.supervisor(harness.child("a"))):
        harness["a"].cast(Actor.crash)
        await harness["a"].monitor().down()
        for _ in range(1000):
            try:
                assert await harness["a"].call(Actor.add) == 1
                break
            except NoProcess:
                continue
        else:
            raise AssertionError("the supervisor never had a turn")


# ---------------------------------------------------------------- backoff and intensity


async def test_a_failing_start_counts_when_it_fails(harness: Harness, autojump_clock: object) -> None:
    async def fail_later(actor: Actor) -> None:
        if actor.incarnation > 1:
            raise Bang

    slow = Backoff(first=30, factor=1, jitter=0)
    child = harness.child("a", on_init=fail_later, backoff=slow)
    async with running(harness.supervisor(child, max_restarts=1, max_seconds=3600)) as tree:
        await harness.crash("a")
        await trio.sleep(30.5)  # the restart was tried, and failed: that is one too many
        assert tree.ended.is_set()
        assert isinstance(tree.error, MaxRestartsExceeded)
        assert harness.reported() == ["child_terminated a", "start_error a", "max_restarts a"]


async def test_a_group_whose_start_fails_is_stopped_during_the_backoff(
    harness: Harness, autojump_clock: object
) -> None:
    """With a backoff too: those that did start are stopped at the failure, not when the delay ends."""

    async def fail_once(actor: Actor) -> None:
        if actor.incarnation == 2:
            raise Bang

    children = [
        harness.child("a"),
        harness.child("b", on_init=fail_once, backoff=Backoff(first=10, factor=1, jitter=0)),
    ]
    tree_of_two = harness.supervisor(*children, strategy=Strategy.ONE_FOR_ALL, max_restarts=9)
    async with running(tree_of_two) as tree:
        await harness.crash("b")
        await trio.sleep(10.5)
        assert await harness.states(tree.ref) == {"a": "stopped", "b": "restarting"}
        await trio.sleep(10)
        assert await harness.states(tree.ref) == {"a": "running", "b": "running"}
        assert harness.incarnations == {"a": 3, "b": 3}


async def test_the_default_backoff_and_intensity_fit_together(
    harness: Harness, autojump_clock: object
) -> None:
    """A child with a backoff that crashes at every start is started again with growing delays."""

    async def crash_at_once(actor: Actor) -> None:
        actor.ref.cast(Actor.crash)

    async with running(
        harness.supervisor(harness.child("a", on_init=crash_at_once, backoff=Backoff()))
    ) as tree:
        await trio.sleep(600)
        assert not tree.ended.is_set()
        assert 20 <= harness.incarnations["a"] <= 40  # 30 s between two, once it has grown


async def test_without_a_backoff_the_default_intensity_is_unchanged(harness: Harness) -> None:
    children = [harness.child("a"), harness.child("b", backoff=Backoff())]
    async with running(harness.supervisor(*children)) as tree:
        await harness.crash("a", "a", "a")
        assert not tree.ended.is_set()
        await harness.crash("a")
        assert tree.ended.is_set()


# ---------------------------------------------------------------- what grows with the number


async def exits_of_tasks(count: int) -> float:
    """CPU seconds until `count` tasks, all running at once, have ended and are forgotten."""
    tasks: Ref[TaskSupervisor] = Ref("tasks")
    gate = trio.Event()
    async with running(Supervisor([Child(ref=tasks, start=TaskSupervisor)])):
        for _ in range(count):
            await tasks.call(TaskSupervisor.start_soon, gate.wait)
        begin = time.process_time()
        gate.set()
        while await tasks.call(TaskSupervisor.which_children):
            await settle()
        return time.process_time() - begin


async def exits_of_namesakes(count: int) -> float:
    """The same for servers that are all registered under one key."""
    names: Registry[str, Actor] = Registry(unique=False)
    harness = Harness()
    async with running(harness.supervisor(harness.dynamic())):
        refs: list[Ref[Actor]] = [Ref(f"n{number}") for number in range(count)]
        for ref in refs:
            child = Child(ref=ref, start=lambda: Actor(harness), restart=TEMPORARY)
            await harness["pool"].call(DynamicSupervisor.start_child, child)
            names.register("many", ref)
        begin = time.process_time()
        for ref in reversed(refs):
            ref.cast(Actor.leave)
        await settle()
        spent = time.process_time() - begin
        assert names.lookup("many") == []
    return spent


@pytest.mark.slow
@pytest.mark.parametrize("exits", [exits_of_tasks, exits_of_namesakes], ids=lambda exits: exits.__name__)
async def test_an_exit_takes_the_same_time_among_many_processes(exits: Any) -> None:
    """Eight times as many take about eight times as long; if each looked at all others, up to 64 times.

    Without the garbage collector, whose work depends on all other objects.
    """
    gc.collect()
    gc.disable()
    try:
        few = min([await exits(250) for _ in range(3)])
        many = min([await exits(2000) for _ in range(2)])
    finally:
        gc.enable()
    assert many < 20 * few


async def test_timers_of_one_server_share_one_task(harness: Harness, autojump_clock: object) -> None:
    async def set_timers(actor: Actor) -> None:
        before = trio.lowlevel.current_statistics().tasks_living
        timers = [actor.send_after(1000 - number, number) for number in range(1000)]
        for timer in timers[500:]:
            timer.cancel()
        await settle()
        assert trio.lowlevel.current_statistics().tasks_living <= before + 1

    async with running(harness.supervisor(harness.child("a"))):
        await harness["a"].call(Actor.run_here, set_timers)
        await trio.sleep(2000)
        assert await harness["a"].call(Actor.received) == list(reversed(range(500)))


@pytest.mark.slow
async def test_cancelled_timers_are_forgotten(harness: Harness) -> None:
    class Payload:
        pass

    traces: list[weakref.ref[Payload]] = []

    async def set_and_cancel(actor: Actor) -> None:
        for _ in range(100):
            payload = Payload()
            traces.append(weakref.ref(payload))
            actor.send_after(1000, payload).cancel()

    async with running(harness.supervisor(harness.child("a"))):
        await harness["a"].call(Actor.run_here, set_and_cancel)
        await settle()
        gc.collect()
        assert [trace for trace in traces if trace() is not None] == []


# ---------------------------------------------------------------- hooks of subclasses


async def test_a_supervisor_with_its_own_handle_info_still_restarts(harness: Harness) -> None:
    heard: list[object] = []

    class Mine(Supervisor):
        async def handle_info(self, message: object) -> None:
            heard.append(message)

    async with running(Mine([harness.child("a")])) as tree:
        tree.ref.info("hello")
        await harness.crash("a")
        assert await harness["a"].call(Actor.add) == 1
        assert heard == ["hello"]


async def test_a_supervisor_with_its_own_init_still_starts_its_children(harness: Harness) -> None:
    class Without(Supervisor):
        async def init(self) -> None:
            harness.log.append("mine")

    class With(Supervisor):
        async def init(self) -> None:
            harness.log.append("before")
            await super().init()
            harness.log.append("after")

    async with running(Without([harness.child("a")])):
        assert await harness["a"].call(Actor.add) == 1
    async with running(With([harness.child("b")])):
        assert await harness["b"].call(Actor.add) == 1
    assert [line for line in harness.log if "terminate" not in line and "gone" not in line] == [
        "mine",
        "init a",
        "before",
        "init b",
        "after",
    ]


# ---------------------------------------------------------------- reasons and defaults of supervisors


async def test_monitors_of_the_root_get_the_reason_of_an_orderly_stop(harness: Harness) -> None:
    async with running(harness.supervisor(harness.child("a"))) as tree:
        monitor = tree.ref.monitor()
        await tree.stop()
        assert (await monitor.down()).reason == Shutdown()


async def test_an_overdue_supervisor_exits_with_the_reported_reason(
    harness: Harness, autojump_clock: object
) -> None:
    inner: Child[Any] = Child(
        ref=harness["inner"],
        start=lambda: harness.supervisor(harness.child("a", on_terminate=takes(2))),
        shutdown=1,
    )
    async with running(harness.supervisor(inner)) as tree:
        monitor = harness["inner"].monitor()
        await tree.stop()
        (report,) = [report for report in harness.reports if report.kind == "shutdown_error"]
        assert report.reason == (await monitor.down()).reason == Killed()
        assert "gone a" in harness.log  # for all that, its children stopped in order


async def test_a_supervisor_as_a_child_has_no_time_limit(harness: Harness, autojump_clock: object) -> None:
    """OTP: shutdown is infinity for supervisors, 5 s for workers, unless the spec sets it."""
    kinds: dict[str, Any] = {
        "static": lambda: harness.supervisor(harness.child("a", on_terminate=takes(60), shutdown=100)),
        "dynamic": lambda: DynamicSupervisor(report=harness.reports.append),
        "worker": lambda: Actor(harness, on_terminate=takes(60)),
    }
    specs = [Child(ref=harness[name], start=start) for name, start in kinds.items()]
    async with running(harness.supervisor(*specs)) as tree:
        await harness["dynamic"].call(
            DynamicSupervisor.start_child, harness.child("b", on_terminate=takes(60), shutdown=100)
        )
        begin = trio.current_time()
        await tree.stop()
        assert trio.current_time() - begin == pytest.approx(5 + 60 + 60)
        assert harness.reported() == ["shutdown_error worker"]


# ---------------------------------------------------------------- what piles up, what is kept


async def test_the_calls_of_cancelled_callers_count_against_the_mailbox_limit(
    harness: Harness, autojump_clock: object
) -> None:
    """In a bounded mailbox they count like casts, and beyond the limit they are removed."""
    async with running(harness.supervisor(harness.child("a", mailbox=10))):
        harness["a"].cast(Actor.run_here, takes(1000))
        await settle()
        for _ in range(100):
            with trio.move_on_after(1):
                await harness["a"].call(Actor.add)
        assert len(harness["a"].process.mailbox.queue) <= 10
        with pytest.raises(MailboxFull):
            harness["a"].cast(Actor.add)
        await trio.sleep(1000)
        assert await harness["a"].call(Actor.add) == 11  # those within the bound were handled
        for _ in range(10):
            harness["a"].cast(Actor.add)  # and all of the bound is free again


@pytest.mark.slow
async def test_the_frames_of_a_crash_are_not_kept_longer_than_its_window(
    harness: Harness, autojump_clock: object, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL + 1, logger="cortex_trio.otp")

    class Prompt:
        pass

    traces: list[weakref.ref[Prompt]] = []

    async def crash_with_a_prompt(actor: Actor) -> None:
        prompt = Prompt()
        traces.append(weakref.ref(prompt))
        raise Bang

    spec = harness.child("a")
    async with running(Supervisor([spec], max_seconds=5)):
        harness["a"].cast(Actor.run_here, crash_with_a_prompt)
        await trio.sleep(6)
        harness.reasons.clear()
        gc.collect()
        assert traces[0]() is None


@pytest.mark.slow
async def test_a_stopped_server_is_freed_without_the_garbage_collector(
    harness: Harness, autojump_clock: object
) -> None:
    servers: list[weakref.ref[Actor]] = []

    async def remember(actor: Actor) -> None:
        servers.append(weakref.ref(actor))

    async def hang(actor: Actor) -> None:
        await remember(actor)
        harness.log.append("hangs")

    children = [
        harness.child("a", on_init=remember),
        harness.child("b", on_init=hang, on_terminate=takes(1000), shutdown=1),
    ]
    gc.collect()
    gc.disable()
    try:
        async with running(harness.supervisor(*children)) as tree:
            for name in "ab":
                await tree.ref.call(Supervisor.terminate_child, name)
            await settle()
            assert [server() for server in servers] == [None, None]
    finally:
        gc.enable()


async def test_a_self_call_from_a_nursery_in_a_handler_is_refused(harness: Harness) -> None:
    seen: list[str] = []

    async def ask(actor: Actor, ref: Ref[Any], method: Any) -> None:
        try:
            await ref.call(method)
        except CallingSelf as error:
            seen.append(str(error))

    async def ask_from_a_nursery(actor: Actor) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, actor, actor.ref, Actor.add)
            async with trio.open_nursery() as inner:
                inner.start_soon(ask, actor, actor.ref, Actor.add)

    async def ask_the_parent_from_a_nursery(actor: Actor) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, actor, tree.ref, Supervisor.which_children)

    async with running(harness.supervisor(harness.child("a"))) as tree:
        with trio.fail_after(1):
            await harness["a"].call(Actor.run_here, ask_from_a_nursery)
            child = harness.child("b", on_init=ask_the_parent_from_a_nursery)
            await tree.ref.call(Supervisor.start_child, child)
        assert len(seen) == 3


async def test_a_cancelled_monitor_cannot_be_waited_for(harness: Harness, autojump_clock: object) -> None:
    async with running(harness.supervisor(harness.child("a"))), trio.open_nursery() as nursery:
        outcomes: list[type[Exception]] = []

        async def wait(monitor: Any) -> None:
            with trio.fail_after(10):
                try:
                    await monitor.down()
                except trio.ClosedResourceError as error:
                    outcomes.append(type(error))

        monitor = harness["a"].monitor()
        nursery.start_soon(wait, monitor)
        await settle()
        monitor.cancel()
        await settle()
        await wait(monitor)
        assert outcomes == [trio.ClosedResourceError] * 2


@pytest.mark.parametrize("depth", [1, 2])
async def test_stop_reject_and_ignore_may_be_raised_through_a_nursery(harness: Harness, depth: int) -> None:
    """A nursery wraps exceptions; a group with one of these counts as the exception itself."""

    async def raise_in_nurseries(error: Exception, depth: int) -> None:
        if depth == 0:
            raise error
        async with trio.open_nursery() as nursery:
            nursery.start_soon(raise_in_nurseries, error, depth - 1)

    class Strict(Actor):
        async def reject(self) -> None:
            await raise_in_nurseries(Reject(LookupError("no")), depth)

        async def leave_now(self) -> str:
            await raise_in_nurseries(Stop(Normal(), "bye"), depth)
            return "never"

    async def ignore(actor: Actor) -> None:
        await raise_in_nurseries(Ignore(), depth)

    specs: list[Child[Any]] = [
        Child(ref=harness["a"], start=lambda: Strict(harness), restart=TRANSIENT),
        harness.child("b", on_init=ignore),
    ]
    async with running(harness.supervisor(*specs)) as tree:
        assert await harness.states(tree.ref) == {"a": "running", "b": "stopped"}
        with pytest.raises(LookupError, match="no"):
            await harness["a"].call(Strict.reject)
        monitor = harness["a"].monitor()
        assert await harness["a"].call(Strict.leave_now) == "bye"
        assert (await monitor.down()).reason == Normal()
        assert harness.reported() == []


@pytest.mark.parametrize(
    "error",
    [
        ActorExited("a", Crashed(Bang("x")), started=True),
        ActorExited("a", Killed(), started=False),
        StartFailed("a", Crashed(Bang("x"))),
        MaxRestartsExceeded("root", 3, 5.0, [Bang("x"), Bang("y")]),
    ],
    ids=str,
)
def test_errors_can_be_copied_and_pickled(error: Any) -> None:
    error.add_note("seen")
    for twin in (copy.copy(error), copy.deepcopy(error), pickle.loads(pickle.dumps(error))):
        assert type(twin) is type(error)
        assert str(twin) == str(error)
        assert str(twin.__cause__) == str(error.__cause__)
        assert twin.__notes__ == ["seen"]
        for name in ("started", "child", "supervisor"):
            assert getattr(twin, name, None) == getattr(error, name, None)
        assert str(getattr(twin, "reason", None)) == str(getattr(error, "reason", None))


async def test_a_restart_that_ends_in_ignore_is_not_counted(harness: Harness) -> None:
    async def ignore_later(actor: Actor) -> None:
        if actor.incarnation > 1:
            raise Ignore

    async with running(harness.supervisor(harness.child("a", on_init=ignore_later))) as tree:
        await harness.crash("a")
        (info,) = await tree.ref.call(Supervisor.which_children)
        assert isinstance(info, ChildInfo)
        assert (str(info.state), info.restarts) == ("stopped", 0)


async def test_a_logging_filter_that_raises_crashes_no_supervisor(
    harness: Harness, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(record: logging.LogRecord) -> bool:
        raise RuntimeError("broken filter")

    logger = logging.getLogger("cortex_trio.otp")
    logger.addFilter(broken)
    try:
        async with running(harness.supervisor(harness.child("a"))) as tree:
            await harness.crash("a")
            harness["a"].info("unexpected")
            Ref[Actor]("absent").cast(Actor.add)
            tree.ref.info("unexpected")
            assert await harness["a"].call(Actor.add) == 1
            assert harness.reported() == ["child_terminated a"]  # observers are called all the same
    finally:
        logger.removeFilter(broken)


# ---------------------------------------------------------------- what beginners write


async def test_an_async_factory_is_explained(harness: Harness) -> None:
    async def build() -> Actor:
        return Actor(harness)

    async with running(harness.supervisor()) as tree:
        with pytest.raises(StartFailed) as caught:
            await tree.ref.call(Supervisor.start_child, Child(ref=harness["a"], start=build))  # type: ignore[arg-type]
        assert isinstance(caught.value.__cause__, TypeError)
        assert "async" in str(caught.value.__cause__)
        assert "init" in str(caught.value.__cause__)


async def test_a_factory_that_returns_something_else_is_explained(harness: Harness) -> None:
    async with running(harness.supervisor()) as tree:
        for wrong in (lambda: None, lambda: Actor):
            with pytest.raises(StartFailed) as caught:
                await tree.ref.call(Supervisor.start_child, Child(ref=harness["a"], start=wrong))  # type: ignore[arg-type,return-value]
            assert isinstance(caught.value.__cause__, TypeError)
            assert "GenServer" in str(caught.value.__cause__)


@pytest.mark.parametrize("what", ["send_after", "monitor", "ref"])
def test_a_timer_in_the_constructor_is_explained(harness: Harness, what: str) -> None:
    class Early(GenServer):
        def __init__(self) -> None:
            if what == "send_after":
                self.send_after(1, "tick")
            elif what == "monitor":
                self.monitor(harness["b"])
            else:
                print(self.ref)

    with pytest.raises(AttributeError, match=r"Early.*async def init"):
        Early()


async def test_a_sync_method_is_explained(harness: Harness) -> None:
    class Plain(GenServer):
        def add(self, number: int) -> int:
            return number

        def handle_info(self, message: object) -> None:  # type: ignore[override]
            pass

    async with running(harness.supervisor(Child(ref=harness["a"], start=Plain))):
        with pytest.raises(ActorExited) as caught:
            await harness["a"].call(Plain.add, 2)
        assert isinstance(caught.value.__cause__, TypeError)
        assert "async def" in str(caught.value.__cause__)
        assert "add" in str(caught.value.__cause__)
        await settle()
        monitor = harness["a"].monitor()
        harness["a"].info("tick")
        error = crashed_with((await monitor.down()).reason)
        assert "async def" in str(error)
        assert "handle_info" in str(error)


async def test_a_sync_init_is_explained(harness: Harness) -> None:
    class Plain(GenServer):
        def init(self) -> None:  # type: ignore[override]
            pass

    async with running(harness.supervisor()) as tree:
        with pytest.raises(StartFailed) as caught:
            await tree.ref.call(Supervisor.start_child, Child(ref=harness["a"], start=Plain))
        assert "async def" in str(caught.value.__cause__)
        assert "init" in str(caught.value.__cause__)


# ---------------------------------------------------------------- dead letters


async def test_messages_that_are_queued_at_the_exit_are_dead_letters(
    harness: Harness, autojump_clock: object
) -> None:
    async def set_timer(actor: Actor) -> None:
        actor.send_after(0, "a timer of the dead is no letter")
        actor.monitor(harness["absent"])
        await trio.sleep(1)
        raise Bang

    async with running(harness.supervisor(harness.child("a"))):
        harness["a"].cast(Actor.run_here, set_timer)
        harness["a"].cast(Actor.add)
        harness["a"].cast(Actor.add)
        harness["a"].info("lost")
        await trio.sleep(2)
        assert harness["a"].dead_letters == 3
