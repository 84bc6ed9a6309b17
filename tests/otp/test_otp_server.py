"""Calls, casts, infos, timers and monitors of one server (behaviours 75 to 108)."""

import gc
from typing import Any

import pytest
import trio
from stage import TEMPORARY, TRANSIENT, Actor, Bang, Stage, crashed_with, running, settle

from cortex_trio.otp import (
    ActorExited,
    CallingSelf,
    Child,
    Crashed,
    Deferred,
    Down,
    GenServer,
    Killed,
    MailboxFull,
    Monitor,
    NoProcess,
    Normal,
    Ref,
    Shutdown,
    StartFailed,
    Stop,
    Supervisor,
    TaskSupervisor,
)


@pytest.fixture
def stage() -> Stage:
    return Stage()


async def sleep_a_second(actor: Actor) -> None:
    await trio.sleep(1)


class Caller:
    """Calls made in the background, and what became of them, in the order they ended."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self.outcomes: list[Any] = []

    async def call(self, ref: Ref[Any], method: Any, *args: Any) -> None:
        """Start a call and wait until it is in the mailbox."""
        self.nursery.start_soon(self._call, ref, method, *args)
        await settle()

    async def _call(self, ref: Ref[Any], method: Any, *args: Any) -> None:
        try:
            self.outcomes.append(await ref.call(method, *args))
        except Exception as error:
            self.outcomes.append(error)


# ---------------------------------------------------------------- F. calls


async def test_calls_are_handled_one_at_a_time_in_order(stage: Stage, autojump_clock: object) -> None:
    """75. A call returns the value; calls from many tasks are handled in arrival order."""
    async with running(stage.supervisor(stage.child("a"))), trio.open_nursery() as nursery:
        caller = Caller(nursery)
        begin = trio.current_time()
        for seconds in (3, 1, 2):
            await caller.call(stage["a"], Actor.sleep, seconds)
        await trio.sleep(10)
        assert caller.outcomes == ["slept 3", "slept 1", "slept 2"]
        assert trio.current_time() - begin >= 6


async def test_a_crash_fails_every_caller(stage: Stage, autojump_clock: object) -> None:
    """76, 77. Running and queued callers get ActorExited(Crashed) from the exception; started tells them apart."""
    async with running(stage.supervisor(stage.child("a"))), trio.open_nursery() as nursery:
        caller = Caller(nursery)

        async def crash_later(actor: Actor) -> None:
            await trio.sleep(1)
            raise Bang

        await caller.call(stage["a"], Actor.run_here, crash_later)
        await caller.call(stage["a"], Actor.add)
        await caller.call(stage["a"], Actor.add)
        await trio.sleep(2)
        assert all(isinstance(error, ActorExited) for error in caller.outcomes)
        assert sorted(error.started for error in caller.outcomes) == [False, False, True]
        assert {type(error.__cause__) for error in caller.outcomes} == {Bang}
        assert {type(error.reason) for error in caller.outcomes} == {Crashed}
        assert len({id(error) for error in caller.outcomes}) == 3  # fresh for each: tracebacks do not mix
        assert await stage["a"].call(Actor.add) == 1


async def test_a_call_to_nobody_fails_at_once(stage: Stage) -> None:
    """79. NoProcess: before the tree runs, after it stopped, and while it is stopping."""
    ref = stage["a"]
    with pytest.raises(NoProcess, match="'a'"):
        await ref.call(Actor.add)
    async with running(stage.supervisor(stage.child("a"))) as tree:
        await tree.ref.call(Supervisor.terminate_child, "a")
        with pytest.raises(NoProcess):
            await ref.call(Actor.add)


async def test_a_stopping_server_takes_no_more_calls(stage: Stage, autojump_clock: object) -> None:
    """79. What was queued before the stop request is still answered; what comes after it is NoProcess."""
    async with running(stage.supervisor(stage.child("a"))) as tree, trio.open_nursery() as nursery:
        caller = Caller(nursery)
        await caller.call(stage["a"], Actor.sleep, 1)
        await caller.call(stage["a"], Actor.add)
        nursery.start_soon(tree.stop)
        await settle()
        with pytest.raises(NoProcess):
            await stage["a"].call(Actor.add)
        await tree.ended.wait()
        assert caller.outcomes == ["slept 1", 1]


async def test_a_caller_that_ran_out_of_time(stage: Stage, autojump_clock: object) -> None:
    """80. TooSlowError; the server survives; the late reply is dropped; the next call gets its own answer."""
    async with running(stage.supervisor(stage.child("a"))):
        with pytest.raises(trio.TooSlowError):
            with trio.fail_after(1):
                await stage["a"].call(Actor.sleep, 5)
        assert await stage["a"].call(Actor.sleep, 0.5) == "slept 0.5"
        assert stage.incarnations == {"a": 1}


async def test_an_abandoned_call_is_still_executed(stage: Stage, autojump_clock: object) -> None:
    """80. Cancelling abandons the answer, not the work; but a caller that is cancelled already sends nothing."""
    async with running(stage.supervisor(stage.child("a"))):
        stage["a"].cast(Actor.run_here, sleep_a_second)
        with trio.move_on_after(0.5):
            await stage["a"].call(Actor.add, 10)
        assert not stage["a"].process.mailbox.pending  # nothing is kept for a caller that left
        with trio.CancelScope() as scope:
            scope.cancel()
            await stage["a"].call(Actor.add, 100)
        assert scope.cancelled_caught
        assert await stage["a"].call(Actor.add, 1) == 11


async def test_a_server_cannot_call_itself(stage: Stage) -> None:
    """82. CallingSelf at once; a background task of that server may."""
    results: list[Any] = []

    async def ask_myself(actor: Actor) -> None:
        with pytest.raises(CallingSelf, match="'a'"):
            await actor.ref.call(Actor.add)

    async def ask_in_the_background(actor: Actor) -> None:
        async def ask() -> None:
            results.append(await actor.ref.call(Actor.add))

        outside.start_soon(ask)

    async with running(stage.supervisor(stage.child("a"))), trio.open_nursery() as outside:
        await stage["a"].call(Actor.run_here, ask_myself)
        await stage["a"].call(Actor.run_here, ask_in_the_background)
        await settle()
        assert results == [1]


async def test_a_deferred_answer_comes_later(stage: Stage) -> None:
    """83. From another task; the server handles other messages meanwhile."""
    async with running(stage.supervisor(stage.child("a"))), trio.open_nursery() as nursery:
        caller = Caller(nursery)
        await caller.call(stage["a"], Actor.defer)
        assert await stage["a"].call(Actor.add) == 1
        assert caller.outcomes == []
        actor = stage["a"].process.server
        actor.deferred.reply("at last")
        await settle()
        assert caller.outcomes == ["at last"]


async def test_a_deferred_may_be_settled_before_it_is_returned(stage: Stage) -> None:
    """83. Then the answer is there at once."""

    class Early(GenServer):
        async def ask(self) -> Deferred[str]:
            answer: Deferred[str] = Deferred()
            answer.reply("early")
            return answer

    ref: Ref[Early] = Ref("early")
    async with running(stage.supervisor(Child(ref=ref, start=Early))):
        assert await ref.call(Early.ask) == "early"


async def test_a_deferred_answers_one_call(stage: Stage) -> None:
    """84. Returning it to a second caller is a crash, not a caller that waits for ever."""
    async with running(stage.supervisor(stage.child("a"))), trio.open_nursery() as nursery:
        caller = Caller(nursery)
        await caller.call(stage["a"], Actor.defer)
        await caller.call(stage["a"], Actor.defer)
        assert [type(error.__cause__) for error in caller.outcomes] == [RuntimeError, RuntimeError]


async def test_a_deferred_answer_dies_with_the_server(stage: Stage) -> None:
    """84. The caller gets ActorExited; a later reply is harmless."""
    async with running(stage.supervisor(stage.child("a"))), trio.open_nursery() as nursery:
        caller = Caller(nursery)
        await caller.call(stage["a"], Actor.defer)
        deferred = stage["a"].process.server.deferred
        await stage.crash("a")
        assert isinstance(caller.outcomes[0], ActorExited)
        assert caller.outcomes[0].started
        deferred.reply("too late")


async def test_the_first_answer_wins(stage: Stage, autojump_clock: object) -> None:
    """84. Settled twice, the first wins; caller gone, the reply is harmless."""
    async with running(stage.supervisor(stage.child("a"))), trio.open_nursery() as nursery:
        caller = Caller(nursery)
        await caller.call(stage["a"], Actor.defer)
        deferred = stage["a"].process.server.deferred
        deferred.reply("first")
        deferred.fail(Bang("second"))
        await settle()
        assert caller.outcomes == ["first"]
        await stage.crash("a")
        with trio.move_on_after(1):
            await stage["a"].call(Actor.defer)
        stage["a"].process.server.deferred.reply("nobody listens")
        assert await stage["a"].call(Actor.add) == 1


class Asker(GenServer):
    """Answers from tasks."""

    def __init__(self, tasks: Ref[TaskSupervisor]) -> None:
        self.tasks = tasks

    async def ask(self, act: Any) -> Deferred[str]:
        answer: Deferred[str] = Deferred()
        self.tasks.cast(TaskSupervisor.start_soon, answer.reply_with, act)
        return answer


@pytest.fixture
def asker(stage: Stage) -> list[Child[Any]]:
    tasks: Ref[TaskSupervisor] = stage["tasks"]
    return [Child(ref=tasks, start=TaskSupervisor), Child(ref=stage["asker"], start=lambda: Asker(tasks))]


async def test_a_task_answers_for_the_server(stage: Stage, asker: list[Child[Any]]) -> None:
    """85. reply_with under a TaskSupervisor: its value, or its exception; the server is untouched."""

    async def good() -> str:
        return "good"

    async def bad() -> str:
        raise Bang("bad")

    async with running(stage.supervisor(*asker)):
        assert await stage["asker"].call(Asker.ask, good) == "good"
        with pytest.raises(Bang, match="bad"):
            await stage["asker"].call(Asker.ask, bad)
        assert stage.told() == []


async def test_a_task_that_is_stopped_fails_its_caller(stage: Stage, asker: list[Child[Any]]) -> None:
    """85. The caller gets ActorExited(Killed) instead of waiting for ever."""
    async with running(stage.supervisor(*asker)), trio.open_nursery() as nursery:
        caller = Caller(nursery)
        await caller.call(stage["asker"], Asker.ask, trio.sleep_forever)
        stage["tasks"].kill()
        await settle()
        assert [error.reason for error in caller.outcomes] == [Killed()]


async def test_a_stop_with_a_reply(stage: Stage) -> None:
    """86. terminate runs first, the caller then gets the reply, then monitors hear of the end."""
    order: list[str] = []

    async def cleanup(actor: Actor) -> None:
        order.append("terminate")

    async def watch(monitor: Monitor) -> None:
        order.append(f"down {(await monitor.down()).reason}")

    async with running(stage.supervisor(stage.child("a", on_terminate=cleanup, restart=TRANSIENT))):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch, stage["a"].monitor())
            await settle()
            order.append(await stage["a"].call(Actor.leave_with, "bye"))
        assert order[0] == "terminate"
        assert sorted(order[1:]) == ["bye", "down ended normally"]  # both wake in one scheduler pass


async def test_a_stop_with_a_reply_whose_cleanup_crashes(stage: Stage) -> None:
    """86. The caller still gets the reply; the reason is the crash."""

    async def fail(actor: Actor) -> None:
        raise Bang("cleanup")

    async with running(stage.supervisor(stage.child("a", on_terminate=fail))):
        monitor = stage["a"].monitor()
        assert await stage["a"].call(Actor.leave_with, "bye") == "bye"
        assert str(crashed_with((await monitor.down()).reason)) == "cleanup"


async def test_a_stop_without_a_reply(stage: Stage) -> None:
    """87. The caller gets ActorExited(Normal)."""
    async with running(stage.supervisor(stage.child("a", restart=TRANSIENT))):
        with pytest.raises(ActorExited) as caught:
            await stage["a"].call(Actor.leave)
        assert caught.value.reason == Normal()
        assert caught.value.__cause__ is None


async def test_a_stop_with_none_as_reply(stage: Stage) -> None:
    """86. None is an answer."""

    class Leaver(GenServer):
        async def leave(self) -> None:
            raise Stop(Normal(), reply=None)

    ref: Ref[Leaver] = Ref("leaver")
    async with running(stage.supervisor(Child(ref=ref, start=Leaver))):
        assert await ref.call(Leaver.leave) is None


async def test_a_refused_call_is_no_crash(stage: Stage) -> None:
    """88. The caller gets the error; the server keeps state and process; nothing is reported."""
    async with running(stage.supervisor(stage.child("a"))):
        await stage["a"].call(Actor.add, 5)
        before = stage["a"].process
        with pytest.raises(LookupError, match="no"):
            await stage["a"].call(Actor.refuse)
        stage["a"].cast(Actor.refuse)
        assert await stage["a"].call(Actor.add) == 6
        assert stage["a"].process is before
        assert stage.told() == []


async def test_callers_of_an_init_that_fails(stage: Stage, autojump_clock: object) -> None:
    """89. They get ActorExited with the init's exception; their requests had not started."""

    async def fail_slowly(actor: Actor) -> None:
        await trio.sleep(1)
        raise Bang("init")

    async with running(stage.supervisor()) as tree, trio.open_nursery() as nursery:
        caller = Caller(nursery)
        await caller.call(tree.ref, Supervisor.start_child, stage.child("a", on_init=fail_slowly))
        await caller.call(stage["a"], Actor.add)
        await trio.sleep(2)
        exited, failed = sorted(caller.outcomes, key=lambda error: type(error).__name__)
        assert isinstance(failed, StartFailed)
        assert isinstance(exited, ActorExited)
        assert isinstance(exited.__cause__, Bang)
        assert not exited.started


async def test_a_call_during_init_waits(stage: Stage, autojump_clock: object) -> None:
    """90. Answered after init."""

    async def slowly(actor: Actor) -> None:
        await trio.sleep(1)
        actor.count = 10

    async with running(stage.supervisor()) as tree:
        tree.ref.cast(Supervisor.start_child, stage.child("a", on_init=slowly))
        await settle()
        assert await stage["a"].call(Actor.add) == 11


async def test_handle_continue_runs_before_the_first_message(stage: Stage, autojump_clock: object) -> None:
    """91. After init returned to the supervisor (the next sibling starts) and before the first queued message."""

    class Slow(Actor):
        async def handle_continue(self) -> None:
            await trio.sleep(1)
            self.stage.log.append("continued")

    children = [Child(ref=stage["slow"], start=lambda: Slow(stage)), stage.child("next")]
    async with running(stage.supervisor(*children)):
        await stage["slow"].call(Actor.note, "message")
        assert stage.take_log() == ["init slow", "init next", "continued", "message"]


async def test_a_cleanup_that_crashes_replaces_the_reason(stage: Stage) -> None:
    """92. The reason becomes the new exception, `__context__` keeps the old."""

    async def fail(actor: Actor) -> None:
        raise Bang("cleanup")

    async with running(stage.supervisor(stage.child("a", on_terminate=fail))):
        with pytest.raises(ActorExited) as caught:
            await stage["a"].call(Actor.crash, Bang("first"))
        error = crashed_with(caught.value.reason)
        assert str(error) == "cleanup"
        assert str(error.__context__) == "first"


async def test_a_stop_waits_for_the_method_a_kill_does_not(stage: Stage, autojump_clock: object) -> None:
    """93. Stop requested while a method sleeps: it finishes; kill: cancelled at its next checkpoint."""
    async with running(stage.supervisor(stage.child("a"))) as tree, trio.open_nursery() as nursery:
        caller = Caller(nursery)
        await caller.call(stage["a"], Actor.sleep, 1)
        await tree.ref.call(Supervisor.terminate_child, "a")
        assert caller.outcomes == ["slept 1"]
        await tree.ref.call(Supervisor.restart_child, "a")
        await caller.call(stage["a"], Actor.sleep, 1)
        begin = trio.current_time()
        stage["a"].kill()
        await settle()
        assert trio.current_time() == begin
        assert caller.outcomes[1].reason == Killed()


async def test_a_nursery_in_a_method(stage: Stage) -> None:
    """94. Two of its children crash: one Crashed(ExceptionGroup of 2); siblings untouched."""

    async def crash_twice(actor: Actor) -> None:
        async def bang() -> None:
            try:
                await trio.sleep_forever()
            finally:
                raise Bang

        async with trio.open_nursery() as nursery:
            nursery.start_soon(bang)
            nursery.start_soon(bang)
            await settle()
            nursery.cancel_scope.cancel()

    async with running(stage.supervisor(*stage.children("ab"))):
        before = stage["b"].process
        with pytest.raises(ActorExited) as caught:
            await stage["a"].call(Actor.run_here, crash_twice)
        error = crashed_with(caught.value.reason)
        assert isinstance(error, ExceptionGroup)
        assert [type(e) for e in error.exceptions] == [Bang, Bang]
        assert stage["b"].process is before


async def test_a_kill_whose_cleanup_crashes_is_a_crash(stage: Stage) -> None:
    """94. Cancelled and the error come as one group out of Trio; nothing escapes to the siblings."""

    async def crash_on_the_way_out(actor: Actor) -> None:
        async def bang() -> None:
            try:
                await trio.sleep_forever()
            finally:
                raise Bang("on the way out")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(bang)
            await trio.sleep_forever()

    async with running(stage.supervisor(*stage.children("ab"))):
        monitor, before = stage["a"].monitor(), stage["b"].process
        stage["a"].cast(Actor.run_here, crash_on_the_way_out)
        await settle()
        stage["a"].kill()
        error = crashed_with((await monitor.down()).reason)
        assert "on the way out" in repr(error)
        assert stage["b"].process is before


async def test_a_restart_forgets_state_and_mailbox(stage: Stage) -> None:
    """96. State is what init builds; queued casts and infos are gone."""
    async with running(stage.supervisor(stage.child("a"))):
        stage["a"].cast(Actor.crash)
        stage["a"].cast(Actor.add, 5)
        stage["a"].info("lost")
        await settle()
        assert await stage["a"].call(Actor.add) == 1
        assert await stage["a"].call(Actor.received) == []


async def test_messages_of_one_sender_keep_their_order(stage: Stage) -> None:
    """97. Casts and calls mixed."""
    async with running(stage.supervisor(stage.child("a"))):
        stage.take_log()
        for number in range(10):
            stage["a"].cast(Actor.note, f"cast {number}")
            await stage["a"].call(Actor.note, f"call {number}")
        assert stage.take_log() == [f"{kind} {n}" for n in range(10) for kind in ("cast", "call")]


# ---------------------------------------------------------------- G. cast, info, timers


async def test_a_cast_returns_at_once(stage: Stage, autojump_clock: object) -> None:
    """98. Though the server is busy; it runs later."""
    async with running(stage.supervisor(stage.child("a"))):
        stage["a"].cast(Actor.run_here, sleep_a_second)
        begin = trio.current_time()
        stage["a"].cast(Actor.add, 5)
        assert trio.current_time() == begin
        assert await stage["a"].call(Actor.add) == 6


async def test_messages_to_nobody_are_dead_letters(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """99. No error; one report each, without the content."""
    caplog.set_level("INFO", logger="cortex_trio.otp")
    stage["a"].cast(Actor.note, "secret")
    stage["a"].info("secret")
    assert stage["a"].dead_letters == 2
    assert [record.getMessage() for record in caplog.records] == [
        "dead letter: a cast to a",
        "dead letter: an info to a",
    ]


async def test_a_bounded_mailbox(stage: Stage, autojump_clock: object) -> None:
    """100. Bound 2, server busy: the third cast raises MailboxFull; calls, Downs and timers get through."""
    async with running(stage.supervisor(stage.child("a", mailbox=2), stage.child("b"))):
        ref = stage["a"]

        async def prepare(actor: Actor) -> None:
            actor.monitor(stage["b"])
            actor.send_after(0.5, "timer")
            stage["a"].cast(Actor.run_here, sleep_a_second)

        await ref.call(Actor.run_here, prepare)
        await settle()
        ref.cast(Actor.add)
        ref.cast(Actor.add)
        with pytest.raises(MailboxFull, match="'a'"):
            ref.cast(Actor.add)
        stage["b"].kill()
        assert await ref.call(Actor.add) == 3
        ref.cast(Actor.add)
        received = await ref.call(Actor.received)
        assert "timer" in received
        assert Down(stage["b"], Killed()) in received


async def test_a_mailbox_of_no_casts(stage: Stage) -> None:
    """100. Bound 0 refuses every cast and still answers calls."""
    async with running(stage.supervisor(stage.child("a", mailbox=0))):
        with pytest.raises(MailboxFull):
            stage["a"].cast(Actor.add)
        assert await stage["a"].call(Actor.add) == 1


async def test_a_cast_that_crashes(stage: Stage) -> None:
    """101. Crash, restart; there is no caller to tell."""
    async with running(stage.supervisor(stage.child("a"))):
        await stage.crash("a")
        assert stage.told() == ["child_terminated a"]
        assert await stage["a"].call(Actor.add) == 1


async def test_timers(stage: Stage, autojump_clock: object) -> None:
    """102. Fires once; cancel() prevents it; a timer of the old process never reaches the new one."""

    async def set_timers(actor: Actor) -> None:
        actor.send_after(1, "once")
        actor.send_after(1, "cancelled").cancel()
        actor.send_after(5, "too late")

    async with running(stage.supervisor(stage.child("a"))):
        await stage["a"].call(Actor.run_here, set_timers)
        await trio.sleep(2)
        assert await stage["a"].call(Actor.received) == ["once"]
        await stage.crash("a")
        await trio.sleep(10)
        assert await stage["a"].call(Actor.received) == []


async def test_a_timer_can_be_cancelled_when_it_has_rung(stage: Stage, autojump_clock: object) -> None:
    """102. In the mailbox but not handled yet: it is taken back."""

    async def ring_while_busy(actor: Actor) -> None:
        timer = actor.send_after(1, "taken back")
        await trio.sleep(2)
        timer.cancel()

    async with running(stage.supervisor(stage.child("a"))):
        await stage["a"].call(Actor.run_here, ring_while_busy)
        assert await stage["a"].call(Actor.received) == []


async def test_a_timer_cannot_go_back_in_time(stage: Stage) -> None:
    """102. ValueError, in the server, before anything is scheduled."""

    async def set_timer(actor: Actor) -> None:
        with pytest.raises(ValueError, match="seconds"):
            actor.send_after(-1, "never")

    async with running(stage.supervisor(stage.child("a"))):
        await stage["a"].call(Actor.run_here, set_timer)


async def test_a_stray_task_of_a_dead_server_sets_no_timers(stage: Stage, autojump_clock: object) -> None:
    """102. Nothing is delivered, nothing is left behind."""
    async with running(stage.supervisor(stage.child("a"))) as tree:
        old = stage["a"].process.server
        await stage.crash("a")
        old.send_after(1, "from beyond")
        await trio.sleep(2)
        assert await stage["a"].call(Actor.received) == []
        await tree.stop()


async def test_timers_outlive_a_cancelled_surrounding(stage: Stage, autojump_clock: object) -> None:
    """102. A server that still runs while later siblings stop still hears its timers."""

    async def set_timer(actor: Actor) -> None:
        actor.send_after(1, "rings during the shutdown")

    async def stop_slowly(actor: Actor) -> None:
        await trio.sleep(2)
        stage.log.append(str(await stage["a"].call(Actor.received)))

    children = [stage.child("a", on_init=set_timer), stage.child("b", on_terminate=stop_slowly)]
    async with running(stage.supervisor(*children)) as tree:
        await tree.stop()
        assert "['rings during the shutdown']" in stage.log


# ---------------------------------------------------------------- H. monitors


async def test_a_monitor_tells_once(stage: Stage) -> None:
    """103. One Down(Crashed) with the reason; not again for the next incarnation."""
    downs: list[Down] = []

    class Watcher(Actor):
        async def handle_info(self, message: object) -> None:
            assert isinstance(message, Down)
            downs.append(message)

        async def init(self) -> None:
            self.monitor(stage["a"])

    children = [stage.child("a"), Child(ref=stage["w"], start=lambda: Watcher(stage))]
    async with running(stage.supervisor(*children)):
        await stage.crash("a", "a")
        assert [down.ref for down in downs] == [stage["a"]]
        assert isinstance(crashed_with(downs[0].reason), Bang)


async def test_a_monitor_of_nobody(stage: Stage) -> None:
    """104. Down(None) immediately, by await and in handle_info."""
    nobody: Ref[Actor] = Ref("nobody")
    assert await nobody.monitor().down() == Down(nobody, None)

    async def watch(actor: Actor) -> None:
        actor.monitor(nobody)

    async with running(stage.supervisor(stage.child("a", on_init=watch))):
        assert await stage["a"].call(Actor.received) == [Down(nobody, None)]


async def test_a_cancelled_monitor_is_silent(stage: Stage) -> None:
    """106. Nothing arrives, even if the exit happened but was not yet handled."""

    async def watch_and_cancel(actor: Actor) -> None:
        before, after = actor.monitor(stage["b"]), actor.monitor(stage["b"])
        before.cancel()
        stage["b"].kill()
        await settle()  # the Down is in the mailbox
        after.cancel()

    async with running(stage.supervisor(*stage.children("ab"))):
        await stage["a"].call(Actor.run_here, watch_and_cancel)
        assert await stage["a"].call(Actor.received) == []


async def test_two_monitors_are_two_downs(stage: Stage) -> None:
    """107. On one process, by one watcher."""

    async def watch_twice(actor: Actor) -> None:
        actor.monitor(stage["b"])
        actor.monitor(stage["b"])

    async with running(stage.supervisor(*stage.children("ab"))):
        await stage["a"].call(Actor.run_here, watch_twice)
        stage["b"].kill()
        await settle()
        assert await stage["a"].call(Actor.received) == [Down(stage["b"], Killed())] * 2
        assert not stage["a"].process.at_exit  # a monitor that has told is over


async def test_a_dead_watcher_leaves_nothing_behind(stage: Stage) -> None:
    """107. The watcher dying first leaves no callback; nor does a plain monitor that is dropped."""

    async def watch(actor: Actor) -> None:
        if actor.incarnation == 1:
            actor.monitor(stage["b"])

    async with running(stage.supervisor(stage.child("a", on_init=watch), stage.child("b"))):
        await stage["a"].call(Actor.run_here, watch)
        assert len(stage["b"].process.watchers) == 1
        await stage.crash("a")
        assert len(stage["b"].process.watchers) == 0
        with trio.move_on_after(0):
            await stage["b"].monitor().down()
        await settle()  # Trio itself holds the last Cancelled until its next step
        gc.collect()
        assert len(stage["b"].process.watchers) == 0


async def test_a_down_is_in_order_with_other_messages(stage: Stage) -> None:
    """108. What was posted before it comes before it."""

    async def watch(actor: Actor) -> None:
        actor.monitor(stage["b"])
        stage["a"].info("before")
        stage["b"].kill()
        await settle()
        stage["a"].info("after")

    async with running(stage.supervisor(*stage.children("ab"))):
        await stage["a"].call(Actor.run_here, watch)
        assert await stage["a"].call(Actor.received) == ["before", Down(stage["b"], Killed()), "after"]


async def test_reasons_reach_monitors_unchanged(stage: Stage) -> None:
    """103. Shutdown with what it announced."""
    async with running(stage.supervisor(stage.child("a", restart=TEMPORARY))):
        monitor = stage["a"].monitor()
        stage["a"].cast(Actor.leave, Shutdown("tired"))
        assert (await monitor.down()) == Down(stage["a"], Shutdown("tired"))
