"""What the gateway is told: values with their limits, and the two ways they come in.

`WorkerConfig` and `Config` are plain values with seconds; `from_mapping` and `from_env` read the JSON
object of CORTEX_PROVIDERS, whose times are in milliseconds. Whatever is wrong becomes one ConfigError that
names the path and what is allowed. This is the only module that reads the environment.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import wraps
from typing import Any, ParamSpec, TypeVar
from urllib.parse import urlsplit

import attrs
from cattrs import Converter, transform_error
from cattrs.errors import ClassValidationError, ForbiddenExtraKeysError, IterableValidationError
from cattrs.gen import make_dict_structure_fn, override

from ..failures import ConfigError
from ..providers import PROVIDERS, Provider
from .ollama_probe import ollama_models
from .secrets import ApiKey, api_keys_from

STRATEGIES = ("priority", "local_first", "round_robin", "least_used", "random", "fastest")
KEY_STRATEGIES = ("round_robin", "least_used", "random")
LONGEST = 86_400.0
"""A day: no time-out or interval above it is meant seriously."""


P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


def _without_keys(read: Callable[P, R]) -> Callable[P, R]:
    """Raise the ConfigErrors of `read` afresh: its frames hold keys, and error reporters send locals."""

    @wraps(read)
    def reading(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return read(*args, **kwargs)
        except ConfigError as error:
            problem = ConfigError(error.path, error.problem)
        finally:
            del args, kwargs
        raise problem

    return reading


def _made_without_keys(cls: type[T]) -> type[T]:
    """The same for a class whose fields hold keys, half made as it may be when one of them is refused."""
    setattr(cls, "__init__", _without_keys(getattr(cls, "__init__")))  # noqa: B009, B010
    return cls


def _number(low: float, high: float, *, whole: bool = False) -> Callable[[Any, Any, Any], None]:
    """An attrs validator: None, or a number in [low, high]."""

    def check(_: object, field: attrs.Attribute[Any], value: object) -> None:
        wanted = f"{'a whole number' if whole else 'a number'} from {low:g} to {high:g}"
        if value is None and field.default is None:
            return
        if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
            raise ConfigError(field.name, f"{wanted} is allowed, not {type(value).__name__}")
        if not low <= value <= high:
            raise ConfigError(field.name, f"{wanted} is allowed, not {value!r}")

    return check


def _one_of(allowed: Sequence[str]) -> Callable[[Any, Any, Any], None]:
    def check(_: object, field: attrs.Attribute[Any], value: object) -> None:
        if value not in allowed:
            raise ConfigError(field.name, f"one of {', '.join(allowed)} is allowed, not {value!r:.60}")

    return check


def _provider(_: object, field: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, Provider) and not (isinstance(value, str) and value in PROVIDERS):
        raise ConfigError(field.name, f"one of {', '.join(PROVIDERS)} is allowed, not {value!r:.60}")


def _strings(_: object, field: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, tuple):
        raise ConfigError(field.name, f"a str or a list of str is needed, not {type(value).__name__}")
    for slot, item in enumerate(value):
        if not isinstance(item, str) or not item.strip():
            raise ConfigError(f"{field.name}[{slot}]", "a non-empty str is needed")


CAPABILITIES = ("tools", "images", "documents", "reasoning", "json")


def _capabilities(value: Any) -> Any:
    return tuple(value) if isinstance(value, Collection) and not isinstance(value, str) else value


def _known_capabilities(_: object, field: attrs.Attribute[Any], value: Any) -> None:
    known = isinstance(value, tuple) and all(item in CAPABILITIES for item in value)
    if value is not None and not known:
        raise ConfigError(field.name, f"a list of {', '.join(CAPABILITIES)} is allowed, not {value!r:.80}")


def _tuple_of_models(value: Any) -> Any:
    """A bare str is one model; what is no list is left for the validator to refuse."""
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, Sequence) else value


def _base_url(_: object, field: attrs.Attribute[Any], value: str | None) -> None:
    if value is None:
        return
    allowed = "an address like https://host:port/path is allowed"
    try:
        parts = urlsplit(value)
        # urlsplit drops line breaks without a word, and the request line would get them
        plain = value.isascii() and value.isprintable() and " " not in value
        ok = plain and parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except (ValueError, TypeError, AttributeError):
        ok = False
    if set("@?#") & set(str(value)):
        raise ConfigError(field.name, f"{allowed}, without user, password, query or fragment")
    if not ok:
        raise ConfigError(field.name, f"{allowed}, not {value!r:.80}")


_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""RFC 9110 §5.6.2, token."""
_OURS = {"accept-encoding", "connection", "content-length", "expect", "te", "transfer-encoding", "upgrade"}
"""How a message is framed and packed is between the connection and its peer; said twice, it smuggles requests."""


def _headers(_: object, field: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, Mapping):
        raise ConfigError(field.name, f"an object of names and values is needed, not {type(value).__name__}")
    for name, text in value.items():
        legal = isinstance(name, str) and _HEADER_NAME.fullmatch(name)
        if not legal or not isinstance(text, str) or not text.isascii() or not text.isprintable():
            raise ConfigError(
                f"{field.name}.{name!s:.40}", "a header's name and a printable ASCII value are allowed"
            )
        if name.lower() in _OURS:
            raise ConfigError(f"{field.name}.{name}", "this header is the connection's own; leave it out")


@_made_without_keys
@attrs.frozen(kw_only=True)
class WorkerConfig:
    """One worker: a provider, its keys, its models. None stands for the provider's own number.

    `provider` is the name of a built-in provider, or a `Provider` value of your own. `timeout` is in seconds,
    from sending the request to the first token. Raises ConfigError naming the field.
    """

    provider: str | Provider = attrs.field(validator=_provider)
    api_keys: tuple[ApiKey, ...] = attrs.field(default=(), converter=api_keys_from)
    models: Sequence[str] = attrs.field(default=(), converter=_tuple_of_models, validator=_strings)
    priority: int | None = attrs.field(default=None, validator=_number(0, 1_000_000, whole=True))
    timeout: float | None = attrs.field(default=None, validator=_number(0.001, LONGEST))
    base_url: str | None = attrs.field(default=None, validator=_base_url)
    headers: Mapping[str, str] = attrs.field(factory=dict, validator=_headers, repr=lambda h: f"{[*h]}")
    context_window: int | None = attrs.field(default=None, validator=_number(1, 10**9, whole=True))
    capabilities: Sequence[str] | None = attrs.field(
        default=None, converter=_capabilities, validator=_known_capabilities
    )
    """What its models can do, of CAPABILITIES; requests that need more go elsewhere. None: not known, so all."""
    max_concurrency: int | None = attrs.field(default=None, validator=_number(1, 10**6, whole=True))

    def __attrs_post_init__(self) -> None:
        kind = self.kind
        if kind.needs_key and not self.api_keys:
            raise ConfigError("api_keys", f"{kind.name} needs at least one key")
        if not (self.base_url or kind.base_url):
            raise ConfigError("base_url", f"{kind.name} has no address of its own: say where its server is")
        if not (self.models or kind.default_models):
            raise ConfigError("models", f"{kind.name} has no default model: name at least one")

    @property
    def kind(self) -> Provider:
        """The provider itself."""
        return self.provider if isinstance(self.provider, Provider) else PROVIDERS[self.provider]


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
                f"{field.name}.{name}",
                f"a WorkerConfig is needed, not {kind}; Config.from_mapping reads objects",
            )


def worker_name(name: object) -> str:
    """Return `name` if it may be one. Raises ConfigError."""
    if not isinstance(name, str) or not name or not name.isprintable() or len(name) > 100:
        raise ConfigError("$", f"a worker's name is 1 to 100 printable characters, not {name!r:.60}")
    return name


HOW_TO_START = (
    "set CORTEX_PROVIDERS, or OPENAI_API_KEY, ANTHROPIC_API_KEY, GEMINI_API_KEY, GROQ_API_KEY, "
    "COHERE_API_KEY or XAI_API_KEY, or start Ollama on this machine"
)


@_made_without_keys
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
    max_attempts: int = attrs.field(default=4, validator=_number(1, 32, whole=True))
    max_wait: float = attrs.field(default=30.0, validator=_number(0, LONGEST))
    """Seconds a call waits when no worker may be asked now but one will be; 0: it fails at once."""
    max_answer_bytes: int = attrs.field(default=128 * 1024 * 1024, validator=_number(1, 2**40, whole=True))
    """Bytes of one answer as it is sent; it is held until it was read, so memory is bounded. Embeddings: `jobs`."""
    rate_limit_rest: float | None = attrs.field(default=None, validator=_number(0, LONGEST))
    """Seconds a key rests after a 429 without a hint; None: a ladder of 10, 30, 60, 120."""

    @classmethod
    @_without_keys
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Config:
        """Read CORTEX_PROVIDERS (JSON, times in ms), or the variables of each provider.

        Without it: <PROVIDER>_API_KEYS (comma-separated) or _API_KEY, _MODEL, _BASE_URL, _TIMEOUT (ms), and an
        Ollama that answers on its port. HEALTH_CHECK_INTERVAL and HEALTH_CHECK_TIMEOUT are in ms;
        WORKER_POOL_STRATEGY names the strategy. Raises ConfigError.
        """
        environ = environment() if environ is None else environ
        return cls(workers=_workers_from_env(environ), **_options_from_env(environ))

    @classmethod
    @_without_keys
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Config:
        """Read the object inside CORTEX_PROVIDERS (times in ms).

        A key that is not a provider's name is a worker's name and needs "provider". Raises ConfigError.
        """
        return cls(workers=_workers_from(mapping))


# ------------------------------------------------------------------ mappings, through cattrs


@_without_keys
def worker_config_from(name: str, mapping: Mapping[str, Any] | WorkerConfig, path: str) -> WorkerConfig:
    """Return one worker's configuration; times in ms. Raises ConfigError with `path` in front."""
    if isinstance(mapping, WorkerConfig):
        return mapping
    if not isinstance(mapping, Mapping):
        raise ConfigError(path, f"an object is needed, not {type(mapping).__name__}")
    for key in mapping:
        if not isinstance(key, str):
            raise ConfigError(path, f"names of settings are strings, not {key!r:.40}")
    if "provider" not in mapping:
        if name not in PROVIDERS:
            raise ConfigError(
                path, f'not a provider ({", ".join(PROVIDERS)}); a worker of another name needs "provider"'
            )
        mapping = {**mapping, "provider": name}
    try:
        return _CONVERTER.structure(mapping, WorkerConfig)
    except ClassValidationError as error:
        raise _first_problem(error, path) from None


def _workers_from(mapping: Any) -> dict[str, WorkerConfig]:
    if not isinstance(mapping, Mapping):
        raise ConfigError("$", f"an object of providers is needed, not {type(mapping).__name__}")
    return {
        worker_name(name): worker_config_from(name, value, f"$.{name}") for name, value in mapping.items()
    }


def _keep(value: Any, _: Any) -> Any:
    return value  # the field's own converter and validator decide, and say it better


def _milliseconds(value: Any, _: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError("timeout", f"milliseconds, as a number, are needed, not {type(value).__name__}")
    if not 1 <= value <= LONGEST * 1000:
        raise ConfigError(
            "timeout", f"milliseconds from 1 to {LONGEST * 1000:.0f} are allowed, not {value!r}"
        )
    return value / 1000


def _make_converter() -> Converter:
    converter = Converter(forbid_extra_keys=True)
    fields: dict[str, Any] = {f.name: override(struct_hook=_keep) for f in attrs.fields(WorkerConfig)}
    fields["timeout"] = override(struct_hook=_milliseconds)
    hook = make_dict_structure_fn(WorkerConfig, converter, _cattrs_forbid_extra_keys=True, **fields)
    converter.register_structure_hook(WorkerConfig, hook)
    return converter


_CONVERTER = _make_converter()


def _first_problem(error: ClassValidationError | IterableValidationError, path: str) -> ConfigError:
    """cattrs collects everything that is wrong; one clear sentence at a time is what a person can act on."""
    first = error.exceptions[0]
    if isinstance(first, ConfigError):
        return first.under(path)
    if isinstance(first, ForbiddenExtraKeysError):
        allowed = ", ".join(field.name for field in attrs.fields(WorkerConfig))
        return ConfigError(f"{path}.{min(first.extra_fields)}", f"unknown; allowed are {allowed}")
    return ConfigError(path, transform_error(error, path=path)[0])


# ------------------------------------------------------------------ the environment


def environment() -> Mapping[str, str]:
    """The environment of this process, for a command line that starts others or asks about its terminal."""
    return os.environ


def _workers_from_env(environ: Mapping[str, str]) -> dict[str, WorkerConfig]:
    text = environ.get("CORTEX_PROVIDERS", "").strip()
    if text:
        try:
            mapping = json.loads(text)
        except json.JSONDecodeError as error:
            raise ConfigError(
                "CORTEX_PROVIDERS", f"not JSON (line {error.lineno}, column {error.colno})"
            ) from None
        except (ValueError, RecursionError) as error:
            raise ConfigError("CORTEX_PROVIDERS", f"not JSON to be read ({error})") from None
        return _workers_from(mapping)
    found: dict[str, WorkerConfig] = {}
    for provider in PROVIDERS.values():
        settings = _settings(provider, environ)
        if settings:
            found[provider.name] = worker_config_from(provider.name, settings, f"$.{provider.name}")
    return found


def _settings(provider: Provider, environ: Mapping[str, str]) -> dict[str, Any]:
    """What the variables say of one provider; empty if it is not to be used."""

    def variable(suffix: str) -> str:
        values = (environ.get(f"{prefix}_{suffix}", "").strip() for prefix in provider.env)
        return next(filter(None, values), "")

    keys = [key for key in variable("API_KEYS").split(",") if key.strip()]
    keys = keys or [key for key in [variable("API_KEY")] if key]
    settings: dict[str, Any] = {"api_keys": keys} if keys else {}
    if models := [model.strip() for model in variable("MODEL").split(",") if model.strip()]:
        settings["models"] = models
    if address := variable("BASE_URL") or _host(variable("HOST")):
        settings["base_url"] = address
    if provider.needs_key and not keys:
        return {}
    if provider.name == "ollama" and not models:
        served = ollama_models(address or provider.base_url)
        if served is None and not address:
            return {}
        settings["models"] = served or provider.default_models
    if settings and (timeout := variable("TIMEOUT")):
        settings["timeout"] = _env_number(timeout, f"{provider.env[0]}_TIMEOUT")
    return settings


def _host(host: str) -> str:
    """OLLAMA_HOST may be `host`, `host:port` or a URL; 0.0.0.0 is what a server listens on, not an address."""
    if not host:
        return ""
    address = host if "://" in host else f"http://{host}" + ":11434" * (":" not in host)
    return address.replace("//0.0.0.0", "//127.0.0.1").rstrip("/")


def _options_from_env(environ: Mapping[str, str]) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for variable, option in (
        ("HEALTH_CHECK_INTERVAL", "health_check_interval"),
        ("HEALTH_CHECK_TIMEOUT", "health_check_timeout"),
    ):
        if text := environ.get(variable, "").strip():
            options[option] = _env_number(text, variable) / 1000
    if strategy := environ.get("WORKER_POOL_STRATEGY", "").strip():
        options["strategy"] = strategy
    return options


def _env_number(text: str, variable: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0:
        raise ConfigError(variable, f"milliseconds, as a number from 0, are needed, not {text!r:.40}")
    return value
