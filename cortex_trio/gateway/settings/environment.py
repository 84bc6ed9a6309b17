"""Reads workers and options of the gateway from environment variables.

Variables are read as the providers document them. Quotes around a value are dropped, because `docker --env-file` keeps
them. A mistake about a provider that was configured is a ConfigError; a mistake about an Ollama server that was only
found by its port is a warning in the log.
"""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Collection, Mapping
from typing import Any

import attrs

from ...cluster import StoreUrl
from ...failures import ConfigError
from ...failures.shown import listed, shown
from ...providers import PROVIDERS, Provider
from .connection_settings import connection_settings_for
from .gateway_settings import settings_in
from .mapping import worker_config_from, workers_from
from .ollama_probe import host_from, ollama_models
from .process_environ import environment as environment
from .process_environ import unquoted, value_of
from .worker_config import WorkerConfig

log = logging.getLogger("cortex_trio")

HOW_TO_START = (
    "set CORTEX_PROVIDERS, or OPENAI_API_KEY, ANTHROPIC_API_KEY, GEMINI_API_KEY, GROQ_API_KEY, "
    "COHERE_API_KEY or XAI_API_KEY, or start Ollama on this machine"
)


def asks_ollama(environ: Mapping[str, str]) -> bool:
    """Whether reading `environ` blocks, for at most half a second, to search for an Ollama server."""
    return not value_of(environ, "CORTEX_PROVIDERS") and not _variable(PROVIDERS["ollama"], environ, "MODEL")


def workers_from_env(environ: Mapping[str, str]) -> dict[str, WorkerConfig]:
    """Return the workers of CORTEX_PROVIDERS, or, if it is not set, those of each provider's own variables.

    Raises:
        ConfigError: a variable cannot be used.
    """
    text = value_of(environ, "CORTEX_PROVIDERS")
    if text:
        return workers_from(_object(text))
    found: dict[str, WorkerConfig] = {}
    for provider in PROVIDERS.values():
        try:
            if settings := _settings(provider, environ):
                worker = worker_config_from(provider.name, settings, f"$.{provider.name}")
                connection_settings_for(worker, environ)
                found[provider.name] = worker
        except ConfigError as error:
            if not _is_optional(provider, environ):
                raise
            log.warning("%s is left out: %s", provider.name, error)
    return found


def settings_from_env(environ: Mapping[str, str], allowed: Collection[str]) -> dict[str, Any]:
    """Return the fields of Config that the `$settings` of CORTEX_PROVIDERS set; `allowed` are their names.

    Raises:
        ConfigError: a field is unknown, or a time is no number.
    """
    text = value_of(environ, "CORTEX_PROVIDERS")
    return settings_in(_object(text), allowed) if text else {}


def options_from_env(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the fields of Config that the environment sets, `workers` excepted.

    Raises:
        ConfigError: a variable is not a number, or CORTEX_STORE is not the URL of a store.
    """
    options: dict[str, Any] = {}
    for variable, option in (
        ("HEALTH_CHECK_INTERVAL", "health_check_interval"),
        ("HEALTH_CHECK_TIMEOUT", "health_check_timeout"),
    ):
        if text := value_of(environ, variable):
            options[option] = _number(text, variable) / 1000
    for variable, option in (
        ("WORKER_POOL_STRATEGY", "strategy"),
        ("CORTEX_LIMITS_WITHOUT_STORE", "limits_without_store"),
    ):
        if text := value_of(environ, variable):
            options[option] = text
    if store := value_of(environ, "CORTEX_STORE"):
        options["store"] = StoreUrl.parse(store, "CORTEX_STORE")
    return options


def with_connection_settings(
    workers: Mapping[str, WorkerConfig], environ: Mapping[str, str]
) -> dict[str, WorkerConfig]:
    """Return the workers with the proxies and CAs of `environ` written into their configuration.

    For an environment that is not that of the process: the process's own is read again when connections are made.

    Raises:
        ConfigError: a proxy or a CA file cannot be used.
    """
    return {name: _with_connection_settings(worker, environ) for name, worker in workers.items()}


def _with_connection_settings(worker: WorkerConfig, environ: Mapping[str, str]) -> WorkerConfig:
    settings = connection_settings_for(worker, environ)
    changes: dict[str, Any] = {}
    if worker.proxy is None and settings.proxy:
        changes["proxy"] = settings.proxy
    if worker.verify is True and settings.context is not None:
        changes["verify"] = value_of(environ, "SSL_CERT_FILE") or value_of(environ, "SSL_CERT_DIR")
    return attrs.evolve(worker, **changes) if changes else worker


# ------------------------------------------------------------------ one provider


def _settings(provider: Provider, environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the fields of one worker, as in CORTEX_PROVIDERS; empty if the provider is unused. Raises ConfigError."""
    keys = _list(provider, environ, "API_KEYS", "[,;]")
    keys = keys or [key for key in [_variable(provider, environ, "API_KEY")] if key]
    if provider.needs_key and not keys:
        return {}
    settings: dict[str, Any] = {"api_keys": keys} if keys else {}
    if models := _list(provider, environ, "MODEL", ","):
        settings["models"] = models
    address = _variable(provider, environ, "BASE_URL") or _host(provider, environ)
    if address:
        settings["base_url"] = address
    if provider.name == "ollama" and not models:
        settings = _with_served_models(provider, settings, address)
    if settings and (timeout := _variable(provider, environ, "TIMEOUT")):
        settings["timeout"] = _number(timeout, f"{provider.env[0]}_TIMEOUT")
    return settings


def _with_served_models(provider: Provider, settings: dict[str, Any], address: str) -> dict[str, Any]:
    """Add the models that an Ollama server lists. A server whose address is configured is used even if it is silent."""
    served = ollama_models(address or provider.base_url)
    if served is None:
        return {**settings, "models": provider.default_models} if address else {}
    if served.chat:  # the first is the default of `chat`; `embed` may use any of them
        return {**settings, "models": [*served.chat, *served.embedding]}
    if served.embedding and not address:
        log.warning(
            "%s has no chat model, only models for embeddings (%s): set %s_MODEL to use it",
            provider.name,
            listed(served.embedding),
            provider.env[0],
        )
        return {}
    return {**settings, "models": [*provider.default_models, *served.embedding]}


def _host(provider: Provider, environ: Mapping[str, str]) -> str:
    """Return the address in OLLAMA_HOST, Ollama's own variable; "" if it is not set. Raises ConfigError."""
    text = _variable(provider, environ, "HOST")
    if not text:
        return ""
    address = host_from(text)
    if address is None:
        raise ConfigError(f"{provider.env[0]}_HOST", f"host, host:port or a URL is needed, not {shown(text)}")
    return address


def _is_optional(provider: Provider, environ: Mapping[str, str]) -> bool:
    """Whether the provider was not configured for this program: it was found by its port, or by OLLAMA_HOST."""
    return not provider.needs_key and not _variable(provider, environ, "BASE_URL")


# ------------------------------------------------------------------ values


def _variable(provider: Provider, environ: Mapping[str, str], suffix: str) -> str:
    values = (value_of(environ, f"{prefix}_{suffix}") for prefix in provider.env)
    return next(filter(None, values), "")


def _list(provider: Provider, environ: Mapping[str, str], suffix: str, separators: str) -> list[str]:
    """Return the items of a list: between separators, with or without quotes, or as JSON. Raises ConfigError."""
    text = _variable(provider, environ, suffix)
    if not text.startswith("["):
        return [item for part in re.split(separators, text) if (item := unquoted(part))]
    try:
        items = json.loads(text)
    except (ValueError, RecursionError):
        items = None
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise ConfigError(f"{provider.env[0]}_{suffix}", "not a JSON list of str")
    return items


def _object(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(
            "CORTEX_PROVIDERS", f"not JSON (line {error.lineno}, column {error.colno})"
        ) from None
    except (ValueError, RecursionError) as error:
        raise ConfigError("CORTEX_PROVIDERS", f"not JSON ({error})") from None


def _number(text: str, variable: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0:
        raise ConfigError(variable, f"milliseconds are needed, a number from 0, not {shown(text, 40)}")
    return value
