"""The configuration of a gateway: one value, with times in seconds, and the two ways to read it.

`Config.from_mapping` and `Config.from_env` read the JSON object of CORTEX_PROVIDERS, whose times are in milliseconds.
Every mistake is one ConfigError that names the field and says what is allowed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import attrs
import trio

from ...cluster import StoreUrl
from ...cluster.url import store_url
from ...costs import Price
from ...failures import ConfigError
from ...failures.shown import named
from ...http.defaults import MAX_IDLE_CONNECTIONS
from ..routing.strategies import STRATEGIES, Strategy
from .aliases import aliases_from, check_aliases
from .environment import (
    HOW_TO_START,
    asks_ollama,
    environment,
    options_from_env,
    settings_from_env,
    with_connection_settings,
    workers_from_env,
)
from .fields import CAPABILITIES, MAX_SECONDS, worker_name
from .fields import number as _number
from .fields import one_of as _one_of
from .gateway_settings import PATH, settings_in
from .mapping import worker_config_from, workers_from
from .prices import prices_from
from .secrets import made_without_keys, without_keys
from .worker_config import WorkerConfig

__all__ = [
    "CAPABILITIES",
    "KEY_STRATEGIES",
    "Config",
    "KeyStrategy",
    "Strategy",
    "WorkerConfig",
    "config_from_env",
    "environment",
    "worker_config_from",
    "worker_name",
]

KeyStrategy = Literal["round_robin", "least_used", "random"]
"""Which API key of a worker is used next."""
LimitsWithoutStore = Literal["divided", "whole"]
LIMITS_WITHOUT_STORE: tuple[LimitsWithoutStore, ...] = get_args(LimitsWithoutStore)
KEY_STRATEGIES: tuple[KeyStrategy, ...] = get_args(KeyStrategy)
"""All values; the first is the default."""
MOST_ATTEMPTS = 32
"""Requests that one call may make, and attempts of which it keeps a record."""


def _as_dict(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value


def _at_least_one_worker(_: object, field: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, Mapping):
        raise ConfigError(field.name, f"names and WorkerConfigs are needed, not {type(value).__name__}")
    if not value:
        raise ConfigError("$", f"no providers: {HOW_TO_START}")
    for name, worker in value.items():
        worker_name(name)
        if not isinstance(worker, WorkerConfig):
            kind = type(worker).__name__
            raise ConfigError(
                f"{field.name}.{named(name)}",
                f"a WorkerConfig is needed, not {kind}; Config.from_mapping reads objects",
            )


def _prices_from(value: Any) -> Any:
    return prices_from(value, "prices")


@made_without_keys
@attrs.frozen(kw_only=True)
class Config:
    """The configuration of a gateway. All times are in seconds.

    Raises:
        ConfigError: a value is not allowed; the error names the field.
    """

    workers: Mapping[str, WorkerConfig] = attrs.field(converter=_as_dict, validator=_at_least_one_worker)
    """The workers by name, at least one."""
    strategy: Strategy = attrs.field(default="priority", validator=_one_of(STRATEGIES))
    """In which order workers are asked. `priority`: the lowest `WorkerConfig.priority` first. `local_first`: workers on
    this machine first. `round_robin`: in turn. `least_used`: the one with the fewest requests in flight. `random`.
    `fastest`: the one with the shortest average time to the first token."""
    key_strategy: KeyStrategy = attrs.field(default=KEY_STRATEGIES[0], validator=_one_of(KEY_STRATEGIES))
    """Which API key of a worker is used next: in turn, the one with the fewest requests in flight, or a random one."""
    health_check_interval: float = attrs.field(default=30.0, validator=_number(0, MAX_SECONDS))
    """Seconds between two rounds of health checks. 0: no health checks."""
    health_check_timeout: float = attrs.field(default=5.0, validator=_number(0.001, MAX_SECONDS))
    """Seconds after which a health check has failed."""
    connect_timeout: float = attrs.field(default=5.0, validator=_number(0.001, MAX_SECONDS))
    """Seconds for a new connection, name resolution and TLS included. They count as time to the first token, too."""
    idle_timeout: float = attrs.field(default=30.0, validator=_number(0.001, MAX_SECONDS))
    """Seconds without a byte, not even a ping, after which a stream that has begun has failed."""
    content_timeout: float = attrs.field(default=120.0, validator=_number(0.001, MAX_SECONDS))
    """Seconds without content, with or without pings, after which a stream that has begun has failed."""
    total_timeout: float = attrs.field(default=600.0, validator=_number(0.001, MAX_SECONDS))
    """Seconds that one call may take, all attempts and your own reading included."""
    max_attempts: int = attrs.field(default=4, validator=_number(1, MOST_ATTEMPTS, whole=True))
    """Requests of one call that reach a provider."""
    max_wait: float = attrs.field(default=30.0, validator=_number(0, MAX_SECONDS))
    """Seconds that a call waits if no worker may be asked now but one may be asked later. 0: the call fails at once."""
    max_idle_connections: int = attrs.field(
        default=MAX_IDLE_CONNECTIONS, validator=_number(0, 10**6, whole=True)
    )
    """Idle connections that each worker keeps for its next requests."""
    max_answer_bytes: int = attrs.field(default=128 * 1024 * 1024, validator=_number(1, 2**40, whole=True))
    """Bytes of one answer, decompressed. An answer is kept in memory until it was read, so this limits the memory of a
    call. Embeddings have a limit of their own."""
    rate_limit_rest: float | None = attrs.field(default=None, validator=_number(0, MAX_SECONDS))
    """Seconds for which an API key cools down after a 429 that names no time. None: 10, 30, 60, then 120, as long as
    the 429s go on."""
    store: StoreUrl | None = attrs.field(default=None, converter=attrs.converters.optional(store_url))
    """Where a Valkey or Redis server is, through which several processes share cooldowns and breakers, such as
    "valkey://user:password@host:6379/0"; see `cluster.StoreUrl`. None: nothing is shared. A reload does not change it.
    """

    limits_without_store: LimitsWithoutStore = attrs.field(
        default=LIMITS_WITHOUT_STORE[0], validator=_one_of(LIMITS_WITHOUT_STORE)
    )
    """What one process may use of the limits of all while the store cannot be reached. `divided`: the limit divided by
    the number of processes that were known last. `whole`: all of it, so all together may exceed it."""

    prices: Mapping[str, Price] = attrs.field(factory=dict, converter=_prices_from)
    """Prices by model, or by `worker/model` for one worker. They win over those of the package genai-prices. A mapping
    with the fields of a Price is allowed in its place."""

    aliases: Mapping[str, Sequence[str]] = attrs.field(factory=dict, converter=aliases_from)
    """Names that can be given as `model`: each stands for a list of `worker/model`, of different workers, which are
    asked in this order."""

    def __attrs_post_init__(self) -> None:
        check_aliases(self.aliases, self.workers, "aliases")

    @classmethod
    @without_keys
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Config:
        """Read environment variables. May wait half a second for an Ollama server, see `config_from_env`.

        CORTEX_PROVIDERS is a JSON object with all workers (times in ms). Without it, each provider has
        <PROVIDER>_API_KEYS (comma-separated) or _API_KEY, _MODEL, _BASE_URL and _TIMEOUT (ms), and an Ollama server is
        found by its port. HEALTH_CHECK_INTERVAL and HEALTH_CHECK_TIMEOUT are in ms; WORKER_POOL_STRATEGY is `strategy`,
        CORTEX_STORE is `store`, CORTEX_LIMITS_WITHOUT_STORE is `limits_without_store`. The entry "$settings" of the
        JSON object wins over these five.

        Args:
            environ: the variables. None: those of this process.

        Raises:
            ConfigError: a variable cannot be used, or no provider is configured.
        """
        variables = environment() if environ is None else environ
        workers = workers_from_env(variables)
        # Settings from the process's own variables are read when connections are made.
        if environ is not None:
            workers = with_connection_settings(workers, variables)
        return config_with(workers, variables)

    @classmethod
    @without_keys
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Config:
        """Read the object inside CORTEX_PROVIDERS.

        Args:
            mapping: the fields of a worker by the worker's name; `timeout` in ms. A name that is not a provider's needs
                the field "provider". The entry "$settings" has fields of Config, with times in ms.

        Raises:
            ConfigError: a field is not allowed, or has a value that is not allowed.
        """
        settings = settings_in(mapping, SETTINGS_FIELDS)
        return _configured(workers_from(mapping), settings, settings)


SETTINGS_FIELDS = tuple(field.name for field in attrs.fields(Config) if field.name != "workers")
"""What `$settings` may hold."""


def config_with(workers: Mapping[str, WorkerConfig], environ: Mapping[str, str]) -> Config:
    """Return the configuration of these workers with all else as the variables `environ` say. Raises ConfigError."""
    settings = settings_from_env(environ, SETTINGS_FIELDS)
    return _configured(workers, {**options_from_env(environ), **settings}, settings)


def _configured(
    workers: Mapping[str, WorkerConfig], options: Mapping[str, Any], settings: Mapping[str, Any]
) -> Config:
    """Return the configuration. An error about one of `settings`, which are among the options, says where it is."""
    try:
        return Config(workers=workers, **options)
    except ConfigError as error:
        if re.split(r"[.\[]", error.path, maxsplit=1)[0] in settings:
            raise error.under(PATH) from None
        raise


async def config_from_env() -> Config:
    """Do `Config.from_env()` without blocking the event loop: the search for an Ollama server runs in a thread.

    Cancelling abandons the thread, which ends within half a second.

    Raises:
        ConfigError: a variable cannot be used, or no provider is configured.
    """
    if asks_ollama(environment()):
        return await trio.to_thread.run_sync(Config.from_env, abandon_on_cancel=True)
    await trio.lowlevel.checkpoint()
    return Config.from_env()
