"""Where the kernel meets Trio: interrupts, exceptions, contexts, leaks (behaviours 131 to 138)."""

import contextvars
import gc
import signal
import weakref
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import trio
from stage import TRANSIENT, Actor, Bang, Stage, crashed_with, running, settle

from cortex_trio.otp import (
    ActorExited,
    Child,
    DynamicSupervisor,
    GenServer,
    Killed,
    MaxRestartsExceeded,
    Ref,
    Supervisor,
    describe,
    open_tree,
    run,
)
from cortex_trio.otp.nursery import open_flat_nursery


@pytest.fixture
def stage() -> Stage:
    return Stage()


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_the_end_of_the_program_is_no_crash(stage: Stage, error: BaseException) -> None:
    """131. SystemExit or KeyboardInterrupt inside a child: no restart, the others stop in order, it goes out."""

    async def raise_it(actor: Actor) -> None:
        raise error

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            tree = stage.supervisor(
                stage.child("a"), stage.sub("sub", *stage.children("bc")), stage.child("d")
            )
            await nursery.start(run, tree)
            stage["b"].cast(Actor.run_here, raise_it)

    with pytest.raises(BaseExceptionGroup) as caught:
        trio.run(main)
    assert caught.value.subgroup(type(error)) is not None
    assert caught.value.split(type(error))[1] is None
    assert stage.incarnations == {"a": 1, "b": 1, "c": 1, "d": 1}
    assert [name for name in stage.take_log() if name.startswith("terminate")][-1] == "terminate a"
    assert "child_terminated b" not in stage.told()


def test_control_c_stops_the_tree_in_order(stage: Stage) -> None:
    """131. A real SIGINT, while everybody is idle."""

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(run, stage.supervisor(*stage.children("abc")))
            stage.take_log()
            signal.raise_signal(signal.SIGINT)
            await trio.sleep_forever()

    with pytest.raises(BaseExceptionGroup) as caught:
        trio.run(main)
    assert caught.value.subgroup(KeyboardInterrupt) is not None
    assert stage.take_log() == ["terminate c", "terminate b", "terminate a"]


async def nested(error: BaseException, levels: int) -> None:
    """Raise `error` through as many nurseries."""
    if not levels:
        raise error
    async with trio.open_nursery() as nursery:
        nursery.start_soon(nested, error, levels - 1)


async def run_together(*tasks: Callable[[], Awaitable[None]]) -> None:
    """Run these in one flat nursery whose block waits until it is cancelled."""
    async with open_flat_nursery() as nursery:
        for task in tasks:
            nursery.start_soon(task)
        await trio.sleep_forever()


@pytest.mark.parametrize("levels", [0, 2])
@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_a_single_interrupt_in_a_server_leaves_open_tree_as_itself(
    stage: Stage, error: BaseException, levels: int
) -> None:
    """131. As before the tree was there: `except KeyboardInterrupt` around trio.run catches it."""

    async def main() -> None:
        async with open_tree(stage.supervisor(stage.sub("sub", stage.child("a")), stage.child("b"))):
            stage["a"].cast(Actor.run_here, lambda actor: nested(error, levels))
            await trio.sleep_forever()

    with pytest.raises(type(error)) as caught:
        trio.run(main)
    assert caught.value is error


async def test_an_interrupt_beside_a_crash_stays_in_the_group() -> None:
    """131. Neither of the two is lost."""
    with pytest.raises(BaseExceptionGroup) as caught:
        await run_together(partial(nested, KeyboardInterrupt(), 1), partial(nested, Bang(), 0))
    assert caught.value.subgroup(KeyboardInterrupt) is not None
    assert caught.value.subgroup(Bang) is not None


async def test_a_group_that_a_task_raised_stays_a_group() -> None:
    with pytest.raises(ExceptionGroup, match="of the task"):
        await run_together(partial(nested, ExceptionGroup("of the task", [Bang()]), 0))


async def test_a_flat_nursery_keeps_the_context_of_an_exception() -> None:
    """It is the exception that was handled where it was raised, not the cancellation of the nursery's block."""
    first = LookupError("first")

    async def fail_twice() -> None:
        try:
            raise first
        except LookupError:
            raise Bang  # noqa: B904 - the context is what is tested

    with pytest.raises(Bang) as caught:
        await run_together(fail_twice)
    assert caught.value.__context__ is first


async def test_giving_up_at_the_root(stage: Stage) -> None:
    """132. The user's nursery raises a group of one MaxRestartsExceeded; its cause is a group of the crashes."""

    async def program() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(run, stage.supervisor(*stage.children("ab"), max_restarts=2))
            await stage.crash("a", "b", "a")
            await trio.sleep_forever()

    with pytest.raises(ExceptionGroup) as caught:
        await program()
    (error,) = caught.value.exceptions
    assert isinstance(error, MaxRestartsExceeded)
    assert isinstance(error.__cause__, ExceptionGroup)
    assert [str(crash) for crash in error.__cause__.exceptions] == ["a", "b", "a"]


async def test_only_the_crashes_in_the_window_are_kept(stage: Stage, autojump_clock: object) -> None:
    """132. Old ones are forgotten: an exception pins its frames."""
    async with running(stage.supervisor(stage.child("a"), max_restarts=1, max_seconds=5)) as tree:
        for number in range(20):
            stage["a"].cast(Actor.crash, Bang(str(number)))
            await trio.sleep(10)
        stage["a"].cast(Actor.crash, Bang("last but one"))
        await settle()
        stage["a"].cast(Actor.crash, Bang("last"))
        await tree.ended.wait()
        assert isinstance(tree.error, MaxRestartsExceeded)
        crashes = tree.error.__cause__.exceptions  # type: ignore[union-attr]
        assert [str(crash) for crash in crashes] == ["last but one", "last"]


async def test_giving_up_three_levels_deep_is_flat(stage: Stage) -> None:
    """133. All permanent with limit 0: exactly one flat exception, whose causes lead down to the crash."""
    leaf = stage.sub("low", stage.child("a"), max_restarts=0)
    root = stage.supervisor(stage.sub("middle", leaf, max_restarts=0), max_restarts=0)
    async with running(root) as tree:
        stage["a"].cast(Actor.crash, Bang("deep"))
        await tree.ended.wait()
        path, error = [], tree.error
        while isinstance(error, MaxRestartsExceeded):
            path.append(error.supervisor)
            (error,) = error.__cause__.exceptions  # type: ignore[union-attr]
        assert path == ["root", "middle", "low"]
        assert isinstance(error, Bang)


async def test_a_killed_root_tells(stage: Stage) -> None:
    """132. run raises ActorExited(Killed): that was no orderly shutdown; the children were stopped in order."""
    async with running(stage.supervisor(*stage.children("ab"))) as tree:
        stage.take_log()
        tree.ref.kill()
        await tree.ended.wait()
        assert isinstance(tree.error, ActorExited)
        assert tree.error.reason == Killed()
        assert stage.take_log() == ["terminate b", "terminate a"]


place: contextvars.ContextVar[str] = contextvars.ContextVar("place", default="nowhere")


async def test_context_comes_from_the_starter_of_the_tree(stage: Stage) -> None:
    """134. The caller's is not visible in the handler; the starter's is, in every incarnation."""

    class Reader(Actor):
        async def read(self) -> str:
            return place.get()

    place.set("the starter")
    async with running(stage.supervisor(Child(ref=stage["a"], start=lambda: Reader(stage)))):
        place.set("the caller")
        for _ in range(3):
            assert await stage["a"].call(Reader.read) == "the starter"
            await stage.crash("a")


async def test_nothing_survives_the_tree(
    stage: Stage, autojump_clock: object, caplog: pytest.LogCaptureFixture
) -> None:
    """135. No task, no server, no process; channels left open would be warnings, and warnings are errors."""
    caplog.set_level("CRITICAL", logger="cortex_trio.otp")  # pytest keeps what is logged, frames and all
    servers: weakref.WeakSet[GenServer] = weakref.WeakSet()

    async def remember(actor: Actor) -> None:
        servers.add(actor)
        actor.send_after(1000, "never")
        actor.monitor(stage["a"])

    async with trio.open_nursery() as nursery:
        tree = stage.supervisor(
            stage.child("a", on_init=remember), stage.sub("s", stage.child("b", on_init=remember))
        )
        tasks_before = set(nursery.child_tasks)
        await nursery.start(run, tree)
        processes = weakref.WeakSet(ref.process for ref in (stage["a"], stage["b"], stage["s"]))
        await stage.crash("a", "b")
        assert len(nursery.child_tasks) == 1
        nursery.cancel_scope.cancel()
    del tree
    assert set(nursery.child_tasks) == tasks_before == set()
    await settle()
    stage.reports.clear()  # reports and reasons hold the crashes, and a crash holds its frames
    stage.reasons.clear()
    gc.collect()
    assert not stage["a"].alive
    assert list(servers) == []
    assert list(processes) == []


async def test_an_idle_server_does_not_keep_its_last_request(stage: Stage) -> None:
    """135. What a request carried is free when it was handled."""

    class Prompt:
        pass

    async with running(stage.supervisor(stage.child("a"))):
        prompt = Prompt()
        trace = weakref.ref(prompt)
        await stage["a"].call(Actor.note, prompt)
        stage.log.clear()
        del prompt
        await settle()
        gc.collect()
        assert trace() is None


def test_any_schedule_gives_the_same_story() -> None:
    """136. Trio shuffles its batches: fifty runs of one busy scenario tell the same."""
    stories = [_story() for _ in range(50)]
    assert stories == [stories[0]] * 50
    assert stories[0][-3:] == ["terminate c", "terminate b", "terminate a"]


def _story() -> list[str]:
    stage = Stage()

    async def main() -> None:
        tree = stage.supervisor(*stage.children("abc"), stage.dynamic(), max_restarts=9)
        async with trio.open_nursery() as nursery:
            await nursery.start(run, tree)
            for name in "abcab":
                await stage.crash(name)
                async with trio.open_nursery() as callers:
                    for other in "abc":
                        callers.start_soon(stage[other].call, Actor.add)
            nursery.cancel_scope.cancel()

    trio.run(main)
    return stage.take_log()


async def test_a_flood_of_casts_starves_nobody(stage: Stage) -> None:
    """137. Another task gets a turn per message."""
    async with running(stage.supervisor(stage.child("a"))):
        for _ in range(1000):
            stage["a"].cast(Actor.add)
        turns = 0
        while stage["a"].process.mailbox.queue:
            turns += 1
            await trio.lowlevel.checkpoint()
        assert turns >= 500
        assert await stage["a"].call(Actor.add) == 1001


class Counter(GenServer):
    """Handles ten messages in a row."""

    messages_per_turn = 10

    def __init__(self) -> None:
        self.count = 0

    async def add(self) -> None:
        self.count += 1

    async def kill_itself(self) -> None:
        self.ref.kill()


async def test_a_server_may_handle_several_messages_in_a_row_but_no_more(nursery: trio.Nursery) -> None:
    ref = Ref[Counter]("counter")
    await nursery.start(run, Supervisor([Child(ref=ref, start=Counter)]))
    assert ref.process is not None
    for _ in range(1000):
        ref.cast(Counter.add)
    turns = 0
    while ref.process.mailbox.queue:
        turns += 1
        await trio.lowlevel.checkpoint()
    assert 100 <= turns <= 110


async def test_who_is_killed_in_the_middle_of_a_row_handles_no_more(nursery: trio.Nursery) -> None:
    ref = Ref[Counter]("counter")
    await nursery.start(run, Supervisor([Child(ref=ref, start=Counter)]))
    assert ref.process is not None
    server, down = ref.process.server, ref.monitor()
    assert isinstance(server, Counter)
    for method in (Counter.add, Counter.kill_itself, Counter.add):
        ref.cast(method)
    assert isinstance((await down.down()).reason, Killed)
    assert server.count == 1


async def test_failures_cascade_along_calls(stage: Stage, autojump_clock: object) -> None:
    """138. TooSlowError in a handler is a crash of that server, and of servers that wait for it, as in OTP."""

    async def too_slow(actor: Actor) -> None:
        with trio.fail_after(1):
            await trio.sleep(2)

    async def wait_for_b(actor: Actor) -> None:
        await stage["b"].call(Actor.run_here, too_slow)

    async with running(stage.supervisor(*stage.children("ab"))):
        with pytest.raises(ActorExited) as caught:
            await stage["a"].call(Actor.run_here, wait_for_b)
        middle = crashed_with(caught.value.reason)
        assert isinstance(middle, ActorExited)
        assert isinstance(crashed_with(middle.reason), trio.TooSlowError)
        await settle()
        assert stage.told() == ["child_terminated b", "child_terminated a"]
        assert stage.incarnations == {"a": 2, "b": 2}


async def test_tasks_are_named_after_their_children(stage: Stage) -> None:
    """135. Instruments and tracebacks read well."""
    async with running(stage.supervisor(stage.child("till"))):
        task = stage["till"].process.task
        assert task is not None
        assert task.name == "till"


async def test_the_tree_can_be_drawn_at_any_time(stage: Stage, autojump_clock: object) -> None:
    """135. describe reads what is published: states, restarts, messages that wait; it asks nobody."""

    async def sleep_a_second(actor: Actor) -> None:
        await trio.sleep(1)

    children = [stage.child("till"), stage.child("idle", restart=TRANSIENT), stage.dynamic("printers")]
    async with running(stage.supervisor(*children)) as tree:
        await stage["printers"].call(DynamicSupervisor.start_child, stage.child("laser"))
        await stage.crash("till", "till")
        stage["idle"].cast(Actor.leave)
        await settle()
        stage["till"].cast(Actor.run_here, sleep_a_second)
        await settle()
        stage["till"].cast(Actor.add)
        assert describe(tree.ref).splitlines() == [
            "root           Supervisor         running",
            "├── till       Actor              running, 2 restarts, 1 message waits",
            "├── idle       Actor              stopped",
            "└── printers   DynamicSupervisor  running",
            "    └── laser  Actor              running",
        ]
    assert describe(tree.ref) == "root  not running"


def test_a_ref_says_who_it_is(stage: Stage) -> None:
    """135. For people who debug."""
    ref: Ref[Any] = stage["a"]
    assert repr(ref) == "<Ref 'a' without a process>"
