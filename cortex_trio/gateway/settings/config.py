"""The whole gateway's configuration: a plain value with seconds, and the two ways it comes in.

`Config.from_mapping` and `Config.from_env` read the JSON object of CORTEX_PROVIDERS, whose times are in
milliseconds. Whatever is wrong becomes one ConfigError that names the path and what is allowed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import trio

from ...failures import ConfigError
from ...failures.shown import named
from ...http.pool import MAX_IDLE
from ..routing.strategies import STRATEGIES
from .environment import (
    HOW_TO_START,
    asks_ollama,
    environment,
    options_from_env,
    with_ways_of,
    workers_from_env,
)
from .fields import CAPABILITIES, LONGEST, worker_name
from .fields import number as _number
from .fields import one_of as _one_of
from .mapping import worker_config_from, workers_from
from .secrets import made_without_keys, without_keys
from .worker_config import WorkerConfig

__all__ = [
    "CAPABILITIES",
    "KEY_STRATEGIES",
    "Config",
    "WorkerConfig",
    "config_from_env",
    "environment",
    "worker_config_from",
    "worker_name",
]

MOST_ATTEMPTS = 32
"""Requests that one call may make, and attempts that its ledger keeps."""
KEY_STRATEGIES = ("round_robin", "least_used", "random")


def _workers(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value


def _some_worker(_: object, field: attrs.Attribute[Any], value: object) -> None:
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


@made_without_keys
@attrs.frozen(kw_only=True)
class Config:
    """The whole gateway. All times in seconds."""

    workers: Mapping[str, WorkerConfig] = attrs.field(converter=_workers, validator=_some_worker)
    strategy: str = attrs.field(default="priority", validator=_one_of(STRATEGIES))
    key_strategy: str = attrs.field(default="round_robin", validator=_one_of(KEY_STRATEGIES))
    health_check_interval: float = attrs.field(default=30.0, validator=_number(0, LONGEST))  # 0: none
    health_check_timeout: float = attrs.field(default=5.0, validator=_number(0.001, LONGEST))
    connect_timeout: float = attrs.field(default=5.0, validator=_number(0.001, LONGEST))
    idle_timeout: float = attrs.field(default=30.0, validator=_number(0.001, LONGEST))
    """Seconds of silence, not even a comment, after which a stream that has begun is stalled."""
    content_timeout: float = attrs.field(default=120.0, validator=_number(0.001, LONGEST))
    """Seconds without content, pings or not, after which it is stalled as well."""
    total_timeout: float = attrs.field(default=600.0, validator=_number(0.001, LONGEST))
    max_attempts: int = attrs.field(default=4, validator=_number(1, MOST_ATTEMPTS, whole=True))
    max_wait: float = attrs.field(default=30.0, validator=_number(0, LONGEST))
    """Seconds a call waits when no worker may be asked now but one will be; 0: it fails at once."""
    max_idle_connections: int = attrs.field(default=MAX_IDLE, validator=_number(0, 10**6, whole=True))
    """Connections of one worker that are kept for its next requests."""
    max_answer_bytes: int = attrs.field(default=128 * 1024 * 1024, validator=_number(1, 2**40, whole=True))
    """Bytes of one answer as it is sent; it is held until it was read, so memory is bounded. Embeddings: `jobs`."""
    rate_limit_rest: float | None = attrs.field(default=None, validator=_number(0, LONGEST))
    """Cooldown of a key, in seconds, after a 429 without a hint; None: a ladder of 10, 30, 60, 120."""

    @classmethod
    @without_keys
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Config:
        """Read CORTEX_PROVIDERS (JSON, times in ms), or the variables of each provider.

        Without it: <PROVIDER>_API_KEYS (comma-separated) or _API_KEY, _MODEL, _BASE_URL, _TIMEOUT (ms), and an
        Ollama that answers on its port. HEALTH_CHECK_INTERVAL and HEALTH_CHECK_TIMEOUT are in ms;
        WORKER_POOL_STRATEGY names the strategy. Raises ConfigError.
        """
        told = environment() if environ is None else environ
        workers = workers_from_env(told)
        if environ is not None:  # of the process's own the ways are looked up when connections are made
            workers = with_ways_of(workers, told)
        return cls(workers=workers, **options_from_env(told))

    @classmethod
    @without_keys
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Config:
        """Read the object inside CORTEX_PROVIDERS (times in ms).

        A key that is not a provider's name is a worker's name and needs "provider". Raises ConfigError.
        """
        return cls(workers=workers_from(mapping))


async def config_from_env() -> Config:
    """`Config.from_env()` without blocking the event loop: an Ollama is asked for its models in a thread.

    Raises ConfigError. Cancelling leaves the thread to itself; it ends within half a second.
    """
    if asks_ollama(environment()):
        return await trio.to_thread.run_sync(Config.from_env, abandon_on_cancel=True)
    await trio.lowlevel.checkpoint()
    return Config.from_env()
