"""Calls, casts, infos, timers and monitors of one server (behaviours 75 to 108)."""

import gc
from typing import Any

import pytest
import trio
from harness import TEMPORARY, TRANSIENT, Actor, Bang, Harness, crashed_with, running, settle

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
def harness() -> Harness:
    return Harness()


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


async def test_calls_are_handled_one_at_a_time_in_order(harness: Harness, autojump_clock: object) -> None:
    """75. A call returns the value; calls from many tasks are handled in arrival order."""
    async with running(harness.supervisor(harness.child("a"))), trio.open_nursery() as nursery:
        caller = Caller(nursery)
        begin = trio.current_time()
        for seconds in (3, 1, 2):
            await caller.call(harness["a"], Actor.sleep, seconds)
        await trio.sleep(10)
        assert caller.outcomes == ["slept 3", "slept 1", "slept 2"]
        assert trio.current_time() - begin >= 6


async def test_a_crash_fails_every_caller(harness: Harness, autojump_clock: object) -> None:
    """76, 77. Running and queued callers get ActorExited(Crashed) from the exception; `started` is the difference."""
    async with running(harness.supervisor(harness.child("a"))), trio.open_nursery() as nursery:
        caller = Caller(nursery)

        async def crash_later(actor: Actor) -> None:
            await trio.sleep(1)
            raise Bang

        await caller.call(harness["a"], Actor.run_here, crash_later)
        await caller.call(harness["a"], Actor.add)
        await caller.call(harness["a"], Actor.add)
        await trio.sleep(2)
        assert all(isinstance(error, ActorExited) for error in caller.outcomes)
        assert sorted(error.started for error in caller.outcomes) == [False, False, True]
        assert {type(error.__cause__) for error in caller.outcomes} == {Bang}
        assert {type(error.reason) for error in caller.outcomes} == {Crashed}
        assert len({id(error) for error in caller.outcomes}) == 3  # fresh for each: tracebacks do not mix
        assert await harness["a"].call(Actor.add) == 1


async def test_a_call_without_a_process_fails_at_once(harness: Harness) -> None:
    """79. NoProcess: before the tree runs, after it stopped, and while it is stopping."""
    ref = harness["a"]
    with pytest.raises(NoProcess, match="'a'"):
        await ref.call(Actor.add)
    async with running(harness.supervisor(harness.child("a"))) as tree:
        await tree.ref.call(Supervisor.terminate_child, "a")
        with pytest.raises(NoProcess):
            await ref.call(Actor.add)


async def test_a_stopping_server_accepts_no_more_calls(harness: Harness, autojump_clock: object) -> None:
    """79. What was queued before the stop request is still answered; what comes after it is NoProcess."""
    async with running(harness.supervisor(harness.child("a"))) as tree, trio.open_nursery() as nursery:
        caller = Caller(nursery)
        await caller.call(harness["a"], Actor.sleep, 1)
        await caller.call(harness["a"], Actor.add)
        nursery.start_soon(tree.stop)
        await settle()
        with pytest.raises(NoProcess):
            await harness["a"].call(Actor.add)
        await tree.ended.wait()
        assert caller.outcomes == ["slept 1", 1]


async def test_the_late_answer_to_a_cancelled_caller_is_dropped(
    harness: Harness, autojump_clock: object
) -> None:
    """80. TooSlowError; the server survives; the late reply is dropped; the next call gets its own answer."""
    async with running(harness.supervisor(harness.child("a"))):
        with pytest.raises(trio.TooSlowError):
            with trio.fail_after(1):
                await harness["a"].call(Actor.sleep, 5)
        assert await harness["a"].call(Actor.sleep, 0.5) == "slept 0.5"
        assert harness.incarnations == {"a": 1}


async def test_an_abandoned_call_is_still_executed(harness: Harness, autojump_clock: object) -> None:
    """80. Cancelling drops only the answer; but a caller that is cancelled already sends nothing."""
    async with running(harness.supervisor(harness.child("a"))):
        harness["a"].cast(Actor.run_here, sleep_a_second)
        with trio.move_on_after(0.5):
            await harness["a"].call(Actor.add, 10)
        assert not harness["a"].process.mailbox.pending  # nothing is kept for a caller that left
        with trio.CancelScope() as scope:
            scope.cancel()
            await harness["a"].call(Actor.add, 100)
        assert scope.cancelled_caught
        assert await harness["a"].call(Actor.add, 1) == 11


async def test_a_server_cannot_call_itself(harness: Harness) -> None:
    """82. CallingSelf at once; a task in its own nursery may call it."""
    results: list[Any] = []

    async def ask_myself(actor: Actor) -> None:
        with pytest.raises(CallingSelf, match="'a'"):
            await actor.ref.call(Actor.add)

    async def ask_in_the_background(actor: Actor) -> None:
        async def ask() -> None:
            results.append(await actor.ref.call(Actor.add))

        outside.start_soon(ask)

    async with running(harness.supervisor(harness.child("a"))), trio.open_nursery() as outside:
        await harness["a"].call(Actor.run_here, ask_myself)
        await harness["a"].call(Actor.run_here, ask_in_the_background)
        await settle()
        assert results == [1]


async def test_a_deferred_answer_comes_later(harness: Harness) -> None:
    """83. From another task; the server handles other messages meanwhile."""
    async with running(harness.supervisor(harness.child("a"))), trio.open_nursery() as nursery:
        caller = Caller(nursery)
        await caller.call(harness["a"], Actor.defer)
        assert await harness["a"].call(Actor.add) == 1
        assert caller.outcomes == []
        actor = harness["a"].process.server
        actor.deferred.reply("at last")
        await settle()
        assert caller.outcomes == ["at last"]


async def test_a_deferred_may_be_settled_before_it_is_returned(harness: Harness) -> None:
    """83. Then the answer is there at once."""

    class Early(GenServer):
        async def ask(self) -> Deferred[str]:
            answer: Deferred[str] = Deferred()
            answer.reply("early")
            return answer

    ref: Ref[Early] = Ref("early")
    async with running(harness.supervisor(Child(ref=ref, start=Early))):
        assert await ref.call(Early.ask) == "early"


async def test_a_deferred_answers_one_call(harness: Harness) -> None:
    """84. Returning it from a second call is a crash, so that no caller waits for ever."""
    async with running(harness.supervisor(harness.child("a"))), trio.open_nursery() as nursery:
        caller = Caller(nursery)
        await caller.call(harness["a"], Actor.defer)
        await caller.call(harness["a"], Actor.defer)
        assert [type(error.__cause__) for error in caller.outcomes] == [RuntimeError, RuntimeError]


async def test_a_deferred_call_fails_when_the_server_exits(harness: Harness) -> None:
    """84. The caller gets ActorExited; a later reply is harmless."""
    async with running(harness.supervisor(harness.child("a"))), trio.open_nursery() as nursery:
        caller = Caller(nursery)
        await caller.call(harness["a"], Actor.defer)
        deferred = harness["a"].process.server.deferred
        await harness.crash("a")
        assert isinstance(caller.outcomes[0], ActorExited)
        assert caller.outcomes[0].started
        deferred.reply("too late")


async def test_only_the_first_answer_counts(harness: Harness, autojump_clock: object) -> None:
    """84. After a second answer, or a cancelled caller, nothing happens."""
    async with running(harness.supervisor(harness.child("a"))), trio.open_nursery() as nursery:
        caller = Caller(nursery)
        await caller.call(harness["a"], Actor.defer)
        deferred = harness["a"].process.server.deferred
        deferred.reply("first")
        deferred.fail(Bang("second"))
        await settle()
        assert caller.outcomes == ["first"]
        await harness.crash("a")
        with trio.move_on_after(1):
            await harness["a"].call(Actor.defer)
        harness["a"].process.server.deferred.reply("too late")
        assert await harness["a"].call(Actor.add) == 1


class Asker(GenServer):
    """Answers from tasks."""

    def __init__(self, tasks: Ref[TaskSupervisor]) -> None:
        self.tasks = tasks

    async def ask(self, act: Any) -> Deferred[str]:
        answer: Deferred[str] = Deferred()
        self.tasks.cast(TaskSupervisor.start_soon, answer.reply_with, act)
        return answer


@pytest.fixture
def asker(harness: Harness) -> list[Child[Any]]:
    tasks: Ref[TaskSupervisor] = harness["tasks"]
    return [Child(ref=tasks, start=TaskSupervisor), Child(ref=harness["asker"], start=lambda: Asker(tasks))]


async def test_a_task_settles_a_deferred_with_its_result(harness: Harness, asker: list[Child[Any]]) -> None:
    """85. reply_with under a TaskSupervisor: its value, or its exception; the server is untouched."""

    async def good() -> str:
        return "good"

    async def bad() -> str:
        raise Bang("bad")

    async with running(harness.supervisor(*asker)):
        assert await harness["asker"].call(Asker.ask, good) == "good"
        with pytest.raises(Bang, match="bad"):
            await harness["asker"].call(Asker.ask, bad)
        assert harness.reported() == []


async def test_a_task_that_is_stopped_fails_its_caller(harness: Harness, asker: list[Child[Any]]) -> None:
    """85. The caller gets ActorExited(Killed) instead of waiting for ever."""
    async with running(harness.supervisor(*asker)), trio.open_nursery() as nursery:
        caller = Caller(nursery)
        await caller.call(harness["asker"], Asker.ask, trio.sleep_forever)
        harness["tasks"].kill()
        await settle()
        assert [error.reason for error in caller.outcomes] == [Killed()]


async def test_stop_with_a_reply_answers_after_terminate(harness: Harness) -> None:
    """86. terminate runs first, the caller then gets the reply, then the monitors get their Down."""
    order: list[str] = []

    async def cleanup(actor: Actor) -> None:
        order.append("terminate")

    async def watch(monitor: Monitor) -> None:
        order.append(f"down {(await monitor.down()).reason}")

    async with running(harness.supervisor(harness.child("a", on_terminate=cleanup, restart=TRANSIENT))):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch, harness["a"].monitor())
            await settle()
            order.append(await harness["a"].call(Actor.leave_with, "bye"))
        assert order[0] == "terminate"
        assert sorted(order[1:]) == ["bye", "down ended normally"]  # both wake in one scheduler pass


async def test_stop_with_a_reply_answers_though_terminate_crashes(harness: Harness) -> None:
    """86. The caller still gets the reply; the reason is the crash."""

    async def fail(actor: Actor) -> None:
        raise Bang("cleanup")

    async with running(harness.supervisor(harness.child("a", on_terminate=fail))):
        monitor = harness["a"].monitor()
        assert await harness["a"].call(Actor.leave_with, "bye") == "bye"
        assert str(crashed_with((await monitor.down()).reason)) == "cleanup"


async def test_stop_without_a_reply_fails_the_caller(harness: Harness) -> None:
    """87. The caller gets ActorExited(Normal)."""
    async with running(harness.supervisor(harness.child("a", restart=TRANSIENT))):
        with pytest.raises(ActorExited) as caught:
            await harness["a"].call(Actor.leave)
        assert caught.value.reason == Normal()
        assert caught.value.__cause__ is None


async def test_stop_may_reply_none(harness: Harness) -> None:
    """86. None is a valid reply."""

    class Leaver(GenServer):
        async def leave(self) -> None:
            raise Stop(Normal(), reply=None)

    ref: Ref[Leaver] = Ref("leaver")
    async with running(harness.supervisor(Child(ref=ref, start=Leaver))):
        assert await ref.call(Leaver.leave) is None


async def test_a_rejected_call_is_no_crash(harness: Harness) -> None:
    """88. The caller gets the error; the server keeps state and process; nothing is reported."""
    async with running(harness.supervisor(harness.child("a"))):
        await harness["a"].call(Actor.add, 5)
        before = harness["a"].process
        with pytest.raises(LookupError, match="no"):
            await harness["a"].call(Actor.refuse)
        harness["a"].cast(Actor.refuse)
        assert await harness["a"].call(Actor.add) == 6
        assert harness["a"].process is before
        assert harness.reported() == []


async def test_callers_of_a_failed_init_get_its_reason(harness: Harness, autojump_clock: object) -> None:
    """89. They get ActorExited with the init's exception; their requests had not started."""

    async def fail_slowly(actor: Actor) -> None:
        await trio.sleep(1)
        raise Bang("init")

    async with running(harness.supervisor()) as tree, trio.open_nursery() as nursery:
        caller = Caller(nursery)
        await caller.call(tree.ref, Supervisor.start_child, harness.child("a", on_init=fail_slowly))
        await caller.call(harness["a"], Actor.add)
        await trio.sleep(2)
        exited, failed = sorted(caller.outcomes, key=lambda error: type(error).__name__)
        assert isinstance(failed, StartFailed)
        assert isinstance(exited, ActorExited)
        assert isinstance(exited.__cause__, Bang)
        assert not exited.started


async def test_a_call_during_init_waits(harness: Harness, autojump_clock: object) -> None:
    """90. Answered after init."""

    async def slowly(actor: Actor) -> None:
        await trio.sleep(1)
        actor.count = 10

    async with running(harness.supervisor()) as tree:
        tree.ref.cast(Supervisor.start_child, harness.child("a", on_init=slowly))
        await settle()
        assert await harness["a"].call(Actor.add) == 11


async def test_handle_continue_runs_before_the_first_message(
    harness: Harness, autojump_clock: object
) -> None:
    """91. After init returned to the supervisor (the next sibling starts) and before the first queued message."""

    class Slow(Actor):
        async def handle_continue(self) -> None:
            await trio.sleep(1)
            self.harness.log.append("continued")

    children = [Child(ref=harness["slow"], start=lambda: Slow(harness)), harness.child("next")]
    async with running(harness.supervisor(*children)):
        await harness["slow"].call(Actor.note, "message")
        assert harness.take_log() == ["init slow", "init next", "continued", "message"]


async def test_a_cleanup_that_crashes_replaces_the_reason(harness: Harness) -> None:
    """92. The reason becomes the new exception, `__context__` keeps the old."""

    async def fail(actor: Actor) -> None:
        raise Bang("cleanup")

    async with running(harness.supervisor(harness.child("a", on_terminate=fail))):
        with pytest.raises(ActorExited) as caught:
            await harness["a"].call(Actor.crash, Bang("first"))
        error = crashed_with(caught.value.reason)
        assert str(error) == "cleanup"
        assert str(error.__context__) == "first"


async def test_a_stop_waits_for_a_running_method_and_a_kill_does_not(
    harness: Harness, autojump_clock: object
) -> None:
    """93. Stop requested while a method sleeps: it finishes; kill: cancelled at its next checkpoint."""
    async with running(harness.supervisor(harness.child("a"))) as tree, trio.open_nursery() as nursery:
        caller = Caller(nursery)
        await caller.call(harness["a"], Actor.sleep, 1)
        await tree.ref.call(Supervisor.terminate_child, "a")
        assert caller.outcomes == ["slept 1"]
        await tree.ref.call(Supervisor.restart_child, "a")
        await caller.call(harness["a"], Actor.sleep, 1)
        begin = trio.current_time()
        harness["a"].kill()
        await settle()
        assert trio.current_time() == begin
        assert caller.outcomes[1].reason == Killed()


async def test_two_crashes_in_the_nursery_of_a_method_are_one_crash(harness: Harness) -> None:
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

    async with running(harness.supervisor(*harness.children("ab"))):
        before = harness["b"].process
        with pytest.raises(ActorExited) as caught:
            await harness["a"].call(Actor.run_here, crash_twice)
        error = crashed_with(caught.value.reason)
        assert isinstance(error, ExceptionGroup)
        assert [type(e) for e in error.exceptions] == [Bang, Bang]
        assert harness["b"].process is before


async def test_a_kill_whose_cleanup_crashes_is_a_crash(harness: Harness) -> None:
    """94. Cancelled and the error come as one group out of Trio; nothing escapes to the siblings."""

    async def crash_on_the_way_out(actor: Actor) -> None:
        async def bang() -> None:
            try:
                await trio.sleep_forever()
            finally:
                raise Bang("in terminate")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(bang)
            await trio.sleep_forever()

    async with running(harness.supervisor(*harness.children("ab"))):
        monitor, before = harness["a"].monitor(), harness["b"].process
        harness["a"].cast(Actor.run_here, crash_on_the_way_out)
        await settle()
        harness["a"].kill()
        error = crashed_with((await monitor.down()).reason)
        assert "in terminate" in repr(error)
        assert harness["b"].process is before


async def test_a_restart_loses_state_and_mailbox(harness: Harness) -> None:
    """96. State is what init builds; queued casts and infos are gone."""
    async with running(harness.supervisor(harness.child("a"))):
        harness["a"].cast(Actor.crash)
        harness["a"].cast(Actor.add, 5)
        harness["a"].info("lost")
        await settle()
        assert await harness["a"].call(Actor.add) == 1
        assert await harness["a"].call(Actor.received) == []


async def test_messages_of_one_sender_keep_their_order(harness: Harness) -> None:
    """97. Casts and calls mixed."""
    async with running(harness.supervisor(harness.child("a"))):
        harness.take_log()
        for number in range(10):
            harness["a"].cast(Actor.note, f"cast {number}")
            await harness["a"].call(Actor.note, f"call {number}")
        assert harness.take_log() == [f"{kind} {n}" for n in range(10) for kind in ("cast", "call")]


# ---------------------------------------------------------------- G. cast, info, timers


async def test_a_cast_returns_at_once(harness: Harness, autojump_clock: object) -> None:
    """98. Though the server is busy; it runs later."""
    async with running(harness.supervisor(harness.child("a"))):
        harness["a"].cast(Actor.run_here, sleep_a_second)
        begin = trio.current_time()
        harness["a"].cast(Actor.add, 5)
        assert trio.current_time() == begin
        assert await harness["a"].call(Actor.add) == 6


async def test_messages_without_a_process_are_dead_letters(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    """99. No error; one report each, without the content."""
    caplog.set_level("INFO", logger="cortex_trio.otp")
    harness["a"].cast(Actor.note, "secret")
    harness["a"].info("secret")
    assert harness["a"].dead_letters == 2
    assert [record.getMessage() for record in caplog.records] == [
        "dead letter: a cast to a",
        "dead letter: an info to a",
    ]


async def test_a_full_mailbox_refuses_casts_only(harness: Harness, autojump_clock: object) -> None:
    """100. Bound 2, server busy: the third cast raises MailboxFull; calls, Downs and timers get through."""
    async with running(harness.supervisor(harness.child("a", mailbox=2), harness.child("b"))):
        ref = harness["a"]

        async def prepare(actor: Actor) -> None:
            actor.monitor(harness["b"])
            actor.send_after(0.5, "timer")
            harness["a"].cast(Actor.run_here, sleep_a_second)

        await ref.call(Actor.run_here, prepare)
        await settle()
        ref.cast(Actor.add)
        ref.cast(Actor.add)
        with pytest.raises(MailboxFull, match="'a'"):
            ref.cast(Actor.add)
        harness["b"].kill()
        assert await ref.call(Actor.add) == 3
        ref.cast(Actor.add)
        received = await ref.call(Actor.received)
        assert "timer" in received
        assert Down(harness["b"], Killed()) in received


async def test_a_mailbox_with_limit_zero_refuses_every_cast(harness: Harness) -> None:
    """100. Bound 0 refuses every cast and still answers calls."""
    async with running(harness.supervisor(harness.child("a", mailbox=0))):
        with pytest.raises(MailboxFull):
            harness["a"].cast(Actor.add)
        assert await harness["a"].call(Actor.add) == 1


async def test_a_crash_in_a_cast_restarts_the_server(harness: Harness) -> None:
    """101. Crash, restart; there is no caller to raise in."""
    async with running(harness.supervisor(harness.child("a"))):
        await harness.crash("a")
        assert harness.reported() == ["child_terminated a"]
        assert await harness["a"].call(Actor.add) == 1


async def test_a_timer_fires_once_and_ends_with_its_process(harness: Harness, autojump_clock: object) -> None:
    """102. Fires once; cancel() prevents it; a timer of the old process never reaches the new one."""

    async def set_timers(actor: Actor) -> None:
        actor.send_after(1, "once")
        actor.send_after(1, "cancelled").cancel()
        actor.send_after(5, "too late")

    async with running(harness.supervisor(harness.child("a"))):
        await harness["a"].call(Actor.run_here, set_timers)
        await trio.sleep(2)
        assert await harness["a"].call(Actor.received) == ["once"]
        await harness.crash("a")
        await trio.sleep(10)
        assert await harness["a"].call(Actor.received) == []


async def test_a_timer_whose_message_is_queued_can_be_cancelled(
    harness: Harness, autojump_clock: object
) -> None:
    """102. In the mailbox but not handled yet: it is removed."""

    async def ring_while_busy(actor: Actor) -> None:
        timer = actor.send_after(1, "taken back")
        await trio.sleep(2)
        timer.cancel()

    async with running(harness.supervisor(harness.child("a"))):
        await harness["a"].call(Actor.run_here, ring_while_busy)
        assert await harness["a"].call(Actor.received) == []


async def test_a_timer_has_no_negative_delay(harness: Harness) -> None:
    """102. ValueError, in the server, before anything is scheduled."""

    async def set_timer(actor: Actor) -> None:
        with pytest.raises(ValueError, match="seconds"):
            actor.send_after(-1, "never")

    async with running(harness.supervisor(harness.child("a"))):
        await harness["a"].call(Actor.run_here, set_timer)


async def test_a_timer_set_after_the_exit_has_no_effect(harness: Harness, autojump_clock: object) -> None:
    """102. Nothing is delivered, and no task is left."""
    async with running(harness.supervisor(harness.child("a"))) as tree:
        old = harness["a"].process.server
        await harness.crash("a")
        old.send_after(1, "from beyond")
        await trio.sleep(2)
        assert await harness["a"].call(Actor.received) == []
        await tree.stop()


async def test_timers_go_on_after_a_cancellation_around_the_tree(
    harness: Harness, autojump_clock: object
) -> None:
    """102. A server that still runs while later siblings stop still gets the messages of its timers."""

    async def set_timer(actor: Actor) -> None:
        actor.send_after(1, "rings during the shutdown")

    async def stop_slowly(actor: Actor) -> None:
        await trio.sleep(2)
        harness.log.append(str(await harness["a"].call(Actor.received)))

    children = [harness.child("a", on_init=set_timer), harness.child("b", on_terminate=stop_slowly)]
    async with running(harness.supervisor(*children)) as tree:
        await tree.stop()
        assert "['rings during the shutdown']" in harness.log


# ---------------------------------------------------------------- H. monitors


async def test_a_monitor_delivers_one_down(harness: Harness) -> None:
    """103. One Down(Crashed) with the reason; not again for the next incarnation."""
    downs: list[Down] = []

    class Watcher(Actor):
        async def handle_info(self, message: object) -> None:
            assert isinstance(message, Down)
            downs.append(message)

        async def init(self) -> None:
            self.monitor(harness["a"])

    children = [harness.child("a"), Child(ref=harness["w"], start=lambda: Watcher(harness))]
    async with running(harness.supervisor(*children)):
        await harness.crash("a", "a")
        assert [down.ref for down in downs] == [harness["a"]]
        assert isinstance(crashed_with(downs[0].reason), Bang)


async def test_a_monitor_without_a_process_delivers_a_down_at_once(harness: Harness) -> None:
    """104. Down(None) immediately, by await and in handle_info."""
    absent: Ref[Actor] = Ref("absent")
    assert await absent.monitor().down() == Down(absent, None)

    async def watch(actor: Actor) -> None:
        actor.monitor(absent)

    async with running(harness.supervisor(harness.child("a", on_init=watch))):
        assert await harness["a"].call(Actor.received) == [Down(absent, None)]


async def test_a_cancelled_monitor_delivers_nothing(harness: Harness) -> None:
    """106. Nothing arrives, even if the exit happened but was not yet handled."""

    async def watch_and_cancel(actor: Actor) -> None:
        before, after = actor.monitor(harness["b"]), actor.monitor(harness["b"])
        before.cancel()
        harness["b"].kill()
        await settle()  # the Down is in the mailbox
        after.cancel()

    async with running(harness.supervisor(*harness.children("ab"))):
        await harness["a"].call(Actor.run_here, watch_and_cancel)
        assert await harness["a"].call(Actor.received) == []


async def test_two_monitors_deliver_two_downs(harness: Harness) -> None:
    """107. On one process, by one watcher."""

    async def watch_twice(actor: Actor) -> None:
        actor.monitor(harness["b"])
        actor.monitor(harness["b"])

    async with running(harness.supervisor(*harness.children("ab"))):
        await harness["a"].call(Actor.run_here, watch_twice)
        harness["b"].kill()
        await settle()
        assert await harness["a"].call(Actor.received) == [Down(harness["b"], Killed())] * 2
        assert not harness["a"].process.at_exit  # a monitor that has delivered its Down is over


@pytest.mark.slow
async def test_monitors_are_removed_when_their_process_exits(harness: Harness) -> None:
    """107. Both when the watcher exits first, and when a monitor without a watcher is dropped."""

    async def watch(actor: Actor) -> None:
        if actor.incarnation == 1:
            actor.monitor(harness["b"])

    async with running(harness.supervisor(harness.child("a", on_init=watch), harness.child("b"))):
        await harness["a"].call(Actor.run_here, watch)
        assert len(harness["b"].process.watchers) == 1
        await harness.crash("a")
        assert len(harness["b"].process.watchers) == 0
        with trio.move_on_after(0):
            await harness["b"].monitor().down()
        await settle()  # Trio itself holds the last Cancelled until its next step
        gc.collect()
        assert len(harness["b"].process.watchers) == 0


async def test_a_down_is_in_order_with_other_messages(harness: Harness) -> None:
    """108. A message that was queued before it is handled before it."""

    async def watch(actor: Actor) -> None:
        actor.monitor(harness["b"])
        harness["a"].info("before")
        harness["b"].kill()
        await settle()
        harness["a"].info("after")

    async with running(harness.supervisor(*harness.children("ab"))):
        await harness["a"].call(Actor.run_here, watch)
        assert await harness["a"].call(Actor.received) == ["before", Down(harness["b"], Killed()), "after"]


async def test_reasons_reach_monitors_unchanged(harness: Harness) -> None:
    """103. Also the info of Shutdown."""
    async with running(harness.supervisor(harness.child("a", restart=TEMPORARY))):
        monitor = harness["a"].monitor()
        harness["a"].cast(Actor.leave, Shutdown("tired"))
        assert (await monitor.down()) == Down(harness["a"], Shutdown("tired"))
