"""Stopping: order, deadlines, and failures during a stop (behaviours 46 to 65)."""

import math
from typing import Any

import pytest
import trio
from harness import TEMPORARY, TRANSIENT, Actor, Bang, Harness, running, settle

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
def harness() -> Harness:
    return Harness()


def takes(seconds: float) -> Any:
    async def act(actor: Actor) -> None:
        await trio.sleep(seconds)

    return act


async def test_children_stop_newest_first_one_at_a_time(harness: Harness, autojump_clock: object) -> None:
    """46. c, b, a: each exits before the stop request of the next."""
    async with running(harness.supervisor(*harness.children("abc", on_terminate=takes(1)))) as tree:
        harness.log.clear()
        await tree.stop()
        assert harness.log == ["terminate c", "gone c", "terminate b", "gone b", "terminate a", "gone a"]
        assert harness.reasons == [Shutdown(), Shutdown(), Shutdown()]
        assert tree.error is None


async def test_a_child_that_does_not_stop_in_time_is_killed(harness: Harness, autojump_clock: object) -> None:
    """47. b is cancelled after 0.1 s, shutdown_error reported; a is still stopped gracefully."""
    children = [harness.child("a"), harness.child("b", on_terminate=takes(1), shutdown=0.1)]
    async with running(harness.supervisor(*children)) as tree:
        monitor = harness["b"].monitor()
        begin = trio.current_time()
        await tree.stop()
        assert trio.current_time() - begin == pytest.approx(0.1)
        assert (await monitor.down()).reason == Killed()
        assert harness.reports[-1:] == [Report(ReportKind.SHUTDOWN_ERROR, "root", "b", Killed())]
        assert harness.log[-4:] == ["init b", "terminate b", "terminate a", "gone a"]


async def test_brutal_kill_skips_terminate(harness: Harness) -> None:
    """48. Cancelled at once, terminate not called, not an error."""
    async with running(harness.supervisor(harness.child("a", shutdown=BRUTAL_KILL))) as tree:
        monitor = harness["a"].monitor()
        await tree.stop()
        assert (await monitor.down()).reason == Killed()
        assert harness.log == ["init a"]
        assert harness.reported() == []


async def test_a_child_with_infinite_shutdown_is_waited_for(harness: Harness, autojump_clock: object) -> None:
    """49. A cleanup that takes a day is waited for."""
    async with running(
        harness.supervisor(harness.child("a", on_terminate=takes(DAY), shutdown=math.inf))
    ) as tree:
        begin = trio.current_time()
        await tree.stop()
        assert trio.current_time() - begin >= DAY
        assert harness.reported() == []


@pytest.mark.parametrize(("restart", "reports"), [("permanent", ["shutdown_error a"]), ("transient", [])])
async def test_a_permanent_child_that_stops_with_normal_is_reported(
    harness: Harness, restart: str, reports: list[str]
) -> None:
    """52. shutdown_error for a permanent child; fine for a transient one."""

    async def leave_normally(actor: Actor) -> None:
        raise Stop(Normal())

    kind = TRANSIENT if restart == "transient" else type(TRANSIENT)(restart)
    async with running(
        harness.supervisor(harness.child("a", on_terminate=leave_normally, restart=kind))
    ) as tree:
        await tree.stop()
        assert harness.reported() == reports


async def test_a_cleanup_that_crashes_is_reported_and_the_others_stop(harness: Harness) -> None:
    """53. shutdown_error with that exception; the others still stop in order."""

    async def fail(actor: Actor) -> None:
        raise Bang("cleanup")

    children = [harness.child("a"), harness.child("b", on_terminate=fail), harness.child("c")]
    async with running(harness.supervisor(*children)) as tree:
        harness.take_log()
        await tree.stop()
        assert harness.take_log() == ["terminate c", "terminate b", "terminate a"]
        assert harness.reported() == ["shutdown_error b"]
        assert repr(harness.reports[-1].reason) == "Crashed(error=Bang('cleanup'))"


async def test_a_stop_ends_a_series_of_failed_restarts(harness: Harness) -> None:
    """54. Stops promptly, no further init."""
    stop = trio.CancelScope()

    async def fail_later(actor: Actor) -> None:
        if actor.incarnation == 100:
            stop.cancel()
        if actor.incarnation > 1:
            raise Bang

    with stop:
        async with trio.open_nursery() as nursery:
            root = harness.supervisor(
                harness.child("a"), harness.child("b", on_init=fail_later), max_restarts=10**6
            )
            await nursery.start(run, root)
            harness["b"].cast(Actor.crash)
            await trio.sleep_forever()
    assert stop.cancelled_caught
    assert harness.incarnations["b"] <= 101
    assert harness.log[-2:] == ["terminate a", "gone a"]


async def test_nested_trees_stop_depth_first(harness: Harness) -> None:
    """55. Newest subtree first, leaves before their supervisor."""
    left = harness.sub("left", *harness.children("ab"))
    right = harness.sub("right", *harness.children("cd"), harness.sub("deep", harness.child("e")))
    async with running(harness.supervisor(left, right, harness.child("f"))) as tree:
        harness.take_log()
        await tree.stop()
        assert harness.take_log() == [f"terminate {name}" for name in "fedcba"]


async def test_a_cancellation_around_the_tree_stops_it_in_order(harness: Harness) -> None:
    """57. Outer scope cancelled when idle: same order as 46; cancelled_caught is True."""
    with trio.CancelScope() as outer:
        async with trio.open_nursery() as nursery:
            await nursery.start(run, harness.supervisor(*harness.children("abc")))
            harness.take_log()
            outer.cancel()
    assert harness.take_log() == ["terminate c", "terminate b", "terminate a"]
    assert outer.cancelled_caught


async def test_a_shielded_child_is_waited_for(harness: Harness, autojump_clock: object) -> None:
    """58. shutdown_error at its timeout; the tree ends when the child does, after 30 s."""

    async def shielded(actor: Actor) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(30)

    async with running(harness.supervisor(harness.child("a", on_terminate=shielded, shutdown=1))) as tree:
        begin = trio.current_time()
        tree.scope.cancel()
        await trio.sleep(1.5)
        assert harness.reported() == ["shutdown_error a"]
        assert not tree.ended.is_set()
        await tree.ended.wait()
        assert trio.current_time() - begin == pytest.approx(30)
        assert harness.reported() == ["shutdown_error a"]


async def test_an_overdue_child_is_reported_once(harness: Harness, autojump_clock: object) -> None:
    """58. Also if its supervisor is stopped while it waits."""

    async def shielded(actor: Actor) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(30)

    async with running(harness.supervisor(harness.child("a", on_terminate=shielded, shutdown=1))) as tree:
        tree.ref.cast(Supervisor.terminate_child, "a")
        await trio.sleep(1.5)
        await tree.stop()
        assert harness.reported() == ["shutdown_error a"]


async def test_callers_of_a_killed_supervisor_get_killed(harness: Harness, autojump_clock: object) -> None:
    """54. The queued caller, too, although a supervisor stops its children before it exits."""
    seen: list[object] = []

    async def ask() -> None:
        try:
            await tree.ref.call(Supervisor.which_children)
        except ActorExited as exited:
            seen.append((exited.reason, exited.started))

    async with running(harness.supervisor(harness.child("a"))) as tree, trio.open_nursery() as nursery:
        tree.ref.cast(Supervisor.start_child, harness.child("slow", on_init=takes(10)))
        await settle()
        nursery.start_soon(ask)
        await settle()
        tree.ref.kill()
        await tree.ended.wait()
    assert seen == [(Killed(), False)]


async def test_a_child_that_calls_its_stopping_supervisor_fails_at_once(
    harness: Harness, autojump_clock: object
) -> None:
    """59. NoProcess from terminate, no deadlock."""
    seen: list[BaseException] = []

    async def ask_up(actor: Actor) -> None:
        try:
            await tree.ref.call(Supervisor.which_children)
        except Exception as error:
            seen.append(error)

    async with running(harness.supervisor(harness.child("a", on_terminate=ask_up))) as tree:
        begin = trio.current_time()
        await tree.stop()
        assert trio.current_time() == begin
        assert [type(error) for error in seen] == [NoProcess]


async def test_a_terminating_child_cannot_call_its_supervisor(
    harness: Harness, autojump_clock: object
) -> None:
    """59. CallingSelf: the supervisor cannot answer before the child has exited."""
    seen: list[BaseException] = []

    async def ask_up(actor: Actor) -> None:
        try:
            await tree.ref.call(Supervisor.which_children)
        except Exception as error:
            seen.append(error)

    async with running(harness.supervisor(harness.child("a", on_terminate=ask_up))) as tree:
        begin = trio.current_time()
        await tree.ref.call(Supervisor.terminate_child, "a")
        assert trio.current_time() == begin
        assert [type(error) for error in seen] == [CallingSelf]


async def test_calls_that_wait_in_a_stopping_supervisor_fail(
    harness: Harness, autojump_clock: object
) -> None:
    """59. Also those that were queued before: a child that waits for such a call would delay its own stop."""
    outcomes: list[str] = []

    async def ask_up_slowly(actor: Actor) -> None:
        try:
            await tree.ref.call(Supervisor.which_children)
        except Exception as error:
            outcomes.append(type(error).__name__)

    async def blocks(actor: Actor) -> None:
        if actor.incarnation > 1:
            await trio.sleep(3)

    children = [harness.child("a"), harness.child("b", on_init=blocks, shutdown=BRUTAL_KILL)]
    async with running(harness.supervisor(*children)) as tree:
        harness["b"].kill()
        await settle()  # the supervisor waits for the init of b
        harness["a"].cast(Actor.run_here, ask_up_slowly)
        await settle()
        begin = trio.current_time()
        await tree.stop()
        assert trio.current_time() == begin
        assert outcomes == ["ActorExited"]


async def test_a_second_stop_has_no_effect(harness: Harness, autojump_clock: object) -> None:
    """60. Cancel during stop, and again: idempotent, order kept."""
    async with running(harness.supervisor(*harness.children("abc", on_terminate=takes(1)))) as tree:
        harness.log.clear()
        tree.scope.cancel()
        await trio.sleep(0.5)
        tree.scope.cancel()
        await trio.sleep(1)
        tree.scope.cancel()
        await tree.ended.wait()
        assert harness.log == ["terminate c", "gone c", "terminate b", "gone b", "terminate a", "gone a"]


async def test_a_stop_interrupts_a_group_restart(harness: Harness, autojump_clock: object) -> None:
    """60. The half-stopped group is stopped completely, in order, and no child is started again."""
    children = harness.children("abc", on_terminate=takes(1), shutdown=math.inf)
    async with running(harness.supervisor(*children, strategy=Strategy.ONE_FOR_ALL)) as tree:
        harness.log.clear()
        harness["b"].cast(Actor.crash)
        await trio.sleep(1.5)  # b has crashed, c is being stopped for the restart
        await tree.stop()
        assert harness.log == ["terminate b", "gone b", "terminate c", "gone c", "terminate a", "gone a"]


async def test_a_stop_interrupts_a_slow_init(harness: Harness, autojump_clock: object) -> None:
    """57. Cancelled while b's init runs: a and b are stopped, b within its time limit; OTP would wait for the init."""
    children = [harness.child("a"), harness.child("b", on_init=takes(DAY), shutdown=2)]
    with trio.move_on_after(1) as outer:
        await run(harness.supervisor(*children))
    assert outer.cancelled_caught
    assert trio.current_time() < 4
    assert harness.take_log() == ["init a", "init b", "terminate a"]


async def test_a_supervisor_may_have_no_children(harness: Harness) -> None:
    """61. Starts, stops."""
    async with running(harness.supervisor()) as tree:
        assert await tree.ref.call(Supervisor.which_children) == []
        await tree.stop()
        assert tree.error is None


async def test_any_significant_stops_at_the_first_exit(harness: Harness) -> None:
    """62. A significant transient child ends normally: siblings stop in reverse order, run returns without error."""
    children = [
        harness.child("a"),
        harness.child("s", restart=TRANSIENT, significant=True),
        harness.child("b"),
    ]
    async with running(harness.supervisor(*children, auto_shutdown=AutoShutdown.ANY_SIGNIFICANT)) as tree:
        harness.take_log()
        harness["s"].cast(Actor.leave)
        await tree.ended.wait()
        assert harness.take_log() == ["terminate s", "terminate b", "terminate a"]
        assert tree.error is None


async def test_all_significant_stops_at_the_last_exit(harness: Harness) -> None:
    """63. all_significant with two: the first ends, nothing; the second ends, it shuts down."""
    significant: dict[str, Any] = {"significant": True, "restart": TEMPORARY}
    children = [harness.child("s", **significant), harness.child("t", **significant), harness.child("a")]
    async with running(harness.supervisor(*children, auto_shutdown=AutoShutdown.ALL_SIGNIFICANT)) as tree:
        harness["s"].cast(Actor.leave)
        await settle()
        assert await harness.states(tree.ref) == {"t": "running", "a": "running"}
        harness["t"].cast(Actor.crash)
        await tree.ended.wait()
        assert tree.error is None


async def test_terminate_child_causes_no_auto_shutdown(harness: Harness) -> None:
    """62. Neither does the exit of a child that is not significant."""
    children = [
        harness.child("s", restart=TRANSIENT, significant=True),
        harness.child("a", restart=TRANSIENT),
    ]
    async with running(harness.supervisor(*children, auto_shutdown=AutoShutdown.ANY_SIGNIFICANT)) as tree:
        await tree.ref.call(Supervisor.terminate_child, "s")
        harness["a"].cast(Actor.leave)
        await settle()
        assert await harness.states(tree.ref) == {"s": "stopped", "a": "stopped"}


async def test_significant_without_an_effect_is_refused(harness: Harness) -> None:
    """65. significant with PERMANENT, or with auto_shutdown NEVER, also by start_child."""
    with pytest.raises(ValueError, match="'s': significant"):
        harness.child("s", significant=True)
    child = harness.child("s", significant=True, restart=TRANSIENT)
    with pytest.raises(ValueError, match="'s': significant"):
        Supervisor([child])
    async with running(harness.supervisor()) as tree:
        with pytest.raises(ValueError, match="'s': significant"):
            await tree.ref.call(Supervisor.start_child, child)


async def test_a_transient_supervisor_that_gave_up_is_not_restarted(harness: Harness) -> None:
    """42. Giving up is a shutdown, as in OTP; a permanent one is restarted by its parent, and that counts."""
    children = [
        harness.sub("t", harness.child("x"), restart=TRANSIENT, max_restarts=0),
        harness.sub("p", harness.child("y"), max_restarts=0),
    ]
    async with running(harness.supervisor(*children, max_restarts=1)) as tree:
        await harness.crash("x", "y")
        assert await harness.states(tree.ref) == {"t": "stopped", "p": "running"}
        harness["y"].cast(Actor.crash)
        await tree.ended.wait()
        assert isinstance(tree.error, MaxRestartsExceeded)
