"""`$settings` in CORTEX_PROVIDERS, and aliases: names for lists of models."""

import json
from typing import Any

import pytest
from at_rest import gateway

from cortex_trio import AllWorkersFailed, Config, ConfigError, NoWorkersAvailable, Price
from cortex_trio.cli.sources import find
from cortex_trio.failures import FailureKind
from cortex_trio.simulator import Behaviour, Simulator, open_simulator

WORKERS: dict[str, Any] = {"openai": {"api_keys": ["sk-1"]}, "groq": {"api_keys": ["gsk-1"]}}


def read(settings: Any) -> Config:
    return Config.from_mapping({**WORKERS, "$settings": settings})


def environ(settings: Any, **variables: str) -> dict[str, str]:
    return {"CORTEX_PROVIDERS": json.dumps({**WORKERS, "$settings": settings}), **variables}


# ------------------------------------------------------------------ $settings


def test_the_settings_are_fields_of_the_configuration_with_times_in_milliseconds() -> None:
    config = read(
        {
            "max_attempts": 3,
            "idle_timeout": 5000,
            "max_wait": 2500,
            "strategy": "least_used",
            "key_strategy": "random",
            "aliases": {"fast": ["groq/llama-3", "openai/gpt-4o"]},
            "prices": {"gpt-4o": {"input": 1, "output": 2}},
        }
    )
    assert list(config.workers) == ["openai", "groq"]
    assert (config.max_attempts, config.idle_timeout, config.max_wait) == (3, 5.0, 2.5)
    assert (config.strategy, config.key_strategy) == ("least_used", "random")
    assert config.aliases == {"fast": ("groq/llama-3", "openai/gpt-4o")}
    assert config.prices == {"gpt-4o": Price(1, 2)}


def test_no_settings_and_empty_settings_are_the_defaults() -> None:
    assert read({}) == Config.from_mapping(WORKERS)


def test_the_environment_has_the_same_settings() -> None:
    settings = {
        "strategy": "random",
        "max_wait": 0,
        "health_check_interval": 1000,
        "limits_without_store": "whole",
    }
    config = Config.from_env(environ(settings, WORKER_POOL_STRATEGY="fastest", HEALTH_CHECK_TIMEOUT="700"))
    assert (config.strategy, config.max_wait) == ("random", 0.0)
    assert config.limits_without_store == "whole"
    assert (config.health_check_interval, config.health_check_timeout) == (1.0, 0.7)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ([], r"^\$\.\$settings: an object of settings is needed, not list"),
        (None, r"^\$\.\$settings: an object"),
        ({"max_atempts": 3}, r"^\$\.\$settings\.max_atempts: unknown; .*did you mean max_attempts"),
        ({"workers": {}}, r"^\$\.\$settings\.workers: unknown"),
        ({"max_attempts": 0}, r"^\$\.\$settings\.max_attempts: .* from 1 to 32 .*not 0"),
        ({"max_attempts": "3"}, r"^\$\.\$settings\.max_attempts: .*not str"),
        ({"idle_timeout": "5s"}, r"^\$\.\$settings\.idle_timeout: milliseconds are needed.*not str"),
        ({"idle_timeout": -1}, r"^\$\.\$settings\.idle_timeout: milliseconds are needed.*not -1"),
        ({"idle_timeout": True}, r"^\$\.\$settings\.idle_timeout: milliseconds are needed"),
        ({"max_wait": float("nan")}, r"^\$\.\$settings\.max_wait: milliseconds are needed"),
        ({"strategy": "best"}, r"^\$\.\$settings\.strategy: one of priority"),
        ({"prices": {"m": {"input": -1, "output": 1}}}, r"^\$\.\$settings\.prices\.m\.input: .*not -1"),
        ({"aliases": {"fast": []}}, r"^\$\.\$settings\.aliases\.fast: a list"),
        (
            {"aliases": {"fast": ["grok/x"]}},
            r"^\$\.\$settings\.aliases\.fast\[0\]: .*the workers are openai, groq",
        ),
    ],
)
def test_a_mistake_names_its_place(settings: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read(settings)
    with pytest.raises(ConfigError, match=said):
        Config.from_env(environ(settings))


def test_settings_alone_are_no_provider() -> None:
    with pytest.raises(ConfigError, match="no providers"):
        Config.from_mapping({"$settings": {"max_attempts": 3}})


def test_the_command_line_shows_where_a_setting_comes_from_and_what_is_wrong() -> None:
    shown = {one.name: (one.value, one.source) for one in find(environ({"strategy": "random"})).options}
    assert shown["strategy"] == ("random", "CORTEX_PROVIDERS ($settings)")
    assert shown["health_check_timeout"] == ("5 s", "default")
    for wrong in ({"nope": 1}, {"max_attempts": 0}):
        [problem] = find(environ(wrong)).problems
        assert problem.startswith("$.$settings.")


# ------------------------------------------------------------------ aliases


@pytest.mark.parametrize(
    ("aliases", "said"),
    [
        ([], r"^aliases: an object of names and lists is needed, not list"),
        ({"": ["openai/x"]}, r"^aliases: an alias is a non-empty str"),
        ({7: ["openai/x"]}, r"^aliases: an alias is a non-empty str"),
        ({"fast": 7}, r'^aliases\.fast: a list like \["worker/model"\] is needed, not 7'),
        ({"fast": [7]}, r"^aliases\.fast\[0\]: .*not 7"),
        ({"fast": ["openai"]}, r"^aliases\.fast\[0\]: .*not 'openai'"),
        ({"fast": ["openai/"]}, r"^aliases\.fast\[0\]"),
        ({"fast": ["/x"]}, r"^aliases\.fast\[0\]"),
        (
            {"fast": ["openai/x", "openai/y"]},
            r"^aliases\.fast\[1\]: the worker openai is in this alias already",
        ),
    ],
)
def test_a_wrong_alias_is_named(aliases: Any, said: str) -> None:
    workers = Config.from_mapping(WORKERS).workers
    with pytest.raises(ConfigError, match=said):
        Config(workers=workers, aliases=aliases)


def add_workers(sim: Simulator, first: Behaviour | None = None) -> None:
    for name in ("a", "b", "team/c"):
        behaviour = first if name == "b" and first is not None else Behaviour(text=name)
        sim.add(name, behaviour, provider="openai", models=["m-1"])


ALIASES = {"fast": ["b/small", "team/c/org/large"], "one": "a/only"}


async def test_an_alias_asks_its_workers_for_its_models_in_its_own_order(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        add_workers(sim)
        async with gateway(sim, aliases=ALIASES, strategy="round_robin") as cortex:
            for _ in range(3):
                reply = await cortex.complete("Hi", model="fast")
                assert (reply.worker, reply.model) == ("b", "small")
            assert (await cortex.complete("Hi", model="one")).model == "only"
            lines = cortex.explain("Hi", model="fast").splitlines()
            narrowed = await cortex.complete("Hi", model="fast", worker="team/c")
            with pytest.raises(NoWorkersAvailable, match="'fast'"):
                await cortex.complete("Hi", model="fast", worker="a")
    assert [line.split(",")[:2] for line in lines[:2]] == [
        ["1. b (openai", " small"],
        ["2. team/c (openai", " org/large"],
    ]
    assert lines[2] == "-  a is not in the alias 'fast'"
    assert (narrowed.worker, narrowed.model) == ("team/c", "org/large")


async def test_an_alias_fails_over_to_its_next_entry_and_no_further(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        add_workers(sim, Behaviour(error=FailureKind.OVERLOADED))
        async with gateway(sim, aliases=ALIASES) as cortex:
            reply = await cortex.complete("Hi", model="fast")
            assert [(attempt.worker, attempt.model) for attempt in reply.attempts][-1] == (
                "team/c",
                "org/large",
            )
            assert reply.attempts[0].model == "small"
            sim["team/c"].behave(Behaviour(error=FailureKind.PERMISSION))
            with pytest.raises(AllWorkersFailed):
                await cortex.complete("Hi", model="fast", max_wait=0)
        assert sim["a"].requests == []


async def test_an_alias_wins_over_a_model_of_its_name(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        add_workers(sim)
        async with gateway(sim, aliases={"m-1": ["b/m-2"]}) as cortex:
            assert (await cortex.complete("Hi", model="m-1")).model == "m-2"


async def test_embeddings_of_an_alias_are_never_of_two_models(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        add_workers(sim, Behaviour(error=FailureKind.OVERLOADED))
        aliases = {"mixed": ["b/e-1", "a/e-2", "team/c/e-1"]}
        async with gateway(sim, aliases=aliases) as cortex:
            result = await cortex.embed("Hi", model="mixed")
        assert (result.worker, result.model) == ("team/c", "e-1")
        assert sim["a"].requests == []


async def test_a_reload_changes_the_aliases(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        add_workers(sim)
        workers = {name: provider.worker() for name, provider in sim.providers.items()}
        async with gateway(sim, workers, aliases={"fast": ["a/m-1"]}) as cortex:
            assert (await cortex.complete("Hi", model="fast")).worker == "a"
            await cortex.reload(Config(workers=workers, health_check_interval=0, aliases={"fast": ["b/m-1"]}))
            assert (await cortex.complete("Hi", model="fast")).worker == "b"
            await cortex.reload(Config(workers=workers, health_check_interval=0))
            with pytest.raises(NoWorkersAvailable, match="there is no model 'fast'"):
                await cortex.complete("Hi", model="fast")


async def test_a_removed_worker_is_passed_over(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        add_workers(sim)
        async with gateway(sim, aliases=ALIASES) as cortex:
            await cortex.remove_worker("b")
            assert (await cortex.complete("Hi", model="fast")).worker == "team/c"
            await cortex.remove_worker("a")
            with pytest.raises(NoWorkersAvailable):
                await cortex.complete("Hi", model="one")
