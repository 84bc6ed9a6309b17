"""What the environment configures, which variable each value comes from, and what is wrong. Sends nothing.

It reads the variables with the same functions as `Config.from_env`, but goes on after a mistake, to find all of them.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from ..failures import ConfigError
from ..failures.shown import named
from ..gateway.settings.config import SETTINGS_FIELDS, Config, WorkerConfig, config_with, worker_config_from
from ..gateway.settings.environment import HOW_TO_START, settings_from_env, workers_from_env
from ..gateway.settings.gateway_settings import SETTINGS
from ..gateway.settings.process_environ import value_of
from ..providers import PROVIDERS, Provider

PROVIDERS_VARIABLE = "CORTEX_PROVIDERS"
DEFAULT = "default"
GATEWAY_VARIABLES: Mapping[str, str] = {
    "strategy": "WORKER_POOL_STRATEGY",
    "health_check_interval": "HEALTH_CHECK_INTERVAL",
    "health_check_timeout": "HEALTH_CHECK_TIMEOUT",
    "store": "CORTEX_STORE",
    "limits_without_store": "CORTEX_LIMITS_WITHOUT_STORE",
}
"""The variable of each field of Config that the environment can set."""

WORKER_VARIABLES: Mapping[str, tuple[str, ...]] = {
    "api_keys": ("API_KEYS", "API_KEY"),
    "models": ("MODEL",),
    "base_url": ("BASE_URL", "HOST"),
    "timeout": ("TIMEOUT",),
}
"""The suffixes of the variables of each field, in the order in which they are read."""


@attrs.frozen
class Setting:
    """One value that is used."""

    name: str
    value: str
    source: str
    """The variable that the value comes from, or "default"."""


@attrs.frozen
class Findings:
    """What was found in the environment."""

    workers: Mapping[str, WorkerConfig]
    """The workers without mistakes."""

    options: Sequence[Setting]
    """Settings of the gateway."""

    problems: Sequence[str]
    """Each mistake as a sentence that begins with its place."""

    hints: Sequence[str]
    """Variables that are not read but look like one that is."""


def find(environ: Mapping[str, str]) -> Findings:
    """Return what `environ` configures. May wait half a second for an Ollama server."""
    problems: list[str] = []
    workers = _workers(environ, problems)
    settings: Mapping[str, object] = {}
    try:
        settings = settings_from_env(environ, SETTINGS_FIELDS) if workers else {}
        options = config_with(workers, environ) if workers else None
    except ConfigError as error:
        problems.append(_sentence(error))
        options = Config(workers=workers)
    if not workers and not problems:
        problems.append(f"no providers: {HOW_TO_START}")
    return Findings(workers, _options(options, environ, settings), problems, [*_hints(environ)])


def _sentence(error: ConfigError) -> str:
    return error.problem if error.path == "$" else str(error)


# ------------------------------------------------------------------ workers


def _workers(environ: Mapping[str, str], problems: list[str]) -> dict[str, WorkerConfig]:
    text = value_of(environ, PROVIDERS_VARIABLE)
    if text:
        return _workers_from_json(environ, text, problems)
    left = dict(environ)
    while True:
        try:
            return workers_from_env(left)
        except ConfigError as error:
            problems.append(_sentence(error))
            if not (used := _variables_of(error, left)):
                return {}
            left = {name: value for name, value in left.items() if name not in used}


def _workers_from_json(environ: Mapping[str, str], text: str, problems: list[str]) -> dict[str, WorkerConfig]:
    try:
        entries: Any = json.loads(text)
    except (ValueError, RecursionError):
        entries = None
    if not isinstance(entries, dict):
        try:
            return workers_from_env(environ)
        except ConfigError as error:  # the same sentence that a program gets
            problems.append(_sentence(error))
            return {}
    workers: dict[str, WorkerConfig] = {}
    for name, entry in entries.items():
        if name == SETTINGS:
            continue
        try:
            workers[name] = worker_config_from(name, entry, f"$.{named(name)}")
        except ConfigError as error:
            problems.append(f"{PROVIDERS_VARIABLE}: {_sentence(error)}")
    return workers


def _variables_of(error: ConfigError, environ: Mapping[str, str]) -> list[str]:
    """Return the variables of the provider that a mistake is about."""
    for provider in PROVIDERS.values():
        names = [name for name in environ if name.startswith(tuple(f"{prefix}_" for prefix in provider.env))]
        is_about = re.match(rf"\$\.{re.escape(provider.name)}\b", error.path) or error.path in names
        if names and provider.env and is_about:
            return names
    return []


# ------------------------------------------------------------------ settings


def settings_of(worker: WorkerConfig, environ: Mapping[str, str]) -> Iterator[Setting]:
    """Yield what one worker uses: its keys in masked form, its models, its address and its time limit."""
    kind = worker.kind
    keys = ", ".join(key.masked for key in worker.api_keys) or "none"
    yield Setting("api_keys", keys, _source(worker, "api_keys", environ, is_set=bool(worker.api_keys)))
    models = ", ".join(worker.models or kind.default_models)
    yield Setting("models", models, _source(worker, "models", environ, is_set=bool(worker.models)))
    yield Setting(
        "base_url", worker.address, _source(worker, "base_url", environ, is_set=bool(worker.base_url))
    )
    seconds = worker.timeout if worker.timeout is not None else kind.timeout
    yield Setting(
        "timeout", f"{seconds:g} s", _source(worker, "timeout", environ, is_set=worker.timeout is not None)
    )
    priority = worker.priority if worker.priority is not None else kind.priority
    yield Setting(
        "priority",
        str(priority),
        _source(worker, "priority", environ, is_set=worker.priority is not None),
    )


def _source(worker: WorkerConfig, field: str, environ: Mapping[str, str], *, is_set: bool) -> str:
    if not is_set:
        return DEFAULT
    if value_of(environ, PROVIDERS_VARIABLE):
        return PROVIDERS_VARIABLE
    for suffix in WORKER_VARIABLES.get(field, ()):
        for name in _names(worker.kind, suffix):
            if value_of(environ, name):
                return name
    return "the Ollama server"  # it lists the models that it serves


def _names(provider: Provider, suffix: str) -> list[str]:
    return [f"{prefix}_{suffix}" for prefix in provider.env]


def _options(
    config: Config | None, environ: Mapping[str, str], settings: Mapping[str, object]
) -> list[Setting]:
    if config is None:
        return []
    values = {
        "strategy": config.strategy,
        "health_check_interval": f"{config.health_check_interval:g} s",
        "health_check_timeout": f"{config.health_check_timeout:g} s",
        "store": str(config.store or "none"),
        "limits_without_store": config.limits_without_store,
    }
    return [
        Setting(name, value, _gateway_source(name, variable, environ, settings))
        for (name, variable), value in zip(GATEWAY_VARIABLES.items(), values.values(), strict=True)
    ]


def _gateway_source(
    name: str, variable: str, environ: Mapping[str, str], settings: Mapping[str, object]
) -> str:
    if name in settings:
        return f"{PROVIDERS_VARIABLE} ({SETTINGS})"
    return variable if value_of(environ, variable) else DEFAULT


def _hints(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence for each variable that looks like a misspelt one."""
    suffixes = [suffix for group in WORKER_VARIABLES.values() for suffix in group]
    known = {
        name for provider in PROVIDERS.values() for suffix in suffixes for name in _names(provider, suffix)
    }
    known |= {PROVIDERS_VARIABLE, *GATEWAY_VARIABLES.values()}
    beginnings = tuple({name.split("_")[0] for name in known} - {"HEALTH", "WORKER"})
    for name in sorted(environ):
        if name in known or not name.startswith(beginnings):
            continue
        meant = difflib.get_close_matches(name, known, n=1, cutoff=0.85)
        if meant and not value_of(environ, meant[0]):
            yield f"{name} is not read; did you mean {meant[0]}?"
