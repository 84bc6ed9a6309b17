"""Changes while it runs: reload adds, changes and removes workers, and no stream notices."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

import httpx
import pytest
import trio
import trio.testing
from at_rest import gateway, worker_of

from cortex_trio import (
    Config,
    ConfigError,
    Cortex,
    CortexError,
    NoWorkersAvailable,
    ProviderError,
    WorkerConfig,
    open_cortex,
)
from cortex_trio.failures import FailureKind
from cortex_trio.gateway.startup import open_runtime
from cortex_trio.otp import ActorError, Supervisor
from cortex_trio.simulator import Behaviour, open_simulator


async def test_reload_adds_changes_and_removes_under_running_streams(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        for name in ("openai", "anthropic", "groq"):
            sim.add(name, Behaviour(text=f"a long answer from {name}", tokens_per_second=1))
        workers = {name: worker_of(sim[name]) for name in ("openai", "anthropic")}
        async with gateway(sim, workers) as cortex, trio.open_nursery() as nursery:
            texts: dict[str, str] = {}

            async def read(name: str) -> None:
                async with cortex.chat("Hi", worker=name) as answer:
                    texts[name] = (await answer.collect()).text

            nursery.start_soon(read, "openai")
            nursery.start_soon(read, "anthropic")
            await trio.sleep(1.5)
            changed = worker_of(sim["openai"], timeout=3.0)
            await cortex.reload(Config(workers={"openai": changed, "groq": worker_of(sim["groq"])}))
            assert [info.name for info in await cortex.list_workers()] == ["openai", "groq"]
            assert (await cortex.complete("Hi", worker="groq")).text == "a long answer from groq"
        assert texts == {name: f"a long answer from {name}" for name in ("openai", "anthropic")}


async def test_a_bad_configuration_changes_nothing(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(text="still here"))
        async with gateway(sim) as cortex:
            with pytest.raises(ConfigError):
                await cortex.reload({"openai": {"api_keys": []}})
            assert (await cortex.complete("Hi")).text == "still here"


async def test_a_new_key_replaces_one_that_was_refused(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        provider = sim.add("openai", Behaviour(text="open again"))
        provider.valid_keys = {"sk-sim-the-new-key"}
        async with gateway(sim) as cortex:
            with pytest.raises(Exception, match="credential"):
                await cortex.complete("Hi")
            with pytest.raises(NoWorkersAvailable, match="credential"):
                await cortex.complete("Hi")
            rotated = worker_of(provider, api_keys=("sk-sim-the-new-key",))
            await cortex.reload(Config(workers={"openai": rotated}))
            assert (await cortex.complete("Hi")).text == "open again"


async def test_a_model_that_was_missing_is_looked_for_again_after_a_reload(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        provider = sim.add("openai", Behaviour(error=FailureKind.MODEL_NOT_FOUND), Behaviour(text="found"))
        async with gateway(sim) as cortex:
            with pytest.raises(Exception, match="model_not_found"):
                await cortex.complete("Hi")
            with pytest.raises(NoWorkersAvailable, match="model_not_found"):
                await cortex.complete("Hi")
            await cortex.reload(Config(workers={"openai": worker_of(provider, timeout=9.0)}))
            assert (await cortex.complete("Hi")).text == "found"


async def test_the_strategy_can_be_changed_as_well(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        for name in ("openai", "anthropic"):
            sim.add(name, Behaviour(text=name))
        async with gateway(sim) as cortex:
            assert [(await cortex.complete("Hi")).text for _ in range(2)] == ["openai", "openai"]
            workers = {name: worker_of(sim[name]) for name in ("openai", "anthropic")}
            await cortex.reload(Config(workers=workers, strategy="round_robin"))
            assert {(await cortex.complete("Hi")).text for _ in range(2)} == {"openai", "anthropic"}


async def test_a_new_interval_of_health_checks_counts_at_once(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        workers = {"openai": worker_of(sim.add("openai"))}
        async with gateway(sim, workers) as cortex:
            for interval, rounds in ((10, 4), (0, 0), (20, 2)):
                await cortex.reload(Config(workers=workers, health_check_interval=interval))
                before = len(sim["openai"].requests)
                await trio.sleep(44.5)  # rounds come up to a tenth earlier or later
                assert len(sim["openai"].requests) - before == rounds


async def test_a_name_that_is_still_being_removed_is_refused_with_nothing_changed(
    autojump_clock: object,
) -> None:
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(text="one two three", tokens_per_second=1))
        workers = {"openai": worker_of(sim["openai"]), "spare": worker_of(sim["openai"])}
        async with gateway(sim, {"openai": workers["openai"]}) as cortex, trio.open_nursery() as nursery:
            async with cortex.chat("Hi") as answer:
                nursery.start_soon(cortex.remove_worker, "openai")
                await trio.testing.wait_all_tasks_blocked()
                with pytest.raises(ConfigError, match="still being removed"):
                    await cortex.reload(
                        Config(workers={"spare": workers["spare"], "openai": workers["openai"]})
                    )
                assert [info.name for info in await cortex.list_workers()] == ["openai"]
                assert (await answer.collect()).text == "one two three"


async def test_of_two_tasks_that_remove_the_same_worker_one_gets_an_error(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        worker, errors = worker_of(sim.add("openai")), []
        async with gateway(sim, {"openai": worker, "twin": worker}) as cortex:

            async def remove() -> None:
                try:
                    await cortex.remove_worker("twin")
                except KeyError as error:
                    errors.append(error.args)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(remove)
                nursery.start_soon(remove)
            assert errors == [("twin",)]
            await cortex.add_worker("twin", worker)
            assert (await cortex.complete("Hi", worker="twin")).worker == "twin"


@pytest.mark.parametrize("ticks", range(8))
@pytest.mark.parametrize("what", ["add", "reload"])
async def test_a_cancelled_change_is_complete_or_not_begun_and_leaves_no_transport_open(
    what: str, ticks: int, autojump_clock: object
) -> None:
    opened: list[httpx.AsyncBaseTransport] = []

    class Counted(httpx.MockTransport):
        def __init__(self, worker: WorkerConfig) -> None:
            super().__init__(lambda request: httpx.Response(500))
            opened.append(self)

        async def aclose(self) -> None:
            opened.remove(self)

    old, new = (
        WorkerConfig(provider="openai", api_keys=[f"sk-the-{age}-key-of-it"]) for age in ("old", "new")
    )
    config = Config(workers={"first": old}, health_check_interval=0)
    async with open_runtime(config, http_transport=Counted) as runtime:
        cortex = Cortex(runtime)
        async with trio.open_nursery() as nursery:
            if what == "add":
                nursery.start_soon(cortex.add_worker, "second", new)
            else:
                nursery.start_soon(cortex.reload, Config(workers={"first": new}, health_check_interval=0))
            for _ in range(ticks):
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        for name, state in runtime.table.workers.items():
            assert [known.key for known in runtime.ring.states(name)] == list(state.config.api_keys)
        assert set(runtime.ring.workers) == runtime.table.workers.keys()
    assert not opened


@pytest.mark.parametrize("ticks", range(2, 8))  # the reload has begun
@pytest.mark.parametrize("kept", ["abc", "a"])
async def test_a_reload_ignores_a_worker_that_is_removed_meanwhile(
    kept: str, ticks: int, autojump_clock: object
) -> None:
    async with open_simulator() as sim:
        provider = sim.add("openai", Behaviour(text="a long answer", tokens_per_second=1))
        async with gateway(sim, {name: worker_of(provider) for name in "abc"}) as cortex:
            new = Config(workers={name: worker_of(provider, timeout=6) for name in kept})
            async with trio.open_nursery() as nursery:

                async def read() -> None:
                    async with cortex.chat("Hi", worker="b") as answer:
                        assert (await answer.collect()).text == "a long answer"

                nursery.start_soon(read)
                await trio.sleep(1.5)
                nursery.start_soon(cortex.reload, new)
                for _ in range(ticks):
                    await trio.lowlevel.checkpoint()
                with suppress(KeyError):
                    await cortex.remove_worker("c")
            assert {info.name for info in await cortex.list_workers()} == set(kept) - {"c"}


@pytest.mark.parametrize("asked_at", range(4))
@pytest.mark.parametrize("changed_at", range(4))
@pytest.mark.parametrize("how", ["chat", "models"])
async def test_no_key_goes_to_an_address_it_is_not_for(
    how: str, asked_at: int, changed_at: int, autojump_clock: object
) -> None:
    """Nor is a dialect spoken there that is not understood: whenever in a request a reload comes."""
    seen: list[tuple[str, str]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        headers = request.headers
        key = headers.get("x-api-key") or headers["authorization"].removeprefix("Bearer ")
        seen.append((f"{request.url.host} {request.url.path}", key))
        return httpx.Response(500)

    old = WorkerConfig(provider="openai", api_keys=["sk-the-key-of-old"], base_url="http://old/v1")
    new = WorkerConfig(provider="anthropic", api_keys=["sk-the-key-of-new"], base_url="http://new/v1")
    path = {"chat": {"old": "/v1/chat/completions", "new": "/v1/messages"}}.get(how, {})

    async def after(ticks: int, what: Callable[[], Awaitable[object]]) -> None:
        for _ in range(ticks):
            await trio.lowlevel.checkpoint()
        with suppress(ProviderError):
            await what()

    async with open_cortex(
        Config(workers={"it": old}, health_check_interval=0, max_attempts=1),
        http_transport=lambda worker: httpx.MockTransport(answer),
    ) as cortex:
        ask = partial(cortex.complete, "Hi") if how == "chat" else partial(cortex.models, worker="it")
        change = partial(cortex.reload, Config(workers={"it": new}, health_check_interval=0))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(after, asked_at, ask)
            nursery.start_soon(after, changed_at, change)
        for asked, key in seen:
            host = asked.partition(" ")[0]
            assert key == f"sk-the-key-of-{host}"
            assert asked.endswith(path.get(host, ""))
        assert seen or how == "models"


async def test_reloads_at_the_same_time_come_one_after_the_other(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        worker = worker_of(sim.add("openai"))
        plain, more = {"openai": worker}, {"openai": worker, "spare": worker}
        async with gateway(sim) as cortex:
            async with trio.open_nursery() as nursery:
                for workers in (more, plain) * 3:
                    nursery.start_soon(cortex.reload, Config(workers=workers, health_check_interval=0))
            there = {info.name for info in await cortex.list_workers()}
            assert there in ({"openai"}, {"openai", "spare"})
            assert (await cortex.complete("Hi")).worker in there


@pytest.mark.parametrize("kind", [FailureKind.RATE_LIMIT, FailureKind.OVERLOADED])
@pytest.mark.parametrize("moves", [False, True])
async def test_a_time_that_a_server_names_counts_after_a_reload_unless_it_is_another_server(
    kind: FailureKind, moves: bool, autojump_clock: object
) -> None:
    """The request was in flight when its worker got a longer time-out, or another address."""
    async with open_simulator() as sim:
        openai = sim.add("openai", Behaviour(error=kind, retry_after=20), Behaviour(text="open again"))
        other = sim.add("other", Behaviour(text="somewhere else"), provider="openai")
        openai.link.latency = 0.5
        async with gateway(sim, {"openai": worker_of(openai)}) as cortex, trio.open_nursery() as nursery:

            async def ask() -> None:
                with suppress(CortexError):
                    await cortex.complete("Hi", max_wait=0)

            nursery.start_soon(ask)
            await trio.sleep(0.7)  # connected, and the request is in flight
            changed = worker_of(other) if moves else worker_of(openai, timeout=3.0)
            await cortex.reload(Config(workers={"openai": changed}))
            await trio.sleep(5)
            if moves:
                assert (await cortex.complete("Hi", max_wait=0)).text == "somewhere else"
            else:
                with pytest.raises(NoWorkersAvailable):
                    await cortex.complete("Hi", max_wait=0)


async def test_a_removal_that_fails_halfway_leaves_no_transport_open(autojump_clock: object) -> None:
    """The supervisor of the workers is stopped while a worker is drained, and is not there to stop its actor."""
    opened: list[httpx.AsyncBaseTransport] = []

    async def never(request: httpx.Request) -> httpx.Response:
        await trio.sleep_forever()
        raise AssertionError

    class Counted(httpx.MockTransport):
        def __init__(self, worker: WorkerConfig) -> None:
            super().__init__(never)
            opened.append(self)

        async def aclose(self) -> None:
            opened.remove(self)

    worker = WorkerConfig(provider="openai", api_keys=["sk-the-key-of-it"])
    config = Config(workers={"first": worker}, health_check_interval=0)
    async with open_runtime(config, http_transport=Counted) as runtime, trio.open_nursery() as nursery:
        cortex = Cortex(runtime)
        nursery.start_soon(partial(cortex.complete, "Hi", first_token_timeout=100))
        await trio.testing.wait_all_tasks_blocked()

        async def remove() -> None:
            with pytest.raises(ActorError):
                await cortex.remove_worker("first", drain=5)

        async with trio.open_nursery() as removing:
            removing.start_soon(remove)
            await trio.sleep(1)
            await cortex.root.call(Supervisor.terminate_child, "workers")
        assert "first" not in runtime.table.workers
        assert not opened
        nursery.cancel_scope.cancel()
