"""The kernel and Trio: interrupts, exceptions, contexts, leaks (behaviours 131 to 138)."""

import contextvars
import gc
import signal
import weakref
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import trio
from harness import TRANSIENT, Actor, Bang, Harness, crashed_with, running, settle

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
def harness() -> Harness:
    return Harness()


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_an_interrupt_in_a_server_is_no_crash(harness: Harness, error: BaseException) -> None:
    """131. SystemExit or KeyboardInterrupt inside a child: no restart, the others stop in order, and it is raised."""

    async def raise_it(actor: Actor) -> None:
        raise error

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            tree = harness.supervisor(
                harness.child("a"), harness.sub("sub", *harness.children("bc")), harness.child("d")
            )
            await nursery.start(run, tree)
            harness["b"].cast(Actor.run_here, raise_it)

    with pytest.raises(BaseExceptionGroup) as caught:
        trio.run(main)
    assert caught.value.subgroup(type(error)) is not None
    assert caught.value.split(type(error))[1] is None
    assert harness.incarnations == {"a": 1, "b": 1, "c": 1, "d": 1}
    assert [name for name in harness.take_log() if name.startswith("terminate")][-1] == "terminate a"
    assert "child_terminated b" not in harness.reported()


def test_control_c_stops_the_tree_in_order(harness: Harness) -> None:
    """131. A real SIGINT, while all servers are idle."""

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(run, harness.supervisor(*harness.children("abc")))
            harness.take_log()
            signal.raise_signal(signal.SIGINT)
            await trio.sleep_forever()

    with pytest.raises(BaseExceptionGroup) as caught:
        trio.run(main)
    assert caught.value.subgroup(KeyboardInterrupt) is not None
    assert harness.take_log() == ["terminate c", "terminate b", "terminate a"]


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
    harness: Harness, error: BaseException, levels: int
) -> None:
    """131. `except KeyboardInterrupt` around trio.run catches it, as in a program without a tree."""

    async def main() -> None:
        async with open_tree(harness.supervisor(harness.sub("sub", harness.child("a")), harness.child("b"))):
            harness["a"].cast(Actor.run_here, lambda actor: nested(error, levels))
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


async def test_a_root_that_gives_up_raises_one_exception(harness: Harness) -> None:
    """132. The user's nursery raises a group of one MaxRestartsExceeded; its cause is a group of the crashes."""

    async def program() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(run, harness.supervisor(*harness.children("ab"), max_restarts=2))
            await harness.crash("a", "b", "a")
            await trio.sleep_forever()

    with pytest.raises(ExceptionGroup) as caught:
        await program()
    (error,) = caught.value.exceptions
    assert isinstance(error, MaxRestartsExceeded)
    assert isinstance(error.__cause__, ExceptionGroup)
    assert [str(crash) for crash in error.__cause__.exceptions] == ["a", "b", "a"]


async def test_only_the_crashes_in_the_window_are_the_cause(harness: Harness, autojump_clock: object) -> None:
    """132. Older ones are forgotten: an exception keeps its frames alive."""
    async with running(harness.supervisor(harness.child("a"), max_restarts=1, max_seconds=5)) as tree:
        for number in range(20):
            harness["a"].cast(Actor.crash, Bang(str(number)))
            await trio.sleep(10)
        harness["a"].cast(Actor.crash, Bang("last but one"))
        await settle()
        harness["a"].cast(Actor.crash, Bang("last"))
        await tree.ended.wait()
        assert isinstance(tree.error, MaxRestartsExceeded)
        crashes = tree.error.__cause__.exceptions  # type: ignore[union-attr]
        assert [str(crash) for crash in crashes] == ["last but one", "last"]


async def test_giving_up_three_levels_deep_raises_one_exception(harness: Harness) -> None:
    """133. All permanent with limit 0: exactly one exception, whose chain of causes ends with the crash."""
    leaf = harness.sub("low", harness.child("a"), max_restarts=0)
    root = harness.supervisor(harness.sub("middle", leaf, max_restarts=0), max_restarts=0)
    async with running(root) as tree:
        harness["a"].cast(Actor.crash, Bang("deep"))
        await tree.ended.wait()
        path, error = [], tree.error
        while isinstance(error, MaxRestartsExceeded):
            path.append(error.supervisor)
            (error,) = error.__cause__.exceptions  # type: ignore[union-attr]
        assert path == ["root", "middle", "low"]
        assert isinstance(error, Bang)


async def test_a_killed_root_raises_actor_exited(harness: Harness) -> None:
    """132. run raises ActorExited(Killed): that was no orderly shutdown; the children were stopped in order."""
    async with running(harness.supervisor(*harness.children("ab"))) as tree:
        harness.take_log()
        tree.ref.kill()
        await tree.ended.wait()
        assert isinstance(tree.error, ActorExited)
        assert tree.error.reason == Killed()
        assert harness.take_log() == ["terminate b", "terminate a"]


place: contextvars.ContextVar[str] = contextvars.ContextVar("place", default="nowhere")


async def test_context_comes_from_the_starter_of_the_tree(harness: Harness) -> None:
    """134. The caller's is not visible in the handler; the starter's is, in every incarnation."""

    class Reader(Actor):
        async def read(self) -> str:
            return place.get()

    place.set("the starter")
    async with running(harness.supervisor(Child(ref=harness["a"], start=lambda: Reader(harness)))):
        place.set("the caller")
        for _ in range(3):
            assert await harness["a"].call(Reader.read) == "the starter"
            await harness.crash("a")


@pytest.mark.slow
async def test_nothing_survives_the_tree(
    harness: Harness, autojump_clock: object, caplog: pytest.LogCaptureFixture
) -> None:
    """135. No task, no server, no process; channels left open would be warnings, and warnings are errors."""
    caplog.set_level("CRITICAL", logger="cortex_trio.otp")  # pytest keeps what is logged, frames and all
    servers: weakref.WeakSet[GenServer] = weakref.WeakSet()

    async def remember(actor: Actor) -> None:
        servers.add(actor)
        actor.send_after(1000, "never")
        actor.monitor(harness["a"])

    async with trio.open_nursery() as nursery:
        tree = harness.supervisor(
            harness.child("a", on_init=remember), harness.sub("s", harness.child("b", on_init=remember))
        )
        tasks_before = set(nursery.child_tasks)
        await nursery.start(run, tree)
        processes = weakref.WeakSet(ref.process for ref in (harness["a"], harness["b"], harness["s"]))
        await harness.crash("a", "b")
        assert len(nursery.child_tasks) == 1
        nursery.cancel_scope.cancel()
    del tree
    assert set(nursery.child_tasks) == tasks_before == set()
    await settle()
    harness.reports.clear()  # reports and reasons hold the crashes, and a crash holds its frames
    harness.reasons.clear()
    gc.collect()
    assert not harness["a"].alive
    assert list(servers) == []
    assert list(processes) == []


@pytest.mark.slow
async def test_an_idle_server_does_not_keep_its_last_request(harness: Harness) -> None:
    """135. The arguments of a request are freed after it was handled."""

    class Prompt:
        pass

    async with running(harness.supervisor(harness.child("a"))):
        prompt = Prompt()
        trace = weakref.ref(prompt)
        await harness["a"].call(Actor.note, prompt)
        harness.log.clear()
        del prompt
        await settle()
        gc.collect()
        assert trace() is None


def test_every_schedule_gives_the_same_result() -> None:
    """136. Trio shuffles its batches: fifty runs of one scenario have the same result."""
    stories = [_story() for _ in range(50)]
    assert stories == [stories[0]] * 50
    assert stories[0][-3:] == ["terminate c", "terminate b", "terminate a"]


def _story() -> list[str]:
    harness = Harness()

    async def main() -> None:
        tree = harness.supervisor(*harness.children("abc"), harness.dynamic(), max_restarts=9)
        async with trio.open_nursery() as nursery:
            await nursery.start(run, tree)
            for name in "abcab":
                await harness.crash(name)
                async with trio.open_nursery() as callers:
                    for other in "abc":
                        callers.start_soon(harness[other].call, Actor.add)
            nursery.cancel_scope.cancel()

    trio.run(main)
    return harness.take_log()


async def test_many_casts_let_other_tasks_run(harness: Harness) -> None:
    """137. Another task gets a turn per message."""
    async with running(harness.supervisor(harness.child("a"))):
        for _ in range(1000):
            harness["a"].cast(Actor.add)
        turns = 0
        while harness["a"].process.mailbox.queue:
            turns += 1
            await trio.lowlevel.checkpoint()
        assert turns >= 500
        assert await harness["a"].call(Actor.add) == 1001


class Counter(GenServer):
    """Handles ten messages in a row."""

    messages_per_turn = 10

    def __init__(self) -> None:
        self.count = 0

    async def add(self) -> None:
        self.count += 1

    async def kill_itself(self) -> None:
        self.ref.kill()


async def test_a_server_handles_at_most_messages_per_turn_in_a_row(nursery: trio.Nursery) -> None:
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


async def test_a_server_killed_within_a_turn_handles_no_more(nursery: trio.Nursery) -> None:
    ref = Ref[Counter]("counter")
    await nursery.start(run, Supervisor([Child(ref=ref, start=Counter)]))
    assert ref.process is not None
    server, down = ref.process.server, ref.monitor()
    assert isinstance(server, Counter)
    for method in (Counter.add, Counter.kill_itself, Counter.add):
        ref.cast(method)
    assert isinstance((await down.down()).reason, Killed)
    assert server.count == 1


async def test_failures_cascade_along_calls(harness: Harness, autojump_clock: object) -> None:
    """138. TooSlowError in a handler is a crash of that server, and of servers that wait for it, as in OTP."""

    async def too_slow(actor: Actor) -> None:
        with trio.fail_after(1):
            await trio.sleep(2)

    async def wait_for_b(actor: Actor) -> None:
        await harness["b"].call(Actor.run_here, too_slow)

    async with running(harness.supervisor(*harness.children("ab"))):
        with pytest.raises(ActorExited) as caught:
            await harness["a"].call(Actor.run_here, wait_for_b)
        middle = crashed_with(caught.value.reason)
        assert isinstance(middle, ActorExited)
        assert isinstance(crashed_with(middle.reason), trio.TooSlowError)
        await settle()
        assert harness.reported() == ["child_terminated b", "child_terminated a"]
        assert harness.incarnations == {"a": 2, "b": 2}


async def test_tasks_are_named_after_their_children(harness: Harness) -> None:
    """135. The names are shown by instruments and in tracebacks."""
    async with running(harness.supervisor(harness.child("till"))):
        task = harness["till"].process.task
        assert task is not None
        assert task.name == "till"


async def test_describe_shows_the_tree_at_any_time(harness: Harness, autojump_clock: object) -> None:
    """135. describe shows states, restarts and queued messages, and sends no message."""

    async def sleep_a_second(actor: Actor) -> None:
        await trio.sleep(1)

    children = [harness.child("till"), harness.child("idle", restart=TRANSIENT), harness.dynamic("printers")]
    async with running(harness.supervisor(*children)) as tree:
        await harness["printers"].call(DynamicSupervisor.start_child, harness.child("laser"))
        await harness.crash("till", "till")
        harness["idle"].cast(Actor.leave)
        await settle()
        harness["till"].cast(Actor.run_here, sleep_a_second)
        await settle()
        harness["till"].cast(Actor.add)
        assert describe(tree.ref).splitlines() == [
            "root           Supervisor         running",
            "├── till       Actor              running, 2 restarts, 1 message waits",
            "├── idle       Actor              stopped",
            "└── printers   DynamicSupervisor  running",
            "    └── laser  Actor              running",
        ]
    assert describe(tree.ref) == "root  not running"


def test_the_repr_of_a_ref_has_its_name(harness: Harness) -> None:
    """135. For debugging."""
    ref: Ref[Any] = harness["a"]
    assert repr(ref) == "<Ref 'a' without a process>"
