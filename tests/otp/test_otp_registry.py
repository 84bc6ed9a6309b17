"""Names for refs (behaviours 109 to 115)."""

import pytest
from stage import Actor, Stage, running, settle

from cortex_trio.otp import AlreadyRegistered, Child, NoProcess, Registry, Supervisor


@pytest.fixture
def stage() -> Stage:
    return Stage()


@pytest.fixture
def names() -> Registry[str, Actor]:
    return Registry()


async def test_a_key_belongs_to_one_live_process(stage: Stage, names: Registry[str, Actor]) -> None:
    """109. Taken by a live process: AlreadyRegistered, also for the owner itself; after it exited: free."""
    async with running(stage.supervisor(*stage.children("ab"))) as tree:
        names.register("key", stage["a"], value=1)
        for ref in (stage["a"], stage["b"]):
            with pytest.raises(AlreadyRegistered, match="'a'"):
                names.register("key", ref)
        await tree.ref.call(Supervisor.terminate_child, "a")
        names.register("key", stage["b"])
        assert names.whereis("key") is stage["b"]


async def test_only_a_running_server_can_be_registered(stage: Stage, names: Registry[str, Actor]) -> None:
    """109. NoProcess otherwise."""
    with pytest.raises(NoProcess, match="'a'"):
        names.register("key", stage["a"])
    assert names.whereis("key") is None


async def test_a_name_leads_to_the_new_process_once_it_registered(
    stage: Stage, names: Registry[str, Actor]
) -> None:
    """111. Not before; the exit frees it before anybody can look."""
    seen: list[object] = []

    async def register(actor: Actor) -> None:
        seen.append(names.whereis("key"))
        names.register("key", actor.ref)

    async with running(stage.supervisor(stage.child("a", on_init=register))):
        assert names.whereis("key") is stage["a"]
        await stage.crash("a")
        assert names.whereis("key") is stage["a"]
    assert seen == [None, None]
    assert names.whereis("key") is None


async def test_one_process_may_hold_many_keys(stage: Stage, names: Registry[str, Actor]) -> None:
    """112. keys(ref) lists them; its exit frees all."""
    async with running(stage.supervisor(stage.child("a"))):
        for key in ("x", "y", "z"):
            names.register(key, stage["a"])
        names.unregister("y", stage["a"])
        assert names.keys(stage["a"]) == ["x", "z"]
        stage["a"].kill()
        await settle()
        assert names.keys(stage["a"]) == []
        assert [names.whereis(key) for key in "xyz"] == [None, None, None]


async def test_only_the_owner_can_unregister(stage: Stage, names: Registry[str, Actor]) -> None:
    """113. By anybody else, or of an unknown key, it has no effect."""
    async with running(stage.supervisor(*stage.children("ab"))):
        names.register("key", stage["a"])
        names.unregister("key", stage["b"])
        names.unregister("unknown", stage["a"])
        assert names.whereis("key") is stage["a"]
        names.unregister("key", stage["a"])
        assert names.whereis("key") is None


async def test_a_key_may_lead_to_many(stage: Stage) -> None:
    """114. Same key from many refs and twice from one: all returned; unregister removes all of that ref."""
    topics: Registry[str, Actor] = Registry(unique=False)
    a, b = stage["a"], stage["b"]
    async with running(stage.supervisor(*stage.children("ab"))):
        topics.register("news", a, 1)
        topics.register("news", b, 2)
        topics.register("news", a, 3)
        assert topics.lookup("news") == [(a, 1), (b, 2), (a, 3)]
        assert topics.keys(a) == ["news", "news"]
        topics.unregister("news", a)
        assert topics.lookup("news") == [(b, 2)]
        b.kill()
        await settle()
        assert topics.lookup("news") == []
        with pytest.raises(ValueError, match="unique"):
            topics.whereis("news")


async def test_keys_compare_as_python_compares(stage: Stage) -> None:
    """115. 1, 1.0 and True are one key."""
    names: Registry[object, Actor] = Registry()
    async with running(stage.supervisor(stage.child("a"))):
        names.register(1, stage["a"])
        assert names.whereis(True) is names.whereis(1.0) is stage["a"]
        with pytest.raises(AlreadyRegistered):
            names.register(True, stage["a"])


async def test_a_restarted_owner_has_not_kept_its_entries(stage: Stage, names: Registry[str, Actor]) -> None:
    """111. An entry belongs to the incarnation that made it."""
    child: Child[Actor] = stage.child("a")
    async with running(stage.supervisor(child)):
        names.register("key", stage["a"], "first life")
        await stage.crash("a")
        assert stage["a"].alive
        assert names.lookup("key") == []
        names.unregister("key", stage["a"])
        names.register("key", stage["a"], "second life")
        assert names.lookup("key") == [(stage["a"], "second life")]
