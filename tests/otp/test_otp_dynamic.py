"""Children on demand, tasks, and backoff (behaviours 116 to 129)."""

import gc
import itertools
import math
import sys
import time
from typing import Any

import pytest
import trio
from harness import TRANSIENT, Actor, Bang, Harness, running, settle
from hypothesis import given
from hypothesis import strategies as st

from cortex_trio.otp import (
    AlreadyStarted,
    Backoff,
    Child,
    ChildState,
    DynamicSupervisor,
    GenServer,
    Ignore,
    Killed,
    MaxChildrenReached,
    MaxRestartsExceeded,
    NotFound,
    Ref,
    Report,
    ReportKind,
    Restart,
    StartFailed,
    Strategy,
    Supervisor,
    TaskSupervisor,
)

SURE = Backoff(first=1, factor=2, most=10, jitter=0)


@pytest.fixture
def harness() -> Harness:
    return Harness()


async def add(harness: Harness, child: Child[Any]) -> None:
    await harness["pool"].call(DynamicSupervisor.start_child, child)


async def fail(actor: Actor) -> None:
    raise Bang


async def fail_later(actor: Actor) -> None:
    if actor.incarnation > 1:
        raise Bang


# ---------------------------------------------------------------- J. dynamic supervisor, tasks


async def test_a_full_supervisor_rejects_a_child(harness: Harness, autojump_clock: object) -> None:
    """116. A restarting child counts; terminating one makes room for another."""
    async with running(harness.supervisor(harness.dynamic(max_children=2))):
        await add(harness, harness.child("a", backoff=SURE))
        await add(harness, harness.child("b"))
        await harness.crash("a")
        assert await harness.states(harness["pool"]) == {"a": "restarting", "b": "running"}
        with pytest.raises(MaxChildrenReached):
            await add(harness, harness.child("c"))
        await harness["pool"].call(DynamicSupervisor.terminate_child, harness["a"])
        await add(harness, harness.child("c"))
        await trio.sleep(5)
        assert await harness.states(harness["pool"]) == {"b": "running", "c": "running"}


async def test_only_its_own_children_can_be_terminated(harness: Harness) -> None:
    """117. terminate_child of the child of another supervisor, or of a ref without a process: NotFound."""
    async with running(harness.supervisor(harness.child("other"), harness.dynamic())):
        await add(harness, harness.child("a", restart=Restart.TEMPORARY))
        await harness.crash("a")
        for name in ("other", "a"):
            with pytest.raises(NotFound, match=name):
                await harness["pool"].call(DynamicSupervisor.terminate_child, harness[name])
        assert harness["other"].alive


async def test_a_child_that_is_running_or_significant_cannot_be_added(harness: Harness) -> None:
    """117. A ref in use, a failing init, a significant child: rejected, and the supervisor is as it was."""
    async with running(harness.supervisor(harness.child("other"), harness.dynamic())):
        await add(harness, harness.child("a"))
        for name in ("other", "a"):
            with pytest.raises(AlreadyStarted, match=name):
                await add(harness, harness.child(name))
        with pytest.raises(StartFailed):
            await add(harness, harness.child("b", on_init=fail))
        with pytest.raises(ValueError, match="significant"):
            await add(harness, harness.child("s", significant=True, restart=TRANSIENT))
        assert await harness.states(harness["pool"]) == {"a": "running"}


async def test_dynamic_children_may_have_the_same_name(harness: Harness) -> None:
    """117. A child is identified by its ref."""
    twins: list[Ref[Actor]] = [Ref("twin"), Ref("twin")]
    async with running(harness.supervisor(harness.dynamic())):
        for ref in twins:
            await add(harness, Child(ref=ref, start=lambda: Actor(harness)))
        await harness["pool"].call(DynamicSupervisor.terminate_child, twins[0])
        assert [ref.alive for ref in twins] == [False, True]


async def test_a_dynamic_child_that_ignores_its_restart_is_forgotten(harness: Harness) -> None:
    """118. After its first start and after a restart; neither is an error."""

    async def ignore_later(actor: Actor) -> None:
        if actor.incarnation > 1:
            raise Ignore

    async with running(harness.supervisor(harness.dynamic())):
        await add(harness, harness.child("a", on_init=ignore_later))
        await harness.crash("a")
        assert await harness.states(harness["pool"]) == {}
        await add(harness, harness.child("a", on_init=ignore_later))
        assert await harness.states(harness["pool"]) == {}


async def test_a_dynamic_child_that_is_not_restarted_is_forgotten(harness: Harness) -> None:
    """117. Also a transient one that ended normally."""
    async with running(harness.supervisor(harness.dynamic())):
        await add(harness, harness.child("a", restart=TRANSIENT))
        harness["a"].cast(Actor.leave)
        await settle()
        assert await harness.states(harness["pool"]) == {}


async def test_dynamic_children_stop_at_the_same_time(harness: Harness, autojump_clock: object) -> None:
    """119. 100 children that need 0.1 s each take 0.1 s in total; one that is killed does not delay others."""

    async def takes(actor: Actor) -> None:
        await trio.sleep(0.1)

    async def hangs(actor: Actor) -> None:
        await trio.sleep(1000)

    async with running(harness.supervisor(harness.dynamic())) as tree:
        for number in range(100):
            await add(harness, harness.child(f"n{number}", on_terminate=takes))
        await add(harness, harness.child("hangs", on_terminate=hangs, shutdown=0.5))
        begin = trio.current_time()
        tree.scope.cancel()
        await trio.sleep(0.2)
        assert sum(line.startswith("gone") for line in harness.log) == 100
        await tree.ended.wait()
        assert trio.current_time() - begin == pytest.approx(0.5)
        assert harness.reports[-1] == Report(ReportKind.SHUTDOWN_ERROR, "pool", "hangs", Killed())


@pytest.mark.slow
async def test_ten_thousand_children_take_linear_time_and_no_memory(harness: Harness) -> None:
    """120. 10 000 start/terminate cycles: linear time, no growth in memory."""

    class Idle(GenServer):
        pass

    async def cycles(count: int) -> float:
        begin = time.process_time()
        for _ in range(count):
            ref: Ref[Idle] = Ref("idle")
            await harness["pool"].call(DynamicSupervisor.start_child, Child(ref=ref, start=Idle))
            await harness["pool"].call(DynamicSupervisor.terminate_child, ref)
        return time.process_time() - begin

    async def growth(count: int) -> int:
        gc.collect()
        before = sys.getallocatedblocks()
        await cycles(count)
        gc.collect()
        return sys.getallocatedblocks() - before

    pool: Child[Any] = Child(ref=harness["pool"], start=DynamicSupervisor, shutdown=math.inf)
    async with running(Supervisor([pool])):
        await cycles(500)
        first = min([await cycles(200) for _ in range(10)])
        await cycles(2000)
        growths = [await growth(1000) for _ in range(3)]
        await cycles(2000)
        last = min([await cycles(200) for _ in range(10)])
        assert last < 3 * first  # the least of ten: other programs on the machine must not decide this
        assert min(growths) < 100  # a leak grows in every round, a cache of the interpreter in one


async def test_a_crashed_task_does_not_affect_the_others(harness: Harness) -> None:
    """121. A temporary task that crashes is reported, the supervisor unaffected; a transient one is run again."""
    runs: list[str] = []

    async def work(name: str, failures: int) -> None:
        runs.append(name)
        if runs.count(name) <= failures:
            raise Bang(name)

    pool: Child[Any] = Child(
        ref=harness["tasks"], start=lambda: TaskSupervisor(report=harness.reports.append), shutdown=math.inf
    )
    async with running(harness.supervisor(pool)):
        tasks = harness["tasks"]
        tasks.cast(TaskSupervisor.start_soon, work, "fine", 0)
        await tasks.call(TaskSupervisor.start_soon, work, "temporary", 9, name="temporary")
        await tasks.call(TaskSupervisor.start_soon, work, "transient", 2, name="transient", restart=TRANSIENT)
        await settle()
        assert sorted(runs) == ["fine", "temporary", "transient", "transient", "transient"]
        assert harness.reported() == ["child_terminated temporary"] + ["child_terminated transient"] * 2
        assert await tasks.call(TaskSupervisor.which_children) == []


async def test_tasks_have_names_and_are_cancelled_by_a_stop(harness: Harness) -> None:
    """121. After a stop request a task is cancelled and may clean up, and that is no error."""
    cleaned: list[str] = []

    async def work() -> None:
        try:
            await trio.sleep_forever()
        finally:
            cleaned.append("work")

    pool: Child[Any] = Child(
        ref=harness["tasks"], start=lambda: TaskSupervisor(report=harness.reports.append)
    )
    async with running(harness.supervisor(pool)) as tree:
        await harness["tasks"].call(TaskSupervisor.start_soon, work)
        await settle()
        (info,) = await harness["tasks"].call(TaskSupervisor.which_children)
        assert info.id.endswith("work")
        await tree.stop()
        assert cleaned == ["work"]
        assert harness.reported() == []


async def test_a_dynamic_supervisor_gives_up(harness: Harness) -> None:
    """122. All children stopped, MaxRestartsExceeded to the parent, which counts it as one restart."""
    root = harness.supervisor(harness.dynamic(max_restarts=1), max_restarts=0)
    async with running(root) as tree:
        await add(harness, harness.child("a"))
        await add(harness, harness.child("b"))
        await harness.crash("a")
        harness["a"].cast(Actor.crash)
        await tree.ended.wait()
        assert "terminate b" in harness.log
        assert isinstance(tree.error, MaxRestartsExceeded)
        assert tree.error.supervisor == "root"
        (inner,) = tree.error.__cause__.exceptions  # type: ignore[union-attr]
        assert isinstance(inner, MaxRestartsExceeded)
        assert inner.supervisor == "pool"


# ---------------------------------------------------------------- K. backoff


async def test_delays_grow_to_their_limit(harness: Harness, autojump_clock: object) -> None:
    """124. first=1, factor=2, most=10, no jitter: restarts after 1, 2, 4, 8, 10, 10 s."""
    times: list[float] = []

    async def note_time(actor: Actor) -> None:
        times.append(trio.current_time())

    child = harness.child("a", on_init=note_time, backoff=SURE)
    async with running(harness.supervisor(child, max_restarts=100)):
        for _ in range(6):
            await harness.crash("a")
            await trio.sleep(10.5)
        assert [round(delay, 3) for delay in _delays(times, 10.5)] == [1, 2, 4, 8, 10, 10]


def _delays(starts: list[float], period: float) -> list[float]:
    return [start - starts[0] - index * period for index, start in enumerate(starts[1:])]


async def test_failed_starts_have_a_backoff_too(harness: Harness, autojump_clock: object) -> None:
    """124. A restart whose init fails has a longer delay each time."""
    times: list[float] = []

    async def fail_three_times(actor: Actor) -> None:
        times.append(trio.current_time())
        if 2 <= actor.incarnation <= 4:
            raise Bang

    child = harness.child("a", on_init=fail_three_times, backoff=SURE)
    async with running(harness.supervisor(child, max_restarts=100)):
        await harness.crash("a")
        await trio.sleep(60)
        assert [round(b - a, 3) for a, b in itertools.pairwise(times)] == [1, 2, 4, 8]


async def test_a_quiet_time_resets_the_delay(harness: Harness, autojump_clock: object) -> None:
    """125. Quiet for reset_after: the next delay is `first` again."""
    times: list[float] = []

    async def note_time(actor: Actor) -> None:
        times.append(trio.current_time())

    child = harness.child("a", on_init=note_time, backoff=SURE)
    async with running(harness.supervisor(child, max_restarts=100)):
        await harness.crash("a")
        await trio.sleep(10)
        await harness.crash("a")
        await trio.sleep(2 + 60)
        crashed = trio.current_time()
        await harness.crash("a")
        await trio.sleep(10)
        assert times[-1] - crashed == pytest.approx(1)


async def test_the_delay_does_not_count_as_quiet_time(harness: Harness, autojump_clock: object) -> None:
    """125. Quiet counts from the restart: 55 s after it, 65 s after the crash, is not yet 60."""
    slow = Backoff(first=10, factor=2, most=100, jitter=0, reset_after=60)
    async with running(harness.supervisor(harness.child("a", backoff=slow), max_restarts=100)):
        await harness.crash("a")
        await trio.sleep(10 + 55)
        await harness.crash("a")
        await trio.sleep(19)
        assert not harness["a"].alive
        await trio.sleep(2)
        assert harness["a"].alive


@given(attempt=st.integers(0, 10_000), random=st.floats(0, 1, exclude_max=True), jitter=st.floats(0, 1))
def test_jitter_stays_in_bounds(attempt: int, random: float, jitter: float) -> None:
    """126. Within +- jitter of the exact delay, for any attempt; the random number is an argument."""
    exact = Backoff(first=0.1, factor=2, most=30, jitter=0).delay(attempt, random)
    delay = Backoff(first=0.1, factor=2, most=30, jitter=jitter).delay(attempt, random)
    assert exact == min(30, 0.1 * 2 ** min(attempt, 100))
    assert exact * (1 - jitter) <= delay <= exact * (1 + jitter)
    assert Backoff().delay(0, 0.5) == pytest.approx(0.1)


async def test_a_crash_counts_when_it_happens(harness: Harness, autojump_clock: object) -> None:
    """128. Not when the delay ends: with delays longer than the window the limit is never reached."""
    long = Backoff(first=6, most=6, jitter=0)
    async with running(
        harness.supervisor(harness.child("a", backoff=long), max_restarts=1, max_seconds=5)
    ) as tree:
        for _ in range(5):
            await harness.crash("a")
            assert await harness.states(tree.ref) == {"a": "restarting"}
            await trio.sleep(6.1)
        assert harness["a"].alive


@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE])
async def test_a_group_waits_for_the_backoff_of_the_child_that_crashed(
    harness: Harness, autojump_clock: object, strategy: Strategy
) -> None:
    """129. Siblings are stopped at the crash, all are started after the delay."""
    children = [harness.child("a", backoff=SURE), harness.child("b")]
    async with running(harness.supervisor(*children, strategy=strategy)) as tree:
        harness.take_log()
        await harness.crash("a")
        assert harness.take_log() == ["terminate a", "terminate b"]
        assert await harness.states(tree.ref) == {"a": "restarting", "b": "stopped"}
        await trio.sleep(0.9)
        assert harness.take_log() == []
        await trio.sleep(0.2)
        assert harness.take_log() == ["init a", "init b"]


async def test_two_backoffs_in_one_group(harness: Harness, autojump_clock: object) -> None:
    """129. A child that was started with restart_child and crashes again is started once, after the shorter delay."""
    slow = Backoff(first=5, jitter=0)
    children = [harness.child("a", backoff=SURE), harness.child("b", backoff=slow)]
    async with running(harness.supervisor(*children, strategy=Strategy.REST_FOR_ONE)) as tree:
        await harness.crash("a")
        await tree.ref.call(Supervisor.restart_child, "b")
        await harness.crash("b")
        assert await harness.states(tree.ref) == {"a": "restarting", "b": "restarting"}
        await trio.sleep(1.5)
        assert await harness.states(tree.ref) == {"a": "running", "b": "running"}
        await trio.sleep(10)
        assert harness.incarnations == {"a": 2, "b": 3}


async def test_a_stop_ends_a_backoff(harness: Harness, autojump_clock: object) -> None:
    """129. A stop of the tree, and terminate_child; nothing is started afterwards."""
    async with running(harness.supervisor(harness.child("a", backoff=Backoff(first=30, jitter=0)))) as tree:
        await harness.crash("a")
        await tree.ref.call(Supervisor.terminate_child, "a")
        assert (await tree.ref.call(Supervisor.which_children))[0].state is ChildState.STOPPED
        await trio.sleep(100)
        assert harness.incarnations == {"a": 1}
        await tree.ref.call(Supervisor.restart_child, "a")
        await harness.crash("a")
        begin = trio.current_time()
        await tree.stop()
        assert trio.current_time() == begin
