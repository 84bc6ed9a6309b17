"""Stopping: order, deadlines, and everything that can go wrong on the way (behaviours 46 to 65)."""

import math
from typing import Any

import pytest
import trio
from stage import TEMPORARY, TRANSIENT, Actor, Bang, Stage, running, settle

from cortex_trio.otp import (
    BRUTAL_KILL,
    ActorExited,
    AutoShutdown,
    CallingSelf,
    Killed,
    MaxRestartsExceeded,
    NoProcess,
    Normal,
    Report,
    ReportKind,
    Shutdown,
    Stop,
    Strategy,
    Supervisor,
    run,
)

DAY = 24 * 3600


@pytest.fixture
def stage() -> Stage:
    return Stage()


def takes(seconds: float) -> Any:
    async def act(actor: Actor) -> None:
        await trio.sleep(seconds)

    return act


async def test_children_stop_newest_first_one_at_a_time(stage: Stage, autojump_clock: object) -> None:
    """46. c, b, a, each completely before the next is asked."""
    async with running(stage.supervisor(*stage.children("abc", on_terminate=takes(1)))) as tree:
        stage.log.clear()
        await tree.stop()
        assert stage.log == ["terminate c", "gone c", "terminate b", "gone b", "terminate a", "gone a"]
        assert stage.reasons == [Shutdown(), Shutdown(), Shutdown()]
        assert tree.error is None


async def test_a_child_that_overstays_is_killed(stage: Stage, autojump_clock: object) -> None:
    """47. b is cancelled after 0.1 s, shutdown_error reported; a is still stopped gracefully."""
    children = [stage.child("a"), stage.child("b", on_terminate=takes(1), shutdown=0.1)]
    async with running(stage.supervisor(*children)) as tree:
        monitor = stage["b"].monitor()
        begin = trio.current_time()
        await tree.stop()
        assert trio.current_time() - begin == pytest.approx(0.1)
        assert (await monitor.down()).reason == Killed()
        assert stage.reports[-1:] == [Report(ReportKind.SHUTDOWN_ERROR, "root", "b", Killed())]
        assert stage.log[-4:] == ["init b", "terminate b", "terminate a", "gone a"]


async def test_brutal_kill_skips_terminate(stage: Stage) -> None:
    """48. Cancelled at once, terminate not called, not an error."""
    async with running(stage.supervisor(stage.child("a", shutdown=BRUTAL_KILL))) as tree:
        monitor = stage["a"].monitor()
        await tree.stop()
        assert (await monitor.down()).reason == Killed()
        assert stage.log == ["init a"]
        assert stage.told() == []


async def test_infinite_grace_is_infinite(stage: Stage, autojump_clock: object) -> None:
    """49. A cleanup that takes a day is waited for."""
    async with running(
        stage.supervisor(stage.child("a", on_terminate=takes(DAY), shutdown=math.inf))
    ) as tree:
        begin = trio.current_time()
        await tree.stop()
        assert trio.current_time() - begin >= DAY
        assert stage.told() == []


@pytest.mark.parametrize(("restart", "told"), [("permanent", ["shutdown_error a"]), ("transient", [])])
async def test_answering_the_stop_with_normal(stage: Stage, restart: str, told: list[str]) -> None:
    """52. shutdown_error for a permanent child; fine for a transient one."""

    async def leave_normally(actor: Actor) -> None:
        raise Stop(Normal())

    kind = TRANSIENT if restart == "transient" else type(TRANSIENT)(restart)
    async with running(stage.supervisor(stage.child("a", on_terminate=leave_normally, restart=kind))) as tree:
        await tree.stop()
        assert stage.told() == told


async def test_a_cleanup_that_crashes_is_reported_and_the_rest_stops(stage: Stage) -> None:
    """53. shutdown_error with that exception; the others still stop in order."""

    async def fail(actor: Actor) -> None:
        raise Bang("cleanup")

    children = [stage.child("a"), stage.child("b", on_terminate=fail), stage.child("c")]
    async with running(stage.supervisor(*children)) as tree:
        stage.take_log()
        await tree.stop()
        assert stage.take_log() == ["terminate c", "terminate b", "terminate a"]
        assert stage.told() == ["shutdown_error b"]
        assert repr(stage.reports[-1].reason) == "Crashed(error=Bang('cleanup'))"


async def test_a_stop_ends_the_spin_of_failing_restarts(stage: Stage) -> None:
    """54. Stops promptly, no further init."""
    stop = trio.CancelScope()

    async def fail_later(actor: Actor) -> None:
        if actor.incarnation == 100:
            stop.cancel()
        if actor.incarnation > 1:
            raise Bang

    with stop:
        async with trio.open_nursery() as nursery:
            root = stage.supervisor(
                stage.child("a"), stage.child("b", on_init=fail_later), max_restarts=10**6
            )
            await nursery.start(run, root)
            stage["b"].cast(Actor.crash)
            await trio.sleep_forever()
    assert stop.cancelled_caught
    assert stage.incarnations["b"] <= 101
    assert stage.log[-2:] == ["terminate a", "gone a"]


async def test_nested_trees_stop_depth_first(stage: Stage) -> None:
    """55. Newest subtree first, leaves before their supervisor."""
    left = stage.sub("left", *stage.children("ab"))
    right = stage.sub("right", *stage.children("cd"), stage.sub("deep", stage.child("e")))
    async with running(stage.supervisor(left, right, stage.child("f"))) as tree:
        stage.take_log()
        await tree.stop()
        assert stage.take_log() == [f"terminate {name}" for name in "fedcba"]


async def test_a_cancelled_surrounding_stops_in_order(stage: Stage) -> None:
    """57. Outer scope cancelled when idle: same order as 46; cancelled_caught is True."""
    with trio.CancelScope() as outer:
        async with trio.open_nursery() as nursery:
            await nursery.start(run, stage.supervisor(*stage.children("abc")))
            stage.take_log()
            outer.cancel()
    assert stage.take_log() == ["terminate c", "terminate b", "terminate a"]
    assert outer.cancelled_caught


async def test_what_shields_itself_is_waited_for(stage: Stage, autojump_clock: object) -> None:
    """58. shutdown_error at its timeout; the tree ends when the child does, after 30 s."""

    async def shielded(actor: Actor) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(30)

    async with running(stage.supervisor(stage.child("a", on_terminate=shielded, shutdown=1))) as tree:
        begin = trio.current_time()
        tree.scope.cancel()
        await trio.sleep(1.5)
        assert stage.told() == ["shutdown_error a"]
        assert not tree.ended.is_set()
        await tree.ended.wait()
        assert trio.current_time() - begin == pytest.approx(30)
        assert stage.told() == ["shutdown_error a"]


async def test_an_overdue_child_is_told_of_once(stage: Stage, autojump_clock: object) -> None:
    """58. Also when its supervisor was stopped over waiting for it."""

    async def shielded(actor: Actor) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(30)

    async with running(stage.supervisor(stage.child("a", on_terminate=shielded, shutdown=1))) as tree:
        tree.ref.cast(Supervisor.terminate_child, "a")
        await trio.sleep(1.5)
        await tree.stop()
        assert stage.told() == ["shutdown_error a"]


async def test_who_waits_for_a_killed_supervisor_hears_that_it_was_killed(
    stage: Stage, autojump_clock: object
) -> None:
    """54. The queued caller, too, although a supervisor stops its children before it is gone."""
    seen: list[object] = []

    async def ask() -> None:
        try:
            await tree.ref.call(Supervisor.which_children)
        except ActorExited as exited:
            seen.append((exited.reason, exited.started))

    async with running(stage.supervisor(stage.child("a"))) as tree, trio.open_nursery() as nursery:
        tree.ref.cast(Supervisor.start_child, stage.child("slow", on_init=takes(10)))
        await settle()
        nursery.start_soon(ask)
        await settle()
        tree.ref.kill()
        await tree.ended.wait()
    assert seen == [(Killed(), False)]


async def test_a_child_that_calls_its_stopping_supervisor_fails_at_once(
    stage: Stage, autojump_clock: object
) -> None:
    """59. NoProcess from terminate, no deadlock."""
    seen: list[BaseException] = []

    async def ask_up(actor: Actor) -> None:
        try:
            await tree.ref.call(Supervisor.which_children)
        except Exception as error:
            seen.append(error)

    async with running(stage.supervisor(stage.child("a", on_terminate=ask_up))) as tree:
        begin = trio.current_time()
        await tree.stop()
        assert trio.current_time() == begin
        assert [type(error) for error in seen] == [NoProcess]


async def test_a_child_that_calls_the_supervisor_that_terminates_it(
    stage: Stage, autojump_clock: object
) -> None:
    """59. CallingSelf: the supervisor cannot answer before the child is gone."""
    seen: list[BaseException] = []

    async def ask_up(actor: Actor) -> None:
        try:
            await tree.ref.call(Supervisor.which_children)
        except Exception as error:
            seen.append(error)

    async with running(stage.supervisor(stage.child("a", on_terminate=ask_up))) as tree:
        begin = trio.current_time()
        await tree.ref.call(Supervisor.terminate_child, "a")
        assert trio.current_time() == begin
        assert [type(error) for error in seen] == [CallingSelf]


async def test_calls_that_wait_in_a_stopping_supervisor_fail(stage: Stage, autojump_clock: object) -> None:
    """59. Also those that were queued before: a child in the middle of one would hold up its own stop."""
    outcomes: list[str] = []

    async def ask_up_slowly(actor: Actor) -> None:
        try:
            await tree.ref.call(Supervisor.which_children)
        except Exception as error:
            outcomes.append(type(error).__name__)

    async def blocks(actor: Actor) -> None:
        if actor.incarnation > 1:
            await trio.sleep(3)

    children = [stage.child("a"), stage.child("b", on_init=blocks, shutdown=BRUTAL_KILL)]
    async with running(stage.supervisor(*children)) as tree:
        stage["b"].kill()
        await settle()  # the supervisor waits for the init of b
        stage["a"].cast(Actor.run_here, ask_up_slowly)
        await settle()
        begin = trio.current_time()
        await tree.stop()
        assert trio.current_time() == begin
        assert outcomes == ["ActorExited"]


async def test_stopping_twice_is_stopping(stage: Stage, autojump_clock: object) -> None:
    """60. Cancel during stop, and again: idempotent, order kept."""
    async with running(stage.supervisor(*stage.children("abc", on_terminate=takes(1)))) as tree:
        stage.log.clear()
        tree.scope.cancel()
        await trio.sleep(0.5)
        tree.scope.cancel()
        await trio.sleep(1)
        tree.scope.cancel()
        await tree.ended.wait()
        assert stage.log == ["terminate c", "gone c", "terminate b", "gone b", "terminate a", "gone a"]


async def test_a_stop_interrupts_a_group_restart(stage: Stage, autojump_clock: object) -> None:
    """60. The half-stopped group is stopped completely, in order, and nobody is started again."""
    children = stage.children("abc", on_terminate=takes(1), shutdown=math.inf)
    async with running(stage.supervisor(*children, strategy=Strategy.ONE_FOR_ALL)) as tree:
        stage.log.clear()
        stage["b"].cast(Actor.crash)
        await trio.sleep(1.5)  # b has crashed, c is being stopped for the restart
        await tree.stop()
        assert stage.log == ["terminate b", "gone b", "terminate c", "gone c", "terminate a", "gone a"]


async def test_a_slow_init_does_not_hold_up_the_stop(stage: Stage, autojump_clock: object) -> None:
    """57. Cancelled while b's init runs: a and b are stopped, b within its grace; OTP would wait for the init."""
    children = [stage.child("a"), stage.child("b", on_init=takes(DAY), shutdown=2)]
    with trio.move_on_after(1) as outer:
        await run(stage.supervisor(*children))
    assert outer.cancelled_caught
    assert trio.current_time() < 4
    assert stage.take_log() == ["init a", "init b", "terminate a"]


async def test_a_supervisor_may_have_no_children(stage: Stage) -> None:
    """61. Starts, stops."""
    async with running(stage.supervisor()) as tree:
        assert await tree.ref.call(Supervisor.which_children) == []
        await tree.stop()
        assert tree.error is None


async def test_any_significant_child_ends_the_supervisor(stage: Stage) -> None:
    """62. A significant transient child ends normally: siblings stop in reverse order, run returns without error."""
    children = [stage.child("a"), stage.child("s", restart=TRANSIENT, significant=True), stage.child("b")]
    async with running(stage.supervisor(*children, auto_shutdown=AutoShutdown.ANY_SIGNIFICANT)) as tree:
        stage.take_log()
        stage["s"].cast(Actor.leave)
        await tree.ended.wait()
        assert stage.take_log() == ["terminate s", "terminate b", "terminate a"]
        assert tree.error is None


async def test_the_last_significant_child_ends_the_supervisor(stage: Stage) -> None:
    """63. all_significant with two: the first ends, nothing; the second ends, it shuts down."""
    significant: dict[str, Any] = {"significant": True, "restart": TEMPORARY}
    children = [stage.child("s", **significant), stage.child("t", **significant), stage.child("a")]
    async with running(stage.supervisor(*children, auto_shutdown=AutoShutdown.ALL_SIGNIFICANT)) as tree:
        stage["s"].cast(Actor.leave)
        await settle()
        assert await stage.states(tree.ref) == {"t": "running", "a": "running"}
        stage["t"].cast(Actor.crash)
        await tree.ended.wait()
        assert tree.error is None


async def test_terminate_child_is_no_reason_to_leave(stage: Stage) -> None:
    """62. Nor is an insignificant child that leaves."""
    children = [
        stage.child("s", restart=TRANSIENT, significant=True),
        stage.child("a", restart=TRANSIENT),
    ]
    async with running(stage.supervisor(*children, auto_shutdown=AutoShutdown.ANY_SIGNIFICANT)) as tree:
        await tree.ref.call(Supervisor.terminate_child, "s")
        stage["a"].cast(Actor.leave)
        await settle()
        assert await stage.states(tree.ref) == {"s": "stopped", "a": "stopped"}


async def test_significance_that_could_never_matter_is_refused(stage: Stage) -> None:
    """65. significant with PERMANENT, or with auto_shutdown NEVER, also by start_child."""
    with pytest.raises(ValueError, match="'s': significant"):
        stage.child("s", significant=True)
    child = stage.child("s", significant=True, restart=TRANSIENT)
    with pytest.raises(ValueError, match="'s': significant"):
        Supervisor([child])
    async with running(stage.supervisor()) as tree:
        with pytest.raises(ValueError, match="'s': significant"):
            await tree.ref.call(Supervisor.start_child, child)


async def test_a_transient_supervisor_that_gave_up_is_not_restarted(stage: Stage) -> None:
    """42. Giving up is a shutdown, as in OTP; a permanent one is restarted by its parent, and that counts."""
    children = [
        stage.sub("t", stage.child("x"), restart=TRANSIENT, max_restarts=0),
        stage.sub("p", stage.child("y"), max_restarts=0),
    ]
    async with running(stage.supervisor(*children, max_restarts=1)) as tree:
        await stage.crash("x", "y")
        assert await stage.states(tree.ref) == {"t": "stopped", "p": "running"}
        stage["y"].cast(Actor.crash)
        await tree.ended.wait()
        assert isinstance(tree.error, MaxRestartsExceeded)
