"""Names for refs (behaviours 109 to 115)."""

import pytest
from harness import Actor, Harness, running, settle

from cortex_trio.otp import AlreadyRegistered, Child, NoProcess, Registry, Supervisor


@pytest.fixture
def harness() -> Harness:
    return Harness()


@pytest.fixture
def names() -> Registry[str, Actor]:
    return Registry()


async def test_a_unique_key_belongs_to_one_process(harness: Harness, names: Registry[str, Actor]) -> None:
    """109. Registered by a running process: AlreadyRegistered, also for the owner itself; after it exited: free."""
    async with running(harness.supervisor(*harness.children("ab"))) as tree:
        names.register("key", harness["a"], value=1)
        for ref in (harness["a"], harness["b"]):
            with pytest.raises(AlreadyRegistered, match="'a'"):
                names.register("key", ref)
        await tree.ref.call(Supervisor.terminate_child, "a")
        names.register("key", harness["b"])
        assert names.whereis("key") is harness["b"]


async def test_only_a_running_server_can_be_registered(harness: Harness, names: Registry[str, Actor]) -> None:
    """109. Otherwise register raises NoProcess."""
    with pytest.raises(NoProcess, match="'a'"):
        names.register("key", harness["a"])
    assert names.whereis("key") is None


async def test_a_key_finds_the_new_process_only_after_it_registered(
    harness: Harness, names: Registry[str, Actor]
) -> None:
    """111. Not before; the exit frees it before any other task runs."""
    seen: list[object] = []

    async def register(actor: Actor) -> None:
        seen.append(names.whereis("key"))
        names.register("key", actor.ref)

    async with running(harness.supervisor(harness.child("a", on_init=register))):
        assert names.whereis("key") is harness["a"]
        await harness.crash("a")
        assert names.whereis("key") is harness["a"]
    assert seen == [None, None]
    assert names.whereis("key") is None


async def test_one_process_may_have_many_keys(harness: Harness, names: Registry[str, Actor]) -> None:
    """112. keys(ref) lists them; its exit frees all."""
    async with running(harness.supervisor(harness.child("a"))):
        for key in ("x", "y", "z"):
            names.register(key, harness["a"])
        names.unregister("y", harness["a"])
        assert names.keys(harness["a"]) == ["x", "z"]
        harness["a"].kill()
        await settle()
        assert names.keys(harness["a"]) == []
        assert [names.whereis(key) for key in "xyz"] == [None, None, None]


async def test_only_the_owner_can_unregister(harness: Harness, names: Registry[str, Actor]) -> None:
    """113. With another ref, or an unknown key, it has no effect."""
    async with running(harness.supervisor(*harness.children("ab"))):
        names.register("key", harness["a"])
        names.unregister("key", harness["b"])
        names.unregister("unknown", harness["a"])
        assert names.whereis("key") is harness["a"]
        names.unregister("key", harness["a"])
        assert names.whereis("key") is None


async def test_a_key_that_is_not_unique_may_have_many_refs(harness: Harness) -> None:
    """114. Same key from many refs and twice from one: all returned; unregister removes all of that ref."""
    topics: Registry[str, Actor] = Registry(unique=False)
    a, b = harness["a"], harness["b"]
    async with running(harness.supervisor(*harness.children("ab"))):
        topics.register("topic", a, 1)
        topics.register("topic", b, 2)
        topics.register("topic", a, 3)
        assert topics.lookup("topic") == [(a, 1), (b, 2), (a, 3)]
        assert topics.keys(a) == ["topic", "topic"]
        topics.unregister("topic", a)
        assert topics.lookup("topic") == [(b, 2)]
        b.kill()
        await settle()
        assert topics.lookup("topic") == []
        with pytest.raises(ValueError, match="unique"):
            topics.whereis("topic")


async def test_keys_compare_as_python_compares(harness: Harness) -> None:
    """115. 1, 1.0 and True are one key."""
    names: Registry[object, Actor] = Registry()
    async with running(harness.supervisor(harness.child("a"))):
        names.register(1, harness["a"])
        assert names.whereis(True) is names.whereis(1.0) is harness["a"]
        with pytest.raises(AlreadyRegistered):
            names.register(True, harness["a"])


async def test_a_restarted_process_has_lost_its_entries(
    harness: Harness, names: Registry[str, Actor]
) -> None:
    """111. An entry belongs to the incarnation that made it."""
    child: Child[Actor] = harness.child("a")
    async with running(harness.supervisor(child)):
        names.register("key", harness["a"], "first")
        await harness.crash("a")
        assert harness["a"].alive
        assert names.lookup("key") == []
        names.unregister("key", harness["a"])
        names.register("key", harness["a"], "second")
        assert names.lookup("key") == [(harness["a"], "second")]
