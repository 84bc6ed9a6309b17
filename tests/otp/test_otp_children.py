"""Children added to, stopped in and removed from a running static supervisor (behaviours 66 to 74)."""

import pytest
import trio
from harness import TEMPORARY, Actor, Bang, Harness, running, settle

from cortex_trio.otp import (
    AlreadyPresent,
    AlreadyStarted,
    CallingSelf,
    NotFound,
    Restarting,
    StartFailed,
    Supervisor,
)


@pytest.fixture
def harness() -> Harness:
    return Harness()


async def fail(actor: Actor) -> None:
    raise Bang(actor.ref.name)


async def test_an_added_child_is_last_in_the_start_order(harness: Harness) -> None:
    """66. Appended last, stops first, restarted like others."""
    async with running(harness.supervisor(harness.child("a"))) as tree:
        await tree.ref.call(Supervisor.start_child, harness.child("b"))
        await harness.crash("b")
        assert await harness.states(tree.ref) == {"a": "running", "b": "running"}
        harness.take_log()
        await tree.stop()
        assert harness.take_log() == ["terminate b", "terminate a"]


async def test_an_id_cannot_be_added_twice(harness: Harness) -> None:
    """67. With a running id AlreadyStarted; with a stopped id AlreadyPresent."""
    async with running(harness.supervisor(harness.child("a"))) as tree:
        with pytest.raises(AlreadyStarted, match="'a'"):
            await tree.ref.call(Supervisor.start_child, harness.child("a"))
        await tree.ref.call(Supervisor.terminate_child, "a")
        with pytest.raises(AlreadyPresent, match="'a'"):
            await tree.ref.call(Supervisor.start_child, harness.child("a"))


async def test_a_failed_start_child_leaves_the_supervisor_as_it_was(harness: Harness) -> None:
    """68. StartFailed in the caller, the supervisor goes on, and the id may be used again."""
    async with running(harness.supervisor()) as tree:
        with pytest.raises(StartFailed) as caught:
            await tree.ref.call(Supervisor.start_child, harness.child("a", on_init=fail))
        assert isinstance(caught.value.__cause__, Bang)
        assert await harness.states(tree.ref) == {}
        await tree.ref.call(Supervisor.start_child, harness.child("a"))
        assert await harness.states(tree.ref) == {"a": "running"}


async def test_terminate_child_stops_a_child_and_keeps_its_spec(harness: Harness) -> None:
    """69. Running: stopped, spec kept; again: ok; a temporary one is forgotten; unknown: NotFound."""
    async with running(harness.supervisor(harness.child("a"), harness.child("t", restart=TEMPORARY))) as tree:
        for _ in range(2):
            await tree.ref.call(Supervisor.terminate_child, "a")
        await tree.ref.call(Supervisor.terminate_child, "t")
        assert await harness.states(tree.ref) == {"a": "stopped"}
        for unknown in ("t", "unknown"):
            with pytest.raises(NotFound, match=unknown):
                await tree.ref.call(Supervisor.terminate_child, unknown)


async def test_restart_child_starts_a_stopped_child(harness: Harness) -> None:
    """70. Stopped: runs; running: AlreadyStarted; unknown: NotFound."""
    async with running(harness.supervisor(harness.child("a"))) as tree:
        with pytest.raises(AlreadyStarted):
            await tree.ref.call(Supervisor.restart_child, "a")
        await tree.ref.call(Supervisor.terminate_child, "a")
        await tree.ref.call(Supervisor.restart_child, "a")
        assert await harness["a"].call(Actor.add) == 1
        with pytest.raises(NotFound):
            await tree.ref.call(Supervisor.restart_child, "unknown")


async def test_delete_child_forgets_a_stopped_child(harness: Harness) -> None:
    """71. Running: error; stopped: gone; then restart_child gives NotFound."""
    async with running(harness.supervisor(harness.child("a"))) as tree:
        with pytest.raises(AlreadyStarted):
            await tree.ref.call(Supervisor.delete_child, "a")
        await tree.ref.call(Supervisor.terminate_child, "a")
        await tree.ref.call(Supervisor.delete_child, "a")
        assert await harness.states(tree.ref) == {}
        with pytest.raises(NotFound):
            await tree.ref.call(Supervisor.restart_child, "a")


async def test_requests_about_a_child_that_waits_for_a_restart(harness: Harness) -> None:
    """69, 70, 71. restart_child and delete_child raise Restarting, terminate_child cancels the restart."""
    answers: dict[str, object] = {}

    async def ask(tree_ref: object) -> None:
        answers["states"] = await harness.states(root_ref)
        for method in (Supervisor.restart_child, Supervisor.delete_child):
            with pytest.raises(Restarting):
                await root_ref.call(method, "b")
        with pytest.raises(AlreadyPresent):
            await root_ref.call(Supervisor.start_child, harness.child("b"))
        await root_ref.call(Supervisor.terminate_child, "b")

    async def fail_after_the_first(actor: Actor) -> None:
        if actor.incarnation > 1:
            raise Bang

    children = [harness.child("a"), harness.child("b", on_init=fail_after_the_first)]
    async with running(harness.supervisor(*children, max_restarts=10**6)) as tree:
        root_ref = tree.ref
        harness["b"].cast(Actor.crash)
        await harness["b"].monitor().down()
        await ask(tree.ref)
        inits = harness.incarnations["b"]
        await settle()
        assert answers["states"] == {"a": "running", "b": "restarting"}
        assert await harness.states(tree.ref) == {"a": "running", "b": "stopped"}
        assert harness.incarnations["b"] == inits


async def test_a_child_whose_start_child_caller_is_cancelled_still_starts(
    harness: Harness, autojump_clock: object
) -> None:
    """73. Cancelled while init runs: the child ends up running and listed, or not at all."""

    async def slowly(actor: Actor) -> None:
        await trio.sleep(1)

    async def slowly_then_fail(actor: Actor) -> None:
        await trio.sleep(1)
        raise Bang

    async with running(harness.supervisor()) as tree:
        for name, act in (("good", slowly), ("bad", slowly_then_fail)):
            with trio.move_on_after(0.5) as patience:
                await tree.ref.call(Supervisor.start_child, harness.child(name, on_init=act))
            assert patience.cancelled_caught
            await trio.sleep(2)
        assert await harness.states(tree.ref) == {"good": "running"}
        assert harness["good"].alive
        assert not harness["bad"].alive


async def test_a_child_in_init_cannot_call_its_supervisor(harness: Harness) -> None:
    """74. CallingSelf in init, not a silent hang; through two levels too."""
    seen: list[str] = []

    async def ask_up(actor: Actor) -> None:
        for supervisor in (tree.ref, harness["sub"]):
            with pytest.raises(CallingSelf):
                await supervisor.call(Supervisor.start_child, harness.child("sibling"))
            seen.append(supervisor.name)

    async with running(harness.supervisor()) as tree:
        await tree.ref.call(Supervisor.start_child, harness.sub("sub", harness.child("a", on_init=ask_up)))
    assert seen == ["root", "sub"]
