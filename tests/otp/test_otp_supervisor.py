"""Start, restart types, strategies and the restart intensity of the static supervisor (behaviours 1 to 45)."""

import math
from typing import Any

import pytest
import trio
from harness import PERMANENT, TEMPORARY, TRANSIENT, Actor, Bang, Harness, running, settle

from cortex_trio.otp import (
    Backoff,
    Child,
    Crashed,
    Ignore,
    Killed,
    MaxRestartsExceeded,
    Normal,
    Ref,
    Report,
    ReportKind,
    RestartIntensity,
    Shutdown,
    StartFailed,
    Strategy,
    Supervisor,
    run,
)


@pytest.fixture
def harness() -> Harness:
    return Harness()


async def fail(actor: Actor) -> None:
    raise Bang(actor.ref.name)


async def ignore(actor: Actor) -> None:
    raise Ignore


def fail_from(incarnation: int) -> Any:
    async def act(actor: Actor) -> None:
        if actor.incarnation >= incarnation:
            raise Bang(actor.ref.name)

    return act


# ---------------------------------------------------------------- A. start, specs, restart types


async def test_children_start_one_after_the_other(harness: Harness, autojump_clock: object) -> None:
    """1. Inits run a, b, c, each finished before the next begins, and start returns only after c."""

    async def slowly(actor: Actor) -> None:
        await trio.sleep(1)
        harness.log.append(f"ready {actor.ref.name}")

    async with running(harness.supervisor(*harness.children("abc", on_init=slowly))):
        assert harness.take_log() == ["init a", "ready a", "init b", "ready b", "init c", "ready c"]
        assert trio.current_time() >= 3


def test_two_specs_with_one_id_are_refused(harness: Harness) -> None:
    """2. Refused before anything runs; the error names the id."""
    with pytest.raises(ValueError, match="'twin'"):
        Supervisor([harness.child("twin"), Child(ref=Ref("twin"), start=lambda: Actor(harness))])


@pytest.mark.parametrize(
    ("field", "build"),
    [
        ("max_restarts", lambda child: Supervisor([child()], max_restarts=-1)),
        ("max_restarts", lambda child: Supervisor([child()], max_restarts=1.5)),  # type: ignore[arg-type]
        ("max_seconds", lambda child: Supervisor([child()], max_seconds=0)),
        ("max_seconds", lambda child: Supervisor([child()], max_seconds="5")),  # type: ignore[arg-type]
        ("strategy", lambda child: Supervisor([child()], strategy="one_for_one")),  # type: ignore[arg-type]
        ("auto_shutdown", lambda child: Supervisor([child()], auto_shutdown="any")),  # type: ignore[arg-type]
        ("shutdown", lambda child: child(shutdown=-1)),
        ("shutdown", lambda child: child(shutdown=math.nan)),
        ("shutdown", lambda child: child(shutdown="5")),
        ("restart", lambda child: child(restart="permanent")),
        ("mailbox", lambda child: child(mailbox=-1)),
        ("mailbox", lambda child: child(mailbox=None)),
        ("start", lambda child: Child(ref=Ref("a"), start=None)),  # type: ignore[arg-type]
        ("ref", lambda child: Child(ref="a", start=Actor)),  # type: ignore[arg-type]
        ("first", lambda child: Backoff(first=-1)),
        ("factor", lambda child: Backoff(factor=0.5)),
        ("jitter", lambda child: Backoff(jitter=1.5)),
        ("children", lambda child: Supervisor(["a"])),  # type: ignore[list-item]
        ("named", lambda child: Ref("")),
    ],
)
def test_a_bad_argument_is_refused_by_name(harness: Harness, field: str, build: Any) -> None:
    """3. ValueError naming the field; nothing started."""
    with pytest.raises(ValueError, match=field):
        build(lambda **spec: harness.child("a", **spec))
    assert harness.log == []


async def test_a_failed_start_stops_the_children_before_it(harness: Harness) -> None:
    """4. b then a are stopped with Shutdown, StartFailed("c") has the exception as cause, no task is left."""
    root = harness.supervisor(*harness.children("ab"), harness.child("c", on_init=fail), harness.child("d"))
    async with trio.open_nursery() as nursery:
        with pytest.raises(StartFailed) as caught:
            await run(root)
        assert not nursery.child_tasks
    assert caught.value.child == "c"
    assert isinstance(caught.value.__cause__, Bang)
    assert harness.take_log() == ["init a", "init b", "init c", "terminate b", "terminate a"]
    assert harness.reasons == [Shutdown(), Shutdown()]
    assert harness.reported() == ["start_error c"]


async def test_a_factory_that_fails_is_a_failed_start(harness: Harness) -> None:
    """4. So is a factory that does not return a server."""

    def broken() -> Actor:
        raise Bang("factory")

    for start in (broken, lambda: "not a server"):
        child: Child[Any] = Child(ref=harness["a"], start=start)
        with pytest.raises(StartFailed) as caught:
            await run(harness.supervisor(child))
        assert caught.value.__cause__ is not None


async def test_a_nested_start_failure_names_every_level(harness: Harness) -> None:
    """4. StartFailed of the subtree is caused by StartFailed of its child, caused by the crash."""
    with pytest.raises(StartFailed) as caught:
        await run(harness.supervisor(harness.sub("sub", harness.child("leaf", on_init=fail))))
    inner = caught.value.__cause__
    assert caught.value.child == "sub"
    assert isinstance(inner, StartFailed)
    assert inner.child == "leaf"
    assert isinstance(inner.__cause__, Bang)


async def test_an_ignored_start_keeps_the_spec(harness: Harness) -> None:
    """6. The tree is up, a is "stopped" and can be started with restart_child: 3 specs, 2 active."""

    async def only_later(actor: Actor) -> None:
        if actor.incarnation == 1:
            raise Ignore

    async with running(
        harness.supervisor(harness.child("a", on_init=only_later), *harness.children("bc"))
    ) as tree:
        assert await harness.states(tree.ref) == {"a": "stopped", "b": "running", "c": "running"}
        await tree.ref.call(Supervisor.restart_child, "a")
        assert await harness.states(tree.ref) == {"a": "running", "b": "running", "c": "running"}
        assert harness.reported() == []


async def test_a_factory_may_raise_ignore(harness: Harness) -> None:
    """6. As OTP's start function, which may return `ignore`."""

    def decline() -> Actor:
        raise Ignore

    children = [Child(ref=harness["a"], start=decline), harness.child("b")]
    async with running(harness.supervisor(*children)) as tree:
        assert await harness.states(tree.ref) == {"a": "stopped", "b": "running"}
    assert harness.reported() == []


async def test_an_ignored_temporary_child_is_forgotten(harness: Harness) -> None:
    """7. It is not in which_children."""
    root = harness.supervisor(harness.child("a", on_init=ignore, restart=TEMPORARY), harness.child("b"))
    async with running(root) as tree:
        assert await harness.states(tree.ref) == {"b": "running"}


@pytest.mark.parametrize("reason", [Normal(), Shutdown(), Shutdown("done"), Killed(), Crashed(Bang())])
async def test_a_permanent_child_is_restarted_after_every_reason(harness: Harness, reason: Any) -> None:
    """8, 9. Restarted, counted, and reported as child_terminated, also after Normal and Shutdown(info)."""
    async with running(harness.supervisor(harness.child("a"), max_restarts=1)) as tree:
        harness["a"].cast(Actor.leave, reason)
        await settle()
        assert await harness["a"].call(Actor.add) == 1
        assert Report(ReportKind.CHILD_TERMINATED, "root", "a", harness.reasons[0]) in harness.reports
        harness["a"].cast(Actor.leave, reason)
        await tree.ended.wait()
        assert isinstance(tree.error, MaxRestartsExceeded)


async def test_a_transient_child_that_stops_is_not_restarted(harness: Harness) -> None:
    """10. Not restarted after Normal or Shutdown, listed as stopped, no error report."""
    async with running(harness.supervisor(*harness.children("ab", restart=TRANSIENT))) as tree:
        harness["a"].cast(Actor.leave, Normal())
        harness["b"].cast(Actor.leave, Shutdown("enough"))
        await settle()
        assert await harness.states(tree.ref) == {"a": "stopped", "b": "stopped"}
        assert harness.reported() == []


async def test_a_transient_child_that_crashes_is_restarted_with_fresh_state(harness: Harness) -> None:
    """12. Its state is what init builds."""
    async with running(harness.supervisor(harness.child("a", restart=TRANSIENT))):
        assert await harness["a"].call(Actor.add, 5) == 5
        await harness.crash("a")
        assert await harness["a"].call(Actor.add) == 1


async def test_a_killed_transient_child_is_restarted(harness: Harness) -> None:
    """13. A kill that the supervisor did not do is abnormal; terminate is not called."""
    async with running(harness.supervisor(harness.child("a", restart=TRANSIENT))):
        harness["a"].kill()
        await settle()
        assert harness.take_log() == ["init a", "init a"]
        assert harness.reports[-2] == Report(ReportKind.CHILD_TERMINATED, "root", "a", Killed())


async def test_a_temporary_child_that_crashes_is_reported_and_forgotten(harness: Harness) -> None:
    """14. Its siblings are untouched."""
    async with running(harness.supervisor(harness.child("a", restart=TEMPORARY), harness.child("b"))) as tree:
        await harness["b"].call(Actor.add)
        await harness.crash("a")
        assert await harness.states(tree.ref) == {"b": "running"}
        assert await harness["b"].call(Actor.add) == 2
        assert harness.reported() == ["child_terminated a"]


async def test_the_id_of_a_removed_child_is_free(harness: Harness) -> None:
    """15. start_child with the same id is accepted."""
    async with running(harness.supervisor(harness.child("a", restart=TEMPORARY))) as tree:
        await harness.crash("a")
        await tree.ref.call(Supervisor.start_child, harness.child("a", restart=TEMPORARY))
        assert await harness.states(tree.ref) == {"a": "running"}


async def test_a_supervisor_ignores_unexpected_messages(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    """16. It is reported, by type and not by content, and ignored."""
    async with running(harness.supervisor(harness.child("a"))) as tree:
        tree.ref.info({"password": "hunter2"})
        await settle()
        assert await harness.states(tree.ref) == {"a": "running"}
    assert "root ignored an unexpected dict" in caplog.text
    assert "hunter2" not in caplog.text


async def test_one_factory_serves_three_children(harness: Harness) -> None:
    """17. All run, independently."""

    def factory() -> Actor:
        return Actor(harness)

    children = [Child(ref=harness[name], start=factory) for name in "abc"]
    async with running(Supervisor(children)):
        await harness["a"].call(Actor.add, 7)
        assert [await harness[name].call(Actor.add) for name in "abc"] == [8, 1, 1]


async def test_a_server_object_runs_only_once(harness: Harness) -> None:
    """17. A factory that gives the same server again has kept its state: the restart fails with the reason."""
    same = Actor(harness)
    async with running(harness.supervisor(Child(ref=harness["a"], start=lambda: same))) as tree:
        harness["a"].cast(Actor.crash)
        await tree.ended.wait()
        assert isinstance(tree.error, MaxRestartsExceeded)
        assert "ran before" in str(tree.error.__cause__.exceptions[-1])  # type: ignore[union-attr]


async def test_a_ref_cannot_be_behind_two_processes(harness: Harness) -> None:
    """3. A ref that is running elsewhere is refused by the supervisor's init, by id."""
    async with running(harness.supervisor(harness.child("a"))):
        with pytest.raises(ValueError, match="'a'"):
            await run(harness.supervisor(harness.child("z"), harness.child("a")))
        assert "init z" not in harness.log


# ---------------------------------------------------------------- B. strategies


async def test_one_for_one_restarts_no_other_child(harness: Harness) -> None:
    """19. Only b has a new process; a and c keep process and state."""
    async with running(harness.supervisor(*harness.children("abc"))):
        before = {name: harness[name].process for name in "abc"}
        await harness.crash("b")
        assert [harness[name].process is before[name] for name in "abc"] == [True, False, True]


async def test_one_for_all_stops_in_reverse_and_starts_in_order(harness: Harness) -> None:
    """20, 31. b crashes: stop order c, a; start order a, b, c; with ids in no alphabetical order."""
    async with running(harness.supervisor(*harness.children("zma"), strategy=Strategy.ONE_FOR_ALL)):
        await harness["z"].call(Actor.add)
        harness.take_log()
        await harness.crash("m")
        assert harness.take_log() == [
            "terminate m",
            "terminate a",
            "terminate z",
            "init z",
            "init m",
            "init a",
        ]
        assert await harness["z"].call(Actor.add) == 1


async def test_rest_for_one_does_not_restart_earlier_children(harness: Harness) -> None:
    """21, 31. a untouched; c stopped; b then c started."""
    async with running(harness.supervisor(*harness.children("zma"), strategy=Strategy.REST_FOR_ONE)):
        await harness["z"].call(Actor.add)
        harness.take_log()
        await harness.crash("m")
        assert harness.take_log() == ["terminate m", "terminate a", "init m", "init a"]
        assert await harness["z"].call(Actor.add) == 2


async def test_rest_for_one_restarts_only_the_last_child(harness: Harness) -> None:
    """22. Behaves like one_for_one."""
    async with running(harness.supervisor(*harness.children("abc"), strategy=Strategy.REST_FOR_ONE)):
        harness.take_log()
        await harness.crash("c")
        assert harness.take_log() == ["terminate c", "init c"]


@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE])
async def test_a_group_restart_forgets_temporary_siblings(harness: Harness, strategy: Strategy) -> None:
    """24. The temporary child is stopped and forgotten, and is not counted."""
    root = harness.supervisor(
        harness.child("a"), harness.child("t", restart=TEMPORARY), strategy=strategy, max_restarts=1
    )
    async with running(root) as tree:
        harness.take_log()
        await harness.crash("a")
        assert harness.take_log() == ["terminate a", "terminate t", "init a"]
        assert await harness.states(tree.ref) == {"a": "running"}


async def test_the_crash_of_a_temporary_child_stops_no_other(harness: Harness) -> None:
    """25. Under one_for_all too."""
    root = harness.supervisor(
        harness.child("a"), harness.child("t", restart=TEMPORARY), strategy=Strategy.ONE_FOR_ALL
    )
    async with running(root):
        await harness["a"].call(Actor.add)
        await harness.crash("t")
        assert await harness["a"].call(Actor.add) == 2


async def test_two_crashes_at_once_are_two_restarts(harness: Harness) -> None:
    """27. one_for_one, limit 1: the supervisor gives up."""
    async with running(harness.supervisor(*harness.children("ab"), max_restarts=1)) as tree:
        harness["a"].cast(Actor.crash)
        harness["b"].cast(Actor.crash)
        await tree.ended.wait()
        assert isinstance(tree.error, MaxRestartsExceeded)


async def test_two_crashes_at_once_are_one_group_restart(harness: Harness) -> None:
    """27. Under one_for_all both exits are handled together, and counted once."""
    root = harness.supervisor(*harness.children("ab"), max_restarts=1, strategy=Strategy.ONE_FOR_ALL)
    async with running(root) as tree:
        harness["a"].cast(Actor.crash)
        harness["b"].cast(Actor.crash)
        await settle()
        assert await harness.states(tree.ref) == {"a": "running", "b": "running"}


async def test_a_group_restart_that_fails_is_retried_as_a_group(harness: Harness) -> None:
    """28. a restarts, then c's init fails: a and b are stopped again, and every attempt counts."""

    async def fail_twice(actor: Actor) -> None:
        if actor.incarnation in (2, 3):
            raise Bang

    children = [*harness.children("ab"), harness.child("c", on_init=fail_twice)]
    async with running(harness.supervisor(*children, strategy=Strategy.ONE_FOR_ALL, max_restarts=3)) as tree:
        harness.take_log()
        await harness.crash("b")
        start, stop = ["init a", "init b", "init c"], ["terminate b", "terminate a"]
        assert harness.take_log() == [
            "terminate b",
            "terminate c",
            "terminate a",
            *start,
            *stop,
            *start,
            *stop,
            *start,
        ]
        harness["a"].cast(Actor.crash)  # the fourth in the window
        await tree.ended.wait()
        assert isinstance(tree.error, MaxRestartsExceeded)


async def test_rest_for_one_retries_from_the_one_that_failed(harness: Harness) -> None:
    """28. Those before it go on."""

    async def fail_once(actor: Actor) -> None:
        if actor.incarnation == 2:
            raise Bang

    children = [
        harness.child("a"),
        harness.child("b"),
        harness.child("c", on_init=fail_once),
        harness.child("d"),
    ]
    async with running(harness.supervisor(*children, strategy=Strategy.REST_FOR_ONE)):
        harness.take_log()
        await harness.crash("b")
        assert harness.take_log() == [
            *["terminate b", "terminate d", "terminate c", "init b", "init c"],
            *["init c", "init d"],
        ]


async def test_a_sibling_that_does_not_stop_in_time_is_cancelled(
    harness: Harness, autojump_clock: object
) -> None:
    """30. shutdown_error is reported, the restart proceeds."""

    async def dawdle(actor: Actor) -> None:
        await trio.sleep(60)

    children = [harness.child("a", on_terminate=dawdle, shutdown=0.5), harness.child("b")]
    async with running(harness.supervisor(*children, strategy=Strategy.ONE_FOR_ALL)):
        started = trio.current_time()
        await harness["b"].call(Actor.add)
        harness["b"].cast(Actor.crash)
        await trio.sleep(0.6)
        assert harness.reported() == ["child_terminated b", "shutdown_error a"]
        assert trio.current_time() - started < 1
        assert await harness["b"].call(Actor.add) == 1
        harness["a"].kill()


# ---------------------------------------------------------------- C. restart intensity


async def test_exactly_max_restarts_are_allowed(harness: Harness, autojump_clock: object) -> None:
    """32. limit 3 in 5: three crashes at t=0, still up; the fourth gives up."""
    async with running(harness.supervisor(harness.child("a"), max_restarts=3, max_seconds=5)) as tree:
        await harness.crash("a", "a", "a")
        assert await harness["a"].call(Actor.add) == 1
        harness["a"].cast(Actor.crash)
        await tree.ended.wait()
        assert isinstance(tree.error, MaxRestartsExceeded)
        assert tree.error.supervisor == "root"
        assert harness.incarnations == {"a": 4}


async def test_with_zero_restarts_the_first_crash_gives_up(harness: Harness) -> None:
    """33. The first crash gives up without any restart."""
    async with running(harness.supervisor(harness.child("a"), max_restarts=0)) as tree:
        harness["a"].cast(Actor.crash)
        await tree.ended.wait()
        assert isinstance(tree.error, MaxRestartsExceeded)
        assert harness.incarnations == {"a": 1}


def test_the_window_slides() -> None:
    """35. limit 2 in 10: crashes at 0, 6, 11, 17, 22 ... never give up; 0, 6, 9 do."""
    steady = RestartIntensity(2, 10)
    assert all(steady.allow(t) for start in range(0, 1000, 11) for t in (start, start + 6))
    hasty = RestartIntensity(2, 10)
    assert [hasty.allow(t) for t in (0, 6, 9)] == [True, True, False]


def test_the_window_is_inclusive() -> None:
    """35. A restart exactly max_seconds ago still counts; one a moment earlier does not."""
    assert [RestartIntensity(1, 5).allow(0), *map(_after_zero, (5.0, 5.001))] == [True, False, True]


def _after_zero(now: float) -> bool:
    intensity = RestartIntensity(1, 5)
    intensity.allow(0)
    return intensity.allow(now)


async def test_all_children_share_the_counter(harness: Harness) -> None:
    """36. limit 3, four different children crash once each: it gives up."""
    async with running(harness.supervisor(*harness.children("abcd"), max_restarts=3)) as tree:
        await harness.crash("a", "b", "c")
        harness["d"].cast(Actor.crash)
        await tree.ended.wait()
        assert isinstance(tree.error, MaxRestartsExceeded)


async def test_failing_start_child_does_not_count(harness: Harness) -> None:
    """38. start_child failing 10 times leaves the counter untouched."""
    async with running(harness.supervisor(harness.child("a"), max_restarts=1)) as tree:
        for _ in range(10):
            with pytest.raises(StartFailed):
                await tree.ref.call(Supervisor.start_child, harness.child("x", on_init=fail))
        await harness.crash("a")
        assert harness["a"].alive


async def test_restart_child_does_not_count(harness: Harness) -> None:
    """39. terminate and restart 10 times, restart_child failing 10 times: untouched, and it stays "stopped"."""
    children = [harness.child("a"), harness.child("bad", on_init=fail_from(2))]
    async with running(harness.supervisor(*children, max_restarts=1)) as tree:
        for _ in range(10):
            await tree.ref.call(Supervisor.terminate_child, "a")
            await tree.ref.call(Supervisor.restart_child, "a")
        await tree.ref.call(Supervisor.terminate_child, "bad")
        for _ in range(10):
            with pytest.raises(StartFailed):
                await tree.ref.call(Supervisor.restart_child, "bad")
            assert (await harness.states(tree.ref))["bad"] == "stopped"
        await harness.crash("a")
        assert harness["a"].alive


async def test_exits_without_restart_do_not_count(harness: Harness) -> None:
    """40. Transient normal exits and temporary crashes, 10 times each."""
    children = [harness.child("n", restart=TRANSIENT), harness.child("a")]
    async with running(harness.supervisor(*children, max_restarts=1)) as tree:
        for _ in range(10):
            harness["n"].cast(Actor.leave)
            await settle()
            await tree.ref.call(Supervisor.restart_child, "n")
            await tree.ref.call(Supervisor.start_child, harness.child("t", restart=TEMPORARY))
            await harness.crash("t")
        await harness.crash("a")
        assert harness["a"].alive


async def test_normal_exits_of_a_permanent_child_count(harness: Harness, autojump_clock: object) -> None:
    """41. Four in 5 s: gives up like crashes; the cause has the exits."""
    async with running(harness.supervisor(harness.child("a", restart=PERMANENT))) as tree:
        for _ in range(4):
            harness["a"].cast(Actor.leave)
            await settle()
        await tree.ended.wait()
        assert isinstance(tree.error, MaxRestartsExceeded)
        assert isinstance(tree.error.__cause__, ExceptionGroup)
        assert "ended normally" in str(tree.error.__cause__.exceptions[0])


async def test_giving_up_is_reported_in_order(harness: Harness) -> None:
    """42. child_terminated, then max_restarts, then the children stop newest first, terminate ran in each."""
    root = harness.supervisor(*harness.children("abc"), max_restarts=0)
    stage_log = harness.log
    async with running(root) as tree:
        stage_log.clear()
        harness["b"].cast(Actor.crash)
        await tree.ended.wait()
        assert harness.reported() == ["child_terminated b", "max_restarts b"]
        assert harness.take_log() == ["terminate b", "terminate c", "terminate a"]


async def test_a_restarted_supervisor_has_its_static_children(harness: Harness) -> None:
    """44. Statically listed grandchildren are back, children added with start_child are not."""
    async with running(harness.supervisor(harness.sub("sub", harness.child("leaf")))) as tree:
        await harness["sub"].call(Supervisor.start_child, harness.child("added"))
        harness["sub"].kill()
        await settle()
        assert await harness.states(harness["sub"]) == {"leaf": "running"}
        assert not harness["added"].alive
        assert await harness.states(tree.ref) == {"sub": "running"}


async def test_a_group_restart_counts_once(harness: Harness) -> None:
    """45. one_for_all of three children, limit 1: still up after one crash."""
    root = harness.supervisor(*harness.children("abc"), strategy=Strategy.ONE_FOR_ALL, max_restarts=1)
    async with running(root) as tree:
        await harness.crash("a")
        assert await harness.states(tree.ref) == dict.fromkeys("abc", "running")


async def test_one_for_all_starts_finished_and_terminated_children_again(harness: Harness) -> None:
    """20. The whole group starts: also a transient child that had finished, and one that was terminated."""
    children = [harness.child("a"), harness.child("t", restart=TRANSIENT), harness.child("s")]
    async with running(harness.supervisor(*children, strategy=Strategy.ONE_FOR_ALL)) as tree:
        harness["t"].cast(Actor.leave)
        await tree.ref.call(Supervisor.terminate_child, "s")
        assert await harness.states(tree.ref) == {"a": "running", "t": "stopped", "s": "stopped"}
        await harness.crash("a")
        assert await harness.states(tree.ref) == dict.fromkeys("ats", "running")
