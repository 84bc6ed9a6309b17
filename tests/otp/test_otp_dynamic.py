"""Children on demand, tasks, and backoff (behaviours 116 to 129)."""

import gc
import itertools
import math
import time
import tracemalloc
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from stage import TRANSIENT, Actor, Bang, Stage, running, settle

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
def stage() -> Stage:
    return Stage()


async def add(stage: Stage, child: Child[Any]) -> None:
    await stage["pool"].call(DynamicSupervisor.start_child, child)


async def fail(actor: Actor) -> None:
    raise Bang


async def fail_later(actor: Actor) -> None:
    if actor.incarnation > 1:
        raise Bang


# ---------------------------------------------------------------- J. dynamic supervisor, tasks


async def test_a_full_supervisor_refuses(stage: Stage, autojump_clock: object) -> None:
    """116. A restarting child counts; a terminated one frees the slot."""
    async with running(stage.supervisor(stage.dynamic(max_children=2))):
        await add(stage, stage.child("a", backoff=SURE))
        await add(stage, stage.child("b"))
        await stage.crash("a")
        assert await stage.states(stage["pool"]) == {"a": "restarting", "b": "running"}
        with pytest.raises(MaxChildrenReached):
            await add(stage, stage.child("c"))
        await stage["pool"].call(DynamicSupervisor.terminate_child, stage["a"])
        await add(stage, stage.child("c"))
        await trio.sleep(5)
        assert await stage.states(stage["pool"]) == {"b": "running", "c": "running"}


async def test_strangers_cannot_be_terminated(stage: Stage) -> None:
    """117. terminate_child of a stranger or a dead ref: NotFound."""
    async with running(stage.supervisor(stage.child("stranger"), stage.dynamic())):
        await add(stage, stage.child("a", restart=Restart.TEMPORARY))
        await stage.crash("a")
        for name in ("stranger", "a"):
            with pytest.raises(NotFound, match=name):
                await stage["pool"].call(DynamicSupervisor.terminate_child, stage[name])
        assert stage["stranger"].alive


async def test_children_that_cannot_be_added(stage: Stage) -> None:
    """117. A ref in use, a failing init, a significant child: refused, and no trace is left."""
    async with running(stage.supervisor(stage.child("stranger"), stage.dynamic())):
        await add(stage, stage.child("a"))
        for name in ("stranger", "a"):
            with pytest.raises(AlreadyStarted, match=name):
                await add(stage, stage.child(name))
        with pytest.raises(StartFailed):
            await add(stage, stage.child("b", on_init=fail))
        with pytest.raises(ValueError, match="significant"):
            await add(stage, stage.child("s", significant=True, restart=TRANSIENT))
        assert await stage.states(stage["pool"]) == {"a": "running"}


async def test_names_need_not_differ(stage: Stage) -> None:
    """117. A child is known by its ref."""
    twins: list[Ref[Actor]] = [Ref("twin"), Ref("twin")]
    async with running(stage.supervisor(stage.dynamic())):
        for ref in twins:
            await add(stage, Child(ref=ref, start=lambda: Actor(stage)))
        await stage["pool"].call(DynamicSupervisor.terminate_child, twins[0])
        assert [ref.alive for ref in twins] == [False, True]


async def test_a_restart_that_ignores_removes_the_child(stage: Stage) -> None:
    """118. So does a first start that ignores; neither is an error."""

    async def ignore_later(actor: Actor) -> None:
        if actor.incarnation > 1:
            raise Ignore

    async with running(stage.supervisor(stage.dynamic())):
        await add(stage, stage.child("a", on_init=ignore_later))
        await stage.crash("a")
        assert await stage.states(stage["pool"]) == {}
        await add(stage, stage.child("a", on_init=ignore_later))
        assert await stage.states(stage["pool"]) == {}


async def test_a_child_that_left_is_forgotten(stage: Stage) -> None:
    """117. A transient one that ended normally too: there is no stopped state."""
    async with running(stage.supervisor(stage.dynamic())):
        await add(stage, stage.child("a", restart=TRANSIENT))
        stage["a"].cast(Actor.leave)
        await settle()
        assert await stage.states(stage["pool"]) == {}


async def test_children_stop_together(stage: Stage, autojump_clock: object) -> None:
    """119. 100 children that need 0.1 s each take 0.1 s in total; one that is killed does not delay others."""

    async def takes(actor: Actor) -> None:
        await trio.sleep(0.1)

    async def hangs(actor: Actor) -> None:
        await trio.sleep(1000)

    async with running(stage.supervisor(stage.dynamic())) as tree:
        for number in range(100):
            await add(stage, stage.child(f"n{number}", on_terminate=takes))
        await add(stage, stage.child("hangs", on_terminate=hangs, shutdown=0.5))
        begin = trio.current_time()
        tree.scope.cancel()
        await trio.sleep(0.2)
        assert sum(line.startswith("gone") for line in stage.log) == 100
        await tree.ended.wait()
        assert trio.current_time() - begin == pytest.approx(0.5)
        assert stage.reports[-1] == Report(ReportKind.SHUTDOWN_ERROR, "pool", "hangs", Killed())


@pytest.mark.slow
async def test_many_cycles_cost_the_same(stage: Stage) -> None:
    """120. 10 000 start/terminate cycles: linear time, no growth in memory."""

    class Idle(GenServer):
        pass

    async def cycles(count: int) -> float:
        begin = time.process_time()
        for _ in range(count):
            ref: Ref[Idle] = Ref("idle")
            await stage["pool"].call(DynamicSupervisor.start_child, Child(ref=ref, start=Idle))
            await stage["pool"].call(DynamicSupervisor.terminate_child, ref)
        return time.process_time() - begin

    pool: Child[Any] = Child(ref=stage["pool"], start=DynamicSupervisor, shutdown=math.inf)
    async with running(Supervisor([pool])):
        await cycles(500)
        first = min([await cycles(200) for _ in range(10)])
        gc.collect()
        tracemalloc.start()
        await cycles(1000)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        await cycles(1000)
        gc.collect()
        growth = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        await cycles(3000)
        last = min([await cycles(200) for _ in range(10)])
        assert last < 3 * first  # the least of ten: other programs on the machine must not decide this
        assert growth < 20_000


async def test_tasks_are_isolated(stage: Stage) -> None:
    """121. A temporary task that crashes is reported, the supervisor unaffected; a transient one is run again."""
    runs: list[str] = []

    async def work(name: str, failures: int) -> None:
        runs.append(name)
        if runs.count(name) <= failures:
            raise Bang(name)

    pool: Child[Any] = Child(
        ref=stage["tasks"], start=lambda: TaskSupervisor(report=stage.reports.append), shutdown=math.inf
    )
    async with running(stage.supervisor(pool)):
        tasks = stage["tasks"]
        tasks.cast(TaskSupervisor.start_soon, work, "fine", 0)
        await tasks.call(TaskSupervisor.start_soon, work, "temporary", 9, name="temporary")
        await tasks.call(TaskSupervisor.start_soon, work, "transient", 2, name="transient", restart=TRANSIENT)
        await settle()
        assert sorted(runs) == ["fine", "temporary", "transient", "transient", "transient"]
        assert stage.told() == ["child_terminated temporary"] + ["child_terminated transient"] * 2
        assert await tasks.call(TaskSupervisor.which_children) == []


async def test_tasks_are_named_and_cancelled_when_they_must_stop(stage: Stage) -> None:
    """121. A task asked to stop is cancelled, may clean up, and that is no error."""
    cleaned: list[str] = []

    async def work() -> None:
        try:
            await trio.sleep_forever()
        finally:
            cleaned.append("work")

    pool: Child[Any] = Child(ref=stage["tasks"], start=lambda: TaskSupervisor(report=stage.reports.append))
    async with running(stage.supervisor(pool)) as tree:
        await stage["tasks"].call(TaskSupervisor.start_soon, work)
        await settle()
        (info,) = await stage["tasks"].call(TaskSupervisor.which_children)
        assert info.id.endswith("work")
        await tree.stop()
        assert cleaned == ["work"]
        assert stage.told() == []


async def test_a_dynamic_supervisor_gives_up(stage: Stage) -> None:
    """122. All children stopped, MaxRestartsExceeded to the parent, which counts it as one restart."""
    root = stage.supervisor(stage.dynamic(max_restarts=1), max_restarts=0)
    async with running(root) as tree:
        await add(stage, stage.child("a"))
        await add(stage, stage.child("b"))
        await stage.crash("a")
        stage["a"].cast(Actor.crash)
        await tree.ended.wait()
        assert "terminate b" in stage.log
        assert isinstance(tree.error, MaxRestartsExceeded)
        assert tree.error.supervisor == "root"
        (inner,) = tree.error.__cause__.exceptions  # type: ignore[union-attr]
        assert isinstance(inner, MaxRestartsExceeded)
        assert inner.supervisor == "pool"


# ---------------------------------------------------------------- K. backoff


async def test_delays_grow_to_their_limit(stage: Stage, autojump_clock: object) -> None:
    """124. first=1, factor=2, most=10, no jitter: restarts after 1, 2, 4, 8, 10, 10 s."""
    times: list[float] = []

    async def note_time(actor: Actor) -> None:
        times.append(trio.current_time())

    child = stage.child("a", on_init=note_time, backoff=SURE)
    async with running(stage.supervisor(child, max_restarts=100)):
        for _ in range(6):
            await stage.crash("a")
            await trio.sleep(10.5)
        assert [round(delay, 3) for delay in _delays(times, 10.5)] == [1, 2, 4, 8, 10, 10]


def _delays(starts: list[float], period: float) -> list[float]:
    return [start - starts[0] - index * period for index, start in enumerate(starts[1:])]


async def test_failing_starts_back_off_too(stage: Stage, autojump_clock: object) -> None:
    """124. A restart whose init fails waits longer and longer for the next attempt."""
    times: list[float] = []

    async def fail_three_times(actor: Actor) -> None:
        times.append(trio.current_time())
        if 2 <= actor.incarnation <= 4:
            raise Bang

    child = stage.child("a", on_init=fail_three_times, backoff=SURE)
    async with running(stage.supervisor(child, max_restarts=100)):
        await stage.crash("a")
        await trio.sleep(60)
        assert [round(b - a, 3) for a, b in itertools.pairwise(times)] == [1, 2, 4, 8]


async def test_a_quiet_time_resets_the_delay(stage: Stage, autojump_clock: object) -> None:
    """125. Quiet for reset_after: the next delay is `first` again."""
    times: list[float] = []

    async def note_time(actor: Actor) -> None:
        times.append(trio.current_time())

    child = stage.child("a", on_init=note_time, backoff=SURE)
    async with running(stage.supervisor(child, max_restarts=100)):
        await stage.crash("a")
        await trio.sleep(10)
        await stage.crash("a")
        await trio.sleep(2 + 60)
        crashed = trio.current_time()
        await stage.crash("a")
        await trio.sleep(10)
        assert times[-1] - crashed == pytest.approx(1)


async def test_the_delay_itself_is_no_quiet_time(stage: Stage, autojump_clock: object) -> None:
    """125. Quiet counts from the restart: 55 s after it, 65 s after the crash, is not yet 60."""
    patient = Backoff(first=10, factor=2, most=100, jitter=0, reset_after=60)
    async with running(stage.supervisor(stage.child("a", backoff=patient), max_restarts=100)):
        await stage.crash("a")
        await trio.sleep(10 + 55)
        await stage.crash("a")
        await trio.sleep(19)
        assert not stage["a"].alive
        await trio.sleep(2)
        assert stage["a"].alive


@given(attempt=st.integers(0, 10_000), random=st.floats(0, 1, exclude_max=True), jitter=st.floats(0, 1))
def test_jitter_stays_in_bounds(attempt: int, random: float, jitter: float) -> None:
    """126. Within +- jitter of the exact delay, for any attempt; the random number is an argument."""
    exact = Backoff(first=0.1, factor=2, most=30, jitter=0).delay(attempt, random)
    delay = Backoff(first=0.1, factor=2, most=30, jitter=jitter).delay(attempt, random)
    assert exact == min(30, 0.1 * 2 ** min(attempt, 100))
    assert exact * (1 - jitter) <= delay <= exact * (1 + jitter)
    assert Backoff().delay(0, 0.5) == pytest.approx(0.1)


async def test_a_crash_counts_when_it_happens(stage: Stage, autojump_clock: object) -> None:
    """128. Not when the delay ends: with delays longer than the window the limit is never met."""
    long = Backoff(first=6, most=6, jitter=0)
    async with running(
        stage.supervisor(stage.child("a", backoff=long), max_restarts=1, max_seconds=5)
    ) as tree:
        for _ in range(5):
            await stage.crash("a")
            assert await stage.states(tree.ref) == {"a": "restarting"}
            await trio.sleep(6.1)
        assert stage["a"].alive


@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE])
async def test_a_group_waits_together(stage: Stage, autojump_clock: object, strategy: Strategy) -> None:
    """129. Siblings are stopped at the crash, all are started after the delay."""
    children = [stage.child("a", backoff=SURE), stage.child("b")]
    async with running(stage.supervisor(*children, strategy=strategy)) as tree:
        stage.take_log()
        await stage.crash("a")
        assert stage.take_log() == ["terminate a", "terminate b"]
        assert await stage.states(tree.ref) == {"a": "restarting", "b": "stopped"}
        await trio.sleep(0.9)
        assert stage.take_log() == []
        await trio.sleep(0.2)
        assert stage.take_log() == ["init a", "init b"]


async def test_two_backoffs_in_one_group(stage: Stage, autojump_clock: object) -> None:
    """129. A member revived by hand that crashes in its turn is started by whichever delay ends first, once."""
    slow = Backoff(first=5, jitter=0)
    children = [stage.child("a", backoff=SURE), stage.child("b", backoff=slow)]
    async with running(stage.supervisor(*children, strategy=Strategy.REST_FOR_ONE)) as tree:
        await stage.crash("a")
        await tree.ref.call(Supervisor.restart_child, "b")
        await stage.crash("b")
        assert await stage.states(tree.ref) == {"a": "restarting", "b": "restarting"}
        await trio.sleep(1.5)
        assert await stage.states(tree.ref) == {"a": "running", "b": "running"}
        await trio.sleep(10)
        assert stage.incarnations == {"a": 2, "b": 3}


async def test_a_stop_ends_a_backoff(stage: Stage, autojump_clock: object) -> None:
    """129. So does terminate_child; nothing is started afterwards."""
    async with running(stage.supervisor(stage.child("a", backoff=Backoff(first=30, jitter=0)))) as tree:
        await stage.crash("a")
        await tree.ref.call(Supervisor.terminate_child, "a")
        assert (await tree.ref.call(Supervisor.which_children))[0].state is ChildState.STOPPED
        await trio.sleep(100)
        assert stage.incarnations == {"a": 1}
        await tree.ref.call(Supervisor.restart_child, "a")
        await stage.crash("a")
        begin = trio.current_time()
        await tree.stop()
        assert trio.current_time() == begin
